"""Bundles of small diffusion nets, made with onnx.helper in milliseconds, and what they compute, in numpy.

They have the names, shapes and axes of the nets that they stand for: the UNet scales the latents and adds the
mean of its condition, the VAE repeats pixels, the text encoder looks tokens up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edge_runtime.dsp.mel import PRESETS
from edge_runtime.pipelines.image_speech.tokenizer import END, START, WORD_END, byte_symbols
from edge_runtime.store.bundle import (
    Geometry,
    Lengths,
    Manifest,
    Source,
    Tensor,
    Tolerance,
    carry_files,
    describe_artifact,
)

Floats = NDArray[np.float32]

WIDTH, TOKENS, CHANNELS, DIM = 6, 77, 4, 5
GAINS = {"image": 0.8, "audio": 0.65}
SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1,
    "beta_schedule": "scaled_linear", "prediction_type": "epsilon", "timestep_spacing": "leading",
    "set_alpha_to_one": False,
}  # fmt: skip
MIX = np.array([[0.3, 0.1, 0.2, 0.05], [0.2, 0.2, 0.2, 0.1], [0.1, 0.3, 0.2, 0.0]], np.float32)  # of colours
_TYPES = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}


def table() -> Floats:
    """(514, WIDTH): what the text encoder looks up."""
    return np.random.default_rng(1).normal(0, 1, (514, WIDTH)).astype(np.float32)


def projection() -> Floats:
    """(DIM, WIDTH): what the phoneme adapter multiplies by."""
    return np.random.default_rng(2).normal(0, 1, (DIM, WIDTH)).astype(np.float32)


def noise(name: str, latents: Floats, timestep: int, states: Floats) -> Floats:
    """What the UNet gives for latents (n, C, h, w) and states (n, 77, WIDTH)."""
    mean = states.mean(axis=(1, 2)).reshape(-1, 1, 1, 1)
    return np.asarray(GAINS[name] * latents + mean + timestep / 10000, np.float32)


def decoded(latents: Floats) -> Floats:
    """(3, 8 h, 8 w) in 0 … 1 of latents (1, C, h, w) as the UNet has them."""
    colours = np.einsum("ck,khw->chw", MIX, latents[0] / np.float32(0.18215))
    pixels = colours.repeat(8, axis=1).repeat(8, axis=2)
    return np.asarray(np.clip(pixels / 2 + 0.5, 0, 1), np.float32)


def write_unet(folder: Path, name: str = "image", **changes: Any) -> Path:
    """A bundle of `sd-unet`. ``changes``: width, channels, axes, and entries of its config."""
    width, channels = changes.pop("width", WIDTH), changes.pop("channels", CHANNELS)
    axes = {"batch": Lengths(), "height": Lengths(), "width": Lengths(), "tokens": Lengths()}
    axes |= changes.pop("axes", {})
    inputs = (
        Tensor("sample", "float32", ("batch", channels, "height", "width"), "noisy latents", ""),
        Tensor("timestep", "float32", ("batch",), "how noisy", ""),
        Tensor("encoder_hidden_states", "float32", ("batch", "tokens", width), "condition", ""),
    )
    output = Tensor("noise_pred", "float32", ("batch", channels, "height", "width"), "noise", "")
    weights: dict[str, NDArray[Any]] = {
        "gain": np.array(GAINS[name], np.float32), "tenth": np.array(1e-4, np.float32),
        "all": np.array([-1, 1, 1, 1], np.int64),
    }  # fmt: skip
    nodes = [
        helper.make_node("ReduceMean", ["encoder_hidden_states"], ["mean"], axes=[1, 2], keepdims=1),
        helper.make_node("Reshape", ["mean", "all"], ["condition"]),
        helper.make_node("Mul", ["timestep", "tenth"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "all"], ["time"]),
        helper.make_node("Mul", ["sample", "gain"], ["kept"]),
        helper.make_node("Add", ["kept", "condition"], ["sum"]),
        helper.make_node("Add", ["sum", "time"], ["noise_pred"]),
    ]
    return _write(folder, "sd-unet", inputs, (output,), nodes, weights, axes, SCHEDULE | changes)


def write_halves(folder: Path, name: str = "image", **changes: Any) -> tuple[Path, Path]:
    """Bundles first/ and second/ of what `write_unet` computes. ``changes``: entries of the config."""
    picture = ("batch", CHANNELS, "height", "width")
    states = Tensor("encoder_hidden_states", "float32", ("batch", "tokens", WIDTH), "condition", "")
    sample = Tensor("sample", "float32", picture, "noisy latents", "")
    timestep = Tensor("timestep", "float32", ("batch",), "how noisy", "")
    between = tuple(
        Tensor(each, "float32", shape, "from half to half", "")
        for each, shape in (("hidden", picture), ("time_embedding", ("batch", 1)), ("skip_0", picture))
    )
    weights: dict[str, NDArray[Any]] = {
        "less": np.array(GAINS[name] - 1, np.float32), "tenth": np.array(1e-4, np.float32),
        "column": np.array([-1, 1], np.int64), "nothing": np.array(0, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("ReduceMax", ["encoder_hidden_states"], ["told"], keepdims=0),
        helper.make_node("Mul", ["told", "nothing"], ["zero"]),  # the real one reads it too
        helper.make_node("Mul", ["sample", "less"], ["change"]),
        helper.make_node("Add", ["change", "zero"], ["hidden"]),
        helper.make_node("Mul", ["timestep", "tenth"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "column"], ["time_embedding"]),
        helper.make_node("Identity", ["sample"], ["skip_0"]),
    ]
    axes = {"batch": Lengths(), "height": Lengths(), "width": Lengths(), "tokens": Lengths()}
    config, inputs = SCHEDULE | changes, (sample, timestep, states)
    first = _write(folder / "first", "sd-unet-first", inputs, between, nodes, weights, axes, config)
    output = Tensor("noise_pred", "float32", picture, "noise", "")
    nodes = [
        helper.make_node("ReduceMean", ["encoder_hidden_states"], ["mean"], axes=[1, 2], keepdims=1),
        helper.make_node("Reshape", ["mean", "all"], ["condition"]),
        helper.make_node("Reshape", ["time_embedding", "all"], ["time"]),
        helper.make_node("Sum", ["hidden", "skip_0", "condition", "time"], ["noise_pred"]),
    ]
    weights = {"all": np.array([-1, 1, 1, 1], np.int64)}
    given = (*between[:2], states, between[2])
    second = _write(folder / "second", "sd-unet-second", given, (output,), nodes, weights, axes, config)
    return first, second


def write_vae(folder: Path, factor: int = 8, **changes: Any) -> Path:
    """A bundle of `sd-vae-decoder`. ``changes``: axes, and entries of its config."""
    latents = Tensor("latent_sample", "float32", ("batch", 4, "height", "width"), "latents", "")
    picture = Tensor("sample", "float32", ("batch", 3, "picture_height", "picture_width"), "picture", "")
    weights = {"mix": MIX[:, :, None, None], "scales": np.array([1, 1, factor, factor], np.float32)}
    nodes = [
        helper.make_node("Conv", ["latent_sample", "mix"], ["colours"]),
        helper.make_node("Resize", ["colours", "", "scales"], ["sample"], mode="nearest"),
    ]
    axes = {"batch": Lengths(), "height": Lengths(), "width": Lengths()} | changes.pop("axes", {})
    config = {"scaling_factor": 0.18215} | changes
    return _write(folder, "sd-vae-decoder", (latents,), (picture,), nodes, weights, axes, config)


def write_text(folder: Path, seed: int | None = None, **changes: Any) -> Path:
    """A bundle of `clip-text` with a tokenizer of bytes; ``seed``: of another table."""
    ids = Tensor("input_ids", "int32", ("batch", TOKENS), "tokens", "")
    states = Tensor("last_hidden_state", "float32", ("batch", TOKENS, WIDTH), "states", "")
    pooled = Tensor("pooler_output", "float32", ("batch", WIDTH), "state at the end", "")
    looked_up = table() if seed is None else table() * np.float32(seed)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"]),
        helper.make_node("ReduceMean", ["last_hidden_state"], ["pooler_output"], axes=[1], keepdims=0),
    ]
    source = folder.parent / f"{folder.name}-tokenizer"
    write_tokenizer(source)
    files = {f"tokenizer/{name}": source / name for name in ("vocab.json", "merges.txt")}
    axes, config = {"batch": Lengths(1, 1, (1,))}, {"vocab_size": 514} | changes
    return _write(
        folder, "clip-text", (ids,), (states, pooled), nodes, {"table": looked_up}, axes, config, files
    )


def write_adapter(folder: Path) -> Path:
    """A bundle of `phoneme-adapter`."""
    embedding = Tensor("embedding", "float32", ("batch", DIM), "embedding of a sentence", "")
    states = Tensor("encoder_hidden_states", "float32", ("batch", TOKENS, WIDTH), "condition", "")
    weights: dict[str, NDArray[Any]] = {
        "projection": projection(), "axis": np.array([1], np.int64),
        "times": np.array([1, TOKENS, 1], np.int64),
    }  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["embedding", "projection"], ["vector"]),
        helper.make_node("Unsqueeze", ["vector", "axis"], ["row"]),
        helper.make_node("Tile", ["row", "times"], ["encoder_hidden_states"]),
    ]
    return _write(
        folder, "phoneme-adapter", (embedding,), (states,), nodes, weights, {"batch": Lengths()}, {}
    )


def kernel() -> Floats:
    """(256, 160): what the vocoder makes of each band, for each of a frame's samples."""
    return np.random.default_rng(3).normal(0, 0.004, (256, 160)).astype(np.float32)


