"""Runs the operation tests inside the coremltools wheel against our executor.

    run.py                  all of them (each at its lowest iOS, the wheel's default)
    run.py --sample 1       one case of each test function
    run.py --all-targets    each test at every later iOS as well
    run.py -k conv          pytest's own selection

Those tests hold expected outputs computed independently, and compare them with what Core ML predicts on a
Mac. Nothing of them is changed but the prediction: `MLModel.predict` saves the converted package, and our
executor opens and runs it; the wheel's own comparison, at its own tolerances, does the rest. Tests of both
precisions are run: the fp16 ones with rounding after every operation, the fp32 ones without any. (An fp32
test whose program or whose expected values are float16 all the same is compared at the wheel's fp16
tolerance, and so are the few in `COARSE`.)

A test counts as passed only if the executor ran in it. Tests that are not given a compute unit check the
converter alone, and are not collected; what else never predicts is counted apart, and what is left out is
listed with the reason. The wheel's expected failures are run like any other. The exit status is 1 if
anything failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from zlib import crc32

import pytest

TESTS = "converters/mil/mil/ops/tests"

# test function → (what the parameters contain, "" for all of them; why the executor cannot be held to it)
_WORDS = ("", "it expects Core ML's own error, or values that the documentation calls undefined")
EXCLUDED: dict[str, tuple[str, str]] = {
    "iOS14/test_image_resizing.py::TestUpsampleBilinear::test_builder_to_backend_stress": (
        "(0.5, 0.75)-align_corners=False-recompute_scale_factor=False",
        "PyTorch's recompute_scale_factor=False, which the operation does not have (an expected failure)",
    ),
    "iOS15/test_image_resizing.py::TestResample::test_builder_to_backend_smoke": (
        "precision='fp32'",
        "it counts the casts that a conversion to fp16 inserts",
    ),
    "iOS17/test_scatter_gather.py::TestScatter::test_ios17_invalid_indices": _WORDS,
    "iOS17/test_scatter_gather.py::TestScatterAlongAxis::test_ios17_invalid_indices": _WORDS,
    "iOS17/test_scatter_gather.py::TestScatterNd::test_ios17_invalid_indices": _WORDS,
}

# test function → why its fp32 cases are compared at the wheel's fp16 tolerance
COARSE: dict[str, str] = {
    "iOS14/test_normalization.py::TestNormalizationLocalResponseNorm::test_builder_to_backend_smoke": (
        "its values leave out the neighbours, which the stress test beside it takes from PyTorch"
    ),
    "iOS16/test_image_resizing.py::TestCropResize::test_builder_to_backend_ios16": "7.899 stands for 7.9",
    "iOS17/test_image_resizing.py::TestCropResize::test_builder_to_backend_ios17": "7.899 stands for 7.9",
}


_ENOUGH = "enough cases of this function"


class Harness:
    """A pytest plugin: puts the executor in place of Core ML, and keeps the outcome of every test."""

    def __init__(self, sample: int, every: int, shard: int, shards: int) -> None:
        self.sample, self.every, self.shard, self.shards = sample, every, shard, shards
        self.outcomes: dict[str, dict[str, str]] = {}
        self.predictions = 0
        self.unknown = ""
        self.rounding = "none"
        self.function = ""
        self.ran: Counter[str] = Counter()

    def replace_predict(self) -> None:
        """Our executor for `MLModel.predict`, on a machine that says it is a recent Mac."""
        import coremltools as ct
        import coremltools.converters._converters_entry as entry
        import coremltools.models.utils as utils

        from edge_export.mil import Program, UnknownOperationError

        harness = self

        def opened(model: Any) -> Program:
            with tempfile.TemporaryDirectory() as folder:
                path = str(Path(folder) / "model.mlpackage")
                model.save(path)
                return Program.open(path)

        def predict(model: Any, data: dict[str, Any], state: Any = None) -> dict[str, Any]:
            if model.get_spec().WhichOneof("Type") != "mlProgram":
                pytest.skip("it predicts with a neuralNetwork, no ML Program")
            harness.predictions += 1
            program = opened(model)
            feeds = {}
            for name, value in data.items():
                scalar = getattr(value, "shape", None) == (1,) and program.inputs[name].admits(())
                feeds[name] = value[0] if scalar else value  # the wheel gives scalars as vectors of one
            try:
                return program.run(feeds, rounding=harness.rounding, state=state)
            except UnknownOperationError as error:
                harness.unknown = error.got
                raise

        # each conversion collects garbage, which takes longer than the test with 20,000 others in memory
        entry.gc = SimpleNamespace(collect=lambda: 0)
        ct.models.MLModel.predict = predict
        ct.models.MLModel.make_state = lambda model: opened(model).new_state()
        utils._macos_version = lambda: (26, 0)
        import coremltools.converters.mil.testing_utils as testing_utils

        testing_utils._IS_MACOS = True
        import coremltools.converters.mil.mil.ops.tests.testing_utils as operation_testing_utils

        operation_testing_utils.compare_backend = self.comparison(testing_utils.compare_backend)

    def comparison(self, compare: Any) -> Any:
        """The wheel's comparison, at its fp16 tolerance where float16 is at work."""

        def compare_backend(**arguments: Any) -> Any:
            expected = (arguments.get("expected_outputs") or {}).values()
            half = any(str(getattr(value, "dtype", "")) == "float16" for value in expected)
            if half or self.function in COARSE or _holds_fp16(arguments["mlmodel"].get_spec()):
                arguments["dtype"] = "fp16"
            return compare(**arguments)

        return compare_backend

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep what runs a program, and of that this process's share; for a sample in a mixed order."""
        runs = [i for i in items if "compute_unit" in i.nodeid and not _excluded(i.nodeid)]
        if self.sample:
            runs = self._candidates(runs)
        mine = runs[self.shard :: self.shards] if not self.sample else runs
        chosen = set(mine)
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = mine

    def _candidates(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """Of every function of this process's share a few more than wanted: the wheel skips some itself."""
        kept, seen = [], Counter[str]()
        for item in sorted(items, key=lambda item: crc32(item.nodeid.encode())):
            function = _function(item.nodeid)
            seen[function] += 1
            turn, shard = divmod(crc32(function.encode()), self.shards)
            if shard == self.shard and turn % self.every == 0 and seen[function] <= 8 * self.sample:
                kept.append(item)
        return sorted(kept, key=lambda item: _function(item.nodeid))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Each test has its own seed, so that a selection gives the same numbers as the whole."""
        import numpy as np
        import torch

        self.function = _function(item.nodeid)
        if self.sample and self.ran[self.function] >= self.sample:
            pytest.skip(_ENOUGH)
        np.random.seed(crc32(item.nodeid.encode()))  # noqa: NPY002  (the wheel draws from it)
        torch.manual_seed(crc32(item.nodeid.encode()))
        self.predictions, self.unknown = 0, ""
        self.rounding = "fp16" if "precision='fp16'" in item.nodeid else "none"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple) and _ENOUGH in report.longrepr[2]:
            return
        if report.when == "call" or report.outcome != "passed":
            outcome = self._outcome(report)
            self.ran[_function(report.nodeid)] += outcome["kind"] != "left out"
            self.outcomes[report.nodeid] = outcome

    def _outcome(self, report: pytest.TestReport) -> dict[str, str]:
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "skipped"
            return {"kind": "left out", "reason": str(reason).removeprefix("Skipped: ")}
        if self.unknown:
            return {"kind": "left out", "reason": f"{self.unknown} is not implemented"}
        if report.failed and report.when == "call" and not self.predictions:
            last = str(report.longrepr).strip().rpartition("\nE ")[2].strip()
            return {
                "kind": "left out",
                "reason": f"fails in the converter, before any prediction: {last[:100]}",
            }
        if report.failed:
            return {"kind": "failed", "reason": str(report.longrepr)[-2000:]}
        if not self.predictions:
            return {"kind": "no prediction", "reason": "checks the converter alone: no program is run"}
        return {"kind": "passed", "reason": "", "seconds": f"{report.duration:.3f}"}


def _holds_fp16(spec: Any) -> bool:
    """Whether any input of the program, or result of an operation, is float16 (10 in MIL's enumeration)."""
    if any(i.type.tensorType.dataType == 10 for f in spec.mlProgram.functions.values() for i in f.inputs):
        return True
    blocks = [b for f in spec.mlProgram.functions.values() for b in f.block_specializations.values()]
    return any(o.type.tensorType.dataType == 10 for b in blocks for op in b.operations for o in op.outputs)


def _excluded(nodeid: str) -> bool:
    parameters, _ = EXCLUDED.get(_function(nodeid), ("no such parameters", ""))
    return parameters in nodeid


def _function(nodeid: str) -> str:
    """iOS14/test_conv.py::TestConv::test_x[…] → the name without parameters, from the iOS folder on."""
    path, _, rest = nodeid.partition("::")
    return "/".join(Path(path).parts[-2:]) + "::" + rest.partition("[")[0]


def _stub_pillow() -> None:
    """The wheel's helpers import Pillow for pictures, which no operation test uses."""
    try:
        import PIL  # noqa: F401
    except ImportError:
        package, image = ModuleType("PIL"), ModuleType("PIL.Image")
        image.Image = type("Image", (), {})  # type: ignore[attr-defined]
        package.Image = image  # type: ignore[attr-defined]
        sys.modules.update({"PIL": package, "PIL.Image": image})


def run_shard(options: argparse.Namespace, shard: int) -> dict[str, dict[str, str]]:
    """Run one share of the tests in this process."""
    os.environ["PYMIL_TEST_TARGETS"] = "mlprogram"
    os.environ["INCLUDE_MIL_FP32_UNIT_TESTS"] = "1"
    os.environ["RUN_BACKWARD_COMPATIBILITY"] = "1" if options.all_targets else "0"
    os.environ["TQDM_DISABLE"] = "1"
    import coremltools

    _stub_pillow()
    harness = Harness(options.sample, options.every, shard, options.jobs)
    harness.replace_predict()
    folder = str(Path(coremltools.__file__).parent / TESTS)
    arguments = [folder, "-c", os.devnull, "-q", "--no-header", "--no-summary", "--tb=short", "--runxfail"]
    arguments += [
        "-p",
        "no:cacheprovider",
        "-p",
        "no:warnings",
        "-p",
        "no:timeout",
        "--import-mode=importlib",
    ]
    if options.keyword:
        arguments += ["-k", options.keyword]
    pytest.main(arguments, plugins=[harness])
    return harness.outcomes


def run_all(options: argparse.Namespace) -> dict[str, dict[str, str]]:
    """Spread the tests over `--jobs` processes, one thread each, and gather the outcomes."""
    with tempfile.TemporaryDirectory() as folder:
        # coremltools leaves converted packages behind: they go with the folder
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": folder}
        files = [Path(folder) / f"{shard}.json" for shard in range(options.jobs)]
        command = [sys.executable, __file__, *sys.argv[1:]]
        processes = [
            subprocess.Popen(
                [*command, "--shard", str(shard), "--out", str(file)],
                env=environment,
                stdout=subprocess.DEVNULL,
            )
            for shard, file in enumerate(files)
        ]
        for process in processes:
            process.wait()
        outcomes: dict[str, dict[str, str]] = {}
        for file in files:
            outcomes |= json.loads(file.read_text()) if file.exists() else {"a process": _died()}
    return outcomes


def _died() -> dict[str, str]:
    return {"kind": "failed", "reason": "it ended without a result"}


def report(outcomes: dict[str, dict[str, str]]) -> str:
    """The table: counts, then every failure, then what was left out and why."""
    kinds = Counter(outcome["kind"] for outcome in outcomes.values())
    lines = [
        f"ran {kinds['passed'] + kinds['failed']}, passed {kinds['passed']}, failed {kinds['failed']}; "
        f"{kinds['no prediction']} run no program, {kinds['left out']} left out"
    ]
    lines += [
        f"FAILED {name}\n{outcome['reason']}"
        for name, outcome in outcomes.items()
        if outcome["kind"] == "failed"
    ]
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for name, outcome in outcomes.items():
        if outcome["kind"] == "left out":
            reasons[outcome["reason"]][_function(name)] += 1
    for reason, functions in sorted(reasons.items()):
        lines.append(f"left out ({reason}):")
        lines += [f"    {function} × {count}" for function, count in sorted(functions.items())]
    for function, (parameters, reason) in sorted(EXCLUDED.items()):
        lines.append(f"left out ({reason}):\n    {function} {parameters}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="coremltools' operation tests against edge_export.mil")
    parser.add_argument("--sample", type=int, default=0, help="cases of each test function; 0: all")
    parser.add_argument("--every", type=int, default=1, help="of a sample's test functions one in so many")
    parser.add_argument("--all-targets", action="store_true", help="every later iOS too")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("-k", dest="keyword", default="", help="pytest's -k")
    parser.add_argument("--out", type=Path, help="write the outcomes here, as JSON")
    parser.add_argument("--shard", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.shard is not None:
        options.out.write_text(json.dumps(run_shard(options, options.shard)))
        return 0
    outcomes = run_all(options)
    if options.out:
        options.out.write_text(json.dumps(outcomes, indent=1))
    print(report(outcomes))
    return int(any(outcome["kind"] == "failed" for outcome in outcomes.values()))


if __name__ == "__main__":
    raise SystemExit(main())
