"""Reference packs for developers of a port, and the check of what their port computed.

`write_reference` runs a pipeline and writes every stage as .npy (``pack.py`` of each system says which).
`check_reference` does what the validator of SyncTalk_2D's audio_pipeline does with the folder that a port
wrote, but completely: every array of the pack is compared, not two files and ten frames, and missing or extra
files are named.

    PASS      same shape, finite, largest absolute difference within the tolerance
    FAIL      beyond the tolerance, not comparable, or not a readable array; the reason is given
    MISSING   the port wrote no such file; counts as failed

Only arrays count as extra files; anything else in the port's folder (logs, notes, JSON, audio) is ignored.
Guesses at why an array failed are reported if they hold (`edge_export.proof.hypotheses`).
Another dtype is not a failure (a phone computes in float32 what the pack holds in float64) but is reported.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_export.ports.pack_tests import replace_pack_test
from edge_export.proof import hypotheses
from edge_export.proof.mri_features import picture_features
from edge_export.run import GivenInputs, open_pipeline
from edge_runtime.compare import Comparison, compare
from edge_runtime.errors import ConfigError, InputError, shown
from edge_runtime.pipelines.pack_files import replace_pack
from edge_runtime.pipelines.registry import get_declaration
from edge_runtime.pipelines.roles import GivenBundles
from edge_runtime.store.bundle import Bundle
from edge_runtime.store.reading import read_array

AnyPath = str | os.PathLike[str]
LISTED_FAILURES = 20  # rows of one folder that the table prints one by one


# stages inside of nets for packs (`Declaration.inside`): name → function from a bundle to what computes it
INSIDE: Mapping[str, Callable[[Bundle], object]] = {"features": picture_features}


def write_reference(
    pipeline: str,
    source: GivenInputs,
    bundles: GivenBundles,
    out: AnyPath,
    *,
    overwrite: bool = False,
    swift: AnyPath | None = None,
    kotlin: AnyPath | None = None,
    **options: Any,
) -> Path:
    """Run a pipeline and write its reference pack.

    Args:
        pipeline: "talking-head" (audio file), "vocoder" or "mel-inversion" (audio file, or .npy of (n_mels,
            frames)), "mri-speech" (video) …: a name in the registry of pipelines.
        source: the file; a mapping of the declared names where the pipeline takes several inputs.
        bundles: the bundles of the pipeline's nets, in any order, or by role.
        out: folder to make.
        overwrite: replace an older pack, and older tests of one.
        swift, kotlin: folders to make beside it: a test of the pack, see `edge_export.ports.pack_tests`.
        options: of the pipeline: backend, device, threads, precision, mode, fps …

    Returns:
        The folder.

    Raises:
        ConfigError: unknown pipeline, or a bundle too many or too few.
        EdgeError: the source, a bundle or the target cannot be used.
    """
    inputs = get_declaration(pipeline).name_inputs(source)
    opened = open_pipeline(pipeline, bundles, inside=INSIDE, **options)
    tests = {
        language: place for language, place in (("swift", swift), ("kotlin", kotlin)) if place is not None
    }
    with ExitStack() as targets:  # all of them are refused before the work begins
        folder = targets.enter_context(replace_pack(out, overwrite))
        fillers = [
            targets.enter_context(replace_pack_test(place, language, overwrite))
            for language, place in tests.items()
        ]
        opened.write_pack(folder, inputs)
        for fill in fillers:
            fill(folder)
    return Path(out)


@dataclass(frozen=True)
class Row:
    """One array of the reference pack."""

    file: str  # relative POSIX path
    status: str  # PASS, FAIL or MISSING
    comparison: Comparison | None  # None where a file is missing or unreadable
    remark: str  # why it failed, and other observations

    def to_json(self) -> dict[str, Any]:
        metrics = self.comparison.to_json() if self.comparison else None
        return {"file": self.file, "status": self.status, "remark": self.remark, "comparison": metrics}


@dataclass(frozen=True)
class CheckReport:
    """What `check_reference` found."""

    reference: str
    candidate: str
    tolerance: float
    rows: tuple[Row, ...]
    extra: tuple[str, ...]  # arrays of the candidate that the pack does not hold

    @property
    def passed(self) -> bool:
        """Whether every array of the pack is there and within the tolerance."""
        return all(row.status == "PASS" for row in self.rows)

    def summary(self) -> str:
        """One line: how many arrays passed, failed and are missing, and the extra files."""
        counts = {
            status: sum(row.status == status for row in self.rows) for status in ("PASS", "FAIL", "MISSING")
        }
        parts = [f"{counts['PASS']} of {len(self.rows)} arrays within {self.tolerance:g}"]
        parts += [f"{counts['FAIL']} failed"] if counts["FAIL"] else []
        parts += [f"{counts['MISSING']} missing"] if counts["MISSING"] else []
        parts += [f"extra: {_shortened(self.extra)}"] if self.extra else []
        return ", ".join(parts)

    def table(self) -> str:
        """Rows with their metrics; passing files of one kind share a line with their worst values."""
        lines = [_line("file", *METRICS, "")]
        lines += [_line(name, *metrics, verdict) for name, metrics, verdict in _grouped(self.rows)]
        lines += [f"{name}  not in the reference" for name in self.extra[:LISTED_FAILURES]]
        if len(self.extra) > LISTED_FAILURES:
            lines.append(f"… and {len(self.extra) - LISTED_FAILURES} more that are not in the reference")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for validation_results.json."""
        return {
            "reference": self.reference,
            "candidate": self.candidate,
            "tolerance": self.tolerance,
            "passed": self.passed,
            "rows": [row.to_json() for row in self.rows],
            "extra": list(self.extra),
        }


