"""Steps of a graph, recorded values, and what an error is.

With r the reference and y what a step gave, the error of the step is ‖y − r‖ / ‖r‖, told in decibels as a
signal-to-noise ratio: inf for equal arrays, −inf where y is not finite or r is zero and y is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
HEAVY = frozenset({"conv", "conv_transpose", "linear", "matmul", "lstm", "gru", "rnn", "layer_norm"})
MOST_AXES = 5  # of arrays whose axes are tried in every order
RESULT = "result"  # what a culprit that is cut out gives
HALF_MAX = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Step:
    """One tensor that an artifact computes, and the operation that makes it."""

    name: str  # of the tensor
    operation: str  # as the artifact's format calls it
    kind: str  # as `kinds` calls it
    path: str  # of the module, as "resblocks.0.convs1.0"; "" for the net itself
    reads: tuple[str, ...]  # tensors that are computed or given, without constants
    line: str = ""  # of Python, as "edge_training/vocoder/hifigan.py:97"
    weights: tuple[str, ...] = ()  # constants that it reads

    @property
    def heavy(self) -> bool:
        """Whether it multiplies by weights rather than moving values or adding constants."""
        return self.kind in HEAVY

    @property
    def place(self) -> str:
        """Operation and module in words."""
        return f"{self.operation} in {self.path}" if self.path else self.operation


class Graph(Protocol):
    """An artifact whose tensors are all visible."""

    @property
    def what(self) -> str:
        """Name of the artifact and of what executes it."""
        ...

    @property
    def steps(self) -> tuple[Step, ...]:
        """In an order in which they can be computed."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the net's inputs."""
        ...

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the net's outputs, which are tensors too."""
        ...

    def run(self, inputs: Mapping[str, Array], given: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """Every floating-point tensor (…,) by name; readers of a name in `given` get that array instead."""
        ...


@dataclass(frozen=True)
class Value:
    """A tensor of the reference, and where it was computed."""

    path: str
    kind: str
    array: Array
    line: str = ""
    name: str = ""


@dataclass
class Recording:
    """Everything that the reference computed, in order."""

    what: str
    values: list[Value] = field(default_factory=list)
    modules: dict[str, Value] = field(default_factory=dict)  # module → its only output
    outputs: dict[str, Array] = field(default_factory=dict)  # of the net
    scopes: dict[str, str] = field(default_factory=dict)  # module as torch's exporter names it → its path


@dataclass(frozen=True)
class Cut:
    """What is cut out of a graph."""

    inputs: Mapping[str, str]  # tensor of the graph → name in the bundle
    result: str  # the tensor that the culprit makes, `RESULT` in the bundle


def snr_db(reference: Array, array: Array) -> float:
    """Signal-to-noise ratio of an array (…,) against a reference of the same shape, in dB."""
    truth, made = reference.astype(np.float64), array.astype(np.float64)
    if not np.isfinite(made).all():
        return -math.inf
    noise, signal = float(np.linalg.norm(made - truth)), float(np.linalg.norm(truth))
    if noise == 0:
        return math.inf
    return 20 * math.log10(signal / noise) if signal else -math.inf


def largest_error(reference: Array, array: Array) -> float:
    """Largest absolute difference; inf where the array is not finite."""
    difference = np.abs(array.astype(np.float64) - reference.astype(np.float64))
    return float(difference.max(initial=0.0)) if np.isfinite(difference).all() else math.inf


def bare(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without axes of length 1."""
    return tuple(length for length in shape if length != 1)


def laid_out(reference: Array, array: Array) -> Array | None:
    """The reference with the axes of `array` (…,), None where no order of axes makes the shapes equal.

    Axes of length 1 come and go, and one axis may be two in the array, as both directions of a recurrent
    layer are in ONNX. Where several orders fit, the one whose values are nearest is taken.
    """
    if reference.shape == array.shape:
        return reference
    if reference.size != array.size:
        return None
    core, wanted = reference.reshape(bare(reference.shape)), bare(array.shape)
    ways = [
        split.transpose(order)
        for split in _splits(core, wanted)
        if split.ndim <= MOST_AXES
        for order in permutations(range(split.ndim))
        if tuple(split.shape[axis] for axis in order) == wanted
    ]
    if not ways:
        return core.reshape(array.shape) if core.shape == wanted else None
    best = ways[0] if len(ways) == 1 else max(ways, key=lambda way: _likeness(way, array))
    return np.ascontiguousarray(best).reshape(array.shape)


def _splits(core: Array, wanted: tuple[int, ...]) -> list[Array]:
    """The array itself, or with one axis as two, so that it has the lengths that are wanted in any order."""
    if sorted(core.shape) == sorted(wanted):
        return [core]
    if len(wanted) != core.ndim + 1:
        return []
    found = []
    for axis, length in enumerate(core.shape):
        for outer in dict.fromkeys(size for size in wanted if length % size == 0):
            shape = (*core.shape[:axis], outer, length // outer, *core.shape[axis + 1 :])
            if sorted(shape) == sorted(wanted):
                found.append(core.reshape(shape))
    return found


def _likeness(reference: Array, array: Array) -> float:
    value = snr_db(reference, array.reshape(reference.shape))
    return -1e9 if math.isnan(value) else value


def cast_like(reference: Array, array: Array) -> Array:
    """The reference in the type of `array`; beyond float16 it saturates, for an overflow is told once."""
    if array.dtype == np.float16:
        return np.clip(reference, -HALF_MAX, HALF_MAX).astype(np.float16)
    return reference.astype(array.dtype)
