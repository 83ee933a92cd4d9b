"""The 3-D Swin transformer against windows that are cut, rolled and put back one by one, in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.training.ecog_speech import plain

from edge_runtime.errors import ConfigError
from edge_training.ecog_speech.decoders.ecog_decoder import EcogDecoderConfig, build_decoder

DEPTHS, HEADS = (2, 2, 6, 2), (3, 6, 12, 24)


def decoder(electrodes: int, **changes: object) -> torch.nn.Module:
    torch.manual_seed(1)
    config = EcogDecoderConfig(family="swin", electrodes=electrodes, **changes)  # type: ignore[arg-type]
    net = plain.unsettled(build_decoder(config))
    for name, parameter in net.named_parameters():
        if name.endswith("relative_position_bias_table"):
            parameter.data.normal_(0, 0.5, generator=torch.Generator().manual_seed(4))
    return net


def layer_norm(x: plain.Array, w: dict[str, plain.Array], name: str) -> plain.Array:
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return np.asarray(y * w[f"{name}.weight"] + w[f"{name}.bias"])


def linear(x: plain.Array, w: dict[str, plain.Array], name: str) -> plain.Array:
    y = x @ w[f"{name}.weight"].T
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def region(place: int, length: int, window: int, shift: int) -> int:
    if not shift:
        return 0
    return 0 if place < length - window else 1 if place < length - shift else 2


def attended(
    x: plain.Array, w: dict[str, plain.Array], name: str, heads: int, *, shifted: bool, causal: bool
) -> plain.Array:
    """(T, H, W, C) → the same; every window by itself."""
    size = x.shape[:3]
    window = [min(a, b) for a, b in zip(size, (4, 2, 2), strict=True)]
    shift = [s if shifted and a > b else 0 for a, b, s in zip(size, (4, 2, 2), (2, 1, 1), strict=True)]
    padded = np.pad(x, [(0, -a % b) for a, b in zip(size, window, strict=True)] + [(0, 0)])
    lengths = padded.shape[:3]
    rolled = np.roll(padded, [-s for s in shift], (0, 1, 2))
    result = np.empty_like(rolled)
    for corner in np.ndindex(*(a // b for a, b in zip(lengths, window, strict=True))):
        places = [range(c * b, (c + 1) * b) for c, b in zip(corner, window, strict=True)]
        cells = [(t, h, v) for t in places[0] for h in places[1] for v in places[2]]
        tokens = np.stack([rolled[cell] for cell in cells])
        regions = [
            tuple(region(p, a, b, s) for p, a, b, s in zip(cell, lengths, window, shift, strict=True))
            for cell in cells
        ]
        qkv = linear(tokens, w, f"{name}.qkv").reshape(len(cells), 3, heads, -1)
        mixed = np.empty((len(cells), heads, qkv.shape[-1]))
        for head in range(heads):
            q, k, v = (qkv[:, part, head] for part in range(3))
            logits = q @ k.T / math.sqrt(q.shape[1])
            for i, j in np.ndindex(*logits.shape):
                # as published: the full window's order of tokens, whatever the window is
                a, b = (np.array(np.unravel_index(place, (4, 2, 2))) for place in (i, j))
                offset = a - b + (3, 1, 1)
                row = offset[0] * 9 + offset[1] * 3 + offset[2]
                logits[i, j] += w[f"{name}.relative_position_bias_table"][row, head]
                logits[i, j] -= 100 * (regions[i] != regions[j])
                logits[i, j] -= 1e4 * (causal and j > i)
            mixed[:, head] = plain.softmax(logits, 1) @ v
        for cell, values in zip(cells, linear(mixed.reshape(len(cells), -1), w, f"{name}.proj"), strict=True):
            result[cell] = values
    return np.roll(result, shift, (0, 1, 2))[: size[0], : size[1], : size[2]]


def gelu(x: plain.Array) -> plain.Array:
    return np.vectorize(lambda value: 0.5 * value * (1 + math.erf(value / math.sqrt(2))))(x)  # type: ignore[no-any-return]


def merged(x: plain.Array, w: dict[str, plain.Array], name: str) -> plain.Array:
    x = np.pad(x, [(0, length % 2) for length in x.shape[:3]] + [(0, 0)])
    order = [(0, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 0), (1, 1, 0), (1, 0, 1), (1, 1, 1)]
    parts = [x[t::2, h::2, v::2] for t, h, v in order]
    return linear(layer_norm(np.concatenate(parts, -1), w, f"{name}.norm"), w, f"{name}.reduction")


def written_out(ecog: plain.Array, w: dict[str, plain.Array], *, causal: bool) -> plain.Array:
    """x_common."""
    side = round(ecog.shape[1] ** 0.5)
    x = np.pad(ecog[16:].reshape(1, 128, side, side), [(0, 0), (0, 0), (1, 0), (1, 0)])
    base = "swin_transformer."
    x = plain.conv(x, w[f"{base}patch_embed.proj.weight"], w[f"{base}patch_embed.proj.bias"])
    x = plain.pool(x, (2, 2, 2), np.max).transpose(1, 2, 3, 0)
    for stage, depth in enumerate(DEPTHS):
        for block in range(depth):
            name = f"{base}layers.{stage}.blocks.{block}"
            x = x + attended(
                layer_norm(x, w, f"{name}.norm1"), w, f"{name}.attn", HEADS[stage],
                shifted=bool(block % 2), causal=causal,
            )  # fmt: skip
            hidden = gelu(linear(layer_norm(x, w, f"{name}.norm2"), w, f"{name}.mlp.fc1"))
            x = x + linear(hidden, w, f"{name}.mlp.fc2")
        if stage < 3:
            x = merged(x, w, f"{base}layers.{stage}.downsample")
    y = layer_norm(x, w, f"{base}norm")[:, 0, 0].T
    y = plain.doubled(plain.leaky(y), w["conv6.weight"], w["conv6.bias"])
    for number in range(1, 4):
        y = plain.leaky(plain.frame_norm(y, w, f"norms{number}.norm"))
        places = np.linspace(0, y.shape[1] - 1, 2 * y.shape[1])
        y = np.stack([np.interp(places, np.arange(y.shape[1]), row) for row in y])
    return plain.leaky(plain.channel_norm(y, w, "norm6"))


@pytest.mark.parametrize(("electrodes", "causal"), [(9, True), (25, False)])
def test_windows_are_their_description(electrodes: int, causal: bool) -> None:
    net = decoder(electrodes, causal=causal)
    x = torch.randn(1, 144, electrodes, generator=torch.Generator().manual_seed(2))
    made, true = net(x), written_out(x[0].double().numpy(), plain.weights(net), causal=causal)
    assert plain.relative_error(made["x_common"][0], true) < 2e-5


@pytest.mark.parametrize("electrodes", [64, 100, 225])
def test_grids_of_recordings_fit(electrodes: int) -> None:
    with torch.no_grad():
        assert decoder(electrodes)(torch.zeros(2, 144, electrodes))["x_common"].shape == (2, 256, 128)


def test_drop_path_leaves_some_branches_out() -> None:
    torch.manual_seed(0)
    net = decoder(9).train()
    x = torch.randn(1, 144, 9)
    block = net.swin_transformer.layers[3].blocks[1]  # type: ignore[union-attr, index]
    assert block.drop == pytest.approx(0.2)
    assert not torch.equal(net(x)["x_common"], net(x)["x_common"])


def test_streaming_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"family.*resnet, lstm or gru where the wiring is streaming"):
        EcogDecoderConfig(family="swin", causal=True, wiring="streaming")
