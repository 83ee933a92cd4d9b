"""The one way to train: what a run leaves, exact resuming, several processes, refusals."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tests.training.vocoder.tiny_run import TINY, fit, fit_elsewhere, write_clips

from edge_runtime.errors import CheckpointError, ConfigError, EdgeError, InputError, TargetError
from edge_training.engine.logs import read_table
from edge_training.engine.run_checkpoints import checkpoint_steps
from edge_training.engine.trainer import TrainResult, train
from edge_training.vocoder.data import VocoderData
from edge_training.vocoder.hifigan import HifiGan, HifiGanConfig
from edge_training.weights.reading import find_config, load_checkpoint, read_checkpoint, read_config

VOCODER_KEEP_ON = VocoderData.keep_on


@pytest.fixture(scope="module")
def straight(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """20 steps without interruption."""
    torch.set_num_threads(1)
    return fit(corpus, tmp_path_factory.mktemp("straight") / "run", steps=20)


def state_at(run: Path, step: int) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(checkpoint_steps(run)[step], weights_only=True)
    return saved


def assert_equal(ours: Any, theirs: Any) -> None:
    """Bit-equal tensors in equal structures."""
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs)
    elif isinstance(ours, Mapping):
        assert set(ours) == set(theirs)
        for key in ours:
            assert_equal(ours[key], theirs[key])
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_equal(one, other)
    else:
        assert ours == theirs


def assert_same_end(run: Path, reference: Path) -> None:
    ours, theirs = state_at(run, 20), state_at(reference, 20)
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
        assert_equal(ours[part], theirs[part])
    assert losses(run) == losses(reference)


def losses(run: Path) -> list[dict[str, float]]:
    """The table without what only some runs took: a validation at a last step that was not due."""
    return [
        {name: value for name, value in row.items() if name.startswith("loss/")}
        for row in read_table(run / "metrics.csv")
    ]


# ---- what a run leaves ------------------------------------------------------------------------------------


def test_a_run_leaves_what_its_docstring_says(straight: TrainResult) -> None:
    run, checkpoints = straight.run, straight.run / "checkpoints"
    assert sorted(path.name for path in run.iterdir()) == [
        "checkpoints", "config.json", "metrics.csv", "plots", "tensorboard",
    ]  # fmt: skip
    assert {"best", "best.ckpt", "config.json", "generator.safetensors", "g_00000020", "do_00000020"} <= {
        path.name for path in checkpoints.iterdir()
    }
    assert list(checkpoint_steps(run)) == [10, 15, 20]
    pictures = sorted(path.name for path in (run / "plots").iterdir())
    assert pictures == ["losses.png", "validation-00000010.png", "validation-00000020.png"]
    assert all((run / "plots" / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert any((run / "tensorboard").glob("events.out.tfevents.*"))


def test_every_step_is_in_the_table(straight: TrainResult) -> None:
    rows = read_table(straight.run / "metrics.csv")
    assert [row["step"] for row in rows] == list(range(1, 21))
    assert all({"loss/generator", "loss/mel", "loss/discriminator"} <= set(row) for row in rows)
    assert [row["step"] for row in rows if "validation/mel" in row] == [10, 20]


def test_exported_weights_are_the_generators(straight: TrainResult) -> None:
    for weights in (straight.weights, straight.best_weights):
        assert weights is not None
        checkpoint = read_checkpoint(weights)
        config = find_config(weights)
        assert config is not None
        net = HifiGan(HifiGanConfig.from_json(read_config(config)))
        load_checkpoint(net, checkpoint, net="hifigan")
    trained = HifiGan(net.config, weight_norm=True)
    trained.load_state_dict(
        {
            key.removeprefix("generator."): tensor
            for key, tensor in state_at(straight.run, 20)["state_dict"].items()
            if key.startswith("generator.")
        }
    )
    load_checkpoint(net, read_checkpoint(straight.weights), net="hifigan")
    mel = torch.randn(1, 8, 10)
    with torch.no_grad():
        torch.testing.assert_close(net(mel), trained(mel), rtol=0, atol=1e-6)


def test_the_record_repeats_the_run(straight: TrainResult, corpus: Path, tmp_path: Path) -> None:
    record = json.loads((straight.run / "config.json").read_text())
    assert record["net"] == "hifigan"
    assert record["clips"] == [f"clip{clip:02d}" for clip in range(6)]
    assert record["validation_clips"] == ["clip06"]
    assert record["versions"]["torch"] == torch.__version__
    again = fit(corpus, tmp_path / "again", config=straight.run / "config.json")
    assert_same_end(again.run, straight.run)


# ---- resuming ---------------------------------------------------------------------------------------------

KILL = """
import os, signal
from lightning.pytorch.callbacks import Callback
class Kill(Callback):
    def on_train_batch_start(self, trainer, *rest):
        if trainer.global_step == 13:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_and_resumed_equals_straight(straight: TrainResult, corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    killed = fit_elsewhere(corpus, run, before=KILL, steps="20", callbacks="[Kill()]")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert max(checkpoint_steps(run)) == 10
    assert read_table(run / "metrics.csv")[-1]["step"] == 13
    assert fit(corpus, run, resume=True).steps == 20
    assert_same_end(run, straight.run)


@pytest.mark.parametrize("steps", [3, 10, 17])
def test_stopped_and_resumed_equals_straight(
    steps: int, straight: TrainResult, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(corpus, tmp_path / "run", steps=steps)
    kept: list[bool] = []

    def keep_on(data: VocoderData, device: torch.device, most: int) -> bool:
        kept.append(VOCODER_KEEP_ON(data, device, most))
        return kept[-1]

    monkeypatch.setattr(VocoderData, "keep_on", keep_on)
    # with data on the device batches, and so losses and weights, are the same
    fit(corpus, tmp_path / "run", steps=20, resume=True, data_on_device=steps > 3)
    assert kept == ([True] if steps > 3 else [])
    assert_same_end(tmp_path / "run", straight.run)


def test_a_plateau_schedule_is_resumed(corpus: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "schedule": "plateau", "plateau_patience": 0, "validate_every": 5, "optimizer": "adabelief",
    }  # fmt: skip
    fit(corpus, tmp_path / "straight", steps=20, learning_rate=0.5, **settings)
    fit(corpus, tmp_path / "resumed", steps=10, learning_rate=0.5, **settings)
    fit(corpus, tmp_path / "resumed", steps=20, resume=True, config=None)
    assert_same_end(tmp_path / "resumed", tmp_path / "straight")
    rate = state_at(tmp_path / "straight", 20)["optimizer_states"][0]["param_groups"][0]["lr"]
    assert rate < 0.5  # the schedule did something


def test_a_run_without_checkpoint_begins_again(straight: TrainResult, corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_bytes((straight.run / "config.json").read_bytes())
    fit(corpus, run, resume=True)
    assert_same_end(run, straight.run)


# ---- several processes ------------------------------------------------------------------------------------


def test_two_processes_equal_one_with_twice_the_batch(
    straight: TrainResult, corpus: Path, tmp_path: Path
) -> None:
    """Each of the two has half of the batch of 4; losses are averaged over them, and so are gradients."""
    done = fit_elsewhere(corpus, tmp_path / "run", processes=2, steps="10", devices="2")
    assert done.returncode == 0, done.stderr
    ours = read_table(tmp_path / "run" / "metrics.csv")
    theirs = read_table(straight.run / "metrics.csv")
    assert len(ours) == 10
    for one, other in zip(ours, theirs, strict=False):
        assert one == pytest.approx(other, rel=1e-4)
    assert list(checkpoint_steps(tmp_path / "run")) == [5, 10]


# ---- refusals ---------------------------------------------------------------------------------------------


class Poison(Callback):
    """Spoils a weight before the eighth step."""

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, *rest: Any) -> None:  # noqa: ARG002
        if trainer.global_step == 7:
            pl_module.generator.conv_post.bias.data.fill_(float("nan"))


def test_a_loss_that_is_not_finite_stops(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"loss: got nan at step 8 on clip0\d, clip0\d, .*--resume"):
        fit(corpus, tmp_path / "run", steps=20, callbacks=[Poison()])
    assert list(checkpoint_steps(tmp_path / "run")) == [5]
    assert all(tensor.isfinite().all() for tensor in state_at(tmp_path / "run", 5)["state_dict"].values())
    assert fit(corpus, tmp_path / "run", resume=True, steps=10).steps == 10


class PoisonLate(Callback):
    """Spoils a weight after its step, before the checkpoint."""

    def on_before_optimizer_step(
        self,
        trainer: lightning.Trainer,
        pl_module: Any,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        if trainer.global_step == 4 and optimizer is trainer.optimizers[0]:
            pl_module.mpd.discriminators[0].conv_post.bias.data.fill_(float("nan"))


def test_spoilt_weights_are_not_saved(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got values that are not finite after step 5"):
        fit(corpus, tmp_path / "run", steps=5, callbacks=[PoisonLate()])
    assert not checkpoint_steps(tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"preset": "v2"}, ConfigError, "config and preset: got both"),
        ({"config": None, "preset": "v9"}, ConfigError, "preset: got 'v9', expected v1 or"),
        ({"precision": "8"}, ConfigError, "precision: got '8', expected 32-true or"),
        ({"devices": "many"}, ConfigError, "devices and nodes: got many"),
        ({"devices": 3}, ConfigError, "batch_size: got 4, expected a multiple of the 3 processes"),
        ({"learning_rat": 1}, ConfigError, "entry 'learning_rat': .*is 'learning_rate' meant"),
        ({"learning_rate": -1}, ConfigError, "learning_rate: got -1, expected a positive number"),
        ({"steps": 0}, ConfigError, "steps: got 0, expected a positive whole number"),
        ({"segment_size": 100}, ConfigError, "segment_size: got 100, expected a multiple of hop_size, 16"),
        ({"fmax_for_loss": -1}, ConfigError, "fmax_for_loss: got -1"),
        ({"sampling_rate": 16000}, InputError, r"clip00.wav: got 8000 Hz, expected 16000 Hz"),
        ({"mels_dir": "/nowhere"}, InputError, "/nowhere: got no such folder"),
        ({"extra_mels_dir": "/nowhere"}, ConfigError, "extra_mels_dir: got no mels_dir"),
        ({"start_from": "/nowhere/g_1"}, CheckpointError, "/nowhere/g_1"),
        ({"validation_clips": 7}, InputError, "7 recordings, 7 of them for validation"),
        ({"resume": True}, ConfigError, "got no config.json, expected a run to resume"),
    ],
)
def test_refusals(
    settings: dict[str, Any], error: type[EdgeError], sentence: str, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=sentence):
        fit(corpus, tmp_path / "run", **({"steps": 2} | settings))
    assert not checkpoint_steps(tmp_path / "run")


def test_an_unknown_net_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="net: got 'tacotron', expected hifigan"):
        train("tacotron", corpus, tmp_path / "run")


