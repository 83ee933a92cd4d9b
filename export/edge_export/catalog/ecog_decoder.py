"""ecog-decoder in the catalogue."""

from __future__ import annotations

import math
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_export.catalog.dynamic_axes import Buckets
from edge_export.catalog.ecog_parameters import FRAMES, PARAMETERS, parameter_tensors, signature_of
from edge_export.catalog.gates import SPEECH, SPOKEN, Gate
from edge_export.catalog.net import Arrays, Axes, Net, Trained, sizes_of
from edge_export.examples.speech import noise
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance

if TYPE_CHECKING:
    from edge_training.ecog_speech.decoders.ecog_decoder import EcogDecoderConfig

PAST = 16  # ECoG frames before an item
AFTER = "_after"  # names of what a stateful decoder remembers, as outputs
LOUDNESS = 0.0  # offset before softplus, of random weights
FAMILIES = ("resnet", "lstm", "gru", "swin")
STREAMED = (48, PAST + FRAMES, PAST + 2 * FRAMES)  # ECoG frames that a streaming Core ML package takes
STEPS = (4, PAST)  # frames that a stateful one takes at a time


_CODE: Trained[EcogDecoderConfig] = Trained("ecog-decoder")


def _presets() -> tuple[str, ...]:
    names = []
    for family in FAMILIES:
        suffixes = ["", "-causal", *(["-anticausal"] if family == "resnet" else [])]
        suffixes += [] if family == "swin" else ["-streaming"]
        suffixes += ["-stateful"] if family in ("lstm", "gru") else []
        names += [f"{family}{grid}{suffix}" for suffix in suffixes for grid in ("", "-hb")]
    return tuple(names)


def _random_start(module: Any) -> None:
    """A loudness that can be heard: from next to silence, as training starts, precision tells nothing."""
    module.net.prediction_head.conv_loudness.bias.data.fill_(LOUDNESS)


def _inputs(config: EcogDecoderConfig) -> tuple[Tensor, ...]:
    lead = f"{PAST} frames before the item and those of the item"
    if config.wiring == "stateful":
        lead = "further frames of a stream"
    meaning = f"high-gamma ECoG at 125 Hz, {lead}, a grid of {config.grid} × {config.grid} row by row"
    shape = ("batch", config.input_frames, config.electrodes)
    return Tensor("ecog", "float32", shape, meaning, "standard deviations"), *_memory(config)


def _memory(config: EcogDecoderConfig, suffix: str = "") -> tuple[Tensor, ...]:
    """What a stateful decoder remembers, as inputs, or with a suffix as outputs."""
    meanings = {
        "hidden": "state of the recurrent layers",
        "cell": "cell of the LSTM layers",
        "history": "the last two frames of x_common",
    }
    zero = "after these frames" if suffix else "zero at first"
    return tuple(
        Tensor(name + suffix, "float32", shape, f"{meanings[name]}, {zero}", "1")
        for name, shape in config.memory.items()
    )


def _outputs(config: EcogDecoderConfig) -> tuple[Tensor, ...]:
    free: dict[str, int | str] = {
        "published": FRAMES,
        "streaming": "decoded_frames",
        "stateful": "new_frames",
    }
    frames = free[config.wiring]
    common = Tensor(
        "x_common", "float32", ("batch", config.features, frames), "features before the head", "1"
    )
    return (*parameter_tensors(tuple(PARAMETERS), frames), common, *_memory(config, AFTER))


def _cases(config: EcogDecoderConfig, axes: Axes) -> dict[str, Arrays]:
    if config.wiring != "published":
        streaming = config.wiring == "streaming"
        sizes = sizes_of(axes["frames"], 48, 144) if streaming else sizes_of(axes["new_frames"], 4, 16)
        return {
            f"frames-{frames}": {"ecog": example_ecog(frames, config.electrodes)} | _example_memory(config)
            for frames in sizes
        }
    waves = example_ecog(PAST + FRAMES, config.electrodes)
    return {"waves": {"ecog": waves}, "backwards": {"ecog": np.ascontiguousarray(waves[:, ::-1])}}


