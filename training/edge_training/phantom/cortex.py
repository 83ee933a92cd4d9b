"""ECoG-like activity of an 8×8 grid at 125 Hz.

Patches of cortex follow one articulator each, ahead of its movement (the command comes first), or the sound,
behind it (hearing comes after). An electrode sees the patches around it, slow noise of its own and of its
neighbours, and white noise. Values are about z-scores and at most 5, as high-gamma envelopes are after the
ecog-speech system's preprocessing. The speaker has the map of patches; the noise is the utterance's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from edge_runtime.errors import InputError
from edge_runtime.pipelines.ecog_speech.grids import HB_SIDE, Density, hybrid_places
from edge_training.phantom.movement import RATE, Movement, sample
from edge_training.phantom.speaker import Speaker

GRID_SIDE = 8
ELECTRODES = GRID_SIDE**2
ECOG_RATE = 125  # Hz
CLIP = 5.0
# articulator → mean and spread over speech, units of `lexicon`
MOTOR = {
    "jaw": (0.4, 0.35), "body_place": (0.55, 0.15), "body_degree": (0.5, 0.3), "tip_height": (1.4, 0.6),
    "lips": (0.8, 0.6), "rounding": (0.3, 0.35), "velum": (0.2, 0.35), "glottis": (0.12, 0.1),
    "pitch": (0.5, 2.0),
}  # fmt: skip
SOURCES = (*MOTOR, "envelope", "onsets")
MOTOR_LEAD, HEARING_DELAY = (0.04, 0.16), (0.06, 0.18)  # s, ranges over patches
PATCHES = 3  # of each articulator; twice as many hear
NOISE_SLOW, NOISE_SHARED, NOISE_WHITE = 0.35, 0.25, 0.30
GAIN = 0.7  # of a patch: the sum of those around an electrode has about unit variance
SLOW_POLE = 0.95  # of the slow noise
ROUNDING = 1e-12  # of a source's values: a smaller deviation is none


@dataclass(frozen=True)
class _Map:
    """Patches of one speaker."""

    sources: NDArray[np.intp]  # (patches,) number of the source
    shifts: NDArray[np.float64]  # (patches,) s: positive reads the future of its source
    weights: NDArray[np.float64]  # (patches, ELECTRODES)


def record(
    speaker: Speaker,
    movement: Movement,
    loudness: NDArray[np.float64],
    frames: int,
    rng: np.random.Generator,
    density: Density = "LD",
) -> NDArray[np.float32]:
    """Activity in the middle of each frame, (frames, 64) row by row; (frames, 128) of a hybrid grid.

    Args:
        loudness: envelope of the sound at `movement.RATE`, 1 for a normal vowel.
        density: "LD", 8 × 8; or "HB", 64 more electrodes between those of the same grid.
    """
    chart = _chart(speaker, density)
    tracks = _sources(movement, loudness)
    times = (np.arange(frames) + 0.5) / ECOG_RATE
    patches = np.empty((frames, len(chart.sources)))
    for patch, (source, shift) in enumerate(zip(chart.sources, chart.shifts, strict=True)):
        patches[:, patch] = sample(tracks[:, source], RATE, times + shift)
    activity = patches @ chart.weights + _noise(frames, rng, chart.weights.shape[1])
    return np.minimum(activity, CLIP).astype(np.float32)


def source_tracks(movement: Movement, loudness: NDArray[np.float64], frames: int) -> NDArray[np.float64]:
    """What patches follow, each in its own time, in the middle of each frame: (frames, len(SOURCES)).

    Args:
        loudness: as in `record`.
    """
    return sample(_sources(movement, loudness), RATE, (np.arange(frames) + 0.5) / ECOG_RATE)


def _sources(movement: Movement, loudness: NDArray[np.float64]) -> NDArray[np.float64]:
    """(samples, sources): articulators as z-scores, the envelope, and its onsets."""
    motor = [(movement[name] - mean) / spread for name, (mean, spread) in MOTOR.items()]
    envelope = np.log1p(5.0 * loudness)
    onsets = np.maximum(np.gradient(envelope) * RATE, 0.0) / 20.0
    return np.stack([*motor, envelope - 0.7, onsets], axis=1)


def electrode_weights(speaker: Speaker, density: Density = "LD") -> dict[str, NDArray[np.float64]]:
    """What electrodes see of each source: name → (electrodes,), the sum of its patches' |weights|."""
    chart = _chart(speaker, density)
    return {
        name: np.abs(chart.weights[chart.sources == index]).sum(axis=0) for index, name in enumerate(SOURCES)
    }


@dataclass(frozen=True)
class Drivers:
    """How far each source moves a component of the speech."""

    effects: Mapping[str, float]  # source → units of the component for a deviation of the source
    explained: float  # share of the component's variance, 0 … 1, that sources explain linearly


