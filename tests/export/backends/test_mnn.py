"""MNN: refused in words where it is not, and the same numbers where it is."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_export.backends import BACKENDS, get_backend, mnn, mnn_process
from edge_runtime.backends import worker
from edge_runtime.errors import BackendError

WEIGHTS = (np.arange(12, dtype=np.float32).reshape(4, 3) - 6) / 7


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """x (batch, 4) → relu(x W)."""
    nodes = [helper.make_node("MatMul", ["x", "W"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
        for name, width in (("x", 4), ("y", 3))
    ]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], [numpy_helper.from_array(WEIGHTS, "W")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def test_it_runs_only_where_it_is_asked_for() -> None:
    assert mnn.name not in BACKENDS
    assert get_backend("mnn").name == "mnn"


def test_without_the_package_it_names_the_line_that_installs_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "find_spec", lambda _name: None)
    assert mnn.unavailable() == (
        "pip install 'edge-export[mnn]': got no module named MNN, expected MNN to be installed"
    )
    assert mnn.unavailable("gpu") == "mnn has no other device: got gpu, expected cpu"
    with pytest.raises(BackendError, match=r"mnn: got no module named MNN, .*; pip install"):
        mnn.open(model)


@pytest.mark.skipif(find_spec("MNN") is None, reason="MNN is not here")
def test_its_numbers_are_those_of_the_model(model: Path) -> None:
    session = mnn.open(model)
    for batch in (3, 1):
        x = np.random.default_rng(batch).normal(size=(batch, 4)).astype(np.float32)
        np.testing.assert_allclose(session.run({"x": x})["y"], np.maximum(x @ WEIGHTS, 0), atol=1e-6)
    assert session.detail.startswith("MNN 3.")


def test_axes_that_mnn_adds_are_left_out_and_no_others() -> None:
    for shape, rank, wanted in [((2, 3, 1, 1), 2, (2, 3)), ((2, 1), 2, (2, 1)), ((2, 3, 4), 2, (2, 3, 4))]:
        assert mnn_process.without_axes(np.zeros(shape), rank).shape == wanted


@pytest.mark.skipif(find_spec("MNN") is None, reason="MNN is not here")
def test_a_file_that_is_no_model_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"hello")
    with pytest.raises(BackendError, match=r"bad\.onnx: loading with mnn: got «"):
        mnn.open(tmp_path / "bad.onnx")
