"""HiFi-GAN's own checkpoint pair: `g_%08d` (generator) and `do_%08d` (discriminators, optimisers, counters).

Written so that other tools can resume from them, and read so that a published training can be resumed here.
Optimiser states are lists in the order of the parameters: generator; MSD, then MPD. A pair is read with
`weights_only=True`; without its `do_` file only the generator is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from edge_runtime.errors import CheckpointError, ConfigError
from edge_training.vocoder.discriminators import (
    MultiPeriodDiscriminator,
    MultiScaleDiscriminator,
    load_stock_state,
    stock_state,
)
from edge_training.vocoder.hifigan import HifiGan, HifiGanConfig
from edge_training.vocoder.wiring import hifigan_wiring
from edge_training.weights.dialects import Source, translate
from edge_training.weights.reading import Checkpoint, load_checkpoint, read_checkpoint, read_saved
from edge_training.weights.weight_norm import origin_state_dict


@dataclass(frozen=True)
class PairNets:
    """The nets of a training whose weights a pair holds."""

    generator: HifiGan
    mpd: MultiPeriodDiscriminator
    msd: MultiScaleDiscriminator | None


@dataclass(frozen=True)
class OriginPair:
    """The entries of a `do_` file other than weights."""

    file: str
    optimizers: tuple[Mapping[str, Any], Mapping[str, Any]] | None  # generator's, discriminators'
    epoch: int
    said: tuple[str, ...] = ()  # what was inferred from the generator's file, and why

    def restore(self, optimizers: list[Optimizer]) -> None:
        """Load the optimisers' moments, where there are any; all other numbers stay the configuration's."""
        if self.optimizers is None:
            return
        for optimizer, saved, name in zip(optimizers, self.optimizers, ("optim_g", "optim_d"), strict=True):
            _check_optimizer(optimizer, saved, f"{self.file}: {name}")
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})


def read_pair(path: Path, nets: PairNets, weights: str | None = None) -> OriginPair:
    """Load a `g_` file, and the `do_` file beside it where there is one, into the nets.

    Args:
        path: of the generator's file.
        nets: what is trained.
        weights: "ema", "live" or the name of a set, where it has several.

    Raises:
        CheckpointError: files of another net or configuration.
        ConfigError: the generator has another wiring.
    """
    checkpoint = read_checkpoint(path, "hifigan", weights)
    config = nets.generator.config
    _check_dialect(path, checkpoint, config)
    told = hifigan_wiring(config, checkpoint)
    _check_wiring(path, told.wiring if told.by_sign else None, config.wiring)
    load_checkpoint(nets.generator, checkpoint, net="hifigan")
    other = path.with_name(re.sub(r"^g_", "do_", path.name))
    if other == path or not other.is_file():
        return OriginPair(path.name, None, 0, checkpoint.said)
    saved = _load(other)
    load_stock_state(nets.mpd, _bare(saved["mpd"]), name=f"{other}: mpd")
    if nets.msd is not None:
        load_stock_state(nets.msd, _bare(saved["msd"]), name=f"{other}: msd")
    states = (saved["optim_g"], saved["optim_d"]) if {"optim_g", "optim_d"} <= saved.keys() else None
    return OriginPair(other.name, states, max(0, int(saved.get("epoch", 0))), checkpoint.said)


def writers(
    nets: PairNets, optimizers: Sequence[Optimizer], *, step: int, epoch: int
) -> dict[str, Callable[[Path], None]]:
    """`g_%08d` and `do_%08d` of a training as it is, by file name.

    Args:
        nets: what is trained.
        optimizers: the generator's and the discriminators'.
        step: optimiser steps done.
        epoch: passes over the clips done, those before a pair that it began with included.
    """

    def save_generator(path: Path) -> None:
        torch.save({"generator": origin_state_dict(nets.generator)}, path)

    def save_rest(path: Path) -> None:
        generator, judges = optimizers
        torch.save(
            {
                "mpd": stock_state(nets.mpd),
                "msd": {} if nets.msd is None else stock_state(nets.msd),
                "optim_g": generator.state_dict(),
                "optim_d": judges.state_dict(),
                "steps": step,
                "epoch": epoch,
            },
            path,
        )

    return {f"g_{step:08d}": save_generator, f"do_{step:08d}": save_rest}


def _check_dialect(path: Path, checkpoint: Checkpoint, config: HifiGanConfig) -> None:
    """Weights of another toolkit compute as there only where the configuration says so."""
    entries, _ = translate(config.to_json(), checkpoint.dialect, Source(path.parent, checkpoint.extras), [])
    asked = {name: value for name, value in entries.items() if value != config.to_json()[name]}
    if asked:
        raise ConfigError(
            str(path),
            got=f"weights of {checkpoint.dialect}",
            expected=f"a configuration with {', '.join(f'{name} {v!s:.40}' for name, v in asked.items())}",
        )


def _check_wiring(path: Path, told: str | None, configured: str | None) -> None:
    """Refuse the other wiring: once folded, both have the same shapes, but the output would be noise."""
    if told is not None and told != configured:
        raise ConfigError(
            "wiring",
            got=repr(configured),
            expected=f"{told!r}, according to the keys of {path}",
            cause=f'add "wiring": "{told}" to the configuration',
        )


def _load(path: Path) -> dict[str, Any]:
    saved: Any = read_saved(path)
    lacking = [name for name in ("mpd", "msd") if not isinstance(saved, dict) or name not in saved]
    if lacking:
        raise CheckpointError(
            str(path),
            got=f"no {' and no '.join(lacking)}",
            expected="mpd, msd, optim_g, optim_d, steps, epoch",
        )
    entries: dict[str, Any] = saved
    return entries


def _bare(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keys without the `module.` of data-parallel training."""
    return {key.removeprefix("module."): tensor for key, tensor in state.items()}


def _check_optimizer(optimizer: Optimizer, saved: Mapping[str, Any], what: str) -> None:
    """Refuse moments without their parameters' shapes: the order of parameters is only a convention."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state = saved.get("state", {})
    for index, parameter in enumerate(parameters):
        moment = state.get(index, {}).get("exp_avg")
        if moment is not None and moment.shape != parameter.shape:
            raise CheckpointError(
                what,
                got=f"moments of shape {tuple(moment.shape)} for parameter {index}",
                expected=str(tuple(parameter.shape)),
                cause="the optimiser belongs to other nets or another order of them",
            )
    if len(state) not in (0, len(parameters)):
        raise CheckpointError(
            what, got=f"{len(state)} states", expected=f"{len(parameters)}, one for each parameter"
        )
