"""Optimiser groups, moving average, schedule, and entries that are none."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from edge_runtime.errors import ConfigError
from edge_training.ecog_speech.fit_config import EcogFit, groups_of
from edge_training.engine.optimizers import LreqAdam


def test_weights_step_by_the_deviation_they_were_drawn_with() -> None:
    net = nn.Sequential(nn.Conv1d(8, 3, 4), nn.GroupNorm(1, 3))
    groups = {group["coefficient"]: len(group["params"]) for group in groups_of([net])}
    assert groups == {(2 / 32) ** 0.5: 1, 1.0: 3}


def test_lreq_adam_is_its_formula() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = LreqAdam([{"params": [parameter], "coefficient": 0.5}], lr=0.1)
    value, square = parameter.detach().clone(), torch.zeros(2)
    for step in range(1, 4):
        gradient = torch.tensor([0.3 * step, -1.0])
        parameter.grad = gradient.clone()
        optimizer.step()
        square = 0.99 * square + 0.01 * gradient**2
        value -= 0.1 * (1 - 0.99**step) ** 0.5 * 0.5 * gradient / (square.sqrt() + 1e-8)
    assert torch.allclose(parameter, value)


def test_an_old_weight_counts_half_after_so_many_items() -> None:
    config = EcogFit(steps=9, batch_size=8, halving=80)
    assert abs(config.decay**10 - 0.5) < 1e-12


def test_cosine_rises_and_falls() -> None:
    config = EcogFit(steps=100, batch_size=1, schedule="cosine", warm_up_steps=10)
    rates = [config.rate(step) for step in (0, 9, 50, 100)]
    assert rates[0] < 0.11
    assert rates[1] > 0.97
    assert abs(rates[2] - 0.5) < 0.01
    assert rates[3] == 0
    assert EcogFit(steps=9, batch_size=1).rate(5) == 1


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"bad": 7}, r"bad: got 7, expected electrodes from 0 on, as \[3,17\]"),
        ({"bad": (3, -1)}, r"bad: got \(3, -1\), expected electrodes"),
        ({"subjects": "S1"}, r"subjects: got 'S1', expected names, as \[\"S1\",\"S2\"\], or null"),
    ],
)
def test_lists_are_lists(entry: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        EcogFit(steps=1, batch_size=1, **entry)
