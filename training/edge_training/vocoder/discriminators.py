"""HiFi-GAN's discriminators (Kong, Kim, Bae 2020, arXiv 2010.05646): multi-period and multi-scale.

    input   (B, 1, N) samples in −1…1
    output  one `Judgement` for each sub-net: score (B, n) and the feature maps of all its layers, score last

MPD, one sub-net for each period p: reflect-pad on the right to a multiple of p, fold to (B, 1, N/p, p),
convolutions (5, 1) of stride (3, 1), the last but one of stride 1, then (3, 1) to one channel. Weight norm.
MSD, one sub-net for each scale: the raw audio with spectral norm, then twice an average pool (4, stride 2)
with weight norm; the first pooling's output feeds the second. Leaky ReLU 0.1 after all but the last layer.

`stock_state` and `load_stock_state` translate to the keys of published `do_` files: weight norm as
`weight_g`, `weight_v`; spectral norm as `weight_orig`, `weight_u`, `weight_v`, whose `weight_v` is a buffer
and not weight norm's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from edge_runtime.errors import CheckpointError, ConfigError
from edge_training.engine.config import JsonConfig

SLOPE = 0.1

# weight norm and spectral norm: torch's parametrization → the spelling of published files
_STOCK_SPELLING = {
    "parametrizations.weight.original0": "weight_g",
    "parametrizations.weight.original1": "weight_v",
    "parametrizations.weight.original": "weight_orig",
    "parametrizations.weight.0._u": "weight_u",
    "parametrizations.weight.0._v": "weight_v",
}


class Judgement(NamedTuple):
    """A sub-net's output for a batch."""

    score: Tensor  # (B, n), 1 where it takes the audio for real
    features: tuple[Tensor, ...]  # of every layer, the last one before it is flattened included


@dataclass(frozen=True)
class PeriodConfig(JsonConfig):
    """Multi-period discriminator; the defaults are the published ones."""

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)  # samples
    channels: tuple[int, ...] = (32, 128, 512, 1024, 1024)  # strides 3, the last 1
    padding: int = 2  # on each side of a convolution of 5; mri2speech has 4

    def __post_init__(self) -> None:
        _check_wholes("periods", self.periods)
        _check_wholes("channels", self.channels)
        _check_wholes("padding", (self.padding,))


@dataclass(frozen=True)
class ScaleConfig(JsonConfig):
    """Multi-scale discriminator; the defaults are the published ones."""

    scales: int = 3
    channels: tuple[int, ...] = (128, 128, 256, 512, 1024, 1024, 1024)
    kernels: tuple[int, ...] = (15, 41, 41, 41, 41, 41, 5)
    strides: tuple[int, ...] = (1, 2, 2, 4, 4, 1, 1)
    groups: tuple[int, ...] = (1, 4, 16, 16, 16, 16, 1)

    def __post_init__(self) -> None:
        _check_wholes("scales", (self.scales,), most=16)
        for name in ("channels", "kernels", "strides", "groups"):
            _check_wholes(name, getattr(self, name))
            if len(getattr(self, name)) != len(self.channels):
                raise ConfigError(
                    name, got=f"{len(getattr(self, name))} layers", expected=f"{len(self.channels)}"
                )
        for before, after, groups in zip((1, *self.channels), self.channels, self.groups, strict=False):
            if before % groups or after % groups:
                raise ConfigError(
                    "groups",
                    got=f"{groups} groups of {before} → {after} channels",
                    expected="divisors of both",
                )


def _check_wholes(name: str, values: object, most: int = 16384) -> None:
    listed = values if isinstance(values, tuple) else ()
    if not 1 <= len(listed) <= 64 or any(type(v) is not int or not 1 <= v <= most for v in listed):
        raise ConfigError(
            name,
            got=repr(list(values) if isinstance(values, tuple) else values),
            expected=f"a list of whole numbers, 1 to {most}",
        )


