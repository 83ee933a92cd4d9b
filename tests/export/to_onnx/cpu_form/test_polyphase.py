"""Two phases: the numbers of one, for every kernel, dilation, padding and rate."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edge_export.to_onnx.cpu_form.polyphase import FAST_CHANNELS, Convolution, Signal, Upsampling
from edge_training.vocoder.hifigan import AsymmetricConv1d, Padding

SMALL = 2  # channels of the direct form


def phases(x: Tensor, count: int) -> Signal:
    """(B, C, N) → phases (B, C, 1, N / count)."""
    return tuple(x[:, :, None, phase::count] for phase in range(count))


def joined(signal: Signal) -> Tensor:
    return torch.stack(signal, dim=-1).flatten(3).squeeze(2)


@settings(deadline=None)
@given(
    kernel=st.sampled_from([1, 3, 5, 7, 11]),
    dilation=st.integers(1, 6),
    where=st.sampled_from(["centred", "back", "ahead"]),
    half=st.integers(1, 20),
    count=st.sampled_from([1, 2]),
)
def test_a_convolution_is_the_same_in_phases(
    kernel: int, dilation: int, where: str, half: int, count: int
) -> None:
    check(SMALL, kernel, dilation, where, half, count)


@pytest.mark.parametrize("kernel", [5, 7, 11])
@pytest.mark.parametrize("dilation", [1, 2, 3, 5])
@pytest.mark.parametrize("where", ["centred", "back", "ahead"])
def test_the_fast_form_is_the_same(kernel: int, dilation: int, where: str) -> None:
    for half in (1, 2, 19):
        layer = check(FAST_CHANNELS, kernel, dilation, where, half, 2)
        assert layer.fast
        assert layer.split == (dilation % 2 == 1)


def check(channels: int, kernel: int, dilation: int, where: str, half: int, count: int) -> Convolution:
    torch.manual_seed(0)
    reach = (kernel - 1) * dilation
    layer = nn.Conv1d(channels, channels, kernel, dilation=dilation, padding=reach // 2)
    if where != "centred":
        pad = Padding(reach, 0) if where == "back" else Padding(0, reach)
        layer = AsymmetricConv1d(channels, channels, kernel, dilation, pad)
    x = torch.randn(2, channels, 2 * half)
    ours = Convolution(layer, count)
    with torch.no_grad():
        torch.testing.assert_close(joined(ours(phases(x, count))), layer(x), rtol=0, atol=5e-6)
    return ours


@settings(deadline=None)
@given(
    rate=st.integers(1, 7),
    extra=st.integers(0, 9),
    inputs=st.sampled_from([1, 2]),
    outputs=st.sampled_from([1, 2]),
    half=st.integers(1, 9),
)
def test_upsampling_goes_from_phases_to_phases(
    rate: int, extra: int, inputs: int, outputs: int, half: int
) -> None:
    if rate * inputs % outputs:
        rate += 1
    if rate == 1 and extra % 2:
        extra += 1
    padding, odd = (extra + 1) // 2, extra % 2
    torch.manual_seed(0)
    layer = nn.ConvTranspose1d(3, 2, rate + extra, rate, padding, odd)
    x = torch.randn(2, 3, 2 * half)
    with torch.no_grad():
        result = Upsampling(layer, inputs, outputs)(phases(x, inputs))
        assert len(result) == outputs
        torch.testing.assert_close(joined(result), layer(x), rtol=0, atol=5e-6)


def test_the_fast_form_multiplies_less() -> None:
    """17 taps for 22: three filters of 6, 6 and 5 taps at half rate for one of 11."""
    layer = Convolution(nn.Conv1d(FAST_CHANNELS, FAST_CHANNELS, 11, padding=5), 2)
    even, odd = layer.even.shape[-1], layer.odd.shape[-1]
    assert (even + even + odd) / (2 * 11) == 17 / 22
