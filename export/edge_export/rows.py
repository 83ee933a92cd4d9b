# ruff: noqa: TID253  -- reached from building an ONNX file alone, where torch is imported anyhow
"""HiFi-GAN in the form that onnxruntime runs fastest: 2-D convolutions, the late stages in rows of time.

onnxruntime's blocked convolution kernels (NCHWc) exist for two dimensions only, so each 1-D convolution
becomes a (1, k) one on (B, C, 1, N). They are handed to threads by groups of 64 channels and by rows: with
one row, stages of 64 channels and fewer would run on one thread. So these stages get the signal as `ROWS`
overlapping pieces, one below the other, and what the overlap spoils is dropped at the end. The numbers are
those of the whole signal: a piece overlaps by the stages' receptive field, and the outer ends stay ends.

MEASURED
"""

from __future__ import annotations

import copy
from dataclasses import replace
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_training.nets.hifigan import LAST_SLOPE, SLOPE, HifiGan, HifiGanConfig

ROWS = 4
BLOCKED_CHANNELS = 128  # from here on the kernels keep two threads busy without rows


class Wide(nn.Module):
    """A 1-D convolution, plain or transposed, as a 2-D one with kernel (1, k)."""

    def __init__(self, layer: nn.Conv1d | nn.ConvTranspose1d) -> None:
        super().__init__()
        self.pad: tuple[int, int] = getattr(layer, "pad", (0, 0))  # of the causal-tail wiring's layers
        sizes = (layer.in_channels, layer.out_channels, (1, layer.kernel_size[0]), (1, layer.stride[0]))
        assert layer.groups == 1
        assert not isinstance(layer.padding, str)
        padding, dilation = (0, layer.padding[0]), (1, layer.dilation[0])
        self.layer: nn.Conv2d | nn.ConvTranspose2d
        if isinstance(layer, nn.ConvTranspose1d):
            extra = (0, layer.output_padding[0])
            self.layer = nn.ConvTranspose2d(*sizes, padding, extra, dilation=dilation)
        else:
            self.layer = nn.Conv2d(*sizes, padding, dilation)
        self.layer.weight = nn.Parameter(layer.weight.unsqueeze(2))
        self.layer.bias = layer.bias

    def forward(self, x: Tensor) -> Tensor:
        if not any(self.pad):
            return self.layer(x)  # type: ignore[no-any-return]
        layer = self.layer
        assert layer.bias is not None
        arguments = (x, layer.weight, layer.bias, self.pad, layer.dilation[1])
        y: Tensor = _PaddedConvolution.apply(*arguments)  # type: ignore[no-untyped-call]
        return y


class _PaddedConvolution(torch.autograd.Function):
    """A (1, k) convolution with (left, right) zeros; in ONNX one Conv, where F.pad would be a dozen nodes."""

    @staticmethod
    def forward(
        _ctx: object, x: Tensor, weight: Tensor, bias: Tensor, pad: tuple[int, int], dilation: int
    ) -> Tensor:
        return F.conv2d(F.pad(x, pad), weight, bias, dilation=(1, dilation))

    @staticmethod
    def symbolic(g: Any, x: Any, weight: Any, bias: Any, pad: tuple[int, int], dilation: int) -> Any:
        left, right = pad
        return g.op("Conv", x, weight, bias, dilations_i=[1, dilation], pads_i=[0, left, 0, right])


def widened(module: nn.Module) -> nn.Module:
    """A copy of a module whose 1-D convolutions take and give (B, C, rows, N)."""
    module = copy.deepcopy(module)
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
                setattr(parent, name, Wide(layer))
    return module


class HifiGanInRows(nn.Module):
    """mel (B, num_mels, T) → samples (B, 1, T · hop_length), equal to those of the net given."""

    def __init__(self, net: HifiGan) -> None:
        super().__init__()
        self.net = widened(net)
        self.first = _first_stage(net.config)
        self.rate = prod(net.config.upsample_rates[self.first :])
        self.overlap = _context(net.config, self.first)

    def forward(self, mel: Tensor) -> Tensor:
        net = self.net
        assert isinstance(net, HifiGan)
        x: Tensor = net.conv_pre(mel.unsqueeze(2))
        for stage in range(self.first):
            x = self._stage(net, stage, x)
        rows = Rows(x.shape[-1], self.overlap)
        x = rows.split(x)
        for stage in range(self.first, len(net.ups)):
            x = self._stage(net, stage, x)
        x = net.conv_post(F.leaky_relu(x, LAST_SLOPE))
        return rows.join(x, self.rate).tanh()

    @staticmethod
    def _stage(net: HifiGan, stage: int, x: Tensor) -> Tensor:
        x = net.ups[stage](F.leaky_relu(x, SLOPE))
        first = stage * net.blocks
        total: Tensor = net.resblocks[first](x)
        for block in range(first + 1, first + net.blocks):
            total = total + net.resblocks[block](x)
        return total / net.blocks


class Rows:
    """`ROWS` pieces of n positions: piece i holds those of its own, and `overlap` more on either side.

    All pieces are as long; near the ends they reach further inwards instead of beyond the signal.
    """

    def __init__(self, n: int | Tensor, overlap: int) -> None:
        # a tensor already while the net is traced: any length
        self.n = n if isinstance(n, Tensor) else torch.tensor(n)
        self.own = (self.n + (ROWS - 1)) // ROWS
        self.length = torch.minimum(self.own + 2 * overlap, self.n)
        starts = torch.arange(ROWS) * self.own - overlap
        self.starts = torch.minimum(starts, self.n - self.length).clamp(min=0)

    def split(self, x: Tensor) -> Tensor:
        """(B, C, 1, n) → (B, C, ROWS, length)."""
        index = self.starts[:, None] + _arange(self.length)[None]
        return x[:, :, 0][:, :, index]

    def join(self, x: Tensor, rate: int) -> Tensor:
        """(B, C, ROWS, length · rate) → (B, C, n · rate)."""
        time = _arange(self.n * rate)
        row = time // (self.own * rate)
        column = time - self.starts[row] * rate
        return x.flatten(2)[:, :, row * (self.length * rate) + column]


def _arange(stop: Tensor) -> Tensor:
    return torch.arange(stop)  # type: ignore[call-overload,no-any-return]  # the stub knows numbers alone


def in_rows(net: HifiGan) -> nn.Module:
    """The same net in rows."""
    return HifiGanInRows(net).eval().requires_grad_(requires_grad=False)


def _first_stage(config: HifiGanConfig) -> int:
    """The first stage too narrow for the kernels' own division of work; never the first of all where there
    are more, as its receptive field is a large part of a short input."""
    stages = len(config.upsample_rates)
    channels = [config.upsample_initial_channel >> (stage + 1) for stage in range(stages)]
    narrow = next((stage for stage in range(stages) if channels[stage] < BLOCKED_CHANNELS), stages)
    return min(max(1, narrow), stages - 1)


def _context(config: HifiGanConfig, first: int) -> int:
    """Positions before and after its own that a sample depends upon, from stage `first` on."""
    rates = config.upsample_rates[first:]
    hop = prod(rates)
    rest = replace(
        config,
        upsample_rates=rates,
        upsample_kernel_sizes=config.upsample_kernel_sizes[first:],
        hop_size=hop,
        win_size=hop,
        n_fft=hop,
        segment_size=None,
    )
    return rest.context_frames  # counts a conv_pre too: more than needed, never less
