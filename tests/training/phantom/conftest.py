"""A few utterances that the tests of this folder share."""

from __future__ import annotations

import pytest

from edge_training.phantom import Speaker, Utterance, speak


@pytest.fixture(scope="session")
def utterances() -> list[Utterance]:
    """Six, of a man and a woman."""
    voices = [Speaker.sample(11, index) for index in range(2)]
    return [speak(voices[index % 2], 11, index) for index in range(6)]


@pytest.fixture(scope="session")
def chewing() -> Utterance:
    """Lips that open and close with every syllable: vision and sound follow each other plainly."""
    return speak(Speaker.sample(11), 11, 0, ("papaba", "mapama", "bapapa"))
