"""Deep Griffin-Lim iteration: one block that improves the phase of a spectrum.

    Y = A · X / |X|        the wanted magnitude with the phase of X
    Z = STFT(ISTFT(Y))     the nearest spectrum that some signal has
    X' = Z − F(X, Y, Z; A) F: the remaining noise, estimated by a convolutional net

Every block has the same weights; one block is trained, by denoising, so any number of blocks may follow one
another at run time. After the last one: P_A once more, then the inverse transform. Source: Masuyama, Yatabe,
Koizumi, Oikawa, Harada, JSTSP 14 (1), 2020.

F works on complex numbers written as real ones: (B, channels, bins, frames) for the real part and for the
imaginary part. Three gated complex convolutions without bias, re' = (Wr∗re − Wi∗im) g,
im' = (Wr∗im + Wi∗re) g with g = sigmoid(Wg ∗ [|re + i im|, A]), then a plain complex 1 × 1 convolution.

    graph "block"   spectrum (B, 2, bins, T), magnitude (B, bins, T) → next_spectrum (B, 2, bins, T)
    graph "net"     x, y, z (B, 2, bins, T), magnitude (B, bins, T)  → residual F (B, 2, bins, T)

Real part before imaginary part on the axis of 2. In the graph "net" the pipeline computes Y, Z and Z − F.

Scale: the gates make F depend on the level. Training and pipeline scale the magnitude to a root mean square
of `config.magnitude_rms` over all bins and frames (a signal of deviation 1 has about √Σw² = 19.6) and
divide the result by the same factor.

float16: magnitudes reach some hundreds there, and their squares 65504. So |c| and c / |c| are computed from
c / max(|re|, |im|), whose square lies between 1 and 2 (`magnitude_of`, `unit_phasor`).

Parameters, 380,288 (`origin`: 64 channels, kernel 5 × 3) or 97,984 (`small`: 32 channels, kernel 3 × 5, bins
× frames): `degliblock.convdnn.aigcc.{i}.{conv_re,conv_im,conv_gate}.weight`,
`degliblock.convdnn.conv.{conv_re,conv_im}.weight`. 632 k and 163 k multiply-adds for each point of the
spectrum and block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from edge_runtime.dsp.spectral import Padding
from edge_training.engine.config import JsonConfig, Rule
from edge_training.spectral.layers import FixedIstft, FixedStft, SpectralConfig

Graph = Literal["block", "net"]

LAYERS = 3  # gated ones
SMALLEST = 2.0**-14  # float16's smallest normal number; the phase of smaller values is not kept
MOST_CHANNELS = 1024
MOST_TAPS = 63  # of a kernel along one axis


@dataclass(frozen=True)
class DegliConfig(JsonConfig):
    """The block's sizes and its transform; ConfigError where the numbers contradict each other."""

    channels: int = 64
    kernel: tuple[int, int] = (5, 3)  # bins × frames, odd
    sample_rate: int = 16000  # Hz, of the speech that it was trained on
    n_fft: int = 1024  # samples
    hop_length: int = 256  # samples
    win_length: int = 1024  # samples, periodic Hann
    padding: Padding = "center-reflect"
    magnitude_rms: float = 19.6  # over bins and frames; the pipeline scales the magnitude to it
    graph: Graph = "block"

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.spectral  # checks the framing

    def _rules(self) -> Iterator[Rule]:
        yield "channels", f"a whole number from 1 to {MOST_CHANNELS}", _whole(self.channels, MOST_CHANNELS)
        yield "kernel", f"two odd numbers up to {MOST_TAPS}", _is_kernel(self.kernel)
        yield "sample_rate", "a whole number of Hz", _whole(self.sample_rate, 384_000)
        yield "magnitude_rms", "a number above 0", _positive(self.magnitude_rms)
        yield "graph", " or ".join(get_args(Graph)), self.graph in get_args(Graph)

    @property
    def spectral(self) -> SpectralConfig:
        """The transform of Z."""
        return SpectralConfig(self.n_fft, self.hop_length, self.win_length, self.padding)

    @property
    def bins(self) -> int:
        """One-sided bins."""
        return self.spectral.stft.bins

    @property
    def context_frames(self) -> int:
        """Frames on each side that one block sees: of the net, and in the graph "block" of STFT and ISTFT."""
        overlapping = (self.n_fft - 1) // self.hop_length
        return LAYERS * (self.kernel[1] // 2) + (overlapping if self.graph == "block" else 0)


def _whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _is_kernel(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(_whole(taps, MOST_TAPS) and taps % 2 == 1 for taps in value)
    )


# ---- complex numbers in real arithmetic -------------------------------------------------------------------


def _scaled(re: Tensor, im: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(largest, re / largest, im / largest, square): the square lies between 1 and 2, 0.5 stands for zero."""
    largest = torch.maximum(re.abs(), im.abs())
    divisor = largest.clamp_min(SMALLEST)
    re, im = re / divisor, im / divisor
    return largest, re, im, (re * re + im * im).clamp_min(0.5)


def magnitude_of(re: Tensor, im: Tensor) -> Tensor:
    """|re + i im| of two tensors of any shape (…, T), no square above 2, with a gradient of 0 at 0."""
    largest, _, _, square = _scaled(re, im)
    return largest * square.sqrt()


def unit_phasor(re: Tensor, im: Tensor) -> tuple[Tensor, Tensor]:
    """c / |c| as (re, im), each of the inputs' shape; 0 where c is 0. No angle is computed."""
    _, re, im, square = _scaled(re, im)
    factor = square.rsqrt()
    return re * factor, im * factor


def with_magnitude(spectrum: Tensor, magnitude: Tensor) -> Tensor:
    """P_A: the spectrum's phase (B, 2, bins, T) with a magnitude (B, bins, T)."""
    re, im = unit_phasor(spectrum[:, 0], spectrum[:, 1])
    return torch.stack([re * magnitude, im * magnitude], 1)


class ComplexConv(nn.Module):
    """A complex convolution that keeps the size, as two real kernels; (B, channels, bins, T) twice."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.conv_re = _convolution(inputs, outputs, kernel)
        self.conv_im = _convolution(inputs, outputs, kernel)

    def forward(self, re: Tensor, im: Tensor) -> tuple[Tensor, Tensor]:
        """Real and imaginary part, (B, inputs, bins, T) each → (B, outputs, bins, T) each."""
        return self.conv_re(re) - self.conv_im(im), self.conv_re(im) + self.conv_im(re)


class GatedComplexConv(ComplexConv):
    """`ComplexConv` times a gate that sees the magnitudes of the input and of the target."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int]) -> None:
        super().__init__(inputs, outputs, kernel)
        self.conv_gate = _convolution(inputs + 1, outputs, kernel)

    def gated(self, re: Tensor, im: Tensor, magnitude: Tensor) -> tuple[Tensor, Tensor]:
        """Both parts (B, inputs, bins, T) and A (B, 1, bins, T) → both parts (B, outputs, bins, T)."""
        gate = self.conv_gate(torch.cat([magnitude_of(re, im), magnitude], 1)).sigmoid()
        re, im = self(re, im)
        return re * gate, im * gate


def _convolution(inputs: int, outputs: int, kernel: tuple[int, int]) -> nn.Conv2d:
    padding = (kernel[0] // 2, kernel[1] // 2)
    return nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False)


class ConvDnn(nn.Module):
    """F: X, Y, Z (B, 3, bins, T) and A (B, 1, bins, T) → residual (B, 1, bins, T), both parts of each."""

    def __init__(self, channels: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        inputs = (3, *[channels] * (LAYERS - 1))
        self.aigcc = nn.ModuleList(GatedComplexConv(count, channels, kernel) for count in inputs)
        self.conv = ComplexConv(channels, 1, (1, 1))

    def forward(self, re: Tensor, im: Tensor, magnitude: Tensor) -> tuple[Tensor, Tensor]:
        """Both parts (B, 3, bins, T) and A (B, 1, bins, T) → both parts (B, 1, bins, T)."""
        for layer in self.aigcc:
            assert isinstance(layer, GatedComplexConv)
            re, im = layer.gated(re, im, magnitude)
        residual: tuple[Tensor, Tensor] = self.conv(re, im)
        return residual


class DegliBlock(nn.Module):
    """The block's net and its transform."""

    def __init__(self, config: DegliConfig) -> None:
        super().__init__()
        self.convdnn = ConvDnn(config.channels, config.kernel)
        self.stft = FixedStft(config.spectral)
        self.istft = FixedIstft(config.spectral, self.stft.kernel)

    def residual(self, x: Tensor, y: Tensor, z: Tensor, magnitude: Tensor) -> Tensor:
        """F(X, Y, Z; A): spectra (B, 2, bins, T) and A (B, bins, T) → (B, 2, bins, T)."""
        re = torch.stack([x[:, 0], y[:, 0], z[:, 0]], 1)
        im = torch.stack([x[:, 1], y[:, 1], z[:, 1]], 1)
        return torch.cat(self.convdnn(re, im, magnitude.unsqueeze(1)), 1)

    def consistent(self, y: Tensor) -> Tensor:
        """P_C: STFT(ISTFT(y)), (B, 2, bins, T) → the same shape."""
        z: Tensor = self.stft(self.istft(y))
        return z

    def forward(self, spectrum: Tensor, magnitude: Tensor) -> Tensor:
        """Spectrum (B, 2, bins, T) and magnitude (B, bins, T) → the next spectrum (B, 2, bins, T)."""
        y = with_magnitude(spectrum, magnitude)
        z = self.consistent(y)
        return z - self.residual(spectrum, y, z, magnitude)


class Degli(nn.Module):
    """One block of Deep Griffin-Lim; inputs and outputs as `config.graph` says, see above."""

    def __init__(self, config: DegliConfig | None = None) -> None:
        super().__init__()
        self.config = config or DegliConfig()
        self.degliblock = DegliBlock(self.config)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Spectra (B, 2, bins, T), then a magnitude (B, bins, T) → (B, 2, bins, T), by `config.graph`."""
        if self.config.graph == "net":
            return self.degliblock.residual(*inputs)
        following: Tensor = self.degliblock(*inputs)
        return following

    def reconstruct(self, spectrum: Tensor, magnitude: Tensor, blocks: int) -> Tensor:
        """`blocks` blocks one after the other, then P_A and the inverse transform.

        Args:
            spectrum: (B, 2, bins, T), where the first block begins.
            magnitude: (B, bins, T), A.
            blocks: how many.

        Returns:
            (B, samples).
        """
        for _ in range(blocks):
            spectrum = self.degliblock(spectrum, magnitude)
        audio: Tensor = self.degliblock.istft(with_magnitude(spectrum, magnitude))
        return audio


DEGLI_PRESETS: Mapping[str, DegliConfig] = MappingProxyType(
    {
        "origin": DegliConfig(),
        "small": DegliConfig(channels=32, kernel=(3, 5), sample_rate=22050),
        "origin-net": DegliConfig(graph="net"),
        "small-net": DegliConfig(channels=32, kernel=(3, 5), sample_rate=22050, graph="net"),
    }
)
