"""Training Deep Griffin-Lim by denoising one block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.mel_inversion.inversion_run import DEGLI, fit

from edge_runtime.dsp.quality import spectral_convergence
from edge_runtime.dsp.spectral import Stft
from edge_runtime.errors import ConfigError
from edge_training.engine.logs import read_table
from edge_training.engine.run_checkpoints import checkpoint_steps
from edge_training.mel_inversion.degli import Degli, DegliConfig
from edge_training.mel_inversion.degli_recipe import PRESETS, DegliFit, DegliModule, open_data, run_block
from edge_training.weights.reading import find_config, load_checkpoint, read_checkpoint, read_config


def module(corpus: Path, **entries: object) -> DegliModule:
    config = DegliFit.from_json(DEGLI | entries)
    torch.manual_seed(0)
    return DegliModule(config, open_data(config, corpus))


@pytest.mark.parametrize("loss", ["spectrum", "projected"])
def test_a_run_denoises(corpus: Path, tmp_path: Path, loss: str) -> None:
    noise = {"noise_low_db": 0.0, "noise_high_db": 0.0, "vary": False}  # losses of all steps are comparable
    result = fit("degli", corpus, tmp_path / "run", steps=90, validate_every=90, loss=loss, **noise)
    losses = [row["loss"] for row in read_table(tmp_path / "run" / "metrics.csv") if "loss" in row]
    assert np.mean(losses[-15:]) < 0.988 * np.mean(losses[:15])
    assert {"validation/spectral_convergence", "validation/log_spectral_distance"} <= result.metrics.keys()
    assert (tmp_path / "run" / "plots" / "validation-00000090.png").is_file()


def test_validation_is_what_the_blocks_make_heard(corpus: Path, tmp_path: Path) -> None:
    """Recomputed with the runtime's transform from the files that a run leaves."""
    result = fit("degli", corpus, tmp_path / "run", steps=4, validation_clips=1)
    found = find_config(result.weights)
    assert found is not None
    config = DegliConfig.from_json(read_config(found))
    net = Degli(config).eval()
    load_checkpoint(net, read_checkpoint(result.weights), net="degli")
    samples = open_data(DegliFit.from_json(DEGLI | {"validation_clips": 1}), corpus).validation_item(0)["wav"]
    transform = Stft(config.spectral.stft, "float64")
    wanted = np.abs(transform.forward(samples[:400].astype(np.float64)))
    gain = config.magnitude_rms / np.sqrt(np.mean(wanted**2))
    magnitude = torch.from_numpy(wanted * gain).float()[None]
    with torch.no_grad():
        zero = torch.stack([magnitude, torch.zeros_like(magnitude)], 1)
        audio = net.reconstruct(zero, magnitude, 2)[0].double().numpy()
    heard = np.abs(transform.forward(audio))
    expected = spectral_convergence(wanted * gain, heard)
    assert result.metrics["validation/spectral_convergence"] == pytest.approx(expected, rel=1e-3)


def test_items_come_at_the_nets_level_each_by_itself(corpus: Path) -> None:
    fitted = module(corpus)
    quiet = torch.randn(1, 384, generator=torch.Generator().manual_seed(0))
    spectrum, magnitude = fitted.spectrum(torch.cat([1e-3 * quiet, quiet]))
    levels = magnitude.square().mean((1, 2)).sqrt()
    torch.testing.assert_close(levels, torch.full((2,), 19.6), rtol=1e-4, atol=0)
    torch.testing.assert_close(spectrum[0], spectrum[1], rtol=1e-3, atol=1e-3)
    assert torch.isfinite(fitted.spectrum(torch.zeros(1, 384))[0]).all()


def test_a_block_is_the_nets_own(corpus: Path) -> None:
    fitted = module(corpus)
    spectrum, magnitude = fitted.spectrum(torch.randn(1, 384))
    torch.testing.assert_close(run_block(fitted.net, spectrum, magnitude), fitted.net(spectrum, magnitude))


def test_a_resumed_run_is_a_straight_one(corpus: Path, tmp_path: Path) -> None:
    settings = {"decay_steps": 8, "average": 0.9}
    fit("degli", corpus, tmp_path / "straight", steps=8, **settings)
    fit("degli", corpus, tmp_path / "resumed", steps=4, **settings)
    fit("degli", corpus, tmp_path / "resumed", steps=8, resume=True, **settings)
    ours, theirs = (
        torch.load(checkpoint_steps(tmp_path / run)[8], weights_only=True)["state_dict"]
        for run in ("resumed", "straight")
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_half_precision_trains(corpus: Path, tmp_path: Path) -> None:
    result = fit("degli", corpus, tmp_path / "run", steps=2, precision="bf16-mixed")
    assert np.isfinite(result.metrics["validation/si_ssdr"])


def test_configurations_round_trip_and_are_refused_by_name() -> None:
    for preset in PRESETS.values():
        assert DegliFit.from_json(preset.to_json()) == preset
    for entries, message in (
        ({"noise_low_db": 20}, "noise_low_db: got 20 dB, expected at most noise_high_db, 12 dB"),
        ({"loss": "frobenius"}, "loss: got 'frobenius', expected spectrum or projected"),
        ({"validation_blocks": 0}, "validation_blocks: got 0, expected a whole number, 1 or more"),
    ):
        with pytest.raises(ConfigError, match=message):
            DegliFit.from_json(entries)