def test_a_run_is_not_overwritten(straight: TrainResult, corpus: Path) -> None:
    with pytest.raises(TargetError, match=r"a folder that is not empty.*--resume"):
        fit(corpus, straight.run, steps=20)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"steps": 19}, "steps: got 19, expected at least the 20 done"),
        ({"batch_size": 8}, "batch_size: got 8, expected 4, as the run began"),
        ({"config": TINY | {"seed": 8}}, "seed: got 8, expected 7"),
    ],
)
def test_a_resumed_run_keeps_its_configuration(
    settings: dict[str, Any], sentence: str, straight: TrainResult, corpus: Path
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        fit(corpus, straight.run, resume=True, **settings)


def test_a_resumed_run_keeps_its_data(straight: TrainResult, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="data: got 3 clips to train on, without clip03, expected the 6"):
        fit(write_clips(tmp_path / "other", 4), straight.run, resume=True)


def test_a_resumed_run_keeps_its_validation_clips(straight: TrainResult, tmp_path: Path) -> None:
    other = write_clips(tmp_path / "other", 7)
    (other / "clip06.wav").rename(other / "zebra.wav")
    with pytest.raises(ConfigError, match="data: got 1 clips to validate on, zebra among them, expected"):
        fit(other, straight.run, resume=True)


def test_a_resumed_run_keeps_its_precision(straight: TrainResult, corpus: Path) -> None:
    with pytest.raises(ConfigError, match="precision: got bf16-mixed, expected 32-true, as the run began"):
        fit(corpus, straight.run, resume=True, precision="bf16-mixed")


def test_a_run_of_another_net_is_not_resumed(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"net": "audio-encoder", "config": {}}')
    with pytest.raises(ConfigError, match="got a run of 'audio-encoder', expected a run of 'hifigan'"):
        fit(corpus, tmp_path, resume=True)


def test_a_damaged_checkpoint_is_named(corpus: Path, tmp_path: Path) -> None:
    fit(corpus, tmp_path / "run", steps=2)
    path = checkpoint_steps(tmp_path / "run")[2]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"step-00000002.ckpt: got bytes that cannot be read"):
        fit(corpus, tmp_path / "run", resume=True, steps=4)
