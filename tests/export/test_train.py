"""What `edge-export train` adds to the trainer: settings, and the export of the result."""

from __future__ import annotations

from inspect import signature
from pathlib import Path

import pytest

from edge_export.train import parse_settings, train_and_export
from edge_runtime.errors import ConfigError, InputError, TargetError
from edge_training.engine.trainer import train


def test_settings_are_json_or_text() -> None:
    given = ["learning_rate=1e-4", "mels_dir=/data/mels", "betas=[0.8, 0.99]", "start_from=a=b", "flag=true"]
    assert parse_settings(given) == {
        "learning_rate": 1e-4,
        "mels_dir": "/data/mels",
        "betas": [0.8, 0.99],
        "start_from": "a=b",
        "flag": True,
    }


@pytest.mark.parametrize("entry", ["learning_rate", "=3", "learning rate=3"])
def test_a_setting_without_name_or_value_is_refused(entry: str) -> None:
    with pytest.raises(ConfigError, match=f"--set: got {entry!r}, expected NAME=VALUE"):
        parse_settings([entry])


@pytest.mark.parametrize("name", sorted({*signature(train).parameters, "bundle"} - {"settings"}))
def test_a_setting_that_is_an_argument_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"--set: got {name}, expected an entry of the configuration"):
        parse_settings([f"{name}=3"])


def test_a_bundle_that_exists_is_refused_before_the_training(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="a folder that exists"):
        train_and_export("hifigan", tmp_path / "data", tmp_path / "run", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_data_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        train_and_export("hifigan", tmp_path / "data", tmp_path / "run", tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []
