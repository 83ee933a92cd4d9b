"""The table of operations: MIL's name → the Python function that computes it.

A kernel's parameters carry the names of the operation's inputs in Apple's documentation, and its defaults are
the documented defaults. A kernel gets numpy arrays (float32 for every floating-point type, exact integers and
booleans), strings, and lists where the documentation says tuple; it never changes them, and returns one value
or a tuple, one entry an output. The executor converts the results to the types that the program declares.
A kernel that needs more (declared output types, nested blocks, the operation set) asks for `call`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edge_export.mil.graph import Block, Operation
from edge_runtime.errors import BackendError


class UnknownOperationError(BackendError):
    """An operation, or an argument of one, that the executor does not implement."""


@dataclass(frozen=True)
class Call:
    """The circumstances of one execution.

    Attributes:
        operation: the operation as the program states it.
        opset: the function's operation set, as a number: 5 for iOS 15 (CoreML5), 6, 7, 8 …
        run_block: runs a nested block on its inputs and gives its outputs.
        seed: of the run, for random values whose operation states none.
    """

    operation: Operation
    opset: int
    run_block: Callable[[Block, Sequence[Any]], list[Any]]
    seed: int = 0


@dataclass(frozen=True)
class Kernel:
    function: Callable[..., Any]
    parameters: frozenset[str]
    wants_call: bool


_KERNELS: dict[str, Kernel] = {}


def operation(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function under the names of the operations that it computes."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            add(name, function)
        return function

    return register


def add(name: str, function: Callable[..., Any]) -> None:
    """Register `function` for the operation `name`."""
    if name in _KERNELS:
        raise ValueError(f"two kernels for {name}")
    parameters = frozenset(inspect.signature(function).parameters)
    _KERNELS[name] = Kernel(function, parameters - {"call"}, "call" in parameters)


def kernel(name: str) -> Kernel | None:
    return _KERNELS.get(name)


def supported_operations() -> tuple[str, ...]:
    """The names of all operations that the executor knows, sorted."""
    return tuple(sorted(_KERNELS))


def as_list(value: Any) -> list[Any]:
    """A variadic argument: a tuple of one arrives as its only element."""
    return value if isinstance(value, list) else [value]


def unknown(what: str, place: str, known: Iterable[str] = ()) -> UnknownOperationError:
    expected = ", ".join(sorted(known)) or f"one of the {len(_KERNELS)} operations that the executor knows"
    return UnknownOperationError(f"{place}", got=what, expected=expected)
