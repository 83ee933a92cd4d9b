"""formant-synthesizer in the catalogue."""

from __future__ import annotations

from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_export.catalog.dynamic_axes import Buckets
from edge_export.catalog.ecog_parameters import (
    FRAMES,
    HOP,
    READ,
    example_parameters,
    parameter_tensors,
    signature_of,
)
from edge_export.catalog.gates import SPEECH, Gate
from edge_export.catalog.net import Arrays, Axes, Net, Trained
from edge_export.examples.speech import noise
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance

if TYPE_CHECKING:
    from torch import nn

    from edge_training.ecog_speech.formant_synthesizer import FormantSynthesizerConfig

SAMPLES = FRAMES * HOP
NAMES = ("learned-256", "learned-512", "gaussian-256", "gaussian-512", "dummy-256", "background-256")
QUIET = 1e-4  # power of the background in cases


_CODE: Trained[FormantSynthesizerConfig] = Trained("formant-synthesizer")


def _random_start(module: nn.Module) -> None:
    """Prototypes of the filters that are no triangles, as training leaves them."""
    from edge_training.ecog_speech.formant_masks import Prototype

    for part in module.modules():
        if isinstance(part, Prototype):
            part.x.data.normal_()


def _inputs(config: FormantSynthesizerConfig) -> tuple[Tensor, ...]:
    source = "of the recording" if config.background_from_data else "as the encoder gives it (noisebg)"
    return (
        *parameter_tensors(READ, FRAMES),
        Tensor("background", "float32", ("batch", config.bins), f"background noise {source}", "power"),
        Tensor(
            "noise", "float32", (1, 1, SAMPLES), "random numbers, uniform in 0 … 1: the unvoiced source", "1"
        ),
        Tensor(
            "background_noise", "float32", (1, 1, SAMPLES), "random numbers, Gaussian: the background", "1"
        ),
        Tensor(
            "phase", "float32", (1, config.bins, FRAMES), "random numbers: phases of unvoiced sound", "turns"
        ),
    )


def _outputs(config: FormantSynthesizerConfig) -> tuple[Tensor, ...]:
    limits = f"-1 is {config.floor_db:g} dB, 1 is {config.top_db:g} dB"
    return (
        Tensor(
            "spectrogram",
            "float32",
            ("batch", 1, FRAMES, config.bins),
            "power, 125 frames a second",
            limits,
        ),
        Tensor(
            "wave", "float32", ("batch", 1, SAMPLES), "speech without background at 16 kHz", "full scale ±1"
        ),
    )


def _cases(config: FormantSynthesizerConfig, axes: Axes) -> dict[str, Arrays]:  # noqa: ARG001  no axis has buckets
    uniform = (noise(2 * SAMPLES + config.bins * FRAMES) + 1) / 2
    first, second, phase = np.split(uniform, [SAMPLES, 2 * SAMPLES])
    # Box and Muller's normal numbers from uniform ones
    normal = np.sqrt(-2 * np.log(np.maximum(second, 1e-9))) * np.cos(2 * np.pi * first)
    slope = np.exp(-np.arange(config.bins) / (config.bins / 4))
    arrays = example_parameters() | {
        "background": (QUIET * slope)[None],
        "noise": first[None, None],
        "background_noise": normal[None, None],
        "phase": phase.reshape(1, config.bins, FRAMES),
    }
    voiced = {name: array.astype(np.float32) for name, array in arrays.items()}
    whispered = np.full_like(voiced["amplitudes"], 0.02)
    whispered[:, 1] = 0.98
    return {"gliding-voice": voiced, "whisper": voiced | {"amplitudes": whispered}}


_NAMED: Any = SimpleNamespace(
    bins="bins", floor_db=-50.0, top_db=22.5, background_from_data=True
)  # of the signature

NET: Net[FormantSynthesizerConfig] = Net(
    name="formant-synthesizer",
    summary="speech parameters to a spectrogram and a waveform: sources behind formant filters",
    signature=signature_of(_inputs(_NAMED), _outputs(_NAMED)),
    presets=NAMES,
    preset=_CODE.preset,
    config_from_json=_CODE.config_from_json,
    build=_CODE.build,
    inputs=_inputs,
    outputs=_outputs,
    front_end=lambda _: None,
    geometry=lambda _: Geometry(HOP, None, None),
    # in float16 the weights alone are halved: a phase in half precision is noise
    tolerance=MappingProxyType({"fp32": Tolerance(1e-3, 70.0), "fp16": Tolerance(0.1, 45.0)}),
    cases=_cases,
    coreml_axes=MappingProxyType({"batch": Buckets((1,))}),
    random_start=_random_start,
    half="weights",
    gate=Gate("sound", "wave", SPEECH, case="gliding-voice"),
)
