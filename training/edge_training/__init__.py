"""Nets, checkpoints and their training, in PyTorch."""

from __future__ import annotations

from edge_runtime.former_names import install as _install
from edge_training.former_names import FORMER as _FORMER

_install(__name__, _FORMER)

__all__: list[str] = []
