"""Axes: what is accepted, how it reads."""

from __future__ import annotations

import pytest

from edge_export.catalog.dynamic_axes import LONGEST_BUCKET, MOST_BUCKETS, Buckets, Span
from edge_runtime.errors import ConfigError
from edge_runtime.store.bundle import Lengths


@pytest.mark.parametrize("sizes", [(), (0,), (-1,), (2, 1), (1, 1), (1.5,), (True,)])
def test_buckets_are_growing_whole_numbers(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="ascending whole numbers above 0"):
        Buckets(sizes)


def test_buckets_have_core_mls_limit() -> None:
    Buckets(tuple(range(1, MOST_BUCKETS + 1)))
    with pytest.raises(ConfigError, match=f"129 of them, expected at most {MOST_BUCKETS}"):
        Buckets(tuple(range(1, MOST_BUCKETS + 2)))


def test_buckets_are_no_longer_than_memory_holds() -> None:
    Buckets((32, LONGEST_BUCKET))
    with pytest.raises(ConfigError, match=r"buckets: got 100000000, expected at most 16384; .* in chunks"):
        Buckets((32, 100_000_000))


def test_axes_read_as_in_a_manifest() -> None:
    assert Span(1, 64).lengths == Lengths(1, 64)
    assert Buckets((32, 64)).lengths == Lengths(32, 64, (32, 64))
    assert (Span(2, 9).smallest, Buckets((32, 64)).smallest) == (2, 32)
