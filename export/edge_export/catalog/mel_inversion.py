"""mel-inversion in the catalogue."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edge_export.catalog.dynamic_axes import Buckets, Span
from edge_export.catalog.gates import PHASELESS, Gate
from edge_export.catalog.net import Arrays, Axes, Net, Trained, sizes_of
from edge_export.examples.speech import speech_like
from edge_runtime.dsp.mel import MelConfig, MelFrontEnd
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance

if TYPE_CHECKING:
    from edge_training.mel_inversion.pinv_conv_skip import MelInversionConfig


PRESETS = ("pinv-conv-skip", "pinv-conv-skip-22k", "pinv-conv-skip-db", "origin", "light")
_UNITS = {
    "log": "natural logarithm of the magnitude, at least ln 1e-5",
    "db": "dB below the recording's maximum over 80, plus 1: 0 (-80 dB) to 1 (0 dB)",
}
_MEL_UNITS = {
    "log": "natural logarithm of the mel magnitude, at least ln 1e-5",
    "db": "filter bank on the normalised dB magnitude, 0 to about 0.06",
}


_CODE: Trained[MelInversionConfig] = Trained("mel-inversion")


def _inputs(config: MelInversionConfig) -> tuple[Tensor, ...]:
    return (
        Tensor(
            name="mel",
            dtype="float32",
            shape=("batch", config.mel.bands, "frames"),
            meaning=f"mel spectrogram, {config.mel.hop_length} samples a frame",
            unit=_MEL_UNITS[config.domain],
        ),
    )


def _outputs(config: MelInversionConfig) -> tuple[Tensor, ...]:
    return (
        Tensor(
            name="log_magnitude" if config.domain == "log" else "magnitude_db",
            dtype="float32",
            shape=("batch", config.bins, "frames"),
            meaning=f"magnitude of the STFT of {config.mel.n_fft} points, frames as in the mel",
            unit=_UNITS[config.domain],
        ),
    )


def _cases(config: MelInversionConfig, axes: Axes) -> dict[str, Arrays]:
    """Two lengths, from the middle of a syllable on; the longer has more frames than the net's context."""
    sizes = sizes_of(axes["frames"], 16, 21)
    front_end: MelConfig = config.mel
    skip = front_end.sample_rate // 12
    needed = front_end.n_fft + sizes[-1] * front_end.hop_length
    audio = speech_like(skip + needed, front_end.sample_rate)[skip:]
    mel = np.asarray(MelFrontEnd(front_end)(audio), np.float32)
    return {f"frames-{size}": {"mel": np.ascontiguousarray(mel[None, :, :size])} for size in sizes}


def _geometry(config: MelInversionConfig) -> Geometry:
    context = config.context_frames
    return Geometry(None, None if context is None else 2 * context + 1, context)


def _random_range(config: MelInversionConfig) -> tuple[float, float]:
    """Deviation and mean on the scale 0 (floor) to 1 (full scale); of the light net those of a correction."""
    return (0.5, 0.0) if config.variant == "light" else (0.15, 0.4)


NET: Net[MelInversionConfig] = Net(
    name="mel-inversion",
    summary="mel spectrogram to magnitude spectrogram: the pseudo-inverse's estimate, refined",
    signature="mel (batch, n_mels, frames) -> log_magnitude (batch, bins, frames)",
    presets=PRESETS,
    preset=_CODE.preset,
    config_from_json=_CODE.config_from_json,
    build=_CODE.build,
    inputs=_inputs,
    outputs=_outputs,
    front_end=lambda config: config.mel,
    geometry=_geometry,
    tolerance=MappingProxyType({"fp32": Tolerance(1e-3, 80.0), "fp16": Tolerance(0.5, 40.0)}),
    cases=_cases,
    coreml_axes=MappingProxyType({"batch": Buckets((1,)), "frames": Span(8, 4096)}),
    random_range=_random_range,
    gate=Gate("sound", "log_magnitude", PHASELESS, through="griffin-lim"),
    # the tolerance is in natural logarithms; the other unit is 80 dB
    unit=lambda config: 1.0 if config.domain == "log" else 20.0 / math.log(10.0) / 80.0,
    justified=MappingProxyType(
        {
            "dynamic-shapes": "a recording has any length, and one package serves all of them",
        }
    ),
)
