"""Runs a PyTorch net and records every call of torch: its value, its module, its line of Python.

Calls are seen by a `TorchFunctionMode`, modules by hooks, lines by the stack: the innermost frame outside of
torch. Functions that others call inside of torch are part of the outer call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch  # noqa: TID253  (reached where a net is built alone)
from torch import nn  # noqa: TID253
from torch.overrides import TorchFunctionMode  # noqa: TID253

from edge_export.proof.bisect import kinds
from edge_export.proof.bisect.values import Array, Recording, Value

_TORCH = str(Path(torch.__file__).parent)
_OWN = str(Path(__file__).parent)


class _Recorder(TorchFunctionMode):
    """Appends a value for every call that gives floating-point tensors; arrays only where asked for."""

    def __init__(self, recording: Recording, stack: list[str], *, arrays: bool) -> None:
        super().__init__()
        self._recording, self._stack, self._arrays = recording, stack, arrays
        self.last: list[tuple[torch.Tensor, Value]] = []  # what the last call gave

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in ("__get__", "__set__", ""):  # attributes, not arithmetic
            return result
        given = result if isinstance(result, tuple | list) else (result,)
        tensors = [each for each in given if isinstance(each, torch.Tensor) and each.is_floating_point()]
        if tensors:
            self.last = []
            for tensor in tensors:
                kind, line = kinds.of_torch(name), line_of(sys._getframe(1))
                value = Value(self._stack[-1], kind, _array(tensor, whole=self._arrays), line, name)
                self._recording.values.append(value)
                self.last.append((tensor, value))
        return result


def record(
    module: nn.Module, inputs: Mapping[str, Array], outputs: tuple[str, ...], *, arrays: bool = True
) -> Recording:
    """Run a net and record it.

    Args:
        module: in evaluation mode; it is not changed.
        inputs: input name → array (batch, …), in the order of the net's arguments.
        outputs: names of what it returns.
        arrays: False keeps only shapes, for lines of code: arrays of the recording then hold nothing real.
    """
    recording = Recording("the PyTorch net in float32")
    stack = [""]
    tensors = tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in inputs.values())
    recorder = _Recorder(recording, stack, arrays=arrays)
    with torch.inference_mode(), _hooked(module, recorder, recording, stack), recorder:
        results = module(*tensors)
    given = results if isinstance(results, tuple) else (results,)
    recording.outputs = {
        name: _array(tensor, whole=arrays) for name, tensor in zip(outputs, given, strict=True)
    }
    return recording


@contextmanager
def _hooked(module: nn.Module, recorder: _Recorder, recording: Recording, stack: list[str]) -> Iterator[None]:
    """Keeps the path of the module that runs, and the outputs of modules that run once."""
    called: dict[str, int] = {}
    scopes = [""]
    handles = []
    for path, part in module.named_modules():

        def enter(_module: nn.Module, _inputs: Any, path: str = path) -> None:
            scopes.append(_scope(scopes[-1], path.removeprefix(stack[-1]).removeprefix(".")))
            recording.scopes[scopes[-1]] = path
            stack.append(path)

        def leave(_module: nn.Module, _inputs: Any, output: Any, path: str = path) -> None:
            stack.pop()
            scopes.pop()
            called[path] = called.get(path, 0) + 1
            main = output[0] if isinstance(output, tuple) and output else output  # a recurrent layer's
            for tensor, value in recorder.last if path else ():
                if tensor is main:
                    recording.modules[path] = value
            if called[path] > 1:
                recording.modules.pop(path, None)

        handles += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _scope(around: str, local: str) -> str:
    """The name that torch's exporter gives a module: modules that are not called themselves are left out.

    >>> _scope("net", "base_model.rnn"), _scope("", "resblocks.0")
    ('net.rnn', 'resblocks.0')
    """
    parts = local.split(".")
    name = parts.pop()
    while name.split(".")[0].isdigit() and parts:
        name = f"{parts.pop()}.{name}"
    return ".".join(filter(None, (around, name)))


def _array(tensor: torch.Tensor, *, whole: bool) -> Array:
    if whole:
        with torch._C.DisableTorchFunction():
            return np.array(tensor.detach().float().numpy())
    return np.broadcast_to(np.float32(0), tuple(tensor.shape))


def line_of(frame: FrameType | None) -> str:
    """The innermost line outside of torch, as "package/module.py:12"; the path of no machine."""
    while frame is not None and frame.f_code.co_filename.startswith((_TORCH, _OWN)):
        frame = frame.f_back
    if frame is None:
        return ""
    package = str(frame.f_globals.get("__name__", "")).split(".")[0]
    parts = Path(frame.f_code.co_filename).parts
    begin = len(parts) - parts[::-1].index(package) - 1 if package in parts else len(parts) - 1
    return f"{'/'.join(parts[begin:])}:{frame.f_lineno}"
