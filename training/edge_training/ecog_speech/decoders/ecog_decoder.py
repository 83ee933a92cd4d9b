"""ecog-decoder: ECoG (B, 144, E) → speech parameters over 128 frames; families of nets behind one config.

    resnet    `edge_training.ecog_speech.decoders.resnet`       lstm, gru  `…recurrent`       swin  `…swin`

`wiring` "published" loads weights of neural_speech_decoding; its `causal` nets nevertheless see later input
(except the recurrent one). "streaming" does not: no output frame changes when a later input frame does, and
the number of frames is free. "stateful" is a recurrent net of wiring "streaming" as a live stream runs it:
the same weights, with what it remembers as further inputs and outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

from torch import Tensor, nn

from edge_training.ecog_speech.decoders import resnet, swin
from edge_training.ecog_speech.decoders.layers import Side
from edge_training.ecog_speech.decoders.recurrent import HEAD_REACH, RecurrentDecoder
from edge_training.ecog_speech.decoders.resnet import ResNetDecoder, Wiring
from edge_training.ecog_speech.decoders.swin import SwinDecoder
from edge_training.ecog_speech.parameters import FRAMES, PAST, Parameters, in_order
from edge_training.engine.config import JsonConfig, Rule, is_number

Family = Literal["resnet", "lstm", "gru", "swin"]
LOW_DENSITY, HYBRID_DENSITY = 64, 225  # electrodes of the grids 8 × 8 and 15 × 15
MOST_SIDE = 16
MOST_UNITS = 4096
MOST_CHANNELS = 256  # behind the first layer; the last ones have 16, or 8, times as many


@dataclass(frozen=True)
class EcogDecoderConfig(JsonConfig):
    """What a decoder is; ConfigError names the entry that contradicts another."""

    family: Family = "resnet"
    electrodes: int = LOW_DENSITY  # a square: the grid row by row
    wiring: Wiring = "published"
    causal: bool = False  # convolutions padded with the past alone
    anticausal: bool = False  # with `causal`: with the future alone
    bins: int | None = None  # of the spectrograms that it was trained with, where that is known
    db_loudness: bool = False  # loudness from −100 … 100 dB through a sigmoid, not softplus
    # resnet and swin: behind the first layer, multiples of it further on; null: 16 and 48, as published
    channels: int | None = None
    # resnet: dropout behind each block; swin: of the last block's branches; null: 0.2, as published
    drop_rate: float | None = None
    learned_doubling: bool = False  # swin: frames doubled by convolutions, not interpolated as published
    # recurrent families alone
    layers: int = 4
    units: int = 256
    classes: int = 128  # channels of x_common
    dropout: float = 0.3

    def _rules(self) -> Iterator[Rule]:
        streaming = self.wiring != "published"
        side = round(self.electrodes**0.5) if _whole(self.electrodes) else 0
        sizes = tuple(
            (name, f"a whole number from 1 to {MOST_UNITS}", _whole(getattr(self, name)))
            for name in ("layers", "units", "classes")
        )
        yield from (
            ("family", " or ".join(get_args(Family)), self.family in get_args(Family)),
            ("wiring", " or ".join(get_args(Wiring)), self.wiring in get_args(Wiring)),
            (
                "electrodes",
                f"a square from 9 to {MOST_SIDE**2}",
                3 <= side <= MOST_SIDE and side**2 == self.electrodes,
            ),
            (
                "electrodes",
                "16 and more for resnet, which halves the grid twice",
                self.family != "resnet" or side >= 4,
            ),
            *((name, "true or false", isinstance(getattr(self, name), bool)) for name in _FLAGS),
            *sizes,
            ("dropout", "a number in 0 … 1", isinstance(self.dropout, int | float) and 0 <= self.dropout < 1),
            ("bins", "a positive whole number, or null", self.bins is None or _whole(self.bins)),
            ("anticausal", "false, or causal with it", self.causal or not self.anticausal),
            ("causal", f"true where the wiring is {self.wiring}", self.causal or not streaming),
            ("anticausal", f"false where the wiring is {self.wiring}", not (streaming and self.anticausal)),
            *self._size_rules(),
            ("anticausal", "false but for resnet", self.family == "resnet" or not self.anticausal),
            (
                "family",
                "resnet, lstm or gru where the wiring is streaming",
                self.wiring != "streaming" or self.family != "swin",
            ),
            (
                "family",
                "lstm or gru where the wiring is stateful",
                self.wiring != "stateful" or self.family in RECURRENT,
            ),
        )

    def _size_rules(self) -> Iterator[Rule]:
        channels = self.channels
        some = channels is None or (_whole(channels) and channels <= MOST_CHANNELS)
        yield "channels", f"a whole number from 1 to {MOST_CHANNELS}, or null", some
        yield (
            "channels",
            f"null for {self.family}: it has units",
            channels is None or self.family not in RECURRENT,
        )
        rate = self.drop_rate
        yield (
            "drop_rate",
            "a number, 0 or more and less than 1, or null",
            rate is None or (is_number(rate, least=0) and rate < 1),
        )
        yield (
            "drop_rate",
            f"null for {self.family}: it has dropout",
            rate is None or self.family not in RECURRENT,
        )
        yield (
            "learned_doubling",
            f"false for {self.family}: it is an entry of swin",
            self.family == "swin" or not self.learned_doubling,
        )
        heads = channels is None or self.family != "swin" or channels % swin.HEAD == 0
        yield "channels", f"a multiple of {swin.HEAD} for swin, those of a head", heads

    @property
    def side(self) -> Side:
        """Whose frames convolutions are padded with."""
        return ("future" if self.anticausal else "past") if self.causal else "both"

    @property
    def grid(self) -> int:
        """Electrodes a side."""
        return math.isqrt(self.electrodes)

    @property
    def features(self) -> int:
        """Channels of x_common."""
        fixed: dict[str, int] = {"resnet": resnet.FEATURES, "swin": swin.FEATURES}
        return fixed.get(self.family, self.classes)

    @property
    def memory(self) -> Mapping[str, tuple[int | str, ...]]:
        """What a stateful net remembers: name → shape; of outputs the name with `_after`."""
        if self.wiring != "stateful":
            return {}
        state = (self.layers, "batch", self.units)
        states = {"hidden": state, "cell": state} if self.family == "lstm" else {"hidden": state}
        return states | {"history": ("batch", self.classes, HEAD_REACH)}

    @property
    def input_frames(self) -> int | str:
        """Frames of the input: 144, or the name of a free axis."""
        free: dict[Wiring, int | str] = {
            "published": PAST + FRAMES,
            "streaming": "frames",
            "stateful": "new_frames",
        }
        return free[self.wiring]


RECURRENT: tuple[Family, ...] = ("lstm", "gru")
_FLAGS = ("causal", "anticausal", "db_loudness", "learned_doubling")


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_UNITS


def _presets() -> Mapping[str, EcogDecoderConfig]:
    presets = {}
    for family in get_args(Family):
        plain = EcogDecoderConfig(family=family)
        variants = {"": plain, "-causal": replace(plain, causal=True)}
        if family == "resnet":
            variants["-anticausal"] = replace(plain, causal=True, anticausal=True)
        if family != "swin":
            variants["-streaming"] = replace(plain, causal=True, wiring="streaming")
        if family in RECURRENT:
            variants["-stateful"] = replace(plain, causal=True, wiring="stateful")
        for suffix, config in variants.items():
            presets[family + suffix] = config
            presets[f"{family}-hb{suffix}"] = replace(config, electrodes=HYBRID_DENSITY)
    return MappingProxyType(presets)


ECOG_DECODER_PRESETS: Mapping[str, EcogDecoderConfig] = _presets()


class EcogDecoder(nn.Module):
    """The exported net: the same as its family's, but a tuple goes out.

    ecog (B, 144, E) → the tensors of `PARAMETERS` in their order, each (B, rows, 128), then x_common
    (B, features, 128). Keys are those of the family. Wiring "stateful" has more inputs and outputs:
    `EcogDecoderConfig.memory`, see `edge_training.ecog_speech.decoders.recurrent`.
    """

    def __init__(self, config: EcogDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.net = build_decoder(config)

    def forward(self, ecog: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        """(B, 144, E) → the parameters, (B, rows, 128) each, then x_common (B, features, 128)."""
        if not isinstance(self.net, RecurrentDecoder) or self.config.wiring != "stateful":
            return in_order(self.net(ecog), "x_common")
        *states, history = memory
        parameters, after, later = self.net.step(ecog, tuple(states), history)
        return (*in_order(parameters, "x_common"), *after, later)


def build_decoder(config: EcogDecoderConfig) -> nn.Module:
    """ecog (B, 144, E) → parameters by name; initialised as in neural_speech_decoding."""
    if config.family == "resnet":
        return ResNetDecoder(
            config.electrodes,
            config.side,
            config.wiring,
            channels=config.channels or resnet.CHANNELS,
            dropout=resnet.DROPOUT if config.drop_rate is None else config.drop_rate,
            db_loudness=config.db_loudness,
        )
    if config.family == "swin":
        return SwinDecoder(
            config.electrodes,
            config.side,
            channels=config.channels or swin.CHANNELS,
            drop_path=swin.DROP_PATH if config.drop_rate is None else config.drop_rate,
            learned_doubling=config.learned_doubling,
            db_loudness=config.db_loudness,
        )
    return RecurrentDecoder(
        config.electrodes,
        config.family,
        units=config.units,
        layers=config.layers,
        classes=config.classes,
        dropout=config.dropout,
        side=config.side,
        wiring=config.wiring,
        db_loudness=config.db_loudness,
    )


def decode(net: nn.Module, ecog: Tensor) -> Parameters:
    """Parameters by name, (B, rows, T) each, that a net of `build_decoder` gives for ecog (B, 16 + T, E)."""
    parameters: Parameters = net(ecog)
    return parameters
