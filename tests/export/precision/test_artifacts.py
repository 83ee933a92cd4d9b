"""What is written computes as what was judged: matrices of LSTMs among the layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from tests.small_ecog import DECODER

from edge_export.backends import get_backend
from edge_export.catalog import get_net
from edge_export.precision.artifacts import write_onnx_mix
from edge_export.precision.formats import Format
from edge_export.precision.rounding import Rounded
from edge_export.proof.bisect.values import snr_db
from edge_export.tracing.norm_folding import folded


def test_an_onnx_file_with_small_lstms_computes_as_was_judged(tmp_path: Path) -> None:
    net = get_net("ecog-decoder")
    config = net.config_from_json(DECODER | {"layers": 1, "units": 16})
    torch.manual_seed(0)
    module = net.build(config).eval()
    outputs = tuple(tensor.name for tensor in net.outputs(config))
    rounded = Rounded(folded(module), outputs, None)
    matrices = [path for path, layer in rounded.layers.items() if layer.recurrent]
    assert len(matrices) == 4
    kinds: dict[str, Format] = {path: "float16" if path == matrices[0] else "int8" for path in rounded.layers}
    write_onnx_mix(module, net, config, tmp_path / "m.onnx", kinds)
    stored = {tensor.name for tensor in onnx.load(str(tmp_path / "m.onnx")).graph.initializer}
    assert {f"{matrices[0]}.half", *(f"{path}.levels" for path in matrices[1:])} <= stored
    inputs = net.cases(config, net.coreml_axes)["waves"]
    judged = rounded.run(inputs, kinds)
    plain = rounded.run(inputs, {})
    made = get_backend("onnxruntime").open(tmp_path / "m.onnx").run(inputs)
    assert np.isfinite(made["x_common"]).all()
    assert snr_db(judged["x_common"], made["x_common"]) > 90
    assert snr_db(plain["x_common"], made["x_common"]) < 60
