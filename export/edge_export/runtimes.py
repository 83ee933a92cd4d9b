"""Which runtime loads which artifact, and with which error: the table of docs/runtimes.md.

    python -m edge_export.runtimes BUNDLE... [--python VENV/bin/python] [--runtime NAME] [--json FILE]

Every ONNX file of the bundles is run on its first reference case by every runtime, each in a process of its
own (`edge_export.proof.runtime_trials`), and its outputs compared with the PyTorch net's. Packages of the
runtimes contradict ours and one another (onnx2tf wants another numpy), so `--python` names the interpreter of
a virtual environment that has them:

    python -m venv rt && rt/bin/pip install MNN ncnn pnnx tract ai-edge-litert onnx2tf onnx tf_keras
    npm install onnxruntime-web                   # EDGE_ORT_WEB=…/node_modules/onnxruntime-web

A runtime that is not there is listed as absent. Two columns are checks of operators without a run: what
onnxruntime's own tool says of its Core ML provider on phones, at fixed shapes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edge_export.proof import runtime_trials
from edge_export.proof.runtime_trials import RUNS
from edge_export.proof.verify import align
from edge_runtime.compare import compare
from edge_runtime.errors import BundleError, ConfigError
from edge_runtime.store.bundle import Artifact, Bundle, open_bundle

OURS = ("onnxruntime", "openvino")  # installed beside edge-export
MOBILE = "Core ML provider"
LONGEST = 180  # seconds of a trial, conversion included


@dataclass(frozen=True)
class Trial:
    """One artifact on one runtime. ``verdict``: runs, wrong (beyond the tolerance), refused, or absent."""

    net: str
    artifact: str
    kind: str
    runtime: str
    verdict: str
    max_abs: float | None
    detail: str

    @property
    def cell(self) -> str:
        """For the table: the error where it runs."""
        if self.max_abs is None:
            return self.verdict
        return f"{self.max_abs:.1e}" if self.verdict == "runs" else f"{self.verdict}: {self.max_abs:.1e}"


def try_runtimes(
    bundles: Sequence[str | Path], runtimes: Sequence[str] = tuple(RUNS), python: str = sys.executable
) -> list[Trial]:
    """Run every ONNX file of the bundles on every runtime.

    Args:
        bundles: folders.
        runtimes: names in `runtime_trials.RUNS`.
        python: the interpreter for runtimes other than onnxruntime and OpenVINO, which run in this one's.

    Raises:
        ConfigError: an unknown runtime.
        BundleError: a damaged bundle, or one without reference cases.
    """
    if unknown := set(runtimes) - set(RUNS):
        raise ConfigError("--runtime", got=", ".join(sorted(unknown)), expected=f"some of {', '.join(RUNS)}")
    trials = []
    for path in bundles:
        bundle = open_bundle(path)
        if not bundle.cases:
            raise BundleError(str(path), got="no reference cases", expected="one, to run every runtime on")
        for artifact in bundle.manifest.artifacts:
            if artifact.target == "onnx":
                trials += [_try(bundle, artifact, name, python) for name in runtimes]
                trials.append(_mobile(bundle, artifact))
    return trials


def _try(bundle: Bundle, artifact: Artifact, runtime: str, python: str) -> Trial:
    what = (bundle.manifest.net, artifact.path, artifact.kind.removeprefix("onnx "), runtime)
    inputs, expected = bundle.reference(bundle.cases[0])
    if artifact.io == "fp16":
        inputs = {
            name: array.astype(np.float16) if array.dtype == np.float32 else array
            for name, array in inputs.items()
        }
    with tempfile.TemporaryDirectory() as folder:
        given, results = Path(folder, "inputs.npz"), Path(folder, "outputs.npz")
        np.savez(given, __outputs__=np.array(list(expected)), **inputs)  # type: ignore[arg-type]
        program = sys.executable if runtime in OURS else python
        model = bundle.path / artifact.path
        # isolated: python would search the program's folder, where modules are named as its own
        command = [program, "-I", runtime_trials.__file__, runtime, str(model), str(given), str(results)]
        # rust's backtraces hide its message
        environment = os.environ | {"RUST_BACKTRACE": "0", "TF_CPP_MIN_LOG_LEVEL": "3"}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, env=environment, timeout=LONGEST
            )
        except subprocess.TimeoutExpired:
            return Trial(*what, "refused", None, f"not done after {LONGEST} s")
        if done.returncode:
            reason = _telling(done)
            absent = "No module named" in reason or "Cannot find module" in reason or "'node'" in reason
            return Trial(*what, "absent" if absent else "refused", None, reason)
        tolerance = bundle.manifest.tolerance[artifact.precision]
        with np.load(results) as found:
            errors = [_error(truth, found[name], tolerance.max_abs) for name, truth in expected.items()]
    worst = max(error for error, _ in errors)
    verdict = "runs" if all(passed for _, passed in errors) else "wrong"
    ran = next(line for line in done.stdout.splitlines() if line.startswith(runtime_trials.RAN))
    return Trial(*what, verdict, worst, ran.removeprefix(runtime_trials.RAN))


def _error(truth: np.ndarray, found: np.ndarray, tolerance: float) -> tuple[float, bool]:
    """Largest error, and whether it is within the tolerance; channels may have become the last axis."""
    if found.shape != truth.shape and found.ndim == truth.ndim and found.size == truth.size:
        found = np.moveaxis(found, -1, 1)
    if found.size == truth.size:
        found = found.reshape(truth.shape)
    result = compare(truth.astype(np.float32), found, tolerance=tolerance)
    return result.max_abs, result.passed


def _telling(done: subprocess.CompletedProcess[str]) -> str:
    """The sentence of a failed process."""
    if done.returncode < 0:
        return f"its process ended by signal {-done.returncode}"
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [index for index, line in enumerate(lines) if re.match(r"[\w.]*(Error|Exception)\b", line)]
    start = errors[-1] if errors else max(0, len(lines) - 1)
    return " ".join(lines[start : start + 6])[:300] or "no message"


def _mobile(bundle: Bundle, artifact: Artifact) -> Trial:
    """What onnxruntime's tool says of its Core ML provider: operators alone, nothing is run."""
    what = (bundle.manifest.net, artifact.path, artifact.kind.removeprefix("onnx "), MOBILE)
    module = "onnxruntime.tools.check_onnx_model_mobile_usability"
    command = [sys.executable, "-m", module, str(bundle.path / artifact.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = re.findall(
        r"with a total of (\d+)/(\d+) nodes can be handled by the CoreML MLProgram", done.stdout + done.stderr
    )
    if not said:
        return Trial(*what, "absent", None, _telling(done))
    taken, nodes = said[-1]  # the last figures are those of fixed shapes
    return Trial(*what, f"{taken} of {nodes} nodes", None, "checked by operators, not run")


def table(trials: Sequence[Trial]) -> str:
    """A line for each artifact, a column for each runtime; what was refused, and why, below."""
    runtimes = list(dict.fromkeys(trial.runtime for trial in trials))
    lines: list[tuple[str, ...]] = [("net", "artifact", *runtimes)]
    cells = {(trial.net, trial.artifact, trial.runtime): trial.cell for trial in trials}
    for net, artifact in dict.fromkeys((trial.net, trial.artifact) for trial in trials):
        lines.append((net, artifact, *(cells.get((net, artifact, name), "-") for name in runtimes)))
    reasons = [
        (f"{trial.net} {trial.artifact}", trial.runtime, trial.detail)
        for trial in trials
        if trial.verdict in ("refused", "wrong")
    ]
    ran = sorted({trial.detail for trial in trials if trial.verdict == "runs"})
    return "\n\n".join(filter(None, (align(lines), align(reasons) if reasons else "", "\n".join(ran))))


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: prints the table."""
    parser = argparse.ArgumentParser(description="Which runtime loads which artifact.")
    parser.add_argument("bundle", nargs="+", type=Path)
    parser.add_argument(
        "--python", default=sys.executable, help="interpreter that has the runtimes' packages"
    )
    parser.add_argument("--runtime", action="append", help=f"of {', '.join(RUNS)}; all if not given")
    parser.add_argument("--json", type=Path, help="write the rows as JSON too")
    given = parser.parse_args(arguments)
    trials = try_runtimes(given.bundle, given.runtime or tuple(RUNS), given.python)
    print(table(trials))
    if given.json:
        given.json.write_text(json.dumps([asdict(trial) for trial in trials], indent=2) + "\n")


if __name__ == "__main__":
    main()
