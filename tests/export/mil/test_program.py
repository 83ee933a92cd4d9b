"""Running saved packages: hand-written ones for every rule, converted ones against PyTorch."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.export.mil.handmade import block, op, save, write

from edge_export.mil import Program, UnknownOperationError
from edge_export.mil.proto import model_class
from edge_runtime.errors import BackendError, BundleError, ConfigError, InputError


def _double(tmp_path: Path, dtype: str = "fp32", factor: float = 2.0) -> Program:
    """y = factor * x."""
    operations = [op("mul", {"x": "x", "y": np.array(factor, np.float32)}, "y", dtype, shape=(2,))]
    return Program.open(write(tmp_path / "p.mlpackage", operations, {"x": (2,)}, ["y"]))


class TestRun:
    def test_gives_outputs_by_name_as_float32(self, tmp_path: Path) -> None:
        result = _double(tmp_path).run({"x": [1.0, -2.0]})
        assert result.keys() == {"y"}
        assert result["y"].dtype == np.float32
        np.testing.assert_array_equal(result["y"], [2.0, -4.0])

    def test_an_unknown_rounding_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="rounding: got bf16, expected none or fp16"):
            _double(tmp_path).run({"x": [1.0, 2.0]}, rounding="bf16")

    def test_a_missing_input_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"p.mlpackage: got no input x, expected x \(2,\)"):
            _double(tmp_path).run({})

    def test_an_unexpected_input_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"got the input z, expected x \(2,\)"):
            _double(tmp_path).run({"x": [1.0, 2.0], "z": [1.0]})

    def test_a_shape_that_is_not_admitted_is_refused(self, tmp_path: Path) -> None:
        package = write(
            tmp_path / "p.mlpackage",
            [op("relu", {"x": "mel"}, "y", shape=(1, None))],
            {"mel": (1, 32)},
            ["y"],
            enumerated={"mel": [(1, 32), (1, 64)]},
        )
        program = Program.open(package)
        assert program.run({"mel": np.ones((1, 64))})["y"].shape == (1, 64)
        with pytest.raises(InputError, match=r"got shape \(1, 48\), expected \(1, 32\) or \(1, 64\)"):
            program.run({"mel": np.ones((1, 48))})

    def test_ranges_of_lengths(self, tmp_path: Path) -> None:
        package = write(
            tmp_path / "p.mlpackage",
            [op("relu", {"x": "x"}, "y", shape=(None, 3))],
            {"x": (1, 3)},
            ["y"],
            ranges={"x": [(1, 4), (3, 3)]},
        )
        program = Program.open(package)
        assert program.run({"x": np.ones((4, 3))})["y"].shape == (4, 3)
        with pytest.raises(InputError, match=r"got shape \(5, 3\), expected \(1 to 4, 3\)"):
            program.run({"x": np.ones((5, 3))})

    def test_counts_operations_nested_ones_included(self, tmp_path: Path) -> None:
        branch = block([op("relu", {"x": "x"}, "z", shape=(2,))], ["z"])
        operations = [
            op("relu", {"x": "x"}, "a", shape=(2,)),
            op("cond", {"pred": True}, "y", blocks=[branch, branch], shape=(2,)),
        ]
        program = Program.open(write(tmp_path / "p.mlpackage", operations, {"x": (2,)}, ["y"]))
        assert program.operations == {"cond": 1, "relu": 3}


class TestRefusals:
    def test_an_unknown_operation_is_named_with_its_place(self, tmp_path: Path) -> None:
        branch = block([op("telepathy", {"x": "x"}, "thought")], ["thought"])
        operations = [op("cond", {"pred": True}, "y", blocks=[branch, branch])]
        program = Program.open(write(tmp_path / "p.mlpackage", operations, {"x": (2,)}, ["y"]))
        with pytest.raises(
            UnknownOperationError,
            match="telepathy thought in main / cond y: got operation telepathy, expected one of the",
        ):
            program.run({"x": [1.0, 2.0]})

    def test_an_unknown_argument_is_named(self, tmp_path: Path) -> None:
        operations = [op("relu", {"x": "x", "hardness": 3.0}, "y")]
        program = Program.open(write(tmp_path / "p.mlpackage", operations, {"x": (2,)}, ["y"]))
        with pytest.raises(UnknownOperationError, match="relu y in main: got argument hardness, expected x"):
            program.run({"x": [1.0, 2.0]})

    def test_arguments_that_do_not_fit_are_a_sentence(self, tmp_path: Path) -> None:
        operations = [op("add", {"x": "x", "y": np.zeros(3, np.float32)}, "z", shape=(2,))]
        program = Program.open(write(tmp_path / "p.mlpackage", operations, {"x": (2,)}, ["z"]))
        with pytest.raises(BackendError, match="add z in main: got operands could not be broadcast"):
            program.run({"x": [1.0, 2.0]})

    def test_a_program_without_a_main_function_is_refused(self, tmp_path: Path) -> None:
        model = model_class()()
        model.mlProgram.functions["encode"].opset = "CoreML6"
        with pytest.raises(BundleError, match="got the functions encode, expected a function main"):
            Program.open(save(tmp_path / "p.mlpackage", model))

    def test_a_program_without_its_block_is_refused(self, tmp_path: Path) -> None:
        model = model_class()()
        model.mlProgram.functions["main"].opset = "CoreML6"
        with pytest.raises(BundleError, match="got nothing, expected a block for its operation set CoreML6"):
            Program.open(save(tmp_path / "p.mlpackage", model))

    def test_a_truncated_weight_file_is_refused_on_opening(self, converted: Path, tmp_path: Path) -> None:
        package = shutil.copytree(converted, tmp_path / "cut.mlpackage")
        weights = package / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
        weights.write_bytes(weights.read_bytes()[:-100])
        with pytest.raises(BundleError, match=r"cut\.mlpackage: weight\.bin: got \d+ bytes, expected"):
            Program.open(package)

    def test_a_truncated_model_is_refused_on_opening(self, converted: Path, tmp_path: Path) -> None:
        package = shutil.copytree(converted, tmp_path / "cut.mlpackage")
        model = package / "Data" / "com.apple.CoreML" / "model.mlmodel"
        model.write_bytes(model.read_bytes()[:1000])
        with pytest.raises(BundleError, match=r"cut\.mlpackage: model\.mlmodel: got bytes that are no"):
            Program.open(package)


class TestRounding:
    third = np.float32(1 / 3)

    def test_none_leaves_fp16_results_as_they_are(self, tmp_path: Path) -> None:
        result = _double(tmp_path, "fp16").run({"x": [self.third, 1.0]})["y"]
        assert result[0] == 2 * self.third

    def test_fp16_rounds_results_that_are_declared_so(self, tmp_path: Path) -> None:
        result = _double(tmp_path, "fp16").run({"x": [self.third, 1.0]}, rounding="fp16")["y"]
        assert result[0] == np.float32(np.float16(2 * self.third))

    def test_fp16_leaves_fp32_results_as_they_are(self, tmp_path: Path) -> None:
        result = _double(tmp_path, "fp32").run({"x": [self.third, 1.0]}, rounding="fp16")["y"]
        assert result[0] == 2 * self.third

    def test_fp16_inputs_are_rounded_too(self, tmp_path: Path) -> None:
        operations = [op("cast", {"x": "x", "dtype": "=fp32"}, "y", shape=(1,))]
        package = write(tmp_path / "p.mlpackage", operations, {"x": (1,)}, ["y"], dtype="fp16")
        program = Program.open(package)
        assert program.run({"x": [self.third]}, rounding="fp16")["y"][0] == np.float32(np.float16(self.third))
        assert program.run({"x": [self.third]}, rounding="none")["y"][0] == self.third

    def test_whole_numbers_are_exact(self, tmp_path: Path) -> None:
        operations = [op("add", {"x": "x", "y": np.array(1)}, "y", "int32", shape=(1,))]
        package = write(tmp_path / "p.mlpackage", operations, {"x": (1,)}, ["y"], dtype="int32")
        result = Program.open(package).run({"x": [2**24]}, rounding="fp16")["y"]
        assert result.dtype == np.int32
        assert result[0] == 2**24 + 1


class TestReport:
    def test_the_first_overflow_is_named(self, tmp_path: Path) -> None:
        operations = [
            op("mul", {"x": "x", "y": np.array(10.0, np.float32)}, "calm", "fp16", shape=(2,)),
            op("square", {"x": "calm"}, "burst", "fp16", shape=(2,)),
            op("square", {"x": "burst"}, "later", "fp16", shape=(2,)),
        ]
        program = Program.open(write(tmp_path / "p.mlpackage", operations, {"x": (2,)}, ["later"]))
        result = program.run({"x": [30.0, 1.0]}, rounding="fp16")["later"]
        overflow = program.report.overflow
        assert overflow is not None
        assert (overflow.operation, overflow.output, overflow.value) == ("square", "burst", 90000.0)
        assert program.report.largest == {"x": 30.0, "calm": 300.0, "burst": 90000.0, "later": math.inf}
        np.testing.assert_array_equal(result, [math.inf, 10000.0])

    def test_without_rounding_the_same_is_beyond_fp16_but_no_overflow(self, tmp_path: Path) -> None:
        program = _double(tmp_path, "fp16", factor=40000.0)
        program.run({"x": [2.0, -1.0]})
        assert program.report.overflow is None
        assert program.report.beyond_fp16() == {"y": 80000.0}

    def test_65504_is_no_overflow_and_65520_is(self, tmp_path: Path) -> None:
        program = _double(tmp_path, "fp16", factor=1.0)
        for value, overflows in ((65504.0, False), (65519.0, False), (65520.0, True)):
            program.run({"x": [value, 0.0]}, rounding="fp16")
            # an input that is declared fp32 is not rounded, so the overflow is the operation's
            assert (program.report.overflow is not None) is overflows

    def test_an_input_can_be_too_large(self, tmp_path: Path) -> None:
        operations = [op("cast", {"x": "x", "dtype": "=fp32"}, "y", shape=(1,))]
        package = write(tmp_path / "p.mlpackage", operations, {"x": (1,)}, ["y"], dtype="fp16")
        program = Program.open(package)
        program.run({"x": [-1e6]}, rounding="fp16")
        assert str(program.report.overflow) == "input x reached 1e+06"

    def test_an_infinity_that_came_in_is_no_overflow(self, tmp_path: Path) -> None:
        program = _double(tmp_path, "fp16")
        program.run({"x": [-math.inf, 1.0]}, rounding="fp16")
        assert program.report.overflow is None

    def test_the_first_nan_is_named(self, tmp_path: Path) -> None:
        operations = [
            op("sqrt", {"x": "x"}, "root", shape=(2,)),
            op("relu", {"x": "root"}, "y", shape=(2,)),
        ]
        program = Program.open(write(tmp_path / "p.mlpackage", operations, {"x": (2,)}, ["y"]))
        program.run({"x": [-1.0, 4.0]})
        event = program.report.not_a_number
        assert event is not None
        assert (event.operation, event.output) == ("sqrt", "root")
        assert math.isnan(program.report.largest["y"])

    def test_each_run_has_its_own_report(self, tmp_path: Path) -> None:
        program = _double(tmp_path)
        program.run({"x": [100.0, 0.0]})
        program.run({"x": [1.0, 0.0]})
        assert program.report.largest == {"x": 1.0, "y": 2.0}
        assert program.report.peak == ("y", 2.0)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
class TestConverted:
    """A small vocoder: dilated, strided, transposed and grouped convolutions, tanh; two admitted lengths."""

    def test_equals_pytorch(self, small_vocoder: dict[str, Path], precision: str) -> None:
        folder = small_vocoder[precision]
        program = Program.open(folder)
        for frames in (8, 16):
            data = np.load(folder.parent / f"{frames}.npz")
            result = program.run({"mel": data["mel"]})["wav"]
            limit = 1e-6 if precision == "fp32" else 2e-4  # fp16: the weights are rounded
            np.testing.assert_allclose(result, data["wav"], atol=limit)

    def test_fp16_rounding_stays_near(self, small_vocoder: dict[str, Path], precision: str) -> None:
        folder = small_vocoder[precision]
        data = np.load(folder.parent / "16.npz")
        result = Program.open(folder).run({"mel": data["mel"]}, rounding="fp16")["wav"]
        error = np.abs(result - data["wav"]).max()
        assert bool(error < 1e-6) is (precision == "fp32")
        assert error < 2e-3

    def test_refuses_other_lengths(self, small_vocoder: dict[str, Path], precision: str) -> None:
        program = Program.open(small_vocoder[precision])
        with pytest.raises(InputError, match=r"got shape \(1, 6, 12\), expected \(1, 6, 8\) or \(1, 6, 16\)"):
            program.run({"mel": np.zeros((1, 6, 12))})
