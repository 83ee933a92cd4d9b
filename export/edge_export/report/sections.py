"""Sections about a bundle: its table of rows, gates, float16's range, lint, and what a bug report needs."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge_export.proof.gates.judging import GateRow
from edge_export.proof.gates.judging import notes as gate_notes
from edge_export.proof.linting.lint import Linted
from edge_export.proof.linting.subject import SEVERITIES
from edge_export.proof.verify import Row, rounded_up
from edge_export.report.evidence import Evidence
from edge_export.report.markup import Markup, element, join
from edge_export.report.page import Cell, number, pairs, status, table
from edge_runtime.store.bundle import HALF_ARITHMETIC, Bundle
from edge_runtime.version import VERSION

HALF_MAX = 65504.0  # the largest number of float16


def rows_table(rows: Sequence[Row], anchors: Mapping[int, str]) -> Markup:
    """Every row of a verification; `anchors`: index of a row → its evidence's identifier."""
    headings = (
        "artifact", "backend", "precision", "case", "output", "max abs", "SNR dB", "passes at", "ms",
        "status", "evidence", "remark",
    )  # fmt: skip
    lines = []
    for index, row in enumerate(rows):
        c = row.comparison
        smallest = c.smallest_tolerance if c else None
        link = element("a", f"row {index + 1}", href=f"#{anchors[index]}") if index in anchors else "–"
        lines.append(
            (
                row.artifact,
                row.where,
                row.bits,
                row.case or "–",
                row.output or "–",
                number(c.max_abs if c else None),
                number(c.snr_db if c else None, ".1f"),
                Cell("–" if smallest is None else rounded_up(smallest), number(smallest).value),
                number(1000 * row.seconds if c else None, ".1f"),
                status(row.status),
                link,
                row.detail,
            )
        )
    return table("Every output of every artifact on every backend", headings, lines, name="table")


def gates_table(rows: Sequence[GateRow]) -> Markup:
    """Figures for ears, or for a face; nothing where no gate ran."""
    if not rows:
        return Markup("")
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    lines = []
    for row in rows:
        figures = (row.figures.get(name) for name in names)
        cells = (number(value if isinstance(value, float) else None, ".4g") for value in figures)
        verdict = status("PASS" if row.passed else "FAIL")
        lines.append((row.artifact, row.backend, *cells, verdict, "; ".join(row.failures)))
    headings = ("artifact", "backend", *names, "status", "remark")
    said = (element("p", line) for line in gate_notes(rows))
    return join(table("The gate on real speech", headings, lines), *said)


def headroom_table(rows: Sequence[Row]) -> Markup:
    """How near inner values of float16 artifacts came to its largest number, where a session records them."""
    worst: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.largest_magnitude is None or row.precision not in HALF_ARITHMETIC:
            continue
        known = worst.get((row.artifact, row.where))
        if known is None or row.largest_magnitude > (known.largest_magnitude or 0.0):
            worst[row.artifact, row.where] = row
    lines = []
    for row in worst.values():
        largest = row.largest_magnitude or 0.0
        times = HALF_MAX / largest if largest else float("inf")
        lines.append(
            (row.artifact, row.where, row.case, number(largest, ".4g"), number(times, ".3g"), row.detail)
        )
    headings = ("artifact", "backend", "case", "largest magnitude", "times to 65504", "where")
    return table("Largest inner value of each float16 artifact", headings, lines)


def lint_table(linted: Linted | str) -> Markup:
    """Findings; a sentence where there are none, or why nothing was looked at."""
    if isinstance(linted, str):
        return element("p", f"Not looked at: {linted}")
    lines = []
    for finding in linted.findings:
        cure = f"justified: {finding.justified}" if finding.justified else finding.instead
        places = "; ".join(str(place) for place in finding.places[:3])
        more = f" and {len(finding.places) - 3} more" if len(finding.places) > 3 else ""
        word = "justified" if finding.justified else finding.severity
        count = number(len(finding.places), "d")
        weight = Cell(
            status(word), len(SEVERITIES) if finding.justified else SEVERITIES.index(finding.severity)
        )
        lines.append((finding.artifact, finding.rule, weight, count, finding.evidence, places + more, cure))
    headings = ("artifact", "rule", "severity", "places", "evidence", "at", "instead")
    told = "The files as they are; `edge-export lint` runs them too, and gives costs and sources."
    return join(
        element("p", f"{linted.summary()}. {told}"),
        table("Findings of lint", headings, lines, name="findings"),
    )


