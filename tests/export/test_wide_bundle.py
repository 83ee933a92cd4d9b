"""The bundle of a net with several inputs and outputs of all types, its weights in files of their own."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import MappingProxyType

import coremltools as ct
import numpy as np
import onnxruntime
import pytest
from tests import wide_net

from edge_export import catalog, convert
from edge_export.__main__ import main
from edge_export.backends import get_backend
from edge_export.proof.verify import verify
from edge_runtime.errors import BundleError, ConfigError, InputError
from edge_runtime.pipelines.bundle_net import BundleNet
from edge_runtime.store.bundle import DTYPES, Bundle, is_bundle, open_bundle

CONFIG = wide_net.WideConfig()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("wide") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "NETS", MappingProxyType({**catalog.NETS, "wide": wide_net.NET}))
        return convert.export("wide", out, random=0, external_data=True)


def test_every_artifact_is_proved_on_every_backend(bundle: Bundle) -> None:
    used = {tensor.dtype for tensor in (*bundle.manifest.inputs, *bundle.manifest.outputs)}
    assert used == set(DTYPES)
    proof = verify(bundle)
    assert proof.passed, proof.summary()
    ran = {(row.artifact, row.backend, row.output) for row in proof.rows if row.status == "PASS"}
    for artifact, backend in (("model.onnx", "onnxruntime"), ("model.mlpackage", "mil")):
        assert {output for a, b, output in ran if (a, b) == (artifact, backend)} == {
            "states",
            "winners",
            "loud",
        }
    largest = [row.largest_magnitude for row in proof.rows if row.backend == "mil"]
    assert all(value is not None for value in largest), "the executor's own figures come through"


def test_floats_go_in_and_out_as_float16_where_that_is_asked_for(tmp_path: Path) -> None:
    """Whole numbers and truth values stay; nothing is cast at the ends of the file; verify converts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "NETS", MappingProxyType({**catalog.NETS, "wide": wide_net.NET}))
        made = convert.export("wide", tmp_path / "b", random=0, precisions=["fp16"], io="fp16")
        assert {item.io for item in made.manifest.artifacts} == {"fp16"}
        proof = verify(made)
    assert proof.passed, [row.detail for row in proof.rows if row.status == "FAIL"]
    assert {row.backend for row in proof.rows if row.comparison} >= {"onnxruntime", "openvino", "mil"}
    session = onnxruntime.InferenceSession(made.artifact("onnx", "fp16"), providers=["CPUExecutionProvider"])
    kinds = {
        value.name: value.type.removeprefix("tensor(").removesuffix(")")
        for value in (*session.get_inputs(), *session.get_outputs())
    }
    tensors = (*made.manifest.inputs, *made.manifest.outputs)
    short = {"float32": "float16"}
    assert kinds == {each.name: short.get(each.dtype, each.dtype) for each in tensors}
    package = ct.models.MLModel(str(made.artifact("coreml", "fp16")), skip_model_load=True).get_spec()
    features = (*package.description.input, *package.description.output)
    types = {each.name: each.type.multiArrayType.dataType for each in features}
    assert {types[each.name] for each in tensors if each.dtype in ("float32", "float16")} == {65552}


def test_float16_ends_need_a_float16_artifact(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--io: got fp16 without precision fp16, expected fp32"):
        convert.export("stft", tmp_path / "b", precisions=["fp32"], io="fp16")
    with pytest.raises(ConfigError, match="--io: got fp16 for formant-synthesizer, expected fp32; only its"):
        convert.export("formant-synthesizer", tmp_path / "b", io="fp16")
    with pytest.raises(ConfigError, match="--io: got int8, expected one of fp32, fp16"):
        convert.export("stft", tmp_path / "b", io="int8")


def test_files_beside_an_artifact_are_listed_and_hashed(bundle: Bundle, tmp_path: Path) -> None:
    (data,) = bundle.manifest.artifact("onnx").data
    assert data.path == "model.onnx.data"
    assert data.bytes == (bundle.path / data.path).stat().st_size
    assert bundle.manifest.artifact("onnx").total_bytes > data.bytes
    assert bundle.manifest.artifact("coreml").data == ()
    assert is_bundle(bundle.path)
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    place = copy / data.path
    content = bytearray(place.read_bytes())
    content[100] ^= 1
    place.write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx\.data: got SHA-256 .*damaged"):
        open_bundle(copy)
    place.write_bytes(content[:-1])
    with pytest.raises(BundleError, match=r"model\.onnx\.data: got \d+ bytes, expected \d+ bytes"):
        open_bundle(copy)
    place.unlink()
    with pytest.raises(BundleError, match=r"model\.onnx\.data: got no such file"):
        open_bundle(copy)


@pytest.mark.parametrize("backend", ["onnxruntime", "mil"])
def test_all_outputs_come_by_name_in_the_types_of_the_manifest(bundle: Bundle, backend: str) -> None:
    net = BundleNet(
        bundle,
        "wide",
        takes={"tokens": (1, None), "mask": (1, None), "bias": (1, 16), "offset": (1,)},
        gives={"states": (1, None, 16), "winners": (1, None), "loud": (1, None)},
        backend=get_backend(backend),
        device="cpu",
        threads=1,
        precision="fp32",
    )
    inputs, expected = bundle.reference("n-8")
    results = net.run_all({name: array.tolist() for name, array in inputs.items()})
    for name, array in expected.items():
        assert results[name].dtype == array.dtype
        np.testing.assert_allclose(results[name], array, rtol=0, atol=1e-4)
    if backend == "mil":
        with pytest.raises(InputError, match="tokens: got values from 0 to 4294967296"):
            net.run_all(inputs | {"tokens": np.array([[0, 2**32] * 4])})


def test_the_command_line_asks_for_files_of_their_own(tmp_path: Path) -> None:
    given = ["export", "stft", "--target", "onnx", "--precision", "fp32", "--external-data"]
    assert main([*given, "--out", str(tmp_path / "out")]) == 0
    assert open_bundle(tmp_path / "out").manifest.artifact("onnx").path == "model.onnx"
