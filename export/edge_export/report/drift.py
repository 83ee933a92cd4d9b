"""Drift: how far each operation of an artifact is from the float32 ONNX file, in the order of computation.

Errors are those of `edge_export.proof.bisect`: what an operation introduces where it reads the reference's
values, and what has come to it with what it reads. Both are relative to the reference's tensor, in dB, so
that -60 is an error of a thousandth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_export.proof.bisect.culprits import Finding
from edge_export.proof.bisect.nets import WORST, ArtifactSearch, bisect
from edge_export.report.charts import Line, line_chart
from edge_export.report.markup import Markup, element, join
from edge_export.report.page import Cell, number, table
from edge_runtime.errors import EdgeError
from edge_runtime.store.bundle import Bundle

FLOOR, CEILING = -160.0, 20.0  # dB of the reference's tensor; errors beyond are drawn there

Drift = tuple[ArtifactSearch, ...] | str  # or why there is none


def drift_of(bundle: Bundle, progress: Callable[[str], None] = lambda _line: None) -> Drift:
    """Every artifact against the bundle's float32 ONNX file, on the smallest case that fails; or why not."""
    try:
        found = bisect(bundle, against="onnx-fp32", progress=lambda line: progress(f"drift, {line}"))
    except EdgeError as failure:
        return str(failure)
    return found.searches


def drift_section(drift: Drift) -> Markup:
    """A chart for each artifact, and its worst introducers."""
    if isinstance(drift, str):
        return element("p", f"Not drawn: {drift}")
    return join(*(_searched(each) for each in drift))


def _searched(each: ArtifactSearch) -> Markup:
    found = each.found
    culprit = found.culprit.main.place if found.culprit else "none"
    paired = f"{len(found.findings)} of {found.steps} tensors paired"
    told = f"{each.executed}, case {each.case}, against {each.against}: {paired}; first culprit: {culprit}."
    parts = [element("h3", each.artifact), element("p", told)]
    if found.findings:
        lines = [
            Line("introduced", _levels(found.findings, "introduced_db")),
            Line("propagated", _levels(found.findings, "propagated_db")),
            Line("both", _levels(found.findings, "total_db")),
        ]
        chart = line_chart(
            f"Drift of {each.artifact}",
            "operation, in the order of computation",
            "error, dB of the reference's tensor",
            lines,
            span=(0, max(1, len(found.findings) - 1)),
            floor=FLOOR,
        )
        parts += [chart, _worst(each)]
    return join(*parts)


def _levels(findings: Sequence[Finding], name: str) -> NDArray[np.float64]:
    """(operations,) levels of errors; nothing is at the floor, what is not finite at the ceiling."""
    ratios = np.array([getattr(finding, name) for finding in findings], np.float64)
    levels = np.where(np.isnan(ratios), CEILING, -ratios)
    return np.asarray(np.clip(levels, FLOOR, CEILING), np.float64)


def _level(ratio_db: float) -> Cell:
    """An error that is a ratio of infinity is none."""
    return Cell("exact", "-Infinity") if ratio_db == float("inf") else number(-ratio_db, ".1f")


def _worst(each: ArtifactSearch) -> Markup:
    places = {id(finding): index for index, finding in enumerate(each.found.findings)}
    lines = [
        (
            number(places[id(finding)], "d"),
            finding.main.place,
            finding.step.name,
            finding.line or "–",
            _level(finding.introduced_db),
            _level(finding.propagated_db),
            number(finding.introduced_max, ".2e"),
        )
        for finding in each.found.worst[:WORST]
    ]
    headings = ("no.", "operation", "result", "line", "introduced dB", "propagated dB", "max abs")
    return table(f"What introduces most into {each.artifact}", headings, lines)
