"""bigvgan in the catalogue."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from edge_export.catalog.dynamic_axes import Buckets
from edge_export.catalog.net import Net, Trained, describe_unit
from edge_export.catalog.vocoders import audio_output, mel_input, shortest_cases
from edge_runtime.store.bundle import Geometry, Tolerance

if TYPE_CHECKING:
    from torch import nn

    from edge_training.vocoder.bigvgan import BigVganConfig

PRESETS = (
    "v2-22k", "v2-22k-fmax8k", "v2-24k", "v2-44k", "v2-44k-512", "v1-22k", "v1-24k", "base-22k", "base-24k",
    "tiny",
)  # fmt: skip


_CODE: Trained[BigVganConfig] = Trained("bigvgan")


def _random_start(module: nn.Module) -> None:
    """Activations of all channels alike are what no training leaves."""
    import torch

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith((".alpha", ".beta")):
                parameter.add_(0.3 * torch.randn_like(parameter))


def _geometry(config: BigVganConfig) -> Geometry:
    context = config.context_frames
    return Geometry(config.hop_length, 2 * context + 1, context)


NET: Net[BigVganConfig] = Net(
    name="bigvgan",
    summary="mel spectrogram to waveform: BigVGAN v1 and v2, and any valid config.json of it",
    signature="mel (batch, n_mels, frames) -> audio (batch, 1, samples)",
    presets=PRESETS,
    preset=_CODE.preset,
    config_from_json=_CODE.config_from_json,
    build=_CODE.build,
    inputs=lambda config: (mel_input(config.num_mels, config.hop_length, describe_unit(config.mel)),),
    outputs=lambda config: (audio_output(config.sampling_rate, config.hop_length),),
    front_end=lambda config: config.mel,
    geometry=_geometry,
    tolerance=MappingProxyType({"fp32": Tolerance(1e-3, 80.0), "fp16": Tolerance(2e-2, 40.0)}),
    cases=lambda config, axes: shortest_cases(config.mel, axes["frames"]),
    coreml_axes=MappingProxyType({"batch": Buckets((1,)), "frames": Buckets((32, 64, 128, 256, 512))}),
    random_rms=0.15,
    random_start=_random_start,
)