def write_vocoder(folder: Path) -> Path:
    """A bundle of `hifigan` for the mel `auffusion`: each frame by itself."""
    mel = Tensor("mel", "float32", (1, 256, "frames"), "log mel", "ln")
    wav = Tensor("wav", "float32", (1, 1, "samples"), "audio", "full scale 1")
    nodes = [
        helper.make_node("ConvTranspose", ["mel", "kernel"], ["sum"], strides=[160]),
        helper.make_node("Tanh", ["sum"], ["wav"]),
    ]
    entries: dict[str, Any] = {"front_end": PRESETS["auffusion"], "geometry": Geometry(160, 1, 0)}
    weights = {"kernel": kernel()[:, None]}
    return _write(folder, "hifigan", (mel,), (wav,), nodes, weights, {"frames": Lengths()}, {}, **entries)


def write_parts(folder: Path) -> Path:
    """All parts, in folders named by role."""
    write_unet(folder / "image_unet", "image")
    write_unet(folder / "audio_unet", "audio")
    write_text(folder / "image_text")
    write_text(folder / "audio_text", seed=2)
    write_vae(folder / "vae_decoder")
    for left_over in folder.glob("*-tokenizer"):
        for file in left_over.iterdir():
            file.unlink()
        left_over.rmdir()
    return folder