class PeriodDiscriminator(nn.Module):
    """One period of the MPD: (B, 1, N) → Judgement."""

    def __init__(self, period: int, channels: tuple[int, ...], padding: int = 2) -> None:
        super().__init__()
        self.period = period
        self.convs = nn.ModuleList()
        inputs = 1
        for layer, outputs in enumerate(channels):
            stride = 1 if layer == len(channels) - 1 else 3
            conv = nn.Conv2d(inputs, outputs, (5, 1), (stride, 1), padding=(padding, 0))
            self.convs.append(parametrizations.weight_norm(conv))
            inputs = outputs
        self.conv_post = parametrizations.weight_norm(nn.Conv2d(inputs, 1, (3, 1), padding=(1, 0)))

    def forward(self, x: Tensor) -> Judgement:
        """(B, 1, N) → score (B, n) and features."""
        batch = len(x)
        short = -x.shape[-1] % self.period
        if short:
            x = F.pad(x, (0, short), mode="reflect")
        x = x.view(batch, 1, -1, self.period)
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
            features.append(x)
        x = self.conv_post(x)
        features.append(x)
        return Judgement(x.flatten(1), tuple(features))


class ScaleDiscriminator(nn.Module):
    """One scale of the MSD: (B, 1, N) → Judgement."""

    def __init__(self, config: ScaleConfig, *, spectral: bool) -> None:
        super().__init__()
        norm = parametrizations.spectral_norm if spectral else parametrizations.weight_norm
        self.convs = nn.ModuleList()
        inputs = 1
        layers = zip(config.channels, config.kernels, config.strides, config.groups, strict=True)
        for outputs, kernel, stride, groups in layers:
            conv = nn.Conv1d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups)
            self.convs.append(norm(conv))
            inputs = outputs
        self.conv_post = norm(nn.Conv1d(inputs, 1, 3, padding=1))

    def forward(self, x: Tensor) -> Judgement:
        """(B, 1, N) → score (B, n) and features."""
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
            features.append(x)
        x = self.conv_post(x)
        features.append(x)
        return Judgement(x.flatten(1), tuple(features))


class MultiPeriodDiscriminator(nn.Module):
    """(B, 1, N) → one Judgement for each period."""

    def __init__(self, config: PeriodConfig) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(
            PeriodDiscriminator(p, config.channels, config.padding) for p in config.periods
        )

    def forward(self, x: Tensor) -> list[Judgement]:
        """(B, 1, N) → one judgement for each period."""
        return [discriminator(x) for discriminator in self.discriminators]


class MultiScaleDiscriminator(nn.Module):
    """(B, 1, N) → one Judgement for each scale, the raw audio first."""

    def __init__(self, config: ScaleConfig) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(
            ScaleDiscriminator(config, spectral=scale == 0) for scale in range(config.scales)
        )

    def forward(self, x: Tensor) -> list[Judgement]:
        """(B, 1, N) → one judgement for each scale, the raw audio first."""
        judgements = []
        for scale, discriminator in enumerate(self.discriminators):
            if scale:
                x = F.avg_pool1d(x, 4, 2, padding=2)
            judgements.append(discriminator(x))
        return judgements


# ---- published spelling -----------------------------------------------------------------------------------


def stock_state(module: nn.Module) -> dict[str, Tensor]:
    """A discriminator's state, name → tensor (…,), under the keys of published `do_` files."""
    return {stock: tensor for stock, tensor, _ in _pairs(module)}


def load_stock_state(module: nn.Module, state: Mapping[str, Tensor], *, name: str) -> None:
    """Load a state as `stock_state` or the training of jik876/hifi-gan writes it, strictly.

    Args:
        module: the discriminator.
        state: published key → tensor (…,).
        name: of the net, for the error.

    Raises:
        CheckpointError: missing, unknown or differently shaped keys; the error names the first ones.
    """
    shapes = {stock: (tuple(tensor.shape), own) for stock, tensor, own in _pairs(module)}
    differing = [
        key
        for key in sorted(shapes.keys() | state.keys())
        if key not in state or key not in shapes or tuple(state[key].shape) != shapes[key][0]
    ]
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise CheckpointError(
            name,
            got=f"missing, unknown or differently shaped {', '.join(differing[:3])}{more}",
            expected=f"the {len(shapes)} tensors of this discriminator",
            cause="its periods, channels or scales differ from the configuration's",
        )
    module.load_state_dict({own: state[stock] for stock, (_, own) in shapes.items()}, strict=True)


def _pairs(module: nn.Module) -> Iterator[tuple[str, Tensor, str]]:
    """(published key, tensor, own key)."""
    state: dict[str, Any] = module.state_dict()
    for own, tensor in state.items():
        layer, dot, tail = own.partition("parametrizations.")
        stock = layer + _STOCK_SPELLING[dot + tail] if dot else own
        yield stock, torch.as_tensor(tensor), own
