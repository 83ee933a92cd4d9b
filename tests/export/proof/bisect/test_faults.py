"""Twelve faults that people make, each named at the right operation or stage (pains 2, 3, 4, 5, 11)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import planted_faults
from tests.planted_faults import FAULTS


@pytest.fixture(scope="module", autouse=True)
def shared(small_hifigan: Path, encoder: Path) -> Iterator[None]:
    """Bundles that other tests export too."""
    planted_faults.GIVEN.update({"hifigan": small_hifigan, "audio-encoder": encoder})
    yield
    planted_faults.GIVEN.clear()


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fault_is_named(fault: str, tmp_path: Path) -> None:
    planted = FAULTS[fault](tmp_path)
    named = planted.named()
    assert [part for part in planted.right if part not in named] == [], named
