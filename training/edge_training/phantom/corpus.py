"""A corpus on disk: the same speakers and utterances in the layout that each system reads.

    OUT/corpus.json                              the arguments
    OUT/mri/normalized_videos/000.mp4            256×256 grey at 11413/420 Hz (.npy without opencv)
    OUT/mri/audio_wav/000.wav                    11 413 Hz
    OUT/sync/videos/s00_000/0.jpg …  audio.wav   96×96 at 25 frames per second; 16 kHz
    OUT/sync/filelists/train.txt  val.txt        one video a line; every tenth, the last ones, for validation
    OUT/ecog/P00.h5                              see `layouts`; with AllSubjectInfo.json and the parameters
    OUT/wavs/wavs/000.wav                        22 050 Hz
    OUT/wavs/metadata.csv, training.txt, validation.txt
    OUT/{mri,sync,wavs}/labels/000.json          words, syllables, phones with on- and offsets; f0, formants

The same seed gives the same bytes, whatever else is written beside it. Utterance i has the same words in mri,
sync and wavs, and is the same recording wherever it has the same speaker; ecog has one word a trial.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

from edge_runtime.errors import ConfigError
from edge_runtime.pipelines.ecog_speech.grids import check_density
from edge_runtime.store.ownership import holds_only
from edge_runtime.store.reading import find_object
from edge_runtime.store.targets import replace_directory
from edge_training.phantom import layouts
from edge_training.phantom.speaker import Speaker, generator
from edge_training.phantom.utterance import Utterance, speak

System = Literal["mri", "sync", "ecog", "wavs"]
SYSTEMS: tuple[System, ...] = get_args(System)
FORMAT, RECORD = "edge-phantom/1", "corpus.json"
# one speaker where models are speaker-dependent, several where they must not be
SPEAKERS: dict[System, int] = {"mri": 1, "sync": 8, "ecog": 1, "wavs": 1}
FEWEST: dict[System, int] = {"mri": 1, "sync": 2, "ecog": 4, "wavs": 2}  # utterances that can be split


def write_corpus(
    out: str | os.PathLike[str],
    utterances: int,
    seed: int,
    *,
    systems: Sequence[str] = SYSTEMS,
    speakers: int | None = None,
    density: str = "LD",
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write ``utterances`` of each system below ``out`` and return that path.

    Args:
        systems: of `SYSTEMS`.
        speakers: how many; they take turns. Default: 8 for sync, 1 elsewhere.
        density: of the electrodes: "LD", 8 × 8; "HB", the 128 of a hybrid grid.
        overwrite: replace an older corpus at ``out`` (nothing else is ever replaced).
        progress: called with a line of text before each utterance.

    Raises:
        ConfigError: no or unknown systems, too few utterances, a negative seed, no speakers.
        BackendError: a library that a layout needs is missing (opencv for sync, h5py for ecog).
        TargetError: ``out`` exists or cannot be written.
    """
    chosen = _checked(systems, utterances, speakers)
    grid = check_density(density)
    generator(seed, "speaker", 0, "voice")  # raises for a bad seed before anything is written
    for system in chosen:
        layouts.check_libraries(system)
    say = progress or (lambda _: None)
    with replace_directory(out, overwrite, ours=_is_corpus) as folder:
        counts = {system: speakers or SPEAKERS[system] for system in chosen}
        for system in chosen:
            voices = [Speaker.sample(seed, index) for index in range(min(counts[system], utterances))]
            if system == "ecog":
                trials = _trials(voices, utterances, seed, say)
                layouts.write_ecog(folder / system, voices, trials, grid)
            else:
                spoken = (
                    _phrase(voices, seed, index, utterances, system, say) for index in range(utterances)
                )
                layouts.WRITERS[system](folder / system, spoken, utterances)
        _write_description(folder, seed, utterances, counts)
    return Path(out)


def _checked(systems: Sequence[str], utterances: int, speakers: int | None) -> list[System]:
    unknown = [name for name in systems if name not in SYSTEMS]
    if unknown or not systems:
        raise ConfigError(
            "systems", got=", ".join(map(repr, unknown)) or "none", expected=f"some of {', '.join(SYSTEMS)}"
        )
    chosen = [system for system in SYSTEMS if system in systems]
    fewest = max(FEWEST[system] for system in chosen)
    if utterances < fewest:
        raise ConfigError(
            "utterances", got=str(utterances), expected=f"at least {fewest} for {', '.join(chosen)}",
            cause="some are kept apart for validation",
        )  # fmt: skip
    if speakers is not None and speakers < 1:
        raise ConfigError("speakers", got=str(speakers), expected="at least 1")
    return chosen


_WRITTEN = re.compile(
    r"mri/(normalized_videos/\d{3,}\.(mp4|npy)|audio_wav/\d{3,}\.wav|labels/\d{3,}\.json)"
    r"|sync/(videos/s\d+_\d{3,}/(\d+\.jpg|audio\.wav)|filelists/(train|val)\.txt|labels/s\d+_\d{3,}\.json)"
    r"|ecog/(P\d+\.h5|AllSubjectInfo\.json|train_param_production\.json)"
    r"|wavs/(wavs/\d{3,}\.wav|labels/\d{3,}\.json|metadata\.csv|training\.txt|validation\.txt)"
)


def _is_corpus(folder: Path) -> bool:
    """Whether a folder holds a corpus, of some systems, and nothing that `write_corpus` does not write."""
    record = find_object(folder / RECORD)
    systems = record.get("speakers")
    if record.get("format") != FORMAT or not isinstance(systems, dict):
        return False
    return holds_only(
        folder,
        lambda name: name == RECORD or (name.split("/")[0] in systems and bool(_WRITTEN.fullmatch(name))),
    )


def _phrase(
    voices: list[Speaker], seed: int, index: int, count: int, system: str, say: Callable[[str], None]
) -> Utterance:
    utterance = speak(voices[index % len(voices)], seed, index)
    say(f"{system} {index + 1}/{count}: {utterance.text}")
    return utterance


def _trials(
    voices: list[Speaker], count: int, seed: int, say: Callable[[str], None]
) -> dict[str, list[Utterance]]:
    """Single words of each speaker, far apart, every word as often as the others."""
    trials: dict[str, list[Utterance]] = {voice.name: [] for voice in voices}
    order = layouts.balanced_words(count, generator(seed, "speaker", 0, "words"))
    for index, word in enumerate(order):
        voice = voices[index % len(voices)]
        say(f"ecog {index + 1}/{count}: {word}")
        trials[voice.name].append(speak(voice, seed, index, (word,), before=1.2, after=0.8))
    return trials


def _write_description(folder: Path, seed: int, utterances: int, counts: dict[System, int]) -> None:
    description = {
        "format": FORMAT,
        "seed": int(seed),
        "utterances": utterances,
        "speakers": {system: min(count, utterances) for system, count in counts.items()},
    }
    layouts.write_json(folder / RECORD, description)
