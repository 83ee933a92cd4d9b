"""float16 as devices compute it, which no runtime on a processor shows.

onnxruntime computes most of a float16 ONNX file in float32 on processors: what overflows in between is never
seen there, and the sound is right. Judged beside the sound, therefore:

    range     every inner value on the judged speech, as lint sees them: none beyond 65504     `range_of`
    executor  the smallest reference case in the ONNX reference evaluator, which rounds every result as the
              file says, within the manifest's tolerance                                       `executed`

Core ML packages run in our executor, which rounds too and names the first overflow (`overflow_of`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from edge_export.backends import get_backend
from edge_export.catalog import NETS
from edge_export.proof.artifacts import open_runnable
from edge_export.proof.gates.measures import Figures
from edge_export.proof.linting.examining import examine
from edge_export.proof.linting.lint import RULES
from edge_export.proof.linting.rules.precision import LARGEST
from edge_export.proof.linting.subject import Subject
from edge_export.proof.verify import Watching
from edge_runtime.backends.artifacts import TypedSession, open_artifact
from edge_runtime.backends.base import Session
from edge_runtime.compare import compare
from edge_runtime.errors import EdgeError
from edge_runtime.store.bundle import HALF_ARITHMETIC, Artifact, Bundle, Target

RANGE = "float16 range"  # stands in place of a backend
RULE = "fp16-overflow"
RUNS = "onnxruntime"  # shows inner values
EXECUTOR = "onnx-reference"


def is_judged(bundle: Bundle, artifact: Artifact, target: Target = "onnx") -> bool:
    """Whether an artifact of this target computes in float16, and its net has no excuse."""
    net = NETS.get(bundle.manifest.net)
    excused = net is not None and RULE in net.justified
    return artifact.target == target and artifact.precision in HALF_ARITHMETIC and not excused


def range_of(path: Path, inputs: Mapping[str, NDArray[Any]]) -> tuple[Figures, list[str]]:
    """The largest inner value of an ONNX file and its headroom, and what overflows, in words.

    Raises:
        EdgeError: the file does not run.
    """
    runnable = open_runnable(path, backends=[RUNS])
    types = {port.name: port.dtype for port in runnable.inputs}
    given = {name: values.astype(types[name]) for name, values in inputs.items()}
    seen, _ = examine(runnable, [("speech", given)])
    subject = Subject(path.name, runnable, runnable.operations, seen)
    largest = max((record.largest for record in seen.values()), default=0.0)
    figures: Figures = {"largest": largest, "headroom": LARGEST / largest if largest else math.inf}
    return figures, [
        f"{finding.rule} at {finding.places[0]}: {finding.evidence}"
        for finding in RULES[RULE].findings(subject)
    ]


def overflow_of(session: Session) -> list[str]:
    """What the last run of a session that records inner values overflowed at, in words."""
    inner = session.inner if isinstance(session, TypedSession) else session
    if not isinstance(inner, Watching) or math.isfinite(inner.largest_magnitude):
        return []
    return [f"{RULE}: {session.detail}"]


def executed(bundle: Bundle, artifact: Artifact) -> list[str]:
    """What the reference evaluator makes of the smallest reference case, where that fails.

    The operation is named where the bundle holds a float32 ONNX file to search against.
    """
    library = get_backend(EXECUTOR)
    if not is_judged(bundle, artifact) or library.unavailable():
        return []
    case = min(bundle.cases, key=lambda name: sum(a.size for a in bundle.reference(name)[0].values()))
    inputs, expected = bundle.reference(case)
    allowed = bundle.manifest.tolerance[artifact.precision]
    try:
        outputs = open_artifact(bundle, artifact, library).run(inputs)
    except EdgeError as failure:
        return [str(failure)]
    results = {
        name: compare(truth, outputs[name], tolerance=allowed.max_abs, min_snr_db=allowed.min_snr_db)
        for name, truth in expected.items()
    }
    wrong = {name: result.reason for name, result in results.items() if not result.passed}
    if not wrong:
        return []
    told = "; ".join(f"{name}: {reason}" for name, reason in wrong.items())
    return [f"case {case} in float16 arithmetic, {told}{_culprit(bundle, artifact, case)}"]


def _culprit(bundle: Bundle, artifact: Artifact, case: str) -> str:
    """Where that begins, as a clause; "" where nothing can tell."""
    from edge_export.proof.bisect.nets import bisect

    try:
        found = bisect(bundle, against="onnx-fp32", case=case, artifacts=[artifact.path])
    except EdgeError:
        return ""
    culprit = found.worst.found.culprit
    return f"; it begins at {culprit.main.place}" if culprit else ""
