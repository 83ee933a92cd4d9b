"""`edge-export verify --report`: a bundle's rows with their evidence, lint, gates and facts, in one page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edge_export.proof.gates.sounding import sample_rate_of
from edge_export.proof.linting.lint import Inputs, Linted, lint
from edge_export.proof.verify import Row, Verification
from edge_export.report import sections
from edge_export.report.drift import Drift, drift_of, drift_section
from edge_export.report.evidence import Evidence, Subject, fitting
from edge_export.report.markup import Markup, element, join
from edge_export.report.page import document, status, verdict, write_page
from edge_export.report.running import SOUND, runner
from edge_runtime.errors import EdgeError
from edge_runtime.store.bundle import Bundle, open_bundle


class Observer:
    """Collects evidence while `verify` runs: give it as ``observe``."""

    def __init__(self, bundle: Bundle, tolerance: float | None = None) -> None:
        self.bundle, self.tolerance = bundle, tolerance
        self.found: list[tuple[Row, Evidence]] = []
        self.subjects: dict[tuple[str, str], Subject] = {}  # (case, output) → reference
        units = {tensor.name: tensor.unit for tensor in bundle.manifest.outputs}
        self._sounds = {name for name, unit in units.items() if unit.startswith(SOUND)}

    def __call__(self, row: Row, truth: NDArray[Any], made: NDArray[Any]) -> None:
        """What one row shows."""
        key = row.case, row.output
        if key not in self.subjects:
            rate = sample_rate_of(self.bundle.manifest) if row.output in self._sounds else None
            self.subjects[key] = Subject.of(truth, rate)
        self.found.append((row, self.subjects[key].against(made)))


def write_report(
    path: Path,
    result: Verification,
    observer: Observer,
    *,
    drifting: bool = True,
    progress: Callable[[str], None] = lambda _line: None,
) -> None:
    """Write the page of a verification that `observer` watched.

    Args:
        path: of the page.
        result: the rows.
        observer: what watched them.
        drifting: draw the drift by operation, for which every artifact runs a few times more.
        progress: called with one line before each step.

    Raises:
        TargetError: it cannot be written.
    """
    drift = drift_of(observer.bundle, progress) if drifting else ()
    progress("the report")
    write_page(path, verification_page(result, observer, _linted(observer.bundle), drift))


def verification_page(
    result: Verification, observer: Observer, linted: Linted | str, drift: Drift = ()
) -> Markup:
    """The page; `linted` is the findings, or why there are none, and `drift` likewise; () leaves it out."""
    bundle, found = observer.bundle, observer.found
    places = {id(row): index for index, row in enumerate(result.rows)}
    anchors = {places[id(row)]: _anchor(places[id(row)]) for row, _ in found}
    drawn, here = drift_section(drift), runner(bundle)
    shown = [
        ("rows", "Rows", sections.rows_table(result.rows, anchors)),
        ("gates", "Gates", sections.gates_table(result.gates)),
        ("evidence", "Where they differ", _evidence(observer, places, len(drawn) + len(here))),
        ("drift", "Drift by operation", drawn),
        ("run", "Run it here", here),
        ("headroom", "Range of float16", sections.headroom_table(result.rows)),
        ("lint", "Lint", sections.lint_table(linted)),
        (
            "bug",
            "For a bug report",
            sections.bug_report(bundle, _worst_first(result, found), observer.tolerance),
        ),
        ("bundle", "The bundle", sections.bundle_facts(bundle)),
        ("versions", "Versions", sections.versions_table(bundle.manifest.versions)),
    ]
    name = Path(bundle.path).name
    told = verdict(result.passed, result.summary())
    return document(f"{name}: {bundle.manifest.net}", told, shown, runs=bool(here))


def _worst_first(result: Verification, found: list[tuple[Row, Evidence]]) -> list[tuple[Row, Evidence]]:
    """Rows with evidence, the worst first, and then those that could not be compared."""
    seen = {id(row) for row, _ in found}
    told = [(row, Evidence()) for row in result.rows if id(row) not in seen]
    return sorted(found, key=lambda each: each[0].comparison.snr_db if each[0].comparison else 0.0) + told


def _evidence(observer: Observer, places: dict[int, int], used: int) -> Markup:
    """A heading for each case and output: the reference once, then each artifact; `used`: bytes elsewhere."""
    own = used + sum(subject.own.bytes for subject in observer.subjects.values())
    judged = (
        (evidence, row.status == "PASS", row.comparison.snr_db if row.comparison else 0.0)
        for row, evidence in observer.found
    )
    fits = fitting(judged, own)
    parts: list[Markup] = []
    for (case, output), subject in observer.subjects.items():
        parts += [element("h3", f"Case {case}, output {output}"), subject.own.markup()]
        for (row, evidence), whole in zip(observer.found, fits, strict=True):
            if (row.case, row.output) == (case, output):
                parts.append(_details(row, evidence, places[id(row)], whole=whole))
    return join(*parts)


def _details(row: Row, evidence: Evidence, index: int, *, whole: bool) -> Markup:
    c = row.comparison
    figures = f" max abs {c.max_abs:.2e}, SNR {c.snr_db:.1f} dB" if c else ""
    title = element(
        "summary", status(row.status), f" row {index + 1}: {row.artifact} on {row.where}:{figures}"
    )
    opened = row.status == "FAIL" or None
    return element("details", title, evidence.markup(whole=whole), id=_anchor(index), open=opened)


def _anchor(index: int) -> str:
    return f"evidence-{index + 1}"


def _linted(bundle: Bundle) -> Linted | str:
    try:
        return lint(bundle.path, inputs=Inputs(run=False))
    except EdgeError as failure:
        return str(failure)


def observer_of(bundle: str | Path, tolerance: float | None = None) -> Observer:
    """For `verify(bundle, tolerance=…, observe=…)`.

    Raises:
        BundleError: the bundle is damaged.
    """
    return Observer(open_bundle(bundle), tolerance)
