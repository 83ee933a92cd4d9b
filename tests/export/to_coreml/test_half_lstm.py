"""Matrices of LSTMs in small formats: what the package holds is what was judged."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import coremltools as ct
import numpy as np
import pytest
import torch
from torch import nn

from edge_export.mil.program import Program
from edge_export.precision.formats import Format, read_back
from edge_export.precision.rounding import Layer, layers_of
from edge_export.to_coreml import exporter, half_lstm
from edge_runtime.errors import BackendError

KINDS: tuple[Format, ...] = ("int8", "palette6", "palette4", "float16", "float32", "palette8")


class Net(nn.Module):
    """Two layers in both directions: eight matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(20, 16, 2, bidirectional=True, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.rnn(x)[0]
        return out


def converted(net: Net, stored: half_lstm.Stored, path: Path) -> Path:
    with exporter._quiet():
        model = ct.convert(
            torch.jit.trace(net, torch.zeros(1, 5, 20)),  # type: ignore[no-untyped-call]
            convert_to="mlprogram",
            inputs=[ct.TensorType(name="x", shape=(1, 5, 20))],
            outputs=[ct.TensorType(name="y")],
            compute_precision=ct.precision.FLOAT16,
            minimum_deployment_target=ct.target.iOS16,
            pass_pipeline=half_lstm.pipeline(stored),
            skip_model_load=True,
        )
        model.save(str(path))
    return path


def test_every_matrix_is_stored_as_it_was_judged(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net().eval()
    layers = layers_of(net)
    assert len(layers) == 8
    assert "rnn.weight_hh_l1_reverse" in layers
    kinds = dict(zip(layers, itertools.cycle(KINDS), strict=False))
    stored = [(layer.tensor.detach().numpy().copy(), kinds[path]) for path, layer in layers.items()]
    program = Program.open(converted(net, stored, tmp_path / "p.mlpackage"))
    counts = program.operations
    assert counts["constexpr_affine_dequantize"] == 2
    assert counts["constexpr_lut_to_dense"] == 4
    assert counts["constexpr_cast"] >= 1
    for path, layer in layers.items():
        small = read_back(layer.tensor.detach().numpy(), kinds[path], layer.axis)
        layer.tensor.data = torch.from_numpy(np.ascontiguousarray(small))
    x = np.random.default_rng(0).normal(size=(1, 5, 20)).astype(np.float32)
    with torch.inference_mode():
        judged = net(torch.from_numpy(x)).numpy()
    made = program.run({"x": x})["y"]
    np.testing.assert_allclose(made, judged, atol=2e-3)  # inputs and biases are float16


def test_a_matrix_that_the_program_lacks_is_said() -> None:
    narrowing = half_lstm.half_recurrent_weights()
    narrowing.stored = [(np.zeros((8, 2), np.float32), "int8")]
    with pytest.raises(BackendError, match="got 0 of 1 matrices of LSTMs in its program, expected all"):
        narrowing.apply(SimpleNamespace(functions={}))


def test_layers_are_convolutions_linear_ones_and_matrices_of_some_size() -> None:
    net = nn.Sequential(nn.Linear(16, 16), nn.LSTM(4, 4), nn.GRU(16, 16), nn.ConvTranspose1d(16, 8, 3))
    found = layers_of(net)
    assert found == {"0": Layer(net[0], "weight", 0), "3": Layer(net[3], "weight", 1)}
