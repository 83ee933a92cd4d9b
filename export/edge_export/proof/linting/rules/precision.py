"""Rules about float16: what overflows, what underflows, and islands of float32 between.

Those that say "seen" look at the values that reference cases, or a recording, gave.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_export.proof.artifacts.base import Operation, Value
from edge_export.proof.linting.subject import Found, Seen, Severity, Subject, rule

LARGEST = 65504.0  # of float16
SMALLEST = 2.0**-24  # its smallest number above zero
HEADROOM = 8.0  # times; below it louder input may overflow
SOFTPLUS = 10.4  # from which the Neural Engine gives 0
LOST = 0.01  # share of an operation's values that become zero, from which it is worth a word
NORMAL = 2.0**-14  # below it float16 has fewer than eleven bits
MASKING = ("add", "sub", "mul", "select", "Add", "Sub", "Mul", "Where")
SENSITIVE = ("log", "Log", "rsqrt", "inverse", "Reciprocal", "sqrt", "Sqrt")
DIVIDING = ("real_div", "Div")
_MOVES = ("cast", "reshape", "transpose", "slice_by_index", "pad", "concat", "squeeze", "expand_dims")
_MOVES_OF_ONNX = ("Cast", "Reshape", "Transpose", "Slice", "Pad", "Concat", "Squeeze", "Unsqueeze")
MOVING = frozenset(_MOVES + _MOVES_OF_ONNX)
INFINITE_AT_ZERO = frozenset({"log", "Log", "rsqrt", "inverse", "Reciprocal"})
ROOTS = frozenset({"sqrt", "Sqrt"})
CLAMPING = frozenset({"clip", "Clip"})
PROTECTING = CLAMPING | {"add", "Add", "maximum", "Max"}
BOTH = ("coreml", "onnx")


@rule(
    "fp16-overflow",
    severity="error",
    costs="infinity, then NaN: noise or silence, without an error message",
    instead="scale before the operation and back after it, or keep the module in float32 (Net.float32_parts)",
    rests_on="https://github.com/apple/coremltools/issues/2690",
    kinds=BOTH,
)
def fp16_overflow(subject: Subject) -> Iterator[Found]:
    found = [
        op for op in _half(subject) if _seen(subject, op).largest > LARGEST or _seen(subject, op).not_finite
    ]
    if found:
        worst = max(_seen(subject, op).largest for op in found)  # of the finite values
        endless = any(_seen(subject, op).not_finite for op in found)
        seen = "infinity or NaN" if endless and worst <= LARGEST else f"{worst:.6g}"
        yield Found(f"seen: {seen}, float16 ends at 65504", tuple(found))


@rule(
    "fp16-headroom",
    severity="warning",
    costs="louder or longer input than the examined one may overflow",
    instead="as for fp16-overflow; run `lint --audio` with the loudest recording that the net may meet",
    rests_on="https://github.com/apple/coremltools/issues/1671",
    kinds=BOTH,
)
def fp16_headroom(subject: Subject) -> Iterator[Found]:
    near = [op for op in _half(subject) if LARGEST / HEADROOM < _seen(subject, op).largest <= LARGEST]
    if near:
        worst = max(_seen(subject, op).largest for op in near)
        yield Found(f"seen: {worst:.6g}, {LARGEST / worst:.1f} times below float16's end", tuple(near))


@rule(
    "fp16-lost",
    severity="warning",
    costs="small values become zero; a logarithm or a division after them is wrong by far",
    instead="scale the signal up first (magnitudes times 2^10), or keep the module in float32",
    rests_on="https://github.com/apple/coremltools/issues/2728",
    kinds=BOTH,
)
def fp16_lost(subject: Subject) -> Iterator[Found]:
    found = [op for op in _half(subject) if _share(subject, op) > LOST]
    if found:
        worst = max(found, key=lambda op: _share(subject, op))
        words = f"seen: up to {_share(subject, worst):.1%} of an operation's values, those below 3e-8"
        read = _sensitive(subject)
        if any(value.name in read for op in found for value in op.outputs):
            yield Found(words, tuple(found))
        else:
            yield Found(f"{words}; no logarithm, root or division takes them", tuple(found), "note")


def _sensitive(subject: Subject) -> set[str]:
    """Names of values that reach a logarithm, a root or a divisor through nothing but moves and casts."""
    read: set[str] = set()
    for operation in reversed(subject.operations):
        arguments = list(operation.arguments)
        if operation.type in SENSITIVE:
            read |= {value.name for value in arguments}
        elif operation.type in DIVIDING:
            read |= {value.name for value in _divisor(operation)}
        elif operation.type in MOVING and any(value.name in read for value in operation.outputs):
            read |= {value.name for value in arguments}
    return read - {""}


def _divisor(operation: Operation) -> tuple[Value, ...]:
    return (*operation.inputs.get("y", ()), *operation.inputs.get("1", ()))


@rule(
    "softplus",
    severity="warning",
    costs="on the Neural Engine softplus drops to 0 above 10.4: exp(x) overflows inside",
    instead="max(x, 0) + log(1 + exp(-|x|)), which overflows nowhere",
    rests_on="https://github.com/apple/coremltools/issues/2687",
)
def softplus(subject: Subject) -> Iterator[Found]:
    found = [op for op in subject.operations if op.type.startswith("softplus")]
    if found:
        highest = max(_seen(subject, op).largest for op in found)
        severity: Severity | None = "error" if highest > SOFTPLUS else None
        if 0 < highest < SOFTPLUS / 4:
            severity = "note"
        yield Found(f"seen: results up to {highest:.4g}", tuple(found), severity)


@rule(
    "logsumexp",
    severity="warning",
    costs="exp inside overflows float16 above 11.09",
    instead="subtract the maximum first: m + log(sum(exp(x - m)))",
    rests_on="https://github.com/apple/coremltools/issues/2728",
    kinds=BOTH,
)
def logsumexp(subject: Subject) -> Iterator[Found]:
    found = [op for op in _half(subject) if op.type in ("reduce_log_sum_exp", "ReduceLogSumExp")]
    if found:
        yield Found(f"{len(found)} in float16", tuple(found))


@rule(
    "log-of-softmax",
    severity="warning",
    costs="probabilities below 6e-8 are 0 in float16, and their logarithm is -inf",
    instead="x - max - log(sum(exp(x - max))): log_softmax without the softmax",
    rests_on="https://github.com/apple/coremltools/issues/2728",
    kinds=BOTH,
)
def log_of_softmax(subject: Subject) -> Iterator[Found]:
    made = {
        value.name for op in subject.operations if op.type in ("softmax", "Softmax") for value in op.outputs
    }
    found = [
        op for op in _half(subject) if op.type in ("log", "Log") and any(v.name in made for v in op.arguments)
    ]
    if found:
        yield Found(f"{len(found)} logarithms of a softmax in float16", tuple(found))


@rule(
    "exp-range",
    severity="note",
    costs="exp overflows float16 above 11.09",
    instead="clamp its input to 11, or scale as istft-vocoder does",
    rests_on="https://github.com/apple/coremltools/issues/2690",
    kinds=BOTH,
)
def exp_range(subject: Subject) -> Iterator[Found]:
    found = [op for op in _half(subject) if op.type in ("exp", "Exp", "exp2")]
    if found:
        yield Found(
            f"seen: results up to {max(_seen(subject, op).largest for op in found):.4g}", tuple(found)
        )


@rule(
    "log-range",
    severity="warning",
    costs="the argument is below float16's smallest number: the logarithm is -inf there",
    instead="scale the argument, or clamp it at 6e-8 and more",
    rests_on="https://github.com/apple/coremltools/issues/2728",
    kinds=BOTH,
)
def log_range(subject: Subject) -> Iterator[Found]:
    lowest = float(np.log(SMALLEST))
    logs = [op for op in _half(subject) if op.type in ("log", "Log")]
    found = [op for op in logs if _seen(subject, op).smallest < lowest or _epsilon(op) is not None]
    if found:
        yield Found(
            f"seen: logarithms down to {min(_seen(subject, op).smallest for op in found):.4g}", tuple(found)
        )


def _epsilon(operation: Operation) -> float | None:
    """An epsilon inside of `log` that float16 cannot hold; MIL's default is 1e-45, which asks for nothing."""
    value = operation.constant("epsilon")
    if value is None or np.size(value) != 1:
        return None
    number = float(np.ravel(value)[0])
    return number if 1e-40 < number < SMALLEST / 2 else None


