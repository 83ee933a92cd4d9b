"""Pictures of a run, PNG: the loss curves so far, and each validation's spectrograms.

Without matplotlib a run goes on and says once what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from edge_training.engine.figures import new_figure, save_figure
from edge_training.engine.logs import Row, TableLog
from edge_training.engine.module import FitModule, Picture

FOLDER = "plots"


class Plots(Callback):
    """Writes RUN/plots/losses.png and validation-%08d.png after each validation and at the end."""

    def __init__(self, run: Path, table: TableLog) -> None:
        self.folder = run / FOLDER
        self.table = table
        self._drawn = -1  # step of the curves

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, FitModule)
        if trainer.is_global_zero and not trainer.sanity_checking:
            if pl_module.pictures:
                draw_pictures(self.folder / f"validation-{trainer.global_step:08d}.png", pl_module.pictures)
            self._draw_curves(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        if trainer.is_global_zero and self._drawn != trainer.global_step:
            self._draw_curves(trainer)

    def _draw_curves(self, trainer: Trainer) -> None:
        self._drawn = trainer.global_step
        draw_curves(self.folder / "losses.png", self.table.rows)


def draw_curves(path: Path, rows: Sequence[Row]) -> None:
    """One small plot for each figure over the steps."""
    names = sorted({name for row in rows for name in row} - {"step"})
    if not names:
        return
    figure = _figure(4.0 * min(3, len(names)), 2.6 * -(-len(names) // 3))
    if figure is None:
        return
    for index, name in enumerate(names):
        points = [(row["step"], row[name]) for row in rows if name in row]
        axes = figure.add_subplot(-(-len(names) // 3), min(3, len(names)), index + 1)
        axes.plot(*zip(*points, strict=True), linewidth=0.9, marker="." if len(points) < 30 else None)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
    save_figure(figure, path)


def draw_pictures(path: Path, pictures: Sequence[Picture]) -> None:
    """Spectrograms (bands, frames) below each other, each picture's rows on one colour scale."""
    rows = [(picture, title) for picture in pictures for title in picture.rows]
    figure = _figure(9.0, 1.9 * len(rows))
    if figure is None:
        return
    for index, (picture, title) in enumerate(rows):
        arrays = [np.asarray(array) for array in picture.rows.values()]
        axes = figure.add_subplot(len(rows), 1, index + 1)
        axes.imshow(
            np.asarray(picture.rows[title]),
            origin="lower",
            aspect="auto",
            vmin=min(float(a.min()) for a in arrays),
            vmax=max(float(a.max()) for a in arrays),
        )
        axes.set_title(f"{picture.name}: {title}", fontsize=9)
        axes.tick_params(labelsize=7)
    save_figure(figure, path)


def _figure(width: float, height: float) -> Any:
    figure = new_figure(width, height)
    if figure is not None:
        figure.subplots_adjust(left=0.06, right=0.98, top=0.92, bottom=0.08, hspace=0.45, wspace=0.25)
    return figure
