"""Formant tracks, and labels where parselmouth is missing."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from edge_training.ecog_speech.praat import ascending, labels_of, tracked


def test_formants_ascend() -> None:
    row = ascending(np.array([500.0, 450, np.nan, 3000, 2900, 7000]))
    assert row.tolist() == [500, 1500, 2500, 3000, 4000, 7000]


def test_formants_follow_the_frame_before_in_voiced_runs() -> None:
    before = np.array([500.0, 1500, 2500, 3500, 4500, 5500])
    # the first formant was missed: what stands first is the second
    after = np.array([1510.0, 2510, 3510, 4510, 5510, 6510])
    rows = tracked(np.stack([before, after]), np.array([True, True]))
    assert rows[1, 1:].tolist() == [2510, 3510, 4510, 5510, 6510]
    assert tracked(np.stack([before, after]), np.array([True, False]))[1].tolist() == after.tolist()


def test_without_the_library_there_are_no_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert labels_of(np.zeros(16000, np.float32), 125) == {}
    assert labels_of(np.zeros(16000, np.float32), 125, wanted=False) == {}
