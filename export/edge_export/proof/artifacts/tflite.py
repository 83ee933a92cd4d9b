"""TFLite files on LiteRT, where the package ai-edge-litert is installed.

Names are those of the file's first signature, the converted model's own; the tensors' names are kept beside
them. Whole numbers with a scale and a zero point are taken and given as the real numbers that they stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from edge_export.proof.artifacts.base import Array, Kind, Operation, Port, Value, Watch
from edge_runtime.backends.base import refused
from edge_runtime.errors import BackendError, InputError


class TfliteArtifact:
    """A TFLite file."""

    kind: Kind = "tflite"
    states: tuple[Port, ...] = ()

    def __init__(self, path: Path, what: str) -> None:
        self.what = what
        self._path = path
        try:
            library = import_module("ai_edge_litert.interpreter")  # which ships no types
        except ImportError as error:
            raise BackendError(
                what,
                got=f"no module named {error.name}",
                expected="LiteRT to be installed, which runs .tflite files",
                cause="pip install ai-edge-litert",
            ) from error
        try:
            self._interpreter = library.Interpreter(model_path=str(path), num_threads=1)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise refused("LiteRT", path, error, doing="loading") from error
        self.inputs = self._ports(self._interpreter.get_input_details(), "inputs")
        self.outputs = self._ports(self._interpreter.get_output_details(), "outputs")

    @property
    def detail(self) -> str:
        """What runs it."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return f"LiteRT {version('ai-edge-litert')}, CPU, threads: 1"
        except PackageNotFoundError:
            return "LiteRT, CPU, threads: 1"

    @property
    def operations(self) -> tuple[Operation, ...]:
        """As the interpreter lists them, without attributes."""
        tensors = {entry["index"]: entry for entry in self._interpreter.get_tensor_details()}

        def value(index: int) -> Value:
            entry = tensors.get(index)
            if entry is None:
                return Value(str(index))
            return Value(entry["name"], np.dtype(entry["dtype"]).name, tuple(map(int, entry["shape"])))

        return tuple(
            Operation(
                name=f"{entry['op_name']} {entry['index']}",
                type=entry["op_name"],
                inputs={str(i): (value(index),) for i, index in enumerate(entry["inputs"]) if index >= 0},
                outputs=tuple(value(index) for index in entry["outputs"]),
            )
            for entry in self._interpreter._get_ops_details()
        )

    def new_state(self) -> dict[str, Array]:
        """Variables inside of the file are reset before every run."""
        return {}

    def run(self, inputs: Mapping[str, Any], state: dict[str, Array] | None = None) -> dict[str, Array]:
        """Arrays by name in and out; lengths that the file leaves open follow the arrays."""
        del state
        interpreter = self._interpreter
        try:
            arrays = {port.name: np.asarray(inputs[port.name]) for port in self.inputs}
        except KeyError as error:
            raise InputError(self.what, got=f"no input {error}", expected=_names(self.inputs)) from error
        try:
            changed = False
            for port, entry in zip(self.inputs, interpreter.get_input_details(), strict=True):
                if tuple(entry["shape"]) != arrays[port.name].shape:
                    interpreter.resize_tensor_input(entry["index"], arrays[port.name].shape)
                    changed = True
            if changed:
                interpreter.allocate_tensors()
            interpreter.reset_all_variables()
            for port, entry in zip(self.inputs, interpreter.get_input_details(), strict=True):
                interpreter.set_tensor(entry["index"], _stored(arrays[port.name], entry))
            interpreter.invoke()
            return {
                port.name: _real(interpreter.get_tensor(entry["index"]), entry)
                for port, entry in zip(self.outputs, interpreter.get_output_details(), strict=True)
            }
        except (ValueError, RuntimeError) as error:
            raise refused("LiteRT", self._path, error, doing="running") from error

    def watch(self, inputs: Mapping[str, Any], seen: Watch, state: dict[str, Array] | None = None) -> None:
        """Refused: LiteRT reuses the memory of what lies inside."""
        del inputs, seen, state
        raise BackendError(self.what, got="a TFLite file", expected="an artifact whose inside can be watched")

    def _ports(self, details: list[dict[str, Any]], side: str) -> tuple[Port, ...]:
        names = self._signature(side)
        ports = []
        for entry in details:
            shape = tuple(None if axis < 0 else int(axis) for axis in entry["shape_signature"])
            dtype = "float32" if _scale(entry) else np.dtype(entry["dtype"]).name
            own = names.get(entry["index"], entry["name"])
            ports.append(Port(own, dtype, shape or tuple(map(int, entry["shape"])), aliases=(entry["name"],)))
        return tuple(ports)

    def _signature(self, side: str) -> dict[int, str]:
        """Tensor → its name in the first signature."""
        signatures = self._interpreter._get_full_signature_list() or {}
        first: dict[str, Any] = next(iter(signatures.values()), {})
        return {int(index): name for name, index in first.get(side, {}).items()}


def _names(ports: tuple[Port, ...]) -> str:
    return ", ".join(port.name for port in ports)


def _scale(entry: dict[str, Any]) -> float:
    return float(entry["quantization"][0])


def _stored(array: Array, entry: dict[str, Any]) -> Array:
    dtype = np.dtype(entry["dtype"])
    if scale := _scale(entry):
        limits = np.iinfo(dtype)
        levels = np.rint(array / scale) + entry["quantization"][1]
        return np.asarray(np.clip(levels, limits.min, limits.max), dtype)
    return np.asarray(array, dtype)


def _real(array: Array, entry: dict[str, Any]) -> Array:
    if scale := _scale(entry):
        return np.asarray((array.astype(np.float64) - entry["quantization"][1]) * scale, np.float32)
    return array
