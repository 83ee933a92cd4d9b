"""One array of a file: which one, under what name, and what damaged or hostile archives cost."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.errors import InputError
from edge_runtime.store import tensor_reader
from edge_runtime.store.arrays import Member, is_array_file, label, read_one, split_key

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)


def read(path: object, said: list[str] | None = None) -> Any:
    say = (lambda _: None) if said is None else said.append
    return read_one(str(path), "an array", likely=lambda member: len(member.shape) == 2, say=say)


def npz(path: Path, **entries: bytes) -> Path:
    """An archive of these bytes, NAME.npy each."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values)
    return stream.getvalue()


def test_keys_stand_behind_the_file(tmp_path: Path) -> None:
    assert split_key("a/b.npz:mel") == (Path("a/b.npz"), "mel")
    assert split_key("take:1.wav") == (Path("take:1.wav"), None)
    assert split_key("C:\\data\\b.npz") == (Path("C:\\data\\b.npz"), None)
    (tmp_path / "b.npz:mel").touch()  # a file of that very name comes first
    assert split_key(tmp_path / "b.npz:mel") == (tmp_path / "b.npz:mel", None)
    assert label("a/b.npz:x:y") == "b_x_y"
    assert is_array_file("gone.npz:mel")
    assert is_array_file("gone.npz")


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_only_array_is_taken_and_said(tmp_path: Path, order: Any) -> None:
    np.savez_compressed(tmp_path / "a.npz", clean=np.asarray(VALUES, order=order), rate=8000)
    said: list[str] = []
    np.testing.assert_array_equal(read(tmp_path / "a.npz", said), VALUES)
    assert said == ["a.npz: array 'clean' taken"]
    said.clear()
    np.testing.assert_array_equal(read(f"{tmp_path}/a.npz:clean", said), VALUES)
    assert read(f"{tmp_path}/a.npz:rate").shape == ()
    assert said == []  # it was asked for


def test_one_array_that_is_unlikely_is_taken_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", only=np.zeros(3))
    assert read(tmp_path / "a.npz").shape == (3,)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "two.npz",
            r"got 2 arrays: a \(3, 4\), b \(3, 4\), expected one, .*choose it: two\.npz:a",
        ),
        ("two.npz:c", r"two\.npz: got no array 'c', expected one of a \(3, 4\), b \(3, 4\)"),
        ("none.npz", "none.npz: got no array, expected an array"),
        ("plain.npy:a", r"got a file without names, and :a, expected plain\.npy alone"),
        ("short.npz", "short.npz: x: got fewer bytes than shape"),
        ("huge.npz", "huge.npz: x: got fewer bytes than shape"),
        ("header.npz", "header.npz: got no readable header"),
        ("cut.npz", "cut.npz: got no readable archive"),
        ("gone.npz:a", "gone.npz: got no such file"),
        ("objects.npz", "objects.npz: got no array"),
    ],
)
def test_refusals(tmp_path: Path, name: str, words: str) -> None:
    np.savez(tmp_path / "two.npz", a=VALUES, b=VALUES)
    np.save(tmp_path / "plain.npy", VALUES)
    npz(tmp_path / "none.npz")
    npz(tmp_path / "short.npz", x=npy(VALUES)[:-8])
    huge = npy(VALUES).replace(b"(3, 4), }       ", b"(3, 4000000), } ")
    assert b"4000000" in huge
    npz(tmp_path / "huge.npz", x=huge)
    npz(tmp_path / "header.npz", x=npy(VALUES).replace(b"{'descr", b"{{{{{{{"))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:-30])
    np.savez(tmp_path / "objects.npz", o=np.array([{}], object))
    with pytest.raises(InputError, match=words):
        read(tmp_path / name)


def test_files_of_torch_need_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pt").write_bytes(b"\x80\x04N.")
    monkeypatch.setattr(tensor_reader, "_readers", [])
    with pytest.raises(InputError, match=r"a\.pt: got a file of torch, or a pickle, .*edge-export\[train\]"):
        read(tmp_path / "a.pt")
    tensor_reader.register_tensors(lambda _: {"": Member((3, 4), "f", lambda: VALUES)})
    said: list[str] = []
    assert read(tmp_path / "a.pt", said) is VALUES
    assert said == ["a.pt: its only array taken"]
