"""Phoneme embeddings of the tiny encoder, against transformers by hand."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from edge_runtime.errors import CheckpointError, ConfigError, InputError
from edge_training.image_speech.libraries import library
from edge_training.image_speech.plbert import Embedder, PlBert, open_plbert
from edge_training.image_speech.prompts import Prompt


@pytest.fixture(scope="module")
def encoder(tiny_diffusion: Path) -> PlBert:
    return open_plbert(tiny_diffusion / "plbert")


@pytest.fixture
def folder(tiny_diffusion: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    return Path(shutil.copytree(tiny_diffusion / "plbert", tmp_path / "plbert"))


def test_the_vector_is_the_masked_mean_of_a_padded_batch(tiny_diffusion: Path, encoder: PlBert) -> None:
    folder = tiny_diffusion / "plbert"
    config = yaml.safe_load((folder / "config.yml").read_text())
    tokens = pickle.loads((folder / "token_maps.pkl").read_bytes())
    transformers: Any = library("transformers")
    net = transformers.AlbertModel(transformers.AlbertConfig(**config["model_params"])).eval()
    weights = torch.load(folder / "step_1000.t7", weights_only=True)["net"]
    net.load_state_dict({key.removeprefix("module.encoder."): value for key, value in weights.items()})

    rows = [["[CLS]", "tʃ", "ˈɛ", "ɹ", "[SEP]"], ["[CLS]", "h", "<w>", "ˈoʊ", "b", "ə", "[SEP]"]]
    ids = torch.tensor([[tokens[symbol] for symbol in row] + [0] * (7 - len(row)) for row in rows])
    mask = torch.tensor([[1.0] * len(row) + [0.0] * (7 - len(row)) for row in rows])
    with torch.no_grad():
        states = net(ids, attention_mask=mask).last_hidden_state
    expected = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    for phonemes, row in zip(["tʃ ˈɛ ɹ", "h <w> ˈoʊ b ə"], expected, strict=True):
        vector, strange = encoder.embed(phonemes)
        np.testing.assert_allclose(vector, row.numpy(), atol=2e-6)
        assert not strange


def test_the_archive_has_a_row_for_each_prompt(encoder: PlBert, tmp_path: Path) -> None:
    (tmp_path / "phones").write_text("a|h ə\nb|tʃ €\n")
    embedder = Embedder(encoder, "en-us", tmp_path / "phones")
    done = embedder.write(tmp_path / "emb.npz", [Prompt("b", "x"), Prompt("a", "y")])
    assert done.phonemes == ("tʃ €", "h ə")
    assert done.notes == ("1 symbols that the token map does not know: €",)
    with np.load(tmp_path / "emb.npz") as saved:
        assert saved["emb"].shape == (2, 32)
        assert saved["emb"].dtype == np.float32
        np.testing.assert_array_equal(saved["emb"][1], encoder.embed("h ə")[0])
        assert list(saved["id"]) == ["b", "a"]
        assert [str(saved[name]) for name in ("model_id", "ckpt", "lang")] == [
            "plbert",
            "step_1000.t7",
            "en-us",
        ]


def test_the_highest_step_is_taken_and_prefixes_and_heads_are_left(folder: Path, encoder: PlBert) -> None:
    weights = torch.load(folder / "step_1000.t7", weights_only=True)["net"]
    doubled = {key.removeprefix("module."): 2 * value for key, value in weights.items()}
    heads = {
        "mask_predictor.weight": torch.zeros(3, 3),
        "encoder.embeddings.position_ids": torch.zeros(1, 512),
    }
    torch.save({"state_dict": doubled | heads}, folder / "step_20000.t7")
    newest = open_plbert(folder)
    assert newest.checkpoint == "step_20000.t7"
    old, new = encoder.net.state_dict(), newest.net.state_dict()
    assert all(torch.equal(2 * old[key], new[key]) for key in old if "position_ids" not in key)


def test_sentences_that_are_too_long_are_refused(encoder: PlBert) -> None:
    with pytest.raises(InputError, match=r"602 tokens, expected 1 … 512"):
        encoder.embed(" ".join("h" * 600))


def test_spoilt_folders_are_refused(folder: Path) -> None:
    tokens = (folder / "token_maps.pkl").read_bytes()
    (folder / "token_maps.pkl").write_bytes(pickle.dumps({1: {"word": "a", "token": 3}}))
    with pytest.raises(CheckpointError, match="a dict of phonemes → ids; a map of a tokenizer's words"):
        open_plbert(folder)
    (folder / "token_maps.pkl").write_bytes(pickle.dumps({"a": 5000}))
    with pytest.raises(ConfigError, match="a token with id 5000, expected less than vocab_size"):
        open_plbert(folder)
    (folder / "token_maps.pkl").write_bytes(tokens)
    weights = torch.load(folder / "step_1000.t7", weights_only=True)["net"]
    weights.pop("module.encoder.embeddings.word_embeddings.weight")
    torch.save({"net": weights}, folder / "step_1000.t7")
    with pytest.raises(CheckpointError, match=r"no embeddings\.word_embeddings\.weight"):
        open_plbert(folder)
    (folder / "step_1000.t7").unlink()
    with pytest.raises(ConfigError, match=r"no file step_\*\.t7"):
        open_plbert(folder)
    (folder / "config.yml").write_text("a: 1\n")
    with pytest.raises(ConfigError, match="expected model_params, dataset_params"):
        open_plbert(folder)
