"""Python functions, named as ``module:function``: naming one on the command line is running it.

The module is looked for as ``python -m`` looks: in the current folder first. A function gets numpy arrays, a
module of torch gets tensors; either may return an array or tensor, several, or a dictionary of them.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_export.proof.artifacts.base import Array, Kind, Operation, Port, Watch
from edge_export.proof.artifacts.torch_file import failed, named_outputs, parameters_of
from edge_runtime.errors import BackendError, ConfigError, EdgeError

NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


class PythonArtifact:
    """A function, or a module of torch, of the user."""

    kind: Kind = "python"
    states: tuple[Port, ...] = ()
    operations: tuple[Operation, ...] = ()

    def __init__(self, name: str) -> None:
        self.what = name
        self._function = _load(name)
        self._of_torch = "torch" in sys.modules and isinstance(self._function, sys.modules["torch"].nn.Module)
        called = self._function.forward if self._of_torch else self._function
        self.inputs = tuple(parameters_of(called))
        self.outputs: tuple[Port, ...] = ()  # known once it ran

    @property
    def detail(self) -> str:
        """What runs it."""
        return f"Python {sys.version.split()[0]}"

    def new_state(self) -> dict[str, Array]:
        """None: a function keeps its own."""
        return {}

    def run(self, inputs: Mapping[str, Any], state: dict[str, Array] | None = None) -> dict[str, Array]:
        """Arrays by the names of its parameters; results without names are output_0, output_1, …"""
        del state
        given = [np.array(inputs[port.name]) for port in self.inputs if port.name in inputs]
        if self._of_torch:
            import torch

            with torch.inference_mode():
                return self._called([torch.from_numpy(array) for array in given])
        return self._called(given)

    def _called(self, given: list[Any]) -> dict[str, Array]:
        try:
            return named_outputs(self._function(*given))
        except EdgeError:
            raise
        except Exception as error:  # the user's code may raise anything; --debug shows where
            raise failed(self.what, error) from error

    def watch(self, inputs: Mapping[str, Any], seen: Watch, state: dict[str, Array] | None = None) -> None:
        """Refused: a function has no operations."""
        del inputs, seen, state
        raise BackendError(
            self.what, got="a Python function", expected="an artifact whose inside can be watched"
        )


def _load(name: str) -> Any:
    module_name, _, path = name.partition(":")
    here = os.getcwd()
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            name,
            got=f"no module named {error.name}",
            expected="module:function of a module that Python finds",
            cause="it is looked for in the current folder and among what is installed",
        ) from error
    finally:
        if added:
            sys.path.remove(here)
    for part in path.split("."):
        if not hasattr(found, part):
            raise ConfigError(
                name, got=f"no {part} in {module_name}", expected="the name of a function in it"
            )
        found = getattr(found, part)
    if not callable(found):
        raise ConfigError(name, got=f"a {type(found).__name__}", expected="something that can be called")
    return found
