"""Phonemes, and their ids."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge_runtime.errors import BackendError, InputError
from edge_training.image_speech.phonemes import espeak_phonemes, ids_of, read_phonemes
from edge_training.image_speech.prompts import Prompt

espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
IDS = {
    "[UNK]": 1,
    "[CLS]": 2,
    "[SEP]": 3,
    "<w>": 4,
    "t": 5,
    "ʃ": 6,
    "tʃ": 7,
    "ˈ": 8,
    "oʊ": 9,
    "o": 10,
    "ˈɛ": 11,
}


@espeak
def test_phones_words_and_punctuation_stand_apart() -> None:
    assert espeak_phonemes("hello, chair") == "h ə l ˈoʊ , <w> tʃ ˈɛɹ"


@espeak
def test_words_of_another_language_leave_no_marks() -> None:
    assert "(" not in espeak_phonemes("le weekend", "fr")


@espeak
def test_unknown_languages_and_empty_texts_are_refused() -> None:
    with pytest.raises(InputError, match=r"espeak-ng -v xx: got exit status 1.*voice does not exist"):
        espeak_phonemes("hello", "xx")
    with pytest.raises(InputError, match="expected words"):
        espeak_phonemes("...")


def test_without_espeak_the_line_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(BackendError, match="apt-get install espeak-ng"):
        espeak_phonemes("hello")


def test_phones_of_several_characters_are_one_id() -> None:
    assert ids_of("tʃ oʊ <w> t ʃ", IDS) == ([2, 7, 9, 4, 5, 6, 3], set())


def test_phones_that_the_map_lacks_are_the_longest_entries_in_them() -> None:
    assert ids_of("ˈoʊ ˈɛtʃ", IDS) == ([2, 8, 9, 11, 7, 3], set())


def test_unknown_symbols_are_said_or_refused() -> None:
    assert ids_of("t ø", IDS) == ([2, 5, 1, 3], {"ø"})
    with pytest.raises(InputError, match="the symbol 'ø'"):
        ids_of("t ø", {"t": 5})


def test_the_separator_is_the_given_one_the_maps_or_none() -> None:
    assert ids_of("t <w> o", {"t": 5, "o": 6}, 9)[0] == [5, 9, 6]
    assert ids_of("t <w> o", {"t": 5, "o": 6})[0] == [5, 6]


def test_phonemes_of_a_file_must_be_there_for_every_prompt(tmp_path: Path) -> None:
    (tmp_path / "phones").write_text("a|h ə\nb|tʃ\n")
    prompts = [Prompt("b", "ch"), Prompt("a", "huh")]
    assert read_phonemes(tmp_path / "phones", prompts) == {"b": "tʃ", "a": "h ə"}
    with pytest.raises(InputError, match="no phonemes of c"):
        read_phonemes(tmp_path / "phones", [*prompts, Prompt("c", "x")])
