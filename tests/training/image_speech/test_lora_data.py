"""Manifests, pictures and vectors that training reads, and those that it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.training.image_speech.lora_run import FRAMES, write_manifest

from edge_runtime.errors import ConfigError, EdgeError, InputError
from edge_runtime.pipelines.image_speech.tokenizer import ClipTokenizer
from edge_training.image_speech.lora_data import LoraData, ManifestSource


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_manifest(tmp_path / "data")


@pytest.fixture(scope="module")
def tokenizer(tiny_diffusion: Path) -> ClipTokenizer:
    return ClipTokenizer.open(tiny_diffusion / "auffusion" / "tokenizer")


def read(folder: Path, **changes: Any) -> LoraData:
    return LoraData(ManifestSource(manifest=folder, condition="phoneme", **changes), None)


def test_items_hold_picture_and_vector_of_a_row(folder: Path) -> None:
    data = read(folder / "manifest.csv")
    assert (data.names, data.validation_names) == (("000001", "000002", "000003", "000004"), ("000005",))
    item = data.item(1, np.random.default_rng(0))
    assert (item["name"], item["clip"], item["picture"].shape) == ("000002", 1, (256, FRAMES))
    np.testing.assert_array_equal(item["picture"], np.load(folder / "000002.npy"))
    with np.load(folder / "plbert_sentence_emb.npz") as archive:
        np.testing.assert_array_equal(data.validation_item(0)["embedding"], archive["emb"][4])
    assert data.embedding_size == 32


def test_texts_become_token_numbers(folder: Path, tokenizer: ClipTokenizer) -> None:
    data = LoraData(ManifestSource(manifest=folder, validation_clips=0), tokenizer)
    assert len(data.names) == 5
    np.testing.assert_array_equal(data.item(2, np.random.default_rng(0))["ids"], tokenizer(["word 3"])[0])


def test_other_columns_absolute_paths_and_rows_without_ids(folder: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "elsewhere.csv"
    manifest.write_text(f"text,spec\nhello,{folder / '000001.npy'}\n\nworld,{folder / '000002.npy'}\n")
    names = {"prompt_column": "text", "picture_column": "spec"}
    data = LoraData(ManifestSource(manifest=manifest, **names), None)  # type: ignore[arg-type]
    assert (data.names, data.validation_names) == (("000001",), ("000002",))
    assert [row.prompt for row in data.rows] == ["hello", "world"]


def replace_text(folder: Path, old: str, new: str) -> None:
    text = (folder / "manifest.csv").read_text()
    assert old in text
    (folder / "manifest.csv").write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mel_npy", "mel", r"columns id, audio_prompt, mel, expected .* --set prompt_column="),
        ("000002.npy", "lost.npy", "row 2: got the picture 'lost.npy', which is not there"),
        ("000003,word", "000002,word", "the id '000002' twice"),
        ("word 4", '"word 4', "unexpected end of data"),
    ],
)
def test_spoilt_manifests_are_refused(folder: Path, old: str, new: str, message: str) -> None:
    replace_text(folder, old, new)
    with pytest.raises(InputError, match=message):
        read(folder)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((80, 64), np.float32), r"float32 of shape \(80, 64\)"),
        (np.zeros((256, 100), np.float32), "frames a multiple of 64"),
        (np.zeros((256, 128), np.float32), r"128 frames, expected 64, as .*000001"),
        (np.zeros((256, 64), np.uint8), "uint8 of shape"),
        (np.zeros(256, np.float32), r"shape \(256,\)"),
    ],
)
def test_pictures_of_other_sizes_are_refused(folder: Path, picture: Any, message: str) -> None:
    np.save(folder / "000002.npy", picture)
    with pytest.raises(InputError, match=message):
        read(folder)


def test_a_mel_in_place_of_a_picture_is_refused(folder: Path) -> None:
    np.save(folder / "000002.npy", np.full((256, FRAMES), -11.0, np.float32))
    with pytest.raises(InputError, match=r"000002\.npy: picture: got values of -11 … -11, expected 0 … 1"):
        read(folder).item(1, np.random.default_rng(0))


def vectors(folder: Path, **arrays: Any) -> None:
    np.savez(folder / "plbert_sentence_emb.npz", **arrays)


def test_vectors_of_other_rows_are_refused(folder: Path) -> None:
    emb = np.zeros((5, 4), np.float32)
    names = [f"{n:06d}" for n in (1, 2, 4, 3, 5)]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"emb": emb[:3]}, r"emb of shape \(3, 4\), expected an \.npz with emb \(5, D\)"),
        ({"emb": emb, "id": names}, "the vector of 000004 in row 3, expected that of 000003"),
        ({"emb": emb + np.nan}, "not finite"),
        ({"other": emb}, r"emb of shape \(0,\)"),
    ]
    for arrays, message in cases:
        vectors(folder, **arrays)
        with pytest.raises(InputError, match=message):
            read(folder)
    vectors(folder, emb=emb)
    assert read(folder).embedding_size == 4, "without ids, rows are the manifest's"


def test_something_must_be_left_to_train_on(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"5 of 5 rows.*--set validation_clips=0"):
        read(folder, validation_clips=5)
    with pytest.raises(EdgeError, match="no such file"):
        read(folder / "nowhere.csv")
