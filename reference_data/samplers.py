"""Goldens of the samplers of image-speech; part of generate.py, which writes them.

As there, nothing here imports the code under test: shares of the signal, timesteps and steps are diffusers',
with the schedule of Stable Diffusion 1. A formula stands for the net: the noise of call k in latents x is
0.6 x + 0.5 own_k.

    samplers/shares.npy               (1000,) float32: a_t of every timestep
    samplers/start.npy                (1, 4, 4, 6) float32: latents before the first call
    samplers/own.npy                  (51, 1, 4, 4, 6) float32: own_k of every call
    samplers/NAME_STEPS/timesteps.npy (calls,) int64
                       /latents.npy   (calls, 1, 4, 4, 6) float32: after each call
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from diffusers import schedulers
from numpy.typing import NDArray
from tests import closed_form

Array = NDArray[Any]
Arrays = Iterator[tuple[str, Array, str]]  # path, array, how it was made

THEIRS: Any = schedulers  # it has no types
SCHEDULE: dict[str, Any] = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "steps_offset": 1, "set_alpha_to_one": False, "prediction_type": "epsilon",
}  # fmt: skip
SHAPE = 1, 4, 4, 6
STEPS = 1, 2, 3, 4, 7, 20, 50
MOST_CALLS = max(STEPS) + 1


def deviates(name: str, shape: tuple[int, ...]) -> Array:
    """Numbers of deviation 1 by the formula of closed_form: those of ±sqrt(3)."""
    values: Array = closed_form.uniform(name, int(np.prod(shape))) * 3**0.5
    return values.astype(np.float32).reshape(shape)


def noise_of(latents: Array, own: Array) -> Array:
    """Stands for a net."""
    return np.asarray(np.float32(0.6) * latents + np.float32(0.5) * own, np.float32)


def scheduler(name: str) -> Any:
    if name == "ddim":
        return THEIRS.DDIMScheduler(**SCHEDULE, clip_sample=False)  # it clips if it is not told
    return THEIRS.PNDMScheduler(**SCHEDULE, skip_prk_steps=True)


def arrays() -> Arrays:
    made = "diffusers float32"
    start, own = deviates("samplers/start", SHAPE), deviates("samplers/own", (MOST_CALLS, *SHAPE))
    yield "samplers/shares.npy", scheduler("ddim").alphas_cumprod.numpy(), made
    yield "samplers/start.npy", start, "formula"
    yield "samplers/own.npy", own, "formula"
    for name in ("ddim", "pndm"):
        for steps in STEPS:
            theirs = scheduler(name)
            theirs.set_timesteps(steps)
            latents, walked = start, []
            for call, timestep in enumerate(theirs.timesteps):
                noise = torch.from_numpy(noise_of(latents, own[call]))
                latents = theirs.step(noise, timestep, torch.from_numpy(latents)).prev_sample.numpy()
                walked.append(latents)
            yield f"samplers/{name}_{steps}/timesteps.npy", theirs.timesteps.numpy().astype(np.int64), made
            yield f"samplers/{name}_{steps}/latents.npy", np.stack(walked), made
