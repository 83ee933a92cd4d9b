"""The backend "onnx-reference": the ONNX project's reference evaluator, numpy, operator by operator.

Nothing is fused or reordered, so it shows what the file says rather than what a runtime makes of it. Some of
its operators are replaced by others of the same definition: ConvTranspose, which loops over samples in Python
(HiFi-GAN would take hours), and both convolutions in float16, which numpy multiplies without BLAS. These and
means accumulate in float32 and are rounded once, as in our executor of Core ML programs: in float16 a sum of
32,400 squares overflows, which no processor's mean does.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.backends.base import Array, as_clause, check_request, load_library, refused
from edge_runtime.errors import BackendError

name = "onnx-reference"
target = "onnx"
devices = ("cpu",)


class ReferenceSession:
    """An ONNX file in the reference evaluator."""

    def __init__(self, evaluator: Any, path: str | Path, detail: str) -> None:
        self._evaluator = evaluator
        self._path = path
        self.detail = detail

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays (batch, …) by name in and out; see `edge_runtime.backends.base.Session.run`."""
        try:
            # its sigmoid also computes the branch that it does not take
            with np.errstate(over="ignore", invalid="ignore"):
                results = self._evaluator.run(None, dict(inputs))
        except Exception as error:  # any operator may raise anything
            raise refused(name, self._path, error, doing="running") from error
        return dict(zip(self._evaluator.output_names, map(np.asarray, results), strict=True))


def unavailable(device: str = "cpu") -> str:
    """Why it cannot run here, as a clause; "" when it can."""
    if device != "cpu":
        return f"it has no {device}"
    try:
        load_library(name, "onnx", "export")
    except BackendError as missing:
        return as_clause(missing)
    return ""


def open(path: str | Path, *, device: str = "cpu", threads: int | None = None) -> ReferenceSession:
    """Read an ONNX file; the number of threads is numpy's."""
    del device
    check_request(name, path, threads)
    onnx = load_library(name, "onnx", "export")
    from onnx.reference import ReferenceEvaluator

    try:
        evaluator = ReferenceEvaluator(str(path), new_ops=_operators())
    except Exception as error:  # a damaged file fails in many ways
        raise refused(name, path, error, doing="opening") from error
    return ReferenceSession(
        evaluator, path, f"onnx {onnx.__version__} reference evaluator, convolutions and means ours"
    )


def _operators() -> list[Any]:
    """The operators that replace the evaluator's own; see the module's docstring."""
    from onnx.reference.ops.op_conv import Conv as PlainConv
    from onnx.reference.ops.op_conv_transpose import ConvTranspose as PlainConvTranspose
    from onnx.reference.ops.op_reduce_mean import ReduceMean_18

    class Conv(PlainConv):
        op_domain = ""

        def _run(self, X: Array, W: Array, B: Array | None = None, **given: Any) -> Any:  # type: ignore[override]
            wide = (_wide(X), _wide(W), None if B is None else _wide(B))
            (result,) = super()._run(*wide, **given)  # type: ignore[no-untyped-call]
            return (result.astype(X.dtype),)

    class ConvTranspose(PlainConvTranspose):
        op_domain = ""

        def _run(self, X: Array, W: Array, B: Array | None = None, **given: Any) -> Any:  # type: ignore[override]
            if given.get("group", 1) != 1 or given.get("auto_pad", "NOTSET") != "NOTSET":
                return super()._run(X, W, B, **given)  # type: ignore[no-untyped-call]
            result = conv_transpose(_wide(X), _wide(W), **given)
            if B is not None:
                result += _wide(B).reshape(-1, *[1] * (X.ndim - 2))
            return (result.astype(X.dtype),)

    class ReduceMean(ReduceMean_18):
        op_domain = ""

        def _run(
            self, data: Array, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0
        ) -> Any:
            """Axes are an attribute before opset 18, an input from then on."""
            if isinstance(axes, np.ndarray):
                axes = self.handle_axes(axes, noop_with_empty_axes)  # type: ignore[no-untyped-call]
            elif axes is not None:
                axes = tuple(axes)
            return (np.asarray(_wide(data).mean(axis=axes, keepdims=bool(keepdims))).astype(data.dtype),)

    return [Conv, ConvTranspose, ReduceMean]


def _wide(values: Array) -> Array:
    return values.astype(np.float32) if values.dtype == np.float16 else values


def conv_transpose(
    X: Array,
    W: Array,
    *,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    **_others: Any,
) -> Array:
    """ONNX ConvTranspose of one group, without bias: (batch, in, …), (in, out, …) → (batch, out, …).

    Every tap of the kernel adds the input, times its matrix, at every stride-th place from the tap on.
    """
    axes = range(X.ndim - 2)
    ones, zeros = [1 for _ in axes], [0 for _ in axes]
    steps, gaps, extra = strides or ones, dilations or ones, output_padding or zeros
    begin, end = (pads[: len(axes)], pads[len(axes) :]) if pads else (zeros, zeros)
    sizes, kernel = X.shape[2:], W.shape[2:]
    full = [steps[i] * (sizes[i] - 1) + (kernel[i] - 1) * gaps[i] + 1 + extra[i] for i in axes]
    result = np.zeros((X.shape[0], W.shape[1], *full), X.dtype)
    mixing = np.moveaxis(W, (0, 1), (-1, -2))  # (…, out, in)
    for tap in itertools.product(*map(range, kernel)):
        starts = [tap[i] * gaps[i] for i in axes]
        places: list[Any] = [
            slice(starts[i], starts[i] + steps[i] * (sizes[i] - 1) + 1, steps[i]) for i in axes
        ]
        result[(..., *places)] += np.einsum("oi,bi...->bo...", mixing[tap], X, optimize=True)
    kept: list[Any] = [slice(begin[i], full[i] - end[i]) for i in axes]
    return result[(..., *kept)]
