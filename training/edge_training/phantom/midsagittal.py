"""Midsagittal vocal-tract video, 256×256 grey, as a real-time MRI scanner would give it.

The picture is a map from pixels to the tract's own coordinates: each pixel has a place along the tract (0
glottis … 1 lips) and a radius across it, on the semipolar grid of articulatory phonetics: horizontal lines in
the pharynx, radii around the middle of the tongue, vertical lines in the mouth. Along each line the tract is
air from the wall (back of the pharynx, palate, upper lip) inwards as far as `tract.sagittal` says: the
picture shows the very openings that make the sound.

Coordinates are pixels of the finished picture, x to the right, y down, the face to the left: lips within
(8 … 45, 84 … 156) and tongue within x 36 … 134, y 91 … 172, where the masks of the mri-speech system lie.
The scanner: 128×128 acquired, blurred, Rician noise, averaged over the frame, interpolated to 256×256.
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

SIZE = 256
ACQUIRED = 128
BLOCK = 4  # frames rendered together: what fits the second-level cache
PIXELS_PER_CM = 12.0
SOFTNESS = 2.0  # px, width of an edge before the blur
NOISE = 0.035  # of full scale, in each of the two channels

CENTRE = (95.0, 150.0)  # px, of the polar part
GLOTTIS_Y, LIPS_X = 222.0, 22.0  # px
PHARYNX_END, MOUTH_START = 0.35, 0.65  # places where the grid changes its kind
TABLE = np.linspace(-0.05, 1.05, 331)  # places at which the tables along the tract are kept

# place, px: distance of the wall from the grid's centre line; and thickness of the soft palate
_WALL = ((-0.05, 38), (0.10, 38), (0.25, 43), (0.35, 46), (0.45, 52), (0.55, 56), (0.65, 53),
         (0.75, 51), (0.84, 45), (0.885, 38), (0.91, 31), (0.94, 30), (1.05, 30))  # fmt: skip
_PALATE = (
    (-0.05, 90),
    (0.32, 90),
    (0.36, 26),
    (0.42, 4),
    (0.48, 7),
    (0.58, 9),
    (0.64, 9),
    (0.67, 60),
    (1.05, 90),
)

Image = NDArray[np.float32]


@dataclass(frozen=True)
class _Anatomy:
    """What stays still, on the acquired grid (128, 128) unless said otherwise."""

    place: NDArray[np.intp]  # index into TABLE
    radius: Image  # px
    on_grid: NDArray[np.bool_]  # between glottis and lips
    outer: Image  # brightness beyond the wall
    jaw: Image  # (160, 128) brightness of chin, mandible and neck at rest; 16 rows more on each side
    nasopharynx: Image  # px, radius up to which there is air behind the soft palate; 0 elsewhere
    wall: NDArray[np.float64]  # (len(TABLE),) px
    palate: NDArray[np.float64]  # (len(TABLE),) px
    epiglottis: Image  # px above the tongue's surface; far away where there is none
    incisors: NDArray[np.bool_]
    shading: Image  # of the coils
    rows: NDArray[np.float64]  # px, y of each row


def film(
    speaker: Speaker,
    movement: Movement,
    rate: float,
    frames: int,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Render ``frames`` pictures at ``rate`` per second: (frames, 256, 256)."""
    anatomy = _anatomy(speaker)
    video = np.empty((frames, SIZE, SIZE), np.uint8)
    for start in range(0, frames, BLOCK):
        times = (np.arange(start, min(start + BLOCK, frames)) + 0.5) / rate
        positions = Movement(expose(movement.positions, RATE, times, 1.0 / rate))
        clean = _render(anatomy, positions) * anatomy.shading
        _to_scanner(clean, rng, video[start : start + len(times)])
    return video


