"""Columns written in any order are the bytes that numpy writes at once."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.store.column_files import ColumnFile


@given(
    rows=st.integers(1, 5), edges=st.sets(st.integers(0, 30), min_size=2), seed=st.integers(0, 99),
    dtype=st.sampled_from(["<f4", "<f8", "<c8"]),
)  # fmt: skip
def test_pieces_are_the_file_that_numpy_writes(
    rows: int, edges: set[int], seed: int, dtype: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("columns")
    cuts = [0, *sorted(edges - {0})]
    draw = np.random.default_rng(seed)
    whole = draw.standard_normal((rows, cuts[-1])).astype(dtype)
    order = draw.permutation(len(cuts) - 1)
    with ColumnFile(folder / "pieces.npy", (rows, cuts[-1]), dtype) as file:
        for index in order:
            piece = slice(cuts[index], cuts[index + 1])
            file[:, piece] = whole[:, piece]
        for start, stop in ((0, cuts[-1]), (1, 3), (2, 2), (cuts[-1], cuts[-1] + 4)):
            np.testing.assert_array_equal(file[:, start:stop], whole[:, start:stop])
    np.save(folder / "whole.npy", whole)
    assert (folder / "pieces.npy").read_bytes() == (folder / "whole.npy").read_bytes()


def test_a_file_without_a_name_leaves_nothing(tmp_path: Path) -> None:
    with ColumnFile(None, (2, 3), folder=tmp_path) as file:
        file[:, 1:3] = np.ones((2, 2))
        assert file[:, :].tolist() == [[0, 1, 1], [0, 1, 1]]
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="closed"):
        file[:, :]


def test_a_full_disk_is_told_before_anything_is_written(disk_of: Callable[[str], Path]) -> None:
    with pytest.raises(OSError, match="No space left") as full:
        ColumnFile(disk_of("64k") / "large.npy", (100, 1000))
    assert full.value.errno == errno.ENOSPC


def test_other_keys_are_refused(tmp_path: Path) -> None:
    with ColumnFile(tmp_path / "a.npy", (2, 3)) as file:
        for key in ((slice(0, 1), slice(None)), (slice(None), slice(0, 3, 2))):
            with pytest.raises(IndexError):
                file[key]
