"""lint: every rule on an artifact that breaks it and on one that does not (pains 2, 3, 5, 7, 10, 13)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tests.export.mil.handmade import op, write

from edge_export.__main__ import main
from edge_export.catalog import NETS
from edge_export.proof.linting import lint as linting
from edge_export.proof.linting.rules.onnx_runtimes import RUNTIMES
from edge_export.proof.linting.subject import RULES, Finding
from edge_runtime.errors import ConfigError, EdgeError
from edge_runtime.store.bundle import open_bundle

Array = NDArray[Any]
Shape = Sequence[int | None]


def found(linted: linting.Linted, rule: str) -> Finding:
    """The only finding of a rule."""
    (finding,) = [finding for finding in linted.findings if finding.rule == rule]
    return finding


def names(linted: linting.Linted) -> set[str]:
    return {finding.rule for finding in linted.findings}


def package(
    path: Path, operations: Sequence[Any], shape: Sequence[int] = (2, 3), **more: Any
) -> linting.Linted:
    """Lint a package with the input x; its last operation gives y. Nothing runs unless an array is given."""
    values = more.pop("run", None)
    place = write(path / "p.mlpackage", operations, {"x": shape}, ["y"], **more)
    if values is None:
        return linting.lint(place, inputs=linting.Inputs(run=False))
    np.savez(path / "x.npz", x=np.asarray(values, np.float32))
    return linting.lint(place, inputs=linting.Inputs(file=path / "x.npz"))


def half(kind: str, inputs: Mapping[str, Any], output: str = "y", shape: Shape = (2, 3)) -> Any:
    return op(kind, inputs, output, "fp16", shape=shape)


F16 = np.float16


@pytest.mark.parametrize(
    ("rule", "severity", "operations", "words"),
    [
        ("rank-above-5", "error", [op("relu", {"x": "x"}, "y", shape=(1,) * 6)], "tensors of up to 6 axes"),
        (
            "axis-above-16384",
            "warning",
            [half("relu", {"x": "x"}, shape=(1, 16385))],
            "an axis of 16385 in 1",
        ),
        (
            "last-axis-below-32",
            "warning",
            [half("relu", {"x": "x"}, shape=(1, 32768, 1))],
            "2.1 MB with its padding",
        ),
        (
            "large-reshape",
            "note",
            [half("transpose", {"x": "x", "perm": np.array([0], np.int32)}, shape=(1, 1 << 20))],
            "move 2.1 MB",
        ),
        ("softplus", "warning", [half("softplus", {"x": "x"})], "results up to 0"),
        ("logsumexp", "warning", [half("reduce_log_sum_exp", {"x": "x"})], "1 in float16"),
        (
            "log-of-softmax",
            "warning",
            [half("softmax", {"x": "x"}, "p"), half("log", {"x": "p"})],
            "1 logarithms of a softmax",
        ),
        ("exp-range", "note", [half("exp", {"x": "x"})], "results up to 0"),
        (
            "log-range",
            "warning",
            [half("log", {"x": "x", "epsilon": np.float32(1e-9)})],
            "logarithms down to 0",
        ),
        (
            "vanishing-constant",
            "warning",
            [half("add", {"x": "x", "y": np.float32(1e-9)})],
            "between 0 and 3e-8",
        ),
        ("mask-beyond-fp16", "error", [half("add", {"x": "x", "y": np.float32(-1e9)})], "beyond ±65504"),
        ("mask-beyond-fp16", "error", [half("add", {"x": "x", "y": F16(-np.inf)})], "beyond ±65504"),
        (
            "float32-island",
            "warning",
            [
                half("relu", {"x": "x"}, "a"),
                op("sqrt", {"x": "a"}, "b", shape=(2, 3)),
                half("relu", {"x": "b"}),
            ],
            "1 operations in float32 among float16",
        ),
        (
            "conv-transpose-padding",
            "error",
            [half("conv_transpose", {"x": "x", "pad_type": "=custom", "pad": np.array([1, 0], np.int32)})],
            "in float16",
        ),
        (
            "recurrent",
            "warning",
            [half("lstm", {"x": "x", "direction": "=bidirectional"})],
            "1 in both directions",
        ),
        (
            "large-gather",
            "warning",
            [half("gather", {"x": np.zeros((1 << 19, 2), np.float16), "indices": "x"})],
            "a table of 2.1 MB",
        ),
    ],
)
def test_a_package_breaks_a_rule(
    tmp_path: Path, rule: str, severity: str, operations: list[Any], words: str
) -> None:
    finding = found(package(tmp_path, operations), rule)
    assert finding.severity == severity
    assert words in finding.evidence
    assert finding.costs
    assert finding.instead
    assert finding.rests_on.startswith("http")


def test_a_plain_package_breaks_none(tmp_path: Path) -> None:
    operations = [
        half("add", {"x": "x", "y": np.float32(-1e4)}, "a", shape=(1, 64, 64)),
        half("log", {"x": "a", "epsilon": np.float32(1e-45)}, "b", shape=(1, 64, 64)),
        half("conv_transpose", {"x": "b", "pad_type": "=custom", "pad": np.array([1, 1], np.int32)}, "c"),
        half("gather", {"x": np.zeros((4, 2), F16), "indices": "c"}, "d"),
        half("relu", {"x": "d"}, shape=(1, 16384)),
    ]
    linted = package(tmp_path, operations)
    assert linted.findings == ()
    assert linted.passed


@pytest.mark.parametrize(
    ("rule", "kind", "value", "words"),
    [
        ("fp16-overflow", "square", 300.0, "seen: 90000, float16 ends at 65504"),
        ("fp16-headroom", "square", 100.0, "seen: 10000, 6.6 times below"),
        ("fp16-lost", "square", 1e-4, "seen: up to 100.0% of an operation's values"),
        ("softplus", "softplus", 12.0, "seen: results up to 12"),
        ("log-range", "log", 1e-9, "logarithms down to -20.72"),
    ],
)
def test_values_that_were_seen(tmp_path: Path, rule: str, kind: str, value: float, words: str) -> None:
    linted = package(tmp_path, [half(kind, {"x": "x"})], run=np.full((2, 3), value))
    finding = found(linted, rule)
    assert words in finding.evidence
    assert finding.places[0].operation == "y"
    assert linted.passed == (rule in ("fp16-headroom", "fp16-lost", "log-range"))
    mild = package(tmp_path / "mild", [half(kind, {"x": "x"})], run=np.full((2, 3), 2.0))
    assert rule not in names(mild) - {"softplus"}
    assert mild.passed


def test_the_range_is_told_in_numbers(tmp_path: Path) -> None:
    values = np.array([[64.0, 1e-6, 1e-9], [2.0, 3.0, 0.0]])
    linted = package(tmp_path, [half("relu", {"x": "x"})], run=values)
    checked = linted.ranges["p.mlpackage"]
    assert (checked.largest, checked.at) == (64.0, "relu y")
    assert checked.headroom == pytest.approx(1023.5)
    assert checked.subnormal == pytest.approx(2 / 5)
    assert checked.lost == pytest.approx(1 / 5)
    assert "headroom 1.02e+03 times; 40.00% subnormal, 20.000% lost" in str(checked)


@pytest.mark.parametrize(
    ("ranges", "words"), [([(1, 8), (3, 3)], "(1 to 8, 3)"), ([(1, -1), (3, 3)], "without an end")]
)
def test_flexible_inputs(tmp_path: Path, ranges: list[tuple[int, int]], words: str) -> None:
    linted = package(tmp_path, [half("relu", {"x": "x"})], ranges={"x": ranges})
    assert words in found(linted, "dynamic-shapes").evidence
    assert linted.units["p.mlpackage"].counts == {"Neural Engine": 0, "GPU": 1, "CPU": 0}
    fixed = package(tmp_path / "fixed", [half("relu", {"x": "x"})], enumerated={"x": [(2, 3), (4, 3)]})
    assert "dynamic-shapes" not in names(fixed)


def test_the_widest_axis_of_the_longest_input_is_estimated(tmp_path: Path) -> None:
    operations = [half("tile", {"x": "x", "reps": np.array([1, 300], np.int32)}, shape=(1, None))]
    shapes = {"x": [(1, 16), (1, 64)]}
    linted = package(tmp_path, operations, (1, 16), enumerated=shapes, run=np.zeros((1, 16)))
    assert found(linted, "axis-above-16384").evidence.startswith(
        "an axis of 19200 in 1 operations, estimated"
    )


def test_units_are_estimated_with_reasons(tmp_path: Path) -> None:
    operations = [
        half("relu", {"x": "x"}, "a"),
        half("gather", {"x": "a", "indices": np.array([0], np.int32)}, "b"),
        op("sqrt", {"x": "b"}, "c", shape=(2, 3)),
        op("cast", {"x": "c", "dtype": "=fp16"}, "d", "fp16", shape=(2, 3)),
        half("relu", {"x": "d"}),
    ]
    estimate = package(tmp_path, operations).units["p.mlpackage"]
    assert estimate.counts == {"Neural Engine": 2, "GPU": 1, "CPU": 1}
    assert estimate.changes == 3
    assert str(estimate) == (
        "estimate, of 4 operations: Neural Engine 2, GPU 1, CPU 1 (1 gather; 1 in float32; 3 changes)"
    )


# ONNX ------------------------------------------------------------------------------------------------------


def graph(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: Mapping[str, Array] | None = None,
    opset: int = 17,
    ir: int = 8,
    kind: int = TensorProto.FLOAT,
) -> Path:
    place = path / "m.onnx"
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, (1, 4, 8))],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    onnx.save(
        helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir), str(place)
    )
    return place


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


STILL = linting.Inputs(run=False)


def test_versions_of_onnx_files(tmp_path: Path) -> None:
    linted = linting.lint(graph(tmp_path, [node("Relu", "x")], opset=21, ir=10), inputs=STILL)
    assert found(linted, "opset").evidence == "opset 21: onnxruntime 1.18 and later"
    assert "ir-version" not in names(linted)
    newest = linting.lint(graph(tmp_path, [node("Relu", "x")], opset=17, ir=11), inputs=STILL)
    assert found(newest, "ir-version").evidence == "IR version 11: onnxruntime newer than 1.20.1"
    assert "opset" not in names(newest)


def test_what_runtimes_lack_is_a_note_and_an_error_where_asked_for(tmp_path: Path) -> None:
    kernel = np.zeros((4, 4, 3), np.float32)
    nodes = [node("Conv", "x w", "c"), node("Celu", "c")]
    place = graph(tmp_path, nodes, {"w": kernel}, opset=17)
    linted = linting.lint(place, inputs=STILL)
    told = {finding.evidence.split(":")[0]: finding for finding in linted.findings}
    assert set(told) == {"onnxruntime-mobile", "nnapi", "coreml-provider", "tract"}
    assert "without Celu (1); up to opset 15, this is 17" in told["onnxruntime-mobile"].evidence
    assert "1 convolutions of one dimension, it takes two" in told["nnapi"].evidence
    assert linted.passed
    assert not linting.lint(place, inputs=STILL, runtimes=["tract"]).passed
    assert linting.lint(place, inputs=STILL, runtimes=["onnxruntime-web"]).passed
    with pytest.raises(ConfigError, match="--runtime: got tflite, expected one of onnxruntime-mobile"):
        linting.lint(place, runtimes=["tflite"])


def test_operators_that_mnn_lacks(tmp_path: Path) -> None:
    place = graph(tmp_path, [node("Mish", "x", "a"), node("GroupNormalization", "a s s", num_groups=2)],
                  {"s": np.ones(2, np.float32)}, opset=18)  # fmt: skip
    linted = linting.lint(place, inputs=STILL, runtimes=["mnn"])
    (told,) = [finding for finding in linted.findings if finding.severity == "error"]
    assert told.evidence.startswith("mnn: without Mish (1), GroupNormalization (1) — MNNConvert")
    assert linting.lint(graph(tmp_path, [node("Relu", "x")]), inputs=STILL, runtimes=["mnn"]).passed


ZERO, ONE = F16(1e-12), F16(1)  # what float16 makes of an epsilon; and one that it holds


@pytest.mark.parametrize(
    ("nodes", "severity"),
    [
        ([node("Add", "x e", "a"), node("Log", "a")], "warning"),
        ([node("Max", "x e", "a"), node("Transpose", "a", "b"), node("Log", "b")], "warning"),
        ([node("Clip", "x e", "a"), node("Sqrt", "a", "b"), node("Div", "x b")], "warning"),
        ([node("Add", "e x", "a"), node("Reciprocal", "a")], "warning"),
        ([node("Div", "x e")], "error"),
    ],
)
def test_an_epsilon_that_float16_made_zero(
    nodes: list[onnx.NodeProto], severity: str, tmp_path: Path
) -> None:
    """A float16 file holds 1e-12 as 0: there is no epsilon any more, and nothing to see of it."""
    place = graph(tmp_path, nodes, {"e": np.asarray(ZERO)}, kind=TensorProto.FLOAT16)
    assert found(linting.lint(place, inputs=STILL), "vanishing-constant").severity == severity
    held = graph(tmp_path, nodes, {"e": np.asarray(ONE)}, kind=TensorProto.FLOAT16)
    assert "vanishing-constant" not in names(linting.lint(held, inputs=STILL))


def test_zeros_that_protect_nothing_are_no_epsilons(tmp_path: Path) -> None:
    nodes = [node("Add", "x e", "a"), node("Max", "a e", "b"), node("Div", "b o", "c"), node("Sqrt", "c")]
    constants: dict[str, Array] = {"e": np.asarray(ZERO), "o": np.asarray(ONE)}
    place = graph(tmp_path, nodes, constants, kind=TensorProto.FLOAT16)
    assert "vanishing-constant" not in names(linting.lint(place, inputs=STILL))


def test_whole_numbers_and_tables(tmp_path: Path) -> None:
    constants: dict[str, Array] = {"i": np.zeros(2000, np.int64), "t": np.zeros((1 << 18, 2), np.float32)}
    place = graph(tmp_path, [node("Gather", "t i", "g"), node("Add", "x x")], constants)
    linted = linting.lint(place, inputs=STILL)
    assert found(linted, "int64-weights").severity == "warning"
    assert "a table of 2.1 MB" in found(linted, "large-gather").evidence


def test_float16_onnx_files_are_watched(tmp_path: Path) -> None:
    place = graph(tmp_path, [node("Mul", "x x")], kind=TensorProto.FLOAT16)
    np.savez(tmp_path / "x.npz", x=np.full((1, 4, 8), 300, F16))
    linted = linting.lint(place, inputs=linting.Inputs(file=tmp_path / "x.npz"))
    assert not linted.passed
    assert "Mul" in str(found(linted, "fp16-overflow").places[0])


# bundles ---------------------------------------------------------------------------------------------------


def test_a_bundle_is_clean_or_justified(small_hifigan: Path, tmp_path: Path) -> None:
    linted = linting.lint(small_hifigan)
    assert [
        finding for finding in linted.findings if finding.severity != "note" and not finding.justified
    ] == []
    assert set(linted.units) == {"model.mlpackage", "model.fp16.mlpackage"}
    half_range = linted.ranges["model.fp16.mlpackage"]
    assert half_range.cases == open_bundle(small_hifigan).cases
    assert half_range.headroom > 100
    assert "Neural Engine" in str(linted.units["model.fp16.mlpackage"])
    report = tmp_path / "r.json"
    assert main(["lint", str(small_hifigan / "model.fp16.mlpackage"), "--json", str(report)]) == 0
    written = json.loads(report.read_text())
    assert written["passed"] is True
    assert written["units"]["model.fp16.mlpackage"]["estimate"] is True


def test_places_in_a_bundle_name_the_line_of_python(small_hifigan: Path) -> None:
    linted = linting.lint(small_hifigan, inputs=STILL)
    sources = [
        place.source
        for finding in linted.findings
        for place in finding.places
        if finding.artifact == "model.fp16.mlpackage" or finding.artifact == "model.plain.onnx"
    ]
    assert any(re.search(r"hifigan\.py:\d+$", source) for source in sources), linted.findings


def test_a_justified_finding_stays_and_does_not_fail(
    small_hifigan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = dict(NETS) | {
        "hifigan": replace(NETS["hifigan"], justified={"runtimes": "phones run the package"})
    }
    monkeypatch.setattr(linting, "NETS", table)
    linted = linting.lint(small_hifigan / "model.onnx", inputs=STILL, runtimes=["nnapi"])
    finding = next(finding for finding in linted.findings if finding.rule == "runtimes")
    assert finding.severity == "error"
    assert finding.justified == "phones run the package"
    assert linted.passed
    assert "justified: phones run the package" in linting.report(linted)


def test_the_catalogue_justifies_rules_that_exist() -> None:
    for net in NETS.values():
        assert set(net.justified) <= set(RULES)
        assert all(len(reason) > 20 for reason in net.justified.values())


def test_every_rule_has_a_price_a_cure_and_a_source() -> None:
    assert len(RULES) >= 20
    for rule in RULES.values():
        assert rule.costs, rule.name
        assert rule.instead, rule.name
        assert rule.rests_on, rule.name
    assert {rule.family for rule in RULES.values()} == {
        "shapes",
        "precision",
        "memory",
        "layers",
        "onnx_runtimes",
    }
    assert all(runtime.source.startswith("https://") for runtime in RUNTIMES.values())


def test_the_command_fails_on_errors_and_refuses_other_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = write(tmp_path / "p.mlpackage", [op("relu", {"x": "x"}, "y", shape=(1,) * 6)], {"x": (1,)}, ["y"])
    assert main(["lint", str(place), "--no-run"]) == 1
    told = capsys.readouterr().out
    assert "error      p.mlpackage: rank-above-5" in told
    assert "source: https://github.com/apple/coremltools/issues/1723" in told
    assert main(["lint", str(tmp_path / "nothing")]) == 2
    assert "nothing: got no such file" in capsys.readouterr().err
    sound = write(tmp_path / "s.mlpackage", [op("relu", {"x": "x"}, "y", shape=(1,))], {"x": (1,)}, ["y"])
    with pytest.raises(EdgeError, match="--random: got 0"):
        linting.lint(sound, inputs=linting.Inputs(random=0))
