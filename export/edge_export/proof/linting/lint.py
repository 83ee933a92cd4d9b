"""Lints a bundle, a Core ML package or an ONNX file: all rules, the estimate of units, float16's range.

The range check runs the artifact without rounding, on a bundle's reference cases, a recording, arrays, or
random numbers. In a bundle the catalogue's entry of the net may justify a rule: the finding stays in the
report with its reason and does not fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge_export.catalog import NETS
from edge_export.proof.artifacts import bundle_of, open_runnable
from edge_export.proof.artifacts.base import Operation, Runnable
from edge_export.proof.bisect.origins import read_origins
from edge_export.proof.comparing import feeding
from edge_export.proof.linting import rules
from edge_export.proof.linting.examining import examine
from edge_export.proof.linting.rules.onnx_runtimes import RUNTIMES
from edge_export.proof.linting.rules.precision import LARGEST
from edge_export.proof.linting.subject import RULES, SEVERITIES, SHOWN, Finding, Seen, Severity, Subject
from edge_export.proof.linting.units import Estimate, estimate
from edge_export.proof.verify import align
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.store.bundle import Bundle
from edge_runtime.store.targets import files_below

__all__ = ["RULES", "Linted", "Range", "lint", "report", "rules"]


@dataclass(frozen=True)
class Range:
    """The float16 range check of one artifact."""

    cases: tuple[str, ...]
    largest: float
    at: str
    subnormal: float  # share of all values that are not zero
    lost: float
    skipped: str = ""  # why nothing ran

    @property
    def headroom(self) -> float:
        """How many times larger the largest value could be."""
        return LARGEST / self.largest if self.largest else float("inf")

    def __str__(self) -> str:
        if self.skipped:
            return f"float16 range: not checked, {self.skipped}"
        return (
            f"float16 range over {len(self.cases)} cases: largest {self.largest:.4g} at {self.at}, "
            f"headroom {self.headroom:.3g} times; {self.subnormal:.2%} subnormal, {self.lost:.3%} lost"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "cases": list(self.cases),
            "largest": self.largest,
            "at": self.at,
            "headroom": self.headroom if self.largest else None,
            "subnormal": self.subnormal,
            "lost": self.lost,
            "skipped": self.skipped,
        }


@dataclass(frozen=True)
class Linted:
    """Everything that was found."""

    what: str
    findings: tuple[Finding, ...]
    ranges: Mapping[str, Range] = field(default_factory=dict)  # artifact → its range
    units: Mapping[str, Estimate] = field(default_factory=dict)  # Core ML package → estimate

    def open(self, severity: Severity) -> tuple[Finding, ...]:
        """Findings of a severity that nothing justifies."""
        return tuple(f for f in self.findings if f.severity == severity and not f.justified)

    @property
    def passed(self) -> bool:
        """Whether there is no error but justified ones."""
        return not self.open("error")

    def summary(self) -> str:
        """How many there are of each severity."""
        counts = ", ".join(f"{len(self.open(severity))} {severity}s" for severity in SEVERITIES)
        justified = sum(bool(finding.justified) for finding in self.findings)
        return f"{counts}, {justified} justified; {len(RULES)} rules"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "what": self.what,
            "passed": self.passed,
            "findings": [finding.to_json() for finding in self.findings],
            "ranges": {name: found.to_json() for name, found in self.ranges.items()},
            "units": {name: found.to_json() for name, found in self.units.items()},
        }


@dataclass(frozen=True)
class Inputs:
    """What to run artifacts on; reference cases where nothing is given."""

    file: str | Path | None = None
    audio: str | Path | None = None
    random: int | None = None
    wishes: feeding.Wishes = field(default_factory=feeding.Wishes)
    run: bool = True


def lint(
    place: str | Path,
    *,
    inputs: Inputs | None = None,
    runtimes: Sequence[str] = (),
    progress: Callable[[str], None] = lambda _line: None,
) -> Linted:
    """Look at every artifact of a bundle, or at one file, with every rule.

    Args:
        place: a bundle, an .mlpackage or an .onnx file.
        inputs: what the range check runs on.
        runtimes: names in `rules.onnx_runtimes.RUNTIMES` that an ONNX file is for: an error where they lack
            something.
        progress: called with one line before each step.

    Raises:
        ConfigError: an unknown runtime.
        EdgeError: nothing that can be opened, or inputs that do not fit.
    """
    if wrong := sorted(set(runtimes) - set(RUNTIMES)):
        raise ConfigError("--runtime", got=wrong[0], expected=f"one of {', '.join(RUNTIMES)}")
    given, found = inputs or Inputs(), bundle_of(place)
    places: list[Path] = [Path(place)]
    justified: Mapping[str, str] = {}
    if found is not None:
        bundle, artifact = found
        net = NETS.get(bundle.manifest.net)
        justified = net.justified if net else {}
        if artifact is None:
            readable = [item for item in bundle.manifest.artifacts if item.target != "coreai"]
            places = [bundle.path / item.path for item in readable]
    findings: list[Finding] = []
    ranges, units = {}, {}
    for path in places:
        progress(f"reading {path.name}")
        runnable = open_runnable(path)
        if runnable.kind not in ("coreml", "onnx"):
            raise InputError(
                str(path), got=runnable.kind, expected="a bundle, an .mlpackage or an .onnx file"
            )
        seen, ranges[path.name] = _range(runnable, found[0] if found else None, given, progress)
        operations = _placed(runnable.operations, found[0] if found else None, path.name)
        subject = _subject(path, runnable, operations, seen, runtimes)
        for rule in RULES.values():
            findings += rule.findings(subject)
        if runnable.kind == "coreml":
            units[path.name] = estimate(subject)
    ordered = sorted(_justify(findings, justified), key=lambda f: SEVERITIES.index(f.severity))
    return Linted(str(place), tuple(ordered), ranges, units)


def _justify(findings: Iterable[Finding], reasons: Mapping[str, str]) -> Iterable[Finding]:
    for finding in findings:
        yield replace(finding, justified=reasons.get(finding.rule, ""))


def _placed(operations: tuple[Operation, ...], bundle: Bundle | None, artifact: str) -> tuple[Operation, ...]:
    """The operations with the module and the line of Python that the bundle's export wrote down."""
    if bundle is None:
        return operations
    origins = read_origins(bundle, artifact)
    placed = []
    for operation in operations:
        result = operation.outputs[0].name if operation.outputs else ""
        told = filter(None, (origins.modules.get(result, ""), origins.lines.get(result, "")))
        placed.append(replace(operation, source=", ".join(told) or operation.source))
    return tuple(placed)


