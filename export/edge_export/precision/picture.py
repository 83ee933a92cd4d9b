"""The Pareto table as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def draw(path: Path, title: str, unit: str, points: Sequence[Mapping[str, Any]], measure: str) -> None:
    """Write a PNG: cost to the right, quality upwards; what fits the budget filled, the choice ringed.

    Args:
        path: the file to write.
        title: above the picture.
        unit: of the cost: "bytes" or "ms".
        points: with the entries name, unit, `measure`, fits, chosen.
        measure: which figure goes upwards: "pesq" or "snr".
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    scale = 1e6 if unit == "bytes" else 1.0
    shown = [point for point in points if isinstance(point[measure], int | float)]
    for point in shown:
        x, y = point[unit] / scale, point[measure]
        colour = "#1b7837" if point["fits"] else "#b2182b"
        axes.plot(x, y, "o", color=colour, markerfacecolor=colour if point["fits"] else "white")
        if point["chosen"]:
            axes.plot(x, y, "o", markersize=16, color="#1b7837", markerfacecolor="none")
        if point["chosen"] or point["name"].startswith("all ") or unit == "ms":
            axes.annotate(point["name"], (x, y), xytext=(6, -4), textcoords="offset points", fontsize=8)
    axes.set_xlabel("weights, MB" if unit == "bytes" else "milliseconds")
    axes.set_ylabel("PESQ" if measure == "pesq" else "SNR, dB")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    figure.savefig(path, format="png", metadata={"Software": None})
