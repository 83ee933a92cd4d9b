"""mri-acoustic in the catalogue."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_export.catalog.dynamic_axes import Span
from edge_export.catalog.gates import SPEECH, SPOKEN, Gate
from edge_export.catalog.net import Arrays, Axes, Net, Trained
from edge_export.examples.video import tract_like
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance

if TYPE_CHECKING:
    from torch import nn

    from edge_training.mri_speech.mri_acoustic import MriAcousticConfig


# clips and pictures of a reference case: one picture; more than a window; different lengths of the two axes
CASES = ((1, 1), (1, 5), (2, 3))
RANDOM_OFFSETS, RANDOM_BRANCHES = 0.3, 0.25  # deviations; 1 is that of a map
LONGEST = 512  # pictures in one pass of Core ML, 19 s; longer video runs in windows


_CODE: Trained[MriAcousticConfig] = Trained("mri-acoustic")


def _random_start(module: nn.Module) -> None:
    """Batch norms as they are after training: with offsets, and residual branches that add little.

    Without offsets the mean of a map over a picture is nearly zero, and rounding dominates it.
    """
    from edge_training.mri_speech.mri_acoustic import BatchNorm, FusedBlock, InvertedBlock

    for layer in module.modules():
        if isinstance(layer, BatchNorm):
            layer.bias.data.normal_(0.0, RANDOM_OFFSETS)
    for block in module.modules():
        if isinstance(block, FusedBlock | InvertedBlock) and block.residual:
            last = block.bn2 if isinstance(block, FusedBlock) else block.bn3
            last.weight.data.fill_(RANDOM_BRANCHES)


def _inputs(config: MriAcousticConfig) -> tuple[Tensor, ...]:
    return (
        Tensor(
            name="frames",
            dtype="float32",
            shape=("batch", "frames", 1, config.image_size, config.image_size),
            meaning=f"grey midsagittal MRI, {config.frame_rate:.4f} per second, {config.frame_scaling}",
            unit="0 black to 1 white",
        ),
    )


def _outputs(config: MriAcousticConfig) -> tuple[Tensor, ...]:
    return (
        Tensor(
            name="mel",
            dtype="float32",
            shape=("batch", "frames", config.n_mels),
            meaning="mel spectrogram, one frame a picture, standardised: dB = mel * mel_std + mel_mean",
            unit="standard deviations of each band",
        ),
    )


def _cases(config: MriAcousticConfig, axes: Axes) -> dict[str, Arrays]:  # noqa: ARG001  no axis has buckets
    def frames(clips: int, length: int) -> NDArray[np.float32]:
        pictures = tract_like(clips * length, config.image_size)
        return pictures.reshape(clips, length, 1, config.image_size, config.image_size)

    return {f"batch-{clips}-frames-{length}": {"frames": frames(clips, length)} for clips, length in CASES}


NET: Net[MriAcousticConfig] = Net(
    name="mri-acoustic",
    summary="real-time MRI video of the vocal tract to mel spectrogram: EfficientNetV2 and BiLSTM",
    signature="frames (batch, frames, 1, image_size, image_size) -> mel (batch, frames, n_mels)",
    presets=("b2", "origin", "phantom", "tiny"),
    preset=_CODE.preset,
    config_from_json=_CODE.config_from_json,
    build=_CODE.build,
    inputs=_inputs,
    outputs=_outputs,
    front_end=lambda config: config.mel,
    geometry=lambda _: Geometry(None, None, None),
    tolerance=MappingProxyType({"fp32": Tolerance(1e-3, 80.0), "fp16": Tolerance(0.1, 40.0)}),
    cases=_cases,
    coreml_axes=MappingProxyType({"batch": Span(1, 16), "frames": Span(1, LONGEST)}),
    random_start=_random_start,
    config_files=("config.json", "meta.json"),
    settle=_CODE.settle,
    gate=Gate("sound", "mel", SPEECH, case=SPOKEN, feed="video", through="vocoder"),
    justified=MappingProxyType(
        {
            "recurrent": "the published net ends in an LSTM in both directions, on the CPU",
            "float32-island": "the LSTM itself, which the CPU computes in any case",
            "dynamic-shapes": "a video has any number of frames",
        }
    ),
)
