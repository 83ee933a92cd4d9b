"""Rules about single layers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_export.proof.artifacts.base import Operation
from edge_export.proof.linting.subject import Found, Severity, Subject, rule

RECURRENT = ("lstm", "gru", "rnn", "LSTM", "GRU", "RNN")


@rule(
    "conv-transpose-padding",
    severity="warning",
    costs="with custom padding and an output shape, float16 gave shifted and wrong output on devices",
    instead="pad_type valid, and a slice afterwards; or symmetric padding without an output shape",
    rests_on="https://github.com/apple/coremltools/issues/2324",
)
def conv_transpose_padding(subject: Subject) -> Iterator[Found]:
    found = [op for op in subject.operations if op.type == "conv_transpose" and _is_custom(op)]
    uneven = [op for op in found if _uneven(op) or op.constant("output_shape") is not None]
    if uneven:
        half = any(value.dtype == "float16" for op in uneven for value in op.outputs)
        words = "uneven custom padding, or an output shape" + (", in float16" if half else "")
        yield Found(words, tuple(uneven), "error" if half else "warning")


def _is_custom(operation: Operation) -> bool:
    return str(operation.constant("pad_type")) == "custom"


def _uneven(operation: Operation) -> bool:
    pad = operation.constant("pad")
    if not isinstance(pad, np.ndarray):
        return False
    return bool((pad[::2] != pad[1::2]).any())


@rule(
    "recurrent",
    severity="warning",
    costs="not on the Neural Engine; step after step, twice for both directions, which wait for the end",
    instead="convolutions or attention; one direction where the net shall stream",
    rests_on="https://github.com/apple/coremltools/issues/1780",
    kinds=("coreml", "onnx"),
)
def recurrent(subject: Subject) -> Iterator[Found]:
    found = [op for op in subject.operations if op.type in RECURRENT]
    if found:
        both = sum(_direction(op) == "bidirectional" for op in found)
        steps = max((op.outputs[0].shape or (None,))[0] or 0 for op in found if op.outputs) or "any number of"
        severity: Severity | None = "note" if subject.kind == "onnx" else subject.priced
        yield Found(f"{len(found)} layers, {both} in both directions, {steps} steps", tuple(found), severity)


def _direction(operation: Operation) -> str:
    found = operation.constant("direction")
    return str(found if found is not None else operation.attributes.get("direction", "forward"))
