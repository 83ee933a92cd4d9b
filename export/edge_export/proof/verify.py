"""Proves that every artifact of a bundle gives the numbers of the PyTorch net.

The truth is stored in the bundle: inputs and outputs of the net in float32, run once at export. Here each
artifact is executed on them by every backend that this machine has (`edge_export.backends`), and compared
with `edge_runtime.compare` under the manifest's tolerance of its precision.

Rows are those of the processor unless other devices are named, and then one beside the other: "cuda" is
onnxruntime's provider, "gpu" that of OpenVINO or of Core ML.

A missing backend is listed as absent and never counts as passed; an artifact that no backend of this machine
could execute is not proved, and neither is its bundle.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast, get_args, runtime_checkable

from numpy.typing import NDArray

from edge_export.backends import BACKENDS, get_backend, tuned_backend
from edge_export.proof.geometry import CASE, measure_reach
from edge_runtime.backends.artifacts import TypedSession, open_artifact
from edge_runtime.backends.base import Backend, Session
from edge_runtime.compare import Comparison, compare
from edge_runtime.errors import BackendError, ConfigError, EdgeError
from edge_runtime.store.bundle import Artifact, Bundle, Form, Tolerance, fits_lengths, open_bundle

if TYPE_CHECKING:
    from edge_export.proof.gates.judging import GateRow

Status = Literal["PASS", "FAIL", "absent"]
Judge = Literal["both", "gate"]


@runtime_checkable
class Watching(Protocol):
    """A session that records every tensor inside of the net."""

    @property
    def largest_magnitude(self) -> float:
        """Of the last run; infinity after an overflow or where NaN arose."""


@dataclass(frozen=True)
class Row:
    """One output of one reference case of one artifact on one backend.

    ``case`` is "geometry" in the row on the manifest's context, see `edge_export.proof.geometry`.
    ``comparison`` is None, and ``case`` and ``output`` are empty, where nothing could be compared; ``detail``
    then says why, and otherwise what ran.
    """

    net: str
    artifact: str
    backend: str
    precision: str
    status: Status
    detail: str
    case: str = ""
    output: str = ""
    comparison: Comparison | None = None
    seconds: float = 0.0
    largest_magnitude: float | None = None  # of all inner tensors, where they are recorded; inf: an overflow
    form: Form = "any"  # of the artifact
    device: str = "cpu"

    @property
    def where(self) -> str:
        """The backend, and the device unless it is the processor."""
        return self.backend if self.device == "cpu" else f"{self.backend} {self.device}"

    @property
    def bits(self) -> str:
        """The precision, and the form where the net has several."""
        return self.precision if self.form == "any" else f"{self.precision} {self.form}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"comparison": self.comparison.to_json() if self.comparison else None}


Observe = Callable[[Row, NDArray[Any], NDArray[Any]], None]


@dataclass(frozen=True)
class Verification:
    """All rows of one bundle."""

    bundle: str
    rows: tuple[Row, ...]
    gates: tuple[GateRow, ...] = ()  # see `edge_export.proof.gates`; empty unless asked for
    judge: Judge = "both"  # "gate": largest errors of what a gate judged do not count

    @property
    def _heard(self) -> set[tuple[str, str]]:
        """(artifact, backend) that the gate alone judges."""
        return {(row.artifact, row.backend) for row in self.gates} if self.judge == "gate" else set()

    def count(self, status: Status) -> int:
        """Rows with this status."""
        return sum(row.status == status for row in self.rows)

    @property
    def unproved(self) -> tuple[str, ...]:
        """Artifacts that passed on no backend."""
        passed = {row.artifact for row in self.rows if row.status == "PASS" and row.comparison}
        if self.judge == "gate":
            ran = {row.where for row in self.rows}  # float16's range alone, of gates too, proves nothing
            passed |= {row.artifact for row in self.gates if row.passed and row.backend in ran}
        return tuple(dict.fromkeys(row.artifact for row in self.rows if row.artifact not in passed))

    @property
    def passed(self) -> bool:
        """Whether every artifact passed on some backend, and nothing that ran failed."""
        if any(not row.passed for row in self.gates):
            return False
        heard = self._heard
        failed = any(row.status == "FAIL" and (row.artifact, row.where) not in heard for row in self.rows)
        return (self.count("PASS") > 0 or bool(heard)) and not failed and not self.unproved

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        found = {"bundle": self.bundle, "passed": self.passed, "rows": [row.to_json() for row in self.rows]}
        return found | ({"gates": [row.to_json() for row in self.gates]} if self.gates else {})

    def summary(self) -> str:
        """How many rows passed and failed, and which backends this machine lacks."""
        words = f"{self.count('PASS')} passed, {self.count('FAIL')} failed"
        if self.gates:
            words += f"; gate: {sum(row.passed for row in self.gates)} of {len(self.gates)} passed"
        if self.unproved:
            words += f"; not proved: {', '.join(self.unproved)}"
        lacking = sorted({row.where for row in self.rows if row.status == "absent"})
        return f"{words}; not on this machine: {', '.join(lacking)}" if lacking else words


def verify(
    bundle: str | Path | Bundle,
    *,
    tolerance: float | None = None,
    backends: Sequence[str] | None = None,
    devices: Sequence[str] = ("cpu",),
    tf32: bool = False,
    cuda_graphs: bool = False,
    gate: bool = False,
    audio: str | Path | None = None,
    beside: str | Path | None = None,
    judge: str = "both",
    observe: Observe = lambda _row, _truth, _made: None,
    progress: Callable[[str], None] = lambda _line: None,
) -> Verification:
    """Execute every artifact on every backend and compare with the stored outputs.

    Args:
        bundle: folder, or an opened bundle.
        tolerance: largest absolute error allowed for every precision; the manifest's own where None.
        backends: names in `edge_export.backends`, all where None; one that this machine lacks is refused.
        devices: each artifact runs on every one of them, on the backends that know it. One other than the
            processor must be on this machine.
        tf32, cuda_graphs: settings of CUDA, see `edge_export.backends.tuned_backend`.
        gate: judge the sound, or the features for a face, on real speech too (`edge_export.proof.gates`).
        audio: judge it on this recording instead of the stored case.
        beside: the bundle that makes sound of the net's output, for gates of nets whose output is none.
        judge: "gate": largest errors do not count where the gate judged.
        observe: called with each row that was compared, the stored output and the one that was made.
        progress: called with one line before each execution.

    Raises:
        BundleError: the bundle is damaged.
        ConfigError: a gate for a net that has none; an unknown backend or device, one that none of the
            artifacts is for, or a negative tolerance.
        BackendError: a backend or device that was asked for by name is missing here.
    """
    if tolerance is not None and not 0 <= tolerance < math.inf:
        raise ConfigError("--tolerance", got=str(tolerance), expected="a finite number of at least 0")
    if judge not in get_args(Judge):
        raise ConfigError("--judge", got=repr(judge), expected=" or ".join(get_args(Judge)))
    asked = gate or audio is not None or judge == "gate"
    if beside is not None and not asked:
        raise ConfigError("--with", got=str(beside), expected="--gate beside it")
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    if asked:
        from edge_export.proof.gates.judging import check_judged, judge_bundle

        check_judged(opened, audio, beside)
    chosen = _places(opened, backends, devices)
    if tf32 or cuda_graphs:
        tuned = tuned_backend("onnxruntime", tf32=tf32, cuda_graphs=cuda_graphs)
        if "cuda" not in devices:
            got = f"devices {', '.join(devices)}"
            raise ConfigError("--tf32" if tf32 else "--cuda-graphs", got=got, expected="--device cuda")
        chosen = [(tuned if device == "cuda" else backend, device) for backend, device in chosen]
    rows: list[Row] = []
    for artifact in opened.manifest.artifacts:
        allowed = opened.manifest.tolerance[artifact.precision]
        if tolerance is not None:
            allowed = Tolerance(max_abs=tolerance, min_snr_db=allowed.min_snr_db)
        for backend, device in chosen:
            if backend.target == artifact.target:
                rows.extend(_prove(opened, artifact, backend, device, allowed, (observe, progress)))
    rows.extend(_prove_geometry(opened, chosen, progress))
    if not asked:
        return Verification(str(opened.path), tuple(rows))
    gates = judge_bundle(opened, chosen, audio=audio, beside=beside, progress=progress)
    return Verification(str(opened.path), tuple(rows), gates, cast("Judge", judge))


_Place = tuple[Backend, str]  # a backend and one of its devices


def _places(bundle: Bundle, names: Sequence[str] | None, devices: Sequence[str]) -> list[_Place]:
    """Every backend, or those requested, on every device that it knows."""
    backends = [get_backend(name) for name in names or BACKENDS]
    if names:
        _check_targets(bundle, backends)
    chosen: list[_Place] = []
    for device in dict.fromkeys(devices):
        knowing = [backend for backend in backends if device in backend.devices]
        if not knowing:
            known = sorted({each for backend in backends for each in backend.devices})
            raise ConfigError("--device", got=repr(device), expected=f"one of {', '.join(known)}")
        chosen += [(backend, device) for backend in knowing]
        if not names and device == "cpu":
            continue  # their rows say what is absent
        reasons = {backend: backend.unavailable(device) for backend in knowing}
        if names and device == "cpu":
            missing = [(f"--backend {backend.name}", reason) for backend, reason in reasons.items() if reason]
        elif device != "cpu" and all(reasons.values()):
            missing = [(f"--device {device}", reason) for reason in reasons.values()]
        else:
            missing = []
        for what, reason in missing:
            raise BackendError(what, got="nothing here that runs it", expected="another one", cause=reason)
    return chosen


def _check_targets(bundle: Bundle, backends: Sequence[Backend]) -> None:
    """ConfigError for a backend requested by name that has no artifact to execute."""
    targets = sorted({artifact.target for artifact in bundle.manifest.artifacts})
    for backend in backends:
        if backend.target not in targets:
            got, expected = f"a bundle with only {', '.join(targets)}", f"{backend.target} artifacts"
            cause = f"edge-export export --target {backend.target} writes them"
            raise ConfigError(f"--backend {backend.name}", got=got, expected=expected, cause=cause)


def _what(bundle: Bundle, artifact: Artifact, backend: Backend) -> tuple[str, str, str, str]:
    return bundle.manifest.net, artifact.path, backend.name, artifact.precision


def _prove(
    bundle: Bundle,
    artifact: Artifact,
    backend: Backend,
    device: str,
    allowed: Tolerance,
    told: tuple[Observe, Callable[[str], None]],
) -> Iterator[Row]:
    """Rows of one artifact in one place; a backend that cannot run it gives a failed row, not a crash."""
    observe, progress = told
    what = partial(Row, *_what(bundle, artifact, backend), form=artifact.form, device=device)
    if reason := backend.unavailable(device):
        yield what("absent", reason)
        return
    try:
        session = open_artifact(bundle, artifact, backend, device=device)
    except EdgeError as failure:
        yield what("FAIL", str(failure))
        return
    fitting = [case for case in bundle.cases if _fits(bundle, artifact, case)]
    if not fitting:
        yield what("FAIL", f"no reference case has its lengths: {artifact.note}")
    for case in fitting:
        progress(f"{artifact.path} on {backend.name}, case {case}")
        yield from _compared(bundle, case, session, allowed, what, observe)


def _fits(bundle: Bundle, artifact: Artifact, case: str) -> bool:
    """Whether an artifact takes a case's lengths: those of Core AI are fixed."""
    if artifact.target != "coreai":
        return True
    return fits_lengths(bundle.manifest.inputs, artifact.axes, bundle.reference(case)[0])


