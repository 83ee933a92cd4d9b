"""`--weights` and `--set` stand wherever a checkpoint is taken, and reach the loader."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
import typer
from tests.small_weights import TINY, tiny

from edge_export.cli.app import app
from edge_runtime.errors import ConfigError
from edge_training.vocoder import quality
from edge_training.weights.options import SETTINGS_HELP, WEIGHTS_HELP, add_options, given_options


@pytest.fixture
def two_sets(tmp_path: Path) -> Path:
    """A file with live weights and averaged ones, which are one higher."""
    live = tiny().fold().state_dict()
    torch.save(
        {"generator": live, "generator_ema": {key: value + 1 for key, value in live.items()}},
        tmp_path / "g.pt",
    )
    (tmp_path / "config.json").write_text(json.dumps(TINY.to_json()))
    return tmp_path / "g.pt"


@pytest.mark.parametrize("command", ["export", "train", "gradcam", "data predicted-mels"])
def test_commands_that_take_a_checkpoint_have_both(command: str) -> None:
    found = typer.main.get_command(app)
    for name in command.split():
        found = found.commands[name]  # type: ignore[attr-defined]
    helps = {option.opts[0]: getattr(option, "help", "") for option in found.params}
    assert (helps["--weights"], helps["--set"]) == (WEIGHTS_HELP, SETTINGS_HELP)


def test_tools_read_them_alike() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    assert given_options(parser.parse_args([])) == {"weights": None, "changes": {}}
    given = parser.parse_args(["--weights", "ema", "--set", "fmax=7000", "--set", "wiring=stock"])
    assert given_options(given) == {"weights": "ema", "changes": {"fmax": 7000, "wiring": "stock"}}
    with pytest.raises(ConfigError, match="--set: got 'fmax', expected NAME=VALUE"):
        given_options(parser.parse_args(["--set", "fmax"]))


def test_a_quality_tool_takes_the_set_that_is_named(two_sets: Path) -> None:
    live, averaged = (
        quality.load_generator(two_sets, weights=name).state_dict()["conv_pre.bias"]
        for name in ("live", "ema")
    )
    assert torch.equal(averaged, live + 1)
    assert quality.load_generator(two_sets, changes={"fmax": 7000}).config.fmax == 7000
