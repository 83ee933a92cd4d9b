"""Programs as data: references, nested blocks, and when a value is let go of."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.export.mil.handmade import Spec, block, op, write

from edge_export.mil.graph import Function, Literal, Reference, read_function, walk
from edge_export.mil.package import read_model
from edge_export.mil.types import ValueReader


def _function(tmp_path: Path, operations: list[Spec], outputs: list[str]) -> Function:
    model, folder = read_model(write(tmp_path / "p.mlpackage", operations, {"x": (2,)}, outputs))
    return read_function(model.mlProgram.functions["main"], ValueReader(folder))


@pytest.fixture
def nested(tmp_path: Path) -> Function:
    inner = block([op("add", {"x": "a", "y": "late"}, "inner")], ["inner"])
    operations = [
        op("relu", {"x": "x"}, "a"),
        op("exp", {"x": "x"}, "late"),
        op("abs", {"x": "a"}, "unused"),
        op("cond", {"pred": True}, "y", blocks=[inner, inner]),
    ]
    return _function(tmp_path, operations, ["y"])


def test_arguments_are_references_or_literals(tmp_path: Path) -> None:
    function = _function(tmp_path, [op("leaky_relu", {"x": "x", "alpha": 0.5}, "y")], ["y"])
    arguments = function.block.operations[0].inputs
    assert arguments["x"] == (Reference("x"),)
    assert arguments["alpha"] == (Literal(0.5),)


def test_walk_enters_nested_blocks(nested: Function) -> None:
    assert [operation.type for operation in walk(nested.block)] == [
        "relu",
        "exp",
        "abs",
        "cond",
        "add",
        "add",
    ]


def test_a_block_captures_what_it_takes_from_outside(nested: Function) -> None:
    assert set(nested.block.operations[3].reads()) == {"a", "late"}


def test_values_are_released_after_their_last_reader(nested: Function) -> None:
    assert [set(names) for names in nested.block.releases] == [set(), {"x"}, {"unused"}, {"a", "late"}]
