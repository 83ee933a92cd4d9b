"""What is recorded must tell what was said, ahead of the movement and behind the sound, and no more."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_training.phantom import Speaker, Utterance, speak, voice
from edge_training.phantom.cortex import (
    CLIP,
    ECOG_RATE,
    MOTOR,
    SOURCES,
    component_weights,
    drivers,
    electrode_weights,
    source_tracks,
)
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


def _source_tracks(said: list[Utterance]) -> NDArray[np.float64]:
    return np.concatenate(
        [source_tracks(u.movement, voice.loudness(u.sources), len(u.tracks.pitch)) for u in said]
    )


def test_what_drives_a_component_is_found(utterances: list[Utterance]) -> None:
    """By the phantom's own rules: pitch alone makes f0; jaw, tongue and lips make F1 and F2."""
    women = utterances[1::2]
    sources = _source_tracks(women)
    pitch = np.concatenate([u.tracks.pitch for u in women])
    found = drivers(sources, np.log2(np.maximum(pitch, 1)), pitch > 0)
    others = max(effect for name, effect in found.effects.items() if name != "pitch")
    assert found.explained > 0.999
    assert found.effects["pitch"] > 1000 * others
    formants = np.concatenate([u.tracks.formants[:, :2] for u in women])
    strongest = sorted(
        found.effects, key=drivers(sources, formants, pitch > 0).effects.__getitem__, reverse=True
    )
    assert {"glottis", "pitch", "onsets"}.isdisjoint(strongest[:4])
    assert "jaw" in strongest[:2]


def test_effects_are_in_units_of_the_component(utterances: list[Utterance]) -> None:
    sources = _source_tracks(utterances)
    jaw, lips = (sources[:, SOURCES.index(name)] for name in ("jaw", "lips"))
    found = drivers(sources, np.stack([5 - 2 * jaw, 4 * lips], axis=1))
    assert found.effects["jaw"] == pytest.approx(np.std(jaw))  # the mean of two rows
    assert found.effects["lips"] == pytest.approx(2 * np.std(lips))
    assert found.effects["velum"] == pytest.approx(0, abs=1e-9)
    assert found.explained == pytest.approx(1)
    counted = np.arange(len(sources)) < 40
    flat = drivers(np.where(np.arange(len(SOURCES)) == 0, sources, 1.0), jaw, counted)  # only the jaw moves
    assert flat.effects["jaw"] == pytest.approx(np.std(jaw[:40]))
    assert sum(flat.effects.values()) == flat.effects["jaw"]


def test_electrodes_see_a_component_by_its_sources() -> None:
    speaker = Speaker.sample(9)
    weights = electrode_weights(speaker, "HB")
    seen = component_weights(speaker, {"pitch": 2.0, "jaw": 0.5}, "HB")
    assert np.allclose(seen, 2 * weights["pitch"] + 0.5 * weights["jaw"])


def test_what_cannot_be_regressed_is_refused() -> None:
    tracks = np.zeros((9, len(SOURCES)))
    with pytest.raises(InputError, match=r"sources: got \(9, 11\) for a component of 8 frames"):
        drivers(tracks, np.zeros(8))
    with pytest.raises(InputError, match="expected frames that count"):
        drivers(tracks, np.zeros(9), np.zeros(9))
    with pytest.raises(InputError, match="effects: got tongue, expected some of jaw"):
        component_weights(Speaker.sample(9), {"tongue": 1.0})
