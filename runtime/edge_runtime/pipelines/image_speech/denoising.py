"""From noise to latents: one loop for one model, or for two that denoise the same latents.

    e_model = without + guidance · (with − without)        classifier-free guidance, each model's own
    e       = (1 − weight) · e_image + weight · e_audio    where both are active, else the active one's
    latents ← sampler                                      see `noise_schedule`

A model is active from its start step on: for its first steps the sound lays out the picture alone, so that it
is not painted over what must be silent.

Sources: Ho and Salimans, Classifier-Free Diffusion Guidance, 2022; Chen and others, Images that Sound, 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_runtime.pipelines.image_speech.nets import Unet
from edge_runtime.pipelines.image_speech.noise_schedule import Sampler

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Denoiser:
    """A model with its condition."""

    unet: Unet
    states: Floats  # (2, n, width): without and with the prompt
    guidance: float
    weight: float  # of its noise, where several are active
    first: int = 0  # number of the call from which on it is active

    def noise(self, latents: Floats, timestep: int) -> Floats:
        """The noise in latents (1, C, h, w), by both predictions."""
        without, with_prompt = self.unet(latents, timestep, self.states)
        return np.asarray(without + np.float32(self.guidance) * (with_prompt - without), np.float32)[None]


@dataclass(frozen=True, eq=False)
class Call:
    """One call of the sampler."""

    number: int
    timestep: int
    latents: Floats  # (1, C, h, w) before it
    noises: Mapping[str, Floats]  # of each active model by name
    noise: Floats  # their sum
    result: Floats  # latents after it


def denoise(
    latents: Floats,
    sampler: Sampler,
    models: Mapping[str, Denoiser],
    tell: Callable[[Call], object] = lambda _call: None,
) -> Floats:
    """Latents (1, C, h, w) of noise of that shape.

    Args:
        latents: noise, of deviation 1.
        sampler: a new one.
        models: name → model; at least one of them is active in every call.
        tell: is told of every call.
    """
    for number, timestep in enumerate(sampler.timesteps):
        active = {name: model for name, model in models.items() if number >= model.first}
        noises = {name: model.noise(latents, timestep) for name, model in active.items()}
        noise = _mixed(noises, active)
        result = sampler.step(number, latents, noise)
        tell(Call(number, timestep, latents, noises, noise, result))
        latents = result
    return latents


def _mixed(noises: Mapping[str, Floats], models: Mapping[str, Denoiser]) -> Floats:
    if len(noises) == 1:
        return next(iter(noises.values()))
    weighted = [np.float32(models[name].weight) * noise for name, noise in noises.items()]
    return np.asarray(sum(weighted), np.float32)
