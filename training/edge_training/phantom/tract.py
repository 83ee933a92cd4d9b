"""The vocal tract: from positions of articulators to areas, resonances and constrictions.

The tract is cut into `SECTIONS` equal pieces from the glottis (0) to the lips (1). Its sagittal opening is a
cavity that the jaw widens in front, narrowed by the hump of the tongue body (a Gaussian well) and by the tip
(a parabola). The area follows by the power law of Heinz and Stevens (1965), ``A = α · d^1.5``; the lips are
an ellipse.

Resonances are those of the lossless tube, closed at the glottis, open at the lips with an end correction of
0.8 radii. The wave is followed from the glottis on a grid of frequencies; the tube has as many resonances
below f as the pressure at f has changes of sign along it, so none is missed or swapped (Sturm's theorem for
Webster's equation). Walls that yield raise them: ``F² + 180²`` Hz² (Fant, 1972).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_training.phantom.movement import RATE, Movement
from edge_training.phantom.speaker import Speaker

SPEED_OF_SOUND = 35000.0  # cm / s, warm and moist
SECTIONS = 40
FORMANTS = 6
FORMANT_RATE = 125  # Hz
LIPS_FROM = 0.93  # place at which the lips begin
TONGUE_FROM = 0.12  # place above the larynx at which the tongue begins
WALL_RESONANCE = 180.0  # Hz
GRID_STEP = 40.0  # Hz
GRID = np.arange(60.0, 8600.0, GRID_STEP)  # Hz
CLOSED = 0.01  # cm², smallest area of a section for resonances
VELAR_PORT = 0.8  # cm², fully open

PLACES = (np.arange(SECTIONS) + 0.5) / SECTIONS


@dataclass(frozen=True)
class VocalTract:
    """Shape and resonances over time; rates are `movement.RATE` and `FORMANT_RATE`, from time 0."""

    openings: NDArray[np.float64]  # (samples, sections) cm, midsagittal distance tongue or lip to the wall
    areas: NDArray[np.float64]  # (samples, sections) cm², 0 where closed
    length: NDArray[np.float64]  # (samples,) cm
    constriction: NDArray[np.float64]  # (samples,) cm², narrowest area above the larynx
    constriction_place: NDArray[np.float64]  # (samples,) 0 … 1
    port: NDArray[np.float64]  # (samples,) cm², opening to the nose
    formants: NDArray[np.float64]  # (formant samples, FORMANTS) Hz


def shape(speaker: Speaker, movement: Movement) -> VocalTract:
    """The tract of a speaker through a movement."""
    openings = sagittal(movement, PLACES)
    areas = _areas(openings, movement)
    length = speaker.tract_length + 0.9 * movement["rounding"] - movement["larynx"]
    supraglottal = areas[:, PLACES > TONGUE_FROM]
    narrowest = supraglottal.argmin(axis=1)
    step = RATE // FORMANT_RATE
    return VocalTract(
        openings=openings,
        areas=areas,
        length=length,
        constriction=supraglottal[np.arange(len(areas)), narrowest],
        constriction_place=PLACES[PLACES > TONGUE_FROM][narrowest],
        port=VELAR_PORT * np.clip(movement["velum"], 0.0, 1.0),
        formants=resonances(areas[::step], length[::step]),
    )


def sagittal(movement: Movement, places: NDArray[Any]) -> NDArray[np.float64]:
    """Midsagittal opening, (samples, places) cm, 0 where surfaces touch; at the lips the lips' own.

    ``places`` is (places,) or (samples, places).
    """
    jaw, body_place, body_degree, tip_place, tip_height, lips = (
        movement[name][:, None]
        for name in ("jaw", "body_place", "body_degree", "tip_place", "tip_height", "lips")
    )
    cavity = 0.65 + 1.1 * _ramp(places, 0.06, 0.20) + jaw * _ramp(places, 0.5, 0.9)
    hump = np.exp(-(((places - body_place) / 0.17) ** 2)) * _ramp(places, 0.10, 0.20)
    tongue = cavity + (body_degree - cavity) * hump
    tongue = np.minimum(tongue, tip_height + ((places - tip_place) / 0.055) ** 2)
    opening: NDArray[np.float64] = np.maximum(np.where(places > LIPS_FROM, lips, tongue), 0.0)
    return opening


def _ramp(x: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """Smooth step from 0 at ``low`` to 1 at ``high``."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    stepped: NDArray[Any] = t * t * (3.0 - 2.0 * t)
    return stepped


def _areas(openings: NDArray[Any], movement: Movement) -> NDArray[np.float64]:
    alpha = 1.4 + 0.3 * _ramp(PLACES, 0.4, 0.7)
    mouth_width = 3.6 - 2.4 * np.clip(movement["rounding"], 0.0, 1.0)[:, None]  # cm
    lips = np.pi / 4.0 * openings * mouth_width
    areas: NDArray[np.float64] = np.where(PLACES > LIPS_FROM, lips, alpha * openings**1.5)
    return areas


def resonances(areas: NDArray[Any], length: NDArray[Any]) -> NDArray[np.float64]:
    """Resonances of tubes: areas (tubes, sections) cm² and lengths (tubes,) cm → (tubes, FORMANTS) Hz."""
    areas = np.maximum(areas, CLOSED).astype(np.float32)
    wave_number = (2.0 * np.pi / SPEED_OF_SOUND * GRID).astype(np.float32)
    angle = length[:, None].astype(np.float32) / areas.shape[1] * wave_number
    cosine, sine = np.cos(angle), np.sin(angle)
    pressure, flow = np.ones_like(angle), np.zeros_like(angle)  # flow times impedance of the section
    changes = np.zeros(angle.shape, np.int8)
    ratios = np.ones_like(areas)
    ratios[:, 1:] = areas[:, :-1] / areas[:, 1:]
    for section in range(areas.shape[1]):
        flow *= ratios[:, section, None]
        before = pressure
        pressure, flow = before * cosine - flow * sine, before * sine + flow * cosine
        changes += np.signbit(pressure) != np.signbit(before)
    radius = np.sqrt(areas[:, -1:] / np.pi)
    end = 0.8 * radius * wave_number
    mouth = pressure * np.cos(end) - flow * np.sin(end)
    changes += np.signbit(mouth) != np.signbit(pressure)
    rigid = np.stack([_root(mouth, changes >= n) for n in range(1, FORMANTS + 1)], axis=1)
    found: NDArray[np.float64] = np.sqrt(rigid**2 + WALL_RESONANCE**2)
    return found


def _root(mouth: NDArray[Any], above: NDArray[Any]) -> NDArray[np.float64]:
    """Frequency (tubes,) at which ``above`` (tubes, grid) turns true and the pressure at the mouth is 0."""
    high = np.maximum(above.argmax(axis=1), 1)
    high[~above.any(axis=1)] = len(GRID) - 1
    rows = np.arange(len(mouth))
    left, right = mouth[rows, high - 1].astype(np.float64), mouth[rows, high].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        fraction = left / (left - right)
    # two resonances within one step of the grid leave no change of sign
    fraction = np.where((fraction >= 0.0) & (fraction <= 1.0), fraction, 0.5)
    root: NDArray[np.float64] = GRID[high - 1] + fraction * GRID_STEP
    return root


def bandwidths(formants: NDArray[Any]) -> NDArray[np.float64]:
    """Bandwidths of resonances, Hz: walls below, radiation and friction above (after Fant, 1972)."""
    widths: NDArray[np.float64] = 45.0 * (1.0 + (formants / 2500.0) ** 2) + 15.0 * (500.0 / formants) ** 2
    return widths
