"""Looks at the losses of a GPU two steps later, so that no step waits for the one before it.

`if torch.isfinite(loss)` makes the processor wait until the GPU has done everything that it was given; with
two such questions a step the GPU idles while the next step is prepared. Here the value is copied beside the
computation and looked at when it has long arrived. A training whose loss is not finite so ends up to two
steps later than on the processor, with the same sentence; no checkpoint is written in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from edge_runtime.errors import EdgeError

DELAY = 2  # steps


class _Asked(NamedTuple):
    step: int
    value: Tensor  # on the host
    wait: Callable[[], object]  # until the value is there
    refusal: Callable[[float], EdgeError]


class LateChecks:
    """Losses that have been asked for and not been looked at."""

    def __init__(self) -> None:
        self._asked: deque[_Asked] = deque()

    def add(self, loss: Tensor, step: int, refusal: Callable[[float], EdgeError]) -> None:
        """Ask for a loss, a scalar (), of a step; raises the refusal of an earlier one that is not finite."""
        value, wait = _fetched(loss.detach())
        self._asked.append(_Asked(step, value, wait, refusal))
        self.settle(step - DELAY)

    def settle(self, step: int | None = None) -> None:
        """Look at the losses up to a step, all where None; raises the refusal of one that is not finite."""
        while self._asked and (step is None or self._asked[0].step <= step):
            asked = self._asked.popleft()
            asked.wait()
            if not torch.isfinite(asked.value):
                self._asked.clear()
                raise asked.refusal(float(asked.value))


def _fetched(loss: Tensor) -> tuple[Tensor, Callable[[], object]]:
    """The value on the host, once the function has returned."""
    if not loss.is_cuda:
        return loss.clone(), lambda: None
    value = torch.empty((), dtype=loss.dtype, pin_memory=True)
    value.copy_(loss, non_blocking=True)
    there = torch.cuda.Event()  # type: ignore[no-untyped-call]
    there.record()
    return value, there.synchronize
