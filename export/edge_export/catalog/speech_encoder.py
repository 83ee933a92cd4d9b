"""speech-encoder in the catalogue."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_export.catalog.dynamic_axes import Buckets
from edge_export.catalog.ecog_parameters import FRAMES, HOP, PARAMETERS, parameter_tensors, signature_of
from edge_export.catalog.gates import SPEECH, Gate
from edge_export.catalog.net import Arrays, Axes, Net, Trained
from edge_export.examples.speech import speech_like
from edge_runtime.dsp.mel import PRESETS, MelConfig, MelFrontEnd
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance

if TYPE_CHECKING:
    from edge_training.ecog_speech.speech_encoder import SpeechEncoderConfig

LOUDNESS = 0.0  # offset before softplus, of random weights
NAMES = ("female-256", "male-256", "male-512", "male-512-large")


_CODE: Trained[SpeechEncoderConfig] = Trained("speech-encoder")


def spectrogram_front_end(config: SpeechEncoderConfig) -> MelConfig:
    """Audio at 16 kHz → the spectrogram that the nets take, (bins, frames)."""
    n_fft = 2 * config.bins - 1
    return replace(
        PRESETS["ecog-256"],
        n_fft=n_fft,
        win_length=n_fft,
        n_mels=None,
        scale_from=(config.floor_db, config.top_db),
        clip=True,
    )


def _random_start(module: Any) -> None:
    """A loudness that can be heard: from next to silence, as training starts, precision tells nothing."""
    module.conv_loudness[-1].bias.data.fill_(LOUDNESS)


def _inputs(config: SpeechEncoderConfig) -> tuple[Tensor, ...]:
    limits = f"-1 is {config.floor_db:g} dB, 1 is {config.top_db:g} dB"
    return (
        Tensor(
            "spectrogram",
            "float32",
            ("batch", 1, FRAMES, config.bins),
            "power, 125 frames a second",
            limits,
        ),
        Tensor("gender", "float32", ("batch", 1), "the speaker's sex", "1 female, 0 male"),
    )


def _outputs(config: SpeechEncoderConfig) -> tuple[Tensor, ...]:
    background = Tensor("noisebg", "float32", ("batch", config.bins), "spectrum of the background", "share")
    smooth = Tensor(
        "spec_smooth",
        "float32",
        ("batch", config.bins, FRAMES),
        "smoothed along time",
        "as its input",
    )
    return (*parameter_tensors(tuple(PARAMETERS), FRAMES), background, smooth)


def _cases(config: SpeechEncoderConfig, axes: Axes) -> dict[str, Arrays]:  # noqa: ARG001  no axis has buckets
    audio = speech_like((FRAMES + 40) * HOP, 16000)[40 * HOP :]
    spectrogram = MelFrontEnd(spectrogram_front_end(config))(audio).T[None, None, :FRAMES]
    rows = np.ascontiguousarray(spectrogram, np.float32)
    return {
        sex: {"spectrogram": rows, "gender": np.full((1, 1), value, np.float32)}
        for sex, value in (("female", 1.0), ("male", 0.0))
    }


_NAMED: Any = SimpleNamespace(bins="bins", floor_db=-50.0, top_db=22.5)  # of the signature

NET: Net[SpeechEncoderConfig] = Net(
    name="speech-encoder",
    summary="spectrogram to the speech parameters that the formant synthesizer makes it from",
    signature=signature_of(_inputs(_NAMED), _outputs(_NAMED)),
    presets=NAMES,
    preset=_CODE.preset,
    config_from_json=_CODE.config_from_json,
    build=_CODE.build,
    inputs=_inputs,
    outputs=_outputs,
    front_end=spectrogram_front_end,
    geometry=lambda _: Geometry(HOP, None, None),
    # outputs are in Hz up to 8000; shares are held by the ratio
    unit=lambda _: 100.0,
    tolerance=MappingProxyType({"fp32": Tolerance(1e-3, 70.0), "fp16": Tolerance(2.0, 35.0)}),
    cases=_cases,
    random_start=_random_start,
    coreml_axes=MappingProxyType({"batch": Buckets((1,))}),
    justified=MappingProxyType(
        {
            "vanishing-constant": "a clamp at 1e-10 that acts on nothing: inputs of -1 and more are at least "
            "1e-6 of power",
        }
    ),
    gate=Gate("sound", "f0_hz", SPEECH, feed="spectrogram", through="synthesizer"),
)
