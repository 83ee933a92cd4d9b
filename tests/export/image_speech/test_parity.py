"""The joint loop in numpy and onnxruntime against diffusers' nets and scheduler in torch, on tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers

from edge_export.convert import export
from edge_runtime.pipelines.image_speech.pipeline import ImageSpeech, ImageSpeechResult

ROLES = ("image_unet", "audio_unet", "vae_decoder", "image_text", "audio_text")
PROMPTS = {"image": "a castle on a cliff, grayscale", "audio": "a bell rings"}
STEPS, GUIDANCE, WEIGHT, START, WIDTH, SEED = 10, 7.5, 0.5, 2, 64, 3
LATENTS_DB, PICTURE_DB = 90.0, 80.0


def psnr(truth: np.ndarray, found: np.ndarray) -> float:
    """dB below the largest value, as in the parity rule of ml-stable-diffusion."""
    error = float(np.sqrt(np.mean((truth.astype(np.float64) - found) ** 2)))
    return float(20 * np.log10((np.abs(truth).max() + 1e-5) / (error + 1e-10)))


@pytest.fixture(scope="module")
def bundles(tiny_diffusion: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Role → bundle; ONNX takes other sizes than that of its reference cases."""
    folder = tmp_path_factory.mktemp("parts")
    nets = {"unet": "sd-unet", "text": "clip-text", "decoder": "sd-vae-decoder"}
    for role in ROLES:
        model, _, kind = role.partition("_")
        size = {} if kind == "text" else {"height": 64, "width": 64}
        export(
            nets[kind], folder / role, targets=["onnx"], precisions=["fp32"], changes=size,
            checkpoint=tiny_diffusion / ("auffusion" if model == "audio" else "sd"),
        )  # fmt: skip
    return {role: folder / role for role in ROLES}


@pytest.fixture(scope="module")
def ours(bundles: dict[str, Any]) -> ImageSpeechResult:
    pipeline = ImageSpeech(
        **bundles, steps=STEPS, image_guidance=GUIDANCE, audio_guidance=GUIDANCE, audio_weight=WEIGHT,
        image_start_step=START, width=WIDTH, seed=SEED, iterations=1, threads=1,
    )  # fmt: skip
    return pipeline.process(PROMPTS["image"], PROMPTS["audio"])


def theirs(tiny: Path) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """(states of each model, latents, picture (3, H, W)) by diffusers and transformers."""
    library: Any = diffusers
    models = {"image": tiny / "sd", "audio": tiny / "auffusion"}
    states = {name: _states(folder, PROMPTS[name]) for name, folder in models.items()}
    nets = {n: library.UNet2DConditionModel.from_pretrained(f / "unet").eval() for n, f in models.items()}
    scheduler = library.DDIMScheduler.from_pretrained(
        models["image"] / "scheduler", clip_sample=False, set_alpha_to_one=False
    )
    scheduler.set_timesteps(STEPS)
    noise = np.random.default_rng(SEED).standard_normal((1, 4, 32, WIDTH // 8)).astype(np.float32)
    latents = torch.from_numpy(noise)
    for number, timestep in enumerate(scheduler.timesteps):
        found = {}
        for name, net in nets.items():
            without, with_prompt = net(torch.cat([latents] * 2), timestep, states[name]).sample.chunk(2)
            found[name] = without + GUIDANCE * (with_prompt - without)
        mixed = (1 - WEIGHT) * found["image"] + WEIGHT * found["audio"]
        latents = scheduler.step(mixed if number >= START else found["audio"], timestep, latents).prev_sample
    vae = library.AutoencoderKL.from_pretrained(models["image"] / "vae").eval()
    picture = (vae.decode(latents / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)[0]
    return {name: each.numpy() for name, each in states.items()}, latents.numpy(), picture.numpy()


def _states(folder: Path, prompt: str) -> torch.Tensor:
    library: Any = transformers
    tokenizer = library.CLIPTokenizer.from_pretrained(folder / "tokenizer")
    encoder = library.CLIPTextModel.from_pretrained(folder / "text_encoder").eval()
    tokens = tokenizer(
        ["", prompt], padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    )
    states: torch.Tensor = encoder(tokens.input_ids)[0]
    return states


def test_every_stage_is_that_of_diffusers(ours: ImageSpeechResult, tiny_diffusion: Path) -> None:
    with torch.inference_mode():
        states, latents, picture = theirs(tiny_diffusion)
    for name, told in (("image", ours.image), ("audio", ours.audio)):
        assert psnr(states[name], told.states) > 100
    figures = psnr(latents, ours.latents["joint"]), psnr(picture, ours.picture)
    assert figures[0] >= LATENTS_DB, figures
    assert figures[1] >= PICTURE_DB, figures
    assert picture.std() > 0.01, "something to compare"
    assert ours.samples.shape == (160 * WIDTH,)
