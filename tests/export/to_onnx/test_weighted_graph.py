"""Weights apart from their graph: the same numbers inside of the file and beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from tests import wide_net

from edge_export.backends import get_backend
from edge_export.to_onnx.exporter import build_graph, write_onnx
from edge_export.to_onnx.weighted_graph import DATA_SUFFIX, PAGE, WeightedGraph
from edge_export.tracing.norm_folding import folded
from edge_runtime.store.bundle import Precision

CONFIG = wide_net.WideConfig()
NET = wide_net.NET


@pytest.fixture(scope="module")
def module() -> wide_net.Wide:
    return wide_net.random_wide(CONFIG)


@pytest.fixture(scope="module")
def graph(module: wide_net.Wide) -> WeightedGraph:
    return build_graph(folded(module), NET, CONFIG)


def truth(module: wide_net.Wide) -> dict[str, np.ndarray]:
    case = NET.cases(CONFIG, {})["n-8"]
    values = module(*(torch.from_numpy(array) for array in case.values()))
    return {spec.name: value.numpy() for spec, value in zip(NET.outputs(CONFIG), values, strict=True)}


def test_weights_share_the_memory_of_the_module(graph: WeightedGraph, module: wide_net.Wide) -> None:
    state = module.state_dict()
    large = {name for name, tensor in state.items() if tensor.numel() > 64}
    assert set(graph.weights) == large
    assert all(graph.weights[name].data_ptr() == state[name].data_ptr() for name in large)
    assert [value.name for value in graph.inputs] == ["tokens", "mask", "bias", "offset"]
    assert graph.bytes == sum(4 * state[name].numel() for name in large)
    assert graph.model.ByteSize() < graph.bytes


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("backend", ["onnxruntime", "onnx-reference", "openvino"])
def test_numbers_are_the_same_beside_the_file(
    module: wide_net.Wide, tmp_path: Path, precision: Precision, backend: str
) -> None:
    case = NET.cases(CONFIG, {})["n-8"]
    write_onnx(module, NET, CONFIG, tmp_path / "a.onnx", precision)
    write_onnx(module, NET, CONFIG, tmp_path / "b.onnx", precision, largest_file=2000)
    assert not Path(f"{tmp_path / 'a.onnx'}{DATA_SUFFIX}").exists()
    inside = get_backend(backend).open(tmp_path / "a.onnx").run(case)
    beside = get_backend(backend).open(tmp_path / "b.onnx").run(case)
    for name, expected in truth(module).items():
        assert inside[name].dtype == expected.dtype
        np.testing.assert_array_equal(inside[name], beside[name])
    tolerance = 1e-5 if precision == "fp32" else 0.05
    np.testing.assert_allclose(inside["states"], truth(module)["states"], rtol=0, atol=tolerance)


def test_the_file_beside_holds_the_weights_page_by_page(graph: WeightedGraph, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert graph.write(path, external=True)
    data = path.with_name("model.onnx.data").read_bytes()
    assert path.stat().st_size < graph.bytes / 2
    stored = onnx.load(str(path), load_external_data=False).graph.initializer
    places = {}
    for tensor in stored:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            places[tensor.name] = {entry.key: entry.value for entry in tensor.external_data}
    assert {place["location"] for place in places.values()} == {"model.onnx.data"}
    assert all(int(place["offset"]) % PAGE == 0 for place in places.values())
    for name, place in places.items():
        start, length = int(place["offset"]), int(place["length"])
        values = np.frombuffer(data[start : start + length], "<f4")
        np.testing.assert_array_equal(values, graph.weights[name].numpy().ravel())
    assert graph.write(tmp_path / "again.onnx", external=True)
    assert (tmp_path / "again.onnx.data").read_bytes() == data


def test_weights_beyond_float16_saturate(tmp_path: Path) -> None:
    module = wide_net.random_wide(CONFIG)
    with torch.no_grad():
        module.embed.weight[0, :2] = torch.tensor([1e6, -1e6])
    write_onnx(module, NET, CONFIG, tmp_path / "a.onnx", "fp16")
    tensors = {tensor.name: tensor for tensor in onnx.load(str(tmp_path / "a.onnx")).graph.initializer}
    embedding = numpy_helper.to_array(tensors["embed.weight"])
    assert embedding.dtype == np.float16
    np.testing.assert_array_equal(embedding[0, :2], np.array([65504, -65504], np.float16))


def test_the_runtime_opens_the_file_by_a_relative_path(
    graph: WeightedGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph.write(tmp_path / "model.onnx", external=True)
    monkeypatch.chdir(tmp_path.parent)
    session = get_backend("onnxruntime").open(Path(tmp_path.name, "model.onnx"))
    assert set(session.run(NET.cases(CONFIG, {})["n-5"])) == {"states", "winners", "loud"}
