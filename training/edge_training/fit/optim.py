"""AdaBelief (Zhuang and others 2020, arXiv 2010.07468): Adam divided by the gradient's surprise.

    m ← β₁ m + (1 − β₁) g
    s ← β₂ s + (1 − β₂) (g − m)² + ε
    w ← w − η · m / (1 − β₁ᵗ) / (√(s / (1 − β₂ᵗ)) + ε)

with decoupled weight decay (w ← w · (1 − η λ) first) and without rectification: the form that the rtMRI
system trains its vocoder with (ε 1e-16, λ 0). As in the authors' code ε is added to the running s in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class AdaBelief(Optimizer):
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
