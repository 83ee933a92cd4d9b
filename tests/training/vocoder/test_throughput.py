"""The bench of training steps: both ways take the same losses. Speed is measured, never asserted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.training.vocoder.tiny_run import TINY
from torch import nn

from edge_training.vocoder.hifigan_recipe import HifiGanFit
from edge_training.vocoder.throughput import measure, measure_apart


@pytest.mark.parametrize("scales", [True, False])
def test_both_ways_take_equal_losses(scales: bool) -> None:
    """Spectral norm iterates once a pass, so one pass fewer changes its weights in the fifth digit."""
    config = HifiGanFit.from_json(TINY | {"lambda_stft": 0.0})
    result = measure(config if scales else replace(config, msd=None), rounds=2)
    assert set(result.textbook_losses) == {"loss/discriminator", "loss/mel", "loss/generator"}
    for name, value in result.textbook_losses.items():
        assert result.trainer_losses[name] == pytest.approx(value, rel=2e-3 if scales else 1e-5), name
    assert result.gain > 0


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # torch's own, tracing
@pytest.mark.parametrize("compiled", [False, True])
def test_loops_that_run_one_after_the_other_take_equal_losses(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on CUDA, here on the processor; compiled discriminators without torch's own code generator."""
    compile_module = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda module: compile_module(module, backend="eager"))
    config = replace(
        HifiGanFit.from_json(TINY | {"lambda_stft": 0.0}), msd=None, compile_discriminators=compiled
    )
    result = measure_apart(config, 2, "cpu", "32-true", warm_up=1)
    for name, value in result.textbook_losses.items():
        assert result.trainer_losses[name] == pytest.approx(value, rel=1e-5), name
    assert result.trainer > 0
    assert result.textbook > 0
