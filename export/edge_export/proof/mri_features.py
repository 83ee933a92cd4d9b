"""Features of the pictures before the LSTM of `mri-acoustic`: a stage that the net does not return.

The bundle's fp32 ONNX artifact is run once more with the LSTM's input as an output.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_export.backends import get_backend
from edge_runtime.store.bundle import Bundle

Rows = NDArray[np.float32]
RUN_FRAMES = 32  # pictures per run; their features do not depend on each other

OUTPUT = "features"


def picture_features(bundle: Bundle) -> Callable[[Rows], Rows] | None:
    """Frames (T, S, S) → features (T, C); None without fp32 ONNX, an LSTM in it, or the package onnx."""
    here = any((item.target, item.precision) == ("onnx", "fp32") for item in bundle.manifest.artifacts)
    if not here or find_spec("onnx") is None or find_spec("onnxruntime") is None:
        return None
    onnx: Any = import_module("onnx")
    model = onnx.load(str(bundle.artifact("onnx", "fp32")))
    layers = [node for node in model.graph.node if node.op_type == "LSTM"]
    if not layers:
        return None
    # (frames, batch, C)
    model.graph.node.append(onnx.helper.make_node("Identity", [layers[0].input[0]], [OUTPUT]))
    model.graph.output.append(onnx.helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, None))
    name = bundle.manifest.inputs[0].name

    def features(frames: Rows) -> Rows:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            onnx.save(model, str(path))
            session = get_backend("onnxruntime").open(path, device="cpu", threads=None)
            runs = [
                session.run({name: frames[None, start : start + RUN_FRAMES, None]})[OUTPUT][:, 0]
                for start in range(0, len(frames), RUN_FRAMES)
            ]
        return np.concatenate(runs).astype(np.float32)

    return features
