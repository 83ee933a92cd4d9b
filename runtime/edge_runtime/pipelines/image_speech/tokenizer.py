"""CLIP's byte-pair tokenizer, in Python alone: a prompt → 77 token numbers.

    prompt       NFC, runs of white space made one space, lower case (character by character)
    → words      special tokens; 's 't 're 've 'm 'll 'd; runs of letters; single digits; runs of the rest
    → symbols    the UTF-8 bytes of a word as 256 printable characters; the last one with the ending </w>
    → tokens     the pair of neighbours that stands first in merges.txt is joined, until no pair stands there
    → numbers    <|startoftext|>, at most 75 tokens, <|endoftext|>, and <|endoftext|> until 77 are full

Letters and digits are those of Unicode (categories L and N). What a longer prompt has beyond 75 tokens is cut
off, and said (`edge_runtime.errors.doubt`).

Source: Radford and others, Learning Transferable Visual Models From Natural Language Supervision, 2021; the
rules of words and white space are those of transformers' CLIPTokenizer, which the tests compare.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BundleError, InputError, doubt
from edge_runtime.store.reading import read_object, read_text

START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH = 77  # tokens of a prompt, both special ones included
WORD_END = "</w>"
LARGEST = (1 << 31) - 1  # token number
VOCABULARY, MERGES = "vocab.json", "merges.txt"

_SPECIAL = re.compile(f"({re.escape(START)}|{re.escape(END)})")
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")  # in the order in which they are tried
# White_Space of Unicode; Python's \s has four controls more
_SPACE = frozenset("\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") | {
    chr(code) for code in range(0x2000, 0x200B)
}


class ClipTokenizer:
    """Prompts → token numbers.

    Args:
        vocabulary: token → number.
        merges: pairs of symbols, those that are joined first at the beginning.

    Raises:
        BundleError: a vocabulary without the special tokens.
    """

    def __init__(self, vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> None:
        if missing := [token for token in (START, END) if token not in vocabulary]:
            raise BundleError(
                VOCABULARY, got=f"no {' and no '.join(missing)}", expected="the vocabulary of CLIP"
            )
        self._numbers = dict(vocabulary)
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._start, self._end = self._numbers[START], self._numbers[END]
        self._known: dict[str, tuple[int, ...]] = {}  # word → its tokens

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Self:
        """The tokenizer of a folder with vocab.json and merges.txt.

        Raises:
            BundleError: a file is missing, or is not what its name says.
        """
        vocabulary, merges = Path(folder, VOCABULARY), Path(folder, MERGES)
        numbers = read_object(vocabulary, "the vocabulary of CLIP, token → number", BundleError)
        if wrong := [token for token, number in numbers.items() if not _is_number(number)]:
            raise BundleError(str(vocabulary), got=f"{wrong[0]}: {numbers[wrong[0]]!r}", expected="numbers")
        try:
            return cls(numbers, [*_read_merges(merges)])
        except BundleError as error:
            raise error if error.what == str(merges) else error.within(str(folder)) from error

    @property
    def largest(self) -> int:
        """The largest token number."""
        return max(self._numbers.values())

    def tokens(self, prompt: str) -> list[int]:
        """All tokens of a prompt, without the ones at its start and end."""
        found: list[int] = []
        for part in _SPECIAL.split(prompt):
            if part in (START, END):
                found.append(self._numbers[part])
                continue
            for word in words(part):
                found += self._word(word)
        return found

    def __call__(self, prompts: Sequence[str], length: int = LENGTH) -> NDArray[np.int32]:
        """Token numbers (prompts, length), padded; a longer prompt is cut off, and doubted.

        Raises:
            InputError: within `edge_runtime.errors.strictly`, a prompt that is too long.
        """
        rows = np.full((len(prompts), length), self._end, np.int32)
        for row, prompt in zip(rows, prompts, strict=True):
            tokens = self.tokens(prompt)
            if len(tokens) > length - 2:
                doubt(_too_long(prompt, len(tokens), length))
            tokens = [self._start, *tokens[: length - 2]]
            row[: len(tokens)] = tokens
        return rows

    def _word(self, word: str) -> tuple[int, ...]:
        if word not in self._known:
            self._known[word] = tuple(
                self._numbers.get(symbol, self._end) for symbol in self._joined(word.encode())
            )
        return self._known[word]

    def _joined(self, word: bytes) -> list[str]:
        """The symbols of a word after all merges."""
        symbols = [byte_symbols()[byte] for byte in word]
        symbols[-1] += WORD_END
        while len(symbols) > 1:
            first = min(pairwise(symbols), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if first not in self._ranks:
                break
            symbols = [*_join(symbols, first)]
        return symbols


def _is_number(number: object) -> bool:
    return type(number) is int and 0 <= number <= LARGEST


def _join(symbols: Sequence[str], pair: tuple[str, str]) -> Iterator[str]:
    """The symbols with every occurrence of the pair joined, from the left."""
    place = 0
    while place < len(symbols):
        if tuple(symbols[place : place + 2]) == pair:
            yield "".join(pair)
            place += 2
        else:
            yield symbols[place]
            place += 1


def words(text: str) -> Iterator[str]:
    """The words of a text without special tokens.

    >>> list(words("A  castle's 2 towers!"))
    ['a', 'castle', "'s", '2', 'towers', '!']
    """
    clean = _clean(text)
    place = 0
    while place < len(clean):
        kind = _kind(clean[place])
        if kind == " ":
            place += 1
            continue
        word = next((c for c in _CONTRACTIONS if clean.startswith(c, place)), "")
        if not word:
            end = place + 1
            while kind != "N" and end < len(clean) and _kind(clean[end]) == kind:
                end += 1
            word = clean[place:end]
        yield word
        place += len(word)


def _clean(text: str) -> str:
    spaced = "".join(" " if letter in _SPACE else letter for letter in unicodedata.normalize("NFC", text))
    # one by one: in a whole text Python writes a sigma at the end of a word otherwise
    return "".join(letter.lower() for letter in spaced)


def _kind(letter: str) -> str:
    """L, N, a space, or "" for the rest."""
    if letter in _SPACE:
        return " "
    category = unicodedata.category(letter)[0]
    return category if category in "LN" else ""


@lru_cache
def byte_symbols() -> tuple[str, ...]:
    """The character that stands for each of the 256 bytes: itself where Latin-1 prints it, else U+0100 …"""
    printed = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return tuple(chr(byte) if byte in printed else chr(next(spare)) for byte in range(256))


def _read_merges(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(read_text(path, "the merges of CLIP", BundleError).split("\n"), 1):
        if not line or (number == 1 and line.startswith("#version")):
            continue
        left, space, right = line.rstrip("\r").partition(" ")
        if not space or not left or not right or " " in right:
            raise BundleError(str(path), got=f"line {number}: {line!r}", expected="two symbols and a space")
        yield left, right


def _too_long(prompt: str, tokens: int, length: int) -> InputError:
    return InputError(
        f"prompt «{prompt[:40]}…»",
        got=f"{tokens} tokens",
        expected=f"at most {length - 2}",
        cause="the rest is cut off, the nets do not see it: write a shorter prompt",
    )
