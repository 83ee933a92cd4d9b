"""Goldens of mri-acoustic; part of generate.py, which writes them.

As there, nothing here imports the code under test, and here not even torch: convolutions are sums over taps,
the LSTM runs step by step, all of it numpy in float64. The layers are those of EfficientNetV2's table (arXiv
2104.00298, table 4, for B2: widths · 1.1, depths · 1.2) and of timm's names; the keys of `b2` are the file of
mri2speech's own, tests/data/keys/mri_acoustic.json.

    nets/mri-acoustic/CASE/frames.npy   (B, T, 1, S, S) float32 in 0 … 1
                          /mel.npy      (B, T, 64) float64, standardised dB
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests import closed_form

Array = NDArray[Any]
Arrays = Iterator[tuple[str, Array, str]]  # path, array, how it was made
Shapes = dict[str, tuple[int, ...]]

KEYS = Path(__file__).resolve().parents[1] / "tests" / "data" / "keys" / "mri_acoustic.json"
MELS = 64
# stem, then of each stage: kind, blocks, channels, expansion, stride of the first block
NETS: Mapping[str, tuple[int, tuple[tuple[str, int, int, int, int], ...]]] = {
    "b2": (
        32,
        (
            ("conv", 2, 16, 1, 1),
            ("fused", 3, 32, 4, 2),
            ("fused", 3, 56, 4, 2),
            ("inverted", 4, 104, 4, 2),
            ("inverted", 6, 120, 6, 1),
            ("inverted", 10, 208, 6, 2),
        ),
    ),
    "phantom": (8, (("fused", 1, 16, 4, 2), ("fused", 2, 32, 3, 2), ("inverted", 2, 64, 3, 1))),
    "tiny": (8, (("conv", 1, 8, 1, 1), ("fused", 1, 8, 2, 2), ("inverted", 2, 16, 2, 2))),
}
# case → config, and clips and pictures of the input; an odd side has other padding than an even one
CASES: Mapping[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "b2": ({"backbone": "b2", "image_size": 48, "rnn_hidden": 640}, (1, 3)),
    "phantom": ({"backbone": "phantom", "image_size": 32, "rnn_hidden": 160}, (1, 3)),
    "tiny-odd": ({"backbone": "tiny", "image_size": 17, "rnn_hidden": 12}, (2, 5)),
}


def shapes_of(config: Mapping[str, Any]) -> Shapes:
    if config["backbone"] == "b2":
        return {key: tuple(shape) for key, shape in json.loads(KEYS.read_text()).items()}
    stem, stages = NETS[config["backbone"]]
    shapes: Shapes = {}

    def layer(name: str, *shape: int, bias: bool = False) -> None:
        shapes[f"{name}.weight"] = shape
        if bias:
            shapes[f"{name}.bias"] = shape[:1]

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    root = "cnn.backbone."
    layer(f"{root}conv_stem", stem, 3, 3, 3)
    norm(f"{root}bn1", stem)
    for at, kind, inputs, outputs, expansion, _ in blocks(stem, stages):
        wide = inputs * expansion
        if kind == "conv":
            layer(f"{at}.conv", outputs, inputs, 3, 3)
            norm(f"{at}.bn1", outputs)
        elif kind == "fused":
            layer(f"{at}.conv_exp", wide, inputs, 3, 3)
            norm(f"{at}.bn1", wide)
            layer(f"{at}.conv_pwl", outputs, wide, 1, 1)
            norm(f"{at}.bn2", outputs)
        else:
            layer(f"{at}.conv_pw", wide, inputs, 1, 1)
            norm(f"{at}.bn1", wide)
            layer(f"{at}.conv_dw", wide, 1, 3, 3)
            norm(f"{at}.bn2", wide)
            layer(f"{at}.se.conv_reduce", inputs // 4, wide, 1, 1, bias=True)
            layer(f"{at}.se.conv_expand", wide, inputs // 4, 1, 1, bias=True)
            layer(f"{at}.conv_pwl", outputs, wide, 1, 1)
            norm(f"{at}.bn3", outputs)
    hidden, features = config["rnn_hidden"], stages[-1][2]
    for way in ("", "_reverse"):
        shapes[f"rnn.lstm.weight_ih_l0{way}"] = (4 * hidden, features)
        shapes[f"rnn.lstm.weight_hh_l0{way}"] = (4 * hidden, hidden)
        shapes[f"rnn.lstm.bias_ih_l0{way}"] = (4 * hidden,)
        shapes[f"rnn.lstm.bias_hh_l0{way}"] = (4 * hidden,)
    layer("head", MELS, hidden, bias=True)
    return shapes


def blocks(stem: int, stages: Any) -> Iterator[tuple[str, str, int, int, int, int]]:
    """(place, kind, channels in, channels out, expansion, stride) of every block."""
    inputs = stem
    for number, (kind, repeats, outputs, expansion, stride) in enumerate(stages):
        for index in range(repeats):
            at = f"cnn.backbone.blocks.{number}.{index}"
            yield at, kind, inputs, outputs, expansion, stride if index == 0 else 1
            inputs = outputs


def sigmoid(x: Array) -> Array:
    result: Array = 0.5 * (1.0 + np.tanh(0.5 * x))
    return result


def silu(x: Array) -> Array:
    result: Array = x * sigmoid(x)
    return result


def conv(x: Array, weight: Array, stride: int = 1) -> Array:
    """TensorFlow's «same»: ⌈size / stride⌉ out; of an odd number of rows to add the last lies below."""
    kernel, size = weight.shape[-1], x.shape[-1]
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    before, after = total // 2, total - total // 2
    x = np.pad(x, ((0, 0), (0, 0), (before, after), (before, after)))
    depthwise = weight.shape[1] == 1 and x.shape[1] > 1
    result: Array = np.zeros((len(x), len(weight), out, out))
    for i in range(kernel):
        for j in range(kernel):
            seen = x[:, :, i : i + (out - 1) * stride + 1 : stride, j : j + (out - 1) * stride + 1 : stride]
            if depthwise:
                result += weight[:, 0, i, j, None, None] * seen
            else:
                result += np.einsum("oc,nchw->nohw", weight[:, :, i, j], seen, optimize=True)
    return result


