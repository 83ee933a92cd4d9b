"""HiFi-GAN's generator as 2-D convolutions of height 1, channels last: the same function, faster on a CPU.

oneDNN keeps the tensors of one-dimensional convolutions in its own layouts, and copies them there and back
around every layer. Tensors (B, C, 1, N) in channels-last memory format stay as they are from layer to layer,
forward and backward. On one thread of a CPU with AVX-512 and bfloat16, forward
and backward of 8 segments of 8192 samples through V3: 0.24 s, and 0.34 s through the plain generator.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_training.vocoder.hifigan import LAST_SLOPE, SLOPE, AsymmetricConv1d, HifiGan, ResBlock1


def forward_channels_last(generator: HifiGan, mel: Tensor) -> Tensor:
    """mel (B, num_mels, T) → samples (B, 1, T · hop_length), by the generator's own weights."""
    mel = generator.standardise(mel)
    x = _convolve(generator.conv_pre, mel.unsqueeze(2).contiguous(memory_format=torch.channels_last))
    for stage, up in enumerate(generator.ups):
        x = _convolve(up, F.leaky_relu(x, SLOPE))
        first = stage * generator.blocks
        total = _block(generator.resblocks[first], x)
        for block in range(first + 1, first + generator.blocks):
            total = total + _block(generator.resblocks[block], x)
        x = total / generator.blocks
    return _convolve(generator.conv_post, F.leaky_relu(x, LAST_SLOPE)).tanh().squeeze(2)


def _block(block: nn.Module, x: Tensor) -> Tensor:
    if isinstance(block, ResBlock1):
        for dilated, plain in zip(block.convs1, block.convs2, strict=True):
            x = x + _convolve(plain, F.leaky_relu(_convolve(dilated, F.leaky_relu(x, SLOPE)), SLOPE))
        return x
    convolutions = block.convs
    assert isinstance(convolutions, nn.ModuleList)
    for convolution in convolutions:
        x = x + _convolve(convolution, F.leaky_relu(x, SLOPE))
    return x


def _convolve(layer: nn.Module, x: Tensor) -> Tensor:
    """(B, C, 1, N) through a one-dimensional layer."""
    assert isinstance(layer, nn.Conv1d | nn.ConvTranspose1d)
    weight = layer.weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
    padding, stride = (0, int(layer.padding[0])), (1, layer.stride[0])
    if isinstance(layer, nn.ConvTranspose1d):
        return F.conv_transpose2d(x, weight, layer.bias, stride, padding, (0, layer.output_padding[0]))
    if layer.padding_mode != "zeros":
        x, padding = F.pad(x, (padding[1], padding[1], 0, 0), mode=layer.padding_mode), (0, 0)
    if isinstance(layer, AsymmetricConv1d):
        x = F.pad(x, layer.pad)
    return F.conv2d(x, weight, layer.bias, stride, padding, (1, layer.dilation[0]))
