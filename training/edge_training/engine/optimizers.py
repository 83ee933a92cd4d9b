"""Optimisers that torch does not have, or not for convolutions.

AdaBelief (Zhuang and others 2020, arXiv 2010.07468): Adam divided by the gradient's surprise.

    m ← β₁ m + (1 − β₁) g
    s ← β₂ s + (1 − β₂) (g − m)² + ε
    w ← w − η · m / (1 − β₁ᵗ) / (√(s / (1 − β₂ᵗ)) + ε)

with decoupled weight decay (w ← w · (1 − η λ) first) and without rectification: the form that the rtMRI
system trains its vocoder with (ε 1e-16, λ 0). As in the authors' code ε is added to the running s in place.

Muon (Jordan and others 2024, "Muon: an optimizer for hidden layers in neural networks"; the size of steps is
that of Liu and others 2025, arXiv 2502.16982): a weight (O, …) is a matrix M of O rows,

    m ← β₁ m + (1 − β₁) g
    w ← w − η · 0.2 √(larger side) · orthonormal((1 − β₁) g + β₁ m)

and Adam for biases, norms and matrices of one row or column; decoupled weight decay for all. `orthonormal`
is five steps of a Newton–Schulz iteration in bfloat16: a few products of small matrices. A step is about as
large as Adam's, so that both share the rate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

# of Jordan and others: singular values from 1e-3 to 1 come to 0.7 … 1.2 in five steps
NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS = (3.4445, -4.7750, 2.0315), 5
MUON_SIZE = 0.2  # root mean square of a step at rate 1: Adam's is about that (Liu and others 2025)


class _Stepper(Optimizer):
    """An optimiser whose parameters are updated one after the other."""

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        raise NotImplementedError


class AdaBelief(_Stepper):
    """Arguments as torch's AdamW."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-16,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_var"] = torch.zeros_like(parameter)
        state["step"] += 1
        step, (beta1, beta2) = float(state["step"]), group["betas"]
        mean, variance = state["exp_avg"], state["exp_avg_var"]
        mean.lerp_(gradient, 1 - beta1)
        surprise = gradient - mean
        variance.mul_(beta2).addcmul_(surprise, surprise, value=1 - beta2).add_(group["eps"])
        denominator = (variance / (1 - beta2**step)).sqrt_().add_(group["eps"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.addcdiv_(mean, denominator, value=-group["lr"] / (1 - beta1**step))


class LreqAdam(_Stepper):
    """Adam without momentum and bias of β₂'s start, whose step is scaled by how a weight was drawn.

    v ← β₂ v + (1 − β₂) g²
    w ← w − η · √(1 − β₂ᵗ) · c · g / (√v + ε)

    c is the group's `coefficient`: the deviation of its initial weights (equalised learning rates, without
    scaling the weights themselves). Source: the optimiser of ALAE (Pidhorskyi and others 2020), which the
    ECoG system trains with.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 0.002,
        beta2: float = 0.99,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, {"lr": lr, "beta2": beta2, "eps": eps, "coefficient": 1.0})

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, beta = self.state[parameter], group["beta2"]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        square = state["exp_avg_sq"].lerp_(gradient.square(), 1 - beta)
        corrected = (1 - beta ** float(state["step"])) ** 0.5
        rate = group["lr"] * corrected * group["coefficient"]
        parameter.addcdiv_(gradient, square.sqrt().add_(group["eps"]), value=-rate)


class Muon(_Stepper):
    """Arguments as torch's AdamW; β₁ is the momentum of matrices too."""

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        rate = group["lr"]
        parameter.mul_(1 - rate * group["weight_decay"])
        matrix = gradient.ndim > 1 and min(gradient.flatten(1).shape) > 1
        direction = (
            self._turned(parameter, gradient, group) if matrix else self._adam(parameter, gradient, group)
        )
        parameter.add_(direction, alpha=-rate)

    def _turned(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state, beta = self.state[parameter], group["betas"][0]
        if not state:
            state["exp_avg"] = torch.zeros_like(parameter)
        mean = state["exp_avg"].lerp_(gradient, 1 - beta)
        matrix = orthonormal(gradient.lerp(mean, beta).flatten(1))
        turned: Tensor = MUON_SIZE * max(matrix.shape) ** 0.5 * matrix
        return turned.reshape(parameter.shape)

    def _adam(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state, (beta1, beta2) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        step = float(state["step"])
        mean = state["exp_avg"].lerp_(gradient, 1 - beta1)
        square = state["exp_avg_sq"].lerp_(gradient.square(), 1 - beta2)
        direction: Tensor = mean / (1 - beta1**step) / ((square / (1 - beta2**step)).sqrt() + group["eps"])
        return direction


def orthonormal(matrix: Tensor) -> Tensor:
    """About U Vᵀ of a matrix U S Vᵀ, (rows, columns): singular values become 0.7 … 1.2, except tiny ones."""
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix.bfloat16() if wide else matrix.bfloat16().T
    x = x / (torch.linalg.vector_norm(x) + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    result: Tensor = x if wide else x.T
    return result.to(matrix.dtype)
