from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edge_training.phantom import Speaker, speak
from edge_training.phantom.layouts import balanced_words, write_json, write_labels
from edge_training.phantom.lexicon import WORDS


@pytest.mark.parametrize("count", [1, 50, 120])
def test_words_of_the_trials_are_balanced(count: int) -> None:
    words = balanced_words(count, np.random.default_rng(0))
    assert len(words) == count
    often = Counter(words)
    assert max(often.values()) - min(often.values() if count >= len(WORDS) else [0, 1]) <= 1


def test_json_is_canonical(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "a": "é",\n  "b": 1\n}\n'


def test_labels_tell_the_utterance(tmp_path: Path) -> None:
    utterance = speak(Speaker.sample(0), 0, 0, ("pan", "kiso"))
    write_labels(tmp_path / "u.json", utterance)
    labels = json.loads((tmp_path / "u.json").read_text())
    assert [word for _, _, word in labels["words"]] == ["pan", "kiso"]
    assert [s for _, _, s in labels["syllables"]] == ["pan", "ki", "so"]
    assert [p for _, _, p in labels["phones"] if p != "sil"] == ["p", "a", "N", "k", "i", "s", "o"]
    assert labels["words"][0][0] == pytest.approx(utterance.words[0].start, abs=1e-4)
    np.testing.assert_allclose(labels["f0"], utterance.tracks.pitch, atol=0.06)
    np.testing.assert_allclose(labels["formants"], utterance.tracks.formants, atol=0.51)
