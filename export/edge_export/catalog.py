"""The nets that can be exported, one entry each: how to build it, what goes in and out, what it must keep.

A net is added with one file `edge_training/nets/<net>.py` and one entry of `NETS`. Nothing here imports torch
until a net is built or its config read, so listing the nets is quick and works without it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_export.axes import Axis, Buckets, Span
from edge_export.example_speech import speech_like
from edge_runtime.bundle import Geometry, Tensor, Tolerance
from edge_runtime.errors import BackendError, ConfigError
from edge_runtime.mel import PRESETS, MelConfig, MelFrontEnd
from edge_runtime.windows import encoder_windows

if TYPE_CHECKING:
    from torch import nn

    from edge_training.checkpoints import Checkpoint

Config = Any  # a net's own frozen dataclass, with to_json()
Axes = Mapping[str, Axis]  # axis name → how far it bends
Arrays = dict[str, NDArray[Any]]  # input name → array

# the Neural Engine takes no tensor wider than this; longer ones run on the GPU or the CPU
NEURAL_ENGINE_WIDTH = 16384


def _same(value: Any) -> Any:
    return value


def _settled(config: Config, checkpoint: Checkpoint | None) -> Config:  # noqa: ARG001  the signature of `settle`
    return config


@dataclass(frozen=True)
class Net:
    """What is to be known of a net to export it.

    Args:
        name: as on the command line and in manifests.
        summary: one line.
        signature: its inputs and outputs with their axes, as they stand in every config.
        presets: names of its configs, the first for random weights by default.
        preset: name → config.
        config_from_json: JSON entries → config; raises ConfigError that names the rule which is broken.
        build: config → module in its initial state (torch).
        inputs, outputs: config → tensors with shapes, meanings and units.
        front_end: config → how audio becomes its mel.
        geometry: config → hop, receptive field, context.
        tolerance: precision → what every backend must keep.
        cases: (config, Core ML axes) → case name → inputs, for the reference arrays.
        coreml_axes: named axis → how far it bends in Core ML; ONNX takes any length.
        random_rms: of the output's last layer where weights are random, in the range of real ones.
        settle: (config, checkpoint) → config with what only the checkpoint's keys tell.
        onnx_form: module → an equal one that onnxruntime runs faster on processors, for float32.
    """

    name: str
    summary: str
    signature: str
    presets: tuple[str, ...]
    preset: Callable[[str], Config]
    config_from_json: Callable[[Mapping[str, Any]], Config]
    build: Callable[[Config], nn.Module]
    inputs: Callable[[Config], tuple[Tensor, ...]]
    outputs: Callable[[Config], tuple[Tensor, ...]]
    front_end: Callable[[Config], MelConfig | None]
    geometry: Callable[[Config], Geometry]
    tolerance: Mapping[str, Tolerance]
    cases: Callable[[Config, Axes], dict[str, Arrays]]
    coreml_axes: Axes
    random_rms: float
    settle: Callable[[Config, Checkpoint | None], Config] = field(default=_settled)
    onnx_form: Callable[[nn.Module], nn.Module] = field(default=_same)


def get_net(name: str) -> Net:
    """The entry of a net; ConfigError with the nearest name where there is none."""
    if name not in NETS:
        raise unknown("net", name, NETS)
    return NETS[name]


def describe_nets() -> str:
    """The catalogue as text: name, what it is, inputs and outputs, presets."""
    paragraphs = (
        f"{net.name}\n  {net.summary}\n  {net.signature}\n  presets: {', '.join(net.presets)}"
        for net in NETS.values()
    )
    return "\n".join(paragraphs)


def unknown(what: str, met: str, known: Mapping[str, object] | tuple[str, ...]) -> ConfigError:
    """The refusal of a name, with the one that was probably meant."""
    near = difflib.get_close_matches(met, list(known), n=1, cutoff=0.5)
    cause = f"is {near[0]} meant?" if near else ""
    return ConfigError(what, met=met, expected=f"one of {', '.join(known)}", cause=cause)


def _needs_torch(error: ImportError) -> BackendError:
    return BackendError(
        "building a net",
        met=f"no module named {error.name}",
        expected="torch",
        cause="pip install 'edge-export[export]'",
    )


# ---- audio-encoder ----------------------------------------------------------------------------------------

_ENCODER_MEL = PRESETS["talking-head"]


def _encoder_config(entries: Mapping[str, Any]) -> Config:
    try:
        from edge_training.nets.audio_encoder import AudioEncoderConfig
    except ImportError as error:
        raise _needs_torch(error) from error
    return AudioEncoderConfig.from_json(entries)


def _build_encoder(config: Config) -> nn.Module:
    from edge_training.nets.audio_encoder import AudioEncoder

    return AudioEncoder(config)


def _encoder_inputs(config: Config) -> tuple[Tensor, ...]:
    return (
        Tensor(
            name="mel",
            dtype="float32",
            shape=("batch", 1, config.num_mels, config.window_frames),
            meaning=f"log-mel windows of {config.window_frames} frames (200 ms), mel axis before time",
            unit="12.5 dB, from -4 (-100 dB) to 4 (0 dB)",
        ),
    )


def _encoder_outputs(config: Config) -> tuple[Tensor, ...]:
    return (
        Tensor(
            name="features",
            dtype="float32",
            shape=("batch", config.features),
            meaning="what the window says about the mouth",
            unit="none, 0 to about 11",
        ),
    )


def _encoder_cases(config: Config, axes: Axes) -> dict[str, Arrays]:  # noqa: ARG001  the encoder has one config
    """One window, seven, and the largest batch that Core ML admits."""
    most = axes["batch"].lengths.high
    assert most is not None
    seconds = 1 + most // 8  # of 25 windows a second more than 8 are taken
    audio = speech_like(seconds * _ENCODER_MEL.sample_rate, _ENCODER_MEL.sample_rate)
    windows = encoder_windows(MelFrontEnd(_ENCODER_MEL)(audio))[::3]  # (n, 16, 80)
    mel = np.ascontiguousarray(windows.transpose(0, 2, 1)[:, None], np.float32)  # (n, 1, 80, 16)
    return {f"batch-{size}": {"mel": mel[:size]} for size in (1, 7, most)}


# ---- hifigan ----------------------------------------------------------------------------------------------


def _hifigan_preset(name: str) -> Config:
    try:
        from edge_training.nets.hifigan import HIFIGAN_PRESETS
    except ImportError as error:
        raise _needs_torch(error) from error
    return HIFIGAN_PRESETS[name]


def _hifigan_config(entries: Mapping[str, Any]) -> Config:
    try:
        from edge_training.nets.hifigan import HifiGanConfig
    except ImportError as error:
        raise _needs_torch(error) from error
    return HifiGanConfig.from_json(entries)


def _settle_hifigan(config: Config, checkpoint: Checkpoint | None) -> Config:
    from edge_training.checkpoints import settle_wiring

    return settle_wiring(config, checkpoint)


def _build_hifigan(config: Config) -> nn.Module:
    from edge_training.nets.hifigan import HifiGan

    return HifiGan(config)


def _hifigan_in_rows(module: nn.Module) -> nn.Module:
    from edge_export.rows import in_rows
    from edge_training.nets.hifigan import HifiGan

    assert isinstance(module, HifiGan)
    return in_rows(module)


def _hifigan_inputs(config: Config) -> tuple[Tensor, ...]:
    return (
        Tensor(
            name="mel",
            dtype="float32",
            shape=("batch", config.num_mels, "frames"),
            meaning=f"log-mel spectrogram, {config.hop_length} samples a frame",
            unit="natural logarithm of the mel magnitude, at least ln 1e-5",
        ),
    )


def _hifigan_outputs(config: Config) -> tuple[Tensor, ...]:
    return (
        Tensor(
            name="audio",
            dtype="float32",
            shape=("batch", 1, "samples"),
            meaning=f"speech at {config.sampling_rate} Hz, {config.hop_length} samples a frame",
            unit="full scale, -1 to 1",
        ),
    )


def _hifigan_cases(config: Config, axes: Axes) -> dict[str, Arrays]:
    """The shortest bucket and the next: what every target takes, and two lengths of the dynamic axis.

    Longer buckets are the same program with another shape and have no case of their own: the slow executors
    take about 0.3 s a frame of V1. Where a single bucket is admitted there is one case, and one length.
    """
    frames = axes["frames"]
    sizes = frames.sizes[:2] if isinstance(frames, Buckets) else (frames.low, frames.low + 1)
    front_end: MelConfig = config.mel
    # from a third of a syllable on, so that the shortest case is not the silence before it
    skip = front_end.sample_rate // 12
    needed = max(front_end.min_samples, sizes[-1] * front_end.hop_length)
    audio = speech_like(skip + needed, front_end.sample_rate)[skip:]
    mel = np.asarray(MelFrontEnd(front_end)(audio), np.float32)
    return {f"frames-{size}": {"mel": np.ascontiguousarray(mel[None, :, :size])} for size in sizes}


NETS: Mapping[str, Net] = MappingProxyType(
    {
        net.name: net
        for net in (
            Net(
                name="audio-encoder",
                summary="16 mel frames of speech to 512 features that move a talking head's mouth",
                signature="mel (batch, 1, 80, 16) -> features (batch, 512)",
                presets=("talking-head",),
                preset=lambda _: _encoder_config({}),
                config_from_json=_encoder_config,
                build=_build_encoder,
                inputs=_encoder_inputs,
                outputs=_encoder_outputs,
                front_end=lambda config: config.mel,
                geometry=lambda config: Geometry(None, config.window_frames, None),
                tolerance=MappingProxyType({"fp32": Tolerance(1e-3, 80.0), "fp16": Tolerance(0.1, 40.0)}),
                cases=_encoder_cases,
                coreml_axes=MappingProxyType({"batch": Span(1, 64)}),
                random_rms=1.0,
            ),
            Net(
                name="hifigan",
                summary="mel spectrogram to waveform: HiFi-GAN V1, V2, V3 and any valid config.json",
                signature="mel (batch, n_mels, frames) -> audio (batch, 1, samples)",
                presets=("v1", "v2", "v3", "rtmri", "rtmri-origin"),
                preset=_hifigan_preset,
                config_from_json=_hifigan_config,
                build=_build_hifigan,
                inputs=_hifigan_inputs,
                outputs=_hifigan_outputs,
                front_end=lambda config: config.mel,
                geometry=lambda config: Geometry(
                    config.hop_length, config.receptive_field, config.context_frames
                ),
                tolerance=MappingProxyType({"fp32": Tolerance(1e-3, 80.0), "fp16": Tolerance(2e-2, 40.0)}),
                cases=_hifigan_cases,
                coreml_axes=MappingProxyType(
                    {"batch": Buckets((1,)), "frames": Buckets((32, 64, 128, 256, 512))}
                ),
                random_rms=0.15,
                settle=_settle_hifigan,
                onnx_form=_hifigan_in_rows,
            ),
        )
    }
)
