from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_training.phantom import Speaker, Utterance, hold, speak
from edge_training.phantom.movement import RATE, sample

MOUTH = (slice(60, 92), slice(28, 68))


def _change(video: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean difference of the mouth from the first frame, in which it is shut."""
    mouth = video[:, MOUTH[0], MOUTH[1]].astype(float)
    change: NDArray[np.float64] = np.abs(mouth - mouth[0]).mean(axis=(1, 2, 3))
    return change


def _best_shift(a: NDArray[np.float64], b: NDArray[np.float64]) -> int:
    shifts = range(-6, 7)
    scores = [np.corrcoef(a[6 + s : len(a) - 6 + s], b[6 : len(b) - 6])[0, 1] for s in shifts]
    return shifts[int(np.argmax(scores))]


def test_the_mouth_moves_with_the_lips(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        video = utterance.face()
        seen = _change(video)
        lips = np.maximum(sample(utterance.movement["lips"], RATE, (np.arange(len(video)) + 0.5) / 25), 0.0)
        assert _best_shift(seen, lips) == 0
        assert np.corrcoef(seen, lips)[0, 1] > 0.9


@pytest.mark.parametrize("speaker", range(4))
def test_the_mouth_moves_with_the_sound(speaker: int) -> None:
    """Syllables that the lips alone open and close; elsewhere the sound has other reasons to fall."""
    utterance = speak(Speaker.sample(8, speaker), 8, 0, ("papaba", "mapama", "bapapa"))
    video = utterance.face()
    power = (utterance.audio(16000).astype(float).reshape(len(video), 640) ** 2).mean(axis=1)
    assert abs(_best_shift(_change(video), np.log(power + 1e-5))) <= 1


def test_rounded_vowels_have_narrow_mouths() -> None:
    voice = Speaker.sample(8, 1)
    frames = {vowel: hold(voice, vowel, 0.8).face()[14].astype(float) for vowel in "aio"}
    # corners of the mouth: lips where i is spread, skin where o is rounded
    row = slice(66, 76)
    left = slice(31, 36)
    assert np.abs(frames["i"][row, left] - frames["o"][row, left]).mean() > 8.0
    # an open mouth is darker below the teeth than a nearly shut one
    assert frames["a"][74:82, 42:54].mean() < frames["o"][74:82, 42:54].mean() - 20.0


def test_the_mouth_lies_in_the_lower_half(utterances: list[Utterance]) -> None:
    """What a lip-sync net crops must hold all that the speech moves."""
    for utterance in utterances[:2]:
        video = utterance.face().astype(float)
        activity = video.std(axis=0).mean(axis=-1)
        assert activity[60:90, 30:66].mean() > 2.0 * activity[:48].mean()


def test_tongue_and_teeth_show() -> None:
    """s brings teeth to the front (bright), a open mouth without them is dark."""
    utterance = speak(Speaker.sample(8), 8, 0, ("asa",))
    video = utterance.face()
    phones = {phone.label: phone for phone in utterance.score.phones}
    s = video[int((phones["s"].start + phones["s"].end) / 2 * 25)].astype(float)
    a = video[int((phones["a"].start + phones["a"].end) / 2 * 25)].astype(float)
    assert s[66:80, 42:54].min() > a[66:86, 42:54].min()
    assert a[66:80, 42:54].max() > 190  # upper teeth


def test_shapes_and_types() -> None:
    utterance = hold(Speaker.sample(8), "a", 0.4)
    assert utterance.face().shape == (25, 96, 96, 3)
    assert utterance.face().dtype == np.uint8
    assert utterance.face(50.0).shape[0] == 50
    assert utterance.face(frames=3).shape[0] == 3


def test_speakers_look_different_and_frames_are_deterministic() -> None:
    videos = [hold(Speaker.sample(8, index), "a", 0.2).face() for index in range(4)]
    np.testing.assert_array_equal(videos[0], hold(Speaker.sample(8, 0), "a", 0.2).face())
    for index in range(3):
        difference = np.abs(videos[index][0].astype(float) - videos[index + 1][0])
        assert difference.mean() > 5.0
