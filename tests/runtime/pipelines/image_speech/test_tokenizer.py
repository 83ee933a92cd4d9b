"""The tokenizer in Python against transformers' CLIPTokenizer."""

from __future__ import annotations

import json
import unicodedata
import warnings
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CLIPTokenizer

from edge_runtime.errors import BundleError, EdgeWarning, InputError, strictly
from edge_runtime.pipelines.image_speech.tokenizer import (
    END,
    START,
    WORD_END,
    ClipTokenizer,
    byte_symbols,
    words,
)

CORPUS = """a photograph of an old castle on a cliff above the stormy sea, dramatic lighting, grayscale
a church bell ringing in the distance while birds sing and the wind blows through the tall grass
the quick brown fox doesn't jump over the lazy dog; they've seen it, and we'll see that it's 1984
a lithograph style drawing of mountains, rivers and trees, highly detailed, masterpiece, trending
ein Mädchen hört den Glocken zu; un garçon écoute la mer; 東京の夜の音; звуки города"""
TEXTS = (
    "", " ", "a castle", "A  Castle\twith\n\n2 towers!!", "don't we'll they'VE I'd 's", "co-operate/and_more",
    "naïve café — “quotes”…", "e\u0301 and \u00e9", "123 4½ Ⅷ ²", "東京の夜の音", "ΣΊΣΥΦΟΣ ὈΔΥΣΣΕΎΣ",
    "İstanbul ẞ", "🎵🎶 music 🏰", "a\u200bb\u00adc\ufeff", "\x1c\x1d\x85\u2028x\u3000y", "<|endoftext|>",
    "a <|startoftext|> b", "<|ENDOFTEXT|> <|end", "''''", "!'s", "x'st'rell", "\u0301\u0302",
    "नमस्ते दुनिया", "a" * 200, "word " * 90,
)  # fmt: skip


@lru_cache
def vocabulary(merges: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Bytes, their forms at a word's end, so many merges of a corpus, and the special tokens."""
    symbols = byte_symbols()
    numbers = {symbol: number for number, symbol in enumerate((*symbols, *(s + WORD_END for s in symbols)))}
    corpus = Counter(
        (*(symbols[byte] for byte in word.encode()[:-1]), symbols[word.encode()[-1]] + WORD_END)
        for word in words(CORPUS)
    )
    learnt: list[tuple[str, str]] = []
    while len(learnt) < merges:
        counts: Counter[tuple[str, str]] = Counter()
        for word, times in corpus.items():
            for pair in pairwise(word):
                counts[pair] += times
        best = max(counts, key=lambda pair: (counts[pair], pair))
        learnt.append(best)
        numbers["".join(best)] = len(numbers)
        corpus = Counter({_joined(word, best): times for word, times in corpus.items()})
    for token in (START, END):
        numbers[token] = len(numbers)
    return numbers, learnt


def _joined(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    text = "\0".join(word) + "\0"
    return tuple(text.replace("\0".join(pair) + "\0", "".join(pair) + "\0").split("\0")[:-1])


@pytest.fixture(scope="module", params=[0, 150])
def pair(request: pytest.FixtureRequest) -> tuple[ClipTokenizer, Any]:
    """Ours and theirs."""
    numbers, merges = vocabulary(request.param)
    pairs: Any = list(merges)
    theirs = CLIPTokenizer(vocab=dict(numbers), merges=pairs, model_max_length=77)
    return ClipTokenizer(numbers, merges), theirs


def theirs(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text, padding="max_length", truncation=True)["input_ids"]
    return found


def ours(tokenizer: ClipTokenizer, text: str) -> list[int]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EdgeWarning)
        return [int(number) for number in tokenizer([text])[0]]


def test_it_learnt_merges() -> None:
    _, merges = vocabulary(150)
    assert len(merges) == 150
    assert any(right.endswith(WORD_END) for _, right in merges)
    assert max(len("".join(both)) for both in merges) > 6


@pytest.mark.parametrize("text", TEXTS)
def test_texts_give_the_numbers_of_transformers(pair: tuple[ClipTokenizer, Any], text: str) -> None:
    assert ours(pair[0], text) == theirs(pair[1], text)


def _alphabet() -> st.SearchStrategy[str]:
    # two tables of Unicode are compared too: only what both editions must know
    old = st.characters(exclude_categories=("Cs", "Cn", "Co"), max_codepoint=0x1FFF)
    telling = st.sampled_from("aAsStTrReEvVmMlLdD'’ \t\n.,!1²Σςσéİßﬁ東の🎵\u0301\u00a0\u2009")
    return telling | old.filter(lambda letter: unicodedata.name(letter, "") != "" or letter < "\x80")


@settings(max_examples=100, deadline=None)
@given(text=st.text(_alphabet(), max_size=40))
def test_any_text_gives_the_numbers_of_transformers(pair: tuple[ClipTokenizer, Any], text: str) -> None:
    assert ours(pair[0], text) == theirs(pair[1], text)


def test_words() -> None:
    assert list(words("It's  A 42-room\u00a0CASTLE…")) == [
        "it",
        "'s",
        "a",
        "4",
        "2",
        "-",
        "room",
        "castle",
        "…",
    ]


def test_long_prompts_are_cut_off_and_said() -> None:
    tokenizer = ClipTokenizer(*vocabulary(0))
    with pytest.warns(EdgeWarning, match=r"prompt «12345.*: got 80 tokens, expected at most 75; the rest is"):
        (row,) = tokenizer(["1234567890" * 8])
    assert (row[0], row[-1]) == (tokenizer._start, tokenizer._end)
    assert row.shape == (77,)
    with strictly(), pytest.raises(InputError, match="got 80 tokens"):
        tokenizer(["1234567890" * 8])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenizer(["1" * 75])


def test_short_prompts_are_padded_with_the_end() -> None:
    tokenizer = ClipTokenizer(*vocabulary(0))
    rows = tokenizer(["", "1"])
    assert rows.dtype == np.int32
    assert rows[0].tolist() == [512, *[513] * 76]
    assert rows[1, 2:].tolist() == [513] * 75


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    numbers, merges = vocabulary(150)
    (tmp_path / "vocab.json").write_text(json.dumps(numbers), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(both) for both in merges), ""]
    (tmp_path / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def test_files(folder: Path) -> None:
    opened, made = ClipTokenizer.open(folder), ClipTokenizer(*vocabulary(150))
    assert opened.tokens("a castle by the sea") == made.tokens("a castle by the sea")
    assert opened.largest == len(vocabulary(150)[0]) - 1


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("vocab.json", None, "vocab.json: got no such file, expected the vocabulary of CLIP"),
        ("vocab.json", "[]", "vocab.json: got a JSON list, expected the vocabulary of CLIP"),
        ("vocab.json", '{"a": "b"}', "vocab.json: got a: 'b', expected numbers"),
        ("vocab.json", '{"a": 0}', r"vocab.json: got no <.startoftext.> and no <.endoftext.>, expected the"),
        ("merges.txt", None, "merges.txt: got no such file, expected the merges of CLIP"),
        ("merges.txt", "#version: 0.2\na b\nabc", "merges.txt: got line 3: 'abc', expected two symbols"),
    ],
)
def test_damaged_files_are_refused(folder: Path, name: str, content: str | None, sentence: str) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(BundleError, match=sentence):
        ClipTokenizer.open(folder)
