"""The command line: exit statuses, one sentence for a user's mistake, nothing heavy on the way to --help."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.mri_speech import wandering_spot

from edge_export.__main__ import main
from edge_export.assets import SENTENCE
from edge_export.cli.app import app
from edge_runtime.version import VERSION


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must be refused; returns its one sentence."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    told = [line for line in captured.err.splitlines() if not re.match(r" +\d+\.\d s  ", line)]
    assert len(told) == 1, "one sentence beside the progress"
    assert told[0].startswith("edge-export: ")
    return told[0].removeprefix("edge-export: ")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    promised = {
        "nets",
        "export",
        "verify",
        "compare",
        "lint",
        "bisect",
        "optimise",
        "mel",
        "check",
        "bench",
        "train",
        "demo",
        "doctor",
        "gradcam",
        "occlusion",
    }
    assert {command.callback.__name__ for command in app.registered_commands if command.callback} == promised
    groups = {"run", "reference", "data"}
    assert {group.name for group in app.registered_groups} == groups
    assert all(f"\n  {name} " in text for name in promised | groups)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"edge-export {VERSION}\n"


@pytest.mark.parametrize("arguments", [[], ["data"], ["run"], ["reference"]])
def test_no_command_is_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("Usage: edge-export")


def test_a_reader_that_has_gone_is_no_failed_check() -> None:
    command = [sys.executable, "-m", "edge_export", "nets"]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.close()
    _, complaint = writer.communicate()
    assert (writer.returncode, complaint) == (141, b"")


def test_json_is_not_written_into_the_bundle(small_hifigan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = small_hifigan / "manifest.json"
    before = manifest.read_bytes()
    assert main(["verify", str(small_hifigan), "--backend", "onnxruntime", "--json", str(manifest)]) == 2
    assert "a path inside of the input" in capsys.readouterr().err
    assert manifest.read_bytes() == before


@pytest.mark.parametrize("arguments", [["--help"], ["run", "vocoder", "--help"], ["nets"]])
def test_the_help_imports_nothing_heavy(arguments: list[str]) -> None:
    heavy = ["torch", "onnx", "onnxruntime", "coremltools", "librosa", "scipy", "openvino", "cv2"]
    code = (
        "import sys\nfrom edge_export.__main__ import main\n"
        f"status = main({arguments!r})\n"
        f"loaded = [name for name in {heavy!r} if name in sys.modules]\n"
        "sys.exit(f'loaded {loaded}' if loaded else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_verify_passes_fails_and_is_refused(
    small_hifigan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.json"
    assert main(["verify", str(small_hifigan), "--backend", "onnxruntime", "--json", str(report)]) == 0
    assert "PASS" in capsys.readouterr().out.splitlines()[-1]
    assert json.loads(report.read_text())["passed"] is True
    assert main(["verify", str(small_hifigan), "--backend", "onnxruntime", "--tolerance", "1e-12"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("FAIL")
    assert "no such" in refused(capsys, "verify", tmp_path / "nothing").lower()


def test_mel_writes_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mel.npy"
    assert main(["mel", str(SENTENCE), "--preset", "talking-head", "--out", str(out)]) == 0
    assert "(n_mels, frames) = (80," in capsys.readouterr().out
    assert np.load(out).dtype == np.float32
    assert "expected" in refused(capsys, "mel", SENTENCE, "--preset", "talking-head", "--out", out)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no such file"),
        (b"", "0 bytes"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "speech.wav"),
        (b"<html>not found</html>", "speech.wav"),
    ],
)
def test_audio_that_is_none(
    content: bytes | None, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "speech.wav", tmp_path / "mel.npy"
    if content is not None:
        source.write_bytes(content)
    told = refused(capsys, "mel", source, "--preset", "talking-head", "--out", out)
    assert told.count(str(source)) == 1
    assert sentence in told
    assert "expected" in told
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["verify"], "Missing argument"),
        (["verify", "x", "--tolerance", "much"], "--tolerance"),
        (["export", "hifigam", "--random", "0", "--out", "x"], "hifigan"),
        (["export", "hifigan", "--out", "x"], "--random"),
        (["run", "vocoder", "x.wav", "--out", "x"], "--bundle"),
        (["occlusion", "x.h5", "--out", "x"], "--checkpoint"),
        (["bench", "--against", "jax"], "expected some of torch, librosa"),
    ],
)
def test_usage_errors_are_one_sentence(
    arguments: list[str],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert sentence in refused(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such"):
        main(["verify", str(tmp_path / "nothing"), "--debug"])


def test_what_the_system_refuses_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], small_hifigan: Path
) -> None:
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "out"  # a folder below a file
    told = refused(capsys, "run", "vocoder", SENTENCE, "--bundle", small_hifigan, "--out", target)
    assert told.startswith(f"{target}: got ")


def test_the_console_script_is_installed() -> None:
    script = Path(sys.executable).with_name("edge-export")
    done = subprocess.run([script, "doctor"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("python ")


def test_gradcam_takes_frames_as_they_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--target-frames 0 3 5` is one option with three numbers."""
    (tmp_path / "config.json").write_text(json.dumps(wandering_spot.TINY.to_json()))
    torch.save(wandering_spot.tiny().state_dict(), tmp_path / "best.pt")
    np.save(tmp_path / "clip.npy", wandering_spot.pictures())
    given = ["gradcam", str(tmp_path / "clip.npy"), "--checkpoint", str(tmp_path / "best.pt")]
    given += ["--formant-band", "F1:300-900", "--target-frames", "0", "3", "5", "--out"]
    assert main([*given, str(tmp_path / "cam")]) == 0
    written = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert [name for name in written if "frame" in name and "detail" not in name] == [
        f"gradcam_F1_frame000{number}.png" for number in (0, 3, 5)
    ]
    told = refused(capsys, *given, tmp_path / "clip.npy" / "cam")
    assert "a path inside of the input" in told
    told = refused(capsys, *given, tmp_path / "other", "--formant-band", "F2:900-6000")
    assert told.startswith("--formant-band F2: got 6000 Hz, expected at most the Nyquist frequency")
    assert not (tmp_path / "other").exists()
