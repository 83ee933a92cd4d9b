"""What `bisect` found, as text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge_export.proof.bisect.culprits import Finding
from edge_export.proof.bisect.nets import WORST, ArtifactSearch, Bisection
from edge_export.proof.verify import align


def text(result: Bisection) -> str:
    """A table of artifacts; for the one with the first culprit, what is known of it and the worst others."""
    lines = [("artifact", "case", "output dB", "paired", "first culprit", "")]
    for each in result.searches:
        culprit = each.found.culprit
        lines.append(
            (
                each.artifact,
                each.case,
                decibels(each.found.output_db),
                f"{len(each.found.findings)} of {each.found.steps}",
                culprit.main.place if culprit else "-",
                culprit.line if culprit else "",
            )
        )
    return "\n\n".join([align(lines), *(_details(each) for each in _told(result))])


def _told(result: Bisection) -> list[ArtifactSearch]:
    """Those with a culprit; without one, the artifact of the worst output."""
    return [each for each in result.searches if each.found.culprit] or [result.worst]


def _details(search: ArtifactSearch) -> str:
    found = search.found
    lines = [f"{search.executed}, case {search.case}, against {search.against}"]
    if not search.sound:
        lines.append(
            f"  the reference itself is at {decibels(search.reference_db, ' dB')} of the stored outputs: "
            "folding, or the form that is exported, differs from the net"
        )
    if found.culprit:
        lines += _culprit(found.culprit, search)
    elif found.output_db < search.tolerance_db:
        lines.append(
            f"  the output is at {decibels(found.output_db, ' dB')}, {search.tolerance_db:g} are demanded; "
            f"no operation is below {found.limit_db:g} dB: small errors add up, the largest first"
        )
    else:
        lines.append(
            f"  no operation is below {found.limit_db:g} dB; the output: {decibels(found.output_db, ' dB')}"
        )
    return "\n".join([*lines, "", worst(found.worst[:WORST])])


def _culprit(culprit: Finding, search: ArtifactSearch) -> list[str]:
    found = search.found
    lines = [
        f"  first culprit: {culprit.main.place}, result {culprit.step.name}",
        f"    line        {culprit.line or 'not known'}",
        f"    reference   {culprit.reference}",
        f"    introduced  {decibels(culprit.introduced_db, ' dB')}, {culprit.introduced_max:.3g} at most; "
        f"propagated to it {decibels(culprit.propagated_db, ' dB')}",
        f"    behind it   {culprit.dominated} of {found.differing} tensors that differ, through it alone",
    ]
    if len(culprit.segment) > 1:
        names = ", ".join(dict.fromkeys(step.operation for step in culprit.segment))
        lines.append(
            f"    one of      {len(culprit.segment)} operations ({names}): nothing between them is paired"
        )
    if culprit.repaired_db is not None:
        lines.append(
            f"    proof       the output, with this result replaced: {decibels(culprit.repaired_db, ' dB')}; "
            f"as it is: {decibels(found.output_db, ' dB')}"
        )
    others = [suspect for suspect in found.suspects if suspect.step.name != culprit.step.name]
    if others:
        places = "; ".join(f"{other.main.place} ({other.line})" for other in others[:3])
        lines.append(f"    also below {found.limit_db:g} dB: {len(others)}, first {places}")
    return lines


def worst(findings: Sequence[Finding]) -> str:
    """Introduced errors, the largest first."""
    lines = [("introduced dB", "propagated", "both", "operation", "result", "line")]
    lines += [
        (
            decibels(finding.introduced_db),
            decibels(finding.propagated_db),
            decibels(finding.total_db),
            finding.main.place,
            finding.step.name,
            finding.line,
        )
        for finding in findings
    ]
    return align(lines)


def decibels(value: float, unit: str = "") -> str:
    """One digit; "exact" for equal arrays, "-inf" for what is not finite.

    >>> decibels(12.345), decibels(float("inf"))
    ('12.3', 'exact')
    """
    return "exact" if value == math.inf else f"{value:.1f}{unit}"
