"""What is spoken: prompts of distinct words, drawn by a seed, or read from a file.

    words.txt    our list, about 1500 common English words
    a file       one prompt a line, or `ID|prompt` on every line; without IDs a line's number names it, 000001

A drawn prompt is W words without repetition in alphabetical order, so that the words of a prompt say nothing
about each other and no set of words is drawn twice in two orders.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path

from edge_runtime.errors import ConfigError, InputError
from edge_runtime.store.ownership import plain_name
from edge_runtime.store.reading import read_text

WORDS = Path(__file__).with_name("words.txt")
MOST_PROMPTS = 1_000_000
TRIES = 30  # for each prompt wanted, before the list counts as exhausted
EXPECTED = "a UTF-8 text, one prompt a line, or ID|prompt"


@dataclass(frozen=True)
class Prompt:
    """A text to speak."""

    name: str  # of its files
    text: str


def draw_prompts(
    count: int, words: int, seed: int = 0, word_list: str | os.PathLike[str] | None = None
) -> list[Prompt]:
    """``count`` prompts of ``words`` words each; the same seed gives the same prompts.

    Args:
        count: of the prompts, which all differ.
        words: distinct words of a prompt.
        seed: of the drawing.
        word_list: a file of words, one a line; None: ours.

    Raises:
        ConfigError: numbers for which the list has too few words.
        InputError: a list that cannot be read.

    >>> draw_prompts(2, 3)
    [Prompt(name='000001', text='basic mile nurse'), Prompt(name='000002', text='good proud reply')]
    """
    known = read_words(WORDS if word_list is None else Path(word_list))
    if not 1 <= count <= MOST_PROMPTS:
        raise ConfigError("count", got=str(count), expected=f"1 … {MOST_PROMPTS} prompts")
    if not 1 <= words <= len(known):
        raise ConfigError("words", got=str(words), expected=f"1 … {len(known)}, the words of the list")
    draw, found = random.Random(seed), dict[str, None]()
    for _ in range(TRIES * count):
        found[" ".join(sorted(draw.sample(known, words)))] = None
        if len(found) == count:
            return [Prompt(numbered(line), text) for line, text in enumerate(found, 1)]
    raise ConfigError(
        "count",
        got=f"{count} prompts of {words} of {len(known)} words",
        expected=f"few enough to differ, about {len(found)}",
        cause="give a longer word list, or more words a prompt",
    )


def numbered(line: int) -> str:
    """Name of the prompt on a line, counted from 1."""
    return f"{line:06d}"


def read_words(path: Path) -> list[str]:
    """Distinct words of a file, one a line, in its order.

    Raises:
        InputError: no text, no words, or a line of several.
    """
    lines = [line.strip() for line in read_text(path, "a UTF-8 text, one word a line").splitlines()]
    words = list(dict.fromkeys(line for line in lines if line))
    for word in words:
        if any(letter.isspace() or letter == "|" for letter in word):
            raise InputError(str(path), got=f"the line {word!r:.60}", expected="one word a line")
    if not words:
        raise InputError(str(path), got="no words", expected="one word a line")
    return words


def read_prompts(path: str | os.PathLike[str]) -> list[Prompt]:
    """The prompts of a file as above; empty lines are left out.

    Raises:
        InputError: no text, no prompts, IDs on some lines only, used twice, or that cannot be file names.
    """
    where = str(path)
    lines = read_text(path, EXPECTED).splitlines()
    filled = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not filled:
        raise InputError(where, got="no prompts", expected=EXPECTED)
    with_id = [line for _, line in filled if "|" in line]
    if with_id and len(with_id) != len(filled):
        number, line = next(pair for pair in filled if ("|" in pair[1]) != ("|" in filled[0][1]))
        raise InputError(
            where,
            got=f"line {number}, {line!r:.60}, unlike the first",
            expected="ID|prompt on every line, or on none",
        )
    prompts: dict[str, Prompt] = {}
    for number, line in filled:
        name, _, text = line.partition("|") if with_id else (numbered(number), "", line)
        name, text = plain_name(name.strip(), f"{where}, line {number}"), " ".join(text.split())
        if not text or "|" in text or name in prompts:
            got = "an ID that an earlier line has" if name in prompts else f"the line {line!r:.60}"
            raise InputError(f"{where}, line {number}", got=got, expected="ID|prompt, each ID once")
        prompts[name] = Prompt(name, text)
    return list(prompts.values())
