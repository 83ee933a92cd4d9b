"""What a comparison found: rows, what was said, and the table of both."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from edge_export.proof.verify import Status, align, rounded_up
from edge_runtime.compare import Comparison


@dataclass(frozen=True)
class Row:
    """One output of one case. ``comparison`` is None where nothing could be compared."""

    case: str
    output: str  # its name in the first artifact, and in the second where that is another
    status: Status
    how: str  # what was done to the second's array to compare it
    detail: str
    comparison: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"comparison": self.comparison.to_json() if self.comparison else None}


@dataclass(frozen=True)
class Comparing:
    """All rows of two artifacts."""

    a: str
    b: str
    said: tuple[str, ...]  # what runs them, and how their inputs and outputs belong together
    rows: tuple[Row, ...]

    @property
    def passed(self) -> bool:
        """Whether something was compared and all of it is near enough."""
        compared = [row for row in self.rows if row.status != "absent"]
        return bool(compared) and all(row.status == "PASS" for row in compared)

    @property
    def smallest_tolerance(self) -> float:
        """The least tolerance at which all rows would pass; infinity where none would do."""
        found = [row.comparison.smallest_tolerance for row in self.rows if row.comparison]
        failed = any(row.status == "FAIL" and row.comparison is None for row in self.rows)
        return math.inf if failed or not found else max(found)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        smallest = self.smallest_tolerance
        return {
            "a": self.a,
            "b": self.b,
            "passed": self.passed,
            "smallest_tolerance": smallest if math.isfinite(smallest) else str(smallest),
            "said": list(self.said),
            "rows": [row.to_json() for row in self.rows],
        }

    def summary(self) -> str:
        """How many rows passed, and the tolerance that all would pass at."""
        counts = {
            status: sum(row.status == status for row in self.rows) for status in ("PASS", "FAIL", "absent")
        }
        words = f"{counts['PASS']} passed, {counts['FAIL']} failed"
        if counts["absent"]:
            words += f", {counts['absent']} without a counterpart"
        return f"{words}; all pass at {rounded_up(self.smallest_tolerance)}"


def table(result: Comparing) -> str:
    """The rows as text: errors, the smallest tolerance that passes, and the verdict."""
    lines = [("case", "output", "max abs", "SNR dB", "passes at", "")]
    for row in result.rows:
        figures = ("-", "-", "-")
        if c := row.comparison:
            figures = (f"{c.max_abs:.2e}", f"{c.snr_db:.1f}", rounded_up(c.smallest_tolerance))
        notes = "; ".join(filter(None, (row.detail, row.how)))
        lines.append((row.case, row.output, *figures, f"{row.status}{': ' if notes else ''}{notes}"))
    return align(lines)