def write_tokenizer(folder: Path) -> Path:
    """vocab.json and merges.txt of single bytes: 514 tokens."""
    folder.mkdir(parents=True)
    symbols = byte_symbols()
    tokens = (*symbols, *(symbol + WORD_END for symbol in symbols), START, END)
    numbers = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(numbers), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    return folder


def _write(
    folder: Path,
    net: str,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, NDArray[Any]],
    axes: dict[str, Lengths],
    config: dict[str, Any],
    files: Mapping[str, Path] | None = None,
    **entries: Any,
) -> Path:
    folder.mkdir(parents=True)
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(each.name, _TYPES[each.dtype], each.shape) for each in inputs],
        [helper.make_tensor_value_info(each.name, _TYPES[each.dtype], each.shape) for each in outputs],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(folder / "model.onnx"))
    artifact = describe_artifact(
        folder, "model.onnx", target="onnx", precision="fp32", version="opset 17, IR 8", axes=axes
    )
    common: dict[str, Any] = {"front_end": None, "geometry": Geometry(None, None, None)}
    Manifest(
        net=net,
        config=config,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        artifacts=(artifact,),
        source=Source("random", "0" * 64, "random seed 1"),
        tolerance={"fp32": Tolerance(1e-3, 60.0)},
        versions={},
        reference={},
        files=carry_files(folder, files or {}),
        **(common | entries),
    ).save(folder)
    return folder
