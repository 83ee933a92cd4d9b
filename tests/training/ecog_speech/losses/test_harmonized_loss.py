"""GHM-R against its formulas in numpy, bin by bin; what its counts remember."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edge_training.ecog_speech.losses.harmonized_loss import HarmonizedLoss

DRAW = torch.Generator().manual_seed(5)


def drawn(spread: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    made, true = (torch.rand(2, 2, 50, generator=DRAW) * spread for _ in range(2))
    weight = torch.rand(2, 1, 50, generator=DRAW).sub(0.3).clamp(min=0)
    return made, true, weight


class Recomputed:
    """The same, written as a loop over bins in double precision."""

    def __init__(self) -> None:
        self.counts: dict[int, float] = {}

    def __call__(self, made: torch.Tensor, true: torch.Tensor, weight: torch.Tensor) -> float:
        d = (made.double() - true.double()).numpy()
        w = weight.double().numpy() + np.zeros_like(d)
        length = np.abs(d) / np.sqrt(d * d + 0.02**2)
        edges = np.arange(31) / 30
        edges[-1] = 1e3
        weights, occupied = np.zeros_like(d), 0
        for bin_number in range(30):
            inside = (length >= edges[bin_number]) & (length < edges[bin_number + 1]) & (w > 0)
            count = int(inside.sum())
            if count:
                before = self.counts.get(bin_number, count)
                self.counts[bin_number] = 0.75 * before + 0.25 * count
                weights[inside] = (w > 0).sum() / self.counts[bin_number]
                occupied += 1
        loss = (np.sqrt(d * d + 0.02**2) - 0.02) * weights / occupied * w
        return float(loss.sum() / (w > 0).sum())


def test_it_is_its_formulas_over_several_steps() -> None:
    loss, again = HarmonizedLoss(), Recomputed()
    for spread in (1.0, 0.1, 0.02, 1.0):
        batch = drawn(spread)
        assert loss(*batch).item() == pytest.approx(again(*batch), rel=1e-4)
    for number, count in again.counts.items():
        assert loss.counts[number].item() == pytest.approx(count, rel=1e-5)


def test_each_bin_counts_alike() -> None:
    made, true = torch.zeros(1, 1, 100), torch.zeros(1, 1, 100)
    made[..., 0] = 5.0  # one outlier among 99 easy values
    value = HarmonizedLoss()(made, true, torch.ones(1, 1, 100)).item()
    assert value == pytest.approx((5 - 0.02) / 2, rel=1e-3)


def test_its_gradient_is_finite_where_nothing_differs_and_nothing_is_heard() -> None:
    made = torch.zeros(1, 2, 9, requires_grad=True)
    for weight in (torch.ones(1, 1, 9), torch.zeros(1, 1, 9)):
        value = HarmonizedLoss()(made, made.detach(), weight)
        value.backward()
        assert value.item() == 0
        assert made.grad is not None
        assert not made.grad.any()


def test_what_is_not_finite_stays_so_for_the_training_to_refuse() -> None:
    for wrong in (math.nan, math.inf):
        made = torch.full((1, 1, 4), wrong)
        assert not HarmonizedLoss()(made, torch.zeros(1, 1, 4), torch.ones(1, 1, 4)).isfinite()


def test_counts_follow_in_training_alone_and_travel_with_the_state() -> None:
    loss, batch = HarmonizedLoss(), drawn(1.0)
    loss(*batch)
    kept = loss.state_dict()["counts"].clone()
    loss.eval()(*drawn(0.1))
    assert torch.equal(loss.counts, kept)
    other = HarmonizedLoss()
    other.load_state_dict({"counts": kept})
    following = drawn(0.3)
    assert other(*following).item() == loss.train()(*following).item()
    assert HarmonizedLoss()(*following).item() != pytest.approx(loss(*following).item(), rel=1e-3)
