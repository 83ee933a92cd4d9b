"""Which compute unit takes which operation: an estimate from public rules, not what Core ML will do.

Core ML decides on the device, by generation, system version and the neighbours of an operation. What is known
is what keeps an operation off the Neural Engine (`obstacle`), and that each change of unit costs a copy.
Only Xcode's performance report, on the device, tells what happens.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from edge_export.proof.artifacts.base import Operation
from edge_export.proof.linting.rules.shapes import HIGHEST_RANK, WIDEST
from edge_export.proof.linting.subject import Subject

ENGINE, GPU, CPU = "Neural Engine", "GPU", "CPU"
# operation → the unit that is left for it, and why; apple/coremltools#1780, #1103 and the layer list of
# github.com/hollance/neural-engine
ELSEWHERE = {
    **dict.fromkeys(("lstm", "gru", "rnn"), (CPU, "recurrent layers")),
    **dict.fromkeys(("gather", "gather_along_axis", "gather_nd"), (CPU, "gather")),
    **dict.fromkeys(("scatter", "scatter_along_axis", "scatter_nd"), (CPU, "scatter")),
    **dict.fromkeys(("while_loop", "cond", "list_read", "list_write", "list_gather"), (CPU, "control flow")),
    **dict.fromkeys(
        ("non_zero", "non_maximum_suppression", "one_hot", "range_1d", "shape"), (CPU, "its type")
    ),
    **dict.fromkeys(("argsort", "topk", "cumsum", "band_part"), (GPU, "its type")),
    **dict.fromkeys(("random_normal", "random_uniform", "random_bernoulli"), (CPU, "random values")),
}
FREE = ("const", "cast", "identity")  # counted with whatever is around them


@dataclass(frozen=True)
class Estimate:
    """How many operations each unit takes, why, and how often the unit changes in order of execution."""

    counts: dict[str, int]
    reasons: dict[str, int]  # why an operation is not on the Neural Engine → how many
    changes: int

    def __str__(self) -> str:
        total = sum(self.counts.values())
        words = ", ".join(f"{unit} {count}" for unit, count in self.counts.items() if count)
        why = "; ".join(f"{count} {reason}" for reason, count in self.reasons.items())
        return f"estimate, of {total} operations: {words}" + (
            f" ({why}; {self.changes} changes)" if why else ""
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"estimate": True, "counts": self.counts, "reasons": self.reasons, "changes": self.changes}


def estimate(subject: Subject) -> Estimate:
    """The estimate for a Core ML package."""
    counts, reasons = Counter({ENGINE: 0, GPU: 0, CPU: 0}), Counter[str]()
    changes, before = 0, ""
    moving = any(low != high for port in subject.runnable.inputs for low, high in port.ranges)
    for operation in subject.operations:
        if operation.type in FREE or operation.type.startswith("constexpr_"):
            continue
        unit, reason = obstacle(subject, operation) or (ENGINE, "")
        if moving and unit == ENGINE:
            unit, reason = GPU, "for inputs of other than the default shape"
        counts[unit] += 1
        if reason:
            reasons[reason] += 1
        changes += bool(before) and unit != before
        before = unit
    return Estimate(dict(counts), dict(reasons.most_common()), changes)


def obstacle(subject: Subject, operation: Operation) -> tuple[str, str] | None:
    """The unit that is left for an operation, and why; None where nothing keeps it off the Neural Engine."""
    if operation.type in ELSEWHERE:
        return ELSEWHERE[operation.type]
    outputs = operation.outputs
    if any(len(value.shape or ()) > HIGHEST_RANK for value in outputs):
        return CPU, "more than 5 axes"
    if any(value.dtype in ("int32", "bool", "int64") for value in outputs):
        return CPU, "whole numbers"
    if any(value.dtype == "float32" for value in outputs):
        return GPU, "in float32"
    if subject.longest_axis(operation)[0] > WIDEST:
        return GPU, f"an axis above {WIDEST}"
    return None
