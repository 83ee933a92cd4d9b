"""Layers that the ECoG decoders share.

FrameNorm       statistics over channels (and electrodes) of one frame; a causal net may use it
RecordingNorm   statistics of each channel over all frames and electrodes: sees the whole window
Doubling        transposed convolution that doubles the frames
TimeConv        convolution whose time axis is padded on both sides, the past's, or the future's

Axes: (B, C, T) or (B, C, T, H, W). Statistics of five axes are taken over a flattened tensor by hand, which
keeps the rank at five: Core ML knows no more, and a group norm of five axes needs six.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2  # of every leaky rectifier
EPS = 1e-5
ARTANH_TERMS = 7  # of the series at 1/3: what is left out is 1.4e-8 of the sum

# whose frames a convolution's padding makes up: a plain one sees both sides
Side = Literal["both", "past", "future"]
_BEFORE: Mapping[Side, float] = MappingProxyType({"both": 0.5, "past": 1.0, "future": 0.0})


def leaky(x: Tensor) -> Tensor:
    """The system's leaky ReLU, (…, T) → the same shape."""
    return F.leaky_relu(x, SLOPE)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)), (…) → the same shape, exact to a few roundings of the result wherever it is small.

    max(x, 0) + log(1 + e) with e = exp(−|x|), as log(1 + e) = 2 artanh(e / (2 + e)), whose argument is at
    most a third. A loudness of 1e-5 has its digits so on every backend: OpenVINO's own operator is off by
    1e-6, and the Neural Engine's falls to 0 above 10.4.
    """
    e = torch.exp(-x.abs())
    twice = e / (1 + 0.5 * e)  # not half of it: float16 has few digits there
    square = 0.25 * twice * twice
    series = square / (2 * ARTANH_TERMS - 1) + 1 / (2 * ARTANH_TERMS - 3)
    for term in range(ARTANH_TERMS - 3, -1, -1):
        series = series * square + 1 / (2 * term + 1)
    return torch.relu(x) + twice * series


class _Affine(nn.Module):
    """A gain and an offset for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def apply_to(self, x: Tensor) -> Tensor:
        shape = (1, -1, *[1] * (x.ndim - 2))
        return x * self.weight.reshape(shape) + self.bias.reshape(shape)


class FrameNorm(nn.Module):
    """Zero mean and unit variance of each frame, then an affine map by channel: (B, C, T, …) → the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _Affine(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, …) → the same shape."""
        return self.norm.apply_to(_normalised(x, _frame_axes(x)))


class BlockNorm(_Affine):
    """Norm of a residual block: over the recording as published, or `framewise` for the causal wiring."""

    def __init__(self, channels: int, *, framewise: bool = False) -> None:
        super().__init__(channels)
        self.framewise = framewise

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → the same shape."""
        if self.training:
            return self._fused(x)
        axes = _frame_axes(x) if self.framewise else list(range(2, x.ndim))
        return self.apply_to(_normalised(x, axes))

    def _fused(self, x: Tensor) -> Tensor:
        """The same by torch's group norm: a third of the time, but six axes in Core ML."""
        if not self.framewise:
            return F.group_norm(x, x.shape[1], self.weight, self.bias, EPS)
        frames = x.transpose(1, 2)  # (B, T, C, H, W): each frame an item of one group
        normed = F.group_norm(frames.flatten(0, 1), 1, self.weight, self.bias, EPS)
        return normed.reshape(frames.shape).transpose(1, 2)


def _frame_axes(x: Tensor) -> list[int]:
    return [1, *range(3, x.ndim)]


def _normalised(x: Tensor, axes: list[int]) -> Tensor:
    centred = x - _mean(x, axes)
    return centred * torch.rsqrt(_mean(centred.square(), axes) + EPS)


def _mean(x: Tensor, axes: list[int]) -> Tensor:
    """Over the grid, then over what is left: 32,400 squares of a hybrid grid in one sum overflow float16."""
    grid, rest = [axis for axis in axes if axis > 2], [axis for axis in axes if axis <= 2]
    return (x.mean(grid, keepdim=True) if grid else x).mean(rest, keepdim=True)


class TimeConv3d(nn.Conv3d):
    """(B, C, T, H, W) → the same T, H, W; odd kernels, the time axis padded on `side`.

    A kernel of one electrode is applied as a convolution in two dimensions, frames and electrodes: the same
    numbers, two to three times as fast in PyTorch and onnxruntime.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, int, int], side: Side, *, bias: bool
    ) -> None:
        super().__init__(inputs, outputs, kernel, padding=(0, kernel[1] // 2, kernel[2] // 2), bias=bias)
        self.before, self.after = _sides(kernel[0], side)
        self.taps: Tensor | None = None

    def fold(self) -> None:
        """The kernel as it is applied as a constant: an exporter must not find a computed one."""
        self.taps = nn.Parameter(self._applied().detach().contiguous(), requires_grad=False)

    def _applied(self) -> Tensor:
        return self.weight.squeeze(-1) if self.kernel_size[1:] == (1, 1) else self.weight

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, T, H, W) → (B, outputs, T, H, W)."""
        taps = self._applied() if self.taps is None else self.taps
        if taps.ndim == 5:
            x = F.pad(x, (0, 0, 0, 0, self.before, self.after))
            return F.conv3d(x, taps, self.bias, self.stride, self.padding)
        flat = F.pad(x.flatten(3), (0, 0, self.before, self.after))
        y: Tensor = F.conv2d(flat, taps, self.bias, (self.stride[0], 1)).unflatten(-1, x.shape[3:])  # type: ignore[no-untyped-call]
        return y


