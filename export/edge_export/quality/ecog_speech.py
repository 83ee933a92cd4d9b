"""How well an ECoG decoder speaks on trials that it was not trained on.

    python -m edge_export.quality.ecog_speech --checkpoint DECODER --teacher PAIR --data DATA

DECODER is a file of weights, PAIR what `--set teacher=` of its training takes, DATA a folder of recordings,
or one. Which trials are held out is read from the run's config.json where the weights lie in a run; `--set`
overrides it (`split`, `word`, `fold`, `folds`, `test_trials`, `subjects`, `coarse`, `extended`, `bad`). A row
for each task: `edge_training.ecog_speech.analysis.quality` tells the figures. Trials that the run names
among those it was trained on are refused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_export.quality import command
from edge_training.ecog_speech.analysis.held_out import held_out_trials
from edge_training.ecog_speech.analysis.quality import Figures, measure, table
from edge_training.ecog_speech.teacher import open_teacher
from edge_training.weights.loading import load_net
from edge_training.weights.options import SETTINGS_FORM, WEIGHTS_HELP, parse_settings


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
    trials = held_out_trials(checkpoint, data, changes, said)
    decoder = load_net(checkpoint, "ecog-decoder", weights=weights)
    pair = open_teacher(teacher, bins=trials.bins, female=trials.female, said=said)
    said += decoder.said
    return measure(decoder.module.net, *pair, trials)


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
    parser.add_argument("--json", type=Path, help="write the figures as JSON too")
    parser.set_defaults(out=None)
    return command.run(parser, _measured, arguments)


def _measured(given: argparse.Namespace) -> command.Measured:
    said: list[str] = []
    changes = parse_settings(given.settings)
    figures = judge(
        given.checkpoint, given.teacher, given.data, weights=given.weights, changes=changes, said=said
    )
    for sentence in said:
        command.say(sentence)
    return table(figures), {task: asdict(row) for task, row in figures.items()}


if __name__ == "__main__":
    sys.exit(main())
