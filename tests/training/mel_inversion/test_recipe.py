"""Training mel inversion: figures fall, the schedule goes the right way, resuming is exact."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.mel_inversion.inversion_run import INVERSION, MEL, fit

from edge_runtime.dsp.mel import PRESETS as MELS
from edge_runtime.dsp.quality import log_spectral_distance, si_ssdr, spectral_convergence
from edge_runtime.errors import ConfigError
from edge_training.engine.logs import read_table
from edge_training.engine.run_checkpoints import checkpoint_steps
from edge_training.engine.running_mean import follow
from edge_training.mel_inversion.data import InversionData
from edge_training.mel_inversion.losses import InversionTargets
from edge_training.mel_inversion.pinv_conv_skip import MelInversionConfig, build_mel_inversion
from edge_training.mel_inversion.recipe import (
    PRESETS,
    MelInversionFit,
    MelInversionModule,
    judge,
    open_data,
)
from edge_training.weights.reading import find_config, load_checkpoint, read_checkpoint, read_config

FIGURES = {"si_ssdr", "spectral_convergence", "log_spectral_distance"}


def state(run: Path, step: int) -> Mapping[str, Any]:
    saved: Mapping[str, Any] = torch.load(checkpoint_steps(run)[step], weights_only=True)
    return saved


def test_a_run_improves_and_logs_every_figure(corpus: Path, tmp_path: Path) -> None:
    result = fit("mel-inversion", corpus, tmp_path / "run", steps=40, validate_every=20, average=0.0)
    table = read_table(tmp_path / "run" / "metrics.csv")
    first, last = ([row["loss"] for row in table if "loss" in row][part] for part in (0, -1))
    assert last < 0.7 * first
    rows = [row for row in table if "validation/si_ssdr" in row]
    assert [row["step"] for row in rows] == [20, 40]
    assert {name.removeprefix("validation/") for name in rows[0] if name.startswith("validation/")} == FIGURES
    assert rows[1]["validation/spectral_convergence"] < rows[0]["validation/spectral_convergence"]
    assert (tmp_path / "run" / "plots" / "validation-00000040.png").is_file()
    assert result.weights.name == "mel-inversion.safetensors"
    assert result.best_weights is not None


def test_validation_is_of_the_exported_net_on_whole_clips(corpus: Path, tmp_path: Path) -> None:
    """Recomputed from the files that a run leaves."""
    result = fit("mel-inversion", corpus, tmp_path / "run", steps=4)
    found = find_config(result.weights)
    assert found is not None
    config = MelInversionConfig.from_json(read_config(found))
    net = build_mel_inversion(config).eval()
    load_checkpoint(net, read_checkpoint(result.weights), net="mel-inversion")
    data = InversionData(open_data(MelInversionFit.from_json(INVERSION), corpus).source)
    expected = []
    for clip in range(2):
        samples = torch.from_numpy(data.validation_item(clip)["wav"])[None]
        mel, truth = InversionTargets(config.mel, "log")(samples)
        with torch.no_grad():
            estimate = net(mel)[0].exp().double().numpy()
        expected.append(si_ssdr(truth[0].double().numpy(), estimate))
    assert result.metrics["validation/si_ssdr"] == pytest.approx(np.mean(expected), rel=1e-4)


@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_a_resumed_run_is_a_straight_one(corpus: Path, tmp_path: Path, schedule: str) -> None:
    entries = INVERSION | {"schedule": schedule, "decay_steps": 8, "plateau_patience": 0}
    fit("mel-inversion", corpus, tmp_path / "straight", config=entries, steps=8)
    fit("mel-inversion", corpus, tmp_path / "resumed", config=entries, steps=4)
    fit("mel-inversion", corpus, tmp_path / "resumed", config=entries, steps=8, resume=True)
    ours, theirs = (state(tmp_path / run, 8)["state_dict"] for run in ("resumed", "straight"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert any(key.startswith("average.") for key in theirs)


@pytest.mark.parametrize(("worse", "halved"), [(True, True), (False, False)])
def test_the_plateau_halves_the_rate_when_it_gets_worse_and_not_when_better(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worse: bool, halved: bool
) -> None:
    """mel-speech-reconstruction's scheduler waits for a figure to fall that should rise."""
    seen = iter([0.5, 0.6, 0.7] if worse else [0.5, 0.4, 0.3])
    values: dict[int, float] = {}

    def scripted(*_: Any) -> dict[str, torch.Tensor]:
        step = len(values) // 2  # two clips each time
        values[len(values)] = next(seen) if len(values) % 2 == 0 else list(values.values())[-1]
        assert step < 3
        return {name: torch.tensor(values[len(values) - 1]) for name in FIGURES}

    monkeypatch.setattr("edge_training.mel_inversion.recipe.judge", scripted)
    entries = INVERSION | {"schedule": "plateau", "plateau_patience": 1, "validate_every": 2}
    fit("mel-inversion", corpus, tmp_path / "run", config=entries, steps=6)
    (optimizer,) = state(tmp_path / "run", 6)["optimizer_states"]
    rate = optimizer["param_groups"][0]["lr"]
    assert rate == pytest.approx(0.005 if halved else 0.01)