@rule(
    "vanishing-constant",
    severity="warning",
    costs="the constant is 0 in float16: an epsilon that protects nothing, a division by zero",
    instead="at least 6e-8, better 1e-5; or scale what it is added to",
    rests_on="https://github.com/apple/coremltools/issues/2110",
    kinds=BOTH,
)
def vanishing_constant(subject: Subject) -> Iterator[Found]:
    found = [op for op in _half(subject) if any(_vanishes(value) for value in op.arguments)]
    if found:
        yield Found(f"{len(found)} operations with a constant between 0 and 3e-8", tuple(found))
    read = _endangered(subject)
    gone = [
        op
        for op in _half(subject)
        if op.type in PROTECTING
        and any(map(_is_zero, _protection(op)))
        and any(value.name in read for value in op.outputs)
    ]
    if gone:
        words = "add a constant that is 0, or clamp at it, before a logarithm or a division"
        yield Found(f"{len(gone)} operations {words}", tuple(gone))
    divided = [op for op in _half(subject) if op.type in DIVIDING and any(map(_is_zero, _divisor(op)))]
    if divided:
        yield Found(f"{len(divided)} operations divide by a constant 0", tuple(divided), "error")


def _vanishes(value: Value) -> bool:
    number = _one(value)
    return number is not None and 1e-40 < abs(number) < SMALLEST / 2 and not value.name.endswith("epsilon")


