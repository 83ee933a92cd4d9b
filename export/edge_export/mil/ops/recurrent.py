"""LSTM, GRU and plain recurrent layers: x (S, N, I) → (S or 1, N, H), and the last states (N, H).

Gates are computed for a whole step at once; the input's share of all steps is one matrix product. With
direction "reverse" the last step is processed first, and the sequence of states comes in the order of
processing; the backward half of a bidirectional layer comes in the order of the input.

The converter gives packed sequences an initial state of as many rows as steps; Apple's runtime takes the
first N of them, and so does this.
"""

# mypy: no-warn-return-any
# (numpy types arithmetic on arrays of any dtype as Any)

from __future__ import annotations

from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.activation import ACTIVATIONS
from edge_export.mil.ops.registry import operation


@operation("rnn")
def rnn(
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    direction: str = "forward",
    output_sequence: Any = False,
    activation: str = "tanh",
) -> tuple[Array, Array]:
    """h = activation(W_ih x + W_hh h + b)."""
    act = ACTIVATIONS[activation]
    shares = _input_shares(x, weight_ih, bias, direction)
    h = initial_h[: x.shape[1]]
    steps = []
    for share in shares:
        h = act(share + h @ weight_hh.T)
        steps.append(h)
    return _sequence(steps, output_sequence), h


@operation("gru")
def gru(
    x: Array,
    initial_h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    direction: str = "forward",
    output_sequence: Any = False,
    recurrent_activation: str = "sigmoid",
    activation: str = "tanh",
    reset_after: Any = False,
    input_bias: Array | None = None,
) -> tuple[Array, Array]:
    """Rows of the weights: reset, output, update gate; h = (1 - z) o + z h.

    The reset gate meets the state before the matrix product, o = act(W_o x + b_o + R_o (r h)): the formula in
    Apple's documentation can be read as PyTorch's, the operation tests cannot. iOS 18's `reset_after`
    (with `input_bias`) is PyTorch's: o = act(W_o x + b_i + r (R_o h + b)).
    """
    gate, act = ACTIVATIONS[recurrent_activation], ACTIVATIONS[activation]
    size = weight_hh.shape[1]
    recurrent, out_rows = weight_hh.T, slice(size, 2 * size)
    inner = np.zeros(3 * size, np.float32) if bias is None else bias
    shares = _input_shares(x, weight_ih, input_bias, direction)
    h = initial_h[: x.shape[1]]
    steps = []
    for share in shares:
        hidden = h @ recurrent + inner
        r = gate(share[:, :size] + hidden[:, :size])
        z = gate(share[:, 2 * size :] + hidden[:, 2 * size :])
        if reset_after:
            hidden_o = r * hidden[:, out_rows]
        else:
            hidden_o = (r * h) @ recurrent[:, out_rows] + inner[out_rows]
        o = act(share[:, out_rows] + hidden_o)
        h = (1 - z) * o + z * h
        steps.append(h)
    return _sequence(steps, output_sequence), h


@operation("lstm")
def lstm(
    x: Array,
    initial_h: Array,
    initial_c: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    peephole: Array | None = None,
    weight_ih_back: Array | None = None,
    weight_hh_back: Array | None = None,
    bias_back: Array | None = None,
    peephole_back: Array | None = None,
    direction: str = "forward",
    output_sequence: Any = False,
    recurrent_activation: str = "sigmoid",
    cell_activation: str = "tanh",
    activation: str = "tanh",
    clip: Any = None,
) -> tuple[Array, ...]:
    """Rows of the weights: input, forget, output, cell gate. Both directions: halves of the last axis.

    `clip` bounds the cell state (the documentation says cell gate, the operation tests the state).
    """
    acts = (recurrent_activation, cell_activation, activation)
    initial_h, initial_c = initial_h[: x.shape[1]], initial_c[: x.shape[1]]
    if direction != "bidirectional":
        weights = (weight_ih, weight_hh, bias, peephole)
        return _lstm_one_way(x, initial_h, initial_c, weights, direction, output_sequence, acts, clip)
    if weight_ih_back is None or weight_hh_back is None:
        raise ValueError("a bidirectional lstm without the weights of the way back")
    size = weight_hh.shape[1]
    ways = (
        ("forward", slice(size), (weight_ih, weight_hh, bias, peephole)),
        ("reverse", slice(size, None), (weight_ih_back, weight_hh_back, bias_back, peephole_back)),
    )
    results = [
        _lstm_one_way(x, initial_h[:, half], initial_c[:, half], weights, way, output_sequence, acts, clip)
        for way, half, weights in ways
    ]
    (out, h, c), (out_back, h_back, c_back) = results
    joined = (np.concatenate(pair, axis=-1) for pair in ((out, out_back[::-1]), (h, h_back), (c, c_back)))
    return tuple(joined)


def _lstm_one_way(
    x: Array,
    h: Array,
    c: Array,
    weights: tuple[Array, Array, Array | None, Array | None],
    direction: str,
    output_sequence: Any,
    activations: tuple[str, str, str],
    clip: Any,
) -> tuple[Array, ...]:
    weight_ih, weight_hh, bias, peephole = weights
    gate, cell, act = (ACTIVATIONS[name.lower()] for name in activations)
    shares = _input_shares(x, weight_ih, bias, direction)
    p_i, p_f, p_o = (0.0, 0.0, 0.0) if peephole is None else np.split(peephole, 3)
    steps = []
    for share in shares:
        i, f, o, z = np.split(share + h @ weight_hh.T, 4, axis=-1)
        c = gate(f + p_f * c) * c + gate(i + p_i * c) * cell(z)
        if clip is not None:
            c = np.clip(c, -clip, clip)
        h = gate(o + p_o * c) * act(c)
        steps.append(h)
    return _sequence(steps, output_sequence), h, c


def _input_shares(x: Array, weight: Array, bias: Array | None, direction: str) -> Array:
    """W x + b of every step, in the order of processing."""
    ordered = x[::-1] if direction == "reverse" else x
    shares = np.matmul(ordered, weight.T)
    return shares if bias is None else shares + bias


def _sequence(steps: list[Array], output_sequence: Any) -> Array:
    """All states in the order of processing, or the last one alone."""
    return np.stack(steps) if output_sequence else steps[-1][None]
