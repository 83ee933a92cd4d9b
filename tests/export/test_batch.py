"""Several files with one --out: a result each, what fails is said and passed by, nothing else is touched."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from tests.small_bundles import write_encoder

from edge_export.__main__ import main
from edge_export.assets import SENTENCE
from edge_export.run import run
from edge_runtime.media.audio import read_audio, write_wav


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("bundle") / "encoder")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "rec"
    folder.mkdir()
    speech = read_audio(SENTENCE, 16000).samples
    for name, start in (("a", 0), ("b", 8000)):
        write_wav(folder / f"{name}.wav", speech[start : start + 12000], 16000)
    (folder / "bad.wav").write_bytes(b"RIFF\x24\0\0\0WAVEfmt ")
    return folder


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def features(folder: Path) -> np.ndarray:
    found: np.ndarray = np.load(folder / "audio_features_raw.npy")
    return found


def test_each_has_the_result_that_it_has_alone(
    recordings: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert call("run", "talking-head", recordings, "--bundle", encoder, "--out", out) == 1
    told = capsys.readouterr()
    assert told.out.splitlines()[-1] == f"FAIL  {out}: 2 of 3 files done"
    assert told.err.count("failed: ") == 1
    assert f"failed: {recordings}/bad.wav: " in told.err
    assert sorted(path.name for path in out.iterdir()) == ["a", "b", "results.json"]
    for name in ("a", "b"):
        alone = run("talking-head", recordings / f"{name}.wav", [encoder], tmp_path / name)
        np.testing.assert_array_equal(features(out / name), features(alone))
    record = json.loads((out / "results.json").read_text())["results"]
    assert [record[name]["failed"] is None for name in ("a", "b", "bad")] == [True, True, False]


def test_earlier_results_are_replaced_on_request_and_others_stay(
    recordings: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, line = tmp_path / "out", ("run", "talking-head", "--bundle", encoder, "--out", tmp_path / "out")
    assert call(*line, f"{recordings}/[ab].wav") == 0
    before = features(out / "b")
    assert call(*line, f"{recordings}/a*.wav") == 2
    assert "got an existing folder" in capsys.readouterr().err
    write_wav(recordings / "a.wav", read_audio(SENTENCE, 16000).samples[4000:12000], 16000)
    assert call(*line, f"{recordings}/a*.wav", "--overwrite") == 0
    assert len(features(out / "a")) < len(before)
    np.testing.assert_array_equal(features(out / "b"), before)
    (out / "thesis.tex").write_text("mine")
    capsys.readouterr()
    assert call(*line, f"{recordings}/a*.wav", "--overwrite") == 2
    assert "did not write, such as thesis.tex" in capsys.readouterr().err


def test_nothing_is_written_where_names_collide(recordings: Path, encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    twin = (recordings / "a.wav").rename(tmp_path / "more" / "B.wav")
    line = ("run", "talking-head", recordings / "b.wav", twin, "--bundle", encoder, "--out", tmp_path / "out")
    assert call(*line) == 2
    assert not (tmp_path / "out").exists()


def test_mels_of_several_files(recordings: Path, tmp_path: Path) -> None:
    given = (recordings / "a.wav", recordings / "b.wav")
    assert call("mel", *given, "--preset", "talking-head", "--out", tmp_path / "mels") == 0
    assert sorted(path.name for path in (tmp_path / "mels").iterdir()) == ["a.npy", "b.npy", "results.json"]
    assert call("mel", given[0], "--preset", "talking-head", "--out", tmp_path / "a.npy") == 0
    alone = np.load(tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "mels" / "a.npy"), alone)


def test_standard_input(
    recordings: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO((recordings / "a.wav").read_bytes()))
    monkeypatch.setattr("sys.stdin", stream)
    assert call("run", "talking-head", "-", "--bundle", encoder, "--out", tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "metadata.json").read_text())["source"] == "stdin"
    alone = run("talking-head", recordings / "a.wav", [encoder], tmp_path / "alone")
    np.testing.assert_array_equal(features(tmp_path / "out"), features(alone))


def test_a_result_does_not_replace_its_own_input(
    recordings: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run("talking-head", recordings / "a.wav", [encoder], tmp_path / "out")
    (recordings / "a.wav").rename(out / "a.wav")
    line = ("run", "talking-head", out / "a.wav", "--bundle", encoder, "--out", out, "--overwrite")
    assert call(*line) == 2
    assert "got the folder of the input" in capsys.readouterr().err
    assert (out / "a.wav").is_file()