def drivers(
    sources: NDArray[np.float64], component: NDArray[Any], counted: NDArray[Any] | None = None
) -> Drivers:
    """Which sources make a component: linear regression of the true speech on the sources.

    Articulators move together, so a source counts for what it adds to the others: |its coefficient| times its
    deviation, the mean over the rows of the component. No decoder and no electrode is in it.

    Args:
        sources: (frames, len(SOURCES)) of `source_tracks`.
        component: (frames,) or (frames, rows), of the speech itself: f0, formants, …
        counted: (frames,) weights, 0 or more, as of the loudness; all alike if not given.

    Raises:
        InputError: arrays of other shapes, or no frame that counts.
    """
    values = np.asarray(component, np.float64).reshape(len(component), -1)
    weights = np.ones(len(values)) if counted is None else np.asarray(counted, np.float64)
    if sources.shape != (len(values), len(SOURCES)) or weights.shape != (len(values),):
        raise InputError(
            "sources",
            got=f"{sources.shape} for a component of {len(values)} frames and {weights.shape} weights",
            expected=f"({len(values)}, {len(SOURCES)}) and ({len(values)},)",
        )
    if not (weights >= 0).all() or not weights.any():
        raise InputError("counted", got="negative weights, or none above 0", expected="frames that count")
    root = np.sqrt(weights / weights.sum())[:, None]
    x, y = (root * (array - (root**2 * array).sum(axis=0)) for array in (sources, values))
    deviations = np.linalg.norm(x, axis=0)
    still = deviations <= ROUNDING * np.abs(sources).max(axis=0)  # has no effect
    x = np.where(still, 0.0, x / np.where(still, 1.0, deviations))
    coefficients = np.linalg.lstsq(x, y, rcond=None)[0]  # in the component's units: x has deviation 1
    left = float(np.square(y - x @ coefficients).sum() / (np.square(y).sum() or 1.0))
    effects = np.abs(coefficients).mean(axis=1)
    return Drivers(dict(zip(SOURCES, effects.tolist(), strict=True)), 1.0 - left)


def component_weights(
    speaker: Speaker, effects: Mapping[str, float], density: Density = "LD"
) -> NDArray[np.float64]:
    """What electrodes see of a component, (electrodes,): their weights of each source times its effect.

    Args:
        effects: source → effect, of `drivers`; or chosen by hand, such as {"pitch": 1}.

    Raises:
        InputError: a source that does not exist.
    """
    weights = electrode_weights(speaker, density)
    if unknown := sorted(set(effects) - set(weights)):
        raise InputError("effects", got=", ".join(unknown), expected=f"some of {', '.join(SOURCES)}")
    seen: NDArray[np.float64] = np.sum([effect * weights[name] for name, effect in effects.items()], axis=0)
    return seen


@lru_cache(maxsize=32)
def _chart(speaker: Speaker, density: Density = "LD") -> _Map:
    rng = speaker.generator("cortex")
    hearing = [len(MOTOR), len(MOTOR) + 1]
    sources = np.array([*range(len(MOTOR)), *hearing, *hearing] * PATCHES)
    heard = sources >= len(MOTOR)
    lead, delay = rng.uniform(*MOTOR_LEAD, len(sources)), rng.uniform(*HEARING_DELAY, len(sources))
    # the motor strip is the upper half of the grid, the temporal lobe the lower one
    row = np.where(heard, rng.uniform(4.0, 7.5, len(sources)), rng.uniform(-0.5, 4.5, len(sources)))
    column = rng.uniform(-0.5, 7.5, len(sources))
    width = rng.uniform(0.8, 1.6, len(sources))
    gain = rng.uniform(0.5, 1.0, len(sources)) * np.where(rng.random(len(sources)) < 0.3, -1.0, 1.0)
    rows, columns = _places(density)
    distance = np.hypot(rows - row[:, None], columns - column[:, None])
    weights = GAIN * gain[:, None] * np.exp(-0.5 * (distance / width[:, None]) ** 2)
    return _Map(sources, np.where(heard, -delay, lead), weights)


def _places(density: Density) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column of each electrode, in steps of the coarse grid."""
    if density == "LD":
        rows, columns = np.divmod(np.arange(ELECTRODES), GRID_SIDE)
        return rows.astype(float), columns.astype(float)
    rows, columns = np.divmod(hybrid_places(), HB_SIDE)
    return rows / 2, columns / 2


def _noise(frames: int, rng: np.random.Generator, electrodes: int) -> NDArray[np.float64]:
    shape = (frames + 50, electrodes + 1)  # the slow noise settles first; the last one is shared
    drive = rng.standard_normal(shape) * np.sqrt(1.0 - SLOW_POLE**2)
    slow = lfilter([1.0], [1.0, -SLOW_POLE], drive, axis=0)[50:]
    white = rng.standard_normal((frames, electrodes))
    noise: NDArray[np.float64] = NOISE_SLOW * slow[:, :-1] + NOISE_SHARED * slow[:, -1:] + NOISE_WHITE * white
    return noise
