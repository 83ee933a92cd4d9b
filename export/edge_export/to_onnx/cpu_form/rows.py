"""HiFi-GAN in the form that onnxruntime runs fastest on CPUs; the numbers stay those of the net.

Three changes, each for a measured reason:

* 1-D convolutions as 2-D ones with kernel (1, k): onnxruntime's blocked kernels (NCHWc) have only these.
* Wide stages on even and odd samples apart (`polyphase`): those kernels run at the processor's peak, so only
  fewer multiplications make them faster.
* Narrow stages in rows: the kernels hand work to threads by groups of 64 channels and by rows, so with one
  row, stages of 64 channels and fewer would run on one thread. They get the signal as `ROWS` pieces, one
  below the other, which overlap by the stages' receptive field; the overlap, whose output is wrong, is
  dropped at the end. The ends of the signal stay ends.

Figures: V1, 2 s, onnxruntime 1.31, AVX-512 (EPYC 9004), milliseconds, the median of ten in one run on an
idle machine with two threads: the unchanged net 610, 2-D 696, with rows 560, with phases too 529, and with
the phases' small steps as depthwise convolutions 484; PyTorch eager 600 to 730. On one thread: 1116 → 913. V2
97 → 85, V3 101 → 95. Transposed convolutions are unchanged: as convolutions with a reshape they took equally
long.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch
from torch import Tensor, nn

from edge_export.to_onnx.cpu_form.polyphase import (
    FAST_CHANNELS,
    Convolution,
    Signal,
    Upsampling,
    add,
    blocked_leaky,
    leaky,
)
from edge_training.vocoder.hifigan import LAST_SLOPE, SLOPE, HifiGan, HifiGanConfig, ResBlock1

ROWS = 4
THREADED_CHANNELS = 128  # from here on the kernels keep two threads busy without rows


class Block(nn.Module):
    """A residual block of either type: chains of convolutions, each chain around its input."""

    def __init__(self, block: nn.Module, phases: int) -> None:
        super().__init__()
        if isinstance(block, ResBlock1):
            chains = [list(pair) for pair in zip(block.convs1, block.convs2, strict=True)]
        else:
            assert isinstance(block.convs, nn.ModuleList)
            chains = [[layer] for layer in block.convs]
        self.chains = nn.ModuleList(nn.ModuleList(_convolutions(chain, phases)) for chain in chains)
        self.phases = phases

    def forward(self, x: Signal) -> Signal:
        """Phases (B, C, rows, N) → the same shape."""
        for chain in self.chains:
            assert isinstance(chain, nn.ModuleList)
            y = x
            for convolution in chain:
                assert isinstance(convolution, Convolution)
                if self.phases == 2:
                    y = convolution(blocked_leaky(y, SLOPE, convolution.channels))
                else:
                    y = convolution(leaky(y, SLOPE))
            x = add(x, y)
        return x


def _convolutions(layers: list[nn.Module], phases: int) -> list[Convolution]:
    assert all(isinstance(layer, nn.Conv1d) for layer in layers)
    return [Convolution(layer, phases) for layer in layers if isinstance(layer, nn.Conv1d)]


class Stage(nn.Module):
    """Upsampling, then the mean of the residual blocks; from one number of phases to another."""

    def __init__(self, net: HifiGan, stage: int, inputs: int, outputs: int) -> None:
        super().__init__()
        up = net.ups[stage]
        assert isinstance(up, nn.ConvTranspose1d)
        self.up = Upsampling(up, inputs, outputs)
        first = stage * net.blocks
        self.blocks = nn.ModuleList(
            Block(block, outputs) for block in net.resblocks[first : first + net.blocks]
        )

    def forward(self, x: Signal) -> Signal:
        """Phases (B, inputs, rows, N) → phases (B, outputs, rows, N')."""
        x = self.up(leaky(x, SLOPE))
        first, *others = self.blocks
        total: Signal = first(x)
        for block in others:
            total = add(total, block(x))
        return tuple(phase / len(self.blocks) for phase in total)


class HifiGanInRows(nn.Module):
    """mel (B, num_mels, T) → samples (B, 1, T · hop_length), equal to those of the net given."""

    def __init__(self, net: HifiGan) -> None:
        super().__init__()
        config = net.config
        self.standardise = net.standardise
        phases = [1, *_phases(config)]
        self.conv_pre = Convolution(net.conv_pre, 1)
        self.stages = nn.ModuleList(
            Stage(net, stage, phases[stage], phases[stage + 1]) for stage in range(len(net.ups))
        )
        self.conv_post = Convolution(net.conv_post, phases[-1])
        self.first = _first_in_rows(config)
        self.rate = phases[self.first] * prod(config.upsample_rates[self.first :])
        self.overlap = -(-_context(config, self.first) // phases[self.first])

    def forward(self, mel: Tensor) -> Tensor:
        """(B, num_mels, T) → (B, 1, T · hop_length)."""
        x: Signal = self.conv_pre((self.standardise(mel).unsqueeze(2),))
        for stage in self.stages[: self.first]:
            x = stage(x)
        rows = Rows(x[0].shape[-1], self.overlap)
        x = tuple(rows.split(phase) for phase in x)
        for stage in self.stages[self.first :]:
            x = stage(x)
        (samples,) = self.conv_post(leaky(x, LAST_SLOPE))
        return rows.join(samples, self.rate).tanh()


class Rows:
    """`ROWS` pieces of n positions: piece i holds those of its own, and `overlap` more on either side.

    All pieces are as long; near the ends they reach further inwards instead of beyond the signal.
    """

    def __init__(self, n: int | Tensor, overlap: int) -> None:
        # a tensor already while the net is traced: any length
        self.n = n if isinstance(n, Tensor) else torch.tensor(n)
        self.own = (self.n + (ROWS - 1)) // ROWS
        self.length = torch.minimum(self.own + 2 * overlap, self.n)
        self.starts = [self._start(row, overlap) for row in range(ROWS)]

    def _start(self, row: int, overlap: int) -> Tensor:
        return torch.minimum(row * self.own - overlap, self.n - self.length).clamp(min=0)

    def split(self, x: Tensor) -> Tensor:
        """(B, C, 1, n) → (B, C, ROWS, length)."""
        return torch.cat([x[..., start : start + self.length] for start in self.starts], dim=2)

    def join(self, x: Tensor, rate: int) -> Tensor:
        """(B, C, ROWS, length · rate) → (B, C, n · rate)."""
        own = []
        for row, start in enumerate(self.starts):
            first = row * self.own - start  # beyond the piece, where n has no position for this row
            own.append(x[:, :, row, first * rate : (first + self.own) * rate])
        return torch.cat(own, dim=2)


def in_rows(net: HifiGan) -> nn.Module:
    """The same net in this form; one that reflects at the ends stays as it is, for phases and rows have other
    neighbours there."""
    if net.config.padding_mode != "zeros":
        return net
    return HifiGanInRows(net).eval().requires_grad_(requires_grad=False)


def _channels(config: HifiGanConfig) -> list[int]:
    return [config.upsample_initial_channel >> (stage + 1) for stage in range(len(config.upsample_rates))]


def _phases(config: HifiGanConfig) -> list[int]:
    """Phases after each stage: two while the channels are many; one in the last stage, which conv_post and
    the samples follow, and everywhere if the first rate is odd (an odd number of frames has no halves)."""
    if config.upsample_rates[0] % 2:
        return [1 for _ in config.upsample_rates]
    *others, _ = _channels(config)
    return [*(2 if count >= FAST_CHANNELS else 1 for count in others), 1]


def _first_in_rows(config: HifiGanConfig) -> int:
    """The first stage too narrow for the kernels' own division of work; never the first of all where there
    are more, as its receptive field is a large part of a short input."""
    stages = len(config.upsample_rates)
    narrow = (stage for stage, count in enumerate(_channels(config)) if count < THREADED_CHANNELS)
    return min(max(1, next(narrow, stages)), stages - 1)


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
        front_end=None,
    )
    return rest.context_frames  # counts a conv_pre too: more than needed, never less
