"""The joint loop against the formulas written out in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import small_diffusion

from edge_runtime.pipelines.image_speech.denoising import Call, Denoiser, denoise
from edge_runtime.pipelines.image_speech.nets import Unet
from edge_runtime.pipelines.image_speech.noise_schedule import NoiseSchedule, make_sampler
from edge_runtime.store.bundle import Lengths

EXECUTION: dict[str, Any] = {
    "backend": "onnxruntime", "device": "cpu", "threads": 1, "precision": "fp32",
}  # fmt: skip
STEPS, GUIDANCE = 6, {"image": 3.0, "audio": 1.5}


@pytest.fixture(scope="module")
def unets(parts: Path) -> dict[str, Unet]:
    return {name: Unet(parts / f"{name}_unet", EXECUTION) for name in ("image", "audio")}


def states_of(name: str) -> np.ndarray:
    seed = 5 if name == "image" else 6
    return np.random.default_rng(seed).normal(0.1, 1, (2, 77, small_diffusion.WIDTH)).astype(np.float32)


def start() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 4, 4, 6)).astype(np.float32)


def written_out(weight: float, first: dict[str, int]) -> np.ndarray:
    """Guidance, mixture and DDIM in float64, from the definitions."""
    shares = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
    latents = start().astype(np.float64)
    for number in range(STEPS):
        t = (STEPS - 1 - number) * (1000 // STEPS) + 1
        noises = {}
        for name in ("image", "audio"):
            if number >= first[name]:
                without, with_prompt = (
                    small_diffusion.GAINS[name] * latents + states_of(name)[row].mean() + t / 10000
                    for row in (0, 1)
                )
                noises[name] = without + GUIDANCE[name] * (with_prompt - without)
        if len(noises) == 2:
            noise = (1 - weight) * noises["image"] + weight * noises["audio"]
        else:
            (noise,) = noises.values()
        now, then = shares[t], shares[max(t - 1000 // STEPS, 0)]
        clean = (latents - np.sqrt(1 - now) * noise) / np.sqrt(now)
        latents = np.sqrt(then) * clean + np.sqrt(1 - then) * noise
    return latents


@pytest.mark.parametrize(
    ("weight", "first"),
    [
        (0.5, {"image": 0, "audio": 0}),
        (0.3, {"image": 2, "audio": 0}),
        (0.8, {"image": 0, "audio": 5}),
        (0.5, {"image": 99, "audio": 0}),
    ],
)
def test_two_models_denoise_the_same_latents(
    unets: dict[str, Unet], weight: float, first: dict[str, int]
) -> None:
    models = {
        name: Denoiser(
            unets[name],
            states_of(name),
            GUIDANCE[name],
            weight if name == "audio" else 1 - weight,
            first[name],
        )
        for name in unets
    }
    calls: list[Call] = []
    result = denoise(start(), make_sampler("ddim", NoiseSchedule(), STEPS), models, calls.append)
    np.testing.assert_allclose(result, written_out(weight, first), rtol=1e-4, atol=1e-4)
    assert result.dtype == np.float32
    assert [call.number for call in calls] == list(range(STEPS))
    assert [set(call.noises) for call in calls] == [
        {name for name in unets if number >= first[name]} for number in range(STEPS)
    ]
    np.testing.assert_array_equal(calls[-1].result, result)


def test_a_net_of_batch_one_gives_the_same(unets: dict[str, Unet], tmp_path: Path) -> None:
    single = small_diffusion.write_unet(tmp_path / "single", axes={"batch": Lengths(1, 1, (1,))})
    for states in (states_of("image"), states_of("audio")):
        given = start(), 501, states
        np.testing.assert_allclose(Unet(single, EXECUTION)(*given), unets["image"](*given), atol=1e-6)
        expected = small_diffusion.noise("image", start().repeat(2, axis=0), 501, states)
        np.testing.assert_allclose(unets["image"](*given), expected, atol=1e-5)
