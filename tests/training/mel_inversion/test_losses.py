"""Targets and losses of mel inversion, against the runtime; none depends on what else is in the batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_runtime.dsp.mel import PRESETS, MelConfig, MelFrontEnd
from edge_runtime.dsp.quality import si_ssdr
from edge_runtime.dsp.spectral import Stft
from edge_training.mel_inversion.losses import (
    InversionTargets,
    SpectrumLoss,
    distortion,
    log_error,
    noisy,
    random_gains,
    spectrum_loss,
)

LOG, DB = PRESETS["hifigan-22k"], PRESETS["mel-inversion-db"]


def speechlike(samples: int, seed: int = 0) -> Tensor:
    """Noise that grows and fades."""
    t = np.linspace(0, 1, samples)
    noise = np.random.default_rng(seed).standard_normal(samples) * np.sin(math.pi * t) ** 2
    return torch.from_numpy((0.1 * noise).astype(np.float32))


def magnitudes(batch: int = 2, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).gamma(1.0, 1.0, (batch, 9, 12)))


@pytest.mark.parametrize("config", [LOG, PRESETS["mel-inversion"]], ids=["hifigan-22k", "mel-inversion"])
def test_log_targets_are_the_runtimes(config: MelConfig) -> None:
    samples = speechlike(8000)
    mel, magnitude = InversionTargets(config, "log")(samples[None])
    np.testing.assert_allclose(mel[0].numpy(), MelFrontEnd(config)(samples.numpy()), rtol=0, atol=1e-4)
    spectrum = Stft(config.stft, "float64").forward(samples.double().numpy())
    expected = np.maximum(np.sqrt(np.abs(spectrum) ** 2 + config.epsilon), 1e-5)
    np.testing.assert_allclose(magnitude[0].numpy(), expected, rtol=1e-3, atol=1e-5)


def test_db_targets_are_the_runtimes() -> None:
    samples, targets = speechlike(8000), InversionTargets(DB, "db")
    mel, magnitude = targets(samples[None])
    np.testing.assert_allclose(mel[0].numpy(), MelFrontEnd(DB)(samples.numpy()), rtol=0, atol=1e-4)
    spectrum = np.abs(Stft(DB.stft, "float64").forward((samples - samples.mean()).double().numpy()))
    expected = np.maximum(spectrum / spectrum.max(), 1e-4)
    np.testing.assert_allclose(magnitude[0].numpy(), expected, rtol=1e-3, atol=1e-6)
    normalized = 20 * magnitude.log10() / 80 + 1
    torch.testing.assert_close(targets.log_magnitude(normalized), magnitude.log(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", [LOG, DB], ids=["log", "db"])
def test_an_item_does_not_depend_on_its_batch(config: MelConfig) -> None:
    """mel-speech-reconstruction normalises by the maximum over the batch."""
    targets = InversionTargets(config, "db" if config is DB else "log")
    quiet, loud = speechlike(6000), 5 * speechlike(6000, seed=1)
    together = targets(torch.stack([quiet, loud]))
    for ours, alone in zip(together, targets(quiet[None]), strict=True):
        torch.testing.assert_close(ours[:1], alone, rtol=1e-5, atol=1e-6)


def test_colour_changes_mel_and_magnitude_together() -> None:
    targets = InversionTargets(LOG, "log")
    torch.manual_seed(1)
    mel, magnitude = targets(speechlike(6000)[None], 0.5)
    plain, _ = targets(speechlike(6000)[None])
    assert (mel - plain).abs().max() > 0.1
    again = torch.log((targets.get_buffer("bank") @ magnitude).clamp(min=LOG.floor))
    torch.testing.assert_close(mel, again, rtol=0, atol=1e-3)  # but for the magnitude's floor


def test_random_gains_are_smooth_and_each_items_own() -> None:
    torch.manual_seed(0)
    gains = random_gains(torch.ones(200, 513, 1), 0.35).log()
    assert gains.shape == (200, 513, 1)
    assert float(gains[:, 0].std()) == pytest.approx(0.35, abs=0.05)
    assert (gains[:, 1:] - gains[:, :-1]).abs().max() < 0.05
    assert not torch.equal(gains[0], gains[1])


# ---- losses -----------------------------------------------------------------------------------------------


def test_distortion_is_si_ssdr_of_an_estimate_at_its_best_scale() -> None:
    truth, error = 5 + magnitudes()[:1], magnitudes(seed=1)[:1]
    centred = truth - truth.mean()
    error = error - error.mean()
    error = 0.2 * (error - (error * centred).sum() / centred.square().sum() * centred)
    expected = -si_ssdr(truth[0].numpy(), (truth + error)[0].numpy())
    assert float(distortion(truth, (truth + error).log())) == pytest.approx(expected, abs=1e-3)
    assert float(distortion(truth, (1.1 * (truth + error)).log())) > expected  # the level counts
    assert float(distortion(truth, truth.log())) == pytest.approx(-60)


def test_losses_are_means_over_items() -> None:
    truth, estimate = magnitudes(), magnitudes(seed=1)
    for loss in (distortion, log_error):
        each = [loss(truth[i : i + 1], estimate[i : i + 1].log()) for i in range(2)]
        assert float(loss(truth, estimate.log())) == pytest.approx(float(sum(each)) / 2, rel=1e-6)
    silence = torch.full((1, 9, 12), 1e-5)
    assert math.isfinite(distortion(silence, silence.log()))
    assert math.isfinite(distortion(truth, torch.full_like(truth, 200.0)))


def test_every_loss_has_the_gradient_of_its_difference_quotient() -> None:
    """mel-speech-reconstruction's "frobenius" is computed on detached numbers."""
    truth = magnitudes()
    spectrum = torch.randn(2, 2, 9, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = spectrum + 0.3
    size = target.square().sum(1).sqrt()
    cases: list[tuple[Callable[[Tensor], Tensor], Tensor]] = [
        (lambda x: distortion(truth, x), magnitudes(seed=1).log()),
        (lambda x: log_error(truth, x), magnitudes(seed=1).log()),
        *((lambda x, k=kind: spectrum_loss(target, x, size, k), spectrum) for kind in get_args(SpectrumLoss)),
    ]
    for loss, point in cases:
        x = point.clone().requires_grad_()
        loss(x).backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None
        step = 1e-6 * torch.randn_like(point)
        quotient = float(loss(point + step) - loss(point - step)) / 2
        assert quotient == pytest.approx(float((x.grad * step).sum()), rel=1e-4)
        assert float(x.grad.abs().max()) > 0


def test_noise_is_as_loud_as_was_drawn() -> None:
    torch.manual_seed(0)
    spectrum = torch.randn(400, 2, 5, 7) * torch.linspace(0.1, 10, 400)[:, None, None, None]
    noise = noisy(spectrum, -6, 12) - spectrum
    ratios = 10 * torch.log10(spectrum.square().sum((1, 2, 3)) / noise.square().sum((1, 2, 3)))
    assert -6.01 < float(ratios.min()) < -5
    assert 11 < float(ratios.max()) < 12.01
    assert float(ratios.mean()) == pytest.approx(3, abs=0.6)


def test_after_the_projection_the_level_no_longer_counts() -> None:
    truth = torch.randn(1, 2, 5, 7, generator=torch.Generator().manual_seed(0))
    magnitude = truth.square().sum(1).sqrt()
    assert float(spectrum_loss(truth, 3 * truth, magnitude, "projected")) < 1e-5
    assert float(spectrum_loss(truth, 3 * truth, magnitude, "spectrum")) > 1


def test_targets_keep_full_precision_under_autocast() -> None:
    targets, samples = InversionTargets(LOG, "log"), speechlike(6000)[None]
    with torch.autocast("cpu", torch.bfloat16):
        inside = targets(samples)
    for ours, theirs in zip(inside, targets(samples), strict=True):
        assert torch.equal(ours, theirs)


def test_another_bank_is_another_mel() -> None:
    narrow, wide = (
        InversionTargets(replace(LOG, fmax=f), "log")(speechlike(6000)[None]) for f in (8000.0, None)
    )
    assert torch.equal(narrow[1], wide[1])
    assert not torch.allclose(narrow[0], wide[0])
