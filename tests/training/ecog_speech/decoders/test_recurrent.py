"""The recurrent decoder against LSTM and GRU written out in numpy; what it sees of later input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.training.ecog_speech import plain

from edge_training.ecog_speech.decoders.ecog_decoder import EcogDecoder, EcogDecoderConfig, build_decoder
from edge_training.ecog_speech.parameters import PARAMETERS

SMALL: dict[str, Any] = {"family": "lstm", "electrodes": 9, "layers": 2, "units": 8, "classes": 12}


def decoder(**changes: object) -> torch.nn.Module:
    torch.manual_seed(1)
    return plain.unsettled(build_decoder(EcogDecoderConfig(**(SMALL | changes))))


def ecog(frames: int = 144) -> torch.Tensor:
    return torch.randn(1, frames, 9, generator=torch.Generator().manual_seed(2))


def layer(x: plain.Array, w: dict[str, plain.Array], name: str, cell: str) -> plain.Array:
    """One direction of one layer, (T, inputs) → (T, units)."""
    wi, wh, bi, bh = (
        w[f"base_model.rnn.{kind}_{name}"] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    units = wh.shape[1]
    h = c = np.zeros(units)
    rows = []
    for frame in x:
        a, b = (part.reshape(-1, units) for part in (wi @ frame + bi, wh @ h + bh))
        if cell == "lstm":
            i, f, g, o = a + b
            c = plain.sigmoid(f) * c + plain.sigmoid(i) * np.tanh(g)
            h = plain.sigmoid(o) * np.tanh(c)
        else:
            r, z = plain.sigmoid(a[0] + b[0]), plain.sigmoid(a[1] + b[1])
            h = (1 - z) * np.tanh(a[2] + r * b[2]) + z * h
        rows.append(h)
    return np.stack(rows)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_both_directions_are_the_description(cell: str) -> None:
    net = decoder(family=cell)
    w, x = plain.weights(net), ecog()
    values = x[0].double().numpy()
    for number in range(2):
        forward = layer(values, w, f"l{number}", cell)
        backward = layer(values[::-1], w, f"l{number}_reverse", cell)[::-1]
        values = np.concatenate([forward, backward], 1)
    common = np.maximum(values, 0) @ w["motion_projection.weight"].T + w["motion_projection.bias"]
    made = net(x)
    for name, true in plain.head(common[8:136].T, w).items():
        assert plain.relative_error(made[name][0], true) < 5e-6, name


def first_change(net: torch.nn.Module, frame: int) -> int:
    x = ecog()
    other = x.clone()
    other[:, frame] += 3
    first, second = net(x), net(other)
    differs = torch.stack([(first[name] != second[name]).any(1)[0] for name in PARAMETERS]).any(0)
    return int(torch.nonzero(differs)[0])


def test_causal_frames_end_eight_frames_before_their_own() -> None:
    net = decoder(causal=True)
    assert [first_change(net, frame) for frame in (8, 50, 135)] == [0, 42, 127]


def test_streaming_frames_end_at_their_own() -> None:
    net = decoder(causal=True, wiring="streaming")
    assert [first_change(net, frame) for frame in (16, 50, 143)] == [0, 34, 127]


def test_a_stateful_net_has_frames_in_its_outputs_for_frames_in() -> None:
    net = EcogDecoder(EcogDecoderConfig(**SMALL, causal=True, wiring="stateful"))
    memory = [
        torch.zeros([1 if n == "batch" else int(n) for n in shape]) for shape in net.config.memory.values()
    ]
    said = net(ecog(5), *memory)
    assert [tuple(values.shape) for values in said[-3:]] == [tuple(values.shape) for values in memory]
    assert {values.shape[2] for values in said[:-3]} == {5}


def test_without_causal_later_frames_reach_earlier_ones() -> None:
    assert first_change(decoder(), 143) < 115
