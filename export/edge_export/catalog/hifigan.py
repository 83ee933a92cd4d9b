"""hifigan in the catalogue."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from edge_export.catalog.dynamic_axes import Buckets
from edge_export.catalog.gates import SPEECH, Gate
from edge_export.catalog.net import Net, Trained, describe_unit
from edge_export.catalog.vocoders import audio_output, mel_input, shortest_cases
from edge_runtime.store.bundle import Geometry, Tolerance

if TYPE_CHECKING:
    from torch import nn

    from edge_training.vocoder.hifigan import HifiGanConfig


_CODE: Trained[HifiGanConfig] = Trained("hifigan")


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


NET: Net[HifiGanConfig] = Net(
    name="hifigan",
    summary="mel spectrogram to waveform: HiFi-GAN V1, V2, V3 and any valid config.json",
    signature="mel (batch, n_mels, frames) -> audio (batch, 1, samples)",
    presets=("v1", "v2", "v3", "rtmri", "rtmri-origin"),
    preset=_CODE.preset,
    config_from_json=_CODE.config_from_json,
    build=_CODE.build,
    inputs=lambda config: (mel_input(config.num_mels, config.hop_length, _unit(config)),),
    outputs=lambda config: (audio_output(config.sampling_rate, config.hop_length),),
    front_end=lambda config: config.known_front_end,
    geometry=lambda config: Geometry(config.hop_length, config.receptive_field, config.context_frames),
    tolerance=MappingProxyType({"fp32": Tolerance(1e-3, 80.0), "fp16": Tolerance(2e-2, 40.0)}),
    cases=lambda config, axes: shortest_cases(config.mel, axes["frames"]),
    coreml_axes=MappingProxyType({"batch": Buckets((1,)), "frames": Buckets((32, 64, 128, 256, 512))}),
    random_rms=0.15,
    shortest=lambda config: config.shortest,
    settle=_CODE.settle,
    onnx_form=_hifigan_in_rows,
    gate=Gate("sound", "audio", SPEECH),
    justified=MappingProxyType(
        {
            "axis-above-16384": "long buckets exceed it in samples: the artifact's note says which",
        }
    ),
)
