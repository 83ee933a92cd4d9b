"""Tensors of torch's files become arrays; nothing in the file is called."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_runtime.errors import CheckpointError, InputError
from edge_runtime.store.mels import read_mel
from edge_training.weights.arrays import read_tensors

MEL = torch.linspace(-9, 1, 80 * 6).reshape(80, 6)


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (MEL, "m.pt: its only array taken"),
        (MEL[None].double(), "m.pt: its only array taken"),
        ({"mel": MEL, "text": "hello", "f0": torch.zeros(6)}, "m.pt: array 'mel' taken"),
        ([{"spectrogram": MEL}], "m.pt: array '0.spectrogram' taken"),
        (torch.nn.Parameter(MEL), "m.pt: its only array taken"),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_mel_in_a_file_of_torch(tmp_path: Path, saved: Any, said: str, zipped: bool) -> None:
    torch.save(saved, tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
    told: list[str] = []
    np.testing.assert_array_equal(read_mel(tmp_path / "m.pt", 80, told.append), MEL.numpy())
    assert told == [said]


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("kind", ["<f4", ">f8", "<f2"])
def test_arrays_of_numpy_in_pickles(tmp_path: Path, protocol: int, kind: str) -> None:
    mel = MEL.numpy().astype(kind)
    for name, saved in (("alone", mel), ("named", {"x": [np.asfortranarray(mel)], "f0": mel[0]})):
        (tmp_path / f"{name}.pkl").write_bytes(pickle.dumps(saved, protocol))
        np.testing.assert_array_equal(read_mel(tmp_path / f"{name}.pkl", 80), mel)
    torch.save({"mel": mel}, tmp_path / "mel.pt")
    np.testing.assert_array_equal(read_mel(tmp_path / "mel.pt", 80), mel)


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    torch.save({"a": MEL.bfloat16(), "b": MEL}, tmp_path / "m.pt")
    read = read_mel(f"{tmp_path}/m.pt:a", 80)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, MEL.numpy(), rtol=1e-2)


def test_refusals(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "harmed"),)

    (tmp_path / "harm.pkl").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(CheckpointError, match=r"harm\.pkl: .*calls (posix|os)\.mkdir"):
        read_mel(tmp_path / "harm.pkl", 80)
    assert not (tmp_path / "harmed").exists()
    torch.save({"a": np.array([{}], object), "b": "text"}, tmp_path / "objects.pt")
    with pytest.raises(InputError, match=r"objects\.pt: got no tensor or array.*numpy\.save"):
        read_tensors(tmp_path / "objects.pt")
    torch.save({"a": MEL, "b": MEL}, tmp_path / "two.pt")
    with pytest.raises(InputError, match=r"two\.pt: got 2 arrays: a \(80, 6\), b \(80, 6\).*two\.pt:a"):
        read_mel(tmp_path / "two.pt", 80)
