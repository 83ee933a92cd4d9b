"""Trajectories: what the articulators do with their commands.

Each articulator is a critically damped second-order system, ``H(s) = 1 / (1 + τ s)²``: it reaches every
target smoothly, never overshoots, and undershoots one that does not last. That is coarticulation. The filter
delays by 2 τ, so each command is given 2 τ before its boundary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from edge_training.phantom.lexicon import ARTICULATORS, INDEX
from edge_training.phantom.score import Score

RATE = 500  # Hz, of the trajectories
# seconds: light and quick parts first to arrive
TIME_CONSTANTS = {
    "jaw": 0.022, "body_place": 0.020, "body_degree": 0.018, "tip_place": 0.014, "tip_height": 0.011,
    "lips": 0.012, "rounding": 0.020, "velum": 0.016, "glottis": 0.010, "pressure": 0.020,
    "pitch": 0.035, "larynx": 0.030,
}  # fmt: skip


@dataclass(frozen=True)
class Movement:
    """Positions of all articulators, sampled at `RATE` from time 0."""

    positions: NDArray[np.float64]  # (samples, articulators), units of `lexicon`

    def __getitem__(self, articulator: str) -> NDArray[np.float64]:
        """One trajectory, (samples,)."""
        return self.positions[:, INDEX[articulator]]

    @property
    def times(self) -> NDArray[np.float64]:
        """Times of the samples, (samples,) s."""
        return np.arange(len(self.positions)) / RATE


def move(score: Score) -> Movement:
    """Filter the commands of a score; one sample more than ``duration · RATE``, both ends included."""
    samples = round(score.duration * RATE) + 1
    starts = np.array([phone.start for phone in score.phones])
    positions = np.empty((samples, len(ARTICULATORS)))
    for place, name in enumerate(ARTICULATORS):
        time_constant = TIME_CONSTANTS[name]
        heard = np.arange(samples) / RATE + 2.0 * time_constant
        in_force = np.searchsorted(starts, heard, side="right") - 1
        positions[:, place] = _damped(score.commands[in_force, place], time_constant * RATE)
    return Movement(positions)


def _damped(command: NDArray[Any], time_constant: float) -> NDArray[Any]:
    """Two equal one-pole low-passes, at rest on the first command."""
    pole = np.exp(-1.0 / time_constant)
    gain, poles = [(1.0 - pole) ** 2], [1.0, -2.0 * pole, pole**2]
    rest = command[0]
    moved: NDArray[Any] = lfilter(gain, poles, command - rest) + rest
    return moved


def sample(track: NDArray[Any], rate: float, times: NDArray[Any]) -> NDArray[Any]:
    """A track (n, …) sampled at ``rate`` from time 0, read at ``times`` (m,): linear, ends held; (m, …)."""
    place = np.clip(np.asarray(times) * rate, 0.0, len(track) - 1.0)
    low = np.minimum(place.astype(np.intp), len(track) - 2)
    weight = (place - low).reshape(-1, *[1] * (track.ndim - 1))
    read: NDArray[Any] = track[low] * (1.0 - weight) + track[low + 1] * weight
    return read


def expose(track: NDArray[Any], rate: float, times: NDArray[Any], exposure: float) -> NDArray[Any]:
    """As `sample`, (m, …), but averaged over ``exposure`` seconds centred on each time, as a camera does."""
    sums = np.concatenate([np.zeros_like(track[:1]), np.cumsum(track, axis=0)])
    last = len(track)

    def until(moment: NDArray[Any]) -> NDArray[Any]:
        return sample(sums, rate, np.clip(moment + 0.5 / rate, 0.0, last / rate))

    begin = np.clip(times - exposure / 2, 0.0, (last - 1) / rate - exposure)
    averaged: NDArray[Any] = (until(begin + exposure) - until(begin)) / (exposure * rate)
    return averaged
