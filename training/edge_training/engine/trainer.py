"""Trains nets with Lightning: `train`.

    RUN/
      config.json     net, configuration, data, versions: everything to repeat the run
      metrics.csv     figures by step; tensorboard/ the same for TensorBoard
      plots/          loss curves, validation spectrograms
      checkpoints/    see `edge_training.engine.run_checkpoints`

The items of a step, and everything random in it, are a function of (seed, step): a run that was killed at any
moment and resumed ends with the weights of an uninterrupted run, bit by bit on one CPU. `batch_size` is that
of all processes together, so the loss does not depend on their number.

More than one process: Lightning's DDP. On one machine `devices=2`; on several start the same command on each
with torchrun or srun, which Lightning recognises, and give `devices` and `nodes`.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from edge_runtime.dsp.mel import PRESETS, MelConfig, empty_bands
from edge_runtime.errors import ConfigError, TargetError, doubt
from edge_runtime.version import VERSION
from edge_training.engine.config import FitConfig
from edge_training.engine.items import TrainingData, keep_on_device, training_loader, validation_loader
from edge_training.engine.logs import StepsBar, StepsLines, TableLog, quiet, tensorboard
from edge_training.engine.module import FitModule, Recipe, find_recipe
from edge_training.engine.plots import Plots
from edge_training.engine.run_checkpoints import (
    FOLDER,
    Checkpoints,
    WholeCheckpoints,
    checkpoint_steps,
    write_json,
)
from edge_training.engine.run_folder import in_run_folder
from edge_training.weights.reading import read_config

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")
_PACKAGES = ("torch", "lightning", "numpy")
# entries that may change when a run is resumed: they affect its length and reports, not its results, or the
# recipe checks what they lead to
_FREE_ON_RESUME = frozenset(
    {"steps", "num_workers", "log_every", "checkpoint_every", "validate_every", "keep_checkpoints"}
    | {"origin_checkpoints", "auffusion", "data_on_device"}
)


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where a training runs. ConfigError for impossible values."""

    devices: int | str = "auto"
    nodes: int = 1
    precision: str = "32-true"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError("precision", got=repr(self.precision), expected=" or ".join(PRECISIONS))
        if not (self.devices == "auto" or str(self.devices).isdecimal()) or self.processes < 1:
            got = f"{self.devices} and {self.nodes}"
            raise ConfigError("devices and nodes", got=got, expected="numbers, at least 1, or auto devices")

    @property
    def processes(self) -> int:
        """Of the whole training."""
        each = max(1, torch.cuda.device_count()) if self.devices == "auto" else int(self.devices)
        return each * self.nodes


@dataclasses.dataclass(frozen=True)
class TrainResult:
    """The result of a training."""

    run: Path
    weights: Path  # plain weights of the last step, config.json beside: what `edge-export export` takes
    best_weights: Path | None  # of the best validation
    steps: int
    metrics: Mapping[str, float]  # last logged figures
    first_process: bool = True  # of a training on several devices or machines


def train(
    net: str,
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    preset: str | None = None,
    steps: int | None = None,
    resume: bool = False,
    devices: int | str = "auto",
    nodes: int = 1,
    precision: str = "32-true",
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    **settings: Any,
) -> TrainResult:
    """Train a net on a folder of data, into a folder.

    Args:
        net: name in `edge_training.engine.module.RECIPES`.
        data: the folder that the net's data file describes.
        out: RUN; must be empty or absent, or with `resume` a run of the same net.
        config: JSON file or its entries: a published config.json, or the config.json of another run.
        preset: a named configuration, when there is no `config`.
        steps: optimiser steps of the whole run, those before a resume included.
        resume: continue from the newest checkpoint in `out`; from the start where there is none yet.
        devices: processes on this machine, "auto" for all accelerators, or one on the CPU.
        nodes: machines.
        precision: "32-true", "16-mixed" or "bf16-mixed".
        callbacks: further Lightning callbacks.
        progress: show a bar on a terminal, lines otherwise.
        settings: entries of the configuration that replace those of `config` or `preset`.

    Raises:
        ConfigError: a configuration that contradicts itself, the data, or the run that is resumed.
        InputError: data that cannot be trained on, or a loss that is not finite (the sentence says the step
            and the clips; the last good checkpoint stays).
        CheckpointError, TargetError: a damaged checkpoint; a run folder that exists or cannot be written.
    """
    recipe, run = find_recipe(net), Path(out)
    machine = Machine(devices, nodes, precision)
    before = _earlier(run, net, resume=resume)
    if steps is not None:
        settings["steps"] = steps
    chosen = _configure(recipe, config, preset, settings, before)
    if chosen.batch_size % machine.processes:
        expected = f"a multiple of the {machine.processes} processes"
        raise ConfigError("batch_size", got=str(chosen.batch_size), expected=expected)
    if _first_process():
        doubt_front_ends(chosen.front_ends)
    loaded = recipe.open_data(chosen, Path(data))
    if before is not None:
        _check_resumed(before, loaded, machine)
    saved = checkpoint_steps(run)
    started = max(saved, default=0)
    if started > chosen.steps:
        raise ConfigError("steps", got=str(chosen.steps), expected=f"at least the {started} done already")
    with in_run_folder(run, fresh=before is None) if _first_process() else nullcontext(), quiet():
        torch.manual_seed(chosen.seed)  # initial weights
        # a resumed run has all of what it once started from in its own checkpoint
        fresh = dataclasses.replace(chosen, start_from=None, start_weights=None) if saved else chosen
        module = recipe.build(fresh, loaded)
        if progress and _first_process():
            for sentence in module.said:
                print(f"start: {sentence}", file=sys.stderr)
        table = TableLog(run, started)
        watching = [Checkpoints(run), Plots(run, table), *callbacks, *_progress(progress)]
        trainer = _trainer(run, chosen, recipe, machine, watching, [table, tensorboard(run, started)])
        if _first_process():
            write_json(run / "config.json", _record(recipe, chosen, loaded, Path(data), machine))
        with _interruptible():
            trainer.fit(module, _Loaders(loaded, chosen), ckpt_path=saved.get(started))
    return _result(run, module, trainer)


