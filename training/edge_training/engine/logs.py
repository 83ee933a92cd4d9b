"""Logs of a run: a table (`metrics.csv`), TensorBoard, and a progress bar or plain lines.

    metrics.csv   one row for each logged step: step, then a column for each figure, empty where not taken

A run that is resumed at step s drops the rows after s: they are computed again.
"""

from __future__ import annotations

import csv
import logging
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from edge_runtime.errors import BackendError
from edge_runtime.store.targets import replace_file

Row = dict[str, float]
TABLE = "metrics.csv"


def read_table(path: Path) -> list[Row]:
    """Rows of a `metrics.csv`; a last line cut by a kill is left out."""
    if not path.is_file():
        return []
    rows: list[Row] = []
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            try:
                rows.append({name: float(text) for name, text in row.items() if text})
            except (TypeError, ValueError):
                break
    return [row for row in rows if "step" in row]


class TableLog(Logger):
    """Lightning's figures as rows of `metrics.csv`."""

    def __init__(self, run: Path, step: int) -> None:
        super().__init__()
        self.path = run / TABLE
        self._columns: list[str] = ["step"]
        self.rows = [row for row in read_table(self.path) if row["step"] <= step]
        self._written = False

    @property
    def name(self) -> str:
        return "table"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """The configuration is in config.json."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = {"step": float(step or 0)} | {k: float(v) for k, v in metrics.items() if k != "epoch"}
        if self.rows and self.rows[-1]["step"] == row["step"]:
            self.rows[-1] |= row
            self._rewrite()
            return
        self.rows.append(row)
        if self._written and set(row) <= set(self._columns):
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns, lineterminator="\n").writerow(_texts(row))
        else:
            self._rewrite()

    def _rewrite(self) -> None:
        for row in self.rows:
            self._columns += [name for name in row if name not in self._columns]
        with replace_file(self.path) as fresh, fresh.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(map(_texts, self.rows))
        self._written = True


def _texts(row: Row) -> dict[str, str]:
    return {name: f"{value:.9g}" for name, value in row.items()}


def tensorboard(run: Path, step: int) -> TensorBoardLogger:
    """TensorBoard's log in RUN/tensorboard, rows after `step` dropped."""
    try:
        return TensorBoardLogger(run, name="", version="tensorboard", purge_step=step + 1)
    except ModuleNotFoundError as error:
        raise BackendError(
            "TensorBoard log",
            got="no module named tensorboard",
            expected="tensorboard",
            cause="pip install 'edge-export[train]'",
        ) from error


class StepsBar(TQDMProgressBar):
    """Lightning's bar over all steps of the run."""

    def __init__(self) -> None:
        # a refresh reads the step's losses, for which a GPU must finish all that it was given
        super().__init__(refresh_rate=20 if torch.cuda.is_available() else 1)

    @property
    def total_train_batches(self) -> int:
        return self.trainer.max_steps


class StepsLines(Callback):
    """Prints a plain line from time to time, where stderr is not a terminal."""

    def __init__(self, seconds: float = 30.0) -> None:
        self.seconds = seconds
        self._began = self._said = time.monotonic()
        self._first = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self._began = self._said = time.monotonic()
        self._first = trainer.global_step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:  # noqa: ARG002
        now = time.monotonic()
        last = trainer.global_step >= trainer.max_steps
        if not trainer.is_global_zero or (now - self._said < self.seconds and not last):
            return
        self._said = now
        figures = "  ".join(f"{name} {float(v):.4g}" for name, v in trainer.progress_bar_metrics.items())
        rate = (trainer.global_step - self._first) / max(1e-9, now - self._began)
        steps = f"step {trainer.global_step}/{trainer.max_steps}"
        print(f"{now - self._began:8.1f} s  {steps}  {rate:.2f}/s  {figures}", file=sys.stderr, flush=True)


@contextmanager
def quiet() -> Iterator[None]:
    """Hides Lightning's hints about settings that we choose, not the user.

    And what TensorBoard's thread reports of a full disk: our next write fails with it too.
    """
    threads = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if not (isinstance(failed.exc_value, OSError) and "tensorboard" in type(failed.thread).__module__):
            threads(failed)

    threading.excepthook = hook
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    finally:
        threading.excepthook = threads
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
