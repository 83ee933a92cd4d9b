"""Checkpoints of a run, the newest few and the best, each written whole or not at all.

    RUN/checkpoints/
      step-00001000.ckpt …      Lightning's, to go on from; the newest `keep_checkpoints`
      best.ckpt                 of the lowest validation figure
      <weights file>, config.json        plain weights of the newest, as `edge-export export` takes them
      best/<weights file>, config.json   and of the best
      g_00001000, do_00001000   of the newest, in the format of the net's original system, where there is one

A checkpoint at the step of a validation is written after it, so that it holds what validation changes (a
plateau schedule). Weights that are not finite are never written.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from safetensors.torch import save_file

from edge_runtime.errors import CheckpointError, InputError
from edge_runtime.store.targets import replace_file
from edge_training.engine.module import FitModule, WeightsFile

FOLDER = "checkpoints"
_NAME = re.compile(r"step-(\d{8,})\.ckpt")
_ORIGIN = re.compile(r"(g|do)_\d{8,}|model_epoch\d+\.pth")


def checkpoint_steps(run: Path) -> dict[int, Path]:
    """Step → checkpoint of a run, in order."""
    folder = run / FOLDER
    found = [(match, path) for path in folder.glob("step-*.ckpt") if (match := _NAME.fullmatch(path.name))]
    return {int(match[1]): path for match, path in sorted(found, key=lambda pair: int(pair[0][1]))}


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoints through a temporary file, and read without unpickling code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        with replace_file(path) as fresh:
            torch.save(checkpoint, fresh)

    def load_checkpoint(
        self,
        path: Any,
        map_location: Any = None,  # noqa: ARG002
        weights_only: bool | None = None,  # noqa: ARG002
    ) -> dict[str, Any]:
        try:
            loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged files make torch raise nearly anything
            raise CheckpointError(
                str(path),
                got=f"bytes that cannot be read ({type(error).__name__})",
                expected="a checkpoint of this run",
                cause="delete it to go on from the one before",
            ) from error
        return loaded


class Checkpoints(Callback):
    """Writes the files above every `checkpoint_every` steps, at each best validation, and at the end."""

    def __init__(self, run: Path) -> None:
        self.folder = run / FOLDER
        self.run = run
        self.best: float | None = None
        self.saved_step = -1

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        self.saved_step = trainer.global_step if checkpoint_steps(self.run) else -1

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:  # noqa: ARG002
        if self._due(trainer, pl_module) and not _validation_due(trainer):
            self.save(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        module = _fit(pl_module)
        if trainer.sanity_checking:
            return
        figure = float(trainer.callback_metrics[module.monitor])
        better = self.best is None or figure < self.best
        if better:
            self.best = figure
        if better or self._due(trainer, pl_module):
            self.save(trainer, pl_module, best=better)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.saved_step != trainer.global_step:
            self.save(trainer, pl_module)

    def save(self, trainer: Trainer, pl_module: LightningModule, *, best: bool = False) -> None:
        """Write the checkpoint of this step; all processes call it together."""
        module = _fit(pl_module)
        _check_weights(module)
        step = self.saved_step = trainer.global_step
        path = self.folder / f"step-{step:08d}.ckpt"
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            self._write_plain(module, best=best)
            if best:
                _link(path, self.folder / "best.ckpt")
            self._prune(module.config.keep_checkpoints)
        trainer.strategy.barrier("checkpoint")

    def _due(self, trainer: Trainer, pl_module: LightningModule) -> bool:
        every: int = _fit(pl_module).config.checkpoint_every
        return trainer.global_step % every == 0

    def _write_plain(self, module: FitModule[Any], *, best: bool) -> None:
        files = {module.weights_file: WeightsFile(module.weights()), **module.further_weights()}
        for folder in (self.folder, self.folder / "best") if best else (self.folder,):
            for name, file in files.items():
                with replace_file(folder / name) as fresh:
                    save_file({key: tensor.contiguous() for key, tensor in file.state.items()}, fresh)
                if file.config is not None:
                    write_json((folder / name).with_suffix(".json"), file.config)
            write_json(folder / "config.json", module.config.net_json())
        written = module.origin_files()
        for name, write in written.items():
            with replace_file(self.folder / name) as fresh:
                write(fresh)
        for path in self.folder.iterdir():
            if written and _ORIGIN.fullmatch(path.name) and path.name not in written:
                path.unlink()

    def _prune(self, keep: int) -> None:
        for path in list(checkpoint_steps(self.run).values())[:-keep]:
            path.unlink()


def write_json(path: Path, values: Any) -> None:
    """A JSON file, whole or not at all."""
    with replace_file(path) as fresh:
        fresh.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _fit(module: LightningModule) -> FitModule[Any]:
    assert isinstance(module, FitModule)
    return module


def _validation_due(trainer: Trainer) -> bool:
    every = trainer.val_check_interval
    return trainer.enable_validation and trainer.global_step % int(every) == 0


def _check_weights(module: FitModule[Any]) -> None:
    module.late.settle()  # a loss that is not finite says more
    for name, parameter in module.named_parameters():
        if not torch.isfinite(parameter).all():
            raise InputError(
                name,
                got=f"values that are not finite after step {module.step}",
                expected="finite weights",
                cause="lower learning_rate; the last good checkpoint is kept, go on from it with --resume",
            )


def _link(source: Path, target: Path) -> None:
    """A second name for a file, replacing what had it; a copy where the file system has no hard links."""
    with replace_file(target) as fresh:
        try:
            os.link(source, fresh)
        except OSError:
            shutil.copyfile(source, fresh)
