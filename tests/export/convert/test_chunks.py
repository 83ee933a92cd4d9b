"""The UNet in two halves, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_export.__main__ import main
from edge_export.convert.chunks import export_chunks
from edge_export.proof.verify import verify
from edge_runtime.errors import ConfigError
from edge_runtime.pipelines.image_speech.nets import Unet
from edge_training.image_speech.libraries import library
from edge_training.image_speech.net_configs import SD_UNET_PRESETS
from edge_training.image_speech.unet_halves import border


def test_the_halves_are_the_whole(tiny_diffusion: Path, tmp_path: Path) -> None:
    source = tiny_diffusion / "sd"
    said: list[str] = []
    made = export_chunks(
        "sd-unet", tmp_path / "out", 2, checkpoint=source, changes={"height": 64, "width": 128},
        targets=["onnx"], precisions=["fp32"], progress=said.append,
    )  # fmt: skip
    assert [line for line in said if str(tmp_path) in line] == [
        f"checking {tmp_path / 'out' / half}" for half in ("first", "second")
    ]
    assert [bundle.path.name for bundle in made.values()] == ["first", "second"]
    assert all(verify(bundle, backends=["onnxruntime"]).passed for bundle in made.values())
    random = torch.Generator().manual_seed(4)
    latents = torch.randn(1, 4, 6, 20, generator=random)
    states = torch.randn(2, 77, 32, generator=random)
    whole: Any = library("diffusers").UNet2DConditionModel.from_pretrained(source / "unet")
    with torch.inference_mode():
        truth = whole(latents.repeat(2, 1, 1, 1), torch.tensor(999.0), states).sample.numpy()
    execution = {"backend": "onnxruntime", "device": "cpu", "threads": 1, "precision": "fp32"}
    halved = Unet(made["first"], execution, made["second"])
    assert np.abs(halved(latents.numpy(), 999, states.numpy()) - truth).max() < 1e-5


def test_full_size_halves_are_below_a_gigabyte_each() -> None:
    cut = border(SD_UNET_PRESETS["sd15"])
    assert (cut.layers, cut.hidden, len(cut.skips)) == (2, (1280, 3), 10)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["hifigan", "--random", "1", "--chunks", "2"], "--chunks: got 2 for hifigan"),
        (["sd-unet", "--random", "1", "--chunks", "3"], "--chunks: got 3 for sd-unet"),
        (
            ["sd-unet", "--random", "1", "--chunks", "2"],
            "--chunks: got random weights, expected a checkpoint",
        ),
    ],
)
def test_other_chunks_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    assert main(["export", *options, "--out", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().err
    with pytest.raises(ConfigError, match="2 for sd-unet"):
        export_chunks("sd-unet", tmp_path / "out", 1)
