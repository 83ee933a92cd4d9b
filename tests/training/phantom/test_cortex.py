"""What is recorded must tell what was said, ahead of the movement and behind the sound, and no more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_training.phantom import Speaker, Utterance, speak
from edge_training.phantom.cortex import CLIP, ECOG_RATE, MOTOR, electrode_weights
from edge_training.phantom.movement import RATE, sample


def _track(utterance: Utterance, name: str, shift: float) -> NDArray[np.float64]:
    times = (np.arange(round(utterance.duration * ECOG_RATE)) + 0.5) / ECOG_RATE
    return sample(utterance.movement[name], RATE, times + shift)


def _explained(ecog: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    """Held-out correlation of a ridge regression, trained on the first two thirds."""
    split = len(ecog) * 2 // 3
    x = (ecog - ecog[:split].mean(0)) / ecog[:split].std(0)
    train, test = x[:split], x[split:]
    mean = float(np.mean(target[:split]))
    weights = np.linalg.solve(train.T @ train + 50.0 * np.eye(64), train.T @ (target[:split] - mean))
    return float(np.corrcoef(test @ weights, target[split:])[0, 1])


def _spoken() -> tuple[list[Utterance], NDArray[np.float64]]:
    voice = Speaker.sample(9)
    said = [speak(voice, 9, index) for index in range(10)]
    return said, np.concatenate([u.ecog() for u in said]).astype(float)


def test_hybrid_grids_have_electrodes_between_the_coarse_ones() -> None:
    utterance = speak(Speaker.sample(9), 9, 0)
    assert utterance.ecog(density="HB").shape == (utterance.ecog().shape[0], 128)
    coarse, hybrid = (electrode_weights(Speaker.sample(9), density) for density in ("LD", "HB"))
    for name, weights in coarse.items():
        assert np.allclose(hybrid[name][:64], weights), name
        assert (weights > 0).all()
    assert set(coarse) == {*MOTOR, "envelope", "onsets"}


def test_articulators_can_be_decoded_and_strangers_cannot() -> None:
    said, ecog = _spoken()
    for name in ("jaw", "lips", "velum", "body_place"):
        target = np.concatenate([_track(u, name, 0.1) for u in said])
        assert _explained(ecog, target) > 0.75, name
        assert abs(_explained(ecog, np.roll(target, len(target) // 2))) < 0.45, name


def test_the_motor_half_leads_and_the_hearing_half_follows() -> None:
    said, ecog = _spoken()
    loudness = np.concatenate([_sound(u) for u in said])
    jaw = {shift: np.concatenate([_track(u, "jaw", shift) for u in said]) for shift in (-0.1, 0.1)}
    motor = ecog[:, :32]

    def best(columns: NDArray[np.float64], target: NDArray[np.float64]) -> float:
        return max(abs(float(np.corrcoef(column, target)[0, 1])) for column in columns.T)

    assert best(motor, jaw[0.1]) > best(motor, jaw[-0.1]) + 0.1
    later, earlier = np.roll(loudness, 15), np.roll(loudness, -15)
    assert best(ecog[:, 48:], later) > best(ecog[:, 48:], earlier) + 0.1


def _sound(utterance: Utterance) -> NDArray[np.float64]:
    power = (utterance.audio(16000).astype(float).reshape(-1, 128) ** 2).mean(axis=1)
    level: NDArray[np.float64] = np.log(power + 1e-4)
    return level


def test_values_are_z_scores_of_the_right_shape(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        ecog = utterance.ecog()
        assert ecog.shape == (round(utterance.duration * 125), 64)
        assert ecog.dtype == np.float32
        assert ecog.max() <= CLIP
        assert 0.4 < ecog.std() < 1.6


def test_the_map_is_the_speakers_and_the_noise_is_the_utterances() -> None:
    one, two = (speak(Speaker.sample(9), 9, index, ("pata",)).ecog() for index in (0, 1))
    length = min(len(one), len(two))
    assert not np.array_equal(one[:length], two[:length])
    neighbours = np.corrcoef(one.T)
    beside = np.mean([neighbours[e, e + 1] for e in range(63) if e % 8 != 7])
    apart = np.mean(neighbours[0, 40:])
    assert beside > apart + 0.1
