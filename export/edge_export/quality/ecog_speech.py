"""How well an ECoG decoder speaks on trials that it was not trained on.

    python -m edge_export.quality.ecog_speech --checkpoint DECODER --teacher PAIR --data DATA

DECODER is a file of weights, PAIR what `--set teacher=` of its training takes, DATA a folder of recordings,
or one. Which trials are held out is read from the run's config.json where the weights lie in a run; `--set`
overrides it (`split`, `word`, `fold`, `folds`, `test_trials`, `subjects`, `coarse`, `extended`, `bad`). A row
for each task: `edge_training.ecog_speech.quality` says what the figures are. Trials that the run names among
those it was trained on are refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_runtime.errors import ConfigError, EdgeError
from edge_training.ecog_speech.data import EcogData
from edge_training.ecog_speech.decoder_recipe import EcogDecoderFit
from edge_training.ecog_speech.fit_config import DATA
from edge_training.ecog_speech.quality import Figures, measure, table
from edge_training.ecog_speech.teacher import open_teacher
from edge_training.weights.configs import read_config
from edge_training.weights.loading import load_net
from edge_training.weights.options import SETTINGS_FORM, WEIGHTS_HELP, parse_settings

RUN_FOLDERS = ("checkpoints", "best")  # between a run's config.json and its weights


def judge(
    checkpoint: Path,
    teacher: Path,
    data: Path,
    *,
    weights: str | None = None,
    changes: Mapping[str, Any] | None = None,
    said: list[str] | None = None,
) -> dict[str, Figures]:
    """Task → figures of its held-out trials, and of all under "all".

    Args:
        checkpoint: weights of a decoder.
        teacher: run of a first stage, its folder of weights, or a file of neural_speech_decoding.
        data: folder of recordings, or one.
        weights: of a checkpoint with several sets: "ema", "live" or a name.
        changes: entries that say which trials are held out; they override those of the run.
        said: takes what was inferred.

    Raises:
        ConfigError: trials that the decoder was trained on, entries that say nothing of trials.
        EdgeError: what weights and recordings are refused for.
    """
    said = [] if said is None else said
    record = _record(checkpoint)
    fit = _fit(record, changes or {})
    trials = EcogData(fit.source(data))
    if record:
        said.append(f"held-out trials as in {_run(checkpoint)}: {_split(fit)}")
        _refuse_known(trials, record.get("clips", ()))
    decoder = load_net(checkpoint, "ecog-decoder", weights=weights)
    pair = open_teacher(teacher, bins=trials.bins, female=trials.female, said=said)
    said += decoder.said
    return measure(decoder.module.net, *pair, trials)


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
    return record if isinstance(record.get("config"), Mapping) else {}


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 2 for what cannot be measured."""
    parser = argparse.ArgumentParser(description="An ECoG decoder on trials that it was not trained on.")
    for name, what in (
        ("checkpoint", "weights of ecog-decoder"),
        ("teacher", "run of speech-encoder, its weights' folder, or a model_epoch file"),
        ("data", "folder of recordings, or one"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, help=what)
    parser.add_argument("--weights", metavar="SET", help=WEIGHTS_HELP)
    parser.add_argument(
        "--set", action="append", default=[], dest="settings", metavar=SETTINGS_FORM,
        help="Which trials are held out, as in training: split, word, fold …; repeat.",
    )  # fmt: skip
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    said: list[str] = []
    try:
        changes = parse_settings(given.settings)
        figures = judge(
            given.checkpoint, given.teacher, given.data, weights=given.weights, changes=changes, said=said
        )
    except EdgeError as error:
        print(error, file=sys.stderr)
        return 2
    for sentence in said:
        print(sentence, file=sys.stderr)
    print(table(figures))
    if given.json is not None:
        rows = {task: asdict(row) for task, row in figures.items()}
        given.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
