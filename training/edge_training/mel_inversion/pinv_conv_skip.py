"""Mel inversion: mel → magnitude of the STFT, by a net that refines the pseudo-inverse's estimate.

    input   (B, n_mels, T)   the mel exactly as `config.mel` gives it
    output  (B, bins, T)     domain "log": `log_magnitude`, ln of the magnitude, at least ln 1e-5
                             domain "db":  `magnitude_db`, dB below the recording's maximum, 80 dB onto 0 … 1

Two domains of the same nets:
    log   the mel that vocoders share, ln(max(bank @ magnitude, floor)). The estimate is the logarithm of
          pinv @ exp(mel); as that is negative in many bins, it is raised to 20 dB below the local average of
          the mel's bands, and to 1e-5. Estimate and output are scaled by fixed numbers, ln 1e-5 onto 0 and
          the largest magnitude that a signal at full scale can have (win_length / 2) onto 1: the level is
          kept, whatever else is in the batch.
    db    mel-speech-reconstruction's: the bank applied to the normalised dB magnitude. Estimate: pinv @ mel.

Normalisation: "fixed", as above (domain "db": the estimate is clamped to 0 … 1); or "min-max", for
checkpoints of mel-speech-reconstruction: the estimate scaled onto 0 … 1 by its own extrema, the output
divided by its own maximum. There the extrema are the batch's, which is one example; here each example's own.

Variants, on the estimate (B, 1, bins, T); convolutions 5 bins × 3 frames with batch norm and ReLU, without
downsampling (708,000 weights of `pinv-conv-skip`, 22.7 GMAC for a second at 16 kHz):
    pinv-conv-skip                 encoder of three, bottleneck, decoder of three; skips are concatenated
    pinv-conv                      the same without skips
    pinv-conv-res                  skips are added
    pinv-conv-skip-no-bottleneck   the decoder follows the encoder directly
    unet, pinv-unet                three levels with pooling: the output, or a correction to subtract
    light                          a small net of its own for devices, see `mel_inversion_light`; domain "log"

float16: exp(mel) and the floors are computed 16 times as large, 1.6e-4 to some thousands, so that none is
below the smallest normal number, which many devices make 0. The floor 20 dB below the neighbourhood keeps the
logarithm from magnifying the rounding of bins where pinv's terms cancel: without it float16 is off by up to
4.6 of ln on speech and float32 by 2e-3, with it by 0.43 and 3e-5.

Parameters are named `convblocks.{i}.conv.*` and `convblocks.{i}.bn.*`; the U-nets' names are our own. The
pseudo-inverse is a constant and in no state dict. Source: filippovillani/mel-speech-reconstruction.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_runtime.dsp.mel import PRESETS, MelConfig, filter_bank
from edge_runtime.errors import ConfigError
from edge_training.engine.config import JsonConfig, Rule
from edge_training.mel_inversion import light as mel_inversion_light

Variant = Literal[
    "pinv-conv-skip",
    "pinv-conv",
    "pinv-conv-res",
    "pinv-conv-skip-no-bottleneck",
    "unet",
    "pinv-unet",
    "light",
]
Domain = Literal["log", "db"]
Normalization = Literal["fixed", "min-max"]

FLOOR = 1e-5  # smallest magnitude of the domain "log"
KERNEL = (5, 3)  # bins × frames
LEVELS = 3  # of encoder and decoder
MOST_CHANNELS = 4096
BELOW_NEIGHBOURS = 0.1  # smallest estimate, as a part of the local average
SCALE = 16.0  # of what goes through exp and log, in float16's normal range
SMALLEST_RANGE = 1e-4  # of an estimate with min-max normalisation: silence stays 0, in float16 too


@dataclass(frozen=True)
class MelInversionConfig(JsonConfig):
    """Which net, on which mel; ConfigError where they contradict each other."""

    variant: Variant = "pinv-conv-skip"
    domain: Domain = "log"
    mel: MelConfig = PRESETS["mel-inversion"]
    channels: tuple[int, ...] = (32, 64, 128)  # of the three encoder blocks, or of the U-net's three levels
    normalization: Normalization = "fixed"  # "min-max": checkpoints of mel-speech-reconstruction

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_mel(self)
        if self.domain == "log" and self.normalization == "min-max":
            raise ConfigError(
                "normalization",
                got="'min-max' with domain 'log'",
                expected="'fixed' in that domain",
                cause="the level would be lost; only mel-speech-reconstruction's checkpoints (db) need it",
            )
        if self.variant == "light":
            self._check_light()

    def _rules(self) -> Iterator[Rule]:
        yield "variant", ", ".join(get_args(Variant)), self.variant in get_args(Variant)
        yield "domain", " or ".join(get_args(Domain)), self.domain in get_args(Domain)
        known = get_args(Normalization)
        yield "normalization", " or ".join(known), self.normalization in known
        yield "channels", f"{LEVELS} whole numbers up to {MOST_CHANNELS}", _are_channels(self.channels)

    def _check_light(self) -> None:
        if self.domain != "log":
            raise ConfigError("variant", got="'light' with domain 'db'", expected="domain 'log'")
        if (self.bins - 1) % mel_inversion_light.GROUP:
            raise ConfigError(
                "mel",
                got=f"n_fft {self.mel.n_fft} with variant 'light'",
                expected=f"a multiple of {2 * mel_inversion_light.GROUP}",
            )

    @property
    def bins(self) -> int:
        """Rows of the magnitude."""
        return self.mel.stft.bins

    @property
    def context_frames(self) -> int | None:
        """Frames to add on each side of a chunk and to drop from the output; None where no number is enough.

        That is with min-max normalisation, and for U-nets: they pool over eight frames, so that the result
        depends on where a chunk begins.
        """
        if self.normalization == "min-max" or self.variant in ("unet", "pinv-unet"):
            return None
        if self.variant == "light":
            return mel_inversion_light.CONTEXT_FRAMES
        return (KERNEL[1] // 2) * len(_plan(self))

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> Self:
        """The config of a manifest or file; domain "db" has a front end of its own by default."""
        if entries.get("domain") == "db":
            entries = {"mel": PRESETS["mel-inversion-db"].to_json()} | dict(entries)
        return super().from_json(entries)


def _are_channels(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == LEVELS
        and all(isinstance(c, int) and not isinstance(c, bool) and 0 < c <= MOST_CHANNELS for c in value)
    )


def _check_mel(config: MelInversionConfig) -> None:
    """ConfigError unless the net can undo the front end's logarithm."""
    mel = config.mel
    if mel.n_mels is None:
        raise ConfigError("mel", got="no mel bands", expected="a front end with a filter bank")
    if config.domain == "db":
        fits = mel.spectrum_range_db is not None and mel.log == "none" and mel.scale_from is None
        expected = "the bank on a normalised dB magnitude, as in the preset mel-inversion-db"
    else:
        natural = (mel.log, mel.log_gain, mel.reference) == ("ln", 1.0, 0.0) and mel.power == 1
        fits = natural and (mel.spectrum_range_db, mel.top_db, mel.scale_from) == (None, None, None)
        expected = "the natural logarithm of a magnitude mel, as in mel-inversion and hifigan-22k"
    if not fits:
        got = f"another mel (log {mel.log!r}, power {mel.power})"
        raise ConfigError("mel", got=got, expected=expected, cause=f"the domain is {config.domain!r}")


