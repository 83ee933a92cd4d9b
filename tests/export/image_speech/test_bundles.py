"""Parts of two models together: found, held against each other, written whole or not at all."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from edge_export.__main__ import main
from edge_export.image_speech.bundles import ROLES, check_vaes, export_image_speech, find_parts, holds_parts
from edge_runtime.errors import CheckpointError, ConfigError
from edge_training.image_speech.libraries import library


def test_each_role_has_its_weights(tiny_diffusion: Path) -> None:
    parts = find_parts(tiny_diffusion / "sd", tiny_diffusion / "auffusion", "lora.pt", "adapter.pt")
    assert tuple(parts) == ROLES
    assert parts["image_unet"].checkpoint.parts[-3:] == ("sd", "unet", "diffusion_pytorch_model.safetensors")
    assert (parts["audio_unet"].lora, parts["image_unet"].lora) == ("lora.pt", None)
    assert parts["vocoder"].checkpoint.name == "vocoder.pt"
    with pytest.raises(CheckpointError, match=r"vocoder: got no such folder beside model_index\.json"):
        find_parts(tiny_diffusion / "sd", tiny_diffusion / "sd")


@pytest.mark.parametrize(
    "name", ["unet/config.json", "scheduler/scheduler_config.json", "tokenizer/merges.txt", "vae/config.json"]
)
def test_what_is_missing_beside_weights_is_said_first(
    tiny_diffusion: Path, tmp_path: Path, name: str
) -> None:
    """The part's own refusal came after minutes, and advised options that `export image-speech` has not."""
    shutil.copytree(tiny_diffusion / "sd", tmp_path / "sd")
    (tmp_path / "sd" / name).unlink()
    with pytest.raises(CheckpointError, match=rf"{re.escape(name)}: got no such file, .* downloaded in part"):
        find_parts(tmp_path / "sd", tiny_diffusion / "auffusion")


def test_vaes_may_differ_by_half_precision_alone(tiny_diffusion: Path, tmp_path: Path) -> None:
    torch_files: Any = library("safetensors.torch")
    [vae] = (tiny_diffusion / "sd" / "vae").glob("*.safetensors")
    weights = torch_files.load_file(vae)
    half = tmp_path / "half.safetensors"
    torch_files.save_file({name: value.half() for name, value in weights.items()}, half)
    check_vaes(vae, half)
    weights["decoder.conv_in.weight"] = weights["decoder.conv_in.weight"] * 1.01
    torch_files.save_file(weights, half)
    with pytest.raises(ConfigError, match=r"got another decoder\.conv_in\.weight, .*latents of one VAE"):
        check_vaes(vae, half)


def test_a_picture_of_other_rows_than_the_vocoder_is_refused_whole(
    tiny_diffusion: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    with pytest.raises(
        ConfigError, match="height: got 100, expected 256, a row for each band of the model's"
    ):
        export_image_speech(
            tiny_diffusion / "sd", tiny_diffusion / "auffusion", tmp_path / "out", height=100, width=64,
            targets=["onnx"], precisions=["int8"], progress=lines.append,
        )  # fmt: skip
    assert not (tmp_path / "out").exists()
    assert not any("unet" in line or "vae" in line for line in lines), "the largest parts come last"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["image-speech", "--sd", "x"], "--auffusion: got nothing"),
        (["image-speech", "--sd", "x", "--auffusion", "y", "--random", "1"], "--random: got 1"),
        (["image-speech", "--sd", "x", "--auffusion", "y", "--set", "steps=1"], "--set: got steps"),
        (["image-speech", "--sd", "x/y/z", "--auffusion", "y"], "x/y/z: got no such folder"),
        (["hifigan", "--random", "1", "--sd", "x"], "--sd: got x for hifigan"),
        (["sd-unet", "--random", "1", "--lora", "x.pt"], "--lora: got a LoRA for random weights"),
        (["phoneme-adapter", "--random", "1", "--palettize", "4"], "precision: got palette4"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    assert main(["export", *options, "--out", str(tmp_path / "out")]) == 2
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("edge-export:")]
    assert sentence in line
    assert not (tmp_path / "out").exists()


def test_only_folders_of_parts_are_replaced(tmp_path: Path) -> None:
    assert not holds_parts(tmp_path)
    (tmp_path / "vocoder").mkdir()
    assert not holds_parts(tmp_path)
    shutil.rmtree(tmp_path / "vocoder")
    (tmp_path / "holiday.txt").write_text("mine")
    assert not holds_parts(tmp_path)
