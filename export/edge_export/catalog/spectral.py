"""stft and istft in the catalogue: nets without weights, whose constants follow from their configuration."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_export.catalog.dynamic_axes import Buckets, Span
from edge_export.catalog.net import Arrays, Axes, Net, needs_torch, sizes_of
from edge_export.examples.speech import speech_like
from edge_runtime.dsp.spectral import Stft
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance

if TYPE_CHECKING:
    from torch import nn

    from edge_training.spectral.layers import SpectralConfig


_RATE = 16000  # Hz, of the example speech: a transform does not know its rate
_SKIP = _RATE // 12  # samples: from a third of a syllable on


def _preset(name: str) -> SpectralConfig:
    try:
        from edge_training.spectral.layers import SPECTRAL_PRESETS
    except ImportError as error:
        raise needs_torch(error) from error
    return SPECTRAL_PRESETS[name]


def _config(entries: Mapping[str, Any]) -> SpectralConfig:
    try:
        from edge_training.spectral.layers import SpectralConfig
    except ImportError as error:
        raise needs_torch(error) from error
    return SpectralConfig.from_json(entries)


def _forward(config: SpectralConfig) -> nn.Module:
    from edge_training.spectral.layers import FixedStft

    return FixedStft(config)


def _inverse(config: SpectralConfig) -> nn.Module:
    from edge_training.spectral.layers import FixedIstft

    return FixedIstft(config)


def _audio(_: SpectralConfig) -> tuple[Tensor, ...]:
    return (Tensor("audio", "float32", ("batch", "samples"), "the signal", "full scale, -1 to 1"),)


def _spectrum(config: SpectralConfig) -> tuple[Tensor, ...]:
    meaning = (
        f"STFT of {config.n_fft} points, hop {config.hop_length}, {config.window} window of "
        f"{config.win_length}, padding {config.padding}: real part, imaginary part"
    )
    shape = ("batch", 2, config.stft.bins, "frames")
    return (Tensor("spectrum", "float32", shape, meaning, "full scale times the window's sum, not scaled"),)


def _audio_cases(config: SpectralConfig, axes: Axes) -> dict[str, Arrays]:
    sizes = sizes_of(axes["samples"], 8192, 8192 + config.hop_length + 7)
    audio = speech_like(_SKIP + sizes[-1], _RATE)[_SKIP:]
    return {f"samples-{size}": {"audio": np.ascontiguousarray(audio[None, :size])} for size in sizes}


def _spectrum_cases(config: SpectralConfig, axes: Axes) -> dict[str, Arrays]:
    """A speech spectrum (with a Hann window, whatever the config's) with phases that no signal has."""
    sizes = sizes_of(axes["frames"], 16, 21)
    stft = Stft(config.stft, "float64")
    samples = max(stft.config.min_samples, config.n_fft + sizes[-1] * config.hop_length)
    audio = speech_like(_SKIP + samples, _RATE)[_SKIP:]
    spectrum = stft.forward(audio.astype(np.float64))[:, : sizes[-1]]
    spectrum = spectrum + 0.1 * spectrum[:, ::-1]
    parts = np.stack([spectrum.real, spectrum.imag]).astype(np.float32)[None]
    return {f"frames-{size}": {"spectrum": np.ascontiguousarray(parts[..., :size])} for size in sizes}


def _geometry(config: SpectralConfig) -> Geometry:
    return Geometry(config.hop_length, None, None)


ANY_LENGTH = MappingProxyType(
    {"dynamic-shapes": "a recording has any length, and one package serves all of them"}
)

STFT: Net[SpectralConfig] = Net(
    name="stft",
    summary="short-time Fourier transform as one convolution; no weights, no --checkpoint",
    signature="audio (batch, samples) -> spectrum (batch, 2, bins, frames)",
    presets=("1024-256", "800-200", "2048-420"),
    preset=_preset,
    config_from_json=_config,
    build=_forward,
    inputs=_audio,
    outputs=_spectrum,
    front_end=lambda _: None,
    geometry=_geometry,
    tolerance=MappingProxyType({"fp32": Tolerance(1e-4, 100.0), "fp16": Tolerance(0.05, 60.0)}),
    cases=_audio_cases,
    coreml_axes=MappingProxyType({"batch": Buckets((1,)), "samples": Span(8192, 2**22)}),
    has_weights=False,
    justified=ANY_LENGTH,
)

ISTFT: Net[SpectralConfig] = Net(
    name="istft",
    summary="inverse of it, least squares, as one transposed convolution; no weights, no --checkpoint",
    signature="spectrum (batch, 2, bins, frames) -> audio (batch, samples)",
    presets=STFT.presets,
    preset=_preset,
    config_from_json=_config,
    build=_inverse,
    inputs=_spectrum,
    outputs=_audio,
    front_end=lambda _: None,
    geometry=_geometry,
    tolerance=MappingProxyType({"fp32": Tolerance(1e-4, 100.0), "fp16": Tolerance(2e-3, 60.0)}),
    cases=_spectrum_cases,
    coreml_axes=MappingProxyType({"batch": Buckets((1,)), "frames": Span(16, 16384)}),
    has_weights=False,
    justified=ANY_LENGTH,
)
