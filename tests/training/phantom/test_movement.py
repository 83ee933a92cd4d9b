from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_training.phantom import Utterance, hold, speak
from edge_training.phantom.lexicon import ARTICULATORS, INDEX, TIP_REST
from edge_training.phantom.movement import RATE, TIME_CONSTANTS, expose, sample
from edge_training.phantom.speaker import Speaker


def test_a_step_is_that_of_a_critically_damped_system() -> None:
    """Against the closed form 1 - (1 + t/τ) exp(-t/τ), the command given 2 τ before the boundary."""
    movement = hold(Speaker.sample(0), "a", 1.0).movement
    for name in ("jaw", "lips", "pressure"):
        track, tau = movement[name], TIME_CONSTANTS[name]
        since = np.maximum(movement.times - (0.3 - 2.0 * tau), 0.0)[: int(0.9 * RATE)] / tau
        closed = 1.0 - (1.0 + since) * np.exp(-since)
        start, target = track[0], track[int(0.9 * RATE)]
        # slope times one and a half samples: what sampling the command and the poles advances
        assert (
            np.abs((track[: len(closed)] - start) / (target - start) - closed).max() < 1.6 / RATE / tau / np.e
        )


def test_trajectories_stay_between_their_targets(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        commands, positions = utterance.score.commands, utterance.movement.positions
        assert (positions >= commands.min(axis=0) - 1e-9).all()
        assert (positions <= commands.max(axis=0) + 1e-9).all()


def test_short_sounds_fall_short_of_their_targets() -> None:
    """Coarticulation: a held vowel is reached, a flap between two vowels only in part."""
    held = hold(Speaker.sample(0), "a", 1.0)
    assert held.movement["jaw"].max() == pytest.approx(held.score.commands[1, INDEX["jaw"]], abs=1e-3)
    flapped = speak(Speaker.sample(0), 0, 0, ("ara",))
    tip = flapped.movement["tip_height"]
    target = flapped.score.commands[:, INDEX["tip_height"]].min()
    assert 0.1 < (tip.min() - target) / (TIP_REST - target) < 0.4


def test_every_articulator_has_a_time_constant() -> None:
    assert set(TIME_CONSTANTS) == set(ARTICULATORS) == set(INDEX)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 2.0), st.floats(0.002, 0.05))
def test_exposure_of_a_ramp_is_its_middle(moment: float, exposure: float) -> None:
    ramp = np.arange(1500)[:, None] / RATE
    found = expose(ramp, RATE, np.array([moment]), exposure)
    assert found[0, 0] == pytest.approx(moment, abs=1.0 / RATE / 8)


def test_exposure_at_the_ends_stays_inside() -> None:
    track = np.random.default_rng(0).standard_normal((100, 2))
    found = expose(track, 100.0, np.array([0.0, 0.5, 0.99]), 0.1)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[1], track[45:55].mean(axis=0) / 1.0 + (track[55] - track[45]) / 20.0)


def test_samples_between_are_linear_and_ends_are_held() -> None:
    track = np.array([0.0, 10.0, 30.0])
    np.testing.assert_allclose(sample(track, 2.0, np.array([-1.0, 0.25, 0.5, 0.75, 9.0])), [0, 5, 10, 20, 30])
