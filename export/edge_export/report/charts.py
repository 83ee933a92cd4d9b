"""Line charts of decibels as SVG, styled by the page; lines differ by dashes too, not by colour alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_export.report.markup import Markup, element, join

WIDTH, HEIGHT = 520, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 24, 36
POINTS = 256  # of a line; groups of more are shown by their largest value
STEP = 20  # dB from line to line of the grid
TICKS = 5  # along positions


@dataclass(frozen=True)
class Line:
    """A named line over positions; values that are not finite interrupt nothing and are left out."""

    name: str
    values: NDArray[np.float64]  # (n,)


def line_chart(
    title: str, across: str, up: str, lines: Sequence[Line], *, span: tuple[float, float], floor: float
) -> Markup:
    """A figure with its lines.

    Args:
        title: what it shows; the name of the picture for screen readers too.
        across, up: what the axes are, with their units.
        lines: at most three.
        span: positions of the first and the last value.
        floor: dB; values below are drawn here.
    """
    shown = [Line(line.name, thinned(line.values)) for line in lines]
    finite = np.concatenate([line.values[np.isfinite(line.values)] for line in shown] + [np.array([floor])])
    low, high = floor, STEP * max(1 + floor // STEP, math.ceil((float(finite.max()) - 1) / STEP))
    drawn = [_grid(low, high, span)]
    for number, line in enumerate(shown):
        points = _points(np.maximum(line.values, floor), low, high)
        drawn.append(element("polyline", points=points, class_=f"s{number}"))
        at = LEFT + 130 * number
        drawn.append(element("polyline", points=f"{at},10 {at + 22},10", class_=f"s{number}"))
        drawn.append(element("text", line.name, x=at + 27, y=14))
    drawn.append(element("text", across, x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 4, text_anchor="middle"))
    picture = element(
        "svg", *drawn, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=f"{title}: {up} over {across}"
    )
    return element("figure", picture, element("figcaption", f"{title}, {up}"))


def thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most `POINTS` values, the largest of each group.

    >>> thinned(np.arange(512.0))[:2].tolist()
    [1.0, 3.0]
    """
    if len(values) <= POINTS:
        return values
    return np.array([part.max() for part in np.array_split(values, POINTS)])


def _points(values: NDArray[np.float64], low: float, high: float) -> str:
    step = (WIDTH - LEFT - RIGHT) / max(1, len(values) - 1)
    places = (
        f"{LEFT + i * step:.1f},{_height(float(value), low, high):.1f}"
        for i, value in enumerate(values)
        if math.isfinite(value)
    )
    return " ".join(places)


def _height(value: float, low: float, high: float) -> float:
    return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _grid(low: float, high: float, span: tuple[float, float]) -> Markup:
    drawn = []
    for value in np.arange(math.ceil(low / STEP) * STEP, high + 1, STEP):
        y = _height(float(value), low, high)
        drawn.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid"))
        drawn.append(element("text", f"{value:g}", x=LEFT - 5, y=f"{y + 4:.1f}", text_anchor="end"))
    for share in np.linspace(0, 1, TICKS):
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        place = span[0] + share * (span[1] - span[0])
        drawn.append(
            element("text", f"{place:.0f}", x=f"{x:.1f}", y=HEIGHT - BOTTOM + 14, text_anchor="middle")
        )
    return join(*drawn)
