"""Averaged windows against a loop over all of them at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge_runtime.dsp.overlap import average_windows

ITEMS = np.random.default_rng(0).normal(size=(60, 3))


def answer(windows: NDArray[Any]) -> NDArray[Any]:
    """(n, w, 3) → (n, w, 2); depends on an item's place in its window and on the whole window."""
    place = np.arange(windows.shape[1])[:, None]
    said: NDArray[Any] = windows[..., :2] * place + windows.sum(axis=(1, 2), keepdims=True)
    return said


def at_once(items: NDArray[Any], window: int, step: int) -> NDArray[Any]:
    length = min(window, len(items))
    starts = list(range(0, len(items) - length + 1, step))
    if starts[-1] + length < len(items):
        starts.append(len(items) - length)
    total, count = np.zeros((len(items), 2)), np.zeros((len(items), 1))
    for start in starts:
        total[start : start + length] += answer(items[None, start : start + length])[0]
        count[start : start + length] += 1
    return total / count


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 12), st.integers(1, 9))
def test_streamed_windows_are_all_windows(count: int, window: int, step: int, batch: int) -> None:
    step = min(step, window)
    sizes = []

    def counted(windows: NDArray[Any]) -> NDArray[Any]:
        sizes.append(len(windows))
        return answer(windows)

    pieces = list(average_windows(iter(ITEMS[:count]), counted, 2, window=window, step=step, batch=batch))
    np.testing.assert_allclose(np.concatenate(pieces), at_once(ITEMS[:count], window, step), rtol=1e-5)
    assert max(sizes) <= batch


def test_few_items_are_held() -> None:
    taken: list[int] = []

    def items() -> Any:
        for number in range(60):
            taken.append(number)
            yield ITEMS[number]

    given_out = 0
    for piece in average_windows(items(), answer, 2, window=4, step=1, batch=3):
        given_out += len(piece)
        assert len(taken) - given_out <= 4 + 3
    assert given_out == 60


def test_no_items_give_nothing() -> None:
    assert list(average_windows([], answer, 2, window=4)) == []
