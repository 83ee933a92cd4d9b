"""Arrays written row by row are the bytes that numpy writes at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import InputError
from edge_runtime.store.growing_arrays import ArrayWriter
from edge_runtime.store.reading import read_array


@given(pieces=st.lists(st.integers(0, 7), max_size=12), dtype=st.sampled_from(["<f4", "u1", "<f8"]))
def test_pieces_are_the_file_that_numpy_writes(
    pieces: list[int], dtype: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("arrays")
    whole = np.random.default_rng(0).integers(0, 255, (sum(pieces), 3, 2)).astype(dtype)
    with ArrayWriter(folder / "pieces.npy", (3, 2), dtype) as file:
        start = 0
        for length in pieces:
            file.write(whole[start : start + length])
            start += length
    np.save(folder / "whole.npy", whole)
    assert file.count == len(whole)
    assert (folder / "pieces.npy").read_bytes() == (folder / "whole.npy").read_bytes()


def test_an_interrupted_file_is_no_array(tmp_path: Path) -> None:
    def interrupted() -> None:
        with ArrayWriter(tmp_path / "a.npy", (2,)) as file:
            file.write(np.zeros((3, 2)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(InputError, match=r"in numpy's \.npy format"):
        read_array(tmp_path / "a.npy")


def test_rows_of_another_shape_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"rows: got shape \(3, 4\), expected \(n, \*\(2,\)\)"),
        ArrayWriter(tmp_path / "a.npy", (2,)) as file,
    ):
        file.write(np.zeros((3, 4)))
