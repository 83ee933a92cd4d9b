"""Speech of a prompt: a command that is named, a time stretch, ten seconds at the system's rate.

The command is a template, `espeak-ng -w {wav} {text}`: it is split as a shell would split it and run without
a shell, with {wav} and {text} filled in afterwards, so that no text is ever taken for a part of the command.
It must write one recording at {wav}, of any rate, that `edge_runtime.media.audio` reads.

The stretch is librosa's phase vocoder, which keeps the pitch: twice as long, the shortest phones are ten and
more columns of the picture wide. Nothing is cut: speech that is too long is refused.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BackendError, ConfigError, InputError, shown
from edge_runtime.pipelines.image_speech.picture import FRONT_END, SAMPLE_RATE, SAMPLES

ESPEAK = "espeak-ng"
DEFAULT_COMMAND = ESPEAK + " -w {wav} {text}"
PATIENCE = 600.0  # seconds for one prompt
LONGEST_COMPLAINT = 300  # characters of a command's own words
LEAST_STRETCH, MOST_STRETCH = 0.25, 4.0

Samples = NDArray[np.float32]


class SpeechCommand:
    """A text-to-speech program, run once for each prompt.

    Args:
        template: as above.

    Raises:
        ConfigError: a template without {wav} or {text}, or with quotes that do not close.
        BackendError: a program that this machine does not have.
    """

    def __init__(self, template: str = DEFAULT_COMMAND) -> None:
        self.template = template
        try:
            self._parts = shlex.split(template)
        except ValueError as error:
            raise ConfigError(
                "tts", got=f"{template!r}: {error}", expected=f"a command as {DEFAULT_COMMAND!r}"
            ) from error
        for place in ("{wav}", "{text}"):
            if not any(place in part for part in self._parts[1:]):
                raise ConfigError(
                    "tts",
                    got=f"{template!r}, without {place}",
                    expected=f"a program and its arguments, {{wav}} and {{text}} among them, "
                    f"as {DEFAULT_COMMAND!r}",
                )
        check_program(self._parts[0], "tts")

    def speak(self, text: str, wav: Path) -> None:
        """Write the recording of a text.

        Raises:
            InputError: the command failed, with its own words; it wrote nothing; a text that looks like an
                option of the command.
        """
        if text.startswith("-") and "{text}" in self._parts:
            raise InputError(
                "prompt",
                got=repr(text),
                expected="a text that does not start with a hyphen",
                cause="the command would take it for an option",
            )
        filled = [part.replace("{wav}", str(wav)).replace("{text}", text) for part in self._parts]
        run_program(filled, f"the command {shown(self.template)}")
        if not wav.is_file():
            raise InputError(
                f"the command {shown(self.template)}",
                got="no file at {wav}",
                expected="a recording there",
                cause="is {wav} what the command's option for its output is given?",
            )


def check_program(name: str, what: str) -> None:
    """BackendError where a program is not installed."""
    if shutil.which(name) is None:
        raise BackendError(
            what,
            got=f"no program {name!r}",
            expected="one that is installed",
            cause=f"install {ESPEAK} (apt-get install {ESPEAK}, brew install {ESPEAK}), "
            "or name another command with --tts",
        )


def run_program(parts: list[str], what: str) -> str:
    """Run a program without a shell and give what it printed; InputError with its own words if it fails."""
    try:
        done = subprocess.run(
            parts, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(what, got=f"no end after {PATIENCE:g} s", expected="one prompt spoken") from error
    except (OSError, ValueError) as error:  # not executable; a NUL in the text
        raise InputError(what, got=f"«{error}»", expected="a program that runs") from error
    if done.returncode:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise InputError(
            what,
            got=f"exit status {done.returncode}",
            expected="0",
            cause=f"it said: {shown(said, LONGEST_COMPLAINT)}" if said else "it gave no reason",
        )
    return done.stdout.decode("utf-8", "replace")


def check_stretch(factor: float) -> None:
    """ConfigError for a factor that makes no speech."""
    if not LEAST_STRETCH <= factor <= MOST_STRETCH:
        raise ConfigError(
            "stretch", got=f"{factor:g}", expected=f"{LEAST_STRETCH:g} … {MOST_STRETCH:g}, 2 is twice as long"
        )


def stretched(samples: Samples, factor: float) -> Samples:
    """Speech (n,) at `SAMPLE_RATE`, `factor` times as long, at its pitch.

    Raises:
        BackendError: librosa is missing.
    """
    if factor == 1.0:
        return samples
    try:
        from librosa.effects import time_stretch
    except ImportError as error:
        raise BackendError(
            "time stretch",
            got="no module named librosa",
            expected="librosa",
            cause="pip install 'edge-export[image-speech]', or --stretch 1",
        ) from error
    # windows of the picture's own front end
    longer: Any = time_stretch(samples, rate=1.0 / factor, n_fft=FRONT_END.n_fft // 2)
    return np.ascontiguousarray(longer, np.float32)


def fitted(samples: Samples, factor: float) -> Samples:
    """Speech (n,) stretched and filled with silence to `SAMPLES`, its peak as the front end has it.

    Raises:
        InputError: it is longer, or silent.
        BackendError: librosa is missing.
    """
    check_length(len(samples), factor)
    whole = np.zeros(SAMPLES, np.float32)
    speech = stretched(samples, factor)[:SAMPLES]  # the stretch may round up by a few samples
    whole[: len(speech)] = speech
    peak = float(np.abs(whole).max())
    if peak == 0.0:
        raise InputError("recording", got="silence", expected="speech")
    assert FRONT_END.peak is not None
    return whole * np.float32(FRONT_END.peak / peak)


def check_length(samples: int, factor: float) -> None:
    """InputError for speech of so many samples that would lose its end."""
    if round(samples * factor) > SAMPLES:
        fits = int(SAMPLES / samples * 20) / 20
        raise InputError(
            "recording",
            got=f"{samples * factor / SAMPLE_RATE:.2f} s after the stretch by {factor:g}",
            expected=f"at most {SAMPLES / SAMPLE_RATE:.2f} s",
            cause="fewer words" + (f", or --stretch {fits:g}" if fits >= LEAST_STRETCH else ""),
        )
