"""Losses of a GPU are looked at later; here on the processor, where each is there at once."""

from __future__ import annotations

import math

import pytest
import torch

from edge_runtime.errors import InputError
from edge_training.engine.late_checks import DELAY, LateChecks


def refusal(value: float) -> InputError:
    return InputError("loss", got=str(value), expected="a finite loss")


def test_a_loss_that_is_not_finite_is_refused_two_steps_later() -> None:
    late = LateChecks()
    late.add(torch.tensor(1.0), 1, refusal)
    late.add(torch.tensor(math.inf), 2, refusal)
    late.add(torch.tensor(math.nan), 3, refusal)
    with pytest.raises(InputError, match="loss: got inf"):
        late.add(torch.tensor(2.0), 2 + DELAY, refusal)


def test_the_value_is_that_of_its_step_whatever_happens_to_the_tensor() -> None:
    late, loss = LateChecks(), torch.tensor(1.0)
    late.add(loss, 1, refusal)
    loss.fill_(math.nan)
    late.settle()


def test_settling_looks_at_all_that_are_left() -> None:
    late = LateChecks()
    for loss in (torch.tensor(1.0), torch.tensor(math.nan)):
        late.add(loss, 7, refusal)
    with pytest.raises(InputError, match="loss: got nan"):
        late.settle()
    late.settle()  # said once
