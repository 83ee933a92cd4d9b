"""Recurrent layers against PyTorch, which lays out its gates in another order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edge_export.mil.ops.recurrent import gru, lstm, rnn

STEPS, BATCH, INPUT, HIDDEN = 5, 3, 4, 6


def _inputs(directions: int = 1) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = ((STEPS, BATCH, INPUT), (directions, BATCH, HIDDEN), (directions, BATCH, HIDDEN))
    x, h, c = (torch.randn(shape, generator=generator) for shape in shapes)
    return x, h, c


def _state(layer: nn.Module) -> dict[str, np.ndarray]:
    return {name: parameter.detach().numpy() for name, parameter in layer.named_parameters()}


def _lstm_rows(x: np.ndarray) -> np.ndarray:
    i, f, g, o = np.split(x, 4)
    return np.concatenate([i, f, o, g])


def _gru_rows(x: np.ndarray) -> np.ndarray:
    r, z, n = np.split(x, 3)
    return np.concatenate([r, n, z])


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@torch.no_grad()
def test_lstm_both_ways() -> None:
    layer = nn.LSTM(INPUT, HIDDEN, bidirectional=True)
    x, h, c = _inputs(2)
    expected, (last_h, last_c) = layer(x, (h, c))
    p = _state(layer)
    weights = {
        f"{ours}{back}": _lstm_rows(p[f"{theirs}_l0{way}"])
        for back, way in (("", ""), ("_back", "_reverse"))
        for ours, theirs in (("weight_ih", "weight_ih"), ("weight_hh", "weight_hh"))
    }
    for back, way in (("", ""), ("_back", "_reverse")):
        weights[f"bias{back}"] = _lstm_rows(p[f"bias_ih_l0{way}"] + p[f"bias_hh_l0{way}"])
    halves = [torch.cat(list(state), dim=-1).numpy() for state in (h, c)]
    out, out_h, out_c = lstm(x.numpy(), *halves, direction="bidirectional", output_sequence=True, **weights)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    np.testing.assert_allclose(out_h, torch.cat(list(last_h), dim=-1), atol=1e-6)
    np.testing.assert_allclose(out_c, torch.cat(list(last_c), dim=-1), atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_lstm_one_way_gives_states_in_the_order_of_processing(direction: str) -> None:
    layer = nn.LSTM(INPUT, HIDDEN)
    x, h, c = _inputs()
    expected, (last_h, _) = layer(x.flip(0) if direction == "reverse" else x, (h, c))
    p = _state(layer)
    weights = [_lstm_rows(p[name]) for name in ("weight_ih_l0", "weight_hh_l0")]
    bias = _lstm_rows(p["bias_ih_l0"] + p["bias_hh_l0"])
    arguments = (x.numpy(), h[0].numpy(), c[0].numpy(), *weights, bias)
    out, out_h, _ = lstm(*arguments, direction=direction, output_sequence=True)
    np.testing.assert_allclose(out, expected, atol=1e-6)
    np.testing.assert_allclose(out_h, last_h[0], atol=1e-6)
    final, _, _ = lstm(*arguments, direction=direction)
    np.testing.assert_allclose(final, expected[-1:], atol=1e-6)


def test_lstm_peephole_and_clip_by_hand() -> None:
    """One unit, no weights: gates see the cell through the peephole alone, and the cell is clipped at 0.3."""
    one, zeros = np.ones((1, 1, 1), np.float32), np.zeros((4, 1), np.float32)
    start = np.full((1, 1), 2.0, np.float32)
    bias = np.array([0, 0, 0, 0.5], np.float32)
    peephole = np.array([1.0, -1.0, 0.5], np.float32)
    out, _, cell = lstm(one, start * 0, start, zeros, zeros, bias, peephole, clip=0.3)
    assert cell == pytest.approx(0.3)  # sigmoid(-2) * 2 + sigmoid(2) * tanh(0.5) = 0.645, clipped
    assert out == pytest.approx(np.tanh(0.3) / (1 + np.exp(-0.5 * 0.3)))


@torch.no_grad()
def test_gru_with_the_reset_after_is_pytorchs() -> None:
    layer = nn.GRU(INPUT, HIDDEN)
    x, h, _ = _inputs()
    expected, last = layer(x, h)
    p = {name: _gru_rows(value) for name, value in _state(layer).items()}
    out, out_h = gru(
        x.numpy(),
        h[0].numpy(),
        p["weight_ih_l0"],
        p["weight_hh_l0"],
        p["bias_hh_l0"],
        output_sequence=True,
        reset_after=True,
        input_bias=p["bias_ih_l0"],
    )
    np.testing.assert_allclose(out, expected, atol=1e-6)
    np.testing.assert_allclose(out_h, last[0], atol=1e-6)


def test_gru_by_hand() -> None:
    """Two units, the reset before the product: o = tanh(R (r h))."""
    x, ih = np.zeros((1, 1, 1), np.float32), np.zeros((6, 1), np.float32)
    h = np.array([[1.0, 2.0]], np.float32)
    hh = np.zeros((6, 2), np.float32)
    hh[2:4] = [[1, 1], [0, 1]]  # the output gate's rows
    bias = np.array([0, 100, 0, 0, 0, 0], np.float32)  # resets 0.5 and 1, updates 0.5
    _, result = gru(x, h, ih, hh, bias)
    np.testing.assert_allclose(result, [[(np.tanh(2.5) + 1) / 2, (np.tanh(2.0) + 2) / 2]], rtol=1e-6)


@torch.no_grad()
def test_rnn() -> None:
    layer = nn.RNN(INPUT, HIDDEN, nonlinearity="relu")
    x, h, _ = _inputs()
    expected, last = layer(x, h)
    p = _state(layer)
    bias = p["bias_ih_l0"] + p["bias_hh_l0"]
    out, out_h = rnn(
        x.numpy(),
        h[0].numpy(),
        p["weight_ih_l0"],
        p["weight_hh_l0"],
        bias,
        output_sequence=True,
        activation="relu",
    )
    np.testing.assert_allclose(out, expected, atol=1e-6)
    np.testing.assert_allclose(out_h, last[0], atol=1e-6)
