from __future__ import annotations

import pytest

import edge_training.phantom as phantom
from edge_runtime.errors import ConfigError, InputError
from edge_training.phantom import Speaker, Utterance, hold, speak


def _forms(utterance: Utterance) -> dict[str, bytes]:
    return {
        "audio": utterance.audio(16000).tobytes(),
        "midsagittal": utterance.midsagittal(frames=4).tobytes(),
        "face": utterance.face(frames=4).tobytes(),
        "ecog": utterance.ecog().tobytes(),
        "pitch": utterance.tracks.pitch.tobytes(),
        "formants": utterance.tracks.formants.tobytes(),
    }


def test_the_same_seed_is_the_same_bytes_in_any_order() -> None:
    first = _forms(speak(Speaker.sample(12), 12, 3))
    again = speak(Speaker.sample(12), 12, 3)
    again.ecog()  # what was asked for before changes nothing
    again.audio(8000)
    assert _forms(again) == first


def test_another_seed_index_or_speaker_differs_in_everything() -> None:
    base = speak(Speaker.sample(12), 12, 3)
    for other in (
        speak(Speaker.sample(12), 13, 3),
        speak(Speaker.sample(12), 12, 4),
        speak(Speaker.sample(12, 2), 12, 3),
    ):
        theirs = _forms(other)
        for name, data in _forms(base).items():
            assert theirs[name] != data, name


def test_the_same_words_of_one_speaker_are_never_the_same() -> None:
    one, two = (speak(Speaker.sample(12), 12, index, ("pata",)) for index in (0, 1))
    assert one.text == two.text == "pata"
    assert one.score.phones != two.score.phones


def test_all_clocks_end_together(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        seconds = utterance.duration
        assert len(utterance.audio(16000)) == round(seconds * 16000)
        assert len(utterance.audio(22050)) == round(seconds * 22050)
        assert len(utterance.face(frames=None)) == round(seconds * 25)
        assert len(utterance.tracks.pitch) == len(utterance.ecog()) == round(seconds * 125)
        assert utterance.tracks.formants.shape == (round(seconds * 125), 6)
        frames = len(utterance.audio(11413)) // 420
        assert abs(len(utterance.midsagittal()) - frames) <= 1


def test_voice_is_labelled_where_the_folds_vibrate() -> None:
    utterance = speak(Speaker.sample(12), 12, 0, ("pasa",))
    pitch = utterance.tracks.pitch
    for phone in utterance.score.phones:
        middle = pitch[int((phone.start + phone.end) / 2 * 125)]
        if phone.label == "a":
            assert 60 < middle < 300
        elif phone.label in ("s", "p", "sil"):
            assert middle == 0


def test_words_are_louder_than_what_is_around_them(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        audio = utterance.audio(16000).astype(float)
        word = utterance.words[0]
        inside = audio[int(word.start * 16000) : int(word.end * 16000)]
        before = audio[: int((word.start - 0.05) * 16000)]
        assert inside.std() > 30 * before.std()


def test_public_names_exist() -> None:
    assert all(hasattr(phantom, name) for name in phantom.__all__)


def test_refusals() -> None:
    with pytest.raises(InputError, match="word 'xyz'"):
        speak(Speaker.sample(0), 0, 0, ("xyz",))
    with pytest.raises(ConfigError, match="seed: got -1"):
        speak(Speaker.sample(0), -1)
    with pytest.raises(InputError, match="word 'q'"):
        hold(Speaker.sample(0), "q")