def _prove_geometry(
    bundle: Bundle, places: Sequence[_Place], progress: Callable[[str], None]
) -> Iterator[Row]:
    """One row, of the first artifact on the first backend that runs it; none where nothing is stated."""
    for artifact, (backend, device) in itertools.product(bundle.manifest.artifacts, places):
        if backend.target != artifact.target or backend.unavailable(device):
            continue
        progress(f"{artifact.path} on {backend.name}, how far its context reaches")
        try:
            session = open_artifact(bundle, artifact, backend, device=device)
            reach = measure_reach(bundle, artifact, session)
        except EdgeError:
            return  # the artifact's own rows say why it does not run
        if reach is not None:
            what = partial(Row, *_what(bundle, artifact, backend), form=artifact.form, device=device)
            status: Status = "PASS" if reach.passed else "FAIL"
            yield what(status, reach.detail, CASE, reach.output, None, reach.seconds)
        return


def _compared(
    bundle: Bundle,
    case: str,
    session: Session,
    allowed: Tolerance,
    what: Callable[..., Row],
    observe: Observe,
) -> Iterator[Row]:
    """Rows of one case: every output that the net has; ``what`` makes one."""
    inputs, expected = bundle.reference(case)
    started = time.perf_counter()
    try:
        outputs = session.run(inputs)
    except EdgeError as failure:
        yield what("FAIL", str(failure), case)
        return
    seconds = time.perf_counter() - started
    seen = session.inner if isinstance(session, TypedSession) else session
    largest = seen.largest_magnitude if isinstance(seen, Watching) else None
    for name, truth in expected.items():
        if name not in outputs:
            yield what("FAIL", f"no output {name}; got {', '.join(outputs)}", case, name)
            continue
        result = compare(truth, outputs[name], tolerance=allowed.max_abs, min_snr_db=allowed.min_snr_db)
        detail = "; ".join(filter(None, (result.reason, session.detail)))
        status: Status = "PASS" if result.passed else "FAIL"
        row = what(status, detail, case, name, result, seconds, largest)
        observe(row, truth, outputs[name])
        yield row