def _subject(
    path: Path,
    runnable: Runnable,
    operations: tuple[Operation, ...],
    seen: tuple[dict[str, Seen], float],
    runtimes: Sequence[str],
) -> Subject:
    facts: dict[str, Any] = {"runtimes": tuple(runtimes)}
    if runnable.kind == "onnx":
        from edge_export.proof.artifacts.onnx_file import OnnxArtifact

        assert isinstance(runnable, OnnxArtifact)
        facts |= {"ir_version": runnable.model.ir_version}
        facts["opset"] = max(
            (o.version for o in runnable.model.opset_import if o.domain in ("", "ai.onnx")), default=0
        )
    values, growth = seen
    return Subject(path.name, runnable, operations, values, growth, _weight_bytes(path), facts)


def _weight_bytes(path: Path) -> int:
    """Of the file, its external data, or the package."""
    if path.is_dir():
        return sum((path / name).stat().st_size for name in files_below(path) if name.endswith(".bin"))
    beside = path.with_name(path.name + ".data")
    return path.stat().st_size + (beside.stat().st_size if beside.is_file() else 0)


# the range check -------------------------------------------------------------------------------------------


def _range(
    runnable: Runnable, bundle: Bundle | None, given: Inputs, progress: Callable[[str], None]
) -> tuple[tuple[dict[str, Seen], float], Range]:
    """What every operation gave, how much longer inputs may be, and both in words."""
    if not given.run:
        return ({}, 1.0), _not_run("as asked")
    cases = _cases(runnable, bundle, given)
    if cases is None:
        return ({}, 1.0), _not_run("no reference cases; give --audio, --inputs or --random")
    listed = list(cases)
    values, longest = examine(runnable, listed, progress)
    most = max((axis for port in runnable.inputs for shape in port.only for axis in shape), default=longest)
    names = {operation.name: operation for operation in runnable.operations}
    peak, at = max(((record.largest, name) for name, record in values.items()), default=(0.0, "-"))
    total = sum(record.values for record in values.values()) or 1
    kind = names[at].type if at in names else ""
    found = Range(
        tuple(name for name, _ in listed),
        peak,
        f"{kind} {at}".strip(),
        sum(record.subnormal for record in values.values()) / total,
        sum(record.lost for record in values.values()) / total,
    )
    return (values, max(1.0, most / max(1, longest))), found


def _not_run(why: str) -> Range:
    return Range((), 0.0, "", 0.0, 0.0, why)


def _cases(runnable: Runnable, bundle: Bundle | None, given: Inputs) -> Iterable[feeding.Case] | None:
    items = [feeding.Input(port.name, (port,)) for port in runnable.inputs]
    wishes = given.wishes
    if bundle is not None and wishes.front_end is None:
        wishes = replace(wishes, front_end=bundle.manifest.front_end)
    if given.file is not None:
        return feeding.from_file(given.file, items, wishes)
    if given.audio is not None:
        return feeding.from_sound(given.audio, items, wishes)
    if given.random is not None:
        feeding.check_draws(given.random)
        return feeding.at_random(given.random, items, wishes)
    if bundle is None:
        return None
    stored = ((case, bundle.reference(case)[0]) for case in bundle.cases)
    return ((case, _converted(runnable, arrays)) for case, arrays in stored)


def _converted(runnable: Runnable, arrays: dict[str, Any]) -> dict[str, Any]:
    """A reference case in the types of a Core ML package, which has neither int64 nor bool."""
    types = {port.name: port.dtype for port in runnable.inputs}
    return {name: array.astype(types[name]) if types.get(name) else array for name, array in arrays.items()}


# the report ------------------------------------------------------------------------------------------------


def report(linted: Linted) -> str:
    """Every finding with its places, evidence, price, cure and source, then the ranges and the estimates."""
    paragraphs = [_paragraph(finding) for finding in linted.findings]
    facts = [(name, str(found)) for name, found in linted.ranges.items()]
    facts += [(name, str(found)) for name, found in linted.units.items()]
    return "\n".join([*paragraphs, align(facts) if facts else ""]).strip()


def _paragraph(finding: Finding) -> str:
    head = f"{'justified' if finding.justified else finding.severity:9}  {finding.artifact}: {finding.rule}: "
    lines = [head + finding.evidence]
    lines += [f"           at {place}" for place in finding.places[:SHOWN]]
    if (more := len(finding.places) - SHOWN) > 0:
        lines.append(f"           and {more} more")
    if finding.justified:
        return "\n".join([*lines, f"           justified: {finding.justified}"])
    if finding.severity == "note":
        return "\n".join(lines)
    lines += [f"           costs: {finding.costs}", f"           instead: {finding.instead}"]
    return "\n".join([*lines, f"           source: {finding.rests_on}"])