class AveragedConv3d(TimeConv3d):
    """A `TimeConv3d` without offset, then means over cells: (B, C, T, H, W) → (B, C', T', H', W').

    Means of a convolution are a convolution of a longer kernel in strides: a third of the work. `past` zero
    frames are put before its first, which zero frames of the input give, as there is no offset.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int, int],
        side: Side,
        strides: tuple[int, int, int],
        *,
        past: int,
    ) -> None:
        super().__init__(inputs, outputs, kernel, side, bias=False)
        self.stride = strides
        self.before += past

    def _applied(self) -> Tensor:
        """(O, I, a + s₀ − 1, …): the mean of the kernel's copies within a cell."""
        outputs, inputs, *taps = self.weight.shape
        around = [stride - 1 for stride in reversed(self.stride) for _ in "ab"]
        spread = F.pad(self.weight.reshape(1, outputs * inputs, *taps), around)
        mean = F.avg_pool3d(spread, self.stride, 1)
        mean = mean.reshape(outputs, inputs, *mean.shape[2:])
        return mean.squeeze(-1) if mean.shape[3:] == (1, 1) else mean


class TimeConv1d(nn.Conv1d):
    """(B, C, T) → the same T; an odd kernel, padded on `side`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, side: Side = "both") -> None:
        super().__init__(inputs, outputs, kernel)
        self.before, self.after = _sides(kernel, side)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, T) → (B, outputs, T)."""
        return super().forward(F.pad(x, (self.before, self.after)))


def _sides(kernel: int, side: Side) -> tuple[int, int]:
    before = int((kernel - 1) * _BEFORE[side])
    return before, kernel - 1 - before


class DoublingConv(nn.Module):
    """Transposed convolution of stride 2, stored with three taps and applied with four: (B, C, T) → 2 T.

    The taps are (w₀, w₀ + w₁, w₁ + w₂, w₂), so that even and odd frames weigh the same. Plain padding lets an
    output see one input frame ahead; with `causal` output n sees inputs up to ⌊n / 2⌋.
    """

    def __init__(self, inputs: int, outputs: int, *, causal: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.causal = causal
        self.taps: Tensor | None = None

    def fold(self) -> None:
        """Four taps as a constant: an exporter must not find a computed kernel."""
        self.taps = nn.Parameter(self._four_taps().detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, T) → (B, outputs, 2 T)."""
        taps = self._four_taps() if self.taps is None else self.taps
        y = F.conv_transpose1d(x, taps, self.bias, stride=2)
        return y[..., :-2] if self.causal else y[..., 1:-1]

    def _four_taps(self) -> Tensor:
        w0, w1, w2 = self.weight.unbind(-1)
        return torch.stack([w0, w0 + w1, w1 + w2, w2], dim=-1)


class HoldingConv(DoublingConv):
    """The weights of a `DoublingConv` where the causal wiring does not double: a causal convolution."""

    def fold(self) -> None:
        self.taps = nn.Parameter(self.weight.transpose(0, 1).detach().contiguous(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, T) → (B, outputs, T)."""
        taps = self.weight.transpose(0, 1) if self.taps is None else self.taps
        return F.conv1d(F.pad(x, (2, 0)), taps, self.bias)


class Doubling(nn.Module):
    """`DoublingConv` under the key `up`, its name in neural_speech_decoding."""

    def __init__(self, inputs: int, outputs: int, *, causal: bool = False, hold: bool = False) -> None:
        super().__init__()
        self.up = HoldingConv(inputs, outputs) if hold else DoublingConv(inputs, outputs, causal=causal)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, T) → (B, outputs, 2 T)."""
        y: Tensor = self.up(x)
        return y


def pad_past(x: Tensor, frames: int) -> Tensor:
    """Zero frames before the first one, (B, C, T, H, W)."""
    return F.pad(x, (0, 0, 0, 0, frames, 0))


def initialise(module: nn.Module) -> None:
    """neural_speech_decoding's initial convolutions and linear layers: N(0, √2 / √fan_in), bias 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv3d | nn.Linear):
            fan_in = layer.weight[0].numel()
        elif isinstance(layer, DoublingConv):
            fan_in = layer.weight.shape[0] * layer.weight.shape[2]
        else:
            continue
        nn.init.normal_(layer.weight, 0.0, (2 / fan_in) ** 0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