# ---- configuration and run folder -------------------------------------------------------------------------


def _earlier(run: Path, net: str, *, resume: bool) -> dict[str, Any] | None:
    """The record of the run that is in the folder; refuses what must not be mixed."""
    record = run / "config.json"
    if not (_first_process() or resume):
        return None  # the first process judges the folder; it may have begun to write
    if run.exists() and not run.is_dir():
        raise TargetError(str(run), got="a file", expected="a folder, or a path that does not exist yet")
    if not resume:
        if run.is_dir() and any(run.iterdir()):
            raise TargetError(
                str(run),
                got="a folder that is not empty",
                expected="an empty folder, or a path that does not exist yet",
                cause="continue an earlier run with --resume" if record.is_file() else "",
            )
        return None
    if not record.is_file():
        raise ConfigError(
            str(run), got="no config.json", expected="a run to resume", cause="start it without --resume"
        )
    found = read_config(record)
    if found.get("net") != net or not isinstance(found.get("config"), dict):
        raise ConfigError(
            str(record),
            got=f"a run of {found.get('net')!r}",
            expected=f"a run of {net!r}",
            cause="is another folder meant?",
        )
    return found


def _configure(
    recipe: Recipe,
    config: str | os.PathLike[str] | Mapping[str, Any] | None,
    preset: str | None,
    settings: Mapping[str, Any],
    before: Mapping[str, Any] | None,
) -> FitConfig:
    """The configuration: of the earlier run, of `config`, or of a preset, with `settings` on top."""
    if config is not None and preset is not None:
        raise ConfigError("config and preset", got="both", expected="one of them")
    entries = _entries(recipe, config, preset)
    if before is None:
        base = entries if entries is not None else recipe.presets[recipe.default_preset].to_json()
        return recipe.read_config(dict(base) | dict(settings))
    earlier = recipe.read_config(before["config"]).to_json()
    # a preset's number of steps, say, is no wish to change the run's: those are asked for by `settings` alone
    binding = {name: value for name, value in (entries or {}).items() if name not in _FREE_ON_RESUME}
    asked = recipe.read_config(earlier | binding | dict(settings)).to_json()
    for name, value in asked.items():
        if name not in _FREE_ON_RESUME and value != earlier[name]:
            raise ConfigError(
                name,
                got=repr(value),
                expected=f"{earlier[name]!r}, as the run began",
                cause="a resumed run keeps its configuration; start another with start_from to change it",
            )
    return recipe.read_config(asked)


def _entries(
    recipe: Recipe, config: str | os.PathLike[str] | Mapping[str, Any] | None, preset: str | None
) -> Mapping[str, Any] | None:
    if preset is not None:
        if preset not in recipe.presets:
            raise ConfigError("preset", got=repr(preset), expected=" or ".join(recipe.presets))
        return recipe.presets[preset].to_json()
    if config is None:
        return None
    entries = config if isinstance(config, Mapping) else read_config(config)
    if isinstance(entries.get("config"), Mapping) and "net" in entries:  # config.json of a run
        if entries["net"] != recipe.net:
            raise ConfigError(
                "config", got=f"a run of {entries['net']!r}", expected=f"a configuration of {recipe.net!r}"
            )
        return dict(entries["config"])
    return entries


def doubt_front_ends(front_ends: Mapping[str, MelConfig]) -> None:
    """Say it where front ends have bands that hear nothing; ConfigError of the first within `strictly`.

    Args:
        front_ends: the entry that decides it → the front end; published ones are as they are.
    """
    for entry, front_end in front_ends.items():
        empty = "" if front_end in PRESETS.values() else empty_bands(front_end)
        if empty:
            doubt(
                ConfigError(
                    entry,
                    got=empty,
                    expected="bands that all hear something",
                    cause="an empty band teaches nothing and counts as no error",
                )
            )


