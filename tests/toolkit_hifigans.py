"""HiFi-GAN as other toolkits write and compute it: random weights under their names, float64 forward passes.

Written from those toolkits' own code, on their own keys, of torch's functions alone: nothing of the dialects
under test is used. Weights are drawn so that signals keep their size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]
BANDS, CHANNELS = 6, 16
KERNELS, DILATIONS = (3, 5), ((1, 3, 5), (1, 2, 3))


@dataclass(frozen=True)
class Toolkit:
    """How a toolkit names layers, and what it does at their ends."""

    pre: str
    up: Callable[[int], str]  # stage
    block: Callable[[int, int, int, int], str]  # stage, block, which of a pair, dilation
    post: str
    rates: tuple[int, ...] = (4, 3, 2)
    kernels: tuple[int, ...] = (8, 5, 4)
    up_padding: Callable[[int, int], tuple[int, int]] = lambda u, k: ((k - u) // 2, 0)
    mode: str = "constant"  # of the padding around convolutions
    pairs: bool = True  # residual blocks of the first type


def _flat(stage: int, block: int, which: int, dilation: int) -> str:
    return f"resblocks.{2 * stage + block}.convs{which}.{dilation}"


TOOLKITS: Mapping[str, Toolkit] = {
    # generator.conv_pre, ups, resblocks, as the original; behind model_g. in the file
    "coqui": Toolkit(
        "conv_pre", "ups.{}".format, lambda s, b, c, d: f"resblocks.{2 * s + b}.convs{c}.{d}", "conv_post"
    ),
    # upsamples.S = Sequential(activation, ConvTranspose1d); output_conv = Sequential(LeakyReLU, Conv1d, Tanh)
    "parallel-wavegan": Toolkit(
        "input_conv",
        "upsamples.{}.1".format,
        lambda s, b, c, d: f"blocks.{2 * s + b}.convs{c}.{d}.1",
        "output_conv.1",
        rates=(5, 4, 3),
        kernels=(10, 8, 6),
        up_padding=lambda u, _: (u // 2 + u % 2, u % 2),
    ),
    "parallel-wavegan-single": Toolkit(
        "input_conv",
        "upsamples.{}.1".format,
        lambda s, b, c, d: f"blocks.{2 * s + b}.convs{c}.{d}.1",
        "output_conv.1",
        rates=(4, 2),
        kernels=(8, 4),
        up_padding=lambda u, _: (u // 2 + u % 2, u % 2),
        pairs=False,
    ),
    "nemo": Toolkit(
        "conv_pre", "ups.{}".format, lambda s, b, c, d: f"resblocks.{s}.{b}.convs{c}.{d}", "conv_post"
    ),
    "speechbrain": Toolkit(
        "conv_pre.conv",
        "ups.{}.conv".format,
        lambda s, b, c, d: f"resblocks.{2 * s + b}.convs{c}.{d}.conv",
        "conv_post.conv",
        mode="reflect",
    ),
    "transformers": Toolkit(
        "conv_pre",
        "upsampler.{}".format,
        lambda s, b, c, d: f"resblocks.{2 * s + b}.convs{c}.{d}",
        "conv_post",
    ),
}


def weights(toolkit: Toolkit, seed: int = 0) -> State:
    """A state dict with weight norm, magnitudes that are not the directions' norms."""
    draw, state = torch.Generator().manual_seed(seed), State()

    def layer(name: str, shape: tuple[int, int, int], outputs: int, gain: float) -> None:
        v = torch.randn(shape, generator=draw) / (shape[1] * shape[2]) ** 0.5
        state[f"{name}.weight_v"] = v
        state[f"{name}.weight_g"] = v.flatten(1).norm(dim=1).reshape(-1, 1, 1) * gain
        state[f"{name}.bias"] = torch.randn(outputs, generator=draw) * 0.05

    layer(toolkit.pre, (CHANNELS, BANDS, 7), CHANNELS, 0.6)
    for stage, kernel in enumerate(toolkit.kernels):
        count = CHANNELS >> (stage + 1)
        layer(toolkit.up(stage), (2 * count, count, kernel), count, 1.3)
        for block, size in enumerate(KERNELS):
            for which in (1, 2) if toolkit.pairs else (1,):
                for dilation in range(3 if toolkit.pairs else 2):
                    name = toolkit.block(stage, block, which, dilation)
                    layer(name, (count, count, size), count, 0.8)
    layer(toolkit.post, (1, CHANNELS >> len(toolkit.rates), 7), 1, 0.5)
    return state


def forward(toolkit: Toolkit, state: State, mel: Tensor) -> Tensor:
    """mel (B, bands, T), as the first convolution sees it → samples (B, 1, T · hop), float64."""

    def weight(name: str) -> Tensor:
        g, v = state[f"{name}.weight_g"].double(), state[f"{name}.weight_v"].double()
        return g * v / v.square().sum((1, 2), keepdim=True).sqrt()

    def convolve(x: Tensor, name: str, dilation: int = 1) -> Tensor:
        w = weight(name)
        reach = dilation * (w.shape[2] - 1) // 2
        return F.conv1d(
            F.pad(x, (reach, reach), toolkit.mode), w, state[f"{name}.bias"].double(), dilation=dilation
        )

    x = convolve(mel.double(), toolkit.pre)
    for stage, (rate, kernel) in enumerate(zip(toolkit.rates, toolkit.kernels, strict=True)):
        padding, extra = toolkit.up_padding(rate, kernel)
        name = toolkit.up(stage)
        x = F.conv_transpose1d(
            F.leaky_relu(x, 0.1), weight(name), state[f"{name}.bias"].double(), rate, padding, extra
        )
        total = torch.zeros_like(x)
        for block, dilations in enumerate(DILATIONS):
            y = x
            for d, dilation in enumerate(dilations if toolkit.pairs else dilations[:2]):
                t = convolve(F.leaky_relu(y, 0.1), toolkit.block(stage, block, 1, d), dilation)
                if toolkit.pairs:
                    t = convolve(F.leaky_relu(t, 0.1), toolkit.block(stage, block, 2, d))
                y = y + t
            total = total + y
        x = total / len(KERNELS)
    return convolve(F.leaky_relu(x, 0.01), toolkit.post).tanh()


def mel(frames: int = 30) -> Tensor:
    """(1, bands, frames) in the range of logarithms."""
    return torch.rand((1, BANDS, frames), generator=torch.Generator().manual_seed(1)) * 10 - 9
