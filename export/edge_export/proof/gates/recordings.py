"""Two recordings judged as an artifact's sound is: for pipelines, whose sound passes through more than a net.

edge-export run mel-inversion sentence.wav --bundle DIR --out a
edge-export run mel-inversion sentence.wav --bundle DIR --out b --backend mil --precision fp16
edge-export compare a/audio.wav b/audio.wav
"""

from __future__ import annotations

from pathlib import Path

from edge_export.catalog.gates import SPEECH
from edge_export.proof.gates.judging import GateRow
from edge_export.proof.gates.measures import failures, sound_figures
from edge_runtime.media.audio import read_audio

SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".mp3"})


def are_recordings(a: str | Path, b: str | Path) -> bool:
    """Whether both names are those of recordings."""
    return all(Path(place).suffix.lower() in SUFFIXES for place in (a, b))


def judge_recordings(a: str | Path, b: str | Path) -> GateRow:
    """The second recording against the first, at the first's sample rate.

    Recordings of unequal lengths are compared over the shorter one, if a hundredth is missing at most.

    Raises:
        InputError: a file that is not sound, or too short to judge.
    """
    truth = read_audio(a)
    made = read_audio(b, truth.sample_rate)
    length = min(len(truth.samples), len(made.samples))
    longer = max(len(truth.samples), len(made.samples))
    figures = sound_figures(truth.samples[:length], made.samples[:length], truth.sample_rate)
    failed = failures(figures, SPEECH)
    if longer - length > longer // 100:
        failed.append(f"{longer / truth.sample_rate:.3f} s against {length / truth.sample_rate:.3f} s")
    return GateRow(str(b), "-", "-", not failed, figures, tuple(failed), str(a))
