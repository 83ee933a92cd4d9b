"""Weights of recurrent layers as float16, or smaller, in packages for iOS 16.

Core ML's lstm, gru and rnn take float32 alone before iOS 17 (coremltools: `type_domains` of
`mil.ops.defs.iOS15.recurrent`), so that its conversion to float16 leaves them out, weights included: half of
mri-acoustic's fp16 package was float32. Here their weights are stored as float16 and widened by
`constexpr_cast`, which Core ML does when it compiles the package; the layer itself still computes in float32.
Matrices of LSTMs may be smaller still: int8 with a scale for each unit (`constexpr_affine_dequantize`), or a
palette (`constexpr_lut_to_dense`), which give float32 too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil.mil import Builder
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.converters.mil.mil.passes.pass_registry import register_pass

from edge_export.precision.formats import BITS, Array, Format, int8, palettized
from edge_runtime.errors import BackendError

Stored = Sequence[tuple[Array, Format]]  # a matrix of an LSTM, as PyTorch has it → its format
NAME = "edge_export::half_recurrent_weights"
LARGEST = float(np.finfo(np.float16).max)
SMALLEST = 64  # values; biases and states below stay as they are
_RECURRENT = ("lstm", "gru", "rnn")


@register_pass(namespace="edge_export")
class half_recurrent_weights(AbstractGraphPass):  # type: ignore[misc]  # noqa: N801 - coremltools' names
    """Every large float32 weight of a recurrent layer becomes a cast of a float16 constant.

    Options:
        stored: matrices that have another format.
    """

    stored: Stored = ()

    def apply(self, prog: Any) -> None:
        """Change the program in place."""
        wanted = [(_ordered(matrix), kind) for matrix, kind in self.stored]
        met = 0
        for function in prog.functions.values():
            for op in list(function.operations):
                if op.op_type in _RECURRENT:
                    met += _narrow(function, op, wanted)
        if met < len(wanted):
            raise BackendError(
                "Core ML", got=f"{met} of {len(wanted)} matrices of LSTMs in its program", expected="all"
            )


def pipeline(stored: Stored = ()) -> Any:
    """coremltools' passes, and this one after them."""
    passes = ct.PassPipeline.DEFAULT
    passes.append_pass(NAME)
    if stored:
        passes.set_options(NAME, {"stored": tuple(stored)})
    return passes


def _ordered(matrix: Array) -> Array:
    """(4 units, …) with PyTorch's gates i, f, g, o → with Core ML's i, f, o, g."""
    i, f, g, o = np.split(matrix, 4)
    return np.concatenate([i, f, o, g])


def _narrow(block: Any, op: Any, wanted: Stored) -> int:
    """Store the weights of one layer smaller; returns how many of those wanted it has."""
    met = 0
    for var in list(op.inputs.values()):
        value = getattr(var, "val", None)
        if not isinstance(value, np.ndarray) or value.dtype != np.float32 or value.size < SMALLEST:
            continue
        kinds = [kind for matrix, kind in wanted if np.array_equal(matrix, value)]
        met += bool(kinds)
        kind = kinds[0] if kinds else "float16"
        if kind == "float32":
            continue
        with block:
            wide = _stored(value, kind, {"before_op": op, "name": f"{var.name}_wide"})
        block.replace_uses_of_var_after_op(
            anchor_op=wide.op, old_var=var, new_var=wide, end_op=op, no_check_var_types=True
        )
    return met


def _stored(value: Array, kind: Format, place: dict[str, Any]) -> Any:
    """The operation that gives a weight back in float32."""
    if kind == "int8":
        levels, scale = int8(value, 0)
        zero = np.zeros(scale.shape, np.int8)
        return Builder.constexpr_affine_dequantize(
            quantized_data=levels, zero_point=zero, scale=scale, axis=np.int32(0), **place
        )
    if kind in BITS:
        palette = palettized(value, BITS[kind])
        return Builder.constexpr_lut_to_dense(
            indices=_packed(palette.indices, BITS[kind]),
            lut=palette.values.astype(np.float32),
            shape=np.array(value.shape, np.uint32),
            **place,
        )
    half = np.clip(value, -LARGEST, LARGEST).astype(np.float16)
    return Builder.constexpr_cast(source_val=half, output_dtype="fp32", **place)


def _packed(indices: Array, bits: int) -> Array:
    """(bytes,) of indices, lowest bits first."""
    each = (indices.reshape(-1, 1) >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(each.astype(np.uint8).ravel(), bitorder="little")
