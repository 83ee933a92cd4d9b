"""The picture against the articulation: openings where they are commanded, when they are commanded."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError
from edge_training.phantom import Speaker, Utterance, hold, speak
from edge_training.phantom.midsagittal import CENTRE, GLOTTIS_Y, PIXELS_PER_CM
from edge_training.phantom.movement import RATE, sample
from edge_training.phantom.utterance import MRI_RATE

LIPS = (slice(112, 146), slice(12, 46))  # rows, columns
GAP = (slice(120, 146), slice(32, 36))  # behind the lips: protrusion does not reach it
PORT = (slice(136, 146), slice(141, 149))  # between the tip of the soft palate and the pharynx
AIR = 50  # grey level below which a pixel is air


def _air(video: NDArray[np.uint8], window: tuple[slice, slice]) -> NDArray[np.float64]:
    """Part of a window that is air, per frame."""
    return np.array([np.mean(frame[window] < AIR) for frame in video])


def _best_shift(a: NDArray[np.float64], b: NDArray[np.float64]) -> int:
    """Frames that a lies behind b at the maximum of their cross-correlation, ±6."""
    shifts = range(-6, 7)
    scores = [np.corrcoef(a[6 + s : len(a) - 6 + s], b[6 : len(b) - 6])[0, 1] for s in shifts]
    return shifts[int(np.argmax(scores))]


def _times(frames: int) -> NDArray[np.float64]:
    return np.linspace(0.5, frames - 0.5, frames) / MRI_RATE


def test_lips_in_the_picture_move_with_the_lips(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        video = utterance.midsagittal()
        lips = np.maximum(sample(utterance.movement["lips"], RATE, _times(len(video))), 0.0)
        seen = _air(video, GAP)
        assert _best_shift(seen, lips) == 0
        assert np.corrcoef(seen, lips)[0, 1] > 0.95


def test_lips_in_the_picture_move_with_the_sound(chewing: Utterance) -> None:
    """Syllables that the lips alone open and close; elsewhere the sound has other reasons to fall."""
    video = chewing.midsagittal()
    audio, hop = chewing.audio(11413).astype(float), 420
    power = (audio[: len(video) * hop].reshape(len(video), hop) ** 2).mean(axis=1)
    assert abs(_best_shift(_air(video, GAP), np.log(power + 1e-5))) <= 1


def test_the_tongue_is_as_far_from_the_pharynx_as_the_model_says() -> None:
    """Width of the dark channel along a horizontal line, against `openings`, for all vowels."""
    measured, expected = [], []
    for vowel in "aiueo":
        utterance = hold(Speaker.sample(3), vowel, 1.0)
        video = utterance.midsagittal()
        frame = video[10 : len(video) - 10][10:-10].mean(axis=0)
        row = 175
        line = frame[row, 95:150]
        tissue, air = np.percentile(line, 80), 10.0
        measured.append(np.clip((tissue - line) / (tissue - air), 0, 1).sum() / PIXELS_PER_CM)
        place = 0.35 * (GLOTTIS_Y - row) / (GLOTTIS_Y - CENTRE[1])
        expected.append(utterance.tract.openings[int(0.8 * RATE), int(place * 40)])
    np.testing.assert_allclose(measured, expected, atol=0.35)  # cm; the epiglottis crosses the line
    assert np.corrcoef(measured, expected)[0, 1] > 0.97


def test_the_port_to_the_nose_is_open_for_nasals_and_for_breathing_only() -> None:
    utterance = speak(Speaker.sample(3), 3, 0, ("mapana",))
    video = utterance.midsagittal()
    velum = sample(utterance.movement["velum"], RATE, _times(len(video)))
    seen = _air(video, PORT)
    # the window takes in a strip of the pharynx, which is air at all times
    assert (seen[velum > 0.68] > 0.7).all()
    assert (seen[velum < 0.1] < 0.35).all()


def test_a_frame_shows_what_is_exposed_at_any_rate() -> None:
    utterance = hold(Speaker.sample(3), "a", 0.6)
    for rate in (10.0, 27.1738, 50.0, 83.28):
        video = utterance.midsagittal(rate)
        assert video.shape == (int(utterance.duration * rate + 1e-6), 256, 256)
        middle = _air(video, LIPS)[int(0.6 * rate)]
        assert middle > _air(video, LIPS)[0] + 0.15


def test_still_anatomy_stays_and_noise_is_the_scanners() -> None:
    video = hold(Speaker.sample(3), "a", 0.8).midsagittal().astype(float)
    spine, corner = video[:, 120:200, 195:205], video[:, 180:250, 5:20]
    drift = spine.mean(axis=(1, 2))
    assert drift.std() < 1.5
    assert 2.0 < spine.std(axis=0).mean() < 12.0
    assert 3.0 < corner.mean() < 20.0  # magnitude noise has a mean


def test_speakers_look_different_and_frames_are_deterministic() -> None:
    one, two = (hold(Speaker.sample(3, index), "a", 0.3) for index in (0, 2))
    np.testing.assert_array_equal(one.midsagittal(), one.midsagittal())
    difference = one.midsagittal()[:3].astype(float).mean(0) - two.midsagittal()[:3].astype(float).mean(0)
    assert np.abs(difference).mean() > 3.0


def test_an_impossible_rate_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"rate: got 0 frames per second, expected 1 … 1000"):
        hold(Speaker.sample(0), "a").midsagittal(0.0)
