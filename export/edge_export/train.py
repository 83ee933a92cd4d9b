"""Trains a net, and on request exports and proves the result: what ``edge-export train`` does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_export import convert
from edge_export.proof import verify as parity
from edge_runtime.errors import BackendError, ConfigError, TargetError
from edge_training.weights.options import parse_settings as parse_settings

if TYPE_CHECKING:
    from edge_training.engine.trainer import TrainResult

LORA = "image-speech"  # whose training gives no net of its own

AnyPath = str | os.PathLike[str]


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
    if bundle is not None and net == LORA:
        raise ConfigError(
            "--export",
            got=f"with {net}, which trains a LoRA",
            expected="a training without it",
            cause="`edge-export export image-speech --lora RUN/checkpoints` exports it with its model",
        )
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
