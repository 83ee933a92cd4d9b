"""One utterance in all its forms, from the same trajectories.

Time 0 is the same in all of them. Sample n of audio stands at n / rate. Picture k and ECoG frame k cover
k / rate … (k + 1) / rate and show what is in the middle of it; all come to ``⌊duration · rate⌋``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError
from edge_runtime.pipelines.ecog_speech.grids import Density
from edge_training.phantom import cortex, face, midsagittal, voice
from edge_training.phantom.movement import RATE, Movement, move, sample
from edge_training.phantom.score import Interval, Score, compose, random_words, sustain
from edge_training.phantom.speaker import Speaker, generator
from edge_training.phantom.tract import FORMANT_RATE, VocalTract, shape

MRI_RATE = 11413 / 420  # frames per second: one frame per hop of the vocoder
FACE_RATE = 25.0
VOICED_ABOVE = 0.05  # of a normal vowel


@dataclass(frozen=True)
class Tracks:
    """Labels over time at 125 Hz, read in the middle of each frame."""

    pitch: NDArray[np.float32]  # (frames,) Hz, 0 where no voice is
    formants: NDArray[np.float32]  # (frames, 6) Hz


@dataclass(frozen=True)
class Utterance:
    """What a speaker said, ready to be heard and seen. Made by `speak` and `hold`."""

    speaker: Speaker
    seed: int
    index: int
    score: Score

    @property
    def duration(self) -> float:
        """s."""
        return self.score.duration

    @property
    def text(self) -> str:
        """The words."""
        return " ".join(word.label for word in self.score.words)

    @property
    def words(self) -> tuple[Interval, ...]:
        """With on- and offsets."""
        return self.score.words

    @cached_property
    def movement(self) -> Movement:
        """Trajectories of the articulators."""
        return move(self.score)

    @cached_property
    def tract(self) -> VocalTract:
        """Areas and resonances of the vocal tract."""
        return shape(self.speaker, self.movement)

    @cached_property
    def sources(self) -> voice.Sources:
        """Controls of the synthesizer."""
        return voice.control(self.speaker, self.movement, self.tract)

    def audio(self, sample_rate: int) -> NDArray[np.float32]:
        """Samples (n,) in ±1, n = round(duration · rate).

        Raises:
            ConfigError: a rate below 8 or above 48 kHz.
        """
        samples = round(self.duration * sample_rate)
        rng = self._generator("voice")
        return voice.synthesize(self.speaker, self.sources, self.tract, sample_rate, samples, rng)

    def midsagittal(self, rate: float = MRI_RATE, frames: int | None = None) -> NDArray[np.uint8]:
        """Vocal-tract video, (frames, 256, 256) grey; face to the left."""
        frames = self._frames(rate) if frames is None else frames
        return midsagittal.film(self.speaker, self.movement, rate, frames, self._generator("midsagittal"))

    def face(self, rate: float = FACE_RATE, frames: int | None = None) -> NDArray[np.uint8]:
        """Mouth video, (frames, 96, 96, 3) RGB; the mouth is in the lower half."""
        frames = self._frames(rate) if frames is None else frames
        return face.film(self.speaker, self.movement, rate, frames, self._generator("face"))

    def ecog(self, frames: int | None = None, density: Density = "LD") -> NDArray[np.float32]:
        """ECoG at 125 Hz, (frames, 64): an 8×8 grid row by row, about unit variance; "HB": (frames, 128)."""
        frames = self._frames(cortex.ECOG_RATE) if frames is None else frames
        loudness = voice.loudness(self.sources)
        rng = self._generator("cortex")
        return cortex.record(self.speaker, self.movement, loudness, frames, rng, density)

    @cached_property
    def tracks(self) -> Tracks:
        """f0 and formants at 125 Hz."""
        times = (np.arange(self._frames(FORMANT_RATE)) + 0.5) / FORMANT_RATE
        voiced = sample(self.sources.voice, RATE, times) > VOICED_ABOVE
        pitch = np.where(voiced, sample(self.sources.pitch, RATE, times), 0.0)
        return Tracks(
            pitch=pitch.astype(np.float32),
            formants=sample(self.tract.formants, FORMANT_RATE, times).astype(np.float32),
        )

    def _frames(self, rate: float) -> int:
        if not 1.0 <= rate <= 1000.0:
            raise ConfigError("rate", got=f"{rate:g} frames per second", expected="1 … 1000")
        return int(self.duration * rate + 1e-6)

    def _generator(self, purpose: str) -> np.random.Generator:
        return generator(self.seed, "utterance", self.index, purpose)


def speak(
    speaker: Speaker,
    seed: int,
    index: int = 0,
    words: Sequence[str] | None = None,
    *,
    before: float = 0.3,
    after: float = 0.3,
) -> Utterance:
    """Utterance number ``index`` of ``seed``: two to four words of the lexicon, or the ones given.

    Args:
        before, after: seconds of silence around the words.

    Raises:
        InputError: a word that is none of this model's.
        ConfigError: a negative seed or index; more than a minute of speech.
    """
    if words is None:
        choice = generator(seed, "utterance", index, "words")
        words = random_words(int(choice.integers(2, 5)), choice)
    score = compose(speaker, words, generator(seed, "utterance", index, "score"), before=before, after=after)
    return Utterance(speaker, seed, index, score)


def hold(speaker: Speaker, vowel: str, seconds: float = 0.6, pitch_slide: float = 0.0) -> Utterance:
    """A sustained vowel, without random variation of its targets, for measurements."""
    return Utterance(speaker, speaker.seed, 0, sustain(vowel, seconds, pitch_slide))
