"""Who speaks: tract length, pitch, tempo and voice quality, drawn from a seed.

Every stage that needs more of a speaker (the face, the anatomy, the electrodes) draws it from the speaker's
own generator for that purpose, so that a new trait in one stage changes no other. The same holds for
utterances: `generator` is the only source of random numbers in this package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from edge_runtime.errors import ConfigError

Owner = Literal["speaker", "utterance"]
OWNERS: tuple[Owner, ...] = ("speaker", "utterance")
# purposes are numbered by place: append, never insert, or every corpus changes
PURPOSES = ("voice", "midsagittal", "face", "cortex", "score", "words")


def generator(seed: int, owner: Owner, index: int, purpose: str) -> np.random.Generator:
    """Independent random numbers of one purpose of one speaker or utterance.

    Raises:
        ConfigError: a negative seed or index.
    """
    for name, value in (("seed", seed), ("index", index)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
            raise ConfigError(name, got=repr(value), expected="a whole number, 0 or more")
    key = (OWNERS.index(owner), int(index), PURPOSES.index(purpose))
    return np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=key))


@dataclass(frozen=True)
class Speaker:
    """Traits that stay for all utterances of a speaker."""

    seed: int
    index: int
    female: bool
    tract_length: float  # cm, glottis to lips at rest
    pitch: float  # Hz, middle of the range
    liveliness: float  # semitones of accents
    tempo: float  # 1 is about five syllables per second; larger is faster
    open_quotient: float  # part of the cycle in which the glottis is open
    breathiness: float  # noise in voiced sounds, relative to the standard
    tilt: float  # Hz, corner of the one-pole low-pass of the glottal pulse

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            if not low <= getattr(self, name) <= high:
                raise ConfigError(name, got=f"{getattr(self, name):g}", expected=f"{low:g} … {high:g}")

    @classmethod
    def sample(cls, seed: int, index: int = 0) -> Self:
        """Speaker number ``index`` of ``seed``; odd numbers are women, even numbers men.

        Raises:
            ConfigError: a negative seed or index.
        """
        rng = generator(seed, "speaker", index, "voice")
        female = bool(index % 2)
        return cls(
            seed=int(seed),
            index=int(index),
            female=female,
            tract_length=float(rng.uniform(14.0, 15.4) if female else rng.uniform(16.2, 17.8)),
            pitch=float(rng.uniform(185, 230) if female else rng.uniform(95, 135)),
            liveliness=float(rng.uniform(1.0, 2.5)),
            tempo=float(rng.uniform(0.85, 1.15)),
            open_quotient=float(rng.uniform(0.55, 0.7)),
            breathiness=float(rng.uniform(0.6, 1.5)),
            tilt=float(rng.uniform(1500, 3000)),
        )

    @property
    def name(self) -> str:
        """Stands in file names."""
        return f"s{self.index:02d}"

    def generator(self, purpose: str) -> np.random.Generator:
        """Random numbers for what else a stage wants to know of this speaker; the same on every call."""
        return generator(self.seed, "speaker", self.index, purpose)


# the model's assumptions hold for adults
_RANGES = (
    ("tract_length", 12.0, 20.0),
    ("pitch", 60.0, 320.0),
    ("tempo", 0.5, 2.0),
    ("open_quotient", 0.3, 0.9),
    ("breathiness", 0.0, 5.0),
    ("tilt", 300.0, 10000.0),
)
