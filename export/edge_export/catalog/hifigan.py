"""hifigan in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_export.catalog.dynamic_axes import Buckets
from edge_export.catalog.gates import SPEECH, Gate
from edge_export.catalog.net import Arrays, Axes, Net, describe_unit, needs_torch
from edge_export.examples.speech import speech_like
from edge_runtime.dsp.mel import MelConfig, MelFrontEnd
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance

if TYPE_CHECKING:
    from torch import nn

    from edge_training.vocoder.hifigan import HifiGanConfig
    from edge_training.weights.reading import Checkpoint


def _hifigan_preset(name: str) -> HifiGanConfig:
    try:
        from edge_training.vocoder.hifigan import HIFIGAN_PRESETS
    except ImportError as error:
        raise needs_torch(error) from error
    return HIFIGAN_PRESETS[name]


def _hifigan_config(entries: Mapping[str, Any]) -> HifiGanConfig:
    try:
        from edge_training.vocoder.hifigan import HifiGanConfig
    except ImportError as error:
        raise needs_torch(error) from error
    return HifiGanConfig.from_json(entries)


def _settle_hifigan(
    config: HifiGanConfig, checkpoint: Checkpoint | None, said: list[str] | None = None
) -> HifiGanConfig:
    from edge_training.vocoder.wiring import settle_hifigan

    return settle_hifigan(config, checkpoint, said)


def _build_hifigan(config: HifiGanConfig) -> nn.Module:
    from edge_training.vocoder.hifigan import HifiGan

    return HifiGan(config)


def _hifigan_in_rows(module: nn.Module) -> nn.Module:
    from edge_export.to_onnx.cpu_form.rows import in_rows
    from edge_training.vocoder.hifigan import HifiGan

    assert isinstance(module, HifiGan)
    return in_rows(module)


def _unit(config: HifiGanConfig) -> str:
    if config.known_front_end is None:
        return "as the toolkit of the checkpoint made its mels; the checkpoint does not say how"
    if config.front_end is None:
        return "natural logarithm of the mel magnitude, at least ln 1e-5"
    return describe_unit(config.mel)


def _hifigan_inputs(config: HifiGanConfig) -> tuple[Tensor, ...]:
    return (
        Tensor(
            name="mel",
            dtype="float32",
            shape=("batch", config.num_mels, "frames"),
            meaning=f"log-mel spectrogram, {config.hop_length} samples a frame",
            unit=_unit(config),
        ),
    )


def _hifigan_outputs(config: HifiGanConfig) -> tuple[Tensor, ...]:
    return (
        Tensor(
            name="audio",
            dtype="float32",
            shape=("batch", 1, "samples"),
            meaning=f"speech at {config.sampling_rate} Hz, {config.hop_length} samples a frame",
            unit="full scale, -1 to 1",
        ),
    )


def _hifigan_cases(config: HifiGanConfig, axes: Axes) -> dict[str, Arrays]:
    """The shortest bucket and the next: lengths that every target takes, and two of the dynamic axis.

    Longer buckets run the same program on another shape and have no case: the slow executors take about
    0.3 s for a frame of V1. With only one bucket there is one case.
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


NET: Net[HifiGanConfig] = Net(
    name="hifigan",
    summary="mel spectrogram to waveform: HiFi-GAN V1, V2, V3 and any valid config.json",
    signature="mel (batch, n_mels, frames) -> audio (batch, 1, samples)",
    presets=("v1", "v2", "v3", "rtmri", "rtmri-origin"),
    preset=_hifigan_preset,
    config_from_json=_hifigan_config,
    build=_build_hifigan,
    inputs=_hifigan_inputs,
    outputs=_hifigan_outputs,
    front_end=lambda config: config.known_front_end,
    geometry=lambda config: Geometry(config.hop_length, config.receptive_field, config.context_frames),
    tolerance=MappingProxyType({"fp32": Tolerance(1e-3, 80.0), "fp16": Tolerance(2e-2, 40.0)}),
    cases=_hifigan_cases,
    coreml_axes=MappingProxyType({"batch": Buckets((1,)), "frames": Buckets((32, 64, 128, 256, 512))}),
    random_rms=0.15,
    shortest=lambda config: config.shortest,
    settle=_settle_hifigan,
    onnx_form=_hifigan_in_rows,
    gate=Gate("sound", "audio", SPEECH),
    justified=MappingProxyType(
        {
            "axis-above-16384": "long buckets exceed it in samples: the artifact's note says which",
        }
    ),
)
