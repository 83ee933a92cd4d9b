"""Pictures of a run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edge_training.engine.module import Picture
from edge_training.engine.plots import draw_curves, draw_pictures

ROWS = [{"step": 1.0, "loss": 2.0}, {"step": 2.0, "loss": 1.0, "validation": 0.5}]


def test_curves_and_spectrograms_are_png(tmp_path: Path) -> None:
    draw_curves(tmp_path / "losses.png", ROWS)
    mel = np.random.default_rng(0).standard_normal((8, 20))
    draw_pictures(tmp_path / "mels.png", [Picture("clip", {"recording": mel, "generated": mel + 1})])
    for name in ("losses.png", "mels.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    draw_curves(tmp_path / "losses.png", [{"step": 1.0}])
    assert not list(tmp_path.iterdir())


def test_a_run_goes_on_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.warns(UserWarning, match=r"no pictures: matplotlib is not installed; pip install"):
        draw_curves(tmp_path / "losses.png", ROWS)
    assert not list(tmp_path.iterdir())
