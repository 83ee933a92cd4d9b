"""Mouth video: a face of 96×96 pixels in colour, cropped as lip-sync systems crop it.

The mouth stands in the lower half (rows 48 … 96). Its opening, rounding and corners come from the lips, the
tongue from its tip and body, the lower teeth and the chin from the jaw. Skin, lips, light, background and the
shape of everything are the speaker's; the head sways a little.

Pixels are painted back to front: background and face (kept per speaker, moved and stretched with head and
jaw), lips, the inside of the mouth, tongue, teeth. Edges are soft by one pixel. Inside, pictures are
(frames, 3, rows, columns): the innermost loops run over a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_training.phantom.movement import RATE, Movement, expose
from edge_training.phantom.speaker import Speaker
from edge_training.phantom.tract import sagittal

SIZE = 96
MARGIN = 8  # px painted around the picture, for the head's sway
BLOCK = 8  # frames rendered together: what fits the second-level cache
PIXELS_PER_CM = 7.5
SHUTTER = 0.5  # of the frame's time
SWAY = 1.5  # px
NOISE = 1.5 / 255.0
MOUTH_ROWS, MOUTH_COLUMNS = slice(50, SIZE), slice(22, 75)  # the mouth never leaves these
ROWS = np.arange(SIZE, dtype=np.float32)[MOUTH_ROWS, None]
COLUMNS = np.arange(SIZE)[MOUTH_COLUMNS]
TONGUE_PLACES = np.array([0.80, 0.83, 0.86, 0.885])  # behind the teeth: what is seen of the tongue

Image = NDArray[np.float32]
Colour = NDArray[np.float64]  # (3,) RGB, 0 … 1


@dataclass(frozen=True)
class _Look:
    """A speaker's face; px are of the picture."""

    canvas: Image  # (SIZE + 2 MARGIN, 3, SIZE + 2 MARGIN) rows, channels, columns; everything but the mouth
    mouth: tuple[float, float]  # x, y px of the middle of the closed lips
    half_width: float  # px, at rest
    upper_lip: float  # px, thickness
    lower_lip: float
    bow: float  # px, depth of the cupid's bow
    lip_colour: Colour
    tongue_colour: Colour
    teeth_colour: Colour
    gloss: float  # highlight on the lower lip


