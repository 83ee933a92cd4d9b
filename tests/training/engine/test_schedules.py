"""Learning rates as functions of the step."""

from __future__ import annotations

import pytest

from edge_training.engine.schedules import warm_up_cosine


def test_the_rate_rises_falls_and_stays() -> None:
    shares = [warm_up_cosine(step, warm_up=10, until=100, floor=0.2) for step in (0, 50, 100, 1000)]
    assert shares == pytest.approx([0.1, 0.6, 0.2, 0.2])
    assert [warm_up_cosine(step, warm_up=0, until=None) for step in (0, 10**6)] == [1.0, 1.0]
    assert warm_up_cosine(5, warm_up=10, until=100) == pytest.approx(0.6 * 0.99384417)
