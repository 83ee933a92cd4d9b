"""The layers by themselves: a softplus that keeps its digits, means that half precision can hold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edge_training.ecog_speech.decoders.layers import BlockNorm, softplus


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_softplus_is_the_logarithm_to_a_few_roundings(dtype: torch.dtype) -> None:
    x = torch.cat([torch.linspace(-80, 80, 20_001, dtype=dtype), torch.tensor([0.0], dtype=dtype)])
    wide = x.numpy().astype(np.longdouble)
    true = np.maximum(wide, 0) + np.log1p(np.exp(-np.abs(wide)))
    off = np.abs(softplus(x).numpy() - true) / true
    assert off.max() < {torch.float32: 4e-7, torch.float64: 2e-8}[dtype]


def test_gradients_of_softplus_are_the_sigmoid() -> None:
    x = torch.linspace(-20, 20, 400, dtype=torch.float64, requires_grad=True)
    softplus(x).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert torch.allclose(x.grad, torch.sigmoid(x.detach()), rtol=1e-6, atol=0)


def test_no_sum_of_a_norm_is_beyond_half_precision() -> None:
    """Squares of a hybrid grid over a recording, 32,400 of them, are summed 225 at a time."""
    norm = BlockNorm(1).eval()
    x = 3 * torch.randn(1, 1, 144, 15, 15, generator=torch.Generator().manual_seed(0))
    sums: list[float] = []

    class Watched(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            if func is torch.Tensor.mean:
                sums.append(float(result.abs().max()) * args[0].numel() / result.numel())
            return result

    with Watched(), torch.no_grad():
        made = norm(x)
    assert len(sums) == 4
    assert max(sums) < 2**15
    expected = torch.nn.functional.group_norm(x, 1)
    assert torch.allclose(made, expected, atol=1e-5)