# ---- the estimate -----------------------------------------------------------------------------------------


class Estimate(nn.Module):
    """The pseudo-inverse's estimate: mel (B, n_mels, T) → (B, 1, bins, T), scaled to 0 … 1."""

    pinv: Tensor
    lowest: Tensor

    def __init__(self, config: MelInversionConfig) -> None:
        super().__init__()
        self.config = config
        bank = filter_bank(config.mel)
        self.register_buffer("pinv", torch.from_numpy(np.linalg.pinv(bank)).float(), persistent=False)
        lowest = torch.from_numpy(BELOW_NEIGHBOURS * _local_average(bank)).float()
        self.register_buffer("lowest", lowest, persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, n_mels, T) → (B, 1, bins, T) in 0 … 1."""
        if self.config.domain == "log":
            return self._log_estimate(mel).unsqueeze(1)
        estimate = torch.matmul(self.pinv, mel).unsqueeze(1)
        if self.config.normalization == "fixed":
            return estimate.clamp(0.0, 1.0)
        low, high = estimate.amin((1, 2, 3), keepdim=True), estimate.amax((1, 2, 3), keepdim=True)
        return (estimate - low) / (high - low).clamp_min(SMALLEST_RANGE)

    def _log_estimate(self, mel: Tensor) -> Tensor:
        linear = (mel + math.log(SCALE)).exp()
        estimate = torch.maximum(torch.matmul(self.pinv, linear), torch.matmul(self.lowest, linear))
        low, high = log_range(self.config)
        return (estimate.clamp_min(SCALE * FLOOR).log() - (low + math.log(SCALE))) / (high - low)


def _local_average(bank: NDArray[np.float64]) -> NDArray[np.float64]:
    """(bins, n_mels): gives 1 in every bin for the mel of a magnitude of 1; 0 where no band reaches."""
    weight = bank.T @ bank.sum(axis=1)
    average: NDArray[np.float64] = bank.T / np.where(weight > 0, weight, 1.0)[:, None]
    return average


def log_range(config: MelInversionConfig) -> tuple[float, float]:
    """ln of the magnitudes that are scaled to 0 and to 1."""
    return math.log(FLOOR), math.log(config.mel.win_length / 2)


def log_scaled(magnitude: Tensor, config: MelInversionConfig) -> Tensor:
    """Linear magnitude (…, bins, T) → its ln, from `log_range` onto 0 … 1 (training targets)."""
    low, high = log_range(config)
    return (magnitude.clamp_min(FLOOR).log() - low) / (high - low)


def log_unscaled(values: Tensor, config: MelInversionConfig) -> Tensor:
    """Values in 0 … 1, (…, bins, T) → ln of the magnitude: undoes the scale of `log_scaled`, not its ln."""
    low, high = log_range(config)
    return values * (high - low) + low


# ---- the nets on it ---------------------------------------------------------------------------------------


def _plan(config: MelInversionConfig) -> list[tuple[int, int]]:
    """(inputs, outputs) of each block."""
    a, b, c = config.channels
    encoder = [(1, a), (a, b), (b, c)]
    if config.variant == "pinv-conv-skip-no-bottleneck":
        return [*encoder, (2 * c, b), (2 * b, a), (2 * a, 1)]
    twice = 2 if config.variant == "pinv-conv-skip" else 1
    return [*encoder, (c, c), (twice * c, b), (twice * b, a), (twice * a, 1)]


def _block(inputs: int, outputs: int, kernel: tuple[int, int] = KERNEL) -> nn.Sequential:
    """Convolution → batch norm → ReLU that keeps the size."""
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv2d(inputs, outputs, kernel, padding=padding),
            bn=nn.BatchNorm2d(outputs),
            relu=nn.ReLU(),
        )
    )


Join = Callable[[Tensor, Tensor], Tensor]


def _concatenated(x: Tensor, skip: Tensor) -> Tensor:
    return torch.cat([x, skip], 1)


def _added(x: Tensor, skip: Tensor) -> Tensor:
    return x + skip


def _alone(x: Tensor, _skip: Tensor) -> Tensor:
    return x


_JOINS: Mapping[str, Join] = MappingProxyType(
    {
        "pinv-conv-skip": _concatenated,
        "pinv-conv": _alone,
        "pinv-conv-res": _added,
        "pinv-conv-skip-no-bottleneck": _concatenated,
    }
)


class UNet(nn.Module):
    """Three levels of two convolutions 3 × 3, pooled by 2, and back; (B, 1, bins, T) → the same, at least 0.

    The last group of eight bins and frames is padded with zeros, which stand for silence.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            _pair(inputs, outputs) for inputs, outputs in zip((1, *channels), channels, strict=False)
        )
        self.bottom = _pair(channels[-1], 2 * channels[-1])
        above = (2 * channels[-1], *reversed(channels))
        steps = list(pairwise(above))
        self.reduce = nn.ModuleList(nn.Conv2d(wide, narrow, 3, padding=1) for wide, narrow in steps)
        self.up = nn.ModuleList(_pair(2 * narrow, narrow) for _, narrow in steps)
        half = max(1, channels[0] // 2)
        self.out = nn.Sequential(
            nn.Conv2d(channels[0], half, 3, padding=1), nn.ReLU(), nn.Conv2d(half, 1, 1), nn.ReLU()
        )

    def forward(self, estimate: Tensor) -> Tensor:
        """(B, 1, bins, T) → (B, 1, bins, T), at least 0."""
        bins, frames = estimate.shape[2], estimate.shape[3]
        # always seven, and skips cut to the upsampled size: no arithmetic on lengths, which Core ML's
        # converter would do in float16, wrong from 2049 on
        x = F.pad(estimate, (0, 2**LEVELS - 1, 0, -bins % 2**LEVELS))
        skips = []
        for pair in self.down:
            skips.append(pair(x))
            x = F.max_pool2d(skips[-1], 2)
        x = self.bottom(x)
        for reduce, pair, skip in zip(self.reduce, self.up, reversed(skips), strict=True):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = pair(torch.cat([reduce(x), skip[..., : x.shape[3]]], 1))
        answer: Tensor = self.out(x)
        return answer[:, :, :bins, :frames]


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_block(inputs, outputs, (3, 3)), _block(outputs, outputs, (3, 3)))


