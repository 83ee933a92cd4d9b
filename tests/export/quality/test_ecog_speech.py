"""The table of an ECoG decoder: which trials it is of, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from tests.recorded_ecog import recorded

from edge_export.quality.ecog_speech import main
from edge_runtime.pipelines.ecog_speech.recordings import write_recording
from edge_training.ecog_speech.decoders.ecog_decoder import EcogDecoderConfig, build_decoder
from edge_training.ecog_speech.formant_synthesizer import FormantSynthesizer, FormantSynthesizerConfig
from edge_training.ecog_speech.speech_encoder import SpeechEncoder, SpeechEncoderConfig


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A run that held out the last trial of four, its teacher, the recording."""
    folder = tmp_path_factory.mktemp("ecog")
    write_recording(folder / "S1.h5", recorded())
    net = EcogDecoderConfig("lstm", electrodes=16, layers=1, units=6, classes=5, bins=128)
    encoder, synthesizer = (
        SpeechEncoderConfig(bins=128),
        FormantSynthesizerConfig(bins=128, harmonics=4, filter_samples=8),
    )
    checkpoints = folder / "run" / "checkpoints"
    for place, name, module, config in (
        (checkpoints, "ecog-decoder", build_decoder(net), net),
        (folder / "pair", "speech-encoder", SpeechEncoder(encoder), encoder),
        (folder / "pair", "formant-synthesizer", FormantSynthesizer(synthesizer), synthesizer),
    ):
        place.mkdir(parents=True, exist_ok=True)
        save_file(
            {key: value.contiguous() for key, value in module.state_dict().items()},
            place / f"{name}.safetensors",
        )
        (place / f"{name}.json").write_text(json.dumps(config.to_json()))
    record = {
        "net": "ecog-decoder",
        "config": {"split": "last", "test_trials": 1, "seed": 1, "shuffled": True},
        "clips": ["S1-000-one", "S1-001-two", "S1-002-one"],
    }
    (folder / "run" / "config.json").write_text(json.dumps(record))
    paths: dict[str, Any] = {
        "checkpoint": checkpoints / "ecog-decoder.safetensors", "teacher": folder / "pair",
        "data": folder / "S1.h5",
    }  # fmt: skip
    return [f"--{name}={path}" for name, path in paths.items()]


def test_trials_are_those_that_the_run_held_out(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, f"--json={tmp_path / 'figures.json'}"]) == 0
    printed = capsys.readouterr()
    assert "run: the last 1 of each subject" in printed.err
    assert [line.split()[:2] for line in printed.out.splitlines()[1:]] == [["all", "1"], ["hear", "1"]]
    assert json.loads((tmp_path / "figures.json").read_text())["all"]["trials"] == 1


def test_figures_that_cannot_be_written_are_refused(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main([*options, f"--json={tmp_path / 'file' / 'figures.json'}"]) == 2
    assert "figures.json: got " in capsys.readouterr().err


def test_trials_that_it_was_trained_on_are_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "--set", "test_trials=2"]) == 2
    assert "got 1 of 2 that it was trained on, S1-002-one first" in capsys.readouterr().err


def test_weights_outside_of_a_run_take_the_split_that_is_given(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = Path(options[0].partition("=")[2])
    for path in inside.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    moved = [
        f"--checkpoint={tmp_path / inside.name}",
        *options[1:],
        "--set",
        "split=word",
        "--set",
        "word=two",
    ]
    assert main(moved) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:2] == ["all", "2"]


@pytest.mark.parametrize("entry", ["learning_rate=1", "shuffled=true"])
def test_entries_that_say_nothing_of_trials_are_refused(
    options: list[str], entry: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*options, "--set", entry]) == 2
    assert f"--set: got {entry.partition('=')[0]}, expected one of subjects, split" in capsys.readouterr().err
