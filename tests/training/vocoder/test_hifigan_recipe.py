"""HiFi-GAN's configuration and its step against the textbook's order of operations."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.vocoder.tiny_run import TINY, fit

from edge_runtime.dsp.mel import MelFrontEnd
from edge_runtime.errors import ConfigError, EdgeWarning, strictly
from edge_runtime.media.audio import read_audio
from edge_training.engine.logs import read_table
from edge_training.engine.run_checkpoints import checkpoint_steps
from edge_training.engine.trainer import doubt_front_ends
from edge_training.vocoder.hifigan import HifiGanConfig
from edge_training.vocoder.hifigan_recipe import PRESETS, HifiGanFit
from edge_training.weights.reading import read_checkpoint, read_config

STOCK = {
    "resblock": "1", "num_gpus": 0, "batch_size": 16, "learning_rate": 0.0002, "adam_b1": 0.8,
    "adam_b2": 0.99, "lr_decay": 0.999, "seed": 1234,
    "upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4],
    "upsample_initial_channel": 512, "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]], "segment_size": 8192, "num_mels": 80,
    "num_freq": 1025, "n_fft": 1024, "hop_size": 256, "win_size": 1024, "sampling_rate": 22050, "fmin": 0,
    "fmax": 8000, "fmax_for_loss": None, "num_workers": 4,
    "dist_config": {"dist_backend": "nccl", "dist_url": "tcp://localhost:54321", "world_size": 1},
}  # fmt: skip


def test_a_published_config_is_the_defaults() -> None:
    assert HifiGanFit.from_json(STOCK) == replace(PRESETS["v1"], num_workers=4)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_config_round_trip(name: str) -> None:
    config = replace(PRESETS[name], msd=None, mels_dir="x", stft_resolutions=((64, 16, 64),))
    assert HifiGanFit.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_the_published_numbers() -> None:
    config = PRESETS["v1"]
    assert (config.lambda_mel, config.lambda_feature, config.lambda_adversarial) == (45.0, 2.0, 1.0)
    assert (config.lambda_stft, config.warm_up_steps) == (0.0, 0)
    assert (config.weight_decay, config.segment_size, config.peak) == (0.01, 8192, 0.95)
    assert config.mels[0].fmax == 8000
    assert config.mels[1].upper_edge == 11025
    assert PRESETS["rtmri"].learning_rate == 5e-5
    assert PRESETS["rtmri"].segment_size == 8400


def test_the_rtmri_systems_numbers() -> None:
    config = PRESETS["rtmri-origin"]
    assert (config.optimizer, config.weight_decay, config.learning_rate) == ("adabelief", 0.0, 5e-5)
    assert (config.schedule, config.plateau_factor, config.plateau_patience) == ("plateau", 0.1, 4)
    assert (config.extra_mels_weight, config.mpd.padding, config.net.wiring) == (0.8, 4, "causal-tail")


def test_the_exported_config_is_a_stock_one() -> None:
    entries = HifiGanFit.from_json(STOCK).net_json()
    assert entries["resblock"] == "1"
    assert {"learning_rate", "adam_b1", "batch_size", "segment_size"} <= set(entries)
    assert HifiGanConfig.from_json(entries) == replace(PRESETS["v1"].net, segment_size=8192)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"optimizer": "sgd"}, "optimizer: got 'sgd', expected 'adamw', 'adabelief' or 'muon'"),
        ({"schedule": "cosine"}, "schedule: got 'cosine'"),
        ({"mpd": 3}, "mpd: got 3, expected an object"),
        ({"mpd": {"period": [2]}}, "entry 'period': .*is 'periods' meant"),
        ({"extra_mels_weight": 2, "mels_dir": "x"}, "extra_mels_weight: got 2, expected a number in 0 … 1"),
        ({"batch_size": 1.5}, "batch_size: got 1.5, expected a positive whole number"),
        ({"seed": -1}, "seed: got -1"),
        ({"start_from": 3}, "start_from: got 3, expected a path, or null"),
        ({"warm_up_steps": -1}, "warm_up_steps: got -1"),
        ({"validation_clips": -1}, "validation_clips: got -1"),
        ({"discriminator_rate": 0}, "discriminator_rate: got 0, expected a positive number, or null"),
        ({"channels_last": 1}, "channels_last: got 1, expected true or false"),
    ],
)
def test_config_rules(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        HifiGanFit.from_json(STOCK | changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"fmax_for_loss": 16000},
            "fmax_for_loss: got 6 of 80 mel bands empty (the first is 74): fmax 16000 Hz is above half "
            "the sampling rate, 11025 Hz, expected bands that all hear something",
        ),
        ({"n_fft": 256, "hop_size": 256, "win_size": 256}, "fmax: got 4 of 80 mel bands empty"),
    ],
)
def test_bands_that_hear_nothing_are_told(changes: dict[str, Any], sentence: str) -> None:
    config = HifiGanFit.from_json(STOCK | changes)
    with pytest.warns(EdgeWarning) as told:
        doubt_front_ends(config.front_ends)
    assert str(told[0].message).startswith(sentence)
    with strictly(), pytest.raises(ConfigError, match=re.escape(sentence)):
        doubt_front_ends(config.front_ends)
    doubt_front_ends(HifiGanFit.from_json(STOCK).front_ends)


def test_warm_up_leaves_the_discriminators_alone(corpus: Path, tmp_path: Path) -> None:
    run = fit(corpus, tmp_path / "run", steps=4, warm_up_steps=2, checkpoint_every=2).run
    rows = read_table(run / "metrics.csv")
    assert ["loss/discriminator" in row for row in rows] == [False, False, True, True]
    begin = fit(corpus, tmp_path / "begin", steps=1, warm_up_steps=2).run

    def judges(folder: Path, step: int) -> dict[str, torch.Tensor]:
        path = folder / f"checkpoints/step-{step:08d}.ckpt"
        saved = torch.load(path, weights_only=True)["state_dict"]
        return {key: value for key, value in saved.items() if key.startswith(("mpd", "msd"))}

    before, warm, after = judges(begin, 1), judges(run, 2), judges(run, 4)
    assert all(torch.equal(before[key], warm[key]) for key in before)
    assert any(not torch.equal(before[key], after[key]) for key in before)


def test_channels_last_trains_the_same_net(corpus: Path, tmp_path: Path) -> None:
    runs = [fit(corpus, tmp_path / f"{on}", steps=3, channels_last=on).run for on in (False, True)]
    plain, ours = ([row["loss/generator"] for row in read_table(run / "metrics.csv")] for run in runs)
    assert ours == pytest.approx(plain, rel=1e-4)


def test_muon_is_the_generators_and_rates_are_apart(corpus: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"optimizer": "muon", "discriminator_rate": 1e-4, "checkpoint_every": 3}
    run = fit(corpus, tmp_path / "run", steps=6, **settings).run
    generator, judges = torch.load(checkpoint_steps(run)[6], weights_only=True)["optimizer_states"]
    passes = 5 * 4 // len(read_config(run / "config.json")["clips"])  # before step 6, 4 clips a step
    assert passes > 0
    assert generator["param_groups"][0]["lr"] == pytest.approx(1e-3 * 0.9**passes)
    assert judges["param_groups"][0]["lr"] == pytest.approx(1e-4 * 0.9**passes)
    assert any("exp_avg_sq" not in state for state in generator["state"].values())
    assert all("exp_avg_sq" in state for state in judges["state"].values())
    fit(corpus, tmp_path / "resumed", steps=3, **settings)
    resumed = fit(corpus, tmp_path / "resumed", steps=6, resume=True, config=None).run
    states = [torch.load(checkpoint_steps(r)[6], weights_only=True)["state_dict"] for r in (run, resumed)]
    assert all(torch.equal(states[1][name], tensor) for name, tensor in states[0].items())


def test_the_average_of_weights_is_exported_and_resumed(corpus: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"average": 0.5, "checkpoint_every": 1, "keep_checkpoints": 9}
    run = fit(corpus, tmp_path / "run", steps=4, **settings)
    states = [
        torch.load(path, weights_only=True)["state_dict"] for path in checkpoint_steps(run.run).values()
    ]
    key = "conv_post.bias"
    mean = states[0][f"average.{key}"]
    for step, state in enumerate(states[1:], start=2):
        decay = min(0.5, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * state[f"generator.{key}"]
        torch.testing.assert_close(state[f"average.{key}"], mean)
    assert torch.equal(read_checkpoint(run.weights).state[key], states[-1][f"average.{key}"])
    assert not torch.equal(states[-1][f"average.{key}"], states[-1][f"generator.{key}"])
    fit(corpus, tmp_path / "resumed", steps=2, **settings)
    resumed = fit(corpus, tmp_path / "resumed", steps=4, resume=True, config=None)
    again = torch.load(checkpoint_steps(resumed.run)[4], weights_only=True)["state_dict"]
    assert all(torch.equal(again[name], tensor) for name, tensor in states[-1].items())


def test_fine_tuning_on_mels(corpus: Path, tmp_path: Path) -> None:
    """Trained on the true mels as files, the loss falls; the recordings keep their level."""
    mels = tmp_path / "mels"
    mels.mkdir()
    config = HifiGanFit.from_json(TINY)
    for path in corpus.glob("*.wav"):
        np.save(mels / f"{path.stem}.npy", MelFrontEnd(config.net.mel)(read_audio(path).samples))
    result = fit(
        corpus,
        tmp_path / "run",
        steps=15,
        learning_rate=3e-3,
        mels_dir=str(mels),
        extra_mels_dir=str(mels),
        extra_mels_weight=0.5,
    )
    rows = read_table(result.run / "metrics.csv")
    assert rows[-1]["loss/mel"] < 0.8 * rows[0]["loss/mel"]
    assert read_config(result.run / "config.json")["config"]["extra_mels_weight"] == 0.5
