"""degli in the catalogue."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edge_export.catalog.dynamic_axes import Buckets, Span
from edge_export.catalog.gates import SPEECH, Gate
from edge_export.catalog.net import Arrays, Axes, Net, Trained, sizes_of
from edge_export.examples.speech import speech_like
from edge_runtime.dsp.spectral import Array, Stft
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance

if TYPE_CHECKING:
    from edge_training.mel_inversion.degli import DegliConfig


PRESETS = ("origin", "small", "origin-net", "small-net")
_MEANINGS = {
    "spectrum": "X, the spectrum so far: real part, imaginary part",
    "x": "X, the spectrum so far: real part, imaginary part",
    "y": "Y, the wanted magnitude with the phase of X",
    "z": "Z, the STFT of the ISTFT of Y",
}


_CODE: Trained[DegliConfig] = Trained("degli")


def _unit(config: DegliConfig) -> str:
    return f"that of the magnitude, scaled to a root mean square of {config.magnitude_rms:g}"


def _inputs(config: DegliConfig) -> tuple[Tensor, ...]:
    names = ("spectrum",) if config.graph == "block" else ("x", "y", "z")
    spectra = (
        Tensor(name, "float32", ("batch", 2, config.bins, "frames"), _MEANINGS[name], _unit(config))
        for name in names
    )
    magnitude = Tensor(
        name="magnitude",
        dtype="float32",
        shape=("batch", config.bins, "frames"),
        meaning=f"magnitude of the STFT that is wanted, {config.n_fft} points, hop {config.hop_length}",
        unit=f"linear, scaled to a root mean square of {config.magnitude_rms:g} over the recording",
    )
    return (*spectra, magnitude)


def _outputs(config: DegliConfig) -> tuple[Tensor, ...]:
    name, meaning = "next_spectrum", "the spectrum after one block, input of the next"
    if config.graph == "net":
        name, meaning = "residual", "what is subtracted from Z to give the next spectrum"
    return (Tensor(name, "float32", ("batch", 2, config.bins, "frames"), meaning, _unit(config)),)


def _cases(config: DegliConfig, axes: Axes) -> dict[str, Arrays]:
    """Two lengths of speech whose phase is that of speech and its reversal together."""
    sizes = sizes_of(axes["frames"], 8, 13)
    stft, rate = Stft(config.spectral.stft, "float64"), config.sample_rate
    skip = rate // 12
    samples = max(stft.config.min_samples, config.n_fft + sizes[-1] * config.hop_length)
    speech = speech_like(skip + samples, rate)[skip:].astype(np.float64)
    wanted, got = stft.forward(speech), stft.forward(speech + 0.5 * speech[::-1])
    return {f"frames-{size}": _case(config, stft, wanted[:, :size], got[:, :size]) for size in sizes}


def _case(config: DegliConfig, stft: Stft, wanted: Array, got: Array) -> Arrays:
    magnitude = np.abs(wanted)
    factor = config.magnitude_rms / np.sqrt(np.mean(magnitude**2))
    magnitude, x = magnitude * factor, got * factor
    arrays = {"magnitude": magnitude.astype(np.float32)[None]}
    if config.graph == "block":
        return {"spectrum": _parts(x), **arrays}
    y = magnitude * np.exp(1j * np.angle(x))
    z = stft.forward(stft.inverse(y))
    return {"x": _parts(x), "y": _parts(y), "z": _parts(z), **arrays}


def _parts(spectrum: Array) -> Array:
    return np.stack([spectrum.real, spectrum.imag]).astype(np.float32)[None]


def _geometry(config: DegliConfig) -> Geometry:
    hop = config.hop_length if config.graph == "block" else None
    return Geometry(hop, 2 * config.context_frames + 1, config.context_frames)


NET: Net[DegliConfig] = Net(
    name="degli",
    summary="Deep Griffin-Lim: one block, looped by the host, mends the phase of a spectrum",
    signature="spectrum (batch, 2, bins, frames), magnitude (batch, bins, frames) -> "
    "next_spectrum (batch, 2, bins, frames)",
    presets=PRESETS,
    preset=_CODE.preset,
    config_from_json=_CODE.config_from_json,
    build=_CODE.build,
    inputs=_inputs,
    outputs=_outputs,
    front_end=lambda _: None,
    geometry=_geometry,
    tolerance=MappingProxyType({"fp32": Tolerance(1e-3, 80.0), "fp16": Tolerance(1.0, 50.0)}),
    cases=_cases,
    coreml_axes=MappingProxyType({"batch": Buckets((1,)), "frames": Span(8, 4096)}),
    random_rms=3.0,
    gate=Gate("sound", "next_spectrum", SPEECH, feed="spectrum", through="istft"),
    justified=MappingProxyType(
        {
            "dynamic-shapes": "a recording has any length, and one package serves all of them",
        }
    ),
)
