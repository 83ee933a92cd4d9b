"""Figures without a window, by matplotlib, which is imported where they are made."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from edge_runtime.store.targets import replace_file

MISSING = "no pictures: matplotlib is not installed; pip install 'edge-export[train]'"


def new_figure(width: float, height: float) -> Any:
    """A figure of a size in inches; None, and a warning, where matplotlib is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        warnings.warn(MISSING, stacklevel=2)
        return None
    figure = Figure(figsize=(width, height))  # a layout engine would take as long as all the drawing
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> None:
    """Write a PNG, whole or not at all."""
    with replace_file(path) as fresh:
        figure.savefig(fresh, dpi=90)
