"""MaskedMSEMAE: mri2speech's loss on mels, with weights over bands and time that grow during training.

With the error e = prediction − target, both (B, T, n_mels) standardised dB, and weights that go linearly from
1 to their target while the optimiser makes its first `RAMP_STEPS` steps (r = 0 … 1):

    W[t, m]    band weight[m] · time weight[t] · mask[t]
    mse, mae   Σ W e² / Σ W,  Σ W |e| / Σ W
    delta      the same mean of (e[t+1] − e[t])²,              weight: band[m] · time[t+1], both frames valid
    accel      the same mean of (e[t+2] − 2 e[t+1] + e[t])²,   weight: band[m] · time[t+1], all three valid
    latest     Σ band e² / Σ band of the last frame, without mask and time weight
    total      mse + (0.30 + 0.15 r) delta + (0.10 + 0.05 r) accel + (0.20 + 0.20 r) latest

As in mri2speech the mae is reported but not added, in spite of the name; `delta` and `accel` are of the
error, not of the mel; the first frames of a window weigh more than the later ones. Frames beyond mri2speech's
table of 128 time weights have weight 1; mri2speech itself fails there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from edge_runtime.dsp.mel import MelConfig, band_centres
from edge_runtime.errors import ConfigError

RAMP_STEPS = 120_000
TIME_TARGET = (1.6, 1.45, 1.3, 1.2, 1.15, 1.1, 1.05, 1.02)  # of the first frames; 1 later
TIME_FRAMES = 128  # of mri2speech's table, which is part of its checkpoints
LEAST = 1e-6  # smallest divisor, a sum of weights
# at r = 0, and what r = 1 adds
DELTA, ACCEL, LATEST = (0.30, 0.15), (0.10, 0.05), (0.20, 0.20)


@dataclass(frozen=True)
class Bins:
    """Neighbouring mel bands, `start` … `stop` − 1, and their weight at the end of the ramp."""

    name: str
    start: int
    stop: int
    weight: float


@dataclass(frozen=True)
class Band:
    """The mel bands whose centre lies in `low` … `high` Hz, `high` excluded."""

    name: str
    low: float
    high: float
    weight: float


# the names are mri2speech's; in its 64 Slaney bands up to 5706.5 Hz the true F2 lies in 21 … 44
ORIGIN_BINS = (
    Bins("f0", 0, 6, 2.0),
    Bins("f1", 6, 16, 3.0),
    Bins("f2", 16, 32, 2.4),
    Bins("mid", 32, 48, 1.6),
    Bins("high", 48, 64, 1.8),
)


def bins_of(bands: Sequence[Band], mel: MelConfig) -> tuple[Bins, ...]:
    """Bands in Hz as mel bands of a front end; ConfigError for one that holds no mel band's centre."""
    centres = band_centres(mel)
    found = []
    for band in bands:
        start, stop = (int(np.searchsorted(centres, edge)) for edge in (band.low, band.high))
        if start >= stop:
            raise ConfigError(
                f"band {band.name!r}",
                got=f"{band.low:g} … {band.high:g} Hz",
                expected=f"the centre of a mel band, {centres[0]:.0f} … {centres[-1]:.0f} Hz",
                cause="the band lies above the Nyquist frequency"
                if band.low >= mel.nyquist
                else "the band is narrower than a mel band, or its edges are swapped",
            )
        found.append(Bins(band.name, start, stop, band.weight))
    return tuple(found)


@dataclass(frozen=True)
class Parts:
    """Scalars of one batch; `bands` are mean absolute errors, without weights."""

    total: Tensor
    mse: Tensor
    mae: Tensor
    delta: Tensor
    accel: Tensor
    latest: Tensor
    bands: dict[str, Tensor]


class MaskedMSEMAE(nn.Module):
    """The loss.

    Args:
        n_mels: bands of the mels; mri2speech's bins need 64.
        bins: weights of the bands; other bands have weight 1; where bins overlap, the last one counts.
    """

    freq_base: Tensor
    freq_target: Tensor
    time_base: Tensor
    time_target: Tensor

    def __init__(self, n_mels: int = 64, bins: Sequence[Bins] = ORIGIN_BINS) -> None:
        super().__init__()
        self.bins = tuple(bins)
        frequency = torch.ones(1, 1, n_mels)
        for band in self.bins:
            if not 0 <= band.start < band.stop <= n_mels:
                raise ConfigError(
                    f"band {band.name!r}",
                    got=f"mel bands {band.start} … {band.stop - 1} of {n_mels}",
                    expected="bands that the mel has",
                    cause="mri2speech's bins are for 64 bands; give bands in Hz for another number",
                )
            frequency[..., band.start : band.stop] = band.weight
        time = torch.ones(TIME_FRAMES)
        time[: len(TIME_TARGET)] = torch.tensor(TIME_TARGET)
        for name, target in (("freq", frequency), ("time", time)):
            self.register_buffer(f"{name}_base", torch.ones_like(target))
            self.register_buffer(f"{name}_target", target)

    def forward(self, prediction: Tensor, target: Tensor, mask: Tensor, step: int) -> Parts:
        """The loss of a batch.

        Args:
            prediction, target: (B, T, n_mels).
            mask: (B, T), 1 where a frame counts, else 0.
            step: optimiser steps done.
        """
        ramp = min(1.0, step / RAMP_STEPS)
        frequency = torch.lerp(self.freq_base, self.freq_target, ramp)
        time = self._time(prediction.shape[1], ramp)
        error = prediction.float() - target.float()
        valid = mask.float()[..., None]

        weight = frequency * time * valid
        mse, mae = _mean(error.square(), weight), _mean(error.abs(), weight)
        change, bend = error.diff(dim=1), error.diff(n=2, dim=1)
        delta = _mean(change.square(), frequency * time[:, 1:] * valid[:, 1:] * valid[:, :-1])
        accel = _mean(
            bend.square(), frequency * time[:, 1:-1] * valid[:, 2:] * valid[:, 1:-1] * valid[:, :-2]
        )
        latest = _mean(error[:, -1:].square(), frequency.expand_as(error[:, -1:]))
        total = mse
        for part, (at_first, more) in ((delta, DELTA), (accel, ACCEL), (latest, LATEST)):
            total = total + (at_first + more * ramp) * part
        with torch.no_grad():
            bands = {band.name: _mean(error[..., band.start : band.stop].abs(), valid) for band in self.bins}
        return Parts(total, mse, mae, delta, accel, latest, bands)

    def _time(self, frames: int, ramp: float) -> Tensor:
        """Time weights (1, frames, 1)."""
        table = torch.lerp(self.time_base, self.time_target, ramp)[:frames]
        return torch.cat([table, table.new_ones(frames - len(table))])[:, None][None]


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean; 0 where there are no values."""
    weight = weight.expand_as(values)
    return (weight * values).sum() / weight.sum().clamp(min=LEAST)
