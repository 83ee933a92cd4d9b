"""Core ML packages: equal to torch in the MIL executor, canonical, described, safe.

coremltools' conversion takes seconds; the packages are made once for the file.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests import small_nets
from torch import nn

from edge_export.catalog import NETS
from edge_export.catalog.dynamic_axes import Buckets, Span
from edge_export.mil import Program
from edge_export.to_coreml.exporter import _shape, width_note, without_padding, write_coreml
from edge_runtime.compare import compare
from edge_runtime.store.bundle import Tensor
from edge_runtime.store.targets import sha256_tree
from edge_runtime.version import VERSION

ENCODER = NETS["audio-encoder"]
ENCODER_CONFIG = ENCODER.preset("talking-head")
HIFIGAN = small_nets.NET

# writes the package named on its command line
CHILD = """
import sys
from edge_export.to_coreml.exporter import write_coreml
from tests import small_nets
net, config = small_nets.small_hifigan(), small_nets.CONFIG
write_coreml(net, small_nets.NET, config, sys.argv[1], "fp16", small_nets.AXES)
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("packages")
    for precision in ("fp32", "fp16"):
        write_coreml(
            small_nets.small_hifigan(),
            HIFIGAN,
            small_nets.CONFIG,
            folder / f"{precision}.mlpackage",
            precision,
            small_nets.AXES,
        )
    return {precision: folder / f"{precision}.mlpackage" for precision in ("fp32", "fp16")}


def specification(package: Path) -> Any:
    import coremltools

    return coremltools.models.MLModel(str(package), skip_model_load=True).get_spec()


@pytest.mark.parametrize(("precision", "rounding"), [("fp32", "none"), ("fp16", "none"), ("fp16", "fp16")])
def test_the_saved_package_gives_torchs_numbers(
    packages: dict[str, Path], precision: str, rounding: Any
) -> None:
    net = small_nets.small_hifigan()
    program = Program.open(packages[precision])
    tolerance = HIFIGAN.tolerance[precision]
    for arrays in HIFIGAN.cases(small_nets.CONFIG, small_nets.AXES).values():
        truth = net(torch.from_numpy(arrays["mel"])).numpy()
        audio = program.run(arrays, rounding=rounding)["audio"]
        result = compare(truth, audio, tolerance=tolerance.max_abs, min_snr_db=tolerance.min_snr_db)
        assert result.passed, result
        if precision == "fp32":
            assert result.max_abs < 1e-5


@pytest.mark.parametrize("name", ["causal-tail", "odd-kernels", "blocks-2"])
def test_other_wirings_give_torchs_numbers(tmp_path: Path, name: str) -> None:
    config = small_nets.CONFIGS[name]
    net = small_nets.small_hifigan(config)
    write_coreml(net, HIFIGAN, config, tmp_path / "m.mlpackage", "fp32", small_nets.AXES)
    for arrays in HIFIGAN.cases(config, small_nets.AXES).values():
        audio = Program.open(tmp_path / "m.mlpackage").run(arrays)["audio"]
        result = compare(net(torch.from_numpy(arrays["mel"])).numpy(), audio, tolerance=1e-5)
        assert result.passed, result


def test_audio_encoder_over_batches(tmp_path: Path) -> None:
    net = small_nets.encoder()
    version = write_coreml(net, ENCODER, ENCODER_CONFIG, tmp_path / "m.mlpackage", "fp32")
    assert version == "iOS 16, specification 7"
    program = Program.open(tmp_path / "m.mlpackage")
    assert "batch_norm" not in program.operations
    for arrays in ENCODER.cases(ENCODER_CONFIG, ENCODER.coreml_axes).values():
        truth = net(torch.from_numpy(arrays["mel"])).numpy()
        result = compare(truth, program.run(arrays)["features"], tolerance=1e-5 * float(truth.max()))
        assert result.passed, result
    sizes = specification(tmp_path / "m.mlpackage").description.input[0].type.multiArrayType.shapeRange
    assert [(size.lowerBound, size.upperBound) for size in sizes.sizeRanges] == [
        (1, 64),
        (1, 1),
        (80, 80),
        (16, 16),
    ]