def test_the_rate_rises_and_falls() -> None:
    config = MelInversionFit(learning_rate=1.0, warm_up_steps=10, decay_steps=100)
    assert [config.rate(step) for step in (0, 4)] == pytest.approx([0.1, 0.5], rel=1e-2)
    assert config.rate(50) == pytest.approx(0.5)
    assert config.rate(100) == config.rate(1000) == pytest.approx(0)
    assert MelInversionFit(learning_rate=1.0).rate(10**6) == 1.0


def test_the_average_follows_weights_and_takes_statistics() -> None:
    net, mean = torch.nn.BatchNorm1d(1), torch.nn.BatchNorm1d(1)
    with torch.no_grad():
        mean.weight.fill_(0.0)
    assert net.running_mean is not None
    assert mean.running_mean is not None
    net.running_mean.fill_(3.0)
    follow(mean, net, 0.9, step=10**6)
    assert float(mean.weight.detach()) == pytest.approx(0.1)
    assert float(mean.running_mean) == 3.0
    follow(mean, net, 0.9, step=1)  # at first it nearly is the net
    assert float(mean.weight.detach()) == pytest.approx(0.1 + 0.9 * 9 / 11)


def test_figures_are_the_runtimes() -> None:
    draw = np.random.default_rng(0)
    truth, estimate = (torch.from_numpy(draw.gamma(1.0, 1.0, (9, 12))) for _ in range(2))
    pair = truth.numpy(), estimate.numpy()
    expected = {
        "si_ssdr": si_ssdr(*pair),
        "spectral_convergence": spectral_convergence(*pair),
        "log_spectral_distance": log_spectral_distance(*pair),
    }
    assert {name: float(value) for name, value in judge(truth, estimate).items()} == pytest.approx(expected)


@pytest.mark.parametrize("variant", ["light", "pinv-unet"])
def test_other_variants_train(corpus: Path, tmp_path: Path, variant: str) -> None:
    entries = INVERSION | {"variant": variant}
    result = fit("mel-inversion", corpus, tmp_path / "run", config=entries, steps=2, precision="bf16-mixed")
    assert math.isfinite(result.metrics["validation/si_ssdr"])


def test_the_origins_domain_trains_as_it_did(corpus: Path, tmp_path: Path) -> None:
    """L1 of the normalised dB, whatever else there is in the loss switched off."""
    mel = MELS["mel-inversion-db"].to_json() | {
        name: getattr(MEL, name) for name in ("sample_rate", "n_fft", "win_length", "hop_length", "n_mels")
    }
    entries = PRESETS["origin"].to_json() | {
        "mel": mel, "channels": [2, 3, 4], "validation_clips": 1, "log_every": 1, "steps": 1,
    }  # fmt: skip
    result = fit("mel-inversion", corpus, tmp_path / "run", config=entries)
    config = MelInversionFit.from_json(entries)
    assert config.lambda_distortion == 0
    assert result.metrics["loss"] == pytest.approx(config.lambda_log * result.metrics["loss/log"])
    assert config.lambda_log * 80 * math.log(10) / 20 == pytest.approx(1)


def test_start_from_takes_weights_of_the_net(corpus: Path, tmp_path: Path) -> None:
    weights = fit("mel-inversion", corpus, tmp_path / "before", steps=1).weights
    config = MelInversionFit.from_json(INVERSION | {"start_from": str(weights)})
    module = MelInversionModule(config, open_data(config, corpus))
    saved = read_checkpoint(weights).state
    assert all(torch.equal(module.weights()[key], saved[key]) for key in saved)


def test_configurations_round_trip_and_are_refused_by_name() -> None:
    for preset in PRESETS.values():
        assert MelInversionFit.from_json(preset.to_json()) == preset
    for entries, message in (
        ({"colour": -1}, "colour: got -1, expected a number, 0 or more"),
        ({"schedule": "step"}, "schedule: got 'step', expected 'cosine' or 'plateau'"),
        ({"segment_frames": 4}, "segment_frames: got 4, expected a whole number, 8 or more"),
        ({"colours": 1}, "entry 'colours': got an unknown entry.*is 'colour' meant"),
        ({"average": 2}, r"average: got 2, expected a number in 0 … 1"),
    ):
        with pytest.raises(ConfigError, match=message):
            MelInversionFit.from_json(entries)
