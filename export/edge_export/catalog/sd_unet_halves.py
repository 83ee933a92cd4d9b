"""sd-unet in two halves: entries like those of the catalogue, for `edge_export.convert.chunks` alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edge_export.catalog import sd_unet
from edge_export.catalog.dynamic_axes import Buckets
from edge_export.catalog.net import Arrays, Axes, Net
from edge_runtime.store.bundle import Tensor

if TYPE_CHECKING:
    from torch import nn

    from edge_training.image_speech.net_configs import SdUnetConfig


def _between(config: SdUnetConfig) -> tuple[Tensor, ...]:
    """What goes from the first half to the second."""
    from edge_training.image_speech.unet_halves import border

    cut = border(config)
    named = {"hidden": cut.hidden} | {f"skip_{index}": skip for index, skip in enumerate(cut.skips)}
    tensors = [
        Tensor(name, "float32", ("batch", channels, *_sides(level)), "from half to half", "the net's own")
        for name, (channels, level) in named.items()
    ]
    embedding = ("batch", cut.time_channels)
    tensors.insert(1, Tensor("time_embedding", "float32", embedding, "of the timestep", "the net's own"))
    return tuple(tensors)


def _sides(level: int) -> tuple[str, str]:
    """Names of the axes of latents that were halved so often."""
    return ("height", "width") if level == 0 else (f"height_{2**level}", f"width_{2**level}")


def _second_inputs(config: SdUnetConfig) -> tuple[Tensor, ...]:
    states = sd_unet.NET.inputs(config)[2]
    hidden, embedding, *skips = _between(config)
    return (hidden, embedding, states, *skips)


def _axes_of(config: SdUnetConfig, axes: Axes) -> Axes:
    found = dict(sd_unet.NET.axes_of(config, axes))
    for level in range(1, len(config.block_out_channels)):
        for name, size in zip(_sides(level), config.latent_size, strict=True):
            found[name] = Buckets((size // 2**level,))
    return found


def _second_cases(config: SdUnetConfig, axes: Axes) -> dict[str, Arrays]:
    """Noise: the halves together are held against the whole in tests."""
    sizes = {name: axis.smallest for name, axis in _axes_of(config, axes).items()}
    cases = {}
    for name, seed in (("early", 6), ("late", 7)):
        random = np.random.default_rng(seed)
        cases[name] = {
            tensor.name: random.standard_normal(
                [axis if isinstance(axis, int) else sizes[axis] for axis in tensor.shape]
            ).astype(np.float32)
            for tensor in _second_inputs(config)
        }
    return cases


def _build_first(config: SdUnetConfig) -> nn.Module:
    from edge_training.image_speech.unet_halves import FirstHalf

    return FirstHalf(config)


def _build_second(config: SdUnetConfig) -> nn.Module:
    from edge_training.image_speech.unet_halves import SecondHalf

    return SecondHalf(config)


FIRST: Net[SdUnetConfig] = replace(
    sd_unet.NET,
    name="sd-unet-first",
    summary="the first half of sd-unet",
    weights_of="sd-unet",
    build=_build_first,
    outputs=_between,
    axes_of=_axes_of,
)
SECOND: Net[SdUnetConfig] = replace(
    sd_unet.NET,
    name="sd-unet-second",
    summary="the second half of sd-unet",
    weights_of="sd-unet",
    build=_build_second,
    inputs=_second_inputs,
    cases=_second_cases,
    axes_of=_axes_of,
    float32_parts=(),
)
