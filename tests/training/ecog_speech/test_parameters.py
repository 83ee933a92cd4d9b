"""Scales and axes."""

from __future__ import annotations

import pytest
import torch
from tests.training.ecog_speech.spoken import spoken

from edge_runtime.errors import ConfigError
from edge_training.ecog_speech.parameters import (
    PARAMETERS,
    SCALE,
    DbScale,
    bandwidth,
    from_log_axis,
    in_order,
    log_axis,
    with_log_axes,
)


def test_the_scale_goes_from_the_floor_to_the_top() -> None:
    power = SCALE.to_power(torch.tensor([-1.0, 1.0]))
    assert power.tolist() == pytest.approx([1e-5, 10**2.25], rel=1e-5)
    assert SCALE.to_scaled(power).tolist() == pytest.approx([-1, 1], abs=1e-5)
    assert float(SCALE.to_scaled(torch.zeros(()))) == pytest.approx(-1 - 100 / 72.5)
    with pytest.raises(ConfigError, match=r"noise_db: got 9 … 9 dB, expected a floor below the top"):
        DbScale(9, 9)


def test_the_log_axis_has_an_inverse() -> None:
    assert float(log_axis(torch.tensor(440.0))) == pytest.approx(31 / 133)
    assert from_log_axis(float(log_axis(torch.tensor(1234.0)))) == pytest.approx(1234, rel=1e-5)


def test_bandwidths_follow_the_sex() -> None:
    frequency = torch.tensor([1000.0]).reshape(1, 1, 1)
    female, male = (float(bandwidth(frequency, torch.full((1, 1, 1), sex))) for sex in (1.0, 0.0))
    assert (female, male) == pytest.approx((0.65 * 381.25, 0.55 * 306.25))


def test_log_axes_are_added() -> None:
    parameters = spoken(3)
    added = with_log_axes(parameters)
    low = (parameters["freq_formants_hamon_hz"] - parameters["bandwidth_formants_hamon_hz"] / 2).clamp(min=1)
    high = parameters["freq_formants_hamon_hz"] + parameters["bandwidth_formants_hamon_hz"] / 2
    assert torch.allclose(added["bandwidth_formants_hamon"], 64 * (log_axis(high) - log_axis(low)))
    assert len(added) == len(PARAMETERS) + 5
    assert in_order({name: name for name in (*PARAMETERS, "x")}, "x")[-1] == "x"