# anatomy ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _anatomy(speaker: Speaker) -> _Anatomy:
    rng = speaker.generator("midsagittal")
    x, y = np.meshgrid(_acquired_pixels(ACQUIRED), _acquired_pixels(ACQUIRED))
    place, radius = _semipolar(x, y)
    index = np.clip(np.round((place - TABLE[0]) / (TABLE[1] - TABLE[0])), 0, len(TABLE) - 1).astype(np.intp)
    arch = rng.uniform(-3.0, 3.0)  # how high the palate is vaulted
    wall = _curve(_WALL) + arch * np.exp(-(((TABLE - 0.74) / 0.07) ** 2))
    palate = _curve(_PALATE) * rng.uniform(0.9, 1.1)
    epiglottis = np.where((place > 0.13) & (place < 0.24), 3.0 + 60.0 * (place - 0.13), 1e3)
    return _Anatomy(
        place=index,
        radius=radius.astype(np.float32),
        on_grid=(place > 0.0) & (place < 1.05),
        outer=_outer_tissue(x, y, radius - wall[index], rng),
        jaw=_jaw_tissue(rng),
        nasopharynx=_nasopharynx(place, wall[index]),
        wall=wall,
        palate=palate,
        epiglottis=epiglottis.astype(np.float32),
        incisors=(place > 0.893) & (place < 0.922),
        shading=(1.1 - 0.35 * np.hypot((x - 70.0) / 190.0, (y - 135.0) / 170.0)).astype(np.float32),
        rows=y[:, 0],
    )


def _nasopharynx(place: NDArray[Any], wall: NDArray[Any]) -> Image:
    depth = 26.0 * np.clip((place - 0.325) / 0.07, 0.0, 1.0)  # px; it begins as a slit behind the palate
    return np.where((place > 0.325) & (place < 0.66), wall + depth, 0.0).astype(np.float32)


def _acquired_pixels(count: int) -> NDArray[np.float64]:
    """Centres of acquired pixels in the coordinates of the finished picture; extra ones on both sides."""
    return np.arange(count, dtype=np.float64) * 2.0 - (count - ACQUIRED) + 0.5