def table(rows: Sequence[Row]) -> str:
    """The rows as text: what ran, its error, the smallest tolerance that passes, and the verdict.

    Of a case with several outputs the worst is shown, by its name: those that failed first, then the lowest
    signal-to-noise ratio.
    """
    groups = _runs(rows)
    several = any(len(group) > 1 for group in groups)
    lines = [("net", "backend", "precision", "case", *_if(several, "worst output"),
              "max abs", "SNR dB", "passes at", "")]  # fmt: skip
    for group in groups:
        row = min(group, key=_rank)
        figures = ("-", "-", "-")
        if c := row.comparison:
            figures = (f"{c.max_abs:.2e}", f"{c.snr_db:.1f}", rounded_up(c.smallest_tolerance))
        told = row.comparison and row.status == "PASS"
        verdict = row.status if told else f"{row.status}: {row.detail}"
        failed = sum(each.status == "FAIL" for each in group)
        if len(group) > 1 and failed:
            verdict += f"; {failed} of {len(group)} outputs fail"
        output = f"{row.output}, of {len(group)}" if len(group) > 1 else row.output
        what = (row.net, row.where, row.bits, row.case or "-", *_if(several, output or "-"))
        lines.append((*what, *figures, verdict))
    return align(lines)


def _runs(rows: Sequence[Row]) -> list[list[Row]]:
    """The outputs of each run together; of two bundles of one net a name that comes again begins another."""
    runs: list[list[Row]] = []
    before: tuple[str, ...] = ()
    for row in rows:
        what = row.net, row.artifact, row.where, row.case
        if what != before or row.output in {each.output for each in runs[-1]}:
            runs.append([])
        runs[-1].append(row)
        before = what
    return runs


def _rank(row: Row) -> tuple[bool, float]:
    """The worst is the smallest."""
    snr_db = row.comparison.snr_db if row.comparison else -math.inf
    return row.status != "FAIL", -math.inf if math.isnan(snr_db) else snr_db


def _if(shown: bool, cell: str) -> tuple[str, ...]:
    return (cell,) if shown else ()


def notes(rows: Sequence[Row]) -> str:
    """What ran, a line for each setting: versions, device, threads, and the case of the largest magnitude."""
    ran: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.comparison:
            ran.setdefault((row.net, row.where, row.bits), []).append(row)
    lines = [
        (*what, max(same, key=lambda row: row.largest_magnitude or 0.0).detail) for what, same in ran.items()
    ]
    return align(lines or [("",)])


def rounded_up(tolerance: float) -> str:
    """Two digits that still pass: 5.22e-6 is 5.3e-06."""
    if not 0 < tolerance < math.inf:
        return f"{tolerance:g}"
    step = 10.0 ** (math.floor(math.log10(tolerance)) - 1)
    return f"{math.ceil(tolerance / step) * step:.1e}"


def align(lines: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell, two spaces apart; the last column may be of any width."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]) - 1)] + [0]
    padded = ("  ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)
