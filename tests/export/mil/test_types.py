"""Constants written into the model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.export.mil.handmade import op, write

from edge_export.mil.package import read_model
from edge_export.mil.proto import model_class
from edge_export.mil.types import TensorType, ValueReader, read_type
from edge_runtime.errors import BundleError


def _constants(tmp_path: Path, inputs: dict[str, Any]) -> Any:
    model, folder = read_model(write(tmp_path / "p.mlpackage", [op("x", inputs, "y")], {}, ["y"]))
    operation = model.mlProgram.functions["main"].block_specializations["CoreML6"].operations[0]
    return {n: ValueReader(folder).read(a.arguments[0].value) for n, a in operation.inputs.items()}


@pytest.mark.parametrize(
    "value",
    [
        np.array([[1.5, -2.0]], np.float32),
        np.array([1.5, -2.0], np.float16),
        np.array([[3], [-4]], np.int32),
        np.array([True, False]),
        np.array(2.5, np.float32),
    ],
)
def test_an_immediate_value_keeps_type_and_shape(tmp_path: Path, value: np.ndarray) -> None:
    read = _constants(tmp_path, {"v": value})["v"]
    assert read.dtype == value.dtype
    assert read.shape == value.shape
    np.testing.assert_array_equal(read, value)


def test_a_string_is_a_string(tmp_path: Path) -> None:
    assert _constants(tmp_path, {"v": "=same_lower"})["v"] == "same_lower"


def test_an_unknown_length_is_none() -> None:
    proto = model_class()().mlProgram.functions["main"].inputs.add().type
    proto.tensorType.dataType = 10
    proto.tensorType.dimensions.add().constant.size = 3
    proto.tensorType.dimensions.add().unknown.variadic = False
    assert read_type(proto) == TensorType("fp16", (3, None))


PAIR = np.array([1, 2])


def test_refuses_a_constant_with_too_few_values(tmp_path: Path) -> None:
    model, folder = read_model(write(tmp_path / "p.mlpackage", [op("x", {"v": PAIR}, "y")], {}, ["y"]))
    operation = model.mlProgram.functions["main"].block_specializations["CoreML6"].operations[0]
    value = operation.inputs["v"].arguments[0].value
    value.immediateValue.tensor.ints.values.pop()
    with pytest.raises(BundleError, match=r"got 1 values, expected 2 \(shape \(2,\)\)"):
        ValueReader(folder).read(value)


@pytest.mark.parametrize("name", ["/etc/passwd", "@model_path/../../../weight.bin"])
def test_refuses_weight_files_outside_of_the_package(tmp_path: Path, name: str) -> None:
    value = model_class()().mlProgram.functions["main"].attributes["v"]
    value.blobFileValue.fileName = name
    value.type.tensorType.dataType = 11
    with pytest.raises(BundleError, match="expected a file of the package"):
        ValueReader(tmp_path).read(value)
