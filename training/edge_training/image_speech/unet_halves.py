"""The UNet in two halves of about the same size, for phones that load no file above 1 GB.

    first    sample, timestep, encoder_hidden_states → hidden, time_embedding, skip_0 … skip_n
    second   hidden, time_embedding, encoder_hidden_states, skip_0 … skip_n → noise

The first half ends behind as many layers of the up blocks as make the halves most equal: of Stable Diffusion
1.5's 1.72 GB in float16 they have 0.89 and 0.82. A skip is an output of a down block that a layer of the
second half reads. Both modules hold all weights of the UNet, by their own names, and compute with their half.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from edge_training.image_speech.net_configs import SdUnetConfig


class Border(NamedTuple):
    """What goes from one half to the other: channels, and how often height and width are halved."""

    layers: int  # of the up blocks that are in the first half
    hidden: tuple[int, int]
    skips: tuple[tuple[int, int], ...]
    time_channels: int


def border(config: SdUnetConfig) -> Border:
    """Where a UNet is cut, and the tensors there.

    >>> from edge_training.image_speech.net_configs import SD_UNET_PRESETS
    >>> border(SD_UNET_PRESETS["tiny"]).skips
    ((32, 0), (32, 0), (32, 1), (64, 1))
    """
    channels, last = config.block_out_channels, len(config.block_out_channels) - 1
    skips = [(channels[0], 0)]
    for level, count in enumerate(channels):
        skips += [(count, level)] * config.layers_per_block
        skips += [(count, level + 1)] if level < last else []
    layers = _cut(config)
    block, inside = divmod(layers, config.layers_per_block + 1)
    hidden = (channels[last], last)
    if inside:
        hidden = (channels[last - block], last - block)
    elif block:  # just behind a block, which has doubled height and width
        hidden = (channels[last - block + 1], last - block)
    return Border(layers, hidden, tuple(skips[: len(skips) - layers]), 4 * channels[0])


def _cut(config: SdUnetConfig) -> int:
    """How many layers of the up blocks make the halves most equal."""
    from edge_training.image_speech.nets import build_unet

    with torch.device("meta"):
        unet: Any = build_unet(config)
    rest = _size(unet.up_blocks) + _size(unet.conv_norm_out) + _size(unet.conv_out)
    whole, best = _size(unet), (_size(unet), 0)
    for count, layer in enumerate(_layers(unet)):
        best = min(best, (max(rest, whole - rest), count))
        rest -= sum(_size(part) for part in layer if part is not None)
    return best[1]


def _size(module: Any) -> int:
    return sum(weight.numel() for weight in module.parameters())


def _layers(unet: Any) -> list[tuple[Any, Any, Any]]:
    """(residual block, attention or None, upsampler or None) of the up blocks, as they run."""
    found = []
    for block in unet.up_blocks:
        attentions = block.attentions if getattr(block, "has_cross_attention", False) else ()
        last = len(block.resnets) - 1
        for index, resnet in enumerate(block.resnets):
            upsampler = block.upsamplers[0] if index == last and block.upsamplers is not None else None
            found.append((resnet, attentions[index] if attentions else None, upsampler))
    return found


def _up(
    layers: list[tuple[Any, Any, Any]], hidden: Tensor, emb: Tensor, states: Tensor, skips: list[Tensor]
) -> Tensor:
    """Some layers of the up blocks; each takes its skip off the list."""
    for resnet, attention, upsampler in layers:
        hidden = resnet(torch.cat([hidden, skips.pop()], dim=1), emb)
        if attention is not None:
            hidden = attention(hidden, encoder_hidden_states=states, return_dict=False)[0]
        if upsampler is not None:
            hidden = upsampler(hidden)
    return hidden


class FirstHalf(nn.Module):
    """Down blocks, middle block, and up blocks as far as the border."""

    def __init__(self, config: SdUnetConfig) -> None:
        super().__init__()
        self.layers = border(config).layers
        _take_parts(self, config)

    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> tuple[Tensor, ...]:
        """(B, 4, h, w), (B,), (B, S, C) → hidden (B, …), time embedding (B, …), skips (B, …)."""
        unet: Any = self
        emb = unet.time_embedding(unet.time_proj(timestep).to(sample.dtype))
        hidden = unet.conv_in(sample)
        skips = [hidden]
        for block in unet.down_blocks:
            given = {"hidden_states": hidden, "temb": emb}
            if getattr(block, "has_cross_attention", False):
                given["encoder_hidden_states"] = encoder_hidden_states
            hidden, outputs = block(**given)
            skips += outputs
        hidden = unet.mid_block(hidden, emb, encoder_hidden_states=encoder_hidden_states)
        hidden = _up(_layers(unet)[: self.layers], hidden, emb, encoder_hidden_states, skips)
        return (hidden, emb, *skips)


class SecondHalf(nn.Module):
    """The other up blocks, and the last convolution."""

    def __init__(self, config: SdUnetConfig) -> None:
        super().__init__()
        self.layers = border(config).layers
        _take_parts(self, config)

    def forward(
        self, hidden: Tensor, time_embedding: Tensor, encoder_hidden_states: Tensor, *skips: Tensor
    ) -> Tensor:
        """What the first half gave (B, …), and the condition (B, S, C) → (B, 4, h, w)."""
        unet: Any = self
        rest = _layers(unet)[self.layers :]
        hidden = _up(rest, hidden, time_embedding, encoder_hidden_states, list(skips))
        noise: Tensor = unet.conv_out(unet.conv_act(unet.conv_norm_out(hidden)))
        return noise


def _take_parts(module: nn.Module, config: SdUnetConfig) -> None:
    """The UNet's layers, under its names."""
    from edge_training.image_speech.nets import build_unet

    for name, part in build_unet(config).named_children():
        module.add_module(name, part)
