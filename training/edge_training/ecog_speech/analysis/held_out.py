"""Which trials a decoder was not trained on: as its run says, or as is asked for.

Weights of a run lie in RUN/checkpoints or RUN/checkpoints/best; RUN/config.json says how the trials were
split, and which of them it was trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_runtime.errors import ConfigError
from edge_training.ecog_speech.data import EcogData
from edge_training.ecog_speech.decoder_recipe import EcogDecoderFit
from edge_training.ecog_speech.fit_config import DATA
from edge_training.weights.configs import read_config

RUN_FOLDERS = ("checkpoints", "best")  # between a run's config.json and its weights


def held_out_trials(
    checkpoint: Path,
    data: Path,
    changes: Mapping[str, Any] | None = None,
    said: list[str] | None = None,
) -> EcogData:
    """The recordings, split as in the training of a decoder.

    Args:
        checkpoint: weights of a decoder.
        data: folder of recordings, or one.
        changes: entries of `DATA`; they override those of the run that the weights lie in.
        said: takes what was inferred.

    Raises:
        ConfigError: trials that the decoder was trained on, entries that say nothing of trials.
        InputError: recordings that are refused.
    """
    record = _record(checkpoint)
    fit = _fit(record, changes or {})
    trials = EcogData(fit.source(data))
    if record:
        _refuse_known(trials, record["clips"])
    if said is not None:
        said += _told(checkpoint, record, trials, _split(fit), by_hand=bool(changes))
    return trials


def _told(
    checkpoint: Path, record: Mapping[str, Any], trials: EcogData, split: str, *, by_hand: bool
) -> Iterator[str]:
    """Which trials are taken, and what nobody knows about them."""
    if not record:
        yield (
            f"{checkpoint.name} lies in no run that says which trials it was trained on: "
            f"that these were held out is yours to know: {split}"
        )
        return
    whence = "by --set, none of them of the training of" if by_hand else "as in"
    yield f"held-out trials {whence} {_run(checkpoint)}: {split}"
    strange = [recording.name for recording in trials.recordings if not _has(record["clips"], recording.name)]
    if strange:
        yield (
            f"{', '.join(strange)}: by the file's name no subject of that training; "
            "if it was renamed, trials that it was trained on may be among these"
        )


def _has(clips: Sequence[str], subject: str) -> bool:
    return any(re.match(rf"{re.escape(subject)}-\d{{3,}}-", clip) for clip in clips)


def _run(checkpoint: Path) -> Path:
    folder = checkpoint.absolute().parent
    while folder.name in RUN_FOLDERS:
        folder = folder.parent
    return folder


def _record(checkpoint: Path) -> dict[str, Any]:
    """The config.json of the run that the weights lie in; nothing where they lie in none."""
    run = _run(checkpoint)
    place = run / "config.json"
    if run == checkpoint.absolute().parent or not place.is_file():
        return {}
    record = read_config(place)
    clips = record.get("clips")
    listed = isinstance(clips, list) and all(isinstance(clip, str) for clip in clips)
    return record if listed and isinstance(record.get("config"), Mapping) else {}


def _fit(record: Mapping[str, Any], changes: Mapping[str, Any]) -> EcogDecoderFit:
    for name in changes:
        if name not in DATA or name == "shuffled":
            known = [known for known in DATA if known != "shuffled"]
            raise ConfigError("--set", got=name, expected=f"one of {', '.join(known)}")
    recorded = {name: value for name, value in record.get("config", {}).items() if name in DATA}
    seed = {"seed": record["config"]["seed"]} if "seed" in record.get("config", {}) else {}
    return EcogDecoderFit.from_json(recorded | seed | dict(changes) | {"shuffled": False})


def _split(fit: EcogDecoderFit) -> str:
    told = {
        "last": f"the last {fit.test_trials} of each subject",
        "folds": f"fold {fit.fold} of {fit.folds}",
        "word": f"the word {fit.word}",
    }
    return told[fit.split]


def _refuse_known(trials: EcogData, trained: Sequence[str]) -> None:
    known = sorted(set(trials.validation_names) & set(trained))
    if known:
        raise ConfigError(
            "held-out trials",
            got=f"{len(known)} of {len(trials.validation_names)} that it was trained on, {known[0]} first",
            expected="trials that its training held out",
            cause="--set names another split than its run did",
        )
