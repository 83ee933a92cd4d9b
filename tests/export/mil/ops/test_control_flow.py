"""Branches, loops and states in saved programs; lists by themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.export.mil.handmade import block, op, write

from edge_export.mil import Program
from edge_export.mil.ops import control_flow as c
from edge_runtime.errors import InputError


def test_a_branch_runs_alone(tmp_path: Path) -> None:
    grow = block([op("mul", {"x": "x", "y": 10.0}, "grown", shape=(1,))], ["grown"])
    keep = block([op("identity", {"x": "x"}, "kept", shape=(1,))], ["kept"])
    operations = [
        op("reduce_sum", {"x": "x"}, "total"),
        op("greater", {"x": "total", "y": 1.0}, "large", "bool"),
        op("cond", {"pred": "large"}, "y", blocks=[grow, keep], shape=(1,)),
    ]
    program = Program.open(write(tmp_path / "p.mlpackage", operations, {"x": (1,)}, ["y"]))
    assert program.run({"x": [2.0]})["y"].tolist() == [20.0]
    assert program.run({"x": [0.5]})["y"].tolist() == [0.5]
    assert "grown" not in program.report.largest


def test_a_loop_runs_until_its_condition_fails(tmp_path: Path) -> None:
    condition = block([op("less", {"x": "v", "y": 100.0}, "go", "bool")], ["go"], inputs=["v"])
    body = block([op("mul", {"x": "v", "y": "factor"}, "next")], ["next"], inputs=["v"])
    operations = [
        op("mul", {"x": "x", "y": 2.0}, "factor"),
        op("while_loop", {"loop_vars": ["x"]}, "y", blocks=[condition, body]),
    ]
    program = Program.open(write(tmp_path / "p.mlpackage", operations, {"x": ()}, ["y"]))
    assert program.run({"x": 3.0})["y"] == 108.0  # 3, 18, 108
    assert program.report.largest["next"] == 108.0


def test_a_list_is_a_value() -> None:
    empty = c.make_list([np.array(2), np.array(3)], init_length=np.array(1))
    one = np.ones((2, 3), np.float32)
    longer = c.list_write(empty, np.array(2), one)
    assert c.list_length(empty) == 1
    assert c.list_length(longer) == 3
    assert c.list_read(longer, np.array(1)).tolist() == np.zeros((2, 3)).tolist()
    assert c.list_gather(longer, np.array([2, 0])).sum() == 6
    filled = c.list_scatter(empty, np.array([0, 1]), np.stack([one, 2 * one]))
    assert c.list_gather(filled, np.array([0, 1])).tolist() == [one.tolist(), (2 * one).tolist()]


def test_a_state_is_read_and_written() -> None:
    values = {"s": np.array([1.0])}
    cell = c.StateCell(values, "s")
    c.write_state(cell, c.read_state(cell) + 1)
    assert values["s"].tolist() == [2.0]


def test_a_stateful_program_without_its_state_is_refused() -> None:
    with pytest.raises(InputError, match="state s: got no value, expected a state from"):
        c.read_state(c.StateCell({}, "s"))
