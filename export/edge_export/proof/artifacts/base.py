"""What runs, whatever wrote it: its inputs, outputs, states and operations.

    Port        an input, output or state: name, type, the shapes that it admits
    Value       a tensor inside: name, type, declared shape, and its numbers where they are constant
    Operation   one step: type, arguments, results, and where in the net's Python it comes from, if known
    Runnable    what `edge_export.proof.artifacts.open_runnable` gives

Types are named as numpy names them. A length that is known only when something runs is None, or the name that
the file gives to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Kind = Literal["onnx", "coreml", "tflite", "torchscript", "exported-program", "python"]
Axis = int | str | None


@dataclass(frozen=True)
class Port:
    """An input, output or state; `shape` is None where it is not declared."""

    name: str
    dtype: str = ""  # "" where it is not declared
    shape: tuple[Axis, ...] | None = None
    only: tuple[tuple[int, ...], ...] = ()  # the admitted shapes, where they are enumerated
    ranges: tuple[tuple[int, int | None], ...] = ()  # inclusive, per axis, where those are declared
    colour: str = ""  # of a picture (H, W, 3) or (H, W): RGB, BGR, grey, grey-fp16
    default: float | None = None  # fills an input that need not be given
    meaning: str = ""  # as the bundle's manifest says
    aliases: tuple[str, ...] = ()  # other names of the same tensor

    def admits(self, shape: Sequence[int]) -> bool:
        """Whether an array of this shape may be given; named axes are not compared with each other."""
        given = tuple(shape)
        if self.only:
            return given in self.only
        if self.ranges:
            return len(given) == len(self.ranges) and all(
                low <= length and (high is None or length <= high)
                for length, (low, high) in zip(given, self.ranges, strict=True)
            )
        if self.shape is None:
            return True
        return len(given) == len(self.shape) and all(
            length == axis or not isinstance(axis, int)
            for length, axis in zip(given, self.shape, strict=True)
        )

    @property
    def admitted(self) -> str:
        """The admitted shapes in words."""
        if self.colour:
            return f"a picture ({self.colour}) {self.only or self.shape}"
        if self.only:
            return " or ".join(map(str, self.only))
        if self.ranges:
            return f"({', '.join(_span(*bounds) for bounds in self.ranges)})"
        if self.shape is None:
            return "any shape"
        return f"({', '.join('any' if axis is None else str(axis) for axis in self.shape)})"


def _span(low: int, high: int | None) -> str:
    if low == high:
        return str(low)
    return f"{low} or more" if high is None else f"{low} to {high}"


@dataclass(frozen=True)
class Value:
    """A tensor inside of an artifact; `shape` is None where the file does not tell it."""

    name: str
    dtype: str = ""
    shape: tuple[Axis, ...] | None = None
    constant: Any = None  # its numbers (or text), where the file holds them

    @property
    def size(self) -> int | None:
        """How many numbers it has, where that is known."""
        if self.shape is None or not all(isinstance(axis, int) for axis in self.shape):
            return None
        return prod(axis for axis in self.shape if isinstance(axis, int))


@dataclass(frozen=True)
class Operation:
    """One operation of an artifact. Constants are no operations but arguments of others."""

    name: str  # unique in its artifact
    type: str
    inputs: Mapping[str, tuple[Value, ...]]  # by the name of the argument; ONNX: its number
    outputs: tuple[Value, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""  # where in the Python of the net it comes from, as far as the file tells
    block: str = "main"  # nested blocks are named by the path to them

    @property
    def arguments(self) -> Iterator[Value]:
        """All arguments in order."""
        for values in self.inputs.values():
            yield from values

    def constant(self, name: str) -> Any:
        """The constant argument of this name, or None."""
        values = self.inputs.get(name, ())
        return values[0].constant if len(values) == 1 else None


# called with an operation and its results, in order of execution
Watch = Callable[[Operation, Sequence[Any]], None]


class Runnable(Protocol):
    """An artifact that is loaded and ready to run."""

    @property
    def what(self) -> str:
        """What messages call it."""
        ...

    @property
    def kind(self) -> Kind: ...

    @property
    def inputs(self) -> tuple[Port, ...]: ...

    @property
    def outputs(self) -> tuple[Port, ...]: ...

    @property
    def states(self) -> tuple[Port, ...]:
        """What is kept from run to run, see `new_state`."""
        ...

    @property
    def detail(self) -> str:
        """What runs it: library, version, device."""
        ...

    @property
    def operations(self) -> tuple[Operation, ...]:
        """In order of execution; empty where the artifact does not tell them."""
        ...

    def new_state(self) -> dict[str, Array]:
        """Zeros (…,) for every state, which `run` changes in place; empty where there are none."""
        ...

    def run(self, inputs: Mapping[str, Any], state: dict[str, Array] | None = None) -> dict[str, Array]:
        """Arrays by name in and out.

        Raises:
            InputError, BackendError: inputs that it does not admit; it cannot be executed.
        """
        ...

    def watch(self, inputs: Mapping[str, Any], seen: Watch, state: dict[str, Array] | None = None) -> None:
        """Run, and show every operation's results before any rounding to float16.

        Raises:
            BackendError: what runs it shows nothing of its inside.
        """
        ...


def plain(value: Any) -> Any:
    """What a net returned as a numpy array: tensors, numbers, lists; a classifier's answers as they are."""
    if isinstance(value, (str, Mapping)):
        return value
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(getattr(value, "dtype", "")) == "torch.bfloat16":
            value = value.float()
        value = value.numpy()
    return np.asarray(value)
