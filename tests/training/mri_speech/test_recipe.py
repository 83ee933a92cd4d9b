"""MriAcoustic's training: what a run leaves, gradients, modes, schedule, resuming, mri2speech's file."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.training.mri_speech.mri_run import TINY, fit_mri, prepare_clips

from edge_runtime.errors import CheckpointError, ConfigError, EdgeError
from edge_training.engine.logs import read_table
from edge_training.engine.run_checkpoints import checkpoint_steps
from edge_training.engine.trainer import TrainResult
from edge_training.mri_speech.data import MriData
from edge_training.mri_speech.losses import Band
from edge_training.mri_speech.mri_acoustic import MriAcoustic, MriAcousticConfig
from edge_training.mri_speech.recipe import (
    ORIGIN_FILE,
    PRESETS,
    MriAcousticFit,
    MriAcousticModule,
    open_data,
)
from edge_training.weights.reading import load_checkpoint, read_checkpoint


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_clips(tmp_path_factory.mktemp("mri"))


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """4 steps without interruption."""
    torch.set_num_threads(1)
    return fit_mri(data, tmp_path_factory.mktemp("straight") / "run", steps=4)


def state_at(run: Path, step: int) -> dict[str, Any]:
    saved: dict[str, Any] = torch.load(checkpoint_steps(run)[step], weights_only=True)
    return saved


def built(data: Path, **settings: Any) -> MriAcousticModule:
    config = MriAcousticFit.from_json(TINY | settings)
    return MriAcousticModule(config, open_data(config, data))


def batch_of(source: MriData, count: int) -> dict[str, Any]:
    items = [source.item(clip, np.random.default_rng(clip)) for clip in range(count)]
    batch: dict[str, Any] = {
        name: torch.from_numpy(np.stack([item[name] for item in items])) for name in ("frames", "mel", "mask")
    }
    lengths = torch.tensor([item["length"] for item in items])
    return batch | {"length": lengths, "name": [item["name"] for item in items]}


# ---- what a run leaves ------------------------------------------------------------------------------------


def test_weights_and_config_are_what_export_takes(straight: TrainResult, data: Path) -> None:
    assert straight.weights.name == "mri-acoustic.safetensors"
    for weights in (straight.weights, straight.best_weights):
        assert weights is not None
        config = MriAcousticConfig.from_json(json.loads((weights.parent / "config.json").read_text()))
        load_checkpoint(MriAcoustic(config), read_checkpoint(weights), net="mri-acoustic")
        scaler = json.loads((data / "scaler.json").read_text())
        np.testing.assert_allclose(config.mel_mean or (), scaler["mean"], rtol=1e-6)
        np.testing.assert_allclose(config.mel_std or (), scaler["std"], rtol=1e-6)
        assert (config.layout, config.image_size, config.rnn_hidden) == ("padded", 16, 8)


def test_losses_and_figures_are_in_the_table(straight: TrainResult) -> None:
    rows = read_table(straight.run / "metrics.csv")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    names = {f"loss/{part}" for part in ("total", "mse", "mae", "delta", "accel", "latest")}
    names |= {f"band/{band}" for band in ("f0", "f1", "f2", "mid", "high")}
    assert all(names <= set(row) for row in rows)
    assert {"validation/loss", "validation/mse", "validation/correlation", "validation/f1"} <= set(rows[-1])
    for row in rows:
        terms = row["loss/mse"] + 0.3 * row["loss/delta"] + 0.1 * row["loss/accel"] + 0.2 * row["loss/latest"]
        assert row["loss/total"] == pytest.approx(terms, rel=1e-3)
    assert (straight.run / "plots" / "validation-00000004.png").is_file()


def test_stopped_and_resumed_equals_straight(straight: TrainResult, data: Path, tmp_path: Path) -> None:
    fit_mri(data, tmp_path / "run", steps=2)
    fit_mri(data, tmp_path / "run", steps=4, resume=True)
    ours, theirs = (state_at(run, 4) for run in (tmp_path / "run", straight.run))
    assert all(
        torch.equal(ours["state_dict"][key], theirs["state_dict"][key]) for key in theirs["state_dict"]
    )
    assert ours["mri_acoustic"] == theirs["mri_acoustic"]


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_half_precision_trains(precision: str, data: Path, tmp_path: Path) -> None:
    result = fit_mri(data, tmp_path / "run", steps=2, precision=precision)
    assert math.isfinite(result.metrics["loss/total"])
    assert all(tensor.dtype != torch.bfloat16 for tensor in read_checkpoint(result.weights).state.values())


# ---- a step -----------------------------------------------------------------------------------------------


def test_it_learns(data: Path, tmp_path: Path) -> None:
    """The pictures' corner is as bright as the sound is loud."""
    settings = {"mode": "full", "schedule": "cosine", "learning_rate": 5e-3, "warm_up_steps": 5}
    settings |= {"rnn_hidden": 32, "micro_batch": 4}
    fit_mri(data, tmp_path / "run", steps=40, validate_every=40, checkpoint_every=40, **settings)
    losses = [row["loss/mse"] for row in read_table(tmp_path / "run" / "metrics.csv")]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


