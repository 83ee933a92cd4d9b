"""From a checkpoint to a proved bundle: ONNX, Core ML, manifest and reference arrays.

Each command has a function behind it: `export`, `verify`, and `run.run`, `run.mel`,
`reference.write_reference`, `reference.check_reference`, `bench.bench`, `demo.demo`, `doctor.doctor`. The
names below are loaded when they are first used, so that the command line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edge_export.former_names import FORMER as _FORMER
from edge_runtime.former_names import install as _install

if TYPE_CHECKING:
    from edge_export.catalog import NETS
    from edge_export.convert import export
    from edge_export.mil import Program
    from edge_export.proof.verify import verify

# public name → module
_HOMES = {"NETS": "catalog", "Program": "mil", "export": "convert", "verify": "proof.verify"}

__all__ = ["NETS", "Program", "export", "verify"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


_install(__name__, _FORMER)
