"""The reference pack of `image-speech`: every stage of a few steps, for developers of a port."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError
from edge_runtime.media.audio import write_wav
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.bundle_net import BundleNet
from edge_runtime.pipelines.image_speech.batch import plan_jobs
from edge_runtime.pipelines.image_speech.denoising import Call
from edge_runtime.pipelines.image_speech.picture import BRIGHTEST, DARKEST
from edge_runtime.pipelines.image_speech.pipeline import Condition, ImageSpeech, ImageSpeechResult

STEPS = 3  # where the caller asks for no number
TOLERANCE = 1e-3  # what `edge-export check` allows by default, in the unit of each array

_DESCRIPTION = (
    "Every stage from two prompts to a picture that is also speech. A port that starts from both prompts and "
    "latents_000.npy and writes arrays of the same names can be checked number by number: `edge-export check "
    "THIS_FOLDER YOUR_FOLDER`. All arrays are numpy .npy files, little-endian, C order."
)


def write_pack(
    pipeline: ImageSpeech,
    folder: Path,
    image_prompt: tuple[str, ...],
    audio_prompt: tuple[str, ...],
    phoneme_npz: Path | None,
) -> None:
    """Fill a folder with every stage of one picture; three steps where the pipeline was given no number.

    Raises:
        ConfigError: several prompts, or several samples.
    """
    plan = pipeline.plan
    jobs = plan_jobs(
        image_prompt, audio_prompt, phoneme_npz, rows=pipeline.rows, samples=plan.samples, seed=plan.seed
    )
    if len(jobs) != 1:
        raise ConfigError(
            "reference pack", got=f"{len(jobs)} pictures", expected="one: a prompt of each kind, one sample"
        )
    made_by = pipeline.with_steps(plan.steps or STEPS)
    calls: list[tuple[str, Call]] = []
    result = made_by.process(
        jobs[0].image_prompt, jobs[0].heard, tell=lambda call, name: calls.append((name, call))
    )
    arrays = _stages(result, calls)
    if not isinstance(jobs[0].heard, str):
        arrays["embedding"] = jobs[0].heard
    for stage, values in arrays.items():
        np.save(folder / f"{stage}.npy", values)
    write_wav(folder / "generated.wav", result.samples, made_by.sample_rate)
    pack.write_json(
        folder / "metadata.json",
        {
            "image_prompt": jobs[0].image_prompt,
            "audio_prompt": jobs[0].audio_prompt,
            "timesteps": [call.timestep for _, call in calls],
            "plan": asdict(made_by.plan) | {f"{n}_start_step": s for n, s in made_by.plan.starts.items()},
            "sample_rate": made_by.sample_rate,
            "arrays": {
                stage: {
                    "shape": list(values.shape),
                    "value_range": [float(values.min()), float(values.max())],
                }
                for stage, values in arrays.items()
            },
        },
    )
    _write_instructions(folder, arrays, made_by)


def _stages(result: ImageSpeechResult, calls: list[tuple[str, Call]]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    conditions: Mapping[str, Condition] = {"image": result.image, "audio": result.audio}
    for name, condition in conditions.items():
        if condition.tokens is not None:
            arrays[f"{name}_tokens"] = condition.tokens
        arrays[f"{name}_states"] = condition.states
    arrays["latents_000"] = result.start
    for name, call in calls:
        own = "" if name == "joint" else f"{name}_"
        arrays[f"{own}latents_{call.number + 1:03d}"] = call.result
        for model, noise in call.noises.items():
            arrays[f"{model}_noise_{call.number:03d}"] = noise
    arrays["picture"], arrays["spectrogram"] = result.picture, result.spectrogram
    arrays["mel"], arrays["wav"] = result.mel, result.samples
    return arrays


def _write_instructions(folder: Path, arrays: Mapping[str, NDArray[Any]], made_by: ImageSpeech) -> None:
    plan, schedule = made_by.plan, made_by.unets["image"].schedule
    steps = [
        'Tokens: the prompt "" in row 0, the prompt in row 1; compare with image_ and audio_tokens.npy.',
        "Text encoders (or the phoneme adapter, of zeros in row 0, embedding.npy in row 1): *_states.npy.",
        "Start from latents_000.npy: it is numpy.random.default_rng(seed).standard_normal, as float32.",
        "Noise of each model in each call: without + guidance * (with - without), of the rows of its states; "
        f"guidance {plan.image_guidance:g} and {plan.audio_guidance:g}; compare with *_noise_NNN.npy.",
        f"One noise, {1 - plan.audio_weight:g} * image + {plan.audio_weight:g} * audio where both are there; "
        f"{plan.scheduler} from a timestep to the next (metadata.json); compare with latents_NNN.npy. "
        f"Betas: linspace(sqrt({schedule.beta_start:g}), sqrt({schedule.beta_end:g}), "
        f"{schedule.num_train_timesteps})^2, float32.",
        f"Divide the last latents by {made_by.vae.scaling:g}, decode, x / 2 + 0.5, clip: picture.npy.",
        "The mean of its channels is spectrogram.npy; rows in reverse, "
        f"{DARKEST:.6f} + {BRIGHTEST - DARKEST:.6f} * it is mel.npy.",
        f"Sound: {made_by.speaker.detail}; scaled to a peak of 0.98 if above; compare with wav.npy.",
        "Keep the largest absolute difference at or below 1e-3, as `edge-export check` does.",
    ]
    if plan.method == "imprint":
        steps[4] = (
            "Each model by itself, from the same noise: image_latents_NNN.npy and audio_latents_NNN.npy."
        )
        steps[6] = (
            "spectrogram.npy is the audio model's grey mean times (1 - "
            f"{plan.darkening:g} * (1 - that of picture.npy)). " + steps[6]
        )
    files = {f"{stage}.npy": f"{values.shape} {values.dtype}" for stage, values in arrays.items()}
    files |= {"generated.wav": "wav.npy as a 16-bit file", "metadata.json": "settings, shapes, value ranges"}
    pack.write_instructions(
        folder,
        "the pipeline from two prompts to a picture that is also speech",
        _DESCRIPTION,
        steps,
        files,
        {stage: {"shape": list(values.shape)} for stage, values in arrays.items()}
        | {"numerical_tolerance": TOLERANCE},
        {role: _provenance(net) for role, net in _nets(made_by).items()} | {"sound": made_by.speaker.detail},
    )


def _nets(made_by: ImageSpeech) -> dict[str, BundleNet]:
    vocoder = made_by.speaker.vocoder
    return made_by.nets | ({"vocoder": vocoder.net} if vocoder is not None else {})


def _provenance(net: BundleNet) -> dict[str, Any]:
    return pack.provenance(net.manifest, net.detail, net.precision)
