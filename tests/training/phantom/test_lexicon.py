from __future__ import annotations

import pytest

from edge_runtime.errors import InputError
from edge_training.phantom.lexicon import ARTICULATORS, CONSONANTS, SILENCE, VOWELS, WORDS, syllables


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("pata", ["pa", "ta"]),
        ("shiro", ["shi", "ro"]),
        ("panda", ["pan", "da"]),
        ("sensu", ["sen", "su"]),
        ("nabe", ["na", "be"]),
        ("ana", ["a", "na"]),
        ("on", ["on"]),
        ("aoi", ["a", "o", "i"]),
    ],
)
def test_words_fall_into_syllables(word: str, parts: list[str]) -> None:
    assert [syllable.text for syllable in syllables(word)] == parts


def test_the_coda_is_a_phone_of_its_own() -> None:
    assert [phone.symbol for phone in syllables("pan")[0].phones] == ["p", "a", "N"]


def test_the_lexicon_is_fifty_words_with_every_sound() -> None:
    assert len(set(WORDS)) == 50
    said = {phone.symbol for word in WORDS for syllable in syllables(word) for phone in syllable.phones}
    assert said == {*CONSONANTS, *VOWELS, "N"}


def test_every_vowel_and_silence_place_all_articulators_they_own() -> None:
    for vowel in VOWELS.values():
        assert {*vowel.targets, "pressure", "pitch"} == set(ARTICULATORS)
    assert set(SILENCE.targets) == set(ARTICULATORS)


@pytest.mark.parametrize("word", ["cat", "stra", "pa ta", "pat", "N", "ピカ"])
def test_what_is_no_word_is_refused_with_the_place(word: str) -> None:
    with pytest.raises(InputError, match=r"word .*: got .*, expected syllables such as"):
        syllables(word)


def test_an_empty_word_is_refused() -> None:
    with pytest.raises(InputError, match="got no letters"):
        syllables("")
