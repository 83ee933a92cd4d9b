"""The protobuf classes of Core ML's model format, without importing coremltools itself.

`import coremltools` takes seconds and prints warnings about missing or newer libraries. Only its generated
protobuf modules are needed to read a package, so they are loaded under our own package name; where
coremltools is already imported, its own classes are used.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from edge_runtime.errors import BackendError

_ALIAS = "edge_export.mil._coreml_proto"


def model_class() -> Any:
    """The protobuf class `CoreML.Specification.Model`; BackendError where coremltools is not installed."""
    if "coremltools.proto" in sys.modules:
        return importlib.import_module("coremltools.proto.Model_pb2").Model
    if _ALIAS not in sys.modules:
        package = ModuleType(_ALIAS)
        package.__path__ = [str(_folder())]
        sys.modules[_ALIAS] = package
    return importlib.import_module(f"{_ALIAS}.Model_pb2").Model


def _folder() -> Path:
    spec = importlib.util.find_spec("coremltools")
    if spec is None or not spec.submodule_search_locations:
        raise BackendError(
            "reading Core ML packages",
            got="no module named coremltools",
            expected="coremltools, for its protobuf classes",
            cause="pip install 'edge-export[export]'",
        )
    return Path(spec.submodule_search_locations[0]) / "proto"
