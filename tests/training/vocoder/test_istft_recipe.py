"""Training of `istft-vocoder`: configuration, what a step does, discriminators, resuming, fine-tuning."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.training.vocoder.tiny_run import RATE, write_clips

from edge_runtime.dsp.mel import PRESETS as MELS
from edge_runtime.dsp.mel import MelFrontEnd
from edge_runtime.errors import ConfigError
from edge_runtime.media.audio import read_audio
from edge_training.engine.logs import read_table
from edge_training.engine.trainer import TrainResult, train
from edge_training.vocoder.discriminators import PeriodConfig
from edge_training.vocoder.istft_recipe import PRESETS, IstftVocoderFit, varied
from edge_training.vocoder.istft_vocoder import IstftVocoder, IstftVocoderConfig

MEL = replace(
    MELS["hifigan-22k"], sample_rate=RATE, n_fft=64, win_length=64, hop_length=16, n_mels=12, fmax=3000.0
)
TINY: dict[str, Any] = {
    "mel": MEL.to_json(), "width": 8, "expansion": 1, "blocks": 1, "kernel": 3, "embed_kernel": 3,
    "batch_size": 4, "segment_frames": 16, "seed": 7, "sizes": [32], "discriminator_sizes": [32, 64],
    "mpd": {"periods": [2], "channels": [4, 4]}, "warm_up_steps": 1, "validation_clips": 1,
    "log_every": 1, "checkpoint_every": 3, "validate_every": 100, "learning_rate": 5e-3, "average": 0.5,
}  # fmt: skip


def fit(corpus: Path, out: Path, **settings: Any) -> TrainResult:
    arguments: dict[str, Any] = {"config": TINY, "progress": False} | settings
    return train("istft-vocoder", corpus, out, **arguments)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"), 3)


def test_it_learns_and_a_resumed_run_is_the_same(corpus: Path, tmp_path: Path) -> None:
    whole = fit(corpus, tmp_path / "whole", steps=12)
    losses = [row["loss"] for row in read_table(whole.run / "metrics.csv") if row.get("loss") is not None]
    assert losses[-1] < 0.9 * losses[0]
    fit(corpus, tmp_path / "parts", steps=3, decay_steps=12)
    parts = fit(corpus, tmp_path / "parts", steps=12, resume=True)
    other = fit(corpus, tmp_path / "again", steps=12, decay_steps=12)
    ours, theirs = load_file(parts.weights), load_file(other.weights)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    config = json.loads((whole.weights.parent / "config.json").read_text())
    net = IstftVocoder(IstftVocoderConfig.from_json(config))
    net.load_state_dict(load_file(whole.weights))


def test_discriminators_play_from_their_step_on(corpus: Path, tmp_path: Path) -> None:
    result = fit(corpus, tmp_path / "run", steps=3, discriminate_from=1, ramp_steps=2)
    rows = [row for row in read_table(result.run / "metrics.csv") if row.get("loss") is not None]
    assert [row.get("loss/discriminator") is not None for row in rows] == [False, True, True]
    assert result.steps == 3
    regression = sum(TINY_WEIGHTS[name] * rows[1][f"loss/{name}"] for name in TINY_WEIGHTS)
    play = 1.0 * rows[1]["loss/adversarial"] + 2.0 * rows[1]["loss/feature"]
    assert rows[1]["loss"] == pytest.approx(regression + 0.5 * play, rel=1e-5)


TINY_WEIGHTS = {
    "mel": 15.0, "magnitude": 10.0, "phase": 8.0, "resolutions": 5.0, "consistency": 10.0, "spectrum": 10.0,
}  # fmt: skip


def test_fine_tuning_takes_the_mels_that_are_there(corpus: Path, tmp_path: Path) -> None:
    """Told that all is silence, the net is silent, and the figure says how far that is from the tones."""
    mels = tmp_path / "mels"
    mels.mkdir()
    for path in corpus.iterdir():
        silence = np.full_like(MelFrontEnd(MEL)(read_audio(path).samples), np.log(1e-5))
        np.save(mels / f"{path.stem}.npy", silence)
    tuned = fit(corpus, tmp_path / "tuned", steps=1, mels_dir=str(mels))
    assert tuned.metrics["validation/mel"] > 3.0


def test_levels_and_signs_vary() -> None:
    torch.manual_seed(0)
    levels = varied(torch.ones(400, 2))
    assert torch.equal(levels[:, 0], levels[:, 1])
    assert levels.abs().min() > np.exp(-1.31)
    assert levels.abs().max() < np.exp(0.11)
    assert 120 < int((levels[:, 0] < 0).sum()) < 280


def test_the_rate_rises_and_falls() -> None:
    config = replace(PRESETS["lj-22k"], steps=1000, warm_up_steps=100)
    assert config.rate_share(0) == pytest.approx(0.01)
    assert config.rate_share(99) > 0.97
    assert config.rate_share(1000) == pytest.approx(0.02)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_config_round_trip(name: str) -> None:
    config = replace(PRESETS[name], mels_dir="x", speeds=(0.9,), mpd=PeriodConfig(periods=(3,)))
    assert IstftVocoderFit.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"optimizer": "sgd"}, "optimizer: got 'sgd', expected 'adamw' or 'muon'"),
        ({"segment_frames": 2}, "segment_frames: got 2, expected a whole number, 3 or more"),
        ({"speeds": [3.0]}, "speeds: got .*, expected numbers in 0.5 … 2"),
        ({"sizes": [30]}, "sizes: got .*, expected multiples of 4"),
        ({"lambda_mel": -1}, "lambda_mel: got -1, expected a number, 0 or more"),
        ({"discriminate_from": -1}, "discriminate_from: got -1, expected a whole number, or null"),
        ({"extra_mels_dir": "x"}, "extra_mels_dir: got no mels_dir"),
        ({"mpd": 3}, "mpd: got 3, expected an object"),
        ({"mpd": {"period": [2]}}, "entry 'period'"),
        ({"widht": 3}, "entry 'widht': .*is 'width' meant"),
        ({"vary": 1}, "vary: got 1, expected true or false"),
    ],
)
def test_impossible_numbers_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        IstftVocoderFit.from_json(TINY | changes)
