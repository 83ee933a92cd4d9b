"""The 3-D ResNet against its description written out in numpy; what its wirings see of later input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.training.ecog_speech import plain

from edge_training.ecog_speech.decoders.ecog_decoder import EcogDecoderConfig, build_decoder
from edge_training.ecog_speech.decoders.resnet import STREAMING_CONTEXT
from edge_training.ecog_speech.parameters import PARAMETERS

STRIDES = ((2, 1, 1), (2, 1, 1), (2, 2, 2), (2, 2, 2))


def decoder(**changes: object) -> torch.nn.Module:
    torch.manual_seed(1)
    config = EcogDecoderConfig(**({"electrodes": 16} | changes))  # type: ignore[arg-type]
    return plain.unsettled(build_decoder(config))


def ecog(frames: int = 144, seed: int = 2) -> torch.Tensor:
    return torch.randn(1, frames, 16, generator=torch.Generator().manual_seed(seed))


def written_out(
    x: plain.Array, w: dict[str, plain.Array], sides: tuple[float, float]
) -> dict[str, plain.Array]:
    """The published wiring, frame by frame; sides: which part of the padding lies before and after."""

    def along_time(values: plain.Array, name: str, bias: bool = False) -> plain.Array:
        weight = w[f"{name}.weight"]
        taps = weight.shape[2] - 1
        spatial = [size // 2 for size in weight.shape[3:]]
        before, after = [int(taps * sides[0]), *spatial], [int(taps * sides[1]), *spatial]
        return plain.conv(values, weight, w[f"{name}.bias"] if bias else None, before, after)

    x = along_time(x.reshape(1, 144, 4, 4), "from_ecog.from_ecog", bias=True)
    for block, strides in enumerate(STRIDES, 1):
        h = plain.leaky(plain.channel_norm(x, w, f"conv{block}.norm1"))
        inner = plain.leaky(plain.channel_norm(along_time(h, f"conv{block}.conv1"), w, f"conv{block}.norm2"))
        skip = plain.pool(along_time(h, f"conv{block}.convskip"), strides)
        x = skip + along_time(plain.pool(inner, strides), f"conv{block}.conv2")
        if block == 2:
            x = x[:, 4:]
    x = plain.leaky(plain.frame_norm(x.max((2, 3)), w, "norm.norm"))
    x = along_time(x, "conv5", bias=True)
    for number in range(6, 10):
        x = plain.leaky(plain.frame_norm(x, w, f"norm{number - 4}.norm"))
        x = plain.doubled(x, w[f"conv{number}.up.weight"], w[f"conv{number}.up.bias"])
    return plain.head(plain.leaky(plain.frame_norm(x, w, "norm6.norm")), w)


def test_published_wiring_is_its_description() -> None:
    net = decoder()
    x = ecog()
    made, true = net(x), written_out(x[0].double().numpy(), plain.weights(net), (0.5, 0.5))
    assert made["x_common"].shape == (1, 32, 128)
    for name, values in true.items():
        assert plain.relative_error(made[name][0], values) < 5e-6, name


@pytest.mark.parametrize(("anticausal", "sides"), [(False, (1.0, 0.0)), (True, (0.0, 1.0))])
def test_causal_and_anticausal_wirings_are_published_too(
    anticausal: bool, sides: tuple[float, float]
) -> None:
    net = decoder(causal=True, anticausal=anticausal)
    x = ecog()
    made = net(x)["x_common"][0]
    # the head's two convolutions of three taps are padded likewise; features are enough here
    true = written_out(x[0].double().numpy(), plain.weights(net), sides)["x_common"]
    assert plain.relative_error(made, true) < 5e-6


def test_loudness_in_db_is_another_map_of_the_same_layer() -> None:
    net = decoder(db_loudness=True)
    loudness = net(ecog())["loudness"]
    raw = net.prediction_head.conv_loudness(net(ecog())["x_common"])  # type: ignore[union-attr, operator]
    assert torch.allclose(loudness, 10 ** ((200 * torch.sigmoid(raw) - 100) / 10), rtol=1e-4)


@pytest.mark.parametrize("wiring", ["published", "streaming"])
def test_training_computes_the_same_numbers(wiring: str) -> None:
    net = decoder(causal=wiring == "streaming", wiring=wiring, channels=4)
    for layer in net.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0
    x = ecog()
    evaluated, trained = net(x)["x_common"], net.train()(x)["x_common"]
    assert torch.allclose(evaluated, trained, rtol=0, atol=2e-5)


def test_channels_scale_all_blocks() -> None:
    net, half = decoder(), decoder(channels=8)
    sizes = {name: value.shape[0] for name, value in half.state_dict().items()}
    assert all(
        2 * sizes[name] == value.shape[0]
        for name, value in net.state_dict().items()
        if name.startswith(("from_ecog", "conv1.", "conv2.", "conv3.", "conv4.", "norm.", "conv5."))
    )
    assert half(ecog())["x_common"].shape == (1, 32, 128)


def changed_outputs(net: torch.nn.Module, x: torch.Tensor, frame: int) -> int | None:
    """First output frame that another value at an input frame changes."""
    other = x.clone()
    other[:, frame] += 3
    first, second = net(x), net(other)
    differs = torch.stack([(first[name] != second[name]).any(1)[0] for name in PARAMETERS]).any(0)
    changed = torch.nonzero(differs)
    return int(changed[0]) if len(changed) else None


def test_streaming_wiring_sees_no_later_input() -> None:
    net = decoder(causal=True, wiring="streaming")
    x = ecog(16 + 32)
    for frame in (16, 17, 18, 19, 20, 30, 31, 45, 47):
        first = changed_outputs(net, x, frame)
        # an output frame is told at most 3 frames later than its input, and never before
        assert first is None or frame - 16 <= first <= frame - 16 + 3


def test_published_causal_wiring_does() -> None:
    assert changed_outputs(decoder(causal=True), ecog(), 143) == 0


def test_what_lies_before_the_context_does_not_matter() -> None:
    net = decoder(causal=True, wiring="streaming")
    x = ecog(16 + STREAMING_CONTEXT + 16)
    other = x.clone()
    other[:, :16] = 9  # frames that end STREAMING_CONTEXT before the last output's own 16
    first, second = net(x), net(other)
    for name in PARAMETERS:
        assert torch.equal(first[name][..., -16:], second[name][..., -16:])


@pytest.mark.parametrize("frames", [4, 36, 128])
def test_streaming_wiring_takes_any_length(frames: int) -> None:
    assert decoder(causal=True, wiring="streaming")(ecog(16 + frames))["f0_hz"].shape == (1, 1, frames)


def test_features_stay_in_range() -> None:
    made = decoder()(ecog())
    assert made["f0_hz"].min() >= 88
    assert made["f0_hz"].max() <= 420
    assert np.allclose(made["amplitudes"].sum(1), 1, atol=1e-6)
