"""Reads and executes a saved Core ML package.

Arithmetic. Every floating-point value is a float32 array while the program runs; each operation computes and
accumulates in float32. What the declared type `fp16` means depends on the rounding:

* "none": nothing is rounded, not even by a cast to fp16 or for an fp16 input, so that only the conversion
  itself is tested. Weights that the package stores as float16 are float16 values nevertheless.
* "fp16": the inputs and every result that the program declares as fp16 are rounded to the nearest float16
  (ties to even); beyond 65504 they become infinite, and the report names the first operation where that
  happens. Inside an operation (a recurrent layer's state, a softmax's sum) nothing is rounded.

Integers and booleans are exact. Results declared as floating point come as float32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.features import Feature, Picture, read_feature
from edge_export.mil.graph import (
    Block,
    Function,
    Literal,
    Operation,
    Reference,
    Variable,
    read_function,
    walk,
)
from edge_export.mil.ops.control_flow import StateCell
from edge_export.mil.ops.registry import Call, Kernel, kernel, unknown
from edge_export.mil.package import read_model
from edge_export.mil.report import FP16_MAX, Event, RunReport
from edge_export.mil.types import FLOATS, WORKING, ValueReader
from edge_runtime.errors import BackendError, BundleError, ConfigError, EdgeError, InputError

ROUNDINGS = ("none", "fp16")
# called with an operation, its arguments by name and its results, in order of execution
Watch = Callable[[Operation, Mapping[str, Any], Sequence[Any]], None]
Tap = Callable[[Variable, Array], Array]
"""Sees a floating-point result (…,) of the main block before others read it, and gives what they read."""


class Program:
    """A package, ready to run.

    Attributes:
        inputs, outputs, states: what the package declares, by name.
        opset: "CoreML6" for iOS 16, "CoreML7" for iOS 17, …
        specification: the model format's version (7 for iOS 16).
        functions: names of all functions of the package; `open` chooses one.
        report: of the last run.
    """

    def __init__(
        self,
        name: str,
        function: Function,
        inputs: Sequence[Feature],
        outputs: Sequence[Feature],
        states: Sequence[Feature] = (),
        specification: int = 0,
        functions: Sequence[str] = ("main",),
    ) -> None:
        self.name = name
        self.inputs = {feature.name: feature for feature in inputs}
        self.outputs = {feature.name: feature for feature in outputs}
        self.states = {feature.name: feature for feature in states}
        self.opset = function.opset
        self.specification = specification
        self.functions = tuple(functions)
        self.report = RunReport("none")
        self._function = function

    @classmethod
    def open(cls, package: str | Path, function: str | None = None) -> Self:
        """Read a saved `.mlpackage` whole.

        Args:
            package: the folder.
            function: of a package with several; its default function where None.

        Raises:
            BundleError: the file is named where anything in it is damaged.
            ConfigError: no such function.
        """
        path = Path(package)
        try:
            model, folder = read_model(path)
            chosen, description = _choose(model, function)
            return cls(
                path.name,
                read_function(model.mlProgram.functions[chosen], ValueReader(folder)),
                [read_feature(feature) for feature in description.input],
                [read_feature(feature) for feature in description.output],
                [read_feature(feature) for feature in description.state],
                model.specificationVersion,
                sorted(model.mlProgram.functions),
            )
        except EdgeError as error:
            raise error.within(path.name) from error

    @property
    def block(self) -> Block:
        """The body of the function, as the file states it."""
        return self._function.block

    @property
    def operations(self) -> dict[str, int]:
        """How many operations of each type the program has, nested blocks included, sorted by name."""
        return dict(sorted(Counter(op.type for op in walk(self._function.block)).items()))

    def new_state(self) -> dict[str, Array]:
        """Zeros (…,) for every state, by name: pass them to `run`, which updates them."""
        return {name: np.zeros(state.shape, np.float32) for name, state in self.states.items()}

    def run(
        self,
        inputs: Mapping[str, Any],
        rounding: str = "none",
        state: dict[str, Array] | None = None,
        seed: int = 0,
        watch: Watch | None = None,
        tap: Tap | None = None,
    ) -> dict[str, Any]:
        """Execute the program.

        Args:
            inputs: name → array, each of a shape that the package admits; a picture is (H, W, 3) uint8 in the
                order RGB, or (H, W).
            rounding: "none" or "fp16" (see the module).
            state: of a stateful program, from `new_state`; updated in place.
            seed: of random values that the program draws without a seed of its own.
            watch: called after every operation but constants, with its arguments by name and its results.
            tap: sees each result of the main block, and may replace it.

        Returns:
            Output name → array, single numbers as (1,); pictures in the form of input pictures; for a
            classifier the label and the dictionary of probabilities.

        Raises:
            InputError: a missing or unexpected input, or a shape that the package does not admit.
            UnknownOperationError: the program needs an operation that the executor does not have.
            BackendError: an operation could not be computed.
        """
        if rounding not in ROUNDINGS:
            raise ConfigError("rounding", got=rounding, expected=" or ".join(ROUNDINGS))
        _check_known(self._function.block, "main")
        values = self._checked(inputs)
        self.report = RunReport(rounding)
        run = _Run(self.report, _number(self.opset), seed, watch, tap)
        cells = {} if state is None else state
        with np.errstate(all="ignore"):  # infinities and NaN are reported, not warned about
            for variable in self._function.inputs:
                if variable.name in self.states:
                    values[variable.name] = StateCell(cells, variable.name)
                else:
                    values[variable.name] = run.declared("input", variable, values[variable.name], values)
            results = run.block(self._function.block, values, "main")
        return {
            name: _given(self.outputs.get(name), result)
            for name, result in zip(self._function.block.outputs, results, strict=True)
        }

    def _checked(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        expected = ", ".join(f"{f.name} {f.admitted}" for f in self.inputs.values())
        unexpected = sorted(inputs.keys() - self.inputs.keys())
        if unexpected:
            raise InputError(self.name, got=f"the input {unexpected[0]}", expected=expected)
        values: dict[str, Any] = {}
        for name, feature in self.inputs.items():
            if name in inputs:
                values[name] = feature.check(inputs[name])
            elif feature.default is not None:
                values[name] = feature.check(np.full(feature.shape, feature.default, np.float32))
            else:
                raise InputError(self.name, got=f"no input {name}", expected=expected)
        return values


@dataclass
class _Run:
    """One execution: the environment is passed down, the report is filled as it goes."""

    report: RunReport
    opset: int
    seed: int
    watch: Watch | None = None
    tap: Tap | None = None

    def block(self, block: Block, values: dict[str, Any], place: str) -> list[Any]:
        """Run the operations in order; results are added to `values`, and released as the block says."""
        for operation, released in zip(block.operations, block.releases, strict=True):
            try:
                results = self._operation(operation, values, place)
            except EdgeError as error:
                if operation.blocks:  # the operation inside has named its place
                    raise
                raise error.within(_place(operation, place)) from error
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                raise BackendError(
                    _place(operation, place), got=str(error), expected="arguments that the operation admits"
                ) from error
            values.update(zip((output.name for output in operation.outputs), results, strict=True))
            for name in released:
                del values[name]
        return [values[name] for name in block.outputs]

    def _operation(self, operation: Operation, values: dict[str, Any], place: str) -> list[Any]:
        compute = kernel(operation.type)
        if compute is None:  # `_check_known` has seen to it
            raise unknown(operation.type, place)
        arguments = {name: _bound(a, values) for name, a in operation.inputs.items()}
        arguments.update({k: v for k, v in operation.attributes.items() if k in compute.parameters})
        if compute.wants_call:
            arguments["call"] = Call(
                operation, self.opset, lambda b, i: self._nested(b, i, values, operation, place), self.seed
            )
        results = compute.function(**arguments)
        if not isinstance(results, tuple):
            results = (results,)
        if operation.type == "const" or operation.type.startswith("constexpr_"):
            return [
                _typed(variable, value) for variable, value in zip(operation.outputs, results, strict=True)
            ]
        declared = [
            self.declared(operation.type, variable, value, arguments)
            for variable, value in zip(operation.outputs, results, strict=True)
        ]
        if self.watch is not None:
            self.watch(operation, arguments, declared)
        if self.tap is None or place != "main":
            return declared
        return [
            self.tap(variable, value) if variable.type and variable.type.dtype in FLOATS else value
            for variable, value in zip(operation.outputs, declared, strict=True)
        ]

    def _nested(
        self, block: Block, inputs: Sequence[Any], values: dict[str, Any], operation: Operation, place: str
    ) -> list[Any]:
        inner = dict(values)
        inner.update(zip((variable.name for variable in block.inputs), inputs, strict=True))
        return self.block(block, inner, f"{place} / {operation.type} {operation.name}")

    def declared(self, source: str, variable: Variable, value: Any, arguments: Mapping[str, Any]) -> Any:
        """The value in its declared type, rounded if that is fp16, and reported.

        `source` is the operation's type; `arguments` are the values that it was computed from.
        """
        result = _typed(variable, value)
        if variable.type is None or variable.type.dtype not in FLOATS or result.size == 0:
            return result
        peak = float(max(result.max(), -result.min()))
        if self.report.rounding == "fp16" and variable.type.dtype == "fp16":
            result = result.astype(np.float16).astype(np.float32)
        self._note(Event(source, variable.name, peak), result, arguments)
        return result

    def _note(self, event: Event, result: Array, arguments: Mapping[str, Any]) -> None:
        report, peak = self.report, event.value
        report.largest[event.output] = float(np.maximum(peak, report.largest.get(event.output, 0.0)))
        if peak <= FP16_MAX:
            return  # what follows is for infinities and NaN: rare, so that it may look at everything
        if report.not_a_number is None and np.isnan(peak) and not _any(np.isnan, arguments):
            report.not_a_number = event
        if report.overflow is None and np.isinf(result).any() and not _any(np.isinf, arguments):
            report.overflow = event


def _number(opset: str) -> int:
    """CoreML6 → 6; 0 for operation sets named otherwise."""
    digits = opset.removeprefix("CoreML")
    return int(digits) if digits.isdigit() else 0


def _choose(model: Any, function: str | None) -> tuple[str, Any]:
    """Name of the function, and the package's description of its inputs and outputs."""
    described = {entry.name: entry for entry in model.description.functions}
    known = sorted(model.mlProgram.functions)
    chosen = function or model.description.defaultFunctionName or "main"
    if chosen not in known or (described and chosen not in described):
        names = ", ".join(known) or "no function"
        if function is not None:
            raise ConfigError("function", got=function, expected=f"one of {names}")
        got = f"the functions {names}" if known else names
        raise BundleError("the program", got=got, expected=f"a function {chosen}")
    return chosen, described.get(chosen, model.description)


