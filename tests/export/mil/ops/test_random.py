"""Random operations: shapes, ranges, distributions and seeds; their numbers are numpy's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.export.mil.handmade import op, write

from edge_export.mil import Program
from edge_export.mil.backend import MilSession
from edge_export.mil.ops.random import random_bernoulli, random_categorical, random_normal, random_uniform
from edge_export.mil.ops.registry import Call

SHAPE = np.array([100, 200], np.int32)


@pytest.fixture
def call() -> Call:
    from edge_export.mil.graph import Operation

    return Call(Operation("random", {}, {}, (), ()), 6, lambda _block, _inputs: [], 3)


def test_distributions(call: Call) -> None:
    uniform = random_uniform(SHAPE, call, -2.0, 3.0)
    assert uniform.shape == (100, 200)
    assert uniform.dtype == np.float32
    assert -2 <= uniform.min() < -1.99
    assert 2.99 < uniform.max() < 3
    normal = random_normal(SHAPE, call, 5.0, 2.0)
    assert normal.mean() == pytest.approx(5, abs=0.05)
    assert normal.std() == pytest.approx(2, abs=0.05)
    coin = random_bernoulli(SHAPE, call, 0.2)
    assert set(np.unique(coin)) == {0.0, 1.0}
    assert coin.mean() == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("mode", ["probs", "logits"])
def test_categories_are_drawn_by_their_probabilities(call: Call, mode: str) -> None:
    probabilities = np.array([[0.1, 0.2, 0.7], [0.0, 1.0, 0.0]], np.float32)
    given = probabilities if mode == "probs" else np.log(probabilities + 1e-30)
    drawn = random_categorical(given, call, mode, 20_000)
    assert drawn.shape == (2, 20_000)
    np.testing.assert_allclose([(drawn[0] == k).mean() for k in range(3)], [0.1, 0.2, 0.7], atol=0.02)
    assert (drawn[1] == 1).all()


def test_seeds(tmp_path: Path) -> None:
    """An operation's own seed gives the same in every run, else the run's does, apart for each operation."""
    names = ("a", "b", "c")
    seeds = {"a": np.int32(4), "b": np.int32(-1), "c": np.int32(-1)}
    draws = [op("random_uniform", {"shape": np.array([3], np.int32), "seed": seeds[n]}, n) for n in names]
    total = op("add", {"x": "x", "y": "x"}, "unused")
    write(tmp_path / "p.mlpackage", [*draws, total], inputs={"x": (1,)}, outputs=list(names))
    program = Program.open(tmp_path / "p.mlpackage")
    x = np.zeros(1, np.float32)
    first, same, other = (program.run({"x": x}, seed=seed) for seed in (0, 0, 1))
    for name in names:
        np.testing.assert_array_equal(first[name], same[name])
    np.testing.assert_array_equal(first["a"], other["a"])
    assert not np.array_equal(first["b"], other["b"])
    assert not np.array_equal(first["b"], first["c"])
    assert "random values are numpy's, not Apple's" in MilSession(program).detail
