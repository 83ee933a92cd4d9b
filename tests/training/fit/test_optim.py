"""AdaBelief against its equations in numpy, and against AdamW where they agree."""

from __future__ import annotations

import numpy as np
import torch

from edge_training.fit.optim import AdaBelief

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
