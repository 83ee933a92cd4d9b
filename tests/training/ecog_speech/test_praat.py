"""Pitch and formants of a synthetic speaker by Praat, and labels where parselmouth is missing."""

from __future__ import annotations

import importlib
from functools import cache

import numpy as np
import pytest

from edge_training.ecog_speech.praat import ascending, labels_of
from edge_training.phantom import Speaker, speak
from edge_training.phantom.utterance import Utterance


def test_formants_ascend() -> None:
    row = ascending([500.0, 450, np.nan, 3000, 2900, 7000])
    assert row.tolist() == [500, 1500, 2500, 3000, 4000, 7000]


def test_without_the_library_there_are_no_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert labels_of(np.zeros(16000, np.float32), 125, female=True) == {}
    assert labels_of(np.zeros(16000, np.float32), 125, female=True, wanted=False) == {}


@cache
def _said(index: int) -> Utterance:
    return speak(Speaker.sample(7, index), 3, 1)


@pytest.mark.parametrize("index", [0, 1])  # a man, a woman
def test_labels_are_what_the_speaker_said(index: int) -> None:
    pytest.importorskip("parselmouth")
    said = _said(index)
    true = said.tracks
    found = labels_of(said.audio(16000), len(true.pitch), female=said.speaker.female)
    assert all(values.dtype == np.float32 and len(values) == len(true.pitch) for values in found.values())
    both = (found["pitch"] > 0) & (true.pitch > 0)
    assert both.sum() > 0.7 * (true.pitch > 0).sum()
    assert np.abs(found["pitch"] - true.pitch)[both].mean() < 0.02 * true.pitch[both].mean()
    errors = np.median(np.abs(found["formants"] - true.formants)[both], axis=0)
    assert (errors < [60, 60, 80, 120, 180, 300]).all(), errors
    assert found["formants"].shape == (len(both), 6)
    assert (np.diff(found["formants"], axis=1) > 0).all()
    loud = found["intensity"][both].mean() - found["intensity"][:20].mean()
    assert loud > 20