def _semipolar(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Place along the tract and radius (px) of each pixel."""
    right, up = x - CENTRE[0], CENTRE[1] - y
    pharynx = PHARYNX_END * (1.0 + up / (GLOTTIS_Y - CENTRE[1]))
    polar = PHARYNX_END + (MOUTH_START - PHARYNX_END) * np.arctan2(up, right) / (np.pi / 2.0)
    mouth = MOUTH_START + (1.0 - MOUTH_START) * -right / (CENTRE[0] - LIPS_X)
    place = np.where(right < 0.0, mouth, np.where(up < 0.0, pharynx, polar))
    radius = np.where(right < 0.0, up, np.where(up < 0.0, right, np.hypot(right, up)))
    return place, radius


def _curve(points: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """Piecewise linear along `TABLE`, corners rounded."""
    knots = np.array(points, dtype=float)
    values = np.interp(TABLE, knots[:, 0], knots[:, 1])
    padded = np.pad(values, 6, mode="edge")
    return np.convolve(padded, np.full(13, 1.0 / 13.0), mode="valid")


def _texture(rng: np.random.Generator, rows: int) -> NDArray[np.float64]:
    """Smooth random mottling around 0, (rows, 128)."""
    coarse = rng.standard_normal((rows // 8 + 2, ACQUIRED // 8 + 2))
    down = np.linspace(0, coarse.shape[0] - 1.001, rows)
    across = np.linspace(0, coarse.shape[1] - 1.001, ACQUIRED)
    i, j = down.astype(int), across.astype(int)
    a, b = (down - i)[:, None], across - j
    top = coarse[i][:, j] * (1 - b) + coarse[i][:, j + 1] * b
    bottom = coarse[i + 1][:, j] * (1 - b) + coarse[i + 1][:, j + 1] * b
    mottled: NDArray[np.float64] = top * (1 - a) + bottom * a
    return mottled


def _inside(distance: NDArray[Any]) -> NDArray[Any]:
    """1 where a signed distance (px) is positive, 0 where it is negative, soft between."""
    coverage: NDArray[Any] = np.clip(distance / SOFTNESS + 0.5, 0.0, 1.0)
    return coverage


def _ellipse(x: NDArray[Any], y: NDArray[Any], at: tuple[float, float], radii: tuple[float, float],
             turn: float = 0.0) -> NDArray[Any]:  # fmt: skip
    """Soft mask of an ellipse; ``turn`` in radians."""
    u, v = x - at[0], y - at[1]
    u, v = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
    return _inside((1.0 - np.hypot(u / radii[0], v / radii[1])) * min(radii))


def _blend(picture: NDArray[Any], mask: NDArray[Any], brightness: float | NDArray[Any]) -> None:
    picture += mask * (brightness - picture)


def _outer_tissue(x: NDArray[Any], y: NDArray[Any], beyond: NDArray[Any], rng: np.random.Generator) -> Image:
    """Upper face, nose, palate, skull base, brain, spine and neck; ``beyond`` is px outside of the wall."""
    tissue = 0.42 + 0.03 * _texture(rng, ACQUIRED)
    nose = rng.uniform(-3.0, 3.0)
    # brain, brainstem and cerebellum
    _blend(tissue, _ellipse(x, y, (150, -18), (105, 62)), 0.62 + 0.06 * _texture(rng, ACQUIRED))
    _blend(tissue, _ellipse(x, y, (196, 62), (24, 30)), 0.55 + 0.08 * _texture(rng, ACQUIRED))
    _blend(tissue, _ellipse(x, y, (163, 58), (13, 32), 0.25), 0.68)
    # sphenoid and frontal sinus, nasal passages with a concha
    _blend(tissue, _ellipse(x, y, (116, 42), (17, 13)), 0.05)
    _blend(tissue, _ellipse(x, y, (78, 64), (42, 19), 0.12), 0.10)
    _blend(tissue, _ellipse(x, y, (84, 60), (30, 4.5), 0.16), 0.45)
    _blend(tissue, _ellipse(x, y, (80, 74), (30, 4), 0.10), 0.42)
    # hard palate: bone without signal between two bright linings
    front = _inside(102.0 - x) * _inside(x - 44.0)
    _blend(tissue, front * _inside(beyond) * _inside(13.0 - beyond), 0.60)
    _blend(tissue, front * _inside(beyond - 4.0) * _inside(9.0 - beyond), 0.22)
    _spine(tissue, x, y, rng)
    # upper incisor
    _blend(tissue, _ellipse(x, y, (42.5, 113.0), (3.2, 10.0), 0.12), 0.08)
    _blend(tissue, _inside(_upper_profile(y, nose) - x), 0.02)
    _blend(tissue, _inside(y - 229.0) * _inside(6.0 - np.abs(x - 131.0 - 0.1 * (y - 229.0))), 0.04)  # trachea
    # back of the head and neck
    behind = 240.0 - 0.0011 * (y - 60.0) ** 2
    _blend(tissue, _inside(x - behind), 0.02)
    return tissue.astype(np.float32)


def _spine(tissue: NDArray[Any], x: NDArray[Any], y: NDArray[Any], rng: np.random.Generator) -> None:
    """Vertebrae with discs, the cord in its bright fluid, muscles of the neck."""
    column = 168.0 - 0.0018 * (y - 170.0) ** 2
    _blend(tissue, _inside(y - 96.0) * _inside(x - column - 26.0), 0.34 + 0.05 * _texture(rng, ACQUIRED))
    _blend(tissue, _inside(y - 78.0) * _inside(9.0 - np.abs(x - column - 22.0)), 0.75)
    _blend(tissue, _inside(y - 70.0) * _inside(4.5 - np.abs(x - column - 22.0)), 0.55)
    for number in range(6):
        height = 104.0 + 27.0 * number
        at = (float(168.0 - 0.0018 * (height - 170.0) ** 2), height)
        _blend(tissue, _ellipse(x, y, at, (13.5, 12.0)), 0.18)
        _blend(tissue, _ellipse(x, y, at, (11.0, 9.5)), 0.55)


def _upper_profile(y: NDArray[Any], nose: float) -> NDArray[Any]:
    """x (px) of forehead, nose and upper lip."""
    knots = ((0, 42), (30, 38), (46, 40), (70, 20 - nose), (80, 13 - nose), (86, 17 - nose), (92, 28),
             (100, 27), (110, 22), (119, 19), (124, 22), (130, 30), (256, 30))  # fmt: skip
    points = np.array(knots, dtype=float)
    profile: NDArray[Any] = np.interp(y, points[:, 0], points[:, 1])
    return profile


def _jaw_tissue(rng: np.random.Generator) -> Image:
    """Tongue's floor, mandible, hyoid bone, neck and trachea, with 16 rows to spare above and below."""
    x, y = np.meshgrid(_acquired_pixels(ACQUIRED), _acquired_pixels(ACQUIRED + 32))
    tissue = 0.50 + 0.04 * _texture(rng, ACQUIRED + 32)
    # fan of the genioglossus
    angle = np.arctan2(172.0 - y, x - 52.0)
    tissue += 0.035 * np.sin(26.0 * angle) * _ellipse(x, y, (92, 140), (46, 40))
    _blend(tissue, _ellipse(x, y, (72, 184), (34, 7), 0.25), 0.40)
    _blend(tissue, _ellipse(x, y, (44.5, 168.0), (9.0, 16.0), -0.2), 0.15)  # mandible: cortex
    _blend(tissue, _ellipse(x, y, (44.5, 169.0), (6.0, 12.0), -0.2), 0.62)  # and marrow
    _blend(tissue, _ellipse(x, y, (100, 199), (6.0, 3.5), 0.5), 0.12)  # hyoid
    _blend(tissue, _ellipse(x, y, (113, 222), (4.5, 14.0), -0.15), 0.25)  # thyroid cartilage
    return tissue.astype(np.float32)


# frames ----------------------------------------------------------------------------------------------------


def _render(anatomy: _Anatomy, movement: Movement) -> Image:
    """Noiseless pictures on the acquired grid, (frames, 128, 128)."""
    openings = _openings(movement) * PIXELS_PER_CM  # (frames, TABLE) px
    velum = np.clip(movement["velum"], 0.0, 1.0)[:, None]
    wall = anatomy.wall - 7.0 * velum * np.exp(-(((TABLE - 0.50) / 0.09) ** 2))
    away = np.minimum(1.5 * velum, 1.0)  # from the pharynx: the port is seen before it is wide
    # the tip of the soft palate meets the pharynx when it is raised; lowered, it leaves a port
    away = np.minimum(1.5 * velum, 1.0)
    tip = 1.0 / (1.0 + np.exp((TABLE - 0.405) / 0.012))
    palate = wall + anatomy.palate * (1.0 - 1.15 * away * tip)
    palate += (1.0 - away) * 26.0 * np.exp(-(((TABLE - 0.39) / 0.045) ** 2))
    surface = np.maximum(wall - openings, 2.0)

    radius = anatomy.radius
    above = radius - _look_up(surface, anatomy)  # px over tongue or lower lip
    below_wall = _look_up(wall, anatomy) - radius
    pictures = np.where(above > 0.0, anatomy.outer, _floor(anatomy, movement, above))
    air = _inside(above) * _inside(below_wall)
    air *= 1.0 - _inside(1.6 - np.abs(above - anatomy.epiglottis))
    air += _inside(radius - _look_up(palate, anatomy)) * _inside(anatomy.nasopharynx - radius)
    air *= anatomy.on_grid
    pictures -= np.clip(air, 0.0, 1.0) * (pictures - np.float32(0.03))
    return _cut_out(anatomy, movement, pictures, wall, surface)


def _openings(movement: Movement) -> NDArray[np.float64]:
    """`sagittal` along `TABLE`, with the larynx where it is."""
    height = movement["larynx"][:, None] * PIXELS_PER_CM / (GLOTTIS_Y - CENTRE[1]) * PHARYNX_END
    shifted = TABLE - height * np.clip(1.0 - TABLE / PHARYNX_END, 0.0, 1.0)
    return sagittal(movement, shifted)


def _look_up(table: NDArray[Any], anatomy: _Anatomy) -> Image:
    """(frames, TABLE) at each pixel's place: (frames, 128, 128)."""
    found: Image = np.take(table.astype(np.float32), anatomy.place, axis=1)
    return found


def _floor(anatomy: _Anatomy, movement: Movement, above: Image) -> Image:
    """Tongue, lower lip, jaw and neck: they move with the jaw; bright surface, dark lower incisor."""
    shift = 0.5 * PIXELS_PER_CM * np.maximum(movement["jaw"], 0.0) * 0.6  # acquired rows
    row = np.clip(np.arange(ACQUIRED) - shift[:, None] + 16.0, 0.0, ACQUIRED + 30.0)
    whole = row.astype(np.intp)
    part = (row - whole)[:, :, None].astype(np.float32)
    moved = anatomy.jaw[whole] * (1.0 - part) + anatomy.jaw[whole + 1] * part
    moved += np.float32(0.22) * np.exp(np.minimum(above, 0.0) / np.float32(6.0))
    tooth = anatomy.incisors & (above > -11.0)
    np.copyto(moved, np.float32(0.08), where=tooth)
    floor: Image = moved
    return floor


def _cut_out(
    anatomy: _Anatomy,
    movement: Movement,
    pictures: Image,
    wall: NDArray[Any],
    surface: NDArray[Any],
) -> Image:
    """Air before the face: the profile follows lips and jaw."""
    front = int(np.searchsorted(TABLE, 0.97))
    upper = CENTRE[1] - wall[:, front]
    lower = CENTRE[1] - surface[:, front]
    protrusion = 7.0 * np.clip(movement["rounding"], 0.0, 1.0) - 2.0
    chin = PIXELS_PER_CM * 0.6 * np.maximum(movement["jaw"], 0.0)
    profile = np.empty((len(pictures), ACQUIRED), np.float32)
    static = _upper_profile(anatomy.rows, 0.0)
    for frame in range(len(pictures)):
        lip = protrusion[frame] * np.exp(-(((anatomy.rows - upper[frame] + 5.0) / 7.0) ** 2))
        y, x = _lower_profile(lower[frame], protrusion[frame], chin[frame])
        under = np.interp(anatomy.rows, y, x)
        middle = 0.5 * (upper[frame] + lower[frame])
        profile[frame] = np.where(anatomy.rows < middle, static - lip, under)
    x_axis = _acquired_pixels(ACQUIRED).astype(np.float32)
    outside = _inside(profile[:, :, None] - x_axis)
    pictures -= outside * (pictures - np.float32(0.02))
    return pictures


def _lower_profile(lip: float, protrusion: float, chin: float) -> tuple[list[float], list[float]]:
    """Knots (y, x) px of lower lip, chin and throat."""
    y = [lip - 2, lip + 1, lip + 6, lip + 13, 150 + chin, 163 + chin, 176 + chin, 188 + chin, 197 + chin, 256]
    x = [30, 24 - protrusion, 21 - protrusion, 27 - protrusion / 2, 31, 26, 27, 38, 74, 92]
    return [float(v) for v in np.maximum.accumulate(y)], [float(v) for v in x]


# scanner ---------------------------------------------------------------------------------------------------


def _to_scanner(clean: Image, rng: np.random.Generator, out: NDArray[np.uint8]) -> None:
    """Blur, noise of both channels, magnitude, interpolation."""
    for axis in (1, 2):
        clean = _blurred(clean, axis)
    real = clean + np.float32(NOISE) * rng.standard_normal(clean.shape, np.float32)
    imaginary = np.float32(NOISE) * rng.standard_normal(clean.shape, np.float32)
    real *= real
    imaginary *= imaginary
    real += imaginary
    np.sqrt(real, out=real)
    _doubled(real, out)


def _blurred(x: Image, axis: int) -> Image:
    """Binomial blur of three, ends held."""
    x = np.moveaxis(x, axis, -1)
    result = 0.5 * x
    result[..., 1:] += 0.25 * x[..., :-1]
    result[..., :-1] += 0.25 * x[..., 1:]
    result[..., 0] += 0.25 * x[..., 0]
    result[..., -1] += 0.25 * x[..., -1]
    blurred: Image = np.moveaxis(result, -1, axis)
    return blurred


def _doubled(x: Image, out: NDArray[np.uint8]) -> None:
    """Linear interpolation to twice the pixels, each acquired pixel becoming two, and 8 bits."""
    x = np.minimum(x * np.float32(255.0), np.float32(255.0))
    wide = np.empty((len(x), ACQUIRED, SIZE), np.float32)
    edged = np.pad(x, ((0, 0), (0, 0), (1, 1)), mode="edge") * np.float32(0.25)
    np.add(edged[:, :, :-2], np.float32(0.75) * x, out=wide[:, :, 0::2])
    np.add(edged[:, :, 2:], np.float32(0.75) * x, out=wide[:, :, 1::2])
    quarter, rest = wide * np.float32(0.25), wide * np.float32(0.75)
    out[:, 0] = wide[:, 0]
    out[:, -1] = wide[:, -1]
    out[:, 2::2] = rest[:, 1:] + quarter[:, :-1]
    out[:, 1:-1:2] = rest[:, :-1] + quarter[:, 1:]
