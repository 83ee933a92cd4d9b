"""A command per pipeline, with the options that it declares and no other."""

from __future__ import annotations

import re
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from tests import small_bundles

from edge_export.__main__ import main
from edge_export.assets import SENTENCE
from edge_export.cli.pipelines import make_command
from edge_runtime.pipelines.declaration import EXECUTION, Declaration, Input, Option, Role
from edge_runtime.pipelines.registry import PIPELINES


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence of a command that must be refused."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("group", ["run", "reference"])
@pytest.mark.parametrize("name", PIPELINES)
def test_help_lists_the_options_of_that_pipeline_alone(
    group: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([group, name, "--help"]) == 0
    text = capsys.readouterr().out
    assert "--strict refuses" in text
    listed = set(re.findall(r"^  (?:-h, )?(--[a-z0-9-]+)", text, re.MULTILINE))
    declared = {option.flag for option in PIPELINES[name].all_options}
    declared |= {each.option for each in PIPELINES[name].inputs if each.flag}
    extras = {"--tf32", "--cuda-graphs"} | ({"--swift", "--kotlin"} if group == "reference" else set())
    assert listed == declared | extras | {"--out", "--bundle", "--overwrite", "--help"}


def test_the_group_lists_the_pipelines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    text = capsys.readouterr().out
    for name, declared in PIPELINES.items():
        assert f"  {name} " in text
        assert declared.summary in text, "the summary is short enough for its line"


def test_options_reach_the_pipeline(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = small_bundles.write_encoder(tmp_path / "encoder")
    given = ["run", "talking-head", str(SENTENCE), "--fps", "30000/1001", "--batch-size", "7"]
    given += ["--bundle", f"bundle={encoder}", "--out", str(tmp_path / "out")]
    assert main(given) == 0
    assert "mel_spectrogram.npy" in capsys.readouterr().out
    assert '"fps": 29.97002997002997' in (tmp_path / "out" / "metadata.json").read_text()
    seconds = np.load(tmp_path / "out" / "mel_spectrogram.npy").shape[1] / 80
    rows = np.load(tmp_path / "out" / "audio_features_raw.npy").shape[0]
    assert abs(rows - 30 * seconds) < 8, "thirty rows a second, less the window's width"


def test_what_does_not_fit_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", tmp_path / "out"]
    sentence = told(capsys, "run", "vocoder", SENTENCE, "--fps", "25", *out)
    assert sentence == "edge-export: No such option: --fps (edge-export run vocoder --help)\n"
    sentence = told(capsys, "run", "talking-head", SENTENCE, "--fps", "many", *out)
    assert sentence.startswith("edge-export: --fps: got 'many', expected frames a second: a number, or a fr")
    sentence = told(capsys, "run", "talking-head", SENTENCE, "--batch-size", "1.5", *out)
    assert sentence == "edge-export: --batch-size: got '1.5', expected a whole number\n"
    sentence = told(capsys, "run", "talkinghead", SENTENCE, *out)
    assert sentence.startswith("edge-export: PIPELINE: got 'talkinghead', expected one of talking-head, voc")
    sentence = told(capsys, "reference", "mri-speech", SENTENCE, "--mode", "half", *out)
    assert sentence == "edge-export: --mode: got 'half', expected full or window\n"
    sentence = told(capsys, "run", "mri-speech", SENTENCE, "--bundle", "sound=x", *out)
    assert sentence == "edge-export: --bundle: got sound=x, expected DIR, or acoustic=DIR or vocoder=DIR\n"
    sentence = told(capsys, "run", "talking-head", *out)
    assert "Missing argument 'INPUT'" in sentence
    assert not (tmp_path / "out").exists()


def test_several_inputs_and_roles_become_a_signature(tmp_path: Path) -> None:
    declared = Declaration(
        "image-speech",
        "Two prompts.",
        (Role("image_unet", ("unet",)), Role("audio_unet", ("unet",))),
        (Option("scale", float, "Of guidance", 7.5),),
        (Input("picture", "What is seen.", str), Input("sound", "What is heard.", str)),
    )
    calls = []

    def action(*arguments: object, **options: object) -> Path:
        calls.append((arguments, options))
        return tmp_path

    command = make_command(declared, lambda: action)
    names = [option.name for option in EXECUTION]
    assert list(signature(command).parameters) == [
        *("picture", "sound", "out", "bundle", "scale"),
        *names,
        "overwrite",
    ]
    given = dict.fromkeys(names)
    bundles = ["image_unet=a", "audio_unet=b"]
    command(picture="a castle", sound="bells", out=tmp_path, bundle=bundles, scale="3", **given)
    ((arguments, options),) = calls
    pairs = [("image_unet", "a"), ("audio_unet", "b")]
    assert arguments == ("image-speech", {"picture": "a castle", "sound": "bells"}, pairs, tmp_path)
    assert options.pop("progress") is not None
    assert options == {"scale": 3, "overwrite": False}
