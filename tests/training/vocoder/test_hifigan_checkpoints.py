"""HiFi-GAN's own checkpoint pair: written as other tools read it, read as other tools write it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.vocoder.tiny_run import TINY, fit

from edge_runtime.errors import CheckpointError, ConfigError
from edge_training.engine.logs import read_table
from edge_training.engine.run_checkpoints import checkpoint_steps
from edge_training.engine.trainer import TrainResult
from edge_training.weights.reading import read_checkpoint


@pytest.fixture(scope="module")
def pair(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    torch.set_num_threads(1)
    return fit(corpus, tmp_path_factory.mktemp("pair") / "run", steps=6)


def load(path: Path) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(path, weights_only=True)
    return saved


def test_the_pair_has_the_published_layout(pair: TrainResult) -> None:
    folder = pair.weights.parent
    generator, rest = load(folder / "g_00000006"), load(folder / "do_00000006")
    assert set(generator) == {"generator"}
    assert {"conv_pre.bias", "conv_pre.weight_g", "conv_pre.weight_v"} <= set(generator["generator"])
    assert set(rest) == {"mpd", "msd", "optim_g", "optim_d", "steps", "epoch"}
    assert (rest["steps"], rest["epoch"]) == (6, 4)  # 6 steps of 4 items over 6 clips
    assert "discriminators.0.convs.0.weight_g" in rest["mpd"]
    assert "discriminators.0.convs.0.weight_orig" in rest["msd"]
    first = rest["optim_d"]["state"][0]["exp_avg"]
    assert first.shape == rest["msd"]["discriminators.0.convs.0.bias"].shape  # MSD before MPD
    assert set(read_checkpoint(folder / "g_00000006").state) == set(read_checkpoint(pair.weights).state)


def test_training_goes_on_from_a_pair(pair: TrainResult, corpus: Path, tmp_path: Path) -> None:
    """Weights and moments are those of the pair: the first loss is what the seventh step's would be on it."""
    folder = pair.weights.parent
    begun = fit(corpus, tmp_path / "begun", steps=1, start_from=str(folder / "g_00000006"))
    saved = load(checkpoint_steps(begun.run)[1])
    moments = saved["optimizer_states"][0]["state"][0]
    assert float(moments["step"]) == 7
    assert saved["optimizer_states"][1]["param_groups"][0]["lr"] == pytest.approx(1e-3 * 0.9**4)
    assert load(begun.weights.parent / "do_00000001")["epoch"] == 4
    scratch = fit(corpus, tmp_path / "scratch", steps=1)
    first, fresh = (read_table(run.run / "metrics.csv")[0]["loss/mel"] for run in (begun, scratch))
    assert first < fresh


def test_a_begun_run_is_resumed_without_its_pair(pair: TrainResult, corpus: Path, tmp_path: Path) -> None:
    for name in ("g_00000006", "do_00000006"):
        shutil.copy(pair.weights.parent / name, tmp_path / name)
    run, start = tmp_path / "run", str(tmp_path / "g_00000006")
    fit(corpus, run, steps=2, start_from=start)
    straight = fit(corpus, tmp_path / "straight", steps=4, start_from=start)
    (tmp_path / "g_00000006").unlink()
    resumed = fit(corpus, run, steps=4, resume=True, config=None)
    ours, theirs = (load(checkpoint_steps(r.run)[4])["state_dict"] for r in (resumed, straight))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_generator_alone_will_do(pair: TrainResult, corpus: Path, tmp_path: Path) -> None:
    shutil.copy(pair.weights.parent / "g_00000006", tmp_path / "g_00000006")
    begun = fit(corpus, tmp_path / "run", steps=1, start_from=str(tmp_path / "g_00000006"))
    saved = load(checkpoint_steps(begun.run)[1])
    assert float(saved["optimizer_states"][0]["state"][0]["step"]) == 1


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda saved: {"mpd": saved["mpd"]}, "do_00000006: got no msd, expected mpd, msd, optim_g"),
        (
            lambda saved: saved | {"mpd": saved["msd"]},
            "do_00000006: mpd: got missing, unknown or differently",
        ),
        (
            lambda saved: saved | {"optim_d": saved["optim_g"]},
            r"do_00000006: optim_d: got moments of shape .*another order",
        ),
    ],
)
def test_foreign_pairs_are_refused(
    spoil: Any, sentence: str, pair: TrainResult, corpus: Path, tmp_path: Path
) -> None:
    shutil.copy(pair.weights.parent / "g_00000006", tmp_path / "g_00000006")
    torch.save(spoil(load(pair.weights.parent / "do_00000006")), tmp_path / "do_00000006")
    with pytest.raises(CheckpointError, match=sentence):
        fit(corpus, tmp_path / "run", steps=1, start_from=str(tmp_path / "g_00000006"))


def test_a_generator_of_another_wiring_is_refused(pair: TrainResult, corpus: Path, tmp_path: Path) -> None:
    start = str(pair.weights.parent / "g_00000006")
    with pytest.raises(
        ConfigError, match=r"wiring: got 'causal-tail', expected 'stock', according to the keys"
    ):
        fit(corpus, tmp_path / "run", steps=1, wiring="causal-tail", start_from=start)


def test_a_generator_of_another_configuration_is_refused(
    pair: TrainResult, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="g_00000006"):
        fit(
            corpus,
            tmp_path / "run",
            config=TINY | {"upsample_initial_channel": 16},
            steps=1,
            start_from=str(pair.weights.parent / "g_00000006"),
        )


def test_a_training_begins_with_the_set_that_is_named(
    pair: TrainResult, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live = load(pair.weights.parent / "g_00000006")["generator"]
    averaged = {key: value + 1 if key == "conv_pre.bias" else value for key, value in live.items()}
    torch.save({"generator": live, "generator_ema": averaged}, tmp_path / "g_both")
    settings = {"steps": 1, "start_from": str(tmp_path / "g_both"), "learning_rate": 1e-9}
    begun = fit(corpus, tmp_path / "run", start_weights="ema", progress=True, **settings)
    error = read_checkpoint(begun.weights).state["conv_pre.bias"] - averaged["conv_pre.bias"]
    assert float(error.abs().max()) < 1e-6
    assert "start: averaged (EMA) weights of generator_ema taken; the file holds live ones" in (
        capsys.readouterr().err
    )


def test_weights_of_no_start_are_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="start_weights: got 'ema', expected null without start_from"):
        fit(corpus, tmp_path / "run", steps=1, start_weights="ema")
