"""One case of every operation test of the coremltools wheel; `run.py` alone runs them all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.export.mil.operations import run

# every third of the test functions of coremltools 9.0 that predict; fewer means that the harness lost some
EVERY, FUNCTIONS = 3, 80


def test_a_case_of_every_third_test_passes(tmp_path: Path) -> None:
    out = tmp_path / "outcomes.json"
    command = [
        sys.executable,
        run.__file__,
        "--sample",
        "1",
        "--every",
        str(EVERY),
        "--jobs",
        "2",
        "--out",
        str(out),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    outcomes = json.loads(out.read_text()).values()
    assert result.returncode == 0, result.stdout
    assert sum(outcome["kind"] == "failed" for outcome in outcomes) == 0
    assert sum(outcome["kind"] == "passed" for outcome in outcomes) >= FUNCTIONS


def test_the_report_counts_and_names() -> None:
    failure = {"kind": "failed", "reason": "E   AssertionError"}
    left = {"kind": "left out", "reason": "operation random_normal is not implemented"}
    text = run.report(
        {
            "a/iOS14/test_x.py::T::good[1]": {"kind": "passed", "reason": ""},
            "a/iOS14/test_x.py::T::bad[1]": failure,
            "a/iOS14/test_x.py::T::other[1]": left,
            "a/iOS14/test_x.py::T::other[2]": left,
            "a/iOS14/test_x.py::T::mute": {"kind": "no prediction", "reason": ""},
        }
    )
    assert text.startswith("ran 2, passed 1, failed 1; 1 run no program, 2 left out\n")
    assert "FAILED a/iOS14/test_x.py::T::bad[1]\nE   AssertionError" in text
    assert "left out (operation random_normal is not implemented):\n    iOS14/test_x.py::T::other × 2" in text
