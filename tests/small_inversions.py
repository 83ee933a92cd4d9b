"""Real bundles of small mel-inversion and DeGLI nets whose answers the tests compute themselves.

They have the names, shapes and geometry of the nets that they stand for. Every one mixes a frame with its
neighbours, so that a chunk without its context would be seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from edge_runtime.dsp.mel import MelConfig, filter_bank
from edge_runtime.store.bundle import (
    Geometry,
    Lengths,
    Manifest,
    Source,
    Tensor,
    Tolerance,
    describe_artifact,
)

MEL = MelConfig(sample_rate=8000, n_fft=128, hop_length=32, win_length=128, n_mels=24)
BINS = MEL.stft.bins
LEVEL = 5.0  # root mean square of the magnitude that DeGLI is fed with
CONTEXT = 1  # frames that each of these nets sees to both sides
FLOOR = 1e-5

_HEAD = '<ir_version: 8, opset_import: ["" : 17]>'
_LOG = """small (float[b,m,t] mel) => (float[b,f,t] log_magnitude) {
    smooth = Conv<group=%d, pads=[1,1]>(mel, kernel)
    linear = Exp(smooth)
    estimate = MatMul(inverse, linear)
    audible = Max(estimate, floor)
    log_magnitude = Log(audible)
}"""
_DB = """small (float[b,m,t] mel) => (float[b,f,t] magnitude_db) {
    smooth = Conv<group=%d, pads=[1,1]>(mel, kernel)
    estimate = MatMul(inverse, smooth)
    magnitude_db = Clip(estimate, zero, one)
}"""
_DEGLI_NET = """small (float[b,2,f,t] x, float[b,2,f,t] y, float[b,2,f,t] z, float[b,f,t] magnitude)
=> (float[b,2,f,t] residual) { residual = Conv<group=2, pads=[0,1,0,1]>(z, kernel) }"""
_DEGLI_BLOCK = """small (float[b,2,f,t] spectrum, float[b,f,t] magnitude) => (float[b,2,f,t] next_spectrum) {
    mixed = Conv<group=2, pads=[0,1,0,1]>(spectrum, kernel)
    axis = Constant<value_ints: ints = [1]>()
    above = Sub(magnitude, level)
    louder = Unsqueeze(above, axis)
    next_spectrum = Add(mixed, louder)
}"""


def neighbours(share: float) -> NDArray[np.float32]:
    """(3,): this share of each neighbour, the rest of the frame itself."""
    return np.array([share, 1 - 2 * share, share], np.float32)


def write_inversion(
    folder: Path,
    share: float = 0.0,
    *,
    front_end: MelConfig = MEL,
    only: tuple[int, ...] = (),
    **changes: Any,
) -> Path:
    """A bundle of `mel-inversion` in the log domain: the pseudo-inverse of the smoothed mel."""
    bands = front_end.bands
    weights: dict[str, NDArray[Any]] = {
        "kernel": np.tile(neighbours(share), (bands, 1, 1)),
        "inverse": np.linalg.pinv(filter_bank(front_end)),
        "floor": np.array(FLOOR),
    }
    entries = _inversion("log_magnitude", "log", front_end)
    return _write(folder, _LOG % bands, weights, entries | changes, only)


def write_db_inversion(folder: Path, front_end: MelConfig, share: float = 0.0, **changes: Any) -> Path:
    """A bundle of `mel-inversion` in mel-speech-reconstruction's dB domain."""
    bands = front_end.bands
    weights: dict[str, NDArray[Any]] = {
        "kernel": np.tile(neighbours(share), (bands, 1, 1)),
        "inverse": np.linalg.pinv(filter_bank(front_end)),
        "zero": np.array(0.0),
        "one": np.array(1.0),
    }
    entries = _inversion("magnitude_db", "db", front_end)
    return _write(folder, _DB % bands, weights, entries | changes)


def write_degli(
    folder: Path,
    kernel: tuple[float, float, float],
    graph: str = "net",
    only: tuple[int, ...] = (),
    **changes: Any,
) -> Path:
    """A bundle of `degli`.

    "net": the residual is Z filtered by ``kernel`` along time; with zeros, a block is one Griffin-Lim
    iteration. "block": the next spectrum is the spectrum so filtered, with the magnitude less `LEVEL` added
    to both parts.
    """
    weights: dict[str, NDArray[Any]] = {"kernel": np.tile(np.array(kernel), (2, 1, 1, 1))}
    if graph == "block":
        weights["level"] = np.array(LEVEL)
    planes = ("batch", 2, BINS, "frames")
    inputs = ("x", "y", "z") if graph == "net" else ("spectrum",)
    output = "residual" if graph == "net" else "next_spectrum"
    entries = {
        "net": "degli",
        "config": {
            "graph": graph,
            "n_fft": MEL.n_fft,
            "hop_length": MEL.hop_length,
            "win_length": MEL.win_length,
            "padding": "center-zero",
            "magnitude_rms": LEVEL,
            "sample_rate": MEL.sample_rate,
        },
        "inputs": (
            *(Tensor(name, "float32", planes, "re, im", "") for name in inputs),
            Tensor("magnitude", "float32", ("batch", BINS, "frames"), "magnitude", ""),
        ),
        "outputs": (Tensor(output, "float32", planes, "re, im", ""),),
        "front_end": None,
        "geometry": Geometry(MEL.hop_length, 2 * CONTEXT + 1, CONTEXT),
    }
    return _write(folder, _DEGLI_NET if graph == "net" else _DEGLI_BLOCK, weights, entries | changes, only)


def _inversion(output: str, domain: str, front_end: MelConfig) -> dict[str, Any]:
    return {
        "net": "mel-inversion",
        "config": {"domain": domain},
        "inputs": (Tensor("mel", "float32", ("batch", front_end.bands, "frames"), "mel", ""),),
        "outputs": (Tensor(output, "float32", ("batch", front_end.stft.bins, "frames"), "magnitude", ""),),
        "front_end": front_end,
        "geometry": Geometry(front_end.hop_length, 2 * CONTEXT + 1, CONTEXT),
    }


def _write(
    folder: Path,
    graph: str,
    weights: Mapping[str, NDArray[Any]],
    entries: dict[str, Any],
    only: tuple[int, ...] = (),
) -> Path:
    folder.mkdir(parents=True)
    model = parser.parse_model(_HEAD + graph)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(folder / "model.onnx"))
    frames = Lengths(only[0], only[-1], only) if only else Lengths()
    artifact = describe_artifact(
        folder,
        "model.onnx",
        target="onnx",
        precision="fp32",
        version="opset 17, IR 8",
        axes={"frames": frames},
    )
    common: dict[str, Any] = {
        "artifacts": (artifact,),
        "source": Source("random", "0" * 64, "random seed 3"),
        "tolerance": {"fp32": Tolerance(1e-3, 60.0)},
        "versions": {},
        "reference": {},
    }
    Manifest(**(common | entries)).save(folder)
    return folder
