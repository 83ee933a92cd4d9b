"""onnxruntime-web: refused in words where it is not, and the same numbers where it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.runtime.backends import tiny_onnx

from edge_export.backends import BACKENDS, get_backend, ort_web
from edge_runtime.errors import BackendError


def test_it_runs_only_where_it_is_asked_for() -> None:
    assert ort_web.name not in BACKENDS
    assert get_backend("onnxruntime-web").name == "onnxruntime-web"


def test_without_the_package_or_node_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_onnx.write(tmp_path / "model.onnx")
    monkeypatch.setenv("EDGE_ORT_WEB", str(tmp_path / "nowhere"))
    if shutil.which("node") is not None:
        assert ort_web.unavailable().startswith("npm install onnxruntime-web, and EDGE_ORT_WEB=")
    with pytest.raises(BackendError, match=r"onnxruntime-web: got n.*, expected node and the package"):
        ort_web.open(model)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ort_web.unavailable() == "node is not in the PATH"
    assert ort_web.unavailable("gpu") == "it has no gpu"


@pytest.mark.skipif(bool(ort_web.unavailable()), reason="onnxruntime-web is not here")
def test_its_numbers_are_those_of_the_model(tmp_path: Path) -> None:
    session = ort_web.open(tiny_onnx.write(tmp_path / "model.onnx"))
    inputs = tiny_onnx.inputs(3)
    tiny_onnx.check(session.run(inputs), inputs)
    assert session.detail.startswith("onnxruntime-web 1.")
    with pytest.raises(BackendError, match=r"model\.onnx: running with onnxruntime-web: got «"):
        session.run({"x": np.ones((2, 5), np.float32)})
