"""Formants as filters over frequency: what share of a source each bin gets.

Gaussian     G(k) = exp(−(hz_k − f)² / (2 (bw / c + 0.01)²)), c = 2 √ln 2: 1/√2 at f ± bw / 2
learned      a prototype p of n samples, unimodal with peak 1, sampled at (hz_k − f) stretched so that the
             prototype's own width at 1/√2 becomes bw: linear between samples, zero beyond the ends

A prototype is (cumulative sum of a softmax, falling likewise) of n numbers. Its width is measured where each
half comes nearest to max/√2: the two nearest samples, interpolated by their distances.

Bins are taken to lie at 8000 k / F Hz. Source: `FormantSysth` of neural_speech_decoding.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_training.ecog_speech.parameters import FORMANTS, NOISE_FORMANTS

FULL = 2000.0  # Hz that a prototype spans at a bandwidth of its own
SMALL = 0.01  # Hz added to every bandwidth
GAUSSIAN = 2 * math.sqrt(math.log(2))
TINY = 1e-8


class Prototype(nn.Module):
    """One filter's shape: n numbers under the key `x`."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.ones(1, 1, 1, samples))

    def shape(self) -> tuple[Tensor, Tensor]:
        """(n,) samples, and its width at 1/√2 in Hz."""
        x = self.x.reshape(-1)
        half = x.numel() // 2
        rising = torch.cumsum(x[:half].softmax(0), 0)
        falling = torch.cumsum(x[half:].softmax(0), 0).flip(0)
        both = torch.cat([rising, falling])
        level = both.max() / math.sqrt(2)
        width = (half - 1 - _crossing(rising, level) + _crossing(falling, level)) / (2 * half)
        return both, width * FULL


def _crossing(half: Tensor, level: Tensor) -> Tensor:
    """Where a half comes to a level, in samples."""
    distance, index = torch.topk((half - level).abs(), 2, largest=False)
    first, second = index.to(half.dtype).unbind()
    part = distance[0] / (distance[0] + distance[1])
    return first + part * (second - first)


class _Sampled(torch.autograd.Function):
    """Linear samples of a table. torch's gradient of an index sorts all indices; here a histogram does."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, part: Tensor) -> Tensor:
        first, second = table[index], table[index + 1]
        ctx.save_for_backward(index, part, second - first)
        ctx.size = table.numel()
        return torch.lerp(first, second, part)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, Tensor]:
        (gradient,) = gradients
        index, part, slope = ctx.saved_tensors
        table = None
        if ctx.needs_input_grad[0]:
            flat, upper = index.reshape(-1), (gradient * part).reshape(-1)
            table = torch.bincount(flat, gradient.reshape(-1) - upper, ctx.size)
            table = table + torch.bincount(flat + 1, upper, ctx.size)
        return table, None, gradient * slope


class GaussianMasks(nn.Module):
    """Frequencies and bandwidths in Hz, (B, rows, T) → (B, rows, T, F); no parameters."""

    hz: Tensor

    def __init__(self, bins: int, nyquist: float) -> None:
        super().__init__()
        hz = torch.arange(bins, dtype=torch.float32) * (nyquist / bins)
        self.register_buffer("hz", hz, persistent=False)

    def forward(self, frequency: Tensor, width: Tensor, rows: int) -> Tensor:
        """Frequencies and bandwidths in Hz, (B, rows, T) each → (B, rows, T, F).

        `rows` says how many there are: an exported graph must not ask for shapes.
        """
        return self.at(self.hz, frequency, width, rows)

    def at(self, hz: Tensor, frequency: Tensor, width: Tensor, rows: int) -> Tensor:  # noqa: ARG002  as below
        """At other frequencies, (F,) or (B, 1, T, F)."""
        spread = width.unsqueeze(-1) / GAUSSIAN + SMALL
        return torch.exp(-0.5 * ((hz - frequency.unsqueeze(-1)) / spread).square())


class LearnedMasks(nn.Module):
    """As `GaussianMasks`, from prototypes: rows 0 … 5 the formants', row 6 the noise filter's."""

    hz: Tensor
    starts: Tensor
    table: Tensor | None
    widths: Tensor | None

    def __init__(self, bins: int, nyquist: float, samples: int, *, dummy: bool = False) -> None:
        super().__init__()
        voiced = 1 if dummy else FORMANTS
        self.filter = nn.ModuleList(Prototype(samples) for _ in range(voiced))
        if not dummy:
            self.filter_noise = nn.ModuleList([Prototype(samples)])
        self.samples = samples
        hz = torch.arange(bins, dtype=torch.float32) * (nyquist / bins)
        self.register_buffer("hz", hz, persistent=False)
        self.table = self.widths = None
        starts = torch.arange(NOISE_FORMANTS).reshape(1, -1, 1, 1) * (
            samples + 2
        )  # of each row in a flat table
        self.register_buffer("starts", starts, persistent=False)

    def fold(self) -> None:
        """Keep shapes and widths as constants, for export."""
        table, widths = (part.detach() for part in self._shapes())
        self.table = nn.Parameter(table, requires_grad=False)
        self.widths = nn.Parameter(widths, requires_grad=False)

    def _shapes(self) -> tuple[Tensor, Tensor]:
        """(rows, n + 2) samples between zeros, (rows,) widths in Hz."""
        prototypes = [*self.filter, *getattr(self, "filter_noise", ())]
        shapes, widths = zip(*(prototype.shape() for prototype in prototypes), strict=True)
        return F.pad(torch.stack(shapes), (1, 1)), torch.stack(widths)

    def forward(self, frequency: Tensor, width: Tensor, rows: int) -> Tensor:
        """Frequencies and bandwidths in Hz, (B, rows, T) each → (B, rows, T, F).

        `rows` says how many there are: an exported graph must not ask for shapes.
        """
        return self.at(self.hz, frequency, width, rows)

    def at(self, hz: Tensor, frequency: Tensor, width: Tensor, rows: int) -> Tensor:
        """At other frequencies, (F,) or (B, 1, T, F)."""
        table, widths = (
            self._shapes() if self.table is None or self.widths is None else (self.table, self.widths)
        )
        stretch = (2 / FULL) * widths[:rows].reshape(1, -1, 1, 1) / (width.unsqueeze(-1) + (SMALL + TINY))
        place = (hz - frequency.unsqueeze(-1)) * (stretch * (self.samples / 2)) + (self.samples - 1) / 2
        # the zeros around the samples stand at −1 and n; one further down the table begins
        place = place.clamp(-1, self.samples) + 1
        whole = place.detach().floor().clamp(max=self.samples)
        part = place - whole
        index = whole.long() + self.starts[:, :rows]
        flat = table[:rows].reshape(-1)
        if self.table is None:
            sampled: Tensor = _Sampled.apply(flat, index, part)  # type: ignore[no-untyped-call]
            return sampled
        return flat[index] * (1 - part) + flat[index + 1] * part