@pytest.mark.parametrize("mode", ["window", "full"])
def test_micro_batches_add_up_to_the_batch(mode: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of SGD; without batch norm and dropout, which see a micro-batch alone."""
    weights = []
    for size in (1, 2, 4):
        module = built(data, mode=mode, micro_batch=size).eval()
        state = module.net.state_dict()
        module.net.load_state_dict({key: torch.full_like(state[key], 0.05) for key in state})
        optimizer = torch.optim.SGD(module.net.parameters(), 1.0)
        module.trainer = FakeTrainer()  # type: ignore[assignment]
        monkeypatch.setattr(module, "optimizers", lambda optimizer=optimizer: optimizer)
        monkeypatch.setattr(module, "manual_backward", lambda loss: loss.backward())
        monkeypatch.setattr(module, "note", lambda figures, bar: None)  # noqa: ARG005
        module.training_step(batch_of(open_data(module.config, data), 4), 0)
        weights.append(torch.cat([parameter.detach().flatten() for parameter in module.net.parameters()]))
    assert float((weights[0] - 0.05).abs().max()) > 0.01
    for other in weights[1:]:
        torch.testing.assert_close(other, weights[0], rtol=1e-4, atol=1e-6)


def test_a_clip_among_longer_ones_is_predicted_as_alone(data: Path) -> None:
    module = built(data, mode="full").eval()
    module.trainer = FakeTrainer()  # type: ignore[assignment]
    batch = batch_of(open_data(module.config, data), 4)
    assert len(set(batch["length"].tolist())) > 1
    with torch.inference_mode():
        alone = [module._loss({k: v[i : i + 1] for k, v in batch.items()}).total for i in range(4)]
        together = module._loss(batch).total
    assert float(together) == pytest.approx(float(sum(alone)) / 4, rel=1e-5)


def test_gradients_are_clipped(data: Path) -> None:
    module = built(data)
    for parameter in module.net.parameters():
        parameter.grad = torch.ones_like(parameter)
    module.on_before_optimizer_step(None)
    norms = [float(p.grad.norm()) for p in module.net.parameters() if p.grad is not None]
    assert math.hypot(*norms) == pytest.approx(1.0, rel=1e-4)


def test_recomputing_changes_no_weight(straight: TrainResult, data: Path, tmp_path: Path) -> None:
    fit_mri(data, tmp_path / "run", steps=2, recompute=True)
    ours, theirs = (state_at(run, 2)["state_dict"] for run in (tmp_path / "run", straight.run))
    for key in theirs:
        torch.testing.assert_close(ours[key], theirs[key], rtol=1e-5, atol=1e-6)


def test_bands_in_hz_weigh_the_loss(data: Path) -> None:
    bands = [{"name": "f1", "low": 300, "high": 900, "weight": 5.0}]
    module = built(data, bands=bands)
    assert module.config.bands == (Band("f1", 300, 900, 5.0),)
    assert module.loss.freq_target[0, 0, [6, 7, 20, 21]].tolist() == [1, 5, 5, 1]
    assert MriAcousticFit.from_json(json.loads(json.dumps(module.config.to_json()))) == module.config


# ---- modes and splits -------------------------------------------------------------------------------------


def test_the_origins_split_and_layout(tmp_path: Path) -> None:
    legacy = prepare_clips(tmp_path, layout="legacy")
    result = fit_mri(legacy, tmp_path / "run", steps=2, split="window")
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert all(":" in name for name in record["clips"] + record["validation_clips"])
    config = MriAcousticConfig.from_json(json.loads((result.weights.parent / "config.json").read_text()))
    assert config.layout == "legacy"


# ---- schedule ---------------------------------------------------------------------------------------------


class FakeTrainer:
    """All that a module asks of Lightning's outside a training."""

    global_step = 0
    sanity_checking = False
    should_stop = False
    precision_plugin = None

    def __init__(self, optimizer: Any = None) -> None:
        self.optimizers = [optimizer]
        self.callback_metrics: dict[str, float] = {}


def validated(data: Path, figures: list[float], **settings: Any) -> tuple[int, list[float]]:
    """After how many validations of these losses a run ends, and the rates until then."""
    module = built(data, **settings)
    optimizers, schedulers = module.configure_optimizers()
    trainer = FakeTrainer(optimizers[0])
    module.trainer = trainer  # type: ignore[assignment]
    module.lr_schedulers = lambda: schedulers[0]  # type: ignore[method-assign]
    rates = []
    for count, figure in enumerate(figures, 1):
        trainer.callback_metrics[module.monitor] = figure
        module.on_validation_epoch_end()
        rates.append(optimizers[0].param_groups[0]["lr"])
        if trainer.should_stop:
            return count, rates
    return 0, rates


def test_a_run_ends_after_validations_without_a_better_one(data: Path) -> None:
    assert validated(data, [3.0, 2.0, 2.5, 1.0, *[1.5] * 9], stop_after=4)[0] == 8
    assert validated(data, [3.0] * 60, stop_after=None, least_rate=1e-5)[0] == 0


def test_plateaus_halve_the_rate_down_to_the_least(data: Path) -> None:
    count, rates = validated(data, [1.0] * 60, learning_rate=8e-4, plateau_patience=2, least_rate=1e-4)
    assert rates == pytest.approx([8e-4] * 3 + [4e-4] * 3 + [2e-4] * 3 + [1e-4])
    assert count == 10


def test_the_rate_rises_and_falls() -> None:
    config = MriAcousticFit(schedule="cosine", learning_rate=1.0, warm_up_steps=10, steps=100)
    assert config.rate(0) == pytest.approx(0.1)
    assert config.rate(50) == pytest.approx(0.5)
    assert config.rate(100) == 0
    assert MriAcousticFit(learning_rate=1.0).rate(10**6) == 1


def test_the_origins_numbers() -> None:
    origin = PRESETS["origin"]
    assert (origin.learning_rate, origin.weight_decay, origin.clip_norm) == (1e-4, 1e-4, 1.0)
    assert (origin.schedule, origin.plateau_factor, origin.plateau_patience) == ("plateau", 0.5, 5)
    assert (origin.least_rate, origin.stop_after) == (1e-6, 20)
    assert (origin.batch_size, origin.micro_batch, origin.split, origin.bands) == (8, 2, "window", None)
    assert (origin.net.window, origin.net.layout, origin.net.backbone) == (4, "legacy", "b2")


# ---- mri2speech's checkpoint file -------------------------------------------------------------------------


def test_the_best_validation_is_kept_in_the_origins_format(straight: TrainResult) -> None:
    saved = torch.load(straight.run / "checkpoints" / ORIGIN_FILE, weights_only=True)
    assert sorted(saved) == sorted(
        ["epoch", "model_state_dict", "optimizer_state_dict", "scheduler_state_dict", "scaler_state_dict",
         "val_loss", "val_mse", "train_loss"]
    )  # fmt: skip
    assert straight.best_weights is not None
    best = read_checkpoint(straight.best_weights).state
    assert all(torch.equal(saved["model_state_dict"][key], tensor) for key, tensor in best.items())
    rows = [row for row in read_table(straight.run / "metrics.csv") if "validation/loss" in row]
    assert saved["val_loss"] == pytest.approx(min(row["validation/loss"] for row in rows), rel=1e-6)


def test_a_run_goes_on_from_the_origins_file(straight: TrainResult, data: Path, tmp_path: Path) -> None:
    """Weights, moments and the step of the loss's ramp."""
    file = straight.run / "checkpoints" / ORIGIN_FILE
    saved = torch.load(file, weights_only=True)
    module = built(data, start_from=str(file))
    assert module.began_step == int(saved["optimizer_state_dict"]["state"][0]["step"]) > 0
    for key, tensor in saved["model_state_dict"].items():
        assert torch.equal(module.net.state_dict()[key], tensor)
    optimizers, _ = module.configure_optimizers()
    moment = optimizers[0].state_dict()["state"][3]["exp_avg"]
    assert torch.equal(moment, saved["optimizer_state_dict"]["state"][3]["exp_avg"])
    assert fit_mri(data, tmp_path / "run", steps=2, start_from=str(file)).steps == 2


def test_a_run_starts_from_plain_weights(straight: TrainResult, data: Path) -> None:
    module = built(data, start_from=str(straight.weights))
    assert (module.moments, module.began_step) == ({}, 0)
    wanted = read_checkpoint(straight.weights).state["head.weight"]
    assert torch.equal(module.net.head.weight, wanted)


def test_a_run_starts_from_imagenets_backbone(data: Path, tmp_path: Path) -> None:
    """As timm spells it, with a head that the net does not have."""
    backbone = built(data).net.cnn.backbone.state_dict()
    state = {key: torch.full(tensor.shape, 0.25) for key, tensor in backbone.items()}
    state |= {key: torch.ones(4) for key in ("conv_head.weight", "bn2.bias", "classifier.bias")}
    file = tmp_path / "timm.safetensors"
    save_file(state, file)
    net = built(data, start_from=str(file)).net
    assert all((tensor == 0.25).all() for tensor in net.cnn.backbone.parameters())
    del state["blocks.0.0.conv.weight"]
    save_file(state, file)
    with pytest.raises(CheckpointError, match=r"timm.safetensors: .*blocks.0.0.conv.weight"):
        built(data, start_from=str(file))


def test_moments_of_another_net_are_refused(straight: TrainResult, data: Path, tmp_path: Path) -> None:
    saved = torch.load(straight.run / "checkpoints" / ORIGIN_FILE, weights_only=True)
    saved["optimizer_state_dict"]["state"][2]["exp_avg"] = torch.zeros(3)
    torch.save(saved, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other.pt: optimizer_state_dict: got .* another net"):
        built(data, start_from=str(tmp_path / "other.pt"))


# ---- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"micro_batch": 3}, "micro_batch: got 3, expected a divisor of 4"),
        ({"mode": "clip"}, "mode: got 'clip', expected 'window' or 'full'"),
        ({"mode": "full", "split": "window"}, "split: got 'window', expected 'clip' in mode full"),
        ({"learning_rat": 1}, "'learning_rat': got an unknown entry.*is 'learning_rate' meant"),
        ({"bands": [["f1", 300, 900, 2]]}, "bands: got .* expected objects"),
        ({"bands": [{"name": "f1", "low": 300, "high": 900}]}, "bands: got no weight"),
        ({"bands": [{"name": "f1", "low": 3e4, "high": 4e4, "weight": 1}]}, "band 'f1'.*Nyquist"),
        ({"bands": [{"name": "f1", "low": "a", "high": 9, "weight": 1}]}, "bands: low: got 'a'"),
        ({"stop_after": 0}, "stop_after: got 0"),
    ],
)
def test_configurations_that_cannot_be(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        MriAcousticFit.from_json(TINY | settings)


def test_data_of_another_size(data: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match="image_size: got 32, expected the 16 pixels"):
        fit_mri(data, tmp_path / "run", steps=1, image_size=32)
    assert not (tmp_path / "run").exists()


def test_the_data_say_what_the_front_end_is(data: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(data, tmp_path / "copy")
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"frame_scaling": "min-max", "preemph": 0.9}))
    net = built(folder).config.net
    assert (net.frame_scaling, net.mel.pre_emphasis, net.window) == ("min-max", 0.9, 4)
    assert replace(net, frame_scaling="full-scale") != net
