"""Trains a net, and on request exports and proves the result: what ``edge-export train`` does."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_export import convert
from edge_export.proof import verify as parity
from edge_runtime.errors import BackendError, ConfigError, TargetError
from edge_runtime.store.reading import parse_json

if TYPE_CHECKING:
    from edge_training.engine.trainer import TrainResult

AnyPath = str | os.PathLike[str]
# arguments of `edge_training.engine.trainer.train` beside the configuration, and of `train_and_export`
OWN = frozenset(
    {"net", "data", "out", "bundle", "config", "preset", "steps", "resume", "devices", "nodes", "precision"}
    | {"callbacks", "progress"}
)
OWN_CAUSE = "NET, --data, --steps and the like are given beside it"


def parse_settings(entries: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` as on the command line: values are JSON, or else text.

    Raises:
        ConfigError: no name, no equals sign, or a name for which the command has its own option.

    >>> parse_settings(["learning_rate=1e-4", "schedule=cosine"])
    {'learning_rate': 0.0001, 'schedule': 'cosine'}
    """
    settings = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not name.isidentifier() or not equals:
            raise ConfigError("--set", got=repr(entry), expected="NAME=VALUE, as learning_rate=1e-4")
        if name in OWN:
            raise ConfigError("--set", got=name, expected="an entry of the configuration", cause=OWN_CAUSE)
        settings[name] = _value(name, value)
    return settings


def _value(name: str, text: str) -> Any:
    """JSON, or the text itself where it is not JSON; JSON that exceeds the limits is refused."""
    try:
        return parse_json(text, f"--set {name}", refusal=ConfigError)
    except ConfigError as error:
        if isinstance(error.__cause__, json.JSONDecodeError):
            return text
        raise


def train_and_export(
    net: str, data: AnyPath, out: AnyPath, bundle: AnyPath | None = None, **options: Any
) -> tuple[TrainResult, parity.Verification | None]:
    """Train into the folder ``out``; then, where ``bundle`` is given, export there and verify it.

    Args:
        net, data, out, options: see `edge_training.engine.trainer.train`.
        bundle: folder for the bundle of the last weights; refused beforehand if it exists.

    Returns:
        What the training left, and the proof: None without ``bundle``, and in all processes but the first of
        a training on several devices.

    Raises:
        BackendError: the training libraries are missing.
        EdgeError: whatever the training or the export refuse.
    """
    if bundle is not None and Path(bundle).exists():
        raise TargetError(str(bundle), got="a folder that exists", expected="a name for a new bundle")
    try:
        from edge_training.engine.trainer import train
    except ModuleNotFoundError as missing:
        raise BackendError(
            "training",
            got=f"no module named {missing.name}",
            expected="the training libraries",
            cause="pip install 'edge-export[train]'",
        ) from missing
    result = train(net, data, out, **options)
    if bundle is None or not result.first_process:
        return result, None
    return result, parity.verify(convert.export(net, bundle, checkpoint=result.weights))
