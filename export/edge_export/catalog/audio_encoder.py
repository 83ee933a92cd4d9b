"""audio-encoder in the catalogue."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edge_export.catalog.dynamic_axes import Span
from edge_export.catalog.gates import FACE, Gate
from edge_export.catalog.net import Arrays, Axes, Net, Trained
from edge_export.examples.speech import speech_like
from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.dsp.windows import encoder_windows
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance

if TYPE_CHECKING:
    from edge_training.talking_head.audio_encoder import AudioEncoderConfig


_ENCODER_MEL = PRESETS["talking-head"]


_CODE: Trained[AudioEncoderConfig] = Trained("audio-encoder")


def _encoder_inputs(config: AudioEncoderConfig) -> tuple[Tensor, ...]:
    return (
        Tensor(
            name="mel",
            dtype="float32",
            shape=("batch", 1, config.num_mels, config.window_frames),
            meaning=f"log-mel windows of {config.window_frames} frames (200 ms), mel axis before time",
            unit="12.5 dB, from -4 (-100 dB) to 4 (0 dB)",
        ),
    )


def _encoder_outputs(config: AudioEncoderConfig) -> tuple[Tensor, ...]:
    return (
        Tensor(
            name="features",
            dtype="float32",
            shape=("batch", config.features),
            meaning="features of the mouth movement in the window",
            unit="none, 0 to about 11",
        ),
    )


def _encoder_cases(config: AudioEncoderConfig, axes: Axes) -> dict[str, Arrays]:  # noqa: ARG001  the encoder has one config
    """One window, seven windows, and the largest batch that Core ML admits."""
    most = axes["batch"].lengths.high
    assert most is not None
    seconds = 1 + most // 8  # more than 8 of the 25 windows in a second are used
    audio = speech_like(seconds * _ENCODER_MEL.sample_rate, _ENCODER_MEL.sample_rate)
    windows = encoder_windows(MelFrontEnd(_ENCODER_MEL)(audio))[::3]  # (n, 16, 80)
    mel = np.ascontiguousarray(windows.transpose(0, 2, 1)[:, None], np.float32)  # (n, 1, 80, 16)
    return {f"batch-{size}": {"mel": mel[:size]} for size in (1, 7, most)}


NET: Net[AudioEncoderConfig] = Net(
    name="audio-encoder",
    summary="16 mel frames of speech to 512 features that move a talking head's mouth",
    signature="mel (batch, 1, 80, 16) -> features (batch, 512)",
    presets=("talking-head",),
    preset=_CODE.preset,
    config_from_json=_CODE.config_from_json,
    build=_CODE.build,
    inputs=_encoder_inputs,
    outputs=_encoder_outputs,
    front_end=lambda config: config.mel,
    geometry=lambda config: Geometry(None, config.window_frames, None),
    tolerance=MappingProxyType({"fp32": Tolerance(1e-3, 80.0), "fp16": Tolerance(0.1, 40.0)}),
    cases=_encoder_cases,
    coreml_axes=MappingProxyType({"batch": Span(1, 64)}),
    random_rms=1.0,
    gate=Gate("features", "features", FACE, feed="windows"),
    justified=MappingProxyType(
        {
            "last-axis-below-32": "a window has 16 frames and the weights are of published checkpoints",
            "dynamic-shapes": "the batch alone is open, and a phone gives one window, the default",
        }
    ),
)