def test_another_process_with_another_hash_seed_writes_the_same_tree(
    packages: dict[str, Path], tmp_path: Path
) -> None:
    """And says nothing meanwhile: coremltools' progress bars and laments are kept away."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "again.mlpackage")],
        env=os.environ | {"PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sha256_tree(tmp_path / "again.mlpackage") == sha256_tree(packages["fp16"])
    assert done.stdout + done.stderr == ""


def test_no_date_no_path_and_the_versions_that_made_it(packages: dict[str, Path], tmp_path: Path) -> None:
    entries = dict(specification(packages["fp16"]).description.metadata.userDefined)
    theirs = {key for key in entries if not key.startswith("edge_export.")}
    assert theirs == {
        f"com.github.apple.coremltools.{key}" for key in ("source", "source_dialect", "version")
    }
    content = (packages["fp16"] / "Data/com.apple.CoreML/model.mlmodel").read_bytes()
    assert str(tmp_path.parent).encode() not in content


def test_names_meanings_and_units_are_in_the_package(packages: dict[str, Path]) -> None:
    description = specification(packages["fp16"]).description
    assert description.metadata.author == "edge-export"
    assert description.metadata.versionString == VERSION
    assert description.metadata.license.startswith("of the weights")
    facts = description.metadata.userDefined
    assert facts["edge_export.net"] == "hifigan"
    assert json.loads(facts["edge_export.sample_rate"]) == small_nets.CONFIG.sampling_rate
    assert json.loads(facts["edge_export.hop_length"]) == small_nets.CONFIG.hop_size
    assert json.loads(facts["edge_export.mel"])["n_fft"] == small_nets.CONFIG.n_fft
    assert description.metadata.shortDescription == f"hifigan: {HIFIGAN.summary}"
    for feature, tensor in [
        (description.input[0], HIFIGAN.inputs(small_nets.CONFIG)[0]),
        (description.output[0], HIFIGAN.outputs(small_nets.CONFIG)[0]),
    ]:
        assert feature.name == tensor.name
        assert tensor.meaning in feature.shortDescription
        assert tensor.unit in feature.shortDescription


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_inputs_and_outputs_are_single_and_shapes_enumerated(
    packages: dict[str, Path], precision: str
) -> None:
    description = specification(packages[precision]).description
    kinds = [feature.type.multiArrayType for feature in (*description.input, *description.output)]
    assert {kind.ArrayDataType.Name(kind.dataType) for kind in kinds} == {"FLOAT32"}
    shapes = [list(shape.shape) for shape in kinds[0].enumeratedShapes.shapes]
    assert sorted(shapes) == [[1, 20, 16], [1, 20, 24]]


def test_transposed_convolutions_have_no_padding(packages: dict[str, Path]) -> None:
    """Pain 3: with custom padding, float16 came out shifted on devices (apple/coremltools#2324)."""
    spec = specification(packages["fp16"])
    (block,) = spec.mlProgram.functions["main"].block_specializations.values()
    constants = {op.outputs[0].name: op.attributes["val"].immediateValue.tensor for op in block.operations}
    transposed = [op for op in block.operations if op.type == "conv_transpose"]
    assert len(transposed) == 3
    for operation in transposed:
        assert "output_shape" not in operation.inputs
        kind = constants[operation.inputs["pad_type"].arguments[0].name].strings.values[0]
        pad = constants[operation.inputs["pad"].arguments[0].name].ints.values
        assert kind == "valid" or not any(pad)
    assert [op.outputs[0].name for op in transposed] == ["ups_0", "ups_1", "ups_2"]


@pytest.mark.parametrize(
    ("kernel", "rate"), [(k, u) for k, u in itertools.product(range(1, 10), range(1, 6)) if k >= u]
)
def test_slicing_is_padding(kernel: int, rate: int) -> None:
    padding, extra = (kernel - rate) // 2, 0
    if (kernel - rate) % 2 and rate > 1:
        padding, extra = padding + 1, 1
    torch.manual_seed(0)
    net = nn.Sequential(nn.ConvTranspose1d(2, 3, kernel, rate, padding, extra))
    x = torch.randn(1, 2, 6)
    before = net(x)
    torch.testing.assert_close(without_padding(net)(x), before)


def test_slicing_is_padding_in_two_dimensions() -> None:
    net = nn.Sequential(nn.ConvTranspose2d(2, 3, (3, 4), (2, 3), (1, 2), (1, 0)))
    x = torch.randn(1, 2, 4, 5)
    before = net(x)
    torch.testing.assert_close(without_padding(net)(x), before)


def test_shapes_of_each_kind() -> None:
    tensor = Tensor("x", "float32", ("batch", 3, "frames"), "", "")
    one = Buckets((1,))
    assert _shape(tensor, {"batch": one, "frames": Buckets((8,))}) == (1, 3, 8)
    enumerated = _shape(tensor, {"batch": Buckets((1, 2)), "frames": Buckets((8, 16))})
    assert sorted(tuple(s.shape) for s in enumerated.shapes) == [(1, 3, 8), (1, 3, 16), (2, 3, 8), (2, 3, 16)]
    batch, three, frames = _shape(tensor, {"batch": Span(2, 9), "frames": one})
    assert (batch.lower_bound, batch.upper_bound, batch.default, three, frames) == (2, 9, 2, 3, 1)
    with pytest.raises(AssertionError, match="does not mix ranges"):
        _shape(tensor, {"batch": Span(2, 9), "frames": Buckets((1, 2))})


def test_the_manifest_warns_of_what_the_neural_engine_does_not_take() -> None:
    """Pain 10: tensors wider than 16384 leave the Neural Engine."""
    config = HIFIGAN.preset("v1")
    note = "above 64 frames (16384 samples, the Neural Engine's widest tensor) on GPU or CPU"
    assert width_note(HIFIGAN, config, HIFIGAN.coreml_axes) == note
    short = {"batch": Buckets((1,)), "frames": Buckets((32, 64))}
    assert width_note(HIFIGAN, config, short) == ""
    assert width_note(ENCODER, ENCODER_CONFIG, ENCODER.coreml_axes) == ""
    for name, above in (("stft", "16384 samples (the"), ("istft", "64 frames (16384 samples, the")):
        net = NETS[name]
        words = width_note(net, net.preset("1024-256"), net.coreml_axes)
        assert words == f"above {above} Neural Engine's widest tensor) on GPU or CPU"


def test_values_are_in_range_for_the_proof_to_mean_something() -> None:
    arrays = HIFIGAN.cases(small_nets.CONFIG, small_nets.AXES)["frames-24"]
    audio = small_nets.small_hifigan()(torch.from_numpy(arrays["mel"])).numpy()
    assert np.std(audio) > 0.05
