"""istft-vocoder in the catalogue."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edge_export.assets import SENTENCE
from edge_export.catalog.dynamic_axes import Buckets, Span
from edge_export.catalog.gates import SPEECH, Gate
from edge_export.catalog.net import Arrays, Axes, Net, Trained, describe_unit
from edge_export.catalog.vocoders import audio_output, mel_input
from edge_export.examples.speech import speech_like
from edge_runtime.dsp.mel import MelConfig, MelFrontEnd
from edge_runtime.media.audio import read_audio
from edge_runtime.store.bundle import Geometry, Tolerance

if TYPE_CHECKING:
    from edge_training.vocoder.istft_vocoder import IstftVocoderConfig


PRESETS = ("lj-22k", "small-22k", "streaming-22k", "rtmri", "auffusion")
SPOKEN_FROM, SPOKEN_SECONDS = 0.2, 2.0  # of the sentence
# Measured on trained weights and recorded speech, rounding after every operation (docs/which-vocoder.md).
# With the prior in float16, 26 dB instead of 55: where the pseudo-inverse is near 0 its logarithm magnifies
# the rounding. With the first norm in float16, 1 dB on an evaluator that adds 256 squares of up to 215 in
# float16. The phasor for its ε, which float16 rounds to 0: a vector of 0 would be divided by 0.
FLOAT32_PARTS = ("prior", "norm", "polar")


_CODE: Trained[IstftVocoderConfig] = Trained("istft-vocoder")


def _cases(config: IstftVocoderConfig, axes: Axes) -> dict[str, Arrays]:
    """One frame alone, a short made signal, and two seconds of a spoken sentence."""
    del axes  # Core ML takes every length too
    mel: MelConfig = config.mel
    rate, front_end = mel.sample_rate, MelFrontEnd(mel)
    skip = rate // 12  # so that it does not begin with the silence before a syllable
    made = front_end(speech_like(skip + mel.min_samples + 24 * mel.hop_length, rate)[skip:])
    spoken = read_audio(SENTENCE, rate).samples
    spoken = front_end(spoken[int(SPOKEN_FROM * rate) :][: int(SPOKEN_SECONDS * rate)])
    cases = {"frame": made[:, 8:9], "frames-20": made[:, :20], "sentence": spoken}
    return {name: {"mel": np.ascontiguousarray(values[None], np.float32)} for name, values in cases.items()}


def _geometry(config: IstftVocoderConfig) -> Geometry:
    before, after = config.context_before, config.context_after
    return Geometry(
        config.hop_length,
        before + 1 + after,
        max(before, after),
        context_before=before,
        context_after=after,
        overlap_after=config.overlap_ahead,
    )


NET: Net[IstftVocoderConfig] = Net(
    name="istft-vocoder",
    summary="mel spectrogram to waveform in one pass, the inverse STFT inside",
    signature="mel (batch, n_mels, frames) -> audio (batch, 1, samples)",
    presets=PRESETS,
    preset=_CODE.preset,
    config_from_json=_CODE.config_from_json,
    build=_CODE.build,
    inputs=lambda config: (mel_input(config.mel.bands, config.hop_length, describe_unit(config.mel)),),
    outputs=lambda config: (audio_output(config.mel.sample_rate, config.hop_length),),
    front_end=lambda config: config.mel,
    geometry=_geometry,
    tolerance=MappingProxyType({"fp32": Tolerance(1e-4, 80.0), "fp16": Tolerance(5e-2, 35.0)}),
    cases=_cases,
    coreml_axes=MappingProxyType({"batch": Buckets((1,)), "frames": Span(1, 4096)}),
    random_rms=0.3,
    float32_parts=FLOAT32_PARTS,
    gate=Gate("sound", "audio", SPEECH),
    justified=MappingProxyType(
        {
            "float32-island": "prior, first norm and phasor, measured: docs/which-vocoder.md",
            "axis-above-16384": "the last steps have one axis of samples; short inputs stay below",
            "dynamic-shapes": "a recording has any length, and one package serves all of them",
        }
    ),
)
