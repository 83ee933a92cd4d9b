"""A small `mri-acoustic` bundle made with onnx.helper, whose answers the tests compute themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tests.small_bundles import HOP, vocoder_front_end

from edge_runtime.store.bundle import (
    Geometry,
    Lengths,
    Manifest,
    Source,
    Tensor,
    Tolerance,
    describe_artifact,
)

SIZE = 16  # pixels
BANDS = 5
MEAN = (-30.0, -25.0, -20.0, -35.0, -40.0)  # dB
STD = (4.0, 5.0, 6.0, 7.0, 8.0)
CLOCK = 250.0  # pictures a second

# the small vocoder's mel at a rate that videos have
FRONT_END = replace(vocoder_front_end(), sample_rate=int(CLOCK * HOP))


def weights() -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(0, 0.05, (SIZE * SIZE, BANDS)).astype(np.float32)


def answer(frames: NDArray[Any]) -> NDArray[np.float32]:
    """What the net says of (B, T, S, S): a picture by itself, and half the mean of all that it sees."""
    each = frames.reshape(*frames.shape[:2], -1) @ weights()
    return np.asarray(each + 0.5 * each.mean(axis=1, keepdims=True), np.float32)


def write_acoustic(folder: Path, longest: int | None = None, **changes: Any) -> Path:
    """The bundle. ``longest``: frames in one run that its artifact admits. ``changes``: manifest entries."""
    frames = Tensor("frames", "float32", ("batch", "frames", 1, SIZE, SIZE), "grey pictures", "0 to 1")
    mel = Tensor("mel", "float32", ("batch", "frames", BANDS), "mel", "standard deviations")
    nodes = [
        helper.make_node("Reshape", ["frames", "rows"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["each"]),
        helper.make_node("ReduceMean", ["each"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "half"], ["shared"]),
        helper.make_node("Add", ["each", "shared"], ["mel"]),
    ]
    constants: dict[str, NDArray[Any]] = {
        "rows": np.array([0, 0, -1], np.int64),
        "weights": weights(),
        "half": np.array([0.5], np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(frames.name, TensorProto.FLOAT, frames.shape)],
        [helper.make_tensor_value_info(mel.name, TensorProto.FLOAT, mel.shape)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    folder.mkdir(parents=True)
    onnx.save(model, str(folder / "model.onnx"))
    axes = {"batch": Lengths(1, 4 if longest else None), "frames": Lengths(1, longest)}
    artifact = describe_artifact(
        folder, "model.onnx", target="onnx", precision="fp32", version="opset 17, IR 8", axes=axes
    )
    entries: dict[str, Any] = {
        "net": "mri-acoustic",
        "config": {
            "frame_scaling": "full-scale",
            "window": 4,
            "mel_mean": list(MEAN),
            "mel_std": list(STD),
        },
        "front_end": FRONT_END,
        "inputs": (frames,),
        "outputs": (mel,),
        "artifacts": (artifact,),
        "source": Source("random", "0" * 64, "random seed 5"),
        "tolerance": {"fp32": Tolerance(1e-3, 60.0)},
        "geometry": Geometry(None, None, None),
        "versions": {},
        "reference": {},
    }
    Manifest(**(entries | changes)).save(folder)
    return folder