def _is_zero(value: Value) -> bool:
    """Whether it is a constant 0.0: what became of 1e-12 when a file was written in float16."""
    return _one(value) == 0.0


def _protection(operation: Operation) -> tuple[Value, ...]:
    """The arguments that may hold an epsilon: of a clamp the lower bound."""
    if operation.type in CLAMPING:
        return (*operation.inputs.get("alpha", ()), *operation.inputs.get("1", ()))
    return tuple(operation.arguments)


def _endangered(subject: Subject) -> set[str]:
    """Names of values whose zero ends in an infinity: through moves and roots to a logarithm or a divisor."""
    read: set[str] = set()
    for operation in reversed(subject.operations):
        if operation.type in INFINITE_AT_ZERO:
            read |= {value.name for value in operation.arguments}
        elif operation.type in DIVIDING:
            read |= {value.name for value in _divisor(operation)}
        elif operation.type in MOVING | ROOTS and any(value.name in read for value in operation.outputs):
            read |= {value.name for value in operation.arguments}
    return read - {""}


@rule(
    "mask-beyond-fp16",
    severity="error",
    costs="-inf in float16: a row that is masked whole gives NaN in the softmax",
    instead="-1e4 in float16, or multiply by a mask of zeros and ones",
    rests_on="https://github.com/apple/coremltools/pull/2669",
    kinds=BOTH,
)
def mask_beyond_fp16(subject: Subject) -> Iterator[Found]:
    found = [op for op in _half(subject) if op.type in MASKING and any(map(_beyond, op.arguments))]
    if found:
        yield Found(f"{len(found)} operations add or select a constant beyond ±65504", tuple(found))


def _beyond(value: Value) -> bool:
    array = value.constant
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or not array.size:
        return False
    lowest, highest = float(array.min()), float(array.max())
    return max(highest, -lowest) > LARGEST


@rule(
    "float32-island",
    severity="warning",
    costs="the Neural Engine computes in float16 alone: these run on the CPU or GPU, between two casts",
    instead="float16 throughout, where the range allows it; islands that precision needs are justified",
    rests_on="https://apple.github.io/coremltools/docs-guides/source/typed-execution.html",
)
def float32_island(subject: Subject) -> Iterator[Found]:
    if not subject.half:
        return
    found = [
        op
        for op in subject.operations
        if op.type != "cast"
        and any(value.dtype == "float32" for value in op.outputs)
        and not _at_the_edge(subject, op)
    ]
    if found:
        yield Found(f"{len(found)} operations in float32 among float16", tuple(found))


def _at_the_edge(subject: Subject, operation: Operation) -> bool:
    """Scaling of an input picture, and what gives an output as it is."""
    ends = {port.name for port in (*subject.runnable.inputs, *subject.runnable.outputs)}
    touched = {value.name for value in (*operation.arguments, *operation.outputs)}
    return operation.type in ("mul", "add", "identity", "reshape") and bool(ends & touched)


def _half(subject: Subject) -> list[Operation]:
    return [op for op in subject.operations if any(value.dtype == "float16" for value in op.outputs)]


def _seen(subject: Subject, operation: Operation) -> Seen:
    return subject.seen.get(operation.name, Seen())


def _share(subject: Subject, operation: Operation) -> float:
    seen = _seen(subject, operation)
    return seen.lost / seen.values if seen.values else 0.0


def _one(value: Value) -> float | None:
    array = value.constant
    if (
        not isinstance(array, np.ndarray | np.generic)
        or np.size(array) != 1
        or np.asarray(array).dtype.kind != "f"
    ):
        return None
    return float(np.ravel(array)[0])
