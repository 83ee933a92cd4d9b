"""What `istft-vocoder` learns from without discriminators: distances of spectra, magnitudes and phases.

With S the net's spectrum (magnitude M, phase φ), Ŝ the transform of its audio, X that of the recording, all
framed as the net frames:

    mel          mean |Δ ln mel|, bands up to Nyquist
    magnitude    mean |ln M − ln |X||
    phase        mean w (|Δφ| + |Δ ∂φ/∂k| + |Δ ∂φ/∂t|), each wrapped to −π … π, w = |X| / (|X| + 0.05):
                 absolute phase, group delay, instantaneous frequency (Ai and Ling 2023, arXiv 2211.15974)
    resolutions  Σ over further transforms of spectral convergence + mean |Δ ln magnitude|
    consistency  mean |Ŝ − S|: whether S is the transform of any signal
    spectrum     mean |Ŝ − X|
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_runtime.dsp.mel import MelConfig, filter_bank

FLOOR = 1e-5  # of magnitudes, before their logarithm
EPSILON = 1e-9  # under the root of a magnitude
QUIET = 0.05  # magnitude at which a phase counts half
PARTS = ("mel", "magnitude", "phase", "resolutions", "consistency", "spectrum")


class Transform(nn.Module):
    """Samples (B, N), N whole hops → spectrum (B, bins, N / hop), complex; reflected at the ends."""

    window: Tensor

    def __init__(self, n_fft: int, hop_length: int, win_length: int) -> None:
        super().__init__()
        self.n_fft, self.hop_length, self.win_length = n_fft, hop_length, win_length
        self.register_buffer("window", torch.hann_window(win_length), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """(B, N) → complex (B, bins, N / hop)."""
        before = (self.n_fft - self.hop_length) // 2
        after = self.n_fft - self.hop_length - before
        padded = F.pad(samples[:, None], (before, after), mode="reflect")[:, 0]
        return torch.stft(
            padded,
            self.n_fft,
            self.hop_length,
            self.win_length,
            self.window,
            center=False,
            return_complex=True,
        )


def magnitude(spectrum: Tensor, epsilon: float = EPSILON) -> Tensor:
    """√(|S|² + ε) of a complex spectrum (B, bins, T), with a finite gradient at 0."""
    return torch.sqrt(spectrum.real.square() + spectrum.imag.square() + epsilon)


class SpectralLosses(nn.Module):
    """The parts above, a scalar each, averaged over the batch.

    Args:
        mel: front end of the net; its framing and number of bands.
        sizes: n_fft of the further transforms, hops a quarter of it.
    """

    bank: Tensor

    def __init__(self, mel: MelConfig, sizes: Sequence[int]) -> None:
        super().__init__()
        self.transform = Transform(mel.n_fft, mel.hop_length, mel.win_length)
        self.others = nn.ModuleList(Transform(size, size // 4, size) for size in sizes)
        bank = filter_bank(replace(mel, fmin=0.0, fmax=None))
        self.register_buffer("bank", torch.from_numpy(bank).float(), persistent=False)

    def log_mel(self, spectrum: Tensor) -> Tensor:
        """ln mel (B, n_mels, T) up to Nyquist of a spectrum, from magnitudes whatever the front end has."""
        return torch.matmul(self.bank, magnitude(spectrum)).clamp(min=FLOOR).log()

    def forward(
        self, recording: Tensor, audio: Tensor, log_magnitude: Tensor, cosine: Tensor, sine: Tensor
    ) -> dict[str, Tensor]:
        """Samples (B, N) both; the net's spectrum (B, bins, T), T = N / hop."""
        with torch.no_grad():
            theirs = self.transform(recording)
            loudness = magnitude(theirs)
            weight = loudness / (loudness + QUIET)
            log_loudness = loudness.clamp(min=FLOOR).log()
            their_mel = self.log_mel(theirs)
        ours = self.transform(audio)
        level = log_magnitude.exp()
        said = torch.complex(level * cosine, level * sine)
        return {
            "mel": F.l1_loss(self.log_mel(ours), their_mel),
            "magnitude": F.l1_loss(log_magnitude, log_loudness),
            "phase": phase_distance(torch.atan2(sine, cosine) - torch.angle(theirs), weight),
            "resolutions": sum(
                (_distance(other, recording, audio) for other in self.others), audio.new_zeros(())
            ),
            "consistency": (ours - said).abs().mean(),
            "spectrum": (ours - theirs).abs().mean(),
        }


def phase_distance(difference: Tensor, weight: Tensor) -> Tensor:
    """Scalar of phase differences (B, bins, T), in radians, not wrapped yet."""
    across_bins = difference[:, 1:] - difference[:, :-1]
    across_time = difference[..., 1:] - difference[..., :-1]
    return (
        (_wrapped(difference) * weight).mean()
        + (_wrapped(across_bins) * weight[:, 1:]).mean()
        + (_wrapped(across_time) * weight[..., 1:]).mean()
    )


def _wrapped(angle: Tensor) -> Tensor:
    """Distance of an angle from the nearest whole turn."""
    return (angle - 2 * math.pi * torch.round(angle / (2 * math.pi))).abs()


def _distance(transform: nn.Module, recording: Tensor, audio: Tensor) -> Tensor:
    with torch.no_grad():
        theirs = magnitude(transform(recording), 1e-7)
    ours = magnitude(transform(audio), 1e-7)
    convergence: Tensor = torch.linalg.vector_norm(ours - theirs) / torch.linalg.vector_norm(theirs)
    return convergence + F.l1_loss(ours.clamp(min=FLOOR).log(), theirs.clamp(min=FLOOR).log())
