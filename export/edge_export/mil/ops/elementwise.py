"""Elementwise arithmetic, comparisons, logic and casts."""

# mypy: no-warn-return-any
# (numpy types arithmetic on arrays of any dtype as Any)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.registry import add, operation
from edge_export.mil.types import WORKING

_UNARY: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "exp": np.exp,
    "exp2": np.exp2,
    "floor": np.floor,
    "logical_not": np.logical_not,
    "round": np.rint,  # halves to even
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "square": np.square,
    "tan": np.tan,
    "tanh": np.tanh,
}

_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "equal": np.equal,
    "floor_div": np.floor_divide,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "mod": np.mod,  # the sign of the divisor
    "mul": np.multiply,
    "not_equal": np.not_equal,
    "pow": np.power,
    "real_div": np.true_divide,
    "sub": np.subtract,
}


def _unary(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def compute(x: Array) -> Array:
        return function(x)

    return compute


def _binary(function: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    def compute(x: Array, y: Array) -> Array:
        return function(x, y)

    return compute


for _name, _function in _UNARY.items():
    add(_name, _unary(_function))
for _name, _pair in _BINARY.items():
    add(_name, _binary(_pair))


@operation("clip")
def clip(x: Array, alpha: Array, beta: Array) -> Array:
    return np.clip(x, alpha, beta)


@operation("threshold")
def threshold(x: Array, alpha: Array) -> Array:
    return np.maximum(x, alpha)


@operation("inverse")
def inverse(x: Array, epsilon: Any = 1e-4) -> Array:
    return 1 / (x + np.float32(epsilon))


@operation("log")
def log(x: Array, epsilon: Any = 1e-45) -> Array:
    return np.log(x + np.float32(epsilon))


@operation("rsqrt")
def rsqrt(x: Array, epsilon: Any = 1e-12) -> Array:
    return 1 / np.sqrt(x + np.float32(epsilon))


@operation("erf")
def erf(x: Array) -> Array:
    """The error function to 1e-7 and better: Maclaurin's series near 0, a continued fraction further out."""
    z = np.abs(x.astype(np.float64))
    near = np.minimum(z, _SERIES_END)
    term = near.copy()
    total = near.copy()
    for n in range(1, 40):  # 40 terms: below 1e-9 at z = 2.5
        term *= -near * near / n
        total += term / (2 * n + 1)
    series = 2 / np.sqrt(np.pi) * total
    far = np.clip(z, _SERIES_END, 10.0)
    fraction = far
    for n in range(40, 0, -1):
        fraction = far + n / 2 / fraction
    tail = 1 - np.exp(-far * far) / (np.sqrt(np.pi) * fraction)
    result = np.copysign(np.where(z < _SERIES_END, series, tail), x)
    return np.where(np.isnan(x), x, result)


_SERIES_END = 2.5


@operation("cast")
def cast(x: Array, dtype: str) -> Array:
    """Fractions are cut off; a Boolean is what differs from zero."""
    if dtype == "bool":
        return x != 0
    if x.dtype.kind == "f" and dtype.startswith(("int", "uint")):
        return np.trunc(x).astype(np.int64).astype(WORKING[dtype])
    return x.astype(WORKING[dtype])


@operation("select")
def select(cond: Array, a: Array, b: Array) -> Array:
    return np.where(cond, a, b)