class MelInversion(nn.Module):
    """mel (B, n_mels, T) → magnitude (B, bins, T) in the config's domain. Call `.eval()` first."""

    def __init__(self, config: MelInversionConfig | None = None) -> None:
        super().__init__()
        self.config = config or MelInversionConfig()
        self.estimate = Estimate(self.config)
        if self.config.variant in _JOINS:
            self.convblocks = nn.ModuleList(_block(*sizes) for sizes in _plan(self.config))
        else:
            self.unet = UNet(self.config.channels)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, n_mels, T) → (B, bins, T) in the config's domain."""
        estimate = self.estimate(mel)
        x = self.refined(estimate)
        if self.config.normalization == "min-max":
            x = x / x.amax((1, 2, 3), keepdim=True).clamp_min(SMALLEST_RANGE)
        x = x.squeeze(1)
        return log_unscaled(x, self.config) if self.config.domain == "log" else x

    def refined(self, estimate: Tensor) -> Tensor:
        """(B, 1, bins, T) → the same shape, 0 for the floor and 1 for the largest magnitude."""
        if self.config.variant == "unet":
            answer: Tensor = self.unet(estimate)
            return answer
        if self.config.variant == "pinv-unet":
            return F.relu(estimate - self.unet(estimate))
        return self._convolved(estimate)

    def _convolved(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        join, decoder = _JOINS[self.config.variant], len(self.convblocks) - LEVELS
        for index, block in enumerate(self.convblocks):
            if index >= decoder:
                x = join(x, skips.pop())
            x = block(x)
            if index < LEVELS:
                skips.append(x)
        return x


def build_mel_inversion(config: MelInversionConfig | None = None) -> nn.Module:
    """The module of a config in its initial state."""
    if config is not None and config.variant == "light":
        return mel_inversion_light.MelInversionLight(config.mel)
    return MelInversion(config)


# ---- presets ----------------------------------------------------------------------------------------------

_DB = MelInversionConfig(domain="db", mel=PRESETS["mel-inversion-db"])

MEL_INVERSION_PRESETS: Mapping[str, MelInversionConfig] = MappingProxyType(
    {
        "pinv-conv-skip": MelInversionConfig(),  # 16 kHz, log-magnitude mels
        "pinv-conv-skip-22k": MelInversionConfig(mel=PRESETS["hifigan-22k"]),
        "pinv-conv-skip-db": _DB,
        # checkpoints of mel-speech-reconstruction
        "origin": replace(_DB, normalization="min-max"),
        "light": MelInversionConfig("light", mel=PRESETS["hifigan-22k"]),
    }
)
