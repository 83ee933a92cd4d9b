"""Ranking with tiny random CLIP and CLAP models, which the test makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests import small_diffusion

from edge_export.__main__ import main
from edge_export.image_speech.ranking import open_scorer
from edge_runtime.errors import InputError

RNG = np.random.default_rng(0)


def save_clip(folder: Path) -> Path:
    """A CLIP of random weights with a tokenizer of bytes."""
    from transformers import CLIPConfig, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    small = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = small | {"vocab_size": 514, "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    vision = small | {"image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    small_diffusion.write_tokenizer(folder / "tokenizer")
    for file in (folder / "tokenizer").iterdir():
        file.rename(folder / file.name)
    return folder


def save_clap(folder: Path) -> Path:
    """A CLAP of random weights; its tokenizer is of bytes too."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, PreTrainedTokenizerFast

    audio = {
        "window_size": 2, "num_mel_bins": 16, "spec_size": 64, "hidden_size": 16, "patch_size": 4,
        "patch_stride": [4, 4], "depths": [1, 1], "num_attention_heads": [1, 2], "projection_dim": 8,
        "patch_embeds_hidden_size": 8, "num_hidden_layers": 2,
    }  # fmt: skip
    text = {
        "vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 24, "projection_dim": 8, "max_position_embeddings": 64,
    }  # fmt: skip
    torch.manual_seed(0)
    config = ClapConfig(text_config=text, audio_config=audio, projection_dim=8)
    ClapModel(config).save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=16, sampling_rate=16000, hop_length=160, fft_window_size=512, frequency_max=8000,
        truncation="rand_trunc", max_length_s=1,
    ).save_pretrained(folder)  # fmt: skip
    letters = ["<s>", "<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz "]
    tokenizer = Tokenizer(
        models.WordLevel({letter: n for n, letter in enumerate(letters)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast: Any = PreTrainedTokenizerFast
    fast(tokenizer_object=tokenizer, pad_token="<pad>").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("judges")
    return save_clip(place / "clip"), save_clap(place / "clap")


def picture() -> np.ndarray:
    return RNG.integers(0, 255, (64, 192, 3)).astype(np.uint8)


def sound() -> np.ndarray:
    return RNG.normal(0, 0.1, 16000).astype(np.float32)


def test_similarities_are_cosines_of_both_models(folders: tuple[Path, Path]) -> None:
    seen, heard = picture(), sound()
    scores = open_scorer(*folders)(seen, heard, "a castle", "a bell")
    assert set(scores) == {"clip", "clap"}
    from transformers import CLIPModel, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    model: Any = CLIPModel.from_pretrained(folders[0])
    prepare: Any = CLIPImageProcessorPil.from_pretrained(folders[0])
    text: Any = CLIPTokenizer.from_pretrained(folders[0])(["a castle"], return_tensors="pt")
    found = []
    for start in (0, 64, 128):
        pixels = prepare(seen[:, start : start + 64], return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            output = model(**text, pixel_values=pixels)
        found.append(float((output.image_embeds @ output.text_embeds.T)[0, 0]))
    assert scores["clip"] == pytest.approx(np.mean(found), abs=1e-5)
    assert -1 <= scores["clap"] <= 1


def test_one_folder_is_enough_and_prompts_matter(folders: tuple[Path, Path]) -> None:
    seen, heard = picture(), sound()
    clip, clap = open_scorer(folders[0], None), open_scorer(None, folders[1])
    assert set(clip(seen, heard, "a", "b")) == {"clip"}
    assert set(clap(seen, heard, "a", "b")) == {"clap"}
    assert clip(seen, heard, "a castle", "b") != clip(seen, heard, "the sea", "b")
    assert clap(seen, heard, "a", "a bell") != clap(seen, heard, "a", "some birds")


def test_the_command_ranks(folders: tuple[Path, Path], tmp_path: Path) -> None:
    parts = small_diffusion.write_parts(tmp_path / "parts")
    given = ["run", "image-speech", "--bundle", str(parts), "--width", "104", "--steps", "2"]
    given += ["--iterations", "1", "--image-prompt", "a castle", "--audio-prompt", "a bell", "--samples", "2"]
    given += ["--rank", "--clip", str(folders[0]), "--clap", str(folders[1]), "--out", str(tmp_path / "out")]
    assert main(given) == 0
    lines = (tmp_path / "out" / "ranking.csv").read_text().splitlines()
    assert lines[0] == "index,seed,clip,clap,score,place"
    assert sorted(line.split(",")[-1] for line in lines[1:]) == ["1", "2"]


def test_folders_of_something_else_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"--clip .*clap: got a model of type clap, expected a folder of clip"
    ):
        open_scorer(folders[1], None)
    with pytest.raises(InputError, match=r"--clap .*: got no config.json of a model"):
        open_scorer(None, tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(InputError, match=r"--clip .*: got no readable CLIPModel .*save_pretrained wrote"):
        open_scorer(tmp_path, None)
