"""Arrays have the manifest's types on every target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from edge_runtime.backends.artifacts import TypedSession
from edge_runtime.errors import InputError
from edge_runtime.store.bundle import Tensor

Array = np.ndarray[Any, np.dtype[Any]]
INPUTS = [
    Tensor("tokens", "int64", (1, "n"), "words", "index"),
    Tensor("mask", "bool", (1, "n"), "there", ""),
    Tensor("bias", "float16", (1,), "bias", ""),
]
OUTPUTS = [Tensor("winners", "int64", (1, "n"), "w", ""), Tensor("loud", "bool", (1, "n"), "l", "")]


class Package:
    """What a Core ML package does: it takes and gives float32 and int32 alone."""

    detail = "a package"

    def __init__(self) -> None:
        self.taken: dict[str, str] = {}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.taken = {name: str(array.dtype) for name, array in inputs.items()}
        return {"winners": inputs["tokens"] + 1, "loud": inputs["mask"]}


def test_types_are_converted_both_ways() -> None:
    package = Package()
    session = TypedSession(package, INPUTS, OUTPUTS)
    given = {"tokens": np.array([[1, 2]]), "mask": np.array([[True, False]]), "bias": np.ones(1, np.float16)}
    results = session.run(given)
    assert package.taken == {"tokens": "int32", "mask": "int32", "bias": "float32"}
    assert {name: str(array.dtype) for name, array in results.items()} == {"winners": "int64", "loud": "bool"}
    np.testing.assert_array_equal(results["winners"], [[2, 3]])
    np.testing.assert_array_equal(results["loud"], [[True, False]])
    assert session.detail == "a package"


def test_float32_goes_in_and_out_as_float16_where_the_artifact_has_that() -> None:
    package = Package()
    specs = [Tensor("tokens", "float32", (1, "n"), "t", ""), Tensor("mask", "bool", (1, "n"), "m", "")]
    session = TypedSession(
        package, specs, [Tensor("winners", "float32", (1, "n"), "w", "")], {"float32": "float16"}
    )
    given = {"tokens": np.array([[1 / 3, 2]], np.float32), "mask": np.array([[True, False]])}
    results = session.run(given)
    assert package.taken == {"tokens": "float16", "mask": "bool"}
    assert results["winners"].dtype == np.float32
    assert results["winners"][0, 0] == np.float32(np.float16(1 / 3) + np.float16(1))
    with pytest.raises(
        InputError, match=r"tokens: got values from 1.0 to 70000.0, expected -65504.0 to 65504.0"
    ):
        session.run(given | {"tokens": np.array([[1, 7e4]], np.float32)})


def test_numbers_beyond_32_bits_are_refused() -> None:
    session = TypedSession(Package(), INPUTS, OUTPUTS)
    given = {"tokens": np.array([[2**31]]), "mask": np.ones((1, 1), bool), "bias": np.ones(1, np.float16)}
    with pytest.raises(InputError, match="tokens: got values from 2147483648 to 2147483648, expected -21"):
        session.run(given)