def _check_resumed(before: Mapping[str, Any], data: TrainingData, machine: Machine) -> None:
    """A resumed run must see the clips that it began with, in their order, and compute as it began."""
    for entry, names, purpose in (
        ("clips", data.names, "train on"),
        ("validation_clips", data.validation_names, "validate on"),
    ):
        if before.get(entry) != list(names):
            raise ConfigError(
                "data",
                got=f"{len(names)} clips to {purpose}{_first_change(before.get(entry), names)}",
                expected=f"the {len(before.get(entry) or ())} clips that the run began with",
                cause="files were added, removed or renamed; a resumed run needs the same ones",
            )
    if before.get("precision") != machine.precision:
        raise ConfigError(
            "precision",
            got=machine.precision,
            expected=f"{before.get('precision')}, as the run began",
            cause="a resumed run keeps its precision; start another with start_from to change it",
        )


def _first_change(before: Sequence[str] | None, names: Sequence[str]) -> str:
    """The first clip that is new or gone, as a clause."""
    earlier, now = set(before or ()), set(names)
    for name in (*names, *(before or ())):
        if name not in earlier:
            return f", {name} among them"
        if name not in now:
            return f", without {name}"
    return ", in another order"


def _first_process() -> bool:
    """Whether this process writes; known before Lightning starts, from torchrun's or SLURM's variables."""
    return not getattr(rank_zero_only, "rank", 0)


def _record(
    recipe: Recipe, config: FitConfig, data: TrainingData, folder: Path, machine: Machine
) -> dict[str, Any]:
    """The contents of a run's config.json."""
    return {
        "net": recipe.net,
        "config": config.to_json(),
        "data": str(folder),
        "clips": list(data.names),
        "validation_clips": list(data.validation_names),
        **dataclasses.asdict(machine),
        "versions": {"python": platform.python_version(), "edge-export": VERSION}
        | {name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


# ---- Lightning --------------------------------------------------------------------------------------------


class _Loaders(lightning.LightningDataModule):
    """Batches from the step on at which training (re)starts."""

    def __init__(self, data: TrainingData, config: FitConfig) -> None:
        super().__init__()
        self.data, self.config = data, config

    def train_dataloader(self) -> Any:
        trainer = self.trainer
        assert trainer is not None
        device = trainer.strategy.root_device
        return training_loader(
            self.data,
            batch_size=self.config.batch_size,
            seed=self.config.seed,
            step=trainer.global_step,  # restored before the loader is asked for
            rank=trainer.global_rank,
            world=trainer.world_size,
            workers=self.config.num_workers,
            on_device=keep_on_device(self.data, self.config, device),
        )

    def val_dataloader(self) -> Any:
        return validation_loader(self.data)


def _progress(wanted: bool) -> list[Callback]:
    """A bar on a terminal, lines otherwise."""
    if not wanted:
        return []
    return [StepsBar() if sys.stderr.isatty() else StepsLines()]


def _trainer(
    run: Path,
    config: FitConfig,
    recipe: Recipe,
    machine: Machine,
    callbacks: list[Callback],
    loggers: list[Logger],
) -> lightning.Trainer:
    strategy = "auto" if machine.processes == 1 else "ddp"
    if machine.processes > 1 and recipe.unused_parameters:
        strategy = "ddp_find_unused_parameters_true"
    precision: Any = machine.precision
    try:
        return lightning.Trainer(
            max_steps=config.steps,
            max_epochs=-1,
            devices=machine.devices,
            num_nodes=machine.nodes,
            precision=precision,
            strategy=strategy,
            callbacks=callbacks,
            logger=loggers,
            plugins=[WholeCheckpoints()],
            log_every_n_steps=config.log_every,
            # a run shorter than the interval is validated once, at its end
            val_check_interval=min(config.validate_every, config.steps),
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            # every step has the same shapes: cuDNN times its algorithms in the first one
            benchmark=True if torch.cuda.is_available() else None,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=any(isinstance(callback, StepsBar) for callback in callbacks),
            default_root_dir=run,
        )
    except (MisconfigurationException, ValueError) as error:
        raise ConfigError(
            "devices, nodes or precision", got=str(error), expected="what this machine has"
        ) from error


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C stays KeyboardInterrupt: Lightning ends the program with status 1, and deaf to further ones."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise end.__context__ from None
        raise
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGINT, before)


def _result(run: Path, module: FitModule[Any], trainer: lightning.Trainer) -> TrainResult:
    folder = run / FOLDER
    best = folder / "best" / module.weights_file
    return TrainResult(
        run=run,
        weights=folder / module.weights_file,
        best_weights=best if best.is_file() else None,
        steps=int(trainer.global_step),
        metrics={name: float(value) for name, value in trainer.callback_metrics.items()},
        first_process=trainer.is_global_zero,
    )
