from __future__ import annotations

import numpy as np
import pytest

from edge_runtime.errors import ConfigError
from edge_training.phantom import Speaker, Utterance
from edge_training.phantom.lexicon import INDEX
from edge_training.phantom.score import QUANTUM, compose, random_words, sustain


def test_phones_fill_the_time_and_words_hold_their_syllables(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        score = utterance.score
        edges = [phone.start for phone in score.phones] + [score.phones[-1].end]
        assert edges[0] == 0.0
        assert edges[-1] == score.duration
        assert [phone.end for phone in score.phones] == edges[1:]
        assert min(np.diff(edges)) > 0.02
        for word in score.words:
            inside = [s for s in score.syllables if word.start <= s.start and s.end <= word.end]
            assert "".join(s.label for s in inside) == word.label
            assert (inside[0].start, inside[-1].end) == (word.start, word.end)


def test_durations_are_whole_frames_of_every_clock(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        quanta = utterance.duration / QUANTUM
        assert quanta == pytest.approx(round(quanta))


def test_closures_are_commanded_where_they_are_labelled() -> None:
    score = compose(Speaker.sample(0), ("pata",), np.random.default_rng(0))
    commands = dict(zip([phone.label for phone in score.phones], score.commands, strict=False))
    assert commands["p"][INDEX["lips"]] < 0 < commands["t"][INDEX["lips"]]
    assert commands["t"][INDEX["tip_height"]] < 0 < commands["p"][INDEX["tip_height"]]


def test_the_pitch_falls_and_one_syllable_stands_out() -> None:
    voice = Speaker.sample(0)
    scores = [compose(voice, ("pata", "kiso", "mune"), np.random.default_rng(i)) for i in range(20)]
    pitch = np.mean([score.commands[[1, -2], INDEX["pitch"]] for score in scores], axis=0)
    assert pitch[0] > pitch[1] + 1.0


def test_a_held_vowel_has_no_scatter() -> None:
    score = sustain("a", 1.0)
    np.testing.assert_array_equal(score.commands[1, :6], score.commands[2, :6])
    assert score.duration == pytest.approx(1.6)


def test_random_words_are_different() -> None:
    words = random_words(4, np.random.default_rng(0))
    assert len(set(words)) == 4


def test_more_than_a_minute_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"words: got \d+ s of speech, expected at most 60 s"):
        compose(Speaker.sample(0), ["sakana"] * 150, np.random.default_rng(0))
