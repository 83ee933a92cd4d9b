"""What is said and when: words on a time axis, as intervals and as commands to the articulators.

A boundary between two phones is the moment at which the movement from one target to the next is half done as
far as the filter's delay goes: commands lead it by the delay of their articulator (see `movement`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError
from edge_training.phantom.lexicon import (
    ARTICULATORS,
    DURATIONS,
    INDEX,
    SILENCE,
    SPEECH_PRESSURE,
    WORDS,
    Phone,
    Syllable,
    syllables,
)
from edge_training.phantom.speaker import Speaker

# Utterances last whole multiples of this, so that video at 25 fps, ECoG at 125 Hz and audio at 16 and
# 22.05 kHz all end on a whole frame.
QUANTUM = 0.04  # s
DECLINATION = 4.0  # semitones per second that the pitch falls
MAX_SECONDS = 60.0


@dataclass(frozen=True)
class Interval:
    """A labelled stretch of time."""

    label: str
    start: float  # s
    end: float  # s


@dataclass(frozen=True)
class Score:
    """One utterance as planned."""

    duration: float  # s, a multiple of QUANTUM
    words: tuple[Interval, ...]
    syllables: tuple[Interval, ...]
    phones: tuple[Interval, ...]  # without gaps, silences included
    kinds: tuple[str, ...]  # of each phone
    commands: NDArray[np.float64]  # (phones, articulators), in force from the phone's start to its end


@dataclass(frozen=True)
class _Item:
    """A phone on its way into the score."""

    phone: Phone
    vowel: Phone  # lends the articulators that the phone leaves free
    duration: float  # s
    accent: float  # semitones
    effort: float  # of the subglottal pressure


def compose(
    speaker: Speaker,
    words: Sequence[str],
    rng: np.random.Generator,
    *,
    before: float = 0.3,
    after: float = 0.3,
) -> Score:
    """Set words in time with natural variation of tempo, accent and targets.

    Args:
        words: in Latin letters, see `lexicon`.
        before, after: seconds of silence around them.

    Raises:
        InputError: a word that is none of this model's.
        ConfigError: more than a minute of speech.
    """
    items = [_silence(before)]
    spans: list[tuple[int, int, str]] = []
    parts: list[tuple[int, int, str]] = []
    for place, word in enumerate(words):
        if place and rng.random() < 0.4:
            items.append(_silence(rng.uniform(0.08, 0.2)))
        spelled = syllables(word)
        first = len(items)
        accents = _accents(len(spelled), speaker, rng)
        effort = rng.uniform(0.85, 1.15)
        for syllable, accent in zip(spelled, accents, strict=True):
            parts.append((len(items), len(items) + len(syllable.phones), syllable.text))
            items += _timed(syllable, accent, effort, speaker, rng)
        spans.append((first, len(items), word))
    items.append(_silence(after))
    return _lay_out(items, spans, parts, rng)


def sustain(vowel: str, seconds: float, pitch_slide: float = 0.0) -> Score:
    """One vowel held between silences, for measurements; the pitch slides by so many semitones."""
    held = syllables(vowel)[0].vowel
    half = seconds / 2
    items = [_silence(0.3), _Item(held, held, half, 0.0, 1.0), _Item(held, held, half, pitch_slide, 1.0)]
    whole = [(1, 3, vowel)]
    return _lay_out([*items, _silence(0.3)], whole, whole, None)


def random_words(count: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Different words of the lexicon, in random order."""
    return tuple(WORDS[i] for i in rng.permutation(len(WORDS))[:count])


def _silence(seconds: float) -> _Item:
    return _Item(SILENCE, SILENCE, seconds, 0.0, 1.0)


def _accents(count: int, speaker: Speaker, rng: np.random.Generator) -> NDArray[np.float64]:
    high = rng.integers(count)
    accents = rng.normal(0.0, 0.4, count)
    accents[high] += speaker.liveliness
    return accents


def _timed(
    syllable: Syllable, accent: float, effort: float, speaker: Speaker, rng: np.random.Generator
) -> list[_Item]:
    items = []
    for phone in syllable.phones:
        duration = DURATIONS[phone.kind] * rng.uniform(0.88, 1.15) / speaker.tempo
        items.append(_Item(phone, syllable.vowel, duration, accent, effort))
    return items


def _lay_out(
    items: list[_Item],
    spans: list[tuple[int, int, str]],
    parts: list[tuple[int, int, str]],
    rng: np.random.Generator | None,
) -> Score:
    """Round the whole to the quantum (the last silence takes the rest) and write the commands."""
    ends = np.cumsum([item.duration for item in items])
    duration = float(np.ceil(ends[-1] / QUANTUM - 1e-6) * QUANTUM)
    if duration > MAX_SECONDS:
        raise ConfigError(
            "words", got=f"{duration:.0f} s of speech", expected=f"at most {MAX_SECONDS:.0f} s an utterance"
        )
    ends[-1] = duration
    edges = np.concatenate([[0.0], ends])

    def interval(first: int, stop: int, label: str) -> Interval:
        return Interval(label, float(edges[first]), float(edges[stop]))

    return Score(
        duration=duration,
        words=tuple(interval(*span) for span in spans),
        syllables=tuple(interval(*part) for part in parts),
        phones=tuple(interval(i, i + 1, item.phone.symbol) for i, item in enumerate(items)),
        kinds=tuple(item.phone.kind for item in items),
        commands=_commands(items, edges, rng),
    )


def _commands(
    items: list[_Item], edges: NDArray[Any], rng: np.random.Generator | None
) -> NDArray[np.float64]:
    rows = np.array([_targets(item) for item in items])
    speaking = np.array([item.phone is not SILENCE for item in items])
    if rng is not None:  # nobody says a sound twice the same way
        scatter = np.zeros(len(ARTICULATORS))
        for name, deviation in _SCATTER.items():
            scatter[INDEX[name]] = deviation
        rows[speaking] += scatter * rng.standard_normal((speaking.sum(), len(ARTICULATORS)))
    start = edges[:-1][speaking].min()
    pitch = rows[:, INDEX["pitch"]]
    pitch[speaking] += 1.0 - DECLINATION * (edges[:-1][speaking] - start) / max(1.0, edges[-1] - start)
    for i in range(len(items) - 2, -1, -1):  # a pause keeps the pitch of what follows
        if not speaking[i]:
            pitch[i] = pitch[i + 1]
    return rows


# standard deviations in the articulator's unit
_SCATTER = {
    "jaw": 0.05, "body_place": 0.008, "body_degree": 0.03, "tip_place": 0.003, "lips": 0.05, "rounding": 0.03,
}  # fmt: skip


def _targets(item: _Item) -> list[float]:
    row = []
    for name in ARTICULATORS:
        if name == "pressure":
            row.append(0.0 if item.phone is SILENCE else SPEECH_PRESSURE * item.effort)
        elif name == "pitch":
            row.append(item.accent)
        else:
            free = item.vowel.targets[name][0]
            target, insistence = item.phone.targets.get(name, (free, 1.0))
            row.append(insistence * target + (1.0 - insistence) * free)
    return row
