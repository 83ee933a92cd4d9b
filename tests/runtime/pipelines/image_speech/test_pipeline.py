"""Prompts to pictures that sound, on small nets whose numbers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import small_diffusion

from edge_runtime.errors import BackendError, BundleError, ConfigError
from edge_runtime.pipelines.image_speech.denoising import Call
from edge_runtime.pipelines.image_speech.imprint import imprint
from edge_runtime.pipelines.image_speech.picture import picture_to_mel
from edge_runtime.pipelines.image_speech.pipeline import ImageSpeech, grey_of
from edge_runtime.pipelines.image_speech.plan import Plan
from edge_runtime.store.bundle import Lengths

ROLES = ("image_unet", "audio_unet", "vae_decoder", "image_text", "audio_text")


def opened(parts: Path, *roles: str, **options: Any) -> ImageSpeech:
    """The pipeline, 64 columns wide, few steps, one iteration of Griffin-Lim."""
    bundles: dict[str, Any] = {role: parts / role for role in roles or ROLES}
    return ImageSpeech(**(bundles | {"width": 64, "steps": 4, "iterations": 1, "threads": 1} | options))


def test_every_stage_follows_from_the_one_before(parts: Path) -> None:
    pipeline = opened(parts)
    result = pipeline.process("a castle", "a bell")
    assert result.start.shape == result.latents["joint"].shape == (1, 4, 32, 8)
    np.testing.assert_array_equal(
        result.start, np.random.default_rng(0).standard_normal((1, 4, 32, 8)).astype(np.float32)
    )
    np.testing.assert_allclose(result.picture, small_diffusion.decoded(result.latents["joint"]), atol=1e-6)
    np.testing.assert_allclose(result.spectrogram, result.picture.mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(result.mel, picture_to_mel(result.spectrogram))
    assert result.samples.shape == (64 * 160,)
    assert np.abs(result.samples).max() <= 0.98 + 1e-6


def test_prompts_guide_each_model_by_its_own_encoder(parts: Path) -> None:
    pipeline = opened(parts)
    told = pipeline.condition("audio", "a bell")
    assert told.tokens is not None
    assert told.tokens[0].tolist() == [512, *[513] * 76]
    np.testing.assert_array_equal(told.states, 2 * small_diffusion.table()[told.tokens])
    assert pipeline.condition("audio", "a bell") is told, "each prompt is encoded once"
    first = pipeline.process("a castle", "a bell").latents["joint"]
    for prompts in (("a house", "a bell"), ("a castle", "a drum")):
        assert np.abs(pipeline.process(*prompts).latents["joint"] - first).max() > 1e-3


def test_the_same_seed_gives_the_same_picture(parts: Path) -> None:
    pipeline = opened(parts)
    first, again, other = (pipeline.process("a", "b", seed=seed).latents["joint"] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    np.testing.assert_array_equal(opened(parts, seed=3).process("a", "b").latents["joint"], first)


def test_every_option_reaches_the_plan(parts: Path) -> None:
    options: dict[str, Any] = {
        "scheduler": "pndm", "steps": 7, "image_guidance": 2.0, "audio_guidance": 3.0, "image_start_step": 0,
        "audio_start_step": 4, "audio_weight": 0.25, "width": 72, "crop_image": True, "seed": 5, "samples": 6,
        "colormap": "jet", "preview_every": 8,
    }  # fmt: skip
    plan = opened(parts, **options).plan
    assert {name: getattr(plan, name) for name in options} == options
    assert opened(parts, method="imprint", strength=0.3, cutoff_latent=True).plan == Plan(
        method="imprint", strength=0.3, cutoff_latent=True, width=64, steps=4
    )


def test_a_weight_of_one_hears_the_audio_model_alone(parts: Path) -> None:
    alone = opened(parts, audio_weight=1.0, image_start_step=0).process("a", "b").latents["joint"]
    never = opened(parts, image_start_step=4).process("a", "b").latents["joint"]
    np.testing.assert_allclose(never, alone, atol=1e-5)
    mixed = opened(parts, image_start_step=0).process("a", "b").latents["joint"]
    assert np.abs(mixed - alone).max() > 1e-2
    late = opened(parts, image_start_step=2).process("a", "b").latents["joint"]
    assert np.abs(late - alone).max() > 1e-2
    assert np.abs(late - mixed).max() > 1e-3


def test_imprint_denoises_twice_and_presses_one_into_the_other(parts: Path) -> None:
    result = opened(parts, method="imprint", strength=0.7).process("a", "b")
    apart = {
        "image": opened(parts, audio_weight=0.0, image_start_step=0).process("a", "b").latents["joint"],
        "audio": opened(parts, audio_weight=1.0, image_start_step=0).process("a", "b").latents["joint"],
    }
    pictures = {}
    for name, latents in apart.items():
        np.testing.assert_allclose(result.latents[name], latents, atol=1e-5)
        pictures[name] = small_diffusion.decoded(result.latents[name])
    np.testing.assert_allclose(result.picture, pictures["image"], atol=1e-6)
    expected = imprint(grey_of(pictures["audio"]), grey_of(pictures["image"]), 0.7)
    np.testing.assert_allclose(result.spectrogram, expected, atol=1e-5)


def test_cuts_drop_the_last_32_columns(parts: Path) -> None:
    whole = opened(parts).process("a", "b")
    for cut in ("cutoff_latent", "crop_image"):
        result = opened(parts, **{cut: True}).process("a", "b")
        assert result.picture.shape == (3, 256, 32)
        np.testing.assert_allclose(result.picture, whole.picture[..., :32], atol=1e-6)
        assert result.samples.size == 32 * 160


def test_the_expected_picture_at_the_last_step_is_nearly_the_last(parts: Path) -> None:
    pipeline = opened(parts, steps=20)
    seen: list[Call] = []
    result = pipeline.process("a", "b", tell=lambda call, _name: seen.append(call))
    assert len(seen) == pipeline.calls == 20
    assert np.abs(pipeline.expected(seen[-1]) - result.picture).mean() < 0.01
    assert np.abs(pipeline.expected(seen[0]) - result.picture).mean() > 0.02


def test_pndm_takes_one_call_more(parts: Path) -> None:
    ddim, pndm = opened(parts), opened(parts, scheduler="pndm")
    assert (ddim.calls, pndm.calls, opened(parts, method="imprint").calls) == (4, 5, 8)
    latents = [each.process("a", "b").latents["joint"] for each in (ddim, pndm)]
    assert np.abs(latents[0] - latents[1]).max() > 1e-3


def test_one_text_encoder_for_both_is_said(parts: Path) -> None:
    said: list[str] = []
    shared = opened(
        parts, *ROLES[:3], text=parts / "image_text", audio_text=None, image_text=None, progress=said.append
    )
    assert said == [f"one text encoder serves image and audio: {parts / 'image_text'}"]
    assert shared.texts["image"] is shared.texts["audio"]
    assert "audio_text" in shared.executed_by


def test_a_vocoder_speaks_in_place_of_griffin_lim(parts: Path, tmp_path: Path) -> None:
    vocoder = small_diffusion.write_vocoder(tmp_path / "vocoder")
    pipeline = opened(parts, vocoder=vocoder, iterations=None)
    result = pipeline.process("a castle", "a bell")
    samples = np.tanh(result.mel.T.astype(np.float64) @ small_diffusion.kernel()).reshape(-1)
    expected = samples * min(1, 0.98 / np.abs(samples).max())
    np.testing.assert_allclose(result.samples, expected, atol=1e-5)
    assert pipeline.executed_by["sound"].startswith("hifigan, onnxruntime")
    with pytest.raises(ConfigError, match="--iterations: got 1 beside a vocoder"):
        opened(parts, vocoder=vocoder)


def test_embeddings_in_place_of_audio_prompts(parts: Path, tmp_path: Path) -> None:
    adapter = small_diffusion.write_adapter(tmp_path / "adapter")
    pipeline = opened(parts, *ROLES[:4], phoneme_adapter=adapter)
    embedding = np.arange(small_diffusion.DIM, dtype=np.float32)
    result = pipeline.process("a castle", embedding)
    assert result.audio.tokens is None
    assert not result.audio.states[0].any(), "zeros stand for no prompt"
    np.testing.assert_allclose(result.audio.states[1, 5], embedding @ small_diffusion.projection(), atol=1e-5)
    with pytest.raises(
        ConfigError, match="got none for audio_text, expected it for --audio-prompt; --bundle"
    ):
        pipeline.process("a castle", "a bell")


def test_missing_bundles_are_named(parts: Path) -> None:
    with pytest.raises(ConfigError, match=r"got none for image_text.*image_text=DIR.*text=DIR one that serv"):
        opened(parts, *ROLES[:3])
    with pytest.raises(ConfigError, match="got none for audio_text"):
        opened(parts, *ROLES[:4])
    with pytest.raises(ConfigError, match="got none for phoneme_adapter, expected it for embeddings of phon"):
        opened(parts).process("a", np.zeros(5, np.float32))
    with pytest.raises(ConfigError, match="--bundle text: got it beside image_text and audio_text"):
        opened(parts, text=parts / "image_text")


def test_impossible_options_are_refused(parts: Path, tmp_path: Path) -> None:
    halving = small_diffusion.write_unet(tmp_path / "halving", axes={"width": Lengths(2, step=2)})
    with pytest.raises(ConfigError, match="--height: got 248, expected 256, a row for each band"):
        opened(parts, height=248)
    with pytest.raises(
        ConfigError, match="--width: got 1000, expected a multiple of 16, 16 or more; nearest"
    ):
        opened(parts, width=1000, image_unet=halving)
    with pytest.raises(ConfigError, match="--steps: got 1000, expected 1 to 999"):
        opened(parts, steps=1000)
    with pytest.raises(ConfigError, match="--prompt-index: got '3,x', expected numbers of rows from 0"):
        opened(parts, prompt_index="3,x")
    with pytest.raises(
        ConfigError, match="--rank: got no model to rank with, expected --clip DIR, --clap DIR"
    ):
        opened(parts, rank=True)
    with pytest.raises(ConfigError, match="--clip and --clap: got one without --rank"):
        opened(parts, clip=tmp_path)
    with pytest.raises(BackendError, match="ranking: got the runtime alone"):
        opened(parts, rank=True, clip=tmp_path)
    wide = small_diffusion.write_unet(tmp_path / "wide", width=9)
    with pytest.raises(BundleError, match="wide: cross attention: got a width of 9"):
        opened(parts, image_unet=wide)
    adapter = small_diffusion.write_adapter(tmp_path / "adapter")
    with pytest.raises(BundleError, match="wide: cross attention: got a width of 9"):
        opened(parts, *ROLES[:4], phoneme_adapter=adapter, audio_unet=wide)
