"""BigVGAN generator, v1 and v2: mel spectrogram → waveform (Lee and others 2023, arXiv 2206.04658).

    input   (B, num_mels, T) float32       natural-log magnitude mel of `config.mel`, HiFi-GAN's front end
    output  (B, 1, T · hop_length) float32 samples in −1…1 at `config.sampling_rate`

conv_pre (kernel 7) → per stage: transposed convolution (rate u, kernel k, channels halved) → mean of the
residual blocks → at last: activation_post → conv_post (kernel 7) → tanh, or clamp to ±1 (v2).
Residual block 1: x += conv2(act(conv1(act(x)))) for each dilation; block 2: x += conv(act(x)).

An activation is a periodic function at twice the rate, so that its harmonics do not fold back:
    up      zeros between the samples, low-pass of 12 taps, times 2; ends repeated
    snake       x + sin²(αx) / α, α for each channel          snakebeta   x + sin²(αx) / β
    down    the same low-pass, every second sample; ends repeated
α and β are stored as logarithms where `snake_logscale` says so. The low-pass is a sinc in a Kaiser window,
cut-off 1/4 of the doubled rate, transition 0.6/2, DC gain 1; published files hold its taps.

Parameters are named as in NVIDIA's release (MIT): `conv_pre`, `ups.{i}.0`, `resblocks.{j}.convs1.{d}`,
`.convs2.{d}` or `.convs.{d}`, `resblocks.{j}.activations.{k}.act.alpha`, `.beta`, `.upsample.filter`,
`.downsample.lowpass.filter`, `activation_post…`, `conv_post`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_runtime.dsp.mel import MelConfig
from edge_training.engine.config import JsonConfig, Rule
from edge_training.vocoder.hifigan import END_KERNEL, HifiGanConfig

Activation = Literal["snake", "snakebeta"]

RATIO, TAPS = 2, 12  # of the anti-aliased activation
CUTOFF, HALF_WIDTH = 0.5 / RATIO, 0.6 / RATIO  # of the doubled rate
LEAST = 1e-9  # beside α and β in the denominator
ACTIVATION_REACH = 5  # samples that an activation looks back and ahead: both low-passes together
# entries that HiFi-GAN's config.json has too, with the same meaning and rules
_SHARED = (
    "resblock", "upsample_rates", "upsample_kernel_sizes", "upsample_initial_channel",
    "resblock_kernel_sizes", "resblock_dilation_sizes", "num_mels", "n_fft", "hop_size", "win_size",
    "sampling_rate", "fmin", "fmax", "fmax_above_nyquist",
)  # fmt: skip


@dataclass(frozen=True)
class BigVganConfig(JsonConfig):
    """A `config.json` of NVIDIA/BigVGAN, without the entries that only training reads.

    Raises:
        ConfigError: impossible or contradicting entries; the error names the entry, the value and the rule.

    >>> BIGVGAN_PRESETS["v2-22k"].hop_length, BIGVGAN_PRESETS["v2-22k"].use_tanh_at_final
    (256, False)
    """

    resblock: int  # type of residual block, 1 or 2
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    upsample_initial_channel: int
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    num_mels: int
    n_fft: int  # samples
    hop_size: int  # samples
    win_size: int  # samples
    sampling_rate: int  # Hz
    fmin: float  # Hz
    fmax: float | None  # Hz; None: half the sampling rate
    activation: Activation = "snakebeta"
    snake_logscale: bool = True  # α and β are stored as logarithms
    use_tanh_at_final: bool = True  # v2: false, clamped instead
    use_bias_at_final: bool = True  # v2: false
    fmax_above_nyquist: bool = False  # accept an fmax whose upper bands are empty

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.hifigan

    def _rules(self) -> Iterator[Rule]:
        known = get_args(Activation)
        yield "activation", " or ".join(map(repr, known)), self.activation in known
        for name in ("snake_logscale", "use_tanh_at_final", "use_bias_at_final"):
            yield name, "true or false", isinstance(getattr(self, name), bool)

    @property
    def hifigan(self) -> HifiGanConfig:
        """The HiFi-GAN of the same sizes, whose rules these numbers keep and whose mel they have."""
        return HifiGanConfig(**{name: getattr(self, name) for name in _SHARED}, wiring="stock")

    @property
    def hop_length(self) -> int:
        """Samples out for each mel frame in."""
        return self.hop_size

    @property
    def mel(self) -> MelConfig:
        """The front end, HiFi-GAN's."""
        return self.hifigan.mel

    @property
    def context_frames(self) -> int:
        """Mel frames on each side of a frame that its samples depend on, computed from the layers."""
        block, reach = self._block_reach, END_KERNEL // 2 + ACTIVATION_REACH
        first, last = -reach, self.hop_size - 1 + reach
        stages = list(zip(self.upsample_rates, self.upsample_kernel_sizes, strict=True))
        for rate, kernel in reversed(stages):
            first, last = first - block, last + block
            padding = (kernel - rate) // 2
            # sample n sums the inputs i with 0 <= n + padding − i·rate < kernel
            first, last = -((kernel - 1 - padding - first) // rate), (last + padding) // rate
        return max(-first, last) + END_KERNEL // 2

    @property
    def _block_reach(self) -> int:
        """Samples on each side that the widest residual block of a stage depends on."""
        reaches = []
        for kernel, dilations in zip(self.resblock_kernel_sizes, self.resblock_dilation_sizes, strict=True):
            chain = [
                d for dilation in dilations for d in ((dilation, 1) if self.resblock == 1 else (dilation,))
            ]
            reaches.append(sum((kernel - 1) * d // 2 + ACTIVATION_REACH for d in chain))
        return max(reaches)

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> Self:
        """A config from entries of a `config.json`; unknown ones are refused."""
        values = dict(entries)
        if values.get("resblock") in ("1", "2"):  # published configs spell it as a string
            values["resblock"] = int(values["resblock"])
        for name in {"fmin", "fmax"} & values.keys():  # and frequencies as whole numbers
            if isinstance(values[name], int) and not isinstance(values[name], bool):
                values[name] = float(values[name])
        rate, top = values.get("sampling_rate"), values.get("fmax")
        if isinstance(rate, int) and isinstance(top, float) and top > rate / 2:
            values.setdefault("fmax_above_nyquist", True)
        return super().from_json(values)


# ---- activations ------------------------------------------------------------------------------------------


def low_pass() -> Tensor:
    """The taps (12,) of both low-passes: a sinc in a Kaiser window, DC gain 1."""
    return torch.tensor(_taps())


@cache
def _taps() -> tuple[float, ...]:
    """In float64.

    The window's β from attenuation and transition is Kaiser's rule (1974).
    """
    half = TAPS // 2
    attenuation = 2.285 * (half - 1) * math.pi * 4 * HALF_WIDTH + 7.95  # dB
    if attenuation > 50:
        beta = 0.1102 * (attenuation - 8.7)
    else:
        beta = 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21) if attenuation >= 21 else 0.0
    place = np.arange(TAPS) - half + 0.5
    taps = np.kaiser(TAPS, beta) * np.sinc(2 * CUTOFF * place)
    return tuple((taps / taps.sum()).tolist())


class Snake(nn.Module):
    """x + sin²(αx) / β at its own rate, (B, C, N) → same; without β of its own, β is α."""

    def __init__(self, channels: int, config: BigVganConfig) -> None:
        super().__init__()
        start = torch.zeros(channels) if config.snake_logscale else torch.ones(channels)
        self.logscale = config.snake_logscale
        self.alpha = nn.Parameter(start)
        self.beta = nn.Parameter(start.clone()) if config.activation == "snakebeta" else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N) → the same shape."""
        alpha: Tensor = self.alpha
        beta: Tensor = self.alpha if self.beta is None else self.beta
        if self.logscale:
            alpha, beta = alpha.exp(), beta.exp()
        bent = torch.sin(x * alpha[None, :, None])
        # a quotient of tensors: Core ML's reciprocal adds 1e-4 to what it inverts
        strength = torch.ones_like(beta) / (beta + LEAST)
        return x + bent * bent * strength[None, :, None]


class Taps(nn.Module):
    """The taps (1, 1, 12) under the name that published files have."""

    filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filter", low_pass()[None, None])


class Upsample(Taps):
    """(B, C, N) → (B, C, 2N). Channels are rows of one picture, so that one set of taps serves all."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N) → (B, C, 2N)."""
        reach = TAPS // RATIO - 1
        rows = F.pad(x[:, None], (reach, reach, 0, 0), mode="replicate")
        full = F.conv_transpose2d(rows, RATIO * self.filter[:, :, None], stride=(1, RATIO))
        edge = reach * RATIO + (TAPS - RATIO) // 2
        return full[:, 0, :, edge:-edge]


class LowPass(Taps):
    """(B, C, 2N) → (B, C, N)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, 2N) → (B, C, N)."""
        rows = F.pad(x[:, None], (TAPS // 2 - 1, TAPS // 2, 0, 0), mode="replicate")
        return F.conv2d(rows, self.filter[:, :, None], stride=(1, RATIO))[:, 0]


class Downsample(nn.Module):
    """The low-pass, one level deeper as in published files."""

    def __init__(self) -> None:
        super().__init__()
        self.lowpass = LowPass()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, 2N) → (B, C, N)."""
        smooth: Tensor = self.lowpass(x)
        return smooth


class AntiAliased(nn.Module):
    """A snake at twice the rate; (B, C, N) → (B, C, N)."""

    def __init__(self, channels: int, config: BigVganConfig) -> None:
        super().__init__()
        self.act = Snake(channels, config)
        self.upsample = Upsample()
        self.downsample = Downsample()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N) → the same shape."""
        bent: Tensor = self.downsample(self.act(self.upsample(x)))
        return bent


# ---- net --------------------------------------------------------------------------------------------------


def _convolution(channels: int, kernel: int, dilation: int) -> nn.Conv1d:
    return nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=(kernel - 1) * dilation // 2)


class Block1(nn.Module):
    """Pairs of a dilated and a plain convolution, an activation before each; (B, C, N) → (B, C, N)."""

    def __init__(self, config: BigVganConfig, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs1 = nn.ModuleList(_convolution(channels, kernel, dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(_convolution(channels, kernel, 1) for _ in dilations)
        self.activations = nn.ModuleList(AntiAliased(channels, config) for _ in range(2 * len(dilations)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N) → the same shape."""
        for place, (dilated, plain) in enumerate(zip(self.convs1, self.convs2, strict=True)):
            first, second = self.activations[2 * place], self.activations[2 * place + 1]
            x = x + plain(second(dilated(first(x))))
        return x


class Block2(nn.Module):
    """Dilated convolutions, an activation before each; (B, C, N) → (B, C, N)."""

    def __init__(self, config: BigVganConfig, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_convolution(channels, kernel, dilation) for dilation in dilations)
        self.activations = nn.ModuleList(AntiAliased(channels, config) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N) → the same shape."""
        for convolution, activation in zip(self.convs, self.activations, strict=True):
            x = x + convolution(activation(x))
        return x


class BigVgan(nn.Module):
    """mel (B, num_mels, T) → samples (B, 1, T · hop_length); weight norm is folded where files have it.

    >>> import torch
    >>> BigVgan(BIGVGAN_PRESETS["tiny"]).eval()(torch.zeros(1, 8, 4)).shape
    torch.Size([1, 1, 64])
    """

    def __init__(self, config: BigVganConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.upsample_initial_channel
        block = Block1 if config.resblock == 1 else Block2
        self.blocks = len(config.resblock_kernel_sizes)
        self.conv_pre = nn.Conv1d(config.num_mels, channels, END_KERNEL, padding=END_KERNEL // 2)
        self.ups, self.resblocks = nn.ModuleList(), nn.ModuleList()
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            up = nn.ConvTranspose1d(channels, channels // 2, kernel, rate, (kernel - rate) // 2)
            self.ups.append(nn.ModuleList([up]))
            channels //= 2
            for size, row in zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True):
                self.resblocks.append(block(config, channels, size, row))
        self.activation_post = AntiAliased(channels, config)
        self.conv_post = nn.Conv1d(
            channels, 1, END_KERNEL, padding=END_KERNEL // 2, bias=config.use_bias_at_final
        )

    def forward(self, mel: Tensor) -> Tensor:
        """(B, num_mels, T) → (B, 1, T · hop_length)."""
        x: Tensor = self.conv_pre(mel)
        for stage, ups in enumerate(self.ups):
            for up in ups:  # type: ignore[attr-defined]  # a ModuleList of one
                x = up(x)
            x = self._mean_of_blocks(stage, x)
        x = self.conv_post(self.activation_post(x))
        return x.tanh() if self.config.use_tanh_at_final else x.clamp(-1.0, 1.0)

    def _mean_of_blocks(self, stage: int, x: Tensor) -> Tensor:
        first = stage * self.blocks
        total: Tensor = self.resblocks[first](x)
        for block in range(first + 1, first + self.blocks):
            total = total + self.resblocks[block](x)
        return total / self.blocks


# ---- presets ----------------------------------------------------------------------------------------------


def _release(**changes: Any) -> BigVganConfig:
    """One of NVIDIA's published configurations, by its differences from the first of v2."""
    entries: dict[str, Any] = {
        "resblock": 1,
        "upsample_rates": (4, 4, 2, 2, 2, 2),
        "upsample_kernel_sizes": (8, 8, 4, 4, 4, 4),
        "upsample_initial_channel": 1536,
        "resblock_kernel_sizes": (3, 7, 11),
        "resblock_dilation_sizes": ((1, 3, 5),) * 3,
        "num_mels": 80,
        "n_fft": 1024,
        "hop_size": 256,
        "win_size": 1024,
        "sampling_rate": 22050,
        "fmin": 0.0,
        "fmax": None,
        "use_tanh_at_final": False,
        "use_bias_at_final": False,
    }
    return BigVganConfig(**entries | changes)


_V1: dict[str, Any] = {"use_tanh_at_final": True, "use_bias_at_final": True}
_BASE: dict[str, Any] = _V1 | {
    "upsample_rates": (8, 8, 2, 2),
    "upsample_kernel_sizes": (16, 16, 4, 4),
    "upsample_initial_channel": 512,
}

BIGVGAN_PRESETS: Mapping[str, BigVganConfig] = MappingProxyType(
    {
        "v2-22k": _release(),
        "v2-22k-fmax8k": _release(fmax=8000.0),
        "v2-24k": _release(num_mels=100, sampling_rate=24000),
        "v2-44k": _release(num_mels=128, sampling_rate=44100),
        "v2-44k-512": _release(
            num_mels=128,
            sampling_rate=44100,
            n_fft=2048,
            hop_size=512,
            win_size=2048,
            upsample_rates=(8, 4, 2, 2, 2, 2),
            upsample_kernel_sizes=(16, 8, 4, 4, 4, 4),
        ),
        "v1-22k": _release(**_V1, fmax=8000.0),
        "v1-24k": _release(**_V1, num_mels=100, sampling_rate=24000, fmax=12000.0),
        "base-22k": _release(**_BASE, fmax=8000.0),
        "base-24k": _release(**_BASE, num_mels=100, sampling_rate=24000, fmax=12000.0),
        # every part once, in a moment
        "tiny": _release(
            num_mels=8, sampling_rate=8000, n_fft=64, hop_size=16, win_size=64, upsample_initial_channel=16,
            upsample_rates=(4, 4), upsample_kernel_sizes=(8, 8), resblock_kernel_sizes=(3, 5),
            resblock_dilation_sizes=((1, 3), (1, 2)), resblock=2,
        ),
    }
)  # fmt: skip
