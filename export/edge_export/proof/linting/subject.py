"""What rules look at, and what they say.

A rule is a generator: it looks at a `Subject` and yields what it found. It is registered with its severity,
what it costs, what to write instead, and the source that it rests on; a finding adds places and evidence.

    error      wrong numbers, or an artifact that does not load
    warning    slower, larger, or off the Neural Engine
    note       to know; never fails
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from edge_export.proof.artifacts.base import Axis, Operation, Runnable, Value

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
SHOWN = 3  # places of a finding that are named; the rest are counted


@dataclass(frozen=True)
class Place:
    """An operation that a finding is about."""

    operation: str
    type: str
    shape: str = ""
    source: str = ""  # where in the net's Python, as far as the file tells

    def __str__(self) -> str:
        words = f"{self.type} {self.operation} {self.shape}".strip()
        return f"{words} [{self.source}]" if self.source else words


@dataclass(frozen=True)
class Finding:
    """One rule that an artifact breaks, with all its places."""

    rule: str
    severity: Severity
    evidence: str
    costs: str
    instead: str
    rests_on: str  # address of the source
    places: tuple[Place, ...] = ()
    artifact: str = ""
    justified: str = ""  # the catalogue's reason; a justified finding never fails

    def to_json(self) -> dict[str, Any]:
        """Plain values; at most 100 places."""
        return asdict(replace(self, places=self.places[:100])) | {"count": max(1, len(self.places))}


@dataclass
class Seen:
    """What an operation's results were over all runs; sizes are of single results."""

    largest: float = 0.0
    smallest: float = 0.0  # the lowest value
    longest_axis: int = 0
    elements: int = 0
    values: int = 0  # of all runs together, zeros not counted
    subnormal: int = 0  # below 6.1e-5: float16 keeps fewer digits
    lost: int = 0  # below 3e-8: float16 makes them zero
    not_finite: int = 0


@dataclass(frozen=True)
class Subject:
    """An artifact as rules see it."""

    artifact: str  # its name
    runnable: Runnable
    operations: tuple[Operation, ...]
    seen: Mapping[str, Seen] = field(
        default_factory=dict
    )  # operation → what it gave; empty where nothing ran
    growth: float = 1.0  # longest admitted input over the longest that ran
    weight_bytes: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)  # opset, IR version, specification …

    @property
    def kind(self) -> str:
        """ "coreml" or "onnx"."""
        return self.runnable.kind

    @property
    def half(self) -> bool:
        """Whether anything in it is computed in float16."""
        return any(value.dtype == "float16" for op in self.operations for value in op.outputs)

    @property
    def priced(self) -> Severity | None:
        """What a price on the Neural Engine weighs: a package of float32 alone never runs there."""
        return None if self.half else "note"

    def longest_axis(self, operation: Operation) -> tuple[int, bool]:
        """The longest axis of its results, and whether that is an estimate for the longest input."""
        declared = [
            axis for value in operation.outputs for axis in value.shape or () if isinstance(axis, int)
        ]
        seen = self.seen.get(operation.name)
        open_ended = any(
            axis is None or isinstance(axis, str) for v in operation.outputs for axis in v.shape or ()
        )
        if seen is not None and open_ended and self.growth > 1:
            return max([*declared, round(seen.longest_axis * self.growth)]), True
        return max([*declared, seen.longest_axis if seen else 0], default=0), False

    def elements(self, operation: Operation) -> int:
        """How many numbers its first result has, as declared or as seen; 0 where neither is known."""
        declared = operation.outputs[0].size if operation.outputs else None
        seen = self.seen.get(operation.name)
        return max(declared or 0, seen.elements if seen else 0)


Check = Callable[[Subject], Iterable["Found"]]


@dataclass(frozen=True)
class Found:
    """What a rule's check yields: evidence, the operations, and a severity that differs from the rule's."""

    evidence: str
    operations: tuple[Operation, ...] = ()
    severity: Severity | None = None


@dataclass(frozen=True)
class Rule:
    """A registered rule."""

    name: str
    family: str
    severity: Severity
    kinds: tuple[str, ...]
    costs: str
    instead: str
    rests_on: str
    check: Check

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """What it says of an artifact; nothing where it is for another kind."""
        if subject.kind not in self.kinds:
            return
        for found in self.check(subject):
            yield Finding(
                rule=self.name,
                severity=found.severity or self.severity,
                evidence=found.evidence,
                costs=self.costs,
                instead=self.instead,
                rests_on=self.rests_on,
                places=tuple(map(place, found.operations)),
                artifact=subject.artifact,
            )


RULES: dict[str, Rule] = {}


def rule(
    name: str,
    *,
    severity: Severity,
    costs: str,
    instead: str,
    rests_on: str,
    kinds: tuple[str, ...] = ("coreml",),
) -> Callable[[Check], Check]:
    """Register a check under a name; its module is the family."""

    def register(check: Check) -> Check:
        if name in RULES:
            raise ValueError(f"two rules {name}")
        family = check.__module__.rsplit(".", 1)[-1]
        RULES[name] = Rule(name, family, severity, kinds, costs, instead, rests_on, check)
        return check

    return register


def place(operation: Operation) -> Place:
    """An operation as a finding names it."""
    shape = operation.outputs[0].shape if operation.outputs else None
    return Place(operation.name, operation.type, shown_shape(shape), operation.source)


def shown_shape(shape: tuple[Axis, ...] | None) -> str:
    """A shape in words, open axes as «any» or by name."""
    if shape is None:
        return ""
    return f"({', '.join('any' if axis is None else str(axis) for axis in shape)})"


def is_float(value: Value) -> bool:
    """Whether a tensor holds real numbers, as far as is known."""
    return value.dtype in ("float16", "float32", "float64", "bfloat16", "")