def bundle_facts(bundle: Bundle) -> Markup:
    """Artifacts, inputs and outputs, geometry, weights and versions, as the manifest states them."""
    manifest = bundle.manifest
    artifacts = [
        (
            item.path,
            item.kind,
            item.version,
            Cell(f"{item.total_bytes / 1e6:.2f}", item.total_bytes),
            item.sha256,
        )
        for item in manifest.artifacts
    ]
    tensors = [
        (tensor.name, kind, tensor.dtype, " × ".join(map(str, tensor.shape)), tensor.meaning, tensor.unit)
        for kind, listed in (("input", manifest.inputs), ("output", manifest.outputs))
        for tensor in listed
    ]
    geometry, source = manifest.geometry, manifest.source
    facts = [
        ("net", manifest.net),
        ("weights", f"{source.file}, {source.format}"),
        ("SHA-256 of the weights", source.sha256 or "–"),
        *(("said", sentence) for sentence in source.said),
        ("hop", _told(geometry.hop_length, "samples a frame")),
        ("receptive field", _told(geometry.receptive_field, "frames")),
        ("context before, after", "–" if geometry.sides is None else "{}, {} frames".format(*geometry.sides)),
        *(
            (f"tolerance of {bits}", f"{t.max_abs:g}, {t.min_snr_db:g} dB")
            for bits, t in manifest.tolerance.items()
        ),
    ]
    names = ("artifact", "kind", "format", "MB", "SHA-256")
    axes = ("tensor", "", "type", "shape", "meaning", "unit")
    return join(
        pairs(facts), table("Artifacts", names, artifacts), table("Inputs and outputs", axes, tensors)
    )


def versions_table(written: Mapping[str, str]) -> Markup:
    """Libraries that wrote the bundle, and those of this machine."""
    lines = [(name, wrote, _installed(name)) for name, wrote in sorted(written.items())]
    return join(pairs(machine()), table("Libraries", ("library", "wrote the bundle", "here"), lines))


def machine() -> list[tuple[str, str]]:
    """What ran: no name of a person or a computer."""
    return [
        ("edge-export", VERSION),
        ("Python", platform.python_version()),
        ("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
    ]


def bug_report(
    bundle: Bundle, found: Iterable[tuple[Row, Evidence]], tolerance: float | None = None
) -> Markup:
    """Text to send upstream with each artifact's worst failing row; `tolerance` is the one given, if any."""
    worst: dict[tuple[str, str], tuple[Row, Evidence]] = {}
    for row, evidence in found:
        if row.status == "FAIL":
            worst.setdefault((row.artifact, row.where), (row, evidence))
    texts = []
    for index, (row, evidence) in enumerate(worst.values()):
        name = f"bug-{index}"
        text = _bug_text(bundle, row, evidence, tolerance)
        title = f"{row.artifact} on {row.where}"
        area = element(
            "textarea", text, id=name, readonly=True, rows=text.count("\n") + 1, aria_label=f"Report: {title}"
        )
        copy = element("button", "Copy", type="button", class_="copy", data_copies=name, hidden=True)
        texts += [element("h3", title), area, copy]
    return join(*texts) if texts else element("p", "Nothing failed.")


def _bug_text(bundle: Bundle, row: Row, evidence: Evidence, tolerance: float | None) -> str:
    manifest, c = bundle.manifest, row.comparison
    artifact = next(item for item in manifest.artifacts if item.path == row.artifact)
    allowed = manifest.tolerance[artifact.precision]
    folder = Path(bundle.path).name
    on = f" --device {row.device}" if row.device != "cpu" else ""
    on += "" if tolerance is None else f" --tolerance {tolerance:g}"
    told = f"{allowed.max_abs if tolerance is None else tolerance:g}, {allowed.min_snr_db:g} dB"
    facts = [
        ("artifact", f"{artifact.path}: {artifact.kind}, {artifact.version}, {artifact.total_bytes} bytes"),
        ("SHA-256", artifact.sha256),
        ("net", f"{manifest.net}, weights {manifest.source.file} ({manifest.source.format})"),
        ("runs on", f"{row.where}: {row.detail}"),
        ("case", f"{row.case or '-'}, output {row.output or '-'}"),
        *([("largest error", f"{c.max_abs:.3e}, SNR {c.snr_db:.1f} dB, mean {c.mean_abs:.3e}")] if c else []),
        ("allowed", f"{told}, {'as the bundle states' if tolerance is None else 'as asked'}"),
        *evidence.facts,
        *machine(),
        ("wrote the bundle", ", ".join(f"{name} {v}" for name, v in sorted(manifest.versions.items()))),
        ("here", ", ".join(f"{name} {_installed(name)}" for name in sorted(manifest.versions))),
        ("again", f"edge-export verify {folder} --backend {row.backend}{on}"),
        ("where it begins", f"edge-export bisect {folder} --artifact {row.artifact}"),
    ]
    return "\n".join(f"{name}: {value}" for name, value in facts)


def _told(value: int | None, unit: str) -> str:
    return "–" if value is None else f"{value} {unit}"


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "–"
