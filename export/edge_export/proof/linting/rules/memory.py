"""Rules about weights and tables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_export.proof.artifacts.base import Value
from edge_export.proof.linting.subject import Found, Subject, rule

GIGABYTE = 10**9
BLOB = 1 << 31  # bytes from which Core ML failed to declare the network
TABLE = 1 << 20  # bytes of a table that is gathered from
INDICES = 1024  # int64 numbers that are more than a shape
GATHERS = ("gather", "gather_along_axis", "gather_nd", "Gather", "GatherElements", "GatherND")


@rule(
    "weights-above-1-gb",
    severity="warning",
    costs="apps on phones are ended at a few gigabytes, and compiling needs several times the weights",
    instead="float16 or palettes, or several packages that are loaded in turn",
    rests_on="https://github.com/apple/coremltools/issues/1807",
    kinds=("coreml", "onnx"),
)
def weights_above_1_gb(subject: Subject) -> Iterator[Found]:
    size = subject.weight_bytes
    if size > GIGABYTE:
        too_large = subject.kind == "coreml" and size >= BLOB
        words = "; above 2^31 bytes Core ML failed to load them" if too_large else ""
        yield Found(f"{size / 1e9:.2f} GB of weights{words}", severity="error" if too_large else None)


@rule(
    "large-gather",
    severity="warning",
    costs="gather runs on the CPU, and the table is copied there",
    instead="look the rows up in the app and give them to the net; few rows: a product with one-hot rows",
    rests_on="https://github.com/apple/coremltools/issues/1103",
    kinds=("coreml", "onnx"),
)
def large_gather(subject: Subject) -> Iterator[Found]:
    found, largest = [], 0
    for operation in subject.operations:
        tables = [_bytes(value) for value in operation.arguments if _is_constant(value)]
        if operation.type in GATHERS and max(tables, default=0) >= TABLE:
            found.append(operation)
            largest = max(largest, *tables)
    if found:
        yield Found(f"a table of {largest / 1e6:.1f} MB", tuple(found))


@rule(
    "int64-weights",
    severity="note",
    costs="NNAPI, Core ML and WebGPU have no int64: what computes with it stays on the CPU; twice the bytes",
    instead="int32 where the operator takes it (Gather, indices), or float",
    rests_on="https://onnxruntime.ai/docs/execution-providers/NNAPI-ExecutionProvider.html",
    kinds=("onnx",),
)
def int64_weights(subject: Subject) -> Iterator[Found]:
    found = [
        op
        for op in subject.operations
        if any(_is_constant(v) and v.dtype == "int64" and (v.size or 0) > INDICES for v in op.arguments)
    ]
    if found:
        yield Found(
            f"{len(found)} operations with more than {INDICES} int64 numbers", tuple(found), "warning"
        )


def _is_constant(value: Value) -> bool:
    return value.constant is not None


def _bytes(value: Value) -> int:
    try:
        width = np.dtype(value.dtype).itemsize
    except TypeError:
        width = 1
    return (value.size or 0) * width
