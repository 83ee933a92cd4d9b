"""Which libraries a target is written with: looked for before any work, their versions in the manifest."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping

from edge_runtime.backends.base import not_installed
from edge_runtime.store.bundle import Target
from edge_runtime.version import VERSION

# distribution → module
_LIBRARIES: Mapping[Target, Mapping[str, str]] = {
    "onnx": {"onnx": "onnx"},
    "coreml": {"coremltools": "coremltools"},
    "coreai": {"onnx": "onnx", "coreai-core": "coreai", "coreai-onnx": "coreai_onnx"},
}


def check_libraries(targets: tuple[Target, ...]) -> None:
    """BackendError for the first that is missing, with the line that installs it."""
    needed = {"torch": "export"}
    for target in targets:
        needed |= dict.fromkeys(_LIBRARIES[target].values(), "coreai" if target == "coreai" else "export")
    for module, extra in needed.items():
        if importlib.util.find_spec(module) is None:
            raise not_installed("exporting", module, module, extra)


def versions(targets: tuple[Target, ...]) -> dict[str, str]:
    """Library → version, of those that make artifacts for the targets, and of this package."""
    libraries = ("numpy", "torch", *(name for target in targets for name in _LIBRARIES[target]))
    return {"edge-export": VERSION} | {library: importlib.metadata.version(library) for library in libraries}
