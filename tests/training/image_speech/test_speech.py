"""The speaking command, the stretch, and what fits into ten seconds."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_runtime.errors import BackendError, ConfigError, InputError
from edge_runtime.pipelines.image_speech.picture import SAMPLES
from edge_training.image_speech.speech import SpeechCommand, check_stretch, fitted, stretched


def script(folder: Path, body: str) -> str:
    """A template that runs a shell script on {wav} and {text}."""
    path = folder / "speak it.sh"  # a space, which the template quotes
    path.write_text(body)
    return f"sh {shlex.quote(str(path))} {{wav}} {{text}}"


def tone(seconds: float) -> NDArray[np.float32]:
    time = np.arange(round(16000 * seconds)) / 16000
    samples: NDArray[np.float32] = (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    return samples


def test_text_and_path_are_single_arguments_whatever_they_hold(tmp_path: Path) -> None:
    command = SpeechCommand(script(tmp_path, 'printf "%s" "$#|$2" > "$1"'))
    text = """; rm -rf "$HOME" `x` {wav} it's"""
    command.speak(text, tmp_path / "a b.wav")
    # {wav} within the text is text
    assert (tmp_path / "a b.wav").read_text() == f"2|{text}"


def test_a_failing_command_speaks_for_itself(tmp_path: Path) -> None:
    command = SpeechCommand(script(tmp_path, "echo no such voice >&2; echo bye >&2; exit 3"))
    with pytest.raises(InputError, match=r"exit status 3, expected 0; it said: no such voice bye$"):
        command.speak("hello", tmp_path / "x.wav")


def test_a_command_that_writes_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got no file at \{wav\}"):
        SpeechCommand(script(tmp_path, "true")).speak("hello", tmp_path / "x.wav")


def test_a_prompt_cannot_become_an_option(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not start with a hyphen"):
        SpeechCommand(script(tmp_path, "true")).speak("-o /etc/passwd", tmp_path / "x.wav")


@pytest.mark.parametrize(
    ("template", "error", "message"),
    [
        ("espeak-ng {text}", ConfigError, r"without \{wav\}"),
        ("espeak-ng {wav}", ConfigError, r"without \{text\}"),
        ("{wav} {text}", ConfigError, r"without \{wav\}"),
        ("", ConfigError, "without"),
        ("say '{wav} {text}", ConfigError, "No closing quotation"),
        ("no-such-program {wav} {text}", BackendError, "no program 'no-such-program'.*--tts"),
    ],
)
def test_templates_that_cannot_run_are_refused(template: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SpeechCommand(template)


def test_the_stretch_keeps_the_pitch() -> None:
    longer = stretched(tone(1.0), 2.0)
    assert len(longer) == 32000
    spectrum = np.abs(np.fft.rfft(longer[4000:28000]))
    assert abs(np.argmax(spectrum) * 16000 / 24000 - 440) < 2


def test_what_fits_is_filled_up_and_scaled() -> None:
    whole = fitted(tone(5.12), 2.0)
    assert whole.shape == (SAMPLES,) == (163840,)
    assert np.abs(whole).max() == pytest.approx(0.95)
    short = fitted(tone(1.0), 1.0)
    assert not short[16000:].any()
    np.testing.assert_allclose(short[:16000], tone(1.0) * 0.95 / np.abs(tone(1.0)).max(), rtol=1e-6)


def test_what_does_not_fit_is_refused_and_the_advice_fits() -> None:
    with pytest.raises(
        InputError, match=r"got 12\.00 s after the stretch by 2, expected at most 10\.24 s"
    ) as met:
        fitted(tone(6.0), 2.0)
    advice = float(met.value.cause.rsplit(" ", 1)[1])
    assert len(fitted(tone(6.0), advice)) == SAMPLES
    with pytest.raises(InputError, match=r"; fewer words$"):
        fitted(np.ones(16000 * 60, np.float32), 1.0)


def test_silence_and_absurd_factors_are_refused() -> None:
    with pytest.raises(InputError, match="silence"):
        fitted(np.zeros(100, np.float32), 1.0)
    for factor in (0.0, 9.0, float("nan")):
        with pytest.raises(ConfigError, match=r"stretch: got .*expected 0\.25 … 4"):
            check_stretch(factor)


def test_without_librosa_the_line_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "librosa.effects", None)
    with pytest.raises(BackendError, match=r"or --stretch 1$"):
        stretched(tone(0.1), 2.0)
    assert len(stretched(tone(0.1), 1.0)) == 1600
