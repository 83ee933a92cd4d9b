"""Drawn prompts, and prompts of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError, InputError
from edge_training.image_speech.prompts import WORDS, Prompt, draw_prompts, read_prompts, read_words


def test_our_list_has_a_thousand_words_and_more_each_once() -> None:
    lines = WORDS.read_text().splitlines()
    assert len(lines) > 1000
    assert lines == sorted(set(lines)) == read_words(WORDS)
    assert all(word.isascii() and word.isalpha() and word.islower() for word in lines)


def test_prompts_differ_and_their_words_are_distinct_and_sorted() -> None:
    prompts = draw_prompts(200, 9, seed=3)
    assert len({prompt.text for prompt in prompts}) == 200
    for prompt in prompts:
        words = prompt.text.split()
        assert words == sorted(set(words))
        assert len(words) == 9
    assert [prompts[0].name, prompts[-1].name] == ["000001", "000200"]


def test_the_seed_decides() -> None:
    assert draw_prompts(5, 3, seed=1) == draw_prompts(5, 3, seed=1) != draw_prompts(5, 3, seed=2)


def test_a_list_that_is_too_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("one\ntwo\nthree\n")
    assert len(draw_prompts(3, 2, word_list=tmp_path / "words")) == 3
    with pytest.raises(ConfigError, match=r"4 prompts of 2 of 3 words.*about 3; give a longer word list"):
        draw_prompts(4, 2, word_list=tmp_path / "words")
    with pytest.raises(ConfigError, match="words: got 4, expected 1 … 3"):
        draw_prompts(1, 4, word_list=tmp_path / "words")
    with pytest.raises(ConfigError, match="count: got 0"):
        draw_prompts(0, 1)


def test_lines_are_numbered_or_named(tmp_path: Path) -> None:
    file = tmp_path / "prompts"
    file.write_text("hello  world\n\n good morning\n")
    assert read_prompts(file) == [Prompt("000001", "hello world"), Prompt("000003", "good morning")]
    file.write_text("a|hello world\nb | good morning\n")
    assert read_prompts(file) == [Prompt("a", "hello world"), Prompt("b", "good morning")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n \n", "no prompts"),
        ("a|one\ntwo\n", "line 2, 'two', unlike the first"),
        ("a|one\na|two\n", "line 2: got an ID that an earlier line has"),
        ("a|\n", "the line 'a|'"),
        ("a|b|c\n", "each ID once"),
        ("../a|one\n", "a plain file name"),
    ],
)
def test_files_that_name_no_prompts_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "prompts").write_text(text)
    with pytest.raises(InputError, match=message.replace("|", r"\|").replace("..", r"\.\.")):
        read_prompts(tmp_path / "prompts")


def test_a_list_of_sentences_is_no_list_of_words(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("one two\n")
    with pytest.raises(InputError, match="the line 'one two', expected one word a line"):
        read_words(tmp_path / "words")
