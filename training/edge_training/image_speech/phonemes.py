"""Phonemes of a text, and their ids.

    h ə l ˈoʊ <w> w ˈɜː l d

Phones with their stress marks, apart by a space; words apart by `<w>`; punctuation is a symbol of its own
behind its word. They come from espeak-ng (`espeak_phonemes`), or from a file.

A phone may be of several characters: an affricate, a diphthong, a long or stressed vowel. It is looked up
whole first; where the map has no such entry, it is the longest entries that make it up (`ids_of`), so that a
map of single characters serves too. A map of one character each for whole phones would know none of these.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

from edge_runtime.errors import InputError
from edge_training.image_speech.prompts import Prompt, read_prompts
from edge_training.image_speech.speech import ESPEAK, check_program, run_program

WORD_SEPARATOR = "<w>"
_PUNCTUATION = re.compile(r"([;:,.!?¡¿—…\"«»“”]+)")
_SWITCH = re.compile(r"\([a-z]{2,3}(?:-[a-z0-9-]+)?\)")  # of another language's word: (en) … (fr)
UNKNOWN = ("[UNK]", "<unk>", "<UNK>", "unk", "UNK")
FIRST, LAST = ("[CLS]", "<cls>", "<s>"), ("[SEP]", "<sep>", "</s>")


def espeak_phonemes(text: str, language: str = "en-us") -> str:
    """Phonemes of a text as above, by espeak-ng.

    Raises:
        BackendError: espeak-ng is not installed.
        InputError: it knows no such language, or finds nothing to say.
    """
    check_program(ESPEAK, "phonemes")
    words: list[list[str]] = []
    for piece in _PUNCTUATION.split(text):
        if _PUNCTUATION.fullmatch(piece):
            if words:
                words[-1] += piece
        elif piece.strip():
            words += _spoken(piece, language)
    if not words:
        raise InputError("text", got=f"{text!r:.60}", expected="words")
    return f" {WORD_SEPARATOR} ".join(" ".join(word) for word in words)


def _spoken(text: str, language: str) -> list[list[str]]:
    command = [ESPEAK, "-q", "--ipa", "--sep=_", "-v", language, "--", text]
    said = _SWITCH.sub("", run_program(command, f"{ESPEAK} -v {language}"))
    words = [[phone for phone in word.split("_") if phone] for word in said.split()]
    return [word for word in words if word]


def read_phonemes(path: str | os.PathLike[str], prompts: Sequence[Prompt]) -> dict[str, str]:
    """Phonemes by name of the prompt, from a file in the form of the prompts': a line each, or ID|phonemes.

    Raises:
        InputError: a file that cannot be read, or has none for some prompt.
    """
    found = {entry.name: entry.text for entry in read_prompts(path)}
    for prompt in prompts:
        if prompt.name not in found:
            raise InputError(
                str(path), got=f"no phonemes of {prompt.name}", expected="a line for each prompt",
                cause="without IDs they are numbered by lines, as the prompts are",
            )  # fmt: skip
    return {prompt.name: found[prompt.name] for prompt in prompts}


def ids_of(phonemes: str, ids: Mapping[str, int], separator: int | None = None) -> tuple[list[int], set[str]]:
    """Ids of phonemes as above, and the symbols that the map does not know.

    Args:
        phonemes: as above.
        ids: symbol → id.
        separator: id between words; None: the map's of `<w>`, or none.

    Raises:
        InputError: an unknown symbol where the map has no id for those.
    """
    between = separator if separator is not None else ids.get(WORD_SEPARATOR)
    unknown = next((ids[name] for name in UNKNOWN if name in ids), None)
    found: list[int] = []
    strange: set[str] = set()
    for symbol in phonemes.split():
        if symbol == WORD_SEPARATOR:
            found += [between] if between is not None else []
            continue
        for piece in _pieces(symbol, ids):
            if piece not in ids:
                strange.add(piece)
                if unknown is None:
                    raise InputError(
                        "phonemes", got=f"the symbol {piece!r}", expected="one of the map, which has no [UNK]"
                    )
            found.append(ids.get(piece, unknown or 0))
    first = [ids[name] for name in FIRST if name in ids][:1]
    last = [ids[name] for name in LAST if name in ids][:1]
    return first + found + last, strange


def _pieces(symbol: str, ids: Mapping[str, int]) -> list[str]:
    """The symbol, or the longest entries that make it up; characters of no entry alone."""
    if symbol in ids:
        return [symbol]
    pieces, at = [], 0
    while at < len(symbol):
        ends = (end for end in range(len(symbol), at, -1) if symbol[at:end] in ids)
        end = next(ends, at + 1)
        pieces.append(symbol[at:end])
        at = end
    return pieces
