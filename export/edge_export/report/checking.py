"""`edge-export check --report`: a port's arrays against a reference pack, in one page."""

from __future__ import annotations

from pathlib import Path

from edge_export.proof.reference import CheckReport, Row
from edge_export.report.evidence import Evidence, Subject, fitting
from edge_export.report.markup import Markup, element, join
from edge_export.report.page import document, number, pairs, status, table, verdict, write_page
from edge_export.report.sections import machine
from edge_runtime.errors import EdgeError
from edge_runtime.store.reading import read_array, read_object

SOUNDS = ("wav", "audio")  # how names of arrays of samples begin
RATES = range(3_000, 192_001)  # Hz that browsers play
MOST = 40  # failing arrays whose evidence is shown


def write_report(path: Path, result: CheckReport) -> None:
    """Write the page of a check; arrays that failed are read once more.

    Raises:
        InputError: an array changed since and cannot be read.
        TargetError: the page cannot be written.
    """
    write_page(path, check_page(result))


def check_page(result: CheckReport) -> Markup:
    """The page: a table of all arrays, and evidence of the first that failed."""
    failed = [row for row in result.rows if row.status == "FAIL" and row.comparison]
    shown = failed[:MOST]
    anchors = {row.file: f"evidence-{index + 1}" for index, row in enumerate(shown)}
    facts = [("reference", Path(result.reference).name), ("candidate", Path(result.candidate).name)]
    facts += [("tolerance", f"{result.tolerance:g}"), *machine()]
    sections = [
        ("rows", "Rows", _rows(result.rows, anchors)),
        ("extra", "Not in the reference", _listed(result.extra)),
        ("evidence", "Where they differ", _evidence(result, shown, anchors, len(failed))),
        ("versions", "Versions", pairs(facts)),
    ]
    title = f"{Path(result.candidate).name} against {Path(result.reference).name}"
    return document(title, verdict(result.passed, result.summary()), sections)


def _rows(rows: tuple[Row, ...], anchors: dict[str, str]) -> Markup:
    lines = []
    for row in rows:
        c = row.comparison
        figures = (c.max_abs, c.mean_abs, c.median_abs, c.max_rel, c.mean_rel) if c else (None,) * 5
        link = element("a", "shown", href=f"#{anchors[row.file]}") if row.file in anchors else "–"
        snr = number(c.snr_db if c else None, ".1f")
        lines.append((row.file, *map(number, figures), snr, status(row.status), link, row.remark))
    headings = (
        "file", "max abs", "mean abs", "median abs", "max rel", "mean rel", "SNR dB", "status", "evidence",
        "remark",
    )  # fmt: skip
    return table("Every array of the reference pack", headings, lines, name="table")


def _evidence(result: CheckReport, rows: list[Row], anchors: dict[str, str], failed: int) -> Markup:
    found: list[tuple[Subject, Evidence]] = []
    rate = _sample_rate(Path(result.reference))
    for row in rows:
        truth = read_array(Path(result.reference) / row.file)
        sound = truth.ndim == 1 and truth.dtype.kind == "f" and Path(row.file).stem.startswith(SOUNDS)
        subject = Subject.of(truth, rate if sound else None)
        found.append((subject, subject.against(read_array(Path(result.candidate) / row.file))))
    both = [Evidence(own.own.facts + made.facts, own.own.figures + made.figures) for own, made in found]
    ranks = (
        (each, False, row.comparison.snr_db if row.comparison else 0.0)
        for row, each in zip(rows, both, strict=True)
    )
    fits = fitting(ranks)
    parts = [
        element(
            "details",
            element("summary", status(row.status), f" {row.file}"),
            each.markup(whole=whole),
            id=anchors[row.file],
            open=not index,
        )
        for index, (row, each, whole) in enumerate(zip(rows, both, fits, strict=True))
    ]
    if failed > len(rows):
        parts.append(element("p", f"{failed - len(rows)} more arrays failed."))
    return join(*parts)


def _sample_rate(pack: Path) -> int | None:
    """Hz, as the pack's metadata states; None where it does not, and sounds are drawn as other arrays are."""
    try:
        rate = read_object(pack / "metadata.json").get("sample_rate")
    except EdgeError:
        return None
    return rate if isinstance(rate, int) and rate in RATES else None


def _listed(names: tuple[str, ...]) -> Markup:
    return element("ul", *(element("li", name) for name in names)) if names else Markup("")
