"""STFT and its inverse as fixed convolutions, for runtimes that have no transform (ONNX has no ISTFT).

    FixedStft    audio (B, samples)          → spectrum (B, 2, bins, frames), real part before imaginary part
    FixedIstft   spectrum (B, 2, bins, frames) → audio (B, samples)

Conventions, paddings and lengths are those of `edge_runtime.dsp.spectral`; both are tested against it.
Forward: one convolution of stride hop, rows w[n] cos(2πkn / N) and −w[n] sin(2πkn / N). Inverse: one
transposed convolution with the same kernel, of the spectrum times c_k / N, c = 1 for bins that stand alone (0
and Nyquist) and 2 for the others; then the division by Σ w², which a transposed convolution of ones computes,
so that any number of frames works; then the padding is cut off. A graph with both holds the kernel once.

Windows are periodic cosine sums, centred in n_fft (hann, hamming, blackman, rectangular). The kernels are
constants: they are in no state dict.

float16: a transform of n_fft samples at full scale reaches n_fft / 2 (512 for 1024), far below 65504. The
inverse divides by √N before its convolution and by √N after it, so that neither end of the range is near.
Kernel values below 6e-8, at the ends of the window, become zero.

Ends without padding: there a sample is covered only by the edge of one window, and least squares would divide
one tiny number by another. Σ w² is therefore taken as at least `LEAST_WEIGHT` of its smallest value between
frames, so that the outermost samples fade out; with every other padding those samples are cut off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_runtime.dsp.spectral import Padding, StftConfig
from edge_runtime.errors import ConfigError
from edge_training.engine.config import JsonConfig

Window = Literal["hann", "hamming", "blackman", "rectangular"]

# w[n] = Σ_j (−1)^j a_j cos(2πjn / length)
COSINES: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "hann": (0.5, 0.5),
        "hamming": (0.54, 0.46),
        "blackman": (0.42, 0.5, 0.08),
        "rectangular": (1.0,),
    }
)
LEAST_WEIGHT = 0.005  # of the smallest Σ w² between frames: no error grows by more than some 14
FLATTEST = 0.02  # smallest by largest Σ w² between frames; below, an inverse multiplies errors by more than 7
MOST_WEIGHTS = 2**26  # of one kernel: n_fft 8192 needs half of it


@dataclass(frozen=True)
class SpectralConfig(JsonConfig):
    """Framing and window of one transform; ConfigError where the numbers contradict each other."""

    n_fft: int = 1024  # samples, odd lengths included
    hop_length: int = 256  # samples
    win_length: int = 1024  # samples, at most n_fft
    padding: Padding = "center-reflect"
    window: Window = "hann"

    def __post_init__(self) -> None:
        if self.window not in get_args(Window):
            raise ConfigError("window", got=repr(self.window), expected=", ".join(get_args(Window)))
        weights = 2 * self.stft.bins * self.n_fft
        if weights > MOST_WEIGHTS:
            raise ConfigError(
                "n_fft",
                got=f"{self.n_fft}, a kernel of {weights} numbers",
                expected=f"at most {MOST_WEIGHTS} numbers",
                cause="compute a transform of this length outside of the graph, by FFT",
            )

    @property
    def stft(self) -> StftConfig:
        """The framing as the runtime's `StftConfig`."""
        return StftConfig(self.n_fft, self.hop_length, self.win_length, self.padding)


SPECTRAL_PRESETS: Mapping[str, SpectralConfig] = MappingProxyType(
    {
        "1024-256": SpectralConfig(),  # mel inversion, HiFi-GAN
        "800-200": SpectralConfig(800, 200, 800, "center-zero"),  # talking heads
        "2048-420": SpectralConfig(2048, 420, 2048, "reflect"),  # rtMRI
    }
)


def window_in_frame(config: SpectralConfig) -> NDArray[np.float64]:
    """The window, ``(n_fft,)`` float64: zeros around it where it is shorter than the transform."""
    angles = 2.0 * np.pi * np.arange(config.win_length) / config.win_length
    window = sum(
        (-1.0) ** order * factor * np.cos(order * angles)
        for order, factor in enumerate(COSINES[config.window])
    )
    frame = np.zeros(config.n_fft)
    start = (config.n_fft - config.win_length) // 2
    frame[start : start + config.win_length] = window
    return frame


