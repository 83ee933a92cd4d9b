from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.errors import ConfigError
from edge_training.phantom.speaker import OWNERS, PURPOSES, Speaker, generator


def test_the_same_seed_is_the_same_speaker_and_another_is_not() -> None:
    assert Speaker.sample(5, 3) == Speaker.sample(5, 3)
    assert Speaker.sample(5, 3) != Speaker.sample(6, 3)
    assert Speaker.sample(5, 3) != Speaker.sample(5, 1)


def test_women_have_shorter_tracts_and_higher_voices() -> None:
    voices = [Speaker.sample(0, index) for index in range(20)]
    women = [voice for voice in voices if voice.female]
    men = [voice for voice in voices if not voice.female]
    assert len(women) == len(men) == 10
    assert max(w.tract_length for w in women) < min(m.tract_length for m in men)
    assert min(w.pitch for w in women) > max(m.pitch for m in men)


def test_all_streams_of_random_numbers_are_different() -> None:
    keys = [
        (seed, owner, index, purpose)
        for seed in (0, 1)
        for owner in OWNERS
        for index in (0, 1, 2)
        for purpose in PURPOSES
    ]
    first = {float(generator(*key).random()) for key in keys}
    assert len(first) == len(keys)


def test_seeds_beyond_64_bits_are_seeds() -> None:
    assert generator(2**80, "speaker", 0, "voice").random() != generator(0, "speaker", 0, "voice").random()


@pytest.mark.parametrize("bad", [-1, 1.5, True, None])
def test_a_bad_seed_is_refused(bad: object) -> None:
    with pytest.raises(ConfigError, match=r"seed: got .*, expected a whole number, 0 or more"):
        Speaker.sample(bad)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="index: got"):
        Speaker.sample(0, bad)  # type: ignore[arg-type]


def test_traits_outside_of_the_model_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"tract_length: got 3, expected 12 … 20"):
        replace(Speaker.sample(0), tract_length=3.0)


def test_a_purpose_of_a_speaker_gives_the_same_numbers_on_every_call() -> None:
    voice = Speaker.sample(4)
    a, b = (voice.generator("face").random(5) for _ in range(2))
    np.testing.assert_array_equal(a, b)
