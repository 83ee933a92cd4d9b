"""Rules about shapes: what Core ML refuses, and what leaves the Neural Engine or is copied on it."""

from __future__ import annotations

from collections.abc import Iterator

from edge_export.proof.linting.subject import Found, Subject, is_float, rule

HIGHEST_RANK = 5
WIDEST = 16384  # elements of one axis
ROW = 32  # float16 numbers in the 64 bytes that rows are padded to
PADDED = 1 << 20  # bytes of one tensor, with its padding, from which it is worth a word
MOVED = 1 << 20  # bytes that one reshape or transpose copies


@rule(
    "rank-above-5",
    severity="error",
    costs="Core ML does not load the program",
    instead="fold axes that are always together, as (batch, heads) into one, and unfold them later",
    rests_on="https://github.com/apple/coremltools/issues/1723",
)
def rank_above_5(subject: Subject) -> Iterator[Found]:
    found = [op for op in subject.operations if any(len(v.shape or ()) > HIGHEST_RANK for v in op.outputs)]
    if found:
        highest = max(len(value.shape or ()) for op in found for value in op.outputs)
        yield Found(f"tensors of up to {highest} axes", tuple(found))


@rule(
    "axis-above-16384",
    severity="warning",
    costs="the operation, and often all around it, runs on the CPU or GPU instead of the Neural Engine",
    instead="shorter inputs (chunks with context), or fold the axis: (1, 1, 32768) as (1, 2, 16384)",
    rests_on="https://github.com/microsoft/onnxruntime/issues/19543, https://github.com/apple/coremltools/issues/1764",
)
def axis_above_16384(subject: Subject) -> Iterator[Found]:
    found, longest, guessed = [], 0, False
    for operation in subject.operations:
        length, estimated = subject.longest_axis(operation)
        if length > WIDEST and any(is_float(value) for value in operation.outputs):
            found.append(operation)
            guessed |= estimated
            longest = max(longest, length)
    if found:
        words = ", estimated for the longest admitted input" if guessed else ""
        yield Found(f"an axis of {longest} in {len(found)} operations{words}", tuple(found), subject.priced)


@rule(
    "last-axis-below-32",
    severity="warning",
    costs="rows are padded to 64 bytes: up to 32 times the memory and traffic on the Neural Engine",
    instead="put the longest axis last, as (batch, channels, 1, time)",
    rests_on="https://machinelearning.apple.com/research/neural-engine-transformers",
)
def last_axis_below_32(subject: Subject) -> Iterator[Found]:
    found, wasted = [], 0
    for operation in subject.operations:
        shape = operation.outputs[0].shape if operation.outputs else None
        if not shape or len(shape) < 3 or operation.outputs[0].dtype != "float16":
            continue
        last = shape[-1]
        if not isinstance(last, int) or last >= ROW:
            continue
        padded = subject.elements(operation) // last * 2 * ROW
        if padded >= PADDED:
            found.append(operation)
            wasted = max(wasted, padded)
    if found:
        yield Found(f"{len(found)} tensors, the largest {wasted / 1e6:.1f} MB with its padding", tuple(found))


@rule(
    "dynamic-shapes",
    severity="warning",
    costs="only the default shape runs on the Neural Engine, others on the GPU or CPU",
    instead="enumerated shapes (up to 128), as `edge-export export --frames N` writes them",
    rests_on="https://developer.apple.com/forums/thread/724930, "
    "https://apple.github.io/coremltools/docs-guides/source/flexible-inputs.html",
)
def dynamic_shapes(subject: Subject) -> Iterator[Found]:
    for port in subject.runnable.inputs:
        if any(low != high for low, high in port.ranges):
            unbounded = any(high is None for _, high in port.ranges)
            words = ", without an end" if unbounded else ""
            yield Found(f"input {port.name} is {port.admitted}{words}", severity=subject.priced)


@rule(
    "large-reshape",
    severity="note",
    costs="a copy of the tensor, and on the Neural Engine a change of layout",
    instead="keep one layout from input to output; batched matmul as einsum with the layout bchq,bkhc->bkhq",
    rests_on="https://machinelearning.apple.com/research/neural-engine-transformers",
)
def large_reshape(subject: Subject) -> Iterator[Found]:
    moving = ("reshape", "transpose", "space_to_depth", "depth_to_space", "pixel_shuffle")
    found = [op for op in subject.operations if op.type in moving and 2 * subject.elements(op) >= MOVED]
    if found:
        total = sum(2 * subject.elements(op) for op in found)
        yield Found(f"{len(found)} move {total / 1e6:.1f} MB in all, counted as float16", tuple(found))
