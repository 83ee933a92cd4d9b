"""Refusals on their way out of a worker process."""

from __future__ import annotations

import pickle

import pytest

from edge_runtime.errors import EdgeError, EdgeWarning, InputError, TargetError, doubt, renaming, shown


@pytest.mark.parametrize("kind", [EdgeError, InputError, TargetError])
def test_a_refusal_survives_pickling(kind: type[EdgeError]) -> None:
    refusal = kind("a.npy", got="noise", expected="frames", cause="it is damaged").within("clip")
    again = pickle.loads(pickle.dumps(refusal))
    assert type(again) is kind
    assert str(again) == str(refusal) == "clip: a.npy: got noise, expected frames; it is damaged"
    assert vars(again) == vars(refusal)


@pytest.mark.parametrize("what", ["a.wav", "a.wav: audio", "a.wav/frames"])
def test_a_place_that_is_named_is_not_named_again(what: str) -> None:
    refusal = InputError(what, got="1", expected="2").within("a.wav")
    assert refusal.what == what


def test_a_place_with_a_similar_name_is_named() -> None:
    assert InputError("a.wav2", got="1", expected="2").within("a.wav").what == "a.wav: a.wav2"


def test_paths_that_we_alone_know_are_renamed() -> None:
    def rename(text: str) -> str:
        return text.replace("/tmp/x", "standard input")

    refusal = InputError("/tmp/x: audio", got="/tmp/x", expected="y", cause="/tmp/x")
    with (
        pytest.warns(EdgeWarning, match="^standard input: audio: got standard input, .*; standard input$"),
        renaming(rename),
    ):
        doubt(refusal)
    with pytest.raises(InputError, match=r"^standard input: audio: got standard"), renaming(rename):
        raise refusal
    with pytest.raises(InputError, match=r"^/tmp/x: audio"), renaming(str):
        raise refusal
    with pytest.warns(EdgeWarning, match="^/tmp/x"):
        doubt(refusal)


def test_the_sentence_stays_on_one_line() -> None:
    name = "a\nb\x1b[31m\r\u2028\u202e\udcff.wav"
    sentence = str(EdgeError(name, got=name, expected=name, cause=name))
    assert sentence.count(r"a\nb\x1b[31m\r\u2028\u202e\xff.wav") == 4
    assert sentence.isprintable()


def test_names_of_other_scripts_stay_as_they_are() -> None:
    assert shown("输出 œ é ʃ 🙂.wav") == "输出 œ é ʃ 🙂.wav"


def test_the_middle_of_long_values_is_left_out() -> None:
    sentence = str(EdgeError("x", got="k" * 100_000, expected="a name"))
    assert len(sentence) < 500
    assert "… (100000 characters) …" in sentence
    long_path = "/".join(["folder"] * 500)
    assert str(EdgeError(long_path, got="a", expected="b")).startswith(long_path)
