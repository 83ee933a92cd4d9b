"""The one loader: a file of weights → a net in evaluation mode, with its configuration and what was inferred.

Export, Grad-CAM, predicted mels, `start_from` of trainings and every quality tool load by it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from edge_runtime.errors import CheckpointError, ConfigError, EdgeError
from edge_training.weights.configs import find_config, parse_yaml, read_config
from edge_training.weights.nets import NETS, Config, LoadableNet, loadable
from edge_training.weights.reading import Checkpoint, load_checkpoint, open_checkpoint
from edge_training.weights.recognition import is_another, recognise, resemblance

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True)
class LoadedNet:
    """A net with its weights.

    Args:
        module: in evaluation mode, on the CPU, float32.
        config: complete: with what only the checkpoint told.
        checkpoint: where the weights came from.
        said: what was inferred and why, a sentence each.
    """

    module: Any  # an nn.Module of the net's own class
    config: Config
    checkpoint: Checkpoint
    said: tuple[str, ...]


def load_net(
    source: AnyPath,
    net: str | LoadableNet[Any] | None = None,
    config: AnyPath | Mapping[str, Any] | Config | None = None,
    *,
    preset: str | None = None,
    default: Config | None = None,
    changes: Mapping[str, Any] | None = None,
    weights: str | None = None,
) -> LoadedNet:
    """Load a net from a checkpoint of any format that `edge_training.weights` reads.

    Args:
        source: the file of weights.
        net: its name or entry; None: the one that the weights look like.
        config: a file, entries, or the net's own dataclass; None: the file beside the weights.
        preset: name of a configuration, in place of `config`.
        default: the configuration where none is given and none lies beside the weights.
        changes: entries that override the configuration's.
        weights: "ema", "live" or the name of a set, where the file has several.

    Raises:
        CheckpointError: weights that are damaged, hostile or of another net.
        ConfigError: no configuration, one that breaks a rule, or nothing that decides between two wirings.
    """
    checkpoint, entry = open_for(source, net, weights)
    said = list(checkpoint.said)
    settings = config_of(entry, checkpoint, said, config, preset=preset, default=default, changes=changes)
    settings = entry.settle(settings, checkpoint, said)
    return finish(entry, settings, checkpoint, said)


def open_for(
    source: AnyPath, net: str | LoadableNet[Any] | None, weights: str | None = None
) -> tuple[Checkpoint, LoadableNet[Any]]:
    """The checkpoint, unread, and the entry of its net."""
    name = net.name if isinstance(net, LoadableNet) else net
    checkpoint = open_checkpoint(source, name, weights)
    if isinstance(net, LoadableNet):
        return checkpoint, net
    if name is None:
        name = recognise(checkpoint.stored)
        if name is None or name not in NETS:
            raise CheckpointError(
                str(source),
                got="weights of no net that is known here",
                expected=f"weights of {', '.join(NETS)}",
                cause=resemblance(checkpoint.stored, ""),
            )
    return checkpoint, loadable(name)


def finish(entry: LoadableNet[Any], config: Config, checkpoint: Checkpoint, said: list[str]) -> LoadedNet:
    """The net of a settled configuration with a checkpoint's weights; CheckpointError if they do not fit."""
    module = entry.build(config)
    load_checkpoint(module, checkpoint, net=entry.name)
    return LoadedNet(module.eval(), config, checkpoint, tuple(said))


def load_into(module: nn.Module, source: AnyPath, net: str, weights: str | None = None) -> Checkpoint:
    """Load a checkpoint into a net that is there already, as a training that starts from it does."""
    checkpoint = open_checkpoint(source, net, weights)
    load_checkpoint(module, checkpoint, net=net)
    return checkpoint


# ---- configuration ----------------------------------------------------------------------------------------


def config_of(
    entry: LoadableNet[Any],
    checkpoint: Checkpoint,
    said: list[str],
    config: AnyPath | Mapping[str, Any] | Config | None = None,
    *,
    preset: str | None = None,
    default: Config | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Config:
    """The configuration from wherever it is said, less what only the checkpoint tells; see `load_net`."""
    changes = changes or {}
    if preset is not None:
        return _changed(entry, entry.preset(preset), checkpoint, changes, said)
    if isinstance(config, Mapping):
        return entry.read_entries(config, said, checkpoint=checkpoint, changes=changes)
    if config is not None and not isinstance(config, str | os.PathLike):
        return _changed(entry, config, checkpoint, changes, said)
    if config is None and checkpoint.config:
        name, text = next(iter(checkpoint.config.items()))
        said.append(f"configuration {name} of the archive taken")
        return entry.read_entries(parse_yaml(text, name), said, checkpoint=checkpoint, changes=changes)
    file = Path(config) if config is not None else find_config(checkpoint.path, entry.config_files)
    if file is not None and (config is not None or len(entry.presets) > 1):
        if config is None:
            said.append(f"configuration {file.name} beside the weights taken")
        try:
            return entry.read_entries(read_config(file), said, checkpoint=checkpoint, changes=changes)
        except EdgeError as error:
            raise error.within(str(file)) from error
    if default is None and len(entry.presets) == 1:
        default = entry.preset(entry.presets[0])
    if default is None:
        raise no_config(entry, checkpoint)
    return _changed(entry, default, checkpoint, changes, said)


def _changed(
    entry: LoadableNet[Any],
    config: Config,
    checkpoint: Checkpoint,
    changes: Mapping[str, Any],
    said: list[str],
) -> Config:
    if not changes and not checkpoint.dialect:
        return config
    return entry.read_entries(config.to_json(), said, checkpoint=checkpoint, changes=changes)


def no_config(entry: LoadableNet[Any], checkpoint: Checkpoint) -> EdgeError:
    """The error for weights without a configuration; names the preset that they look like, or another net."""
    if is_another(checkpoint.stored, entry.name):
        return CheckpointError(
            checkpoint.path,
            got="weights of another net",
            expected=f"weights of {entry.name}",
            cause=resemblance(checkpoint.stored, entry.name),
        )
    names = [name for name in entry.config_files if name.endswith(".json")]
    return ConfigError(
        "configuration",
        got=f"no {' or '.join(names)} beside {checkpoint.path}",
        expected=f"--config FILE, or --preset with one of {', '.join(entry.presets)}",
        cause=resemblance(checkpoint.stored, entry.name),
    )