def check_reference(reference_dir: AnyPath, candidate_dir: AnyPath, tolerance: float = 1e-3) -> CheckReport:
    """Compare every .npy of a reference pack with the file of the same name in a port's folder.

    Args:
        reference_dir: the pack.
        candidate_dir: what the port wrote.
        tolerance: largest absolute difference that passes, in the unit of each array.

    Raises:
        InputError: a folder is missing, the pack holds no arrays, or one of its files is not a readable .npy
            (an unreadable file of the port is a failed row instead).
        ConfigError: both folders are the same, or the tolerance is negative or infinite.
    """
    if not 0 <= tolerance < math.inf:
        raise ConfigError("--tolerance", got=str(tolerance), expected="a finite number of at least 0")
    reference, candidate = Path(reference_dir), Path(candidate_dir)
    for folder in (reference, candidate):
        if not folder.is_dir():
            got = "a file" if folder.exists() else "no such folder"
            raise InputError(str(folder), got=got, expected="a folder of .npy files")
    if reference.resolve() == candidate.resolve():
        raise ConfigError(
            "CANDIDATE_DIR", got="the reference itself", expected="the folder that a port wrote"
        )
    expected, found = _arrays(reference), _arrays(candidate)
    if not expected:
        raise InputError(
            str(reference),
            got="no .npy files",
            expected="a reference pack",
            cause="edge-export reference writes one",
        )
    rows = tuple(_row(reference, candidate, name, tolerance) for name in expected)
    extra = tuple(name for name in found if name not in set(expected))
    return CheckReport(str(reference), str(candidate), tolerance, rows, extra)


def _arrays(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.npy") if not path.is_dir())


def _row(reference: Path, candidate: Path, name: str, tolerance: float) -> Row:
    truth = read_array(reference / name)
    if not (candidate / name).exists():
        elsewhere = hypotheses.find_elsewhere(truth, candidate, name, tolerance)
        return Row(name, "MISSING", None, elsewhere or "the candidate has no such file")
    if (candidate / name).is_dir():
        return Row(name, "FAIL", None, "a folder where the reference has a file")
    try:
        judged = read_array(candidate / name)
    except InputError as error:
        said = hypotheses.explain_bytes(truth, candidate / name, tolerance)
        return Row(name, "FAIL", None, said or shown(str(error).removeprefix(f"{error.what}: ")))
    result = compare(truth, judged, tolerance=tolerance)
    remarks = [result.reason]
    if not result.passed:
        remarks.append(hypotheses.explain(truth, judged, tolerance))
    if judged.dtype != truth.dtype:
        remarks.append(f"{judged.dtype} where the reference is {truth.dtype}")
    return Row(name, "PASS" if result.passed else "FAIL", result, "; ".join(r for r in remarks if r))


# the table -------------------------------------------------------------------------------------------------

METRICS = ("max_abs", "mean_abs", "median_abs", "max_rel", "mean_rel")


def _line(file: str, *columns: str) -> str:
    *metrics, verdict = columns
    return f"{file:44} " + " ".join(f"{column:>10}" for column in metrics) + f"  {verdict}".rstrip()


def _grouped(rows: Sequence[Row]) -> list[tuple[str, list[str], str]]:
    """(name, metrics, verdict) per line: failures one by one, passing files of one kind together."""
    lines: list[tuple[str, list[str], str]] = []
    kinds: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        kinds.setdefault((_kind(row.file), row.status), []).append(row)
    for (kind, status), members in kinds.items():
        if status == "PASS" and len(members) > 1:
            remark = members[0].remark if len({row.remark for row in members}) == 1 else ""
            lines.append((f"{kind} ({len(members)} files)", _worst(members), _verdict("PASS", remark)))
            continue
        lines += [
            (row.file, _worst([row]), _verdict(status, row.remark)) for row in members[:LISTED_FAILURES]
        ]
        if len(members) > LISTED_FAILURES:
            rest = members[LISTED_FAILURES:]
            lines.append((f"… and {len(rest)} more of {kind}", _worst(rest), status))
    return lines


def _kind(file: str) -> str:
    """frames/frame_00012_window.npy → frames/frame_*_window.npy."""
    folder, _, name = file.rpartition("/")
    generic = "".join("*" if character.isdigit() else character for character in name)
    while "**" in generic:
        generic = generic.replace("**", "*")
    return f"{folder}/{generic}" if folder else name


def _worst(rows: Sequence[Row]) -> list[str]:
    compared = [row.comparison for row in rows if row.comparison is not None]
    if not compared:
        return ["–"] * len(METRICS)
    return [f"{max(getattr(result, metric) for result in compared):.2e}" for metric in METRICS]


def _verdict(status: str, remark: str) -> str:
    return f"{status}  {remark}" if remark else status


def _shortened(names: Sequence[str], limit: int = 3) -> str:
    listed = ", ".join(names[:limit])
    return f"{listed} and {len(names) - limit} more" if len(names) > limit else listed
