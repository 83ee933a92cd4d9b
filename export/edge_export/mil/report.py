"""Report of a run: magnitudes, and the first place where float16's range was exceeded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FP16_MAX = 65504.0


@dataclass(frozen=True)
class Event:
    """Something that happened at an operation, or at an input ("input"): its magnitude before rounding."""

    operation: str
    output: str
    value: float

    def __str__(self) -> str:
        return f"{self.operation} {self.output} reached {self.value:.6g}"


@dataclass
class RunReport:
    """Filled while a program runs; constants are left out.

    Attributes:
        rounding: "none" or "fp16".
        largest: name of the input or the operation's output → largest magnitude, before rounding, in the
            order of execution. In a loop the largest of all iterations.
        overflow: first operation whose finite inputs gave an infinity (in "fp16": after rounding).
        not_a_number: first operation that gave NaN from inputs without NaN.
    """

    rounding: str
    largest: dict[str, float] = field(default_factory=dict)
    overflow: Event | None = None
    not_a_number: Event | None = None

    @property
    def peak(self) -> tuple[str, float]:
        """Output name and value of the largest magnitude of the whole run; ("", 0.0) for an empty program."""
        return max(self.largest.items(), key=lambda item: item[1], default=("", 0.0))

    def beyond_fp16(self) -> Mapping[str, float]:
        """The outputs that float16 could not hold, whatever the rounding of this run was."""
        return {name: value for name, value in self.largest.items() if not value <= FP16_MAX}
