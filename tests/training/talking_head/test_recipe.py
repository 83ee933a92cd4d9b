"""Training by synchrony: what a run leaves, that it learns, resuming, and what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.talking_head.sync_clips import write_talkers
from tests.training.talking_head.sync_run import TINY, fit_sync
from tests.training.vocoder.tiny_run import fit_elsewhere

from edge_runtime.errors import CheckpointError, ConfigError, EdgeError, InputError
from edge_training.engine.items import training_loader
from edge_training.engine.logs import read_table
from edge_training.engine.run_checkpoints import checkpoint_steps
from edge_training.engine.trainer import TrainResult
from edge_training.talking_head.audio_encoder import AudioEncoder
from edge_training.talking_head.losses import bce_loss, infonce_loss
from edge_training.talking_head.recipe import PRESETS, AudioEncoderFit, AudioEncoderModule, open_data
from edge_training.weights.reading import load_checkpoint, read_checkpoint


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talkers(tmp_path_factory.mktemp("talkers"), 5)


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """6 steps without interruption."""
    torch.set_num_threads(1)
    return fit_sync(data, tmp_path_factory.mktemp("straight") / "run", steps=6)


def state_at(run: Path, step: int) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(checkpoint_steps(run)[step], weights_only=True)
    return saved


# ---- what a run leaves ------------------------------------------------------------------------------------


def test_the_encoder_lies_beside_the_checkpoints(straight: TrainResult) -> None:
    assert straight.weights.name == "audio-encoder.safetensors"
    net = AudioEncoder()
    load_checkpoint(net, read_checkpoint(straight.weights), net="audio-encoder")
    assert json.loads((straight.weights.parent / "config.json").read_text()) == net.config.to_json()
    trained = state_at(straight.run, 6)["state_dict"]
    assert all(torch.equal(tensor, trained[f"audio.{key}"]) for key, tensor in net.state_dict().items())
    assert straight.best_weights is not None


def test_losses_and_figures_are_in_the_table(straight: TrainResult) -> None:
    rows = read_table(straight.run / "metrics.csv")
    assert [row["step"] for row in rows] == list(range(1, 7))
    assert all({"loss/sync", "loss/hits"} <= set(row) for row in rows)
    assert {"validation/loss", "validation/accuracy"} <= set(rows[-1])
    assert (straight.run / "plots" / "validation-00000006.png").is_file()


def test_stopped_and_resumed_equals_straight(straight: TrainResult, data: Path, tmp_path: Path) -> None:
    fit_sync(data, tmp_path / "run", steps=3)
    fit_sync(data, tmp_path / "run", steps=6, resume=True)
    ours, theirs = (state_at(run, 6)["state_dict"] for run in (tmp_path / "run", straight.run))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_run_starts_from_weights(straight: TrainResult, data: Path) -> None:
    config = AudioEncoderFit.from_json(TINY | {"start_from": str(straight.weights)})
    module = AudioEncoderModule(config, open_data(config, data))
    wanted = state_at(straight.run, 6)["state_dict"]["audio.audio_encoder.3.conv_block.0.weight"]
    assert torch.equal(module.weights()["audio_encoder.3.conv_block.0.weight"], wanted)


# ---- learning ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["infonce", "bce"])
def test_it_learns(loss: str, data: Path, tmp_path: Path) -> None:
    """Bright while loud: 40 steps are enough to hear it."""
    settings = {"loss": loss, "steps": 40, "batch_size": 4, "windows": 3, "face": {"width": 2}}
    result = fit_sync(data, tmp_path / "run", validate_every=40, checkpoint_every=40, **settings)
    losses = [row["loss/sync"] for row in read_table(tmp_path / "run" / "metrics.csv")]
    assert sum(losses[-10:]) < 0.85 * sum(losses[:10])
    assert result.metrics["validation/accuracy"] > 0.6


def test_the_loss_of_a_step_is_the_configured_one() -> None:
    similarity = torch.rand(6, 6)
    clips = torch.tensor([0, 0, 1, 1, 2, 2])
    config = AudioEncoderFit.from_json(TINY)
    module = AudioEncoderModule.__new__(AudioEncoderModule)
    torch.nn.Module.__init__(module)
    module.config = config
    assert torch.equal(module.loss(similarity, 2), infonce_loss(similarity, 0.05))
    module.config = replace(config, loss="bce", other_clips=0.5)
    assert torch.equal(module.loss(similarity, 2), bce_loss(similarity, clips, 0.5))
    assert torch.equal(module.loss(similarity, 6), bce_loss(similarity, clips * 0))  # validation: one clip


def test_learning_rate_rises_and_falls() -> None:
    config = replace(PRESETS["phantom"], learning_rate=1.0, warm_up_steps=10, decay_steps=100)
    assert config.rate(0) == pytest.approx(0.1)
    assert config.rate(50) == pytest.approx(0.5)
    assert config.rate(75) == pytest.approx(0.5 - 0.5 * math.sqrt(0.5))
    assert config.rate(100) == config.rate(1000) == 0
    assert replace(config, decay_steps=None).rate(10**6) == 1


def test_the_origins_preset() -> None:
    """Wav2Lip: two moments of one video, binary cross entropy, Adam at 1e-4, the full face tower."""
    origin = PRESETS["origin"]
    assert (origin.loss, origin.windows, origin.other_clips) == ("bce", 2, 0.0)
    assert (origin.batch_size, origin.learning_rate, origin.face.width) == (64, 1e-4, 32)
    assert origin.rate(0) == origin.rate(10**6) == 1e-4


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_go_through_json(name: str) -> None:
    assert AudioEncoderFit.from_json(json.loads(json.dumps(PRESETS[name].to_json()))) == PRESETS[name]


# ---- several processes ------------------------------------------------------------------------------------


def test_two_processes_average_over_batches_of_their_own(data: Path, tmp_path: Path) -> None:
    """Wrong pairs and batch norm stay inside a process; losses and gradients are averaged over both."""
    settings = {"steps": "1", "devices": "2", "batch_size": "4", "checkpoint_every": "1"}
    done = fit_elsewhere(
        data, tmp_path / "run", processes=2, run="talking_head.sync_run.fit_sync", **settings
    )
    assert done.returncode == 0, done.stderr
    config = replace(AudioEncoderFit.from_json(TINY), batch_size=4)
    clips = open_data(config, data)
    torch.manual_seed(config.seed)
    module = AudioEncoderModule(config, clips)
    halves = [
        next(iter(training_loader(clips, batch_size=4, seed=config.seed, step=0, rank=rank, world=2)))
        for rank in (0, 1)
    ]
    assert {len(half["name"]) for half in halves} == {2}
    losses = [module.loss(module.similarity(half), config.windows) for half in halves]
    loss = torch.stack(losses).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.optim.Adam(module.parameters(), config.rate(0)).step()
    logged = read_table(tmp_path / "run" / "metrics.csv")[0]["loss/sync"]
    assert logged == pytest.approx(float(loss.detach()), rel=1e-4)
    trained, compared = state_at(tmp_path / "run", 1)["state_dict"], 0
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        # Adam's first step has the rate's size and the gradient's sign: rounding errors would have one too
        told = parameter.grad.abs() > 1e-5
        torch.testing.assert_close(trained[name][told], parameter.detach()[told], rtol=0, atol=1e-4)
        compared += int(told.sum())
    assert compared > 100_000


# ---- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"loss": "triplet"}, ConfigError, "loss: got 'triplet', expected 'bce' or 'infonce'"),
        ({"windows": 1}, ConfigError, "windows: got 1, expected a whole number, 2 or more"),
        ({"windows": 5}, InputError, r"clip00: got 16 windows of 5 consecutive.*expected at least 21"),
        ({"spacing": 0}, ConfigError, "spacing: got 0"),
        ({"temperature": 0}, ConfigError, "temperature: got 0, expected a number above 0"),
        ({"other_clips": 2}, ConfigError, "other_clips: got 2, expected a number in 0 … 1"),
        (
            {"loss": "bce", "other_clips": 0.5, "batch_size": 1},
            ConfigError,
            "other_clips: got more than 0 with batch_size 1",
        ),
        ({"decay_steps": 0}, ConfigError, "decay_steps: got 0, expected a positive whole number, or null"),
        ({"face": 8}, ConfigError, r"face: got 8, expected an object"),
        ({"face": {"width": 0}}, ConfigError, "width: got 0"),
        ({"num_mels": 40}, ConfigError, "num_mels: got 40, expected 80"),
        ({"learning_rates": 1}, ConfigError, "is 'learning_rate' meant"),
        ({"start_from": "/nowhere/ave.pth"}, CheckpointError, "/nowhere/ave.pth"),
    ],
)
def test_refusals(
    settings: dict[str, Any], error: type[EdgeError], sentence: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(error, match=sentence):
        fit_sync(data, tmp_path / "run", **({"steps": 2} | settings))


def test_a_loss_that_is_not_finite_names_its_clips(data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"loss: got nan at step \d on clip0\d, clip0\d, .*lower learning_rate"
    ):
        fit_sync(data, tmp_path / "run", steps=6, learning_rate=1e30)
