"""The PyTorch net as a float16 artifact computes it, without writing one.

Weights take chosen formats; what every call of torch gives is rounded to float16, except in named parts of
the net, the islands, that stay float32. Sums inside of a call are float32, as in our executor.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_export.precision.formats import SMALLEST, Array, Format, read_back

if TYPE_CHECKING:
    from torch import nn

Inputs = Mapping[str, Array]
MATRIX = re.compile(r"weight_[ih]h_l\d")  # of an LSTM


@dataclass(frozen=True)
class Layer:
    """A weight that takes a format: of a convolution, a linear layer, or one of the matrices of an LSTM."""

    module: Any
    attribute: str  # of the module
    axis: int  # of output channels; of an LSTM its gates' units

    @property
    def tensor(self) -> Any:
        """The parameter."""
        return getattr(self.module, self.attribute)

    @property
    def recurrent(self) -> bool:
        """Whether it is a matrix of an LSTM."""
        return self.attribute != "weight"


def layers_of(module: nn.Module) -> dict[str, Layer]:
    """Path → layer: convolutions, linear layers and matrices of LSTMs, of some size.

    Matrices of LSTMs are named as PyTorch does, as ``rnn.weight_hh_l0_reverse``.
    """
    from torch import nn

    found = {}
    for path, part in module.named_modules():
        if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear):
            found[path] = Layer(part, "weight", 0)
        elif isinstance(part, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            found[path] = Layer(part, "weight", 1)
        elif isinstance(part, nn.LSTM):
            names = (name for name, _ in part.named_parameters() if MATRIX.match(name))
            found |= {f"{path}.{name}".lstrip("."): Layer(part, name, 0) for name in names}
    return {path: layer for path, layer in found.items() if layer.tensor.numel() >= SMALLEST}


class Rounded:
    """A net whose layers' formats change from run to run.

    Args:
        module: folded, in evaluation mode; it is not changed.
        outputs: names of what it returns.
        islands: parts of the net, by the first name of their path, that stay float32; None: all of it.
    """

    def __init__(self, module: nn.Module, outputs: tuple[str, ...], islands: Collection[str] | None) -> None:
        self._module = copy.deepcopy(module)
        self.outputs = outputs
        self.islands = islands
        self.layers = layers_of(self._module)
        self.weights: dict[str, Array] = {
            path: layer.tensor.detach().numpy().copy() for path, layer in self.layers.items()
        }
        self._now: dict[str, Format] = dict.fromkeys(self.layers, "float32")
        self._kept: dict[tuple[str, Format], Array] = {}

    def axis(self, path: str) -> int:
        """Axis of a layer's output channels."""
        return self.layers[path].axis

    def in_island(self, path: str) -> bool:
        """Whether a layer stays float32 in any case."""
        return self.islands is not None and path.split(".")[0] in self.islands

    def run(self, inputs: Inputs, formats: Mapping[str, Format]) -> dict[str, Array]:
        """Arrays (batch, …) by name in and out, with each layer's weights in its format."""
        import torch

        for path, layer in self.layers.items():
            kind = formats.get(path, "float32")
            if self._now[path] != kind:
                key = (path, kind)
                if key not in self._kept:
                    self._kept[key] = np.ascontiguousarray(read_back(self.weights[path], kind, layer.axis))
                layer.tensor.data = torch.from_numpy(self._kept[key])
                self._now[path] = kind
        tensors = tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in inputs.values())
        with torch.inference_mode(), self._rounding():
            results = self._module(*tensors)
        given = results if isinstance(results, tuple) else (results,)
        return {name: tensor.float().numpy() for name, tensor in zip(self.outputs, given, strict=True)}

    @contextmanager
    def _rounding(self) -> Iterator[None]:
        if self.islands is None:
            yield
            return
        with half_precision(self._module, self.islands):
            yield


@contextmanager
def half_precision(module: nn.Module, islands: Collection[str]) -> Iterator[None]:
    """Rounds what every call of torch gives inside of a module, except in its islands."""
    import torch
    from torch.overrides import TorchFunctionMode

    stack = [""]
    handles = []
    for path, part in module.named_modules():

        def enter(_module: Any, _inputs: Any, path: str = path) -> None:
            stack.append(path)

        def leave(_module: Any, _inputs: Any, _output: Any) -> None:
            stack.pop()

        handles += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]

    class Half(TorchFunctionMode):
        def __torch_function__(
            self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            del types
            result = func(*args, **(kwargs or {}))
            if stack[-1].split(".")[0] in islands or getattr(func, "__name__", "") in _UNTOUCHED:
                return result
            return _rounded(result)

    def _rounded(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.half().float() if value.dtype == torch.float32 else value
        if isinstance(value, tuple):
            return tuple(_rounded(each) for each in value)
        return value

    try:
        with Half():
            yield
    finally:
        for handle in handles:
            handle.remove()


# calls that hand out what is there, and those that would otherwise round a rounded view in place
_UNTOUCHED = frozenset({"__get__", "__set__", "detach", "data", "half", "float", "to", "numpy"})
