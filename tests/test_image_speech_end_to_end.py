"""From words to sound on tiny models: recordings, LoRA, export, verification, prompts, a wav of 10.24 s."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_export.__main__ import main
from edge_export.image_speech.bundles import export_image_speech, holds_parts
from edge_export.proof.verify import verify
from edge_runtime.errors import TargetError
from edge_runtime.media.audio import read_audio
from edge_runtime.store.bundle import open_bundle
from edge_training.image_speech.libraries import library
from edge_training.image_speech.lora import add_lora, load_lora, read_lora

SENTENCE = Path(__file__).parents[1] / "export" / "edge_export" / "assets" / "sentence.wav"


def open_unet(model: Path) -> Any:
    return library("diffusers").UNet2DConditionModel.from_pretrained(model / "unet").eval()


@pytest.fixture(scope="module")
def run(tiny_diffusion: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA after one large step on one recording, by the two commands."""
    place = tmp_path_factory.mktemp("lora")
    (place / "recordings").mkdir()
    shutil.copy(SENTENCE, place / "recordings" / "a.wav")
    (place / "recordings" / "a.txt").write_text("hello\n")
    given = ["--audio", str(place / "recordings"), "--stretch", "1"]
    assert main(["data", "image-speech", "--out", str(place / "data"), *given]) == 0
    given = [
        "--data",
        str(place / "data"),
        "--auffusion",
        str(tiny_diffusion / "auffusion"),
        "--devices",
        "1",
    ]
    for setting in ("batch_size=1", "validation_clips=0", "learning_rate=0.05", "rank=4"):
        given += ["--set", setting]
    assert main(["train", "image-speech", "--out", str(place / "run"), "--steps", "1", *given]) == 0
    return place / "run"


@pytest.fixture(scope="module")
def bundles(tiny_diffusion: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles by role, by the command; the audio model's UNet with the LoRA."""
    place = tmp_path_factory.mktemp("bundles") / "parts"
    given = ["--sd", str(tiny_diffusion / "sd"), "--auffusion", str(tiny_diffusion / "auffusion")]
    given += ["--lora", str(run / "checkpoints"), "--out", str(place), "--target", "onnx"]
    # ONNX takes any size; reference cases are of a small one
    assert main(["export", "image-speech", *given, "--precision", "fp32", "--set", "width=128"]) == 0
    return place


def test_the_exported_net_is_the_trained_one(bundles: Path, tiny_diffusion: Path, run: Path) -> None:
    assert verify(bundles / "audio_unet", backends=["onnxruntime"]).passed
    wrapped = open_unet(tiny_diffusion / "auffusion")
    lora = read_lora(run / "checkpoints" / "lora.pt")
    (rank,) = lora.ranks
    add_lora(wrapped, rank=rank, alpha=16.0)
    inputs = [
        torch.from_numpy(np.load(bundles / "audio_unet" / "reference" / "early" / f"{name}.npy"))
        for name in ("sample", "timestep", "encoder_hidden_states")
    ]
    exported = np.load(bundles / "audio_unet" / "reference" / "early" / "noise_pred.npy")
    with torch.no_grad():
        plain = wrapped(*inputs).sample.numpy()
        load_lora(wrapped, lora)
        trained = wrapped(*inputs).sample.numpy()
    assert np.abs(trained - plain).max() > 0.01
    np.testing.assert_allclose(exported, trained, atol=2e-6)


def test_the_parts_lie_by_role(bundles: Path, tiny_diffusion: Path) -> None:
    parts = ["audio_text", "audio_unet", "image_text", "image_unet", "vae_decoder", "vae_encoder", "vocoder"]
    assert sorted(entry.name for entry in bundles.iterdir()) == parts
    [said] = [
        sentence
        for sentence in open_bundle(bundles / "audio_unet").manifest.source.said
        if sentence.startswith("LoRA")
    ]
    assert said == "LoRA adapter_model.safetensors merged: 40 layers of rank 4"
    assert holds_parts(bundles)
    with pytest.raises(TargetError, match="does not exist yet"):
        export_image_speech(tiny_diffusion / "sd", tiny_diffusion / "auffusion", bundles)


def test_two_prompts_become_ten_seconds_of_sound(bundles: Path, tmp_path: Path) -> None:
    given = ["--image-prompt", "a cat", "--audio-prompt", "hello", "--steps", "1"]
    assert (
        main(["run", "image-speech", *given, "--bundle", str(bundles), "--out", str(tmp_path / "out")]) == 0
    )
    [wav] = (tmp_path / "out").rglob("*.wav")
    sound = read_audio(wav)
    assert (len(sound.samples), sound.sample_rate) == (163840, 16000)
    assert np.abs(sound.samples).max() > 0