def weight_between_frames(config: SpectralConfig) -> NDArray[np.float64]:
    """Σ w², (hop_length,): the sum of all squared windows that cover a sample, by its place within a hop."""
    pieces = -(-config.n_fft // config.hop_length)
    square = np.zeros(pieces * config.hop_length)
    square[: config.n_fft] = window_in_frame(config) ** 2
    weight: NDArray[np.float64] = square.reshape(pieces, config.hop_length).sum(axis=0)
    return weight


def _kernel(config: SpectralConfig) -> Tensor:
    """(2 · bins, 1, n_fft) float32: windowed cos and −sin of 2πkn / N, the angle reduced in whole numbers."""
    n_fft = config.n_fft
    turns = np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) % n_fft
    angles = 2.0 * np.pi * turns / n_fft
    waves = np.concatenate([np.cos(angles), -np.sin(angles)]) * window_in_frame(config)
    return torch.from_numpy(waves[:, None]).float()


class FixedStft(nn.Module):
    """audio (B, samples) → spectrum (B, 2, bins, frames); at least `config.stft.min_samples` samples."""

    kernel: Tensor

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__()
        self.config = config
        self.stft = config.stft
        self.register_buffer("kernel", _kernel(config), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """(B, samples) → (B, 2, bins, frames), real part before imaginary part."""
        x = audio.unsqueeze(1)  # (B, 1, samples)
        zeros = self.stft.pad if self.stft.padding == "center-zero" else 0
        if self.stft.pad and not zeros:
            x = F.pad(x, (self.stft.pad, self.stft.pad), mode="reflect")
        y = F.conv1d(x, self.kernel, stride=self.stft.hop_length, padding=zeros)
        return y.reshape(y.shape[0], 2, self.stft.bins, -1)


class FixedIstft(nn.Module):
    """spectrum (B, 2, bins, frames) → audio (B, n_fft + (frames − 1) · hop − 2 · padding), least squares.

    Args:
        config: that of the transform to invert.
        kernel: of a FixedStft with this config, to be shared.

    Raises:
        ConfigError: the windows overlap too little, so that samples between them are lost.
    """

    kernel: Tensor
    pairs: Tensor
    square: Tensor

    def __init__(self, config: SpectralConfig, kernel: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        self.stft = config.stft
        self.root = math.sqrt(config.n_fft)
        weight = weight_between_frames(config)
        if weight.min() < FLATTEST * weight.max():
            raise ConfigError(
                "hop_length",
                got=f"{config.hop_length} samples, windows of {config.win_length} that leave gaps",
                expected=f"a hop at which the squared {config.window} windows overlap",
                cause="there is no inverse transform; at most half of win_length works for every window",
            )
        self.least = LEAST_WEIGHT * float(weight.min()) * self.root
        pairs = np.full(self.stft.bins, 2.0)  # each bin stands for its mirror image too …
        pairs[0] = 1.0
        if config.n_fft % 2 == 0:
            pairs[-1] = 1.0  # … but for 0 and Nyquist
        constants = {
            "pairs": torch.from_numpy(np.tile(pairs, 2)[:, None] / self.root).float(),
            "square": torch.from_numpy(self.root * window_in_frame(config) ** 2).float()[None, None],
            "kernel": _kernel(config) if kernel is None else kernel,
        }
        for name, values in constants.items():
            self.register_buffer(name, values, persistent=False)

    def forward(self, spectrum: Tensor) -> Tensor:
        """(B, 2, bins, frames) → (B, samples)."""
        hop, pad = self.stft.hop_length, self.stft.pad
        signal = F.conv_transpose1d(spectrum.flatten(1, 2) * self.pairs, self.kernel, stride=hop)
        row = spectrum[:, 0, :1]  # (B, 1, frames)
        # ones by comparison: runtimes in browsers and on phones lack an operator that fills a given shape
        weight = F.conv_transpose1d((row == row).to(row.dtype), self.square, stride=hop)
        audio = (signal / weight.clamp(min=self.least)).squeeze(1)
        return audio[:, pad:-pad] if pad else audio