def run(config: Mapping[str, Any], state: Mapping[str, Array], frames: Array) -> Array:
    """(B, T, 1, S, S) → (B, T, 64)."""

    def norm(x: Array, name: str) -> Array:
        mean, var, gain, bias = (
            state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        result: Array = (x - mean) / np.sqrt(var + 1e-3) * gain + bias
        return result

    def excited(x: Array, at: str) -> Array:
        gate = x.mean(axis=(2, 3))
        for name in ("reduce", "expand"):
            weight, bias = state[f"{at}.se.conv_{name}.weight"], state[f"{at}.se.conv_{name}.bias"]
            gate = gate @ weight[:, :, 0, 0].T + bias
            gate = silu(gate) if name == "reduce" else sigmoid(gate)
        result: Array = x * gate[:, :, None, None]
        return result

    clips, length, _, size, _ = frames.shape
    stem, stages = NETS[config["backbone"]]
    x = np.repeat(frames.astype(np.float64).reshape(-1, 1, size, size), 3, axis=1)
    x = silu(norm(conv(x, state["cnn.backbone.conv_stem.weight"], 2), "cnn.backbone.bn1"))
    for at, kind, inputs, outputs, _, stride in blocks(stem, stages):
        if kind == "conv":
            y = silu(norm(conv(x, state[f"{at}.conv.weight"], stride), f"{at}.bn1"))
        elif kind == "fused":
            y = silu(norm(conv(x, state[f"{at}.conv_exp.weight"], stride), f"{at}.bn1"))
            y = norm(conv(y, state[f"{at}.conv_pwl.weight"]), f"{at}.bn2")
        else:
            y = silu(norm(conv(x, state[f"{at}.conv_pw.weight"]), f"{at}.bn1"))
            y = silu(norm(conv(y, state[f"{at}.conv_dw.weight"], stride), f"{at}.bn2"))
            y = norm(conv(excited(y, at), state[f"{at}.conv_pwl.weight"]), f"{at}.bn3")
        x = x + y if stride == 1 and inputs == outputs else y
    features = x.mean(axis=(2, 3)).reshape(clips, length, -1)
    ahead = lstm(state, features, "")
    back = lstm(state, features[:, ::-1], "_reverse")[:, ::-1]
    result: Array = (ahead + back) @ state["head.weight"].T + state["head.bias"]
    return result


def lstm(state: Mapping[str, Array], x: Array, way: str) -> Array:
    """One direction; gates in the order input, forget, cell, output."""
    inner, outer = state[f"rnn.lstm.weight_ih_l0{way}"], state[f"rnn.lstm.weight_hh_l0{way}"]
    bias = state[f"rnn.lstm.bias_ih_l0{way}"] + state[f"rnn.lstm.bias_hh_l0{way}"]
    hidden = cell = np.zeros((len(x), outer.shape[1]))
    steps = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ inner.T + hidden @ outer.T + bias, 4, axis=1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
        hidden = sigmoid(o) * np.tanh(cell)
        steps.append(hidden)
    return np.stack(steps, axis=1)


def arrays(described: dict[str, Any]) -> Arrays:
    """All of them; writes what a test must know into ``described``."""
    for case, (config, (clips, length)) in CASES.items():
        shapes = shapes_of(config)
        described.setdefault("mri-acoustic", {})[case] = {
            "config": config,
            "weight_norm": False,
            "keys": shapes,
        }
        size = config["image_size"]
        noise = closed_form.uniform(f"mri-acoustic/{case}/frames", clips * length * size * size)
        frames = (0.5 + 0.5 * noise).astype(np.float32).reshape(clips, length, 1, size, size)
        state = {key: value.astype(np.float64) for key, value in closed_form.state(shapes).items()}
        yield f"nets/mri-acoustic/{case}/frames.npy", frames, "formula"
        yield f"nets/mri-acoustic/{case}/mel.npy", run(config, state, frames), "numpy float64"
