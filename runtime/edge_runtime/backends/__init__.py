"""Libraries that run artifacts: one module each, imported when first used.

A backend is added with a module that follows `base.Backend`, a line in `BACKENDS`, and an extra that installs
its library.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

from edge_runtime.errors import BackendError

if TYPE_CHECKING:
    from edge_runtime.backends.base import Backend

# name → module
BACKENDS: Mapping[str, str] = {
    "onnxruntime": "edge_runtime.backends.ort",
    "coreml": "edge_runtime.backends.core_ml",
    "openvino": "edge_runtime.backends.open_vino",
    "coreai": "edge_runtime.backends.core_ai",
}


def get_backend(name: str) -> Backend:
    """The backend of a name in `BACKENDS`; its inference library is imported only when it opens an artifact.

    Raises:
        BackendError: no backend has this name.
    """
    if name not in BACKENDS:
        raise BackendError("backend", got=name, expected=f"one of {', '.join(sorted(BACKENDS))}")
    return cast("Backend", import_module(BACKENDS[name]))
