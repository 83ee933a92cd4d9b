"""Everything that can execute an artifact: the runtime's backends and the two executors that serve as proof.

    onnxruntime      ONNX     the runtime that most people deploy with
    openvino         ONNX     where installed
    onnx-reference   ONNX     the ONNX project's reference evaluator, its slowest two operators replaced
    mil              Core ML  our executor of the saved program, on any machine
    coreml           Core ML  Core ML itself, on a Mac
    coreai           Core AI  coreai-core's executor on Linux, the system's on macOS 27, where installed
    onnxruntime-web  ONNX     its WASM build under node, where asked for by name
    mnn              ONNX     MNN, of all mobile runtimes the one that loads most of the catalogue; likewise

All follow `edge_runtime.backends.base.Backend`, so pipelines run on any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from edge_runtime.backends import BACKENDS as RUNTIME_BACKENDS
from edge_runtime.errors import BackendError

if TYPE_CHECKING:
    from edge_runtime.backends.base import Backend

# name → module, in the order of the tables that `verify` prints
BACKENDS: Mapping[str, str] = MappingProxyType(
    {
        "onnxruntime": RUNTIME_BACKENDS["onnxruntime"],
        "openvino": RUNTIME_BACKENDS["openvino"],
        "onnx-reference": "edge_export.backends.onnx_reference",
        "mil": "edge_export.mil.backend",
        "coreml": RUNTIME_BACKENDS["coreml"],
        "coreai": RUNTIME_BACKENDS["coreai"],
    }
)


# those that only run where they are asked for by name
OPTIONAL: Mapping[str, str] = MappingProxyType(
    {"onnxruntime-web": "edge_export.backends.ort_web", "mnn": "edge_export.backends.mnn"}
)


def tuned_backend(name: str, *, tf32: bool = False, cuda_graphs: bool = False) -> Backend:
    """The backend of a name with settings for CUDA.

    Args:
        tf32: multiply in TensorFloat-32, with 10 bits of mantissa.
        cuda_graphs: record the kernels once for each set of shapes and replay them.

    Raises:
        BackendError: no backend has this name, or another one than onnxruntime is to have such settings.
    """
    if not (tf32 or cuda_graphs):
        return get_backend(name)
    if name != "onnxruntime":
        raise BackendError(
            "--tf32" if tf32 else "--cuda-graphs", got=f"backend {name}", expected="onnxruntime",
            cause="it is a setting of its CUDA provider",
        )  # fmt: skip
    from edge_runtime.backends.ort import TunedBackend, Tuning

    return TunedBackend(Tuning(tf32=tf32, cuda_graphs=cuda_graphs))


def get_backend(name: str) -> Backend:
    """The backend of a name in `BACKENDS` or `OPTIONAL`; its library is imported when it opens an artifact.

    Raises:
        BackendError: no backend has this name.
    """
    known = {**BACKENDS, **OPTIONAL}
    if name not in known:
        raise BackendError("--backend", got=repr(name), expected=f"one of {', '.join(known)}")
    return cast("Backend", import_module(known[name]))
