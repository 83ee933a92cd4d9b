"""Figures of predicted mels: against numpy's own correlation, and the command that prints them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.training.mri_speech.mri_run import fit_mri, prepare_clips

from edge_runtime.errors import InputError
from edge_training.mri_speech.data import MriData, MriSource
from edge_training.mri_speech.mri_acoustic import MriAcousticConfig
from edge_training.mri_speech.predicted_mels import Predictor
from edge_training.mri_speech.quality import F64, Mels, correlations, figures, judge, main


def mels(seed: int = 0, noise: float = 0.5) -> Mels:
    draw = np.random.default_rng(seed)
    truth = draw.standard_normal((40, 6)) * 10 - 50
    predicted = truth + noise * 10 * draw.standard_normal(truth.shape)
    return Mels(truth, predicted, np.full(6, -50.0))


def test_correlations_are_numpys() -> None:
    clip = mels()
    expected = [np.corrcoef(clip.truth[:, band], clip.predicted[:, band])[0, 1] for band in range(6)]
    np.testing.assert_allclose(correlations(clip), expected)
    assert figures(clip)["correlation"] == pytest.approx(np.mean(expected))


def test_gain_is_over_the_mean() -> None:
    clip = mels(noise=0.5)
    assert figures(clip)["gain"] == pytest.approx(10 * np.log10(1 / 0.25), abs=0.7)
    mean = Mels(clip.truth, np.broadcast_to(clip.mean, clip.truth.shape), clip.mean)
    assert figures(mean)["gain"] == pytest.approx(0)
    assert figures(mean)["correlation"] == 0


def test_a_band_that_stands_still_is_left_out() -> None:
    clip = mels(noise=0)
    clip.truth[:, 2] = -80
    assert np.isnan(correlations(clip)[2])
    assert figures(clip)["correlation"] == pytest.approx(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_clips(tmp_path_factory.mktemp("mri"))


def test_a_net_that_knows_the_answer(folder: Path) -> None:
    """Its clips are told by their pictures' number of frames."""
    data = MriData(MriSource(folder, 16, 64, validation_clips=2))
    answers = {len(item["mel"]): item["mel"] for item in map(data.validation_item, range(2))}
    perfect = judge(Predictor(MriAcousticConfig(), lambda frames: answers[len(frames)]), data)
    assert perfect.db["correlation"] == pytest.approx(1, abs=1e-6)
    assert perfect.db["mse"] == pytest.approx(0, abs=1e-6)
    off = judge(Predictor(MriAcousticConfig(), lambda frames: answers[len(frames)] + np.float32(0.1)), data)
    shift: F64 = np.asarray(data.std, np.float64) * 0.1
    assert off.db["mse"] == pytest.approx(np.square(shift).mean(), rel=1e-4)
    assert off.db["correlation"] == pytest.approx(1, abs=1e-6)
    frames = np.concatenate(list(answers.values()))
    assert off.pooled["baseline"] == pytest.approx(np.square(frames * data.std).mean(), rel=1e-4)


def test_no_held_out_clips(folder: Path) -> None:
    data = MriData(MriSource(folder, 16, 64, validation_clips=0))
    with pytest.raises(InputError, match="got no validation clips"):
        judge(Predictor(MriAcousticConfig(), lambda frames: frames), data)


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = fit_mri(folder, tmp_path / "run", steps=1)
    figures_file = tmp_path / "figures.json"
    main(["--checkpoint", str(result.weights), "--data", str(folder), "--json", str(figures_file)])
    shown = capsys.readouterr().out
    found = json.loads(figures_file.read_text())
    assert f"{found['db']['correlation']:.3f}" in shown
    assert len(found["bands"]) == 64
    main(["--checkpoint", str(result.weights), "--data", str(folder), "--mode", "window"])
    assert capsys.readouterr().out != shown
