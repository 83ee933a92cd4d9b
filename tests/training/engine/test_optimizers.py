"""AdaBelief and Muon against their equations in numpy, and against AdamW where they agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edge_training.engine.optimizers import AdaBelief, Muon, orthonormal

LR, B1, B2, EPS, DECAY = 0.1, 0.8, 0.99, 1e-16, 0.02


def test_steps_are_the_equations() -> None:
    gradients = np.random.default_rng(0).standard_normal((6, 4))
    weights = torch.ones(4, dtype=torch.float64, requires_grad=True)
    optimizer = AdaBelief([weights], LR, (B1, B2), EPS, DECAY)
    expected, mean, variance = np.ones(4), np.zeros(4), np.zeros(4)
    for step, gradient in enumerate(gradients, start=1):
        weights.grad = torch.from_numpy(gradient)
        optimizer.step()
        mean = B1 * mean + (1 - B1) * gradient
        variance = B2 * variance + (1 - B2) * (gradient - mean) ** 2 + EPS
        expected *= 1 - LR * DECAY
        expected -= LR * mean / (1 - B1**step) / (np.sqrt(variance / (1 - B2**step)) + EPS)
    np.testing.assert_allclose(weights.detach().numpy(), expected, rtol=1e-12)


def test_a_parameter_without_gradient_stays() -> None:
    weights = torch.ones(3, requires_grad=True)
    AdaBelief([weights], LR, weight_decay=0.5).step()
    assert torch.equal(weights.detach(), torch.ones(3))


def test_a_closure_is_evaluated_with_gradients() -> None:
    weights = torch.ones(3, requires_grad=True)
    optimizer = AdaBelief([weights], LR)

    def closure() -> float:
        optimizer.zero_grad()
        loss = weights.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    assert optimizer.step(closure) == 3.0
    assert bool((weights < 1).all())


# ---- Muon -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6)])
def test_orthonormal_keeps_singular_vectors_and_levels_their_values(shape: tuple[int, int]) -> None:
    drawn = np.random.default_rng(1).standard_normal(shape)
    left, _, right = np.linalg.svd(drawn, full_matrices=False)
    values = np.geomspace(1.0, 0.05, min(shape))
    matrix = torch.from_numpy(1e-4 * (left * values) @ right).float()  # gradients are small
    found = left.T @ orthonormal(matrix).double().numpy() @ right.T
    assert np.all((np.diag(found) > 0.6) & (np.diag(found) < 1.3))
    assert np.abs(found - np.diag(np.diag(found))).max() < 0.05


def test_muon_turns_weights_and_leaves_the_rest_to_adam() -> None:
    draw = np.random.default_rng(2)
    shapes = {"weight": (6, 4, 5), "bias": (6,), "norm": (6, 1, 1), "one row": (1, 4, 5)}
    ours = {name: torch.ones(shape, requires_grad=True) for name, shape in shapes.items()}
    adams = {name: torch.ones(shape, requires_grad=True) for name, shape in shapes.items()}
    muon = Muon(ours.values(), LR, (B1, B2), weight_decay=DECAY)
    adam = torch.optim.AdamW(adams.values(), LR, (B1, B2), weight_decay=DECAY)
    mean, expected = np.zeros((6, 20)), np.ones((6, 20))
    for _ in range(4):
        gradients = {name: draw.standard_normal(shape) for name, shape in shapes.items()}
        for name, gradient in gradients.items():
            ours[name].grad = torch.from_numpy(gradient).float()
            adams[name].grad = torch.from_numpy(gradient).float()
        muon.step()
        adam.step()
        g = gradients["weight"].reshape(6, 20)
        mean = B1 * mean + (1 - B1) * g
        left, _, right = np.linalg.svd((1 - B1) * g + B1 * mean, full_matrices=False)
        expected = expected * (1 - LR * DECAY) - LR * 0.2 * np.sqrt(20) * left @ right
    for name in ("bias", "norm", "one row"):
        torch.testing.assert_close(ours[name], adams[name])
    moved = expected - 1
    distance = np.linalg.norm(ours["weight"].detach().numpy().reshape(6, 20) - expected)
    assert distance < 0.25 * np.linalg.norm(moved)  # singular values of 0.7 … 1.2, not 1


def test_muon_goes_on_from_its_state() -> None:
    def run(parts: tuple[int, ...]) -> torch.Tensor:
        draw = torch.Generator().manual_seed(3)
        weight, state = torch.ones(4, 6, requires_grad=True), None
        for steps in parts:
            optimizer = Muon([weight], LR)
            if state is not None:
                optimizer.load_state_dict(state)
            for _ in range(steps):
                weight.grad = torch.randn(4, 6, generator=draw)
                optimizer.step()
            state = optimizer.state_dict()
        return weight.detach()

    assert torch.equal(run((4,)), run((2, 2)))
