"""Losses of synchrony against their definitions written out pair by pair."""

from __future__ import annotations

import math

import pytest
import torch

from edge_runtime.errors import InputError
from edge_training.talking_head.losses import bce_loss, cosines, infonce_loss


@pytest.fixture
def similarity() -> torch.Tensor:
    return torch.rand(6, 6, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05


CLIPS = torch.tensor([0, 0, 0, 1, 1, 2])


def test_cosines_are_those_of_torch() -> None:
    face, audio = torch.rand(3, 8), torch.rand(4, 8)
    wanted = torch.nn.functional.cosine_similarity(face[:, None], audio[None], dim=2)
    torch.testing.assert_close(cosines(face, audio), wanted)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(cosines(face, audio), wanted)


def test_a_zero_row_has_cosines_and_gradients() -> None:
    face = torch.zeros(2, 4, requires_grad=True)
    loss = infonce_loss(cosines(face, torch.rand(2, 4)), 0.05)
    torch.autograd.backward(loss)
    assert loss.item() == pytest.approx(math.log(2))
    assert face.grad is not None
    assert face.grad.isfinite().all()


@pytest.mark.parametrize("other_clips", [0.0, 0.3, 1.0])
def test_bce_is_the_mean_over_all_outcomes_of_the_coin(similarity: torch.Tensor, other_clips: float) -> None:
    right, same, other = [], [], []
    for i in range(6):
        for j in range(6):
            s = float(similarity[i, j])
            if i == j:
                right.append(-math.log(s))
            elif CLIPS[i] == CLIPS[j]:
                same.append(-math.log(1 - s))
            else:
                other.append(-math.log(1 - s))
    means = [sum(values) / len(values) for values in (right, same, other)]
    wanted = 0.5 * means[0] + 0.5 * ((1 - other_clips) * means[1] + other_clips * means[2])
    assert bce_loss(similarity, CLIPS, other_clips).item() == pytest.approx(wanted, rel=1e-5)


def test_bce_knows_nothing_at_a_half() -> None:
    assert bce_loss(torch.full((6, 6), 0.5), CLIPS).item() == pytest.approx(math.log(2))


def test_bce_stays_finite_at_the_ends() -> None:
    similarity = torch.ones(6, 6, requires_grad=True)
    loss = bce_loss(similarity, CLIPS) + bce_loss(similarity * 0, CLIPS)
    torch.autograd.backward(loss)
    assert loss.isfinite()


@pytest.mark.parametrize(
    ("clips", "other_clips", "sentence"),
    [([0, 1], 0.0, "windows of the same clip"), ([0, 0], 0.5, "windows of the other clips")],
)
def test_wrong_pairs_that_are_not_there(clips: list[int], other_clips: float, sentence: str) -> None:
    with pytest.raises(InputError, match=f"no wrong pairs, expected some {sentence}"):
        bce_loss(torch.rand(2, 2), torch.tensor(clips), other_clips)


def test_infonce_is_symmetric_cross_entropy(similarity: torch.Tensor) -> None:
    rows, tau = similarity.tolist(), 0.2
    total = 0.0
    for i in range(6):
        for line in (rows[i], [row[i] for row in rows]):
            total -= math.log(math.exp(line[i] / tau) / sum(math.exp(s / tau) for s in line))
    assert infonce_loss(similarity, tau).item() == pytest.approx(total / 12, rel=1e-5)


@pytest.mark.parametrize("name", ["bce", "infonce"])
def test_gradients_bring_partners_together(name: str) -> None:
    """From nearly constant towers a small step against the gradient favours the right pairs."""
    draw = torch.Generator().manual_seed(0)
    # float64: favours of some 1e-7 are read off similarities near 1
    base = torch.rand(1, 16, generator=draw, dtype=torch.float64)
    towers = [base + 1e-2 * torch.rand(6, 16, generator=draw, dtype=torch.float64) for _ in range(2)]
    towers = [tower.requires_grad_(True) for tower in towers]
    similarity = cosines(*towers)
    loss = infonce_loss(similarity, 0.05) if name == "infonce" else bce_loss(similarity * 0.5, CLIPS * 0)
    moved = [
        tower - 1e-3 * slope for tower, slope in zip(towers, torch.autograd.grad(loss, towers), strict=True)
    ]
    assert favour(cosines(*moved)) > favour(similarity)


def favour(similarity: torch.Tensor) -> float:
    """How much more similar right pairs are than all."""
    return float((similarity.diagonal().mean() - similarity.mean()).detach())
