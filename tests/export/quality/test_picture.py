"""The measurements of picture and speech, on the sentence that edge-export carries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests import small_bundles

from edge_export.examples.photograph import landscape
from edge_export.quality.picture import correlation, main, read_recordings
from edge_runtime.media.audio import write_wav
from edge_runtime.media.png import read_png


def test_correlation() -> None:
    values = np.random.default_rng(0).random((5, 7))
    assert correlation(values, 2 * values + 1) == pytest.approx(1)
    assert correlation(values, -values) == pytest.approx(-1)
    assert correlation(values, np.ones((5, 7))) == 0


def test_the_landscape_is_the_same_every_time_and_uses_all_greys() -> None:
    picture = landscape(64, 256)
    np.testing.assert_array_equal(picture, landscape(64, 256))
    assert (picture.min(), picture.max()) == (pytest.approx(0.05), 1)
    assert 0.15 < picture.std() < 0.4
    assert np.abs(picture - landscape(64, 256, seed=1)).mean() > 0.02


def test_eight_bits_cost_more_than_sixteen_and_imprints_show(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (sentence,) = read_recordings(None, 4)
    write_wav(data / "a.wav", sentence[: 160 * 110], 16000)
    given = ["--data", str(data), "--iterations", "3", "--strength", "0", "--strength", "0.9"]
    given += ["--picture", str(tmp_path / "p.png"), "--json", str(tmp_path / "f.json")]
    assert main(given) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["step", "pesq", "stoi"]
    assert printed[-1].startswith("strength 0.9 ")
    rows = json.loads((tmp_path / "f.json").read_text())
    trips = [row["figures"] for row in rows["round trip"]]
    assert 0 == trips[0]["step"] < trips[1]["step"] < trips[2]["step"] < 16.8 / 255 / 2
    assert all(figures["stoi"] > 0.9 for figures in trips)
    without, strong = (row["figures"] for row in rows["imprint"])
    for figure in ("seen", "sound"):
        assert strong[figure] > without[figure] + 0.3
    assert strong["stoi"] < without["stoi"]
    assert read_png(tmp_path / "p.png").shape == (4 * 128 + 3 * 4, 55)


def test_what_cannot_be_measured_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path)]) == 2
    assert "got no recordings, expected files .wav" in capsys.readouterr().err
    assert main(["--vocoder", "somewhere"]) == 2
    assert "--vocoder: got somewhere, expected NAME=DIR" in capsys.readouterr().err
    bundle = small_bundles.write_vocoder(tmp_path / "small")
    assert main(["--vocoder", f"small={bundle}"]) == 2
    assert "take a vocoder of the preset auffusion" in capsys.readouterr().err