def film(
    speaker: Speaker, movement: Movement, rate: float, frames: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Render ``frames`` pictures at ``rate`` per second: (frames, 96, 96, 3) RGB."""
    look = _look(speaker)
    video = np.empty((frames, SIZE, SIZE, 3), np.uint8)
    sway = _sway(frames, rate, rng)
    for start in range(0, frames, BLOCK):
        stop = min(start + BLOCK, frames)
        times = (np.arange(start, stop) + 0.5) / rate
        positions = Movement(expose(movement.positions, RATE, times, SHUTTER / rate))
        picture = _face(look, positions, sway[start:stop])
        _mouth(look, positions, sway[start:stop], picture[:, :, MOUTH_ROWS, MOUTH_COLUMNS])
        picture += np.float32(NOISE) * rng.standard_normal((stop - start, 1, SIZE, SIZE), np.float32)
        picture *= np.float32(255.0)
        picture += np.float32(0.5)
        np.clip(picture, 0.0, 255.0, out=picture)
        video[start:stop] = picture.astype(np.uint8).transpose(0, 2, 3, 1)
    return video


def _sway(frames: int, rate: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Displacement of the head, (frames, 2) px x and y: three slow waves."""
    times = np.arange(frames)[:, None] / rate
    frequency = rng.uniform(0.15, 0.8, (3, 2))  # Hz
    phase = rng.uniform(0.0, 2.0 * np.pi, (3, 2))
    waves = np.array([np.sin(2.0 * np.pi * f * times + p) for f, p in zip(frequency, phase, strict=True)])
    swayed: NDArray[np.float64] = waves.sum(axis=0) * (SWAY / 2.0)
    return swayed


# look ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def _look(speaker: Speaker) -> _Look:
    rng = speaker.generator("face")
    tone = rng.uniform(0.0, 1.0)
    skin = (1.0 - tone) * np.array([0.93, 0.77, 0.67]) + tone * np.array([0.42, 0.27, 0.19])
    redness = rng.uniform(0.35, 0.65) + (0.15 if speaker.female else 0.0)
    lip = (1.0 - redness) * skin + redness * np.array([0.70, 0.24, 0.26]) * (0.75 + 0.25 * skin[0])
    mouth = (48.0 + rng.uniform(-1.5, 1.5), 70.0 + rng.uniform(-2.0, 2.0))
    return _Look(
        canvas=_canvas(speaker, skin, mouth, rng),
        mouth=mouth,
        half_width=rng.uniform(15.0, 18.5),
        upper_lip=rng.uniform(2.6, 4.4),
        lower_lip=rng.uniform(3.4, 5.4),
        bow=rng.uniform(0.4, 1.4),
        lip_colour=lip,
        tongue_colour=np.array([0.70, 0.36, 0.36]) * rng.uniform(0.85, 1.1),
        teeth_colour=np.array([0.93, 0.90, 0.82]) * rng.uniform(0.88, 1.0),
        gloss=rng.uniform(0.02, 0.12),
    )


def _canvas(speaker: Speaker, skin: Colour, mouth: tuple[float, float], rng: np.random.Generator) -> Image:
    """Background, head, hair, eyes, nose and shading; no mouth."""
    y, x = np.mgrid[-MARGIN : SIZE + MARGIN, -MARGIN : SIZE + MARGIN].astype(float)
    picture = np.empty((*x.shape, 3))
    light = rng.uniform(-1.0, 1.0)  # from the left or the right
    picture[:] = rng.uniform(0.15, 0.85, 3)
    picture *= 1.0 + 0.15 * ((x[..., None] - 48.0) / 48.0) * rng.uniform(-1, 1)
    _paint(picture, _ellipse(x, y, (48, 112), (34, 24)), skin * 0.62)  # neck
    width = rng.uniform(37.0, 42.0)
    head = _ellipse(x, y, (48, 44), (width, 51))
    _paint(picture, head, skin)
    shade = 1.0 + 0.10 * light * (x - 48.0) / 48.0 - 0.16 * np.hypot((x - 48) / width, (y - 44) / 51) ** 3
    picture *= np.where(head[..., None] > 0.5, shade[..., None], 1.0)
    hair = rng.uniform(0.05, 0.5) * np.array([1.0, rng.uniform(0.7, 0.95), rng.uniform(0.5, 0.8)])
    _paint(picture, 1.0 - np.clip(y - 12.0 + 9.0 * np.cos((x - 48.0) / 24.0), 0, 1), hair)
    apart, iris = rng.uniform(16.5, 18.0), rng.uniform(0.1, 0.35, 3)
    for side in (-1.0, 1.0):
        _eye(picture, x, y, 48.0 + side * apart, hair, skin, iris)
    _nose(picture, x, y, mouth, light)
    if not speaker.female:  # stubble
        beard = _ellipse(x, y, (48, 82), (30, 22), 8.0) * rng.uniform(0.0, 0.35)
        _paint(picture, beard, skin * 0.55)
    picture *= 1.0 + 0.012 * rng.standard_normal((*x.shape, 1))  # pores
    return np.ascontiguousarray(np.clip(picture, 0.0, 1.0).transpose(0, 2, 1), np.float32)


def _eye(
    picture: NDArray[Any],
    x: NDArray[Any],
    y: NDArray[Any],
    at: float,
    hair: Colour,
    skin: Colour,
    iris: Colour,
) -> None:
    _paint(picture, _ellipse(x, y, (at, 31), (9, 5), 3.0) * 0.35, skin * 0.6)
    _paint(picture, _ellipse(x, y, (at, 32), (6.2, 2.7)), np.array([0.92, 0.91, 0.90]))
    _paint(picture, _ellipse(x, y, (at, 32), (2.6, 2.6)), iris)
    _paint(picture, _ellipse(x, y, (at, 32), (1.2, 1.2)), np.array([0.03, 0.03, 0.03]))
    _paint(picture, _ellipse(x, y, (at, 23), (8.5, 1.6)) * 0.8, hair)


def _nose(
    picture: NDArray[Any], x: NDArray[Any], y: NDArray[Any], mouth: tuple[float, float], light: float
) -> None:
    base = mouth[1] - 14.0
    _paint(
        picture, _ellipse(x, y, (mouth[0] - 4 * np.sign(light), base - 8), (3, 14), 3.0) * 0.25, picture * 0.6
    )
    _paint(picture, _ellipse(x, y, (mouth[0], base - 3), (4, 4), 3.0) * 0.4, np.minimum(picture * 1.25, 1.0))
    for side in (-1.0, 1.0):
        _paint(picture, _ellipse(x, y, (mouth[0] + 4.2 * side, base), (2.2, 1.3)) * 0.8, picture * 0.35)
    _paint(picture, _ellipse(x, y, (mouth[0], base + 7), (1.6, 5.0), 2.0) * 0.2, picture * 0.7)


def _ellipse(
    x: NDArray[Any],
    y: NDArray[Any],
    at: tuple[float, float],
    radii: tuple[float, float],
    softness: float = 1.0,
) -> NDArray[Any]:
    distance = (1.0 - np.hypot((x - at[0]) / radii[0], (y - at[1]) / radii[1])) * min(radii)
    return np.clip(distance / softness + 0.5, 0.0, 1.0)


def _paint(picture: NDArray[Any], mask: NDArray[Any], colour: NDArray[Any]) -> None:
    picture += mask[..., None] * (colour - picture)


# frames ----------------------------------------------------------------------------------------------------


def _face(look: _Look, movement: Movement, sway: NDArray[Any]) -> Image:
    """The canvas with the head where it is and the chin as low as the jaw: (frames, 3, 96, 96)."""
    jaw = PIXELS_PER_CM * 0.75 * np.maximum(movement["jaw"], 0.0)[:, None]
    rows = np.arange(SIZE) - sway[:, 1:]
    stretched = np.clip((rows - look.mouth[1]) / 18.0, 0.0, 1.0)
    rows = np.clip(rows - jaw * stretched + MARGIN, 0.0, SIZE + 2 * MARGIN - 1.001)
    row = rows.astype(np.intp)
    down = (rows - row)[:, :, None, None].astype(np.float32)
    tall = look.canvas[row]  # (frames, rows, 3, columns)
    tall += down * (look.canvas[row + 1] - tall)
    face = np.empty((len(tall), 3, SIZE, SIZE), np.float32)
    for frame, offset in enumerate(MARGIN - sway[:, 0]):
        whole = int(offset)
        left, right = (tall[frame, :, :, first : first + SIZE] for first in (whole, whole + 1))
        face[frame] = (left + np.float32(offset - whole) * (right - left)).transpose(1, 0, 2)
    return face


def _mouth(look: _Look, movement: Movement, sway: NDArray[Any], picture: Image) -> None:
    """Paint lips and what is between them into (frames, 3, MOUTH_ROWS, MOUTH_COLUMNS)."""
    top, bottom, inner_top, inner_bottom, across = _contours(look, movement, sway)
    _paint_lips(look, picture, top, bottom, inner_bottom)
    inside = _between(inner_top, inner_bottom)
    _blend(picture, inside, np.array([0.10, 0.03, 0.03]))

    jaw = PIXELS_PER_CM * 0.75 * movement["jaw"][:, None].astype(np.float32)
    middle = (look.mouth[1] + sway[:, 1:]).astype(np.float32)
    behind = PIXELS_PER_CM * 0.55 * sagittal(movement, TONGUE_PLACES).min(axis=1).astype(np.float32)
    bend = across**2
    tongue = inside * _below(middle - 1.0 + behind[:, None] + 5.0 * bend) * (bend < 0.72)[:, None, :]
    _blend(picture, tongue, look.tongue_colour * 0.9)
    upper = inside * (1.0 - _below(middle + 1.2 - 1.5 * bend)) * (bend < 0.6)[:, None, :]
    _blend(picture, upper, look.teeth_colour)
    lower = inside * _below(middle + 2.0 + 0.9 * jaw + 1.5 * bend) * (bend < 0.35)[:, None, :]
    _blend(picture, lower, look.teeth_colour * 0.85)
    # the line where closed lips meet
    seam = 0.5 * (inner_top + inner_bottom)[:, None, :]
    dark = np.maximum(1.0 - np.abs(ROWS - seam), 0.0) * (bend < 1.0)[:, None, :]
    _blend(picture, np.float32(0.6) * dark * (1.0 - inside), look.lip_colour * 0.35)


def _contours(look: _Look, movement: Movement, sway: NDArray[Any]) -> tuple[Image, ...]:
    """Rows (frames, columns) of the lips' edges, outer then inner, and the place across the mouth ±1."""
    opening = PIXELS_PER_CM * np.maximum(movement["lips"], 0.0)[:, None]
    pressed = np.maximum(-movement["lips"], 0.0)[:, None]  # cm: lips that press grow thin
    rounding = np.clip(movement["rounding"], 0.0, 1.0)[:, None]
    half = look.half_width * (1.06 - 0.42 * rounding) + 0.05 * opening
    across = (COLUMNS - look.mouth[0] - sway[:, :1]) / half
    middle = look.mouth[1] + sway[:, 1:]
    arc = np.sqrt(np.maximum(1.0 - across**2, 0.0))
    profile = arc ** (1.3 - 0.5 * rounding)
    full = (1.0 + 0.25 * rounding) * (1.0 - np.minimum(1.5 * pressed, 0.5))
    inner_top = middle - 0.36 * opening * profile
    inner_bottom = middle + 0.64 * opening * profile
    bow = look.bow * np.exp(-((across / 0.16) ** 2)) * (1.0 - 0.5 * rounding)
    top = inner_top - (look.upper_lip * full * arc**0.7 - bow * (arc > 0.0))
    bottom = inner_bottom + look.lower_lip * full * arc
    return tuple(edge.astype(np.float32) for edge in (top, bottom, inner_top, inner_bottom, across))


def _paint_lips(look: _Look, picture: Image, top: Image, bottom: Image, inner_bottom: Image) -> None:
    """The upper lip in shadow, a highlight on the lower one."""
    lips = _between(top, bottom)
    shadow = np.where(0.5 * (top + inner_bottom)[:, None, :] > ROWS, np.float32(0.86), np.float32(1.0))
    height = np.maximum(bottom - inner_bottom, 0.5)[:, None, :]
    shine = np.maximum(1.0 - np.abs((ROWS - inner_bottom[:, None, :]) / height - 0.45) * 3.0, 0.0)
    for channel in range(3):
        colour = np.float32(look.lip_colour[channel]) * shadow + np.float32(look.gloss) * shine
        picture[:, channel] += lips * (colour - picture[:, channel])


def _below(edge: Image) -> Image:
    """Coverage (frames, rows, columns) of what lies below an edge (frames, columns); soft by one pixel."""
    covered: Image = np.clip(ROWS - edge[:, None, :] + np.float32(0.5), 0.0, 1.0)
    return covered


def _between(top: Image, bottom: Image) -> Image:
    """Coverage of what lies between two edges; none where they meet."""
    covered: Image = np.minimum(_below(top), 1.0 - _below(bottom))
    covered *= np.clip(bottom - top, 0.0, 1.0)[:, None, :]
    return covered


def _blend(picture: Image, mask: Image, colour: Colour) -> None:
    for channel in range(3):
        picture[:, channel] += mask * (np.float32(colour[channel]) - picture[:, channel])