def _given(feature: Feature | None, result: Any) -> Any:
    """A result in the form in which Core ML returns it."""
    if isinstance(feature, Picture):
        return feature.show(result)
    return result.reshape(1) if isinstance(result, np.ndarray) and result.ndim == 0 else result


def _typed(variable: Variable, value: Any) -> Any:
    if variable.type is None or variable.type.dtype == "str":
        return value
    return np.asarray(value).astype(WORKING[variable.type.dtype], copy=False)


def _bound(arguments: Sequence[Reference | Literal], values: Mapping[str, Any]) -> Any:
    bound = [a.value if isinstance(a, Literal) else values[a.name] for a in arguments]
    return bound[0] if len(bound) == 1 else bound


def _any(test: np.ufunc, arguments: Mapping[str, Any]) -> bool:
    """Whether an infinity, or a NaN, was already among the arguments."""
    for value in arguments.values():
        for array in value if isinstance(value, list) else [value]:
            if isinstance(array, np.ndarray) and array.dtype.kind == "f" and test(array).any():
                return True
    return False


def _place(operation: Operation, block: str) -> str:
    return f"{operation.type} {operation.name} in {block}"


def _check_known(block: Block, place: str) -> None:
    for operation in block.operations:
        known = kernel(operation.type)
        if known is None:
            raise unknown(f"operation {operation.type}", _place(operation, place))
        extra = _unknown_arguments(operation, known)
        if extra:
            raise unknown(f"argument {extra[0]}", _place(operation, place), known.parameters)
        for inner in operation.blocks:
            _check_known(inner, f"{place} / {operation.type} {operation.name}")


def _unknown_arguments(operation: Operation, known: Kernel) -> list[str]:
    return sorted(operation.inputs.keys() - known.parameters)
