"""Weights of recurrent layers as float16 in packages for iOS 16.

Core ML's lstm, gru and rnn take float32 alone before iOS 17 (coremltools: `type_domains` of
`mil.ops.defs.iOS15.recurrent`), so that its conversion to float16 leaves them out, weights included: half of
mri-acoustic's fp16 package was float32. Here their weights are stored as float16 and widened by
`constexpr_cast`, which Core ML does when it compiles the package; the layer itself still computes in float32.
"""

from __future__ import annotations

from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil.mil import Builder
from coremltools.converters.mil.mil.passes.graph_pass import AbstractGraphPass
from coremltools.converters.mil.mil.passes.pass_registry import register_pass

LARGEST = float(np.finfo(np.float16).max)
SMALLEST = 64  # values; biases and states below stay as they are
_RECURRENT = ("lstm", "gru", "rnn")


@register_pass(namespace="edge_export")
class half_recurrent_weights(AbstractGraphPass):  # type: ignore[misc]  # noqa: N801 - coremltools' names
    """Every large float32 weight of a recurrent layer becomes a cast of a float16 constant."""

    def apply(self, prog: Any) -> None:
        """Change the program in place."""
        for function in prog.functions.values():
            for op in list(function.operations):
                if op.op_type in _RECURRENT:
                    _halve(function, op)


def pipeline() -> Any:
    """coremltools' passes, and this one after them."""
    passes = ct.PassPipeline.DEFAULT
    passes.append_pass("edge_export::half_recurrent_weights")
    return passes


def _halve(block: Any, op: Any) -> None:
    for var in list(op.inputs.values()):
        value = getattr(var, "val", None)
        if not isinstance(value, np.ndarray) or value.dtype != np.float32 or value.size < SMALLEST:
            continue
        with block:
            half = np.clip(value, -LARGEST, LARGEST).astype(np.float16)
            wide = Builder.constexpr_cast(
                source_val=half, output_dtype="fp32", before_op=op, name=f"{var.name}_wide"
            )
        block.replace_uses_of_var_after_op(
            anchor_op=wide.op, old_var=var, new_var=wide, end_op=op, no_check_var_types=True
        )
