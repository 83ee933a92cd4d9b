"""bigvgan in the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_export.catalog.dynamic_axes import Buckets
from edge_export.catalog.net import Arrays, Axes, Net, describe_unit, needs_torch
from edge_export.examples.speech import speech_like
from edge_runtime.dsp.mel import MelConfig, MelFrontEnd
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance

if TYPE_CHECKING:
    from torch import nn

    from edge_training.vocoder.bigvgan import BigVganConfig

PRESETS = (
    "v2-22k", "v2-22k-fmax8k", "v2-24k", "v2-44k", "v2-44k-512", "v1-22k", "v1-24k", "base-22k", "base-24k",
    "tiny",
)  # fmt: skip


def _preset(name: str) -> BigVganConfig:
    try:
        from edge_training.vocoder.bigvgan import BIGVGAN_PRESETS
    except ImportError as error:
        raise needs_torch(error) from error
    return BIGVGAN_PRESETS[name]


def _config(entries: Mapping[str, Any]) -> BigVganConfig:
    try:
        from edge_training.vocoder.bigvgan import BigVganConfig
    except ImportError as error:
        raise needs_torch(error) from error
    return BigVganConfig.from_json(entries)


def _build(config: BigVganConfig) -> nn.Module:
    from edge_training.vocoder.bigvgan import BigVgan

    return BigVgan(config)


def _random_start(module: nn.Module) -> None:
    """Activations of all channels alike are what no training leaves."""
    import torch

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith((".alpha", ".beta")):
                parameter.add_(0.3 * torch.randn_like(parameter))


def _inputs(config: BigVganConfig) -> tuple[Tensor, ...]:
    return (
        Tensor(
            name="mel",
            dtype="float32",
            shape=("batch", config.num_mels, "frames"),
            meaning=f"log-mel spectrogram, {config.hop_length} samples a frame",
            unit=describe_unit(config.mel),
        ),
    )


def _outputs(config: BigVganConfig) -> tuple[Tensor, ...]:
    return (
        Tensor(
            name="audio",
            dtype="float32",
            shape=("batch", 1, "samples"),
            meaning=f"speech at {config.sampling_rate} Hz, {config.hop_length} samples a frame",
            unit="full scale, -1 to 1",
        ),
    )


def _cases(config: BigVganConfig, axes: Axes) -> dict[str, Arrays]:
    """The shortest bucket and the next, of a made signal."""
    frames = axes["frames"]
    sizes = frames.sizes[:2] if isinstance(frames, Buckets) else (frames.low, frames.low + 1)
    front_end: MelConfig = config.mel
    skip = front_end.sample_rate // 12  # so that it does not begin with the silence before a syllable
    needed = max(front_end.min_samples, sizes[-1] * front_end.hop_length)
    mel = MelFrontEnd(front_end)(speech_like(skip + needed, front_end.sample_rate)[skip:])
    return {
        f"frames-{size}": {"mel": np.ascontiguousarray(mel[None, :, :size], np.float32)} for size in sizes
    }


def _geometry(config: BigVganConfig) -> Geometry:
    context = config.context_frames
    return Geometry(config.hop_length, 2 * context + 1, context)


NET: Net[BigVganConfig] = Net(
    name="bigvgan",
    summary="mel spectrogram to waveform: BigVGAN v1 and v2, and any valid config.json of it",
    signature="mel (batch, n_mels, frames) -> audio (batch, 1, samples)",
    presets=PRESETS,
    preset=_preset,
    config_from_json=_config,
    build=_build,
    inputs=_inputs,
    outputs=_outputs,
    front_end=lambda config: config.mel,
    geometry=_geometry,
    tolerance=MappingProxyType({"fp32": Tolerance(1e-3, 80.0), "fp16": Tolerance(2e-2, 40.0)}),
    cases=_cases,
    coreml_axes=MappingProxyType({"batch": Buckets((1,)), "frames": Buckets((32, 64, 128, 256, 512))}),
    random_rms=0.15,
    random_start=_random_start,
)
