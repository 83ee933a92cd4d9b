"""compare: names, layouts, pictures, states and shapes of artifacts that somebody else wrote (pains 3, 6)."""

from __future__ import annotations

import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tests import tiny_tflite
from tests.export.mil.handmade import op, write

from edge_export.__main__ import main
from edge_export.mil.package import read_model
from edge_export.proof.comparing import compare as comparing
from edge_export.proof.comparing.feeding import Wishes
from edge_runtime.errors import BackendError, ConfigError, EdgeError, EdgeWarning, InputError
from edge_runtime.media.audio import write_wav
from edge_runtime.store.bundle import open_bundle

Array = NDArray[Any]
TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int64": TensorProto.INT64}
WEIGHTS = np.random.default_rng(1).normal(0, 1, (6, 4)).astype(np.float32)


def model(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[str, Any]],
    outputs: dict[str, str],
    constants: dict[str, Array] | None = None,
) -> Path:
    """An ONNX file; outputs are of any shape."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TYPES[kind], shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, TYPES[kind], None) for name, kind in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """x (1, 5, 6) → y = x W (1, 5, 4) and z = tanh(y)."""
    nodes = [node("MatMul", "x w", "y"), node("Tanh", "y", "z")]
    takes = {"x": ("float32", (1, 5, 6))}
    return model(tmp_path / "a.onnx", nodes, takes, {"y": "float32", "z": "float32"}, {"w": WEIGHTS})


def test_the_same_file_passes_at_nothing(plain: Path) -> None:
    result = comparing.compare_artifacts(plain, plain)
    assert result.passed
    assert result.smallest_tolerance == 0
    assert len(result.rows) == 3 * 2
    assert "A: " in result.said[0]


def test_a_transposed_float16_twin_with_other_names(plain: Path, tmp_path: Path) -> None:
    nodes = [
        node("Transpose", "in", "t", perm=[1, 0]),
        node("MatMul", "t w", "y"),
        node("Transpose", "y", "out_1", perm=[1, 0]),
        node("Tanh", "out_1", "out_0"),
    ]
    takes = {"serving_default_in:0": ("float16", (6, 5))}
    nodes[0].input[0] = "serving_default_in:0"
    gives = {"out_0": "float16", "out_1": "float16"}
    twin = model(tmp_path / "b.onnx", nodes, takes, gives, {"w": WEIGHTS.astype(np.float16)})
    result = comparing.compare_artifacts(plain, twin, tolerance=0.05)
    assert result.passed, comparing.table(result)
    assert 1e-5 < result.smallest_tolerance < 0.05
    assert {(row.output) for row in result.rows} == {"y = out_1", "z = out_0"}
    assert all("by values" in row.how and "transposed" in row.how for row in result.rows)
    assert any("transposed (0, 2, 1), squeezed: (6, 5), float16" in line for line in result.said)


def test_what_fails_says_why(plain: Path, tmp_path: Path) -> None:
    nodes = [node("MatMul", "x w", "z"), node("Tanh", "z", "y")]  # exchanged
    takes = {"x": ("float32", (1, 5, 6))}
    wrong = model(tmp_path / "b.onnx", nodes, takes, {"y": "float32", "z": "float32"}, {"w": WEIGHTS})
    result = comparing.compare_artifacts(plain, wrong)
    assert not result.passed
    assert "it would pass if z were taken: are two outputs exchanged?" in result.rows[0].detail
    assert comparing.compare_artifacts(plain, wrong, match={"y": "z", "z": "y"}).passed


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([node("Neg", "x", "y")], "times -1"),
        ([node("Exp", "x", "y")], "as its logarithm"),
        ([node("Transpose", "x", "y", perm=[1, 0])], r"transposed \(1, 0\)"),
        ([node("Mul", "x k", "m"), node("Add", "m k", "y")], "times 0.5 plus -1"),
        ([node("Concat", "c x", "l", axis=1), node("Slice", "l s e a", "y")], "2 later along axis 1"),
    ],
)
def test_guesses_are_told_when_they_hold(tmp_path: Path, nodes: list[onnx.NodeProto], said: str) -> None:
    takes = {"x": ("float32", (6, 6))}
    a = model(tmp_path / "a.onnx", [node("Identity", "x", "y")], takes, {"y": "float32"})
    constants = {
        "k": np.array(2, np.float32), "c": np.zeros((6, 2), np.float32),
        "s": np.array([0]), "e": np.array([6]), "a": np.array([1]),
    }  # fmt: skip
    used = {name for entry in nodes for name in entry.input}
    b = model(
        tmp_path / "b.onnx", nodes, takes, {"y": "float32"},
        {name: array for name, array in constants.items() if name in used},
    )  # fmt: skip
    (row,) = comparing.compare_artifacts(a, b, random=1).rows
    assert row.status == "FAIL"
    assert re.search(said, row.detail), row.detail


def test_enumerated_shapes_are_all_tried(tmp_path: Path) -> None:
    shapes = [(1, 3), (1, 5)]
    package = write(
        tmp_path / "p.mlpackage",
        [op("relu", {"x": "x"}, "y")],
        {"x": (1, 3)},
        ["y"],
        enumerated={"x": shapes},
    )
    takes = {"x": ("float32", ("n", "frames"))}
    a = model(tmp_path / "a.onnx", [node("Relu", "x", "y")], takes, {"y": "float32"})
    result = comparing.compare_artifacts(a, package, random=1)
    assert result.passed
    assert [row.case for row in result.rows] == ["random 0", "random 1"]


def picture_package(path: Path, colour: int) -> Path:
    """out = in / 255 as a picture input, out an array."""
    package = write(
        path, [op("mul", {"x": "image", "y": np.float32(1 / 255)}, "y")], {"image": (1, 3, 4, 6)}, ["y"]
    )
    proto, _ = read_model(package)
    image = proto.description.input[0].type.imageType
    image.width, image.height, image.colorSpace = 6, 4, colour
    (package / "Data/com.apple.CoreML/model.mlmodel").write_bytes(proto.SerializeToString())
    return package


@pytest.mark.parametrize(("colour", "order"), [(20, "RGB"), (30, "BGR")])
@pytest.mark.parametrize("swapped", [False, True])
def test_pictures_are_given_as_arrays(tmp_path: Path, colour: int, order: str, swapped: bool) -> None:
    package = picture_package(tmp_path / "p.mlpackage", colour)
    takes = {"pixels": ("float32", (1, 3, 4, 6))}
    a = model(tmp_path / "a.onnx", [node("Identity", "pixels", "y")], takes, {"y": "float32"})
    result = comparing.compare_artifacts(*((a, package) if swapped else (package, a)), random=1)
    assert result.passed, comparing.table(result)
    assert any(
        f"the picture as {order}, channels first, 0 … 1, the nearest of 6 ways" in s for s in result.said
    )


def stateful(path: Path) -> Path:
    """y = the sum of all x so far, kept in a state (not in an output)."""
    package = write(
        path,
        [
            op("read_state", {"input": "total"}, "before", shape=(2,)),
            op("add", {"x": "before", "y": "x"}, "y", shape=(2,)),
            op("write_state", {"input": "total", "data": "y"}, "ignored", shape=(2,)),
        ],
        {"x": (2,)},
        ["y"],
    )
    proto, _ = read_model(package)
    state = proto.description.state.add(name="total").type.stateType.arrayType
    state.shape.append(2)
    state.dataType = 65568
    function = proto.mlProgram.functions["main"]
    kept = function.inputs.add(name="total").type.stateType.wrappedType.tensorType
    kept.dataType, kept.rank = 11, 1
    kept.dimensions.add().constant.size = 2
    del function.block_specializations["CoreML6"].operations[2].outputs[:]
    (package / "Data/com.apple.CoreML/model.mlmodel").write_bytes(proto.SerializeToString())
    return package


def test_a_state_inside_equals_one_that_is_carried(tmp_path: Path) -> None:
    package = stateful(tmp_path / "p.mlpackage")
    takes = {"x": ("float32", (2,)), "total": ("float32", (2,))}
    a = model(tmp_path / "a.onnx", [node("Add", "total x", "y")], takes, {"y": "float32"})
    carried = comparing.compare_artifacts(package, a, random=4, carry={"total": "y"})
    assert carried.passed, comparing.table(carried)
    fixed = comparing.compare_artifacts(package, a, random=4, wishes=Wishes(given={"total": 0}))
    assert [row.status for row in fixed.rows] == ["PASS", "FAIL", "FAIL", "FAIL"]


def test_sound_is_cut_into_windows(tmp_path: Path) -> None:
    samples = np.sin(np.arange(4000) / 9).astype(np.float32)
    write_wav(tmp_path / "s.wav", samples, 8000, subtype="float32")
    takes = {"sound": ("float32", (1, 1000)), "rate": ("int64", ())}
    nodes = [node("Cast", "rate", "r", to=TensorProto.FLOAT), node("Mul", "sound r", "y")]
    a = model(tmp_path / "a.onnx", nodes, takes, {"y": "float32"})
    wishes = Wishes(given={"rate": 8000})
    result = comparing.compare_artifacts(a, a, audio=tmp_path / "s.wav", wishes=wishes)
    assert [row.case for row in result.rows] == [f"sound {n}" for n in range(4)]
    assert result.passed
    second = {"sound": ("float32", (1, 1000)), "noise": ("float32", (1, 1000))}
    b = model(tmp_path / "b.onnx", [node("Add", "sound noise", "y")], second, {"y": "float32"})
    with pytest.raises(ConfigError, match="2 inputs that could be sound"):
        comparing.compare_artifacts(b, b, audio=tmp_path / "s.wav")


def test_a_bundle_brings_cases_tolerance_and_front_end(small_hifigan: Path, tmp_path: Path) -> None:
    result = comparing.compare_artifacts(small_hifigan / "model.onnx", small_hifigan / "model.fp16.onnx")
    assert result.passed
    assert [row.case for row in result.rows] == list(open_bundle(small_hifigan).cases)
    assert any("tolerance 0.02: that of fp16 in hifigan" in line for line in result.said)
    rate = open_bundle(small_hifigan).manifest.front_end.sample_rate  # type: ignore[union-attr]
    write_wav(tmp_path / "s.wav", 0.5 * np.sin(np.arange(rate) / 9).astype(np.float32), rate)
    spoken = comparing.compare_artifacts(
        small_hifigan / "model.onnx", small_hifigan / "model.mlpackage", audio=tmp_path / "s.wav"
    )
    assert spoken.passed
    assert spoken.rows[0].case == "sound 0"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"random": 0}, "--random: got 0, expected 1 to 10000"),
        ({"random": 1, "audio": "x.wav"}, "inputs: got several"),
        ({"tolerance": -1.0}, "--tolerance: got -1.0"),
        ({"match": {"q": "y"}}, "--match: got q=y"),
        ({"carry": {"q": "y"}}, "--carry: got q"),
        ({"carry": {"x": "q"}}, "--carry: got x=q, expected INPUT=OUTPUT; outputs of A are y, z"),
        ({"wishes": Wishes(lengths={"q": 3})}, "--axis: got q, expected the name of an axis"),
        ({"wishes": Wishes(lengths={"x.1": 3})}, r"--axis x.1: got 3, expected \(1, 5, 6\)"),
        ({"wishes": Wishes(rate=8000)}, "--rate: got 8000, expected --audio"),
        ({"wishes": Wishes(given={"q": 1})}, "--value: got q"),
        ({"inputs": "missing.npz"}, "missing.npz: got no such file"),
    ],
)
def test_wishes_that_are_refused(plain: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(EdgeError, match=said):
        comparing.compare_artifacts(plain, plain, **options)


def test_inputs_that_fit_in_no_layout(plain: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 5, 7), np.float32))
    with pytest.raises(
        InputError, match=r"got float32 of shape \(1, 5, 7\), expected \(1, 5, 6\); no layout fits"
    ):
        comparing.compare_artifacts(plain, plain, inputs=tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", y=np.zeros(3))
    with pytest.raises(InputError, match="got arrays y, expected one named x"):
        comparing.compare_artifacts(plain, plain, inputs=tmp_path / "y.npz")


def test_nothing_of_a_file_is_dropped_in_silence(plain: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.full((1, 5, 6), 2.7, np.float32), mask=np.zeros(3))
    with pytest.warns(EdgeWarning, match="got arrays mask, expected inputs: x; the others are not used"):
        assert comparing.compare_artifacts(plain, plain, inputs=tmp_path / "x.npz").passed
    np.savez(tmp_path / "w.npz", x=np.full((1, 5, 6), 2.7, np.float32))
    takes = {"x": ("int64", (1, 5, 6))}
    whole = model(
        tmp_path / "i.onnx", [node("Cast", "x", "y", to=TensorProto.FLOAT)], takes, {"y": "float32"}
    )
    with pytest.raises(InputError, match="input x: got values that int64 does not hold"):
        comparing.compare_artifacts(plain, whole, inputs=tmp_path / "w.npz")


def test_open_axes_and_whole_numbers_are_asked_for(tmp_path: Path) -> None:
    takes = {"x": ("float32", (1, "frames")), "n": ("int64", (1,))}
    nodes = [node("Cast", "n", "f", to=TensorProto.FLOAT), node("Add", "x f", "y")]
    a = model(tmp_path / "a.onnx", nodes, takes, {"y": "float32"})
    with pytest.raises(ConfigError, match="expected its length: --axis frames=LENGTH"):
        comparing.compare_artifacts(a, a)
    with pytest.raises(ConfigError, match=r"input n: got no value .* expected --value n=NUMBER"):
        comparing.compare_artifacts(a, a, wishes=Wishes(lengths={"frames": 3}))
    assert comparing.compare_artifacts(a, a, wishes=Wishes(lengths={"frames": 3}, given={"n": [4]})).passed


def labels(x: Any) -> Any:
    """As a classifier answers: a label, and probabilities by label."""
    return {"label": "b", "probabilities": {"a": 0.1, "b": 0.7, "c": float(0.2 + 0 * x.sum())}}


def probabilities(x: Any) -> Any:
    return np.array([[0.1, 0.7, 0.2]]) + 0 * x.sum()


def others(x: Any) -> Any:
    return {"label": "c", "probabilities": {"c": 0.2, "b": 0.7, "a": 0.1 + float(0 * x.sum())}}


def test_classifiers_are_compared_by_label_and_probabilities(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones(2))
    answers = {name: f"{__name__}:{name}" for name in ("labels", "probabilities", "others")}
    same = comparing.compare_artifacts(answers["labels"], answers["others"], inputs=tmp_path / "x.npz")
    assert [(row.output, row.status) for row in same.rows] == [("label", "FAIL"), ("probabilities", "PASS")]
    assert same.rows[0].detail == "«c» in place of «b»"
    array = comparing.compare_artifacts(
        answers["probabilities"], answers["labels"], inputs=tmp_path / "x.npz"
    )
    assert [row.status for row in array.rows] == ["PASS", "absent"]


def test_an_output_that_the_second_lacks_fails_unless_it_may(plain: Path, tmp_path: Path) -> None:
    takes = {"x": ("float32", (1, 5, 6))}
    b = model(tmp_path / "b.onnx", [node("MatMul", "x w", "y")], takes, {"y": "float32"}, {"w": WEIGHTS})
    lacking = comparing.compare_artifacts(plain, b, random=1)
    assert [(row.output, row.status) for row in lacking.rows] == [("y", "PASS"), ("z", "FAIL")]
    assert not lacking.passed
    assert "--match z=none" in lacking.rows[1].detail
    allowed = comparing.compare_artifacts(plain, b, random=1, match={"z": "none"})
    assert [(row.output, row.status) for row in allowed.rows] == [("y", "PASS"), ("z", "absent")]
    more = comparing.compare_artifacts(b, plain, random=1)
    for result in (allowed, more):
        assert result.passed
        assert "1 without a counterpart" in result.summary()
    with pytest.raises(ConfigError, match="--match: got q=none"):
        comparing.compare_artifacts(plain, b, random=1, match={"q": "none"})


def test_a_quiet_output_does_not_pass_by_the_default_tolerance(tmp_path: Path) -> None:
    takes = {"x": ("float32", (1, 9))}
    pair = [
        model(
            tmp_path / f"{gain}.onnx", [node("Mul", "x k", "y")], takes, {"y": "float32"},
            {"k": np.array(gain, np.float32)},
        )
        for gain in (1e-4, -1e-4)
    ]  # fmt: skip
    (row,) = comparing.compare_artifacts(*pair, random=1).rows
    assert row.status == "FAIL"
    assert re.search(r"-6.0 dB, .* --tolerance or --min-snr decides", row.detail)
    for limits in ({"tolerance": 1e-3}, {"min_snr_db": -7.0}):
        assert comparing.compare_artifacts(*pair, random=1, **limits).passed  # type: ignore[arg-type]


def test_a_bundle_brings_its_least_ratio(small_hifigan: Path) -> None:
    """A tolerance alone says nothing of nets with several units: 200 Hz beside shares of 1."""
    bundle = open_bundle(small_hifigan)
    artifact = next(each for each in bundle.manifest.artifacts if each.target == "onnx")
    limits = comparing._limits([(bundle, artifact)], None, None)
    assert limits.min_snr_db == bundle.manifest.tolerance[artifact.precision].min_snr_db
    assert f"at least {limits.min_snr_db:g} dB" in limits.source
    assert comparing._limits([(bundle, artifact)], None, 3.0).min_snr_db == 3.0


def test_the_command(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "r.json"
    assert main(["compare", str(plain), str(plain), "--random", "2", "--json", str(report)]) == 0
    assert "all pass at 0" in capsys.readouterr().out
    assert json.loads(report.read_text())["passed"] is True
    takes = {"x": ("float32", (1, 5, 6))}
    nodes = [node("MatMul", "x w", "y"), node("Relu", "y", "z")]
    wrong = model(tmp_path / "b.onnx", nodes, takes, {"y": "float32", "z": "float32"}, {"w": WEIGHTS})
    assert main(["compare", str(plain), str(wrong)]) == 1
    assert "FAIL: max abs" in capsys.readouterr().out
    assert main(["compare", str(plain), "nothing.onnx"]) == 2
    assert "nothing.onnx: got no such file" in capsys.readouterr().err


def test_recordings_are_judged_by_the_gate_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "a.wav", "b.wav", "--tolerance", "3"]) == 2
    assert "--tolerance: got 3.0, expected no such option with two recordings" in capsys.readouterr().err


def test_a_tflite_file_names_the_runtime_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "m.tflite").write_bytes(b"\0\0\0\0TFL3")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(BackendError, match="pip install ai-edge-litert"):
        comparing.compare_artifacts(tmp_path / "m.tflite", tmp_path / "m.tflite")


@pytest.mark.skipif(find_spec("ai_edge_litert") is None, reason="LiteRT is not here")
def test_a_tflite_file_is_compared_with_its_onnx_twin(tmp_path: Path) -> None:
    """By its signature's names; a weight that differs is found."""
    offsets = np.linspace(0, 1, 4, dtype=np.float32)
    lite = tiny_tflite.write(tmp_path / "m.tflite", WEIGHTS.T, offsets)
    nodes = [node("MatMul", "x w", "h"), node("Add", "h b", "i"), node("Tanh", "i", "y")]
    takes = {"x": ("float32", (1, 6))}
    other = WEIGHTS.copy()
    other[1, 3] += 0.1
    same, wrong = (
        model(tmp_path / f"{n}.onnx", nodes, takes, {"y": "float32"}, {"w": weights, "b": offsets})
        for n, weights in enumerate((WEIGHTS, other))
    )
    result = comparing.compare_artifacts(lite, same)
    assert result.passed
    assert result.smallest_tolerance < 1e-6
    assert "LiteRT " in result.said[0]
    assert not comparing.compare_artifacts(lite, wrong).passed