def _example_memory(config: EcogDecoderConfig) -> Arrays:
    """As a stream may leave it, so that a net which forgets it does not pass: within ±1, as states are."""
    shapes = {name: tuple(1 if size == "batch" else int(size) for size in shape)
              for name, shape in config.memory.items()}  # fmt: skip
    return {
        name: np.clip(0.5 * noise(math.prod(shape)), -1, 1).reshape(shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def example_ecog(frames: int, electrodes: int) -> NDArray[np.float32]:
    """(1, frames, electrodes): slow waves that travel over the electrodes, and noise; about unit variance."""
    time, place = np.arange(frames)[:, None] / 125, np.arange(electrodes)[None] / electrodes
    slow = np.sin(2 * np.pi * (1.3 * time - 2 * place)) + 0.7 * np.sin(2 * np.pi * (3.1 * time + 5 * place))
    white = noise(frames * electrodes).reshape(frames, electrodes)
    return np.minimum(slow + 0.8 * white, 5)[None].astype(np.float32)


def _geometry(config: EcogDecoderConfig) -> Geometry:
    if config.wiring != "streaming" or config.family != "resnet":
        return Geometry(None, None, None)
    from edge_training.ecog_speech.decoders.resnet import STREAMING_CONTEXT

    return Geometry(
        None, STREAMING_CONTEXT, STREAMING_CONTEXT, context_before=STREAMING_CONTEXT, context_after=0
    )


def _steps(config: EcogDecoderConfig) -> dict[str, int]:
    """A streaming resnet means over pairs twice: between multiples its output has another length."""
    if config.wiring != "streaming" or config.family != "resnet":
        return {}
    from edge_training.ecog_speech.decoders.resnet import STREAMING_STRIDE

    return {"frames": STREAMING_STRIDE}


def _shortest(config: EcogDecoderConfig) -> int:
    """The past, and the least that has an output."""
    return PAST + _steps(config).get("frames", 1) if config.wiring == "streaming" else 1


def _axes_of(config: EcogDecoderConfig, axes: Axes) -> Axes:
    named = {size for tensor in _inputs(config) for size in tensor.shape}
    return MappingProxyType({name: axis for name, axis in axes.items() if name in named})


_NAMED: Any = SimpleNamespace(
    memory={},
    wiring="published",
    grid=8,
    input_frames=PAST + FRAMES,
    electrodes="electrodes",
    features="features",
)  # of the signature: sizes that differ between configs by their names

NET: Net[EcogDecoderConfig] = Net(
    name="ecog-decoder",
    summary="ECoG to speech parameters: 3-D ResNet, LSTM, GRU or 3-D Swin transformer",
    signature=signature_of(_inputs(_NAMED), _outputs(_NAMED)),
    presets=_presets(),
    preset=_CODE.preset,
    config_from_json=_CODE.config_from_json,
    build=_CODE.build,
    inputs=_inputs,
    outputs=_outputs,
    front_end=lambda _: None,
    geometry=_geometry,
    shortest=_shortest,
    steps=_steps,
    axes_of=_axes_of,
    # outputs are in Hz up to 8000; shares are held by the ratio
    unit=lambda config: 200.0 if config.family == "swin" else 100.0,
    tolerance=MappingProxyType({"fp32": Tolerance(1e-3, 70.0), "fp16": Tolerance(2.0, 35.0)}),
    cases=_cases,
    random_start=_random_start,
    coreml_axes=MappingProxyType(
        {"batch": Buckets((1,)), "frames": Buckets(STREAMED), "new_frames": Buckets(STEPS)}
    ),
    gate=Gate("sound", "f0_hz", SPEECH, case=SPOKEN, feed="ecog", through="synthesizer"),
    justified=MappingProxyType(
        {
            "recurrent": "the published decoder is an LSTM; it runs on the CPU, three layers of 144 steps",
            "float32-island": "the LSTM itself, which the CPU computes in any case",
        }
    ),
)
