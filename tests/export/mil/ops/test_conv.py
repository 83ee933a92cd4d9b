"""Convolutions, by hand and against PyTorch over random shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from edge_export.mil.ops import conv as module
from edge_export.mil.ops.conv import conv, conv_quantized, conv_transpose

FORWARD: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _random(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_by_hand() -> None:
    x = np.array([[[1, 2, 3, 4]]], np.float32)
    weight = np.array([[[1, 10]]], np.float32)
    np.testing.assert_array_equal(conv(x, weight), [[[21, 32, 43]]])
    np.testing.assert_array_equal(conv(x, weight, strides=np.array([2])), [[[21, 43]]])
    np.testing.assert_array_equal(conv(x, weight, dilations=np.array([2])), [[[31, 42]]])
    padded = conv(x, weight, bias=np.array([0.5], np.float32), pad_type="custom", pad=np.array([1, 0]))
    np.testing.assert_array_equal(padded, [[[10.5, 21.5, 32.5, 43.5]]])


@pytest.mark.parametrize(
    ("pad_type", "expected"),
    # kernel 2, stride 1: one element of padding, behind for "same", in front for "same_lower"
    [("same", [21, 32, 43, 4]), ("same_lower", [10, 21, 32, 43])],
)
def test_same_padding_puts_the_odd_one(pad_type: str, expected: list[float]) -> None:
    x = np.array([[[1, 2, 3, 4]]], np.float32)
    np.testing.assert_array_equal(conv(x, np.array([[[1, 10]]], np.float32), pad_type=pad_type), [[expected]])


def test_transposed_by_hand() -> None:
    x = np.array([[[1, 2]]], np.float32)
    weight = np.array([[[1, 10, 100]]], np.float32)
    np.testing.assert_array_equal(conv_transpose(x, weight), [[[1, 12, 120, 200]]])
    by_two = {"strides": np.array([2])}
    np.testing.assert_array_equal(conv_transpose(x, weight, **by_two), [[[1, 10, 102, 20, 200]]])
    # "same" keeps 2 * 2 positions: one too many, cut off behind
    np.testing.assert_array_equal(conv_transpose(x, weight, pad_type="same", **by_two), [[[1, 10, 102, 20]]])
    custom = conv_transpose(x, weight, pad_type="custom", pad=np.array([1, 2]), **by_two)
    np.testing.assert_array_equal(custom, [[[10, 102]]])
    longer = conv_transpose(x, weight, output_shape=np.array([1, 1, 6]), **by_two)
    np.testing.assert_array_equal(longer, [[[1, 10, 102, 20, 200, 0]]])


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    axes = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    each = st.lists(st.integers(1, 3), min_size=axes, max_size=axes)
    kernel, strides, dilations = draw(each), draw(each), draw(each)
    margins = st.lists(st.integers(0, 2), min_size=axes, max_size=axes)
    pads = draw(margins)
    lengths = [(k - 1) * d + 1 + extra for k, d, extra in zip(kernel, dilations, draw(margins), strict=True)]
    return {
        "axes": axes,
        "groups": groups,
        "kernel": kernel,
        "strides": strides,
        "dilations": dilations,
        "pads": pads,
        "lengths": lengths,
        "batch": draw(st.integers(1, 3)),
        "inputs": groups * draw(st.integers(1, 3)),
        "outputs": groups * draw(st.integers(1, 3)),
    }


def _arguments(case: dict[str, Any]) -> dict[str, Any]:
    return {
        "strides": np.array(case["strides"]),
        "dilations": np.array(case["dilations"]),
        "groups": np.array(case["groups"]),
        "pad_type": "custom",
        "pad": np.repeat(case["pads"], 2),
    }


def _torch_arguments(case: dict[str, Any]) -> dict[str, Any]:
    return {
        "stride": case["strides"],
        "dilation": case["dilations"],
        "groups": case["groups"],
        "padding": case["pads"],
    }


@settings(max_examples=60, deadline=None)
@given(cases())
def test_conv_equals_pytorch(case: dict[str, Any]) -> None:
    x = _random(0, case["batch"], case["inputs"], *case["lengths"])
    weight = _random(1, case["outputs"], case["inputs"] // case["groups"], *case["kernel"])
    bias = _random(2, case["outputs"])
    tensors = (torch.from_numpy(array) for array in (x, weight, bias))
    expected = FORWARD[case["axes"]](*tensors, **_torch_arguments(case))
    np.testing.assert_allclose(conv(x, weight, bias, **_arguments(case)), expected.numpy(), atol=2e-5)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_conv_transpose_equals_pytorch(case: dict[str, Any]) -> None:
    # PyTorch refuses an empty result: enough input that the padding leaves something
    lengths = [n + 2 * p for n, p in zip(case["lengths"], case["pads"], strict=True)]
    x = _random(0, case["batch"], case["inputs"], *lengths)
    weight = _random(1, case["inputs"], case["outputs"] // case["groups"], *case["kernel"])
    bias = _random(2, case["outputs"])
    tensors = (torch.from_numpy(array) for array in (x, weight, bias))
    expected = TRANSPOSED[case["axes"]](*tensors, **_torch_arguments(case))
    result = conv_transpose(x, weight, bias, **_arguments(case))
    np.testing.assert_allclose(result, expected.numpy(), atol=2e-5)


@settings(max_examples=30, deadline=None)
@given(cases(), st.integers(1, 2000))
def test_the_result_does_not_depend_on_the_stretch(case: dict[str, Any], column_bytes: int) -> None:
    x = _random(0, case["batch"], case["inputs"], *case["lengths"])
    weight = _random(1, case["outputs"], case["inputs"] // case["groups"], *case["kernel"])
    whole = conv(x, weight, **_arguments(case))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_COLUMN_BYTES", column_bytes)
        np.testing.assert_allclose(conv(x, weight, **_arguments(case)), whole, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(cases())
def test_conv_transpose_is_the_adjoint_of_conv(case: dict[str, Any]) -> None:
    """<conv(x), y> = <x, conv_transpose(y)>: a property that needs no other library."""
    x = _random(0, case["batch"], case["inputs"], *case["lengths"])
    weight = _random(1, case["outputs"], case["inputs"] // case["groups"], *case["kernel"])
    arguments = _arguments(case) | {"pad_type": "valid"}
    forward = conv(x, weight, **arguments)
    y = _random(3, *forward.shape)
    back = conv_transpose(y, weight, output_shape=np.array(x.shape), **arguments)
    assert np.vdot(forward, y) == pytest.approx(np.vdot(x, back), abs=1e-3, rel=1e-4)


def test_refuses_an_input_shorter_than_the_kernel() -> None:
    with pytest.raises(ValueError, match="shorter than the kernel"):
        conv(_random(0, 1, 1, 2), _random(1, 1, 1, 3))


@pytest.mark.parametrize("convolve", [conv, conv_transpose])
def test_refuses_channels_that_do_not_fit(convolve: Any) -> None:
    with pytest.raises(ValueError, match="channels in 1 groups for a weight of shape"):
        convolve(_random(0, 1, 5, 9), _random(1, 4, 4, 3))


@pytest.mark.parametrize("per_channel", [False, True])
def test_quantized_weights_are_scaled_first(per_channel: bool) -> None:
    draw = np.random.default_rng(5)
    x, weight = draw.standard_normal((2, 4, 9)).astype(np.float32), draw.integers(0, 256, (6, 2, 3), np.uint8)
    scale, bias = (draw.uniform(0.01, 0.1, 6 if per_channel else 1).astype(np.float32) for _ in range(2))
    plain = weight * scale.reshape(-1, 1, 1) + bias.reshape(-1, 1, 1)
    got = conv_quantized(x, weight, "linear", scale, bias, groups=2)
    expected = F.conv1d(torch.from_numpy(x), torch.from_numpy(plain.astype(np.float32)), groups=2)
    np.testing.assert_allclose(got, expected, atol=1e-4)
    with pytest.raises(ValueError, match="quantization_type lut"):
        conv_quantized(x, weight, "lut", scale, bias, groups=2)
    with pytest.raises(ValueError, match=r"weights up to \d+ in 4 bits"):
        conv_quantized(x, weight, "linear", scale, bias, nbits=4, groups=2)
