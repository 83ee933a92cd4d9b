"""Samplers in numpy against diffusers', and the numbers of the schedule against published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import schedulers

from edge_runtime.errors import BundleError, ConfigError
from edge_runtime.pipelines.image_speech.noise_schedule import NoiseSchedule, make_sampler, schedule_of

THEIRS: Any = schedulers  # it has no types
STABLE_DIFFUSION: dict[str, Any] = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "steps_offset": 1, "set_alpha_to_one": False, "prediction_type": "epsilon",
}  # fmt: skip
SHAPE = 1, 4, 4, 6
GOLDENS = Path(__file__).resolve().parents[4] / "reference_data" / "samplers"


def noise_of(latents: np.ndarray, number: int) -> np.ndarray:
    """Stands for a net: some of the latents, and something of its own in each call."""
    own = np.random.default_rng(100 + number).standard_normal(latents.shape).astype(np.float32)
    return np.asarray(np.float32(0.6) * latents + np.float32(0.5) * own, np.float32)


def walk(name: str, steps: int, **changes: Any) -> tuple[list[int], np.ndarray]:
    """Timesteps and final latents of ours."""
    sampler = make_sampler(name, NoiseSchedule.from_config(STABLE_DIFFUSION | changes), steps)
    latents = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    for number in range(len(sampler.timesteps)):
        latents = sampler.step(number, latents, noise_of(latents, number))
    return sampler.timesteps, latents


def walk_theirs(scheduler: Any, steps: int) -> tuple[list[int], np.ndarray]:
    """The same by diffusers."""
    scheduler.set_timesteps(steps)
    latents = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    for number, timestep in enumerate(scheduler.timesteps):
        noise = torch.from_numpy(noise_of(latents, number))
        latents = scheduler.step(noise, timestep, torch.from_numpy(latents)).prev_sample.numpy()
    return [int(timestep) for timestep in scheduler.timesteps], latents


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference, of the largest value."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("changes", [{}, {"set_alpha_to_one": True}, {"steps_offset": 0}, {"beta_end": 0.02}])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20, 50])
@pytest.mark.parametrize("name", ["ddim", "pndm"])
def test_samplers_give_the_numbers_of_diffusers(name: str, steps: int, changes: dict[str, Any]) -> None:
    config = STABLE_DIFFUSION | changes
    theirs = (
        THEIRS.DDIMScheduler(**config, clip_sample=False)
        if name == "ddim"
        else THEIRS.PNDMScheduler(**config, skip_prk_steps=True)
    )
    assert not theirs.config.get("clip_sample", False)
    timesteps, latents = walk(name, steps, **changes)
    expected_timesteps, expected = walk_theirs(theirs, steps)
    assert timesteps == expected_timesteps
    assert distance(latents, expected) < 1e-5


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 20, 50])
@pytest.mark.parametrize("name", ["ddim", "pndm"])
def test_samplers_give_the_golden_latents(name: str, steps: int) -> None:
    latents, own = np.load(GOLDENS / "start.npy"), np.load(GOLDENS / "own.npy")
    expected = np.load(GOLDENS / f"{name}_{steps}" / "latents.npy")
    sampler = make_sampler(name, NoiseSchedule(), steps)
    assert sampler.timesteps == np.load(GOLDENS / f"{name}_{steps}" / "timesteps.npy").tolist()
    for number, truth in enumerate(expected):
        noise = np.asarray(np.float32(0.6) * latents + np.float32(0.5) * own[number], np.float32)
        latents = sampler.step(number, latents, noise)
        assert distance(latents, truth) < 1e-5


def test_numbers_of_the_schedule() -> None:
    schedule = NoiseSchedule()
    anchors = {
        0: 0.99914998,
        1: 0.99829602,
        501: 0.27499893,
        961: 0.00728171,
        981: 0.00577549,
        999: 0.00466009,
    }
    for timestep, share in anchors.items():
        assert schedule.share(timestep) == pytest.approx(share, rel=2e-6)
    assert schedule.timesteps(50)[:2] == [981, 961]
    assert (schedule.timesteps(50)[-1], schedule.timesteps(100)[0]) == (1, 991)


@pytest.mark.parametrize(
    ("start", "to", "of_latents", "of_noise"),
    [(981, 961, 1.12285172, -0.12325202), (1, -19, 1.00042762, -0.01214178)],
)
def test_numbers_of_a_step(start: int, to: int, of_latents: float, of_noise: float) -> None:
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    schedule = NoiseSchedule()
    assert schedule.move(one, zero, start, to)[0] == pytest.approx(of_latents, rel=1e-6)
    assert schedule.move(zero, one, start, to)[0] == pytest.approx(of_noise, abs=2e-7)


def test_diffusers_clips_where_its_configuration_does_not_forbid_it() -> None:
    # the trap: a configuration that PNDM wrote says nothing of clip_sample, and DDIM's default is to clip
    written = dict(THEIRS.PNDMScheduler(**STABLE_DIFFUSION, skip_prk_steps=True).config)
    assert "clip_sample" not in written
    careless = THEIRS.DDIMScheduler.from_config(written)
    assert careless.config.clip_sample
    _, ours = walk("ddim", 20)
    _, clipped = walk_theirs(careless, 20)
    assert distance(ours, clipped) > 0.1, "ours does not clip"
    _, alpha_to_one = walk("ddim", 20, set_alpha_to_one=True)
    _, no_offset = walk("ddim", 20, steps_offset=0)
    assert distance(alpha_to_one, ours) > 1e-3
    assert distance(no_offset, ours) > 1e-3


def test_the_clean_picture_is_what_a_step_to_no_noise_gives() -> None:
    schedule = NoiseSchedule(set_alpha_to_one=True)
    latents = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)
    noise = noise_of(latents, 0)
    assert distance(schedule.clean(latents, noise, 501), schedule.move(latents, noise, 501, -1)) < 1e-5


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"beta_schedule": "linear"}, "beta_schedule: got 'linear', expected 'scaled_linear'; other kinds"),
        ({"prediction_type": "v_prediction"}, "prediction_type: got 'v_prediction', expected 'epsilon'"),
        ({"timestep_spacing": "trailing"}, "timestep_spacing: got 'trailing', expected 'leading'"),
        ({"clip_sample": True}, "clip_sample: got True, expected False"),
        ({"trained_betas": [0.1]}, "trained_betas: got a list, expected none"),
        ({"beta_end": 2}, "beta_start and beta_end: got 0.00085 and 2, expected 0 < beta_start"),
        ({"steps_offset": 1000}, "steps_offset: got 1000, expected 0 or 1"),
        ({"num_train_timesteps": 0}, "num_train_timesteps: got 0, expected 1 to"),
        ({"num_train_timesteps": "many"}, "num_train_timesteps: got 'many', expected int"),
    ],
)
def test_other_schedules_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        NoiseSchedule.from_config(STABLE_DIFFUSION | changes)
    with pytest.raises(BundleError, match=f"unet: {sentence}"):
        schedule_of("unet", STABLE_DIFFUSION | changes)


def test_impossible_steps_are_refused() -> None:
    for steps in (0, 1000):
        with pytest.raises(ConfigError, match=f"--steps: got {steps}, expected 1 to 999"):
            make_sampler("ddim", NoiseSchedule(), steps)
    with pytest.raises(ConfigError, match="--scheduler: got 'euler', expected ddim or pndm"):
        make_sampler("euler", NoiseSchedule(), 3)
