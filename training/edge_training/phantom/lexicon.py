"""Phones as articulatory targets, and the words that are made of them.

Articulators and units of their targets, in the order of `ARTICULATORS`:

    jaw           opening at the incisors, cm
    body_place    place of the tongue body's hump, 0 glottis … 1 lips
    body_degree   distance of that hump from the opposite wall, cm; negative presses against it
    tip_place     place of the tongue tip, 0 … 1
    tip_height    distance of the tip from the palate, cm; negative presses; from `TIP_REST` on out of play
    lips          opening between the lips, cm; negative presses
    rounding      0 spread … 1 rounded and protruded
    velum         nasal port, 0 closed … 1 open
    glottis       area of the open glottis averaged over a cycle, cm²: below 0.1 the folds vibrate
    pressure      below the glottis, cm H2O
    pitch         semitones above the middle of the speaker's range
    larynx        height, cm above rest

A consonant has targets for the articulators that form it, each with an insistence (1: reached fully); all
others already move towards the vowel of the syllable. The vowels' targets were fitted by least squares, so
that `tract` gives the first three formants of a male tract of 17 cm: a 750 1200 2500, i 310 2150 2730,
u 330 1250 2330, e 470 1950 2590, o 470 820 2470 Hz.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from edge_runtime.errors import InputError

ARTICULATORS = (
    "jaw", "body_place", "body_degree", "tip_place", "tip_height", "lips",
    "rounding", "velum", "glottis", "pressure", "pitch", "larynx",
)  # fmt: skip
INDEX = {name: place for place, name in enumerate(ARTICULATORS)}

TIP_REST = 1.8  # cm
VOICED, VOICELESS, BREATHING = 0.05, 0.26, 0.5  # cm², of the glottis
SPEECH_PRESSURE = 8.0  # cm H2O

Kind = Literal["vowel", "plosive", "fricative", "nasal", "flap", "glide", "aspirate", "silence"]
# seconds at tempo 1
DURATIONS: dict[Kind, float] = {
    "vowel": 0.120, "plosive": 0.090, "fricative": 0.110, "nasal": 0.075,
    "flap": 0.040, "glide": 0.065, "aspirate": 0.075, "silence": 0.100,
}  # fmt: skip


@dataclass(frozen=True)
class Phone:
    """Targets of one speech sound: articulator → (target, insistence 0 … 1)."""

    symbol: str
    kind: Kind
    voiced: bool
    targets: dict[str, tuple[float, float]] = field(default_factory=dict)


def _vowel(symbol: str, **targets: float) -> Phone:
    base = {"tip_place": 0.87, "tip_height": TIP_REST, "velum": 0.0, "glottis": VOICED, "larynx": 0.0}
    return Phone(symbol, "vowel", True, {name: (value, 1.0) for name, value in (base | targets).items()})


def _consonant(symbol: str, kind: Kind, voiced: bool, **targets: tuple[float, float]) -> Phone:
    base = {"velum": (0.0, 1.0), "glottis": (VOICED if voiced else VOICELESS, 1.0)}
    return Phone(symbol, kind, voiced, base | targets)


_LIP_CLOSURE = {"lips": (-0.35, 1.0), "jaw": (0.25, 0.5)}
_TIP_CLOSURE = {"tip_place": (0.885, 1.0), "tip_height": (-0.25, 1.0), "jaw": (0.2, 0.7)}
_BODY_CLOSURE = {"body_place": (0.60, 0.6), "body_degree": (-0.35, 1.0), "jaw": (0.3, 0.5)}
_OPEN_PORT = {"velum": (1.0, 1.0)}

VOWELS = {
    phone.symbol: phone
    for phone in (
        _vowel("a", jaw=1.08, body_place=0.30, body_degree=0.55, lips=1.70, rounding=0.0),
        _vowel("i", jaw=0.05, body_place=0.72, body_degree=0.15, lips=1.20, rounding=0.0),
        _vowel("u", jaw=0.21, body_place=0.66, body_degree=0.21, lips=0.41, rounding=0.7, larynx=-0.3),
        _vowel("e", jaw=0.31, body_place=0.73, body_degree=0.60, lips=1.16, rounding=0.0),
        _vowel("o", jaw=0.54, body_place=0.36, body_degree=0.38, lips=0.59, rounding=0.95, larynx=-0.3),
    )
}
CONSONANTS = {
    phone.symbol: phone
    for phone in (
        _consonant("p", "plosive", False, **_LIP_CLOSURE),
        _consonant("b", "plosive", True, **_LIP_CLOSURE),
        _consonant("m", "nasal", True, **(_LIP_CLOSURE | _OPEN_PORT)),
        _consonant("t", "plosive", False, **_TIP_CLOSURE),
        _consonant("d", "plosive", True, **_TIP_CLOSURE),
        _consonant("n", "nasal", True, **(_TIP_CLOSURE | _OPEN_PORT)),
        _consonant("k", "plosive", False, **_BODY_CLOSURE),
        _consonant("g", "plosive", True, **_BODY_CLOSURE),
        _consonant("s", "fricative", False, tip_place=(0.905, 1.0), tip_height=(0.14, 1.0), jaw=(0.1, 0.9)),
        _consonant("z", "fricative", True, tip_place=(0.905, 1.0), tip_height=(0.16, 1.0), jaw=(0.1, 0.9)),
        _consonant(
            "sh", "fricative", False, tip_place=(0.84, 1.0), tip_height=(0.15, 1.0), jaw=(0.1, 0.9),
            body_place=(0.74, 0.7), body_degree=(0.5, 0.7), rounding=(0.5, 0.6),
        ),
        _consonant("f", "fricative", False, lips=(0.06, 1.0), jaw=(0.2, 0.5)),
        _consonant("h", "aspirate", False),
        _consonant("r", "flap", True, tip_place=(0.86, 1.0), tip_height=(-0.12, 1.0)),
        _consonant(
            "w", "glide", True, lips=(0.25, 1.0), rounding=(0.9, 1.0), jaw=(0.3, 0.5),
            body_place=(0.52, 0.8), body_degree=(0.45, 0.8),
        ),
        _consonant("y", "glide", True, body_place=(0.72, 1.0), body_degree=(0.15, 1.0), jaw=(0.1, 0.7)),
    )
}  # fmt: skip
# at the end of a syllable; the vowel before it lends it the other articulators
MORAIC_N = Phone("N", "nasal", True, CONSONANTS["n"].targets)
# mouth closed, breathing through the nose
SILENCE = Phone(
    "sil", "silence", False,
    {
        name: (value, 1.0)
        for name, value in zip(
            ARTICULATORS,
            (0.15, 0.55, 0.9, 0.87, TIP_REST, -0.05, 0.15, 0.7, BREATHING, 0.0, 0.0, 0.0),
            strict=True,
        )
    },
)  # fmt: skip

WORDS = (
    "pata", "kiso", "mune", "tobu", "gama", "shiro", "hana", "yuki", "wani", "rebo",
    "pome", "bani", "tuko", "dema", "kapu", "gito", "saru", "zeni", "shuma", "fune",
    "hobi", "mapa", "niku", "roda", "yabe", "waso", "pika", "boku", "teza", "dogu",
    "kemu", "gupa", "sopa", "zubi", "shoga", "furi", "hepu", "mita", "nabe", "rusha",
    "panda", "kinmo", "sensu", "tonbi", "gunpe", "hinka", "mabuta", "sakana", "kotoba", "tamago",
)  # fmt: skip

_SYLLABLE = re.compile(r"(sh|[pbmtdnkgszfhrwy])?([aiueo])(n(?![aiueo]))?")


@dataclass(frozen=True)
class Syllable:
    """Onset (or None), vowel, moraic n (or None)."""

    text: str
    onset: Phone | None
    vowel: Phone
    coda: Phone | None

    @property
    def phones(self) -> tuple[Phone, ...]:
        return tuple(phone for phone in (self.onset, self.vowel, self.coda) if phone is not None)


def syllables(word: str) -> tuple[Syllable, ...]:
    """A word in Latin letters as syllables: (consonant) vowel (n).

    Raises:
        InputError: letters that do not form syllables of this model.
    """
    found, place = [], 0
    while place < len(word):
        match = _SYLLABLE.match(word, place)
        if match is None:
            raise InputError(
                f"word {word!r}", got=f"{word[place:]!r}", expected="syllables such as ka, shi, o or pan",
                cause=f"consonants are {' '.join(CONSONANTS)}, vowels {' '.join(VOWELS)}",
            )  # fmt: skip
        onset, vowel, coda = match.groups()
        found.append(
            Syllable(
                match.group(),
                CONSONANTS[onset] if onset else None,
                VOWELS[vowel],
                MORAIC_N if coda else None,
            )
        )
        place = match.end()
    if not found:
        raise InputError("word", got="no letters", expected="syllables such as ka, shi, o or pan")
    return tuple(found)
