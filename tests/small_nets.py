"""A HiFi-GAN of a few thousand parameters with all that the real ones have, for tests of the export."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from edge_export.catalog import NETS, Net
from edge_export.catalog.dynamic_axes import Axis, Buckets
from edge_export.examples.random_weights import random_module
from edge_training.vocoder.hifigan import HifiGan, HifiGanConfig

CONFIG = HifiGanConfig(
    resblock=1,
    upsample_rates=(4, 3, 2),
    upsample_kernel_sizes=(8, 5, 2),
    upsample_initial_channel=32,
    resblock_kernel_sizes=(3, 5),
    resblock_dilation_sizes=((1, 3, 5), (1, 2, 3)),
    num_mels=20,
    n_fft=96,
    hop_size=24,
    win_size=96,
    sampling_rate=8000,
    fmin=0.0,
    fmax=None,
    wiring="stock",
)
CAUSAL = replace(CONFIG, wiring="causal-tail")
ODD = replace(CONFIG, upsample_kernel_sizes=(7, 6, 3), odd_kernels="output-padding")
BLOCKS_2 = replace(CONFIG, resblock=2, resblock_dilation_sizes=((1, 3), (2, 6)))
CONFIGS = {"stock": CONFIG, "causal-tail": CAUSAL, "odd-kernels": ODD, "blocks-2": BLOCKS_2}

NET: Net[Any] = NETS["hifigan"]
AXES: dict[str, Axis] = {"batch": Buckets((1,)), "frames": Buckets((16, 24))}


def small_hifigan(config: HifiGanConfig = CONFIG, seed: int = 0) -> HifiGan:
    """The net in evaluation mode, with weights that keep its signals in range."""
    return _random(NET, config, seed)  # type: ignore[no-any-return]


def encoder(seed: int = 0) -> Any:
    """A whole AudioEncoder; it has one size."""
    net = NETS["audio-encoder"]
    return _random(net, net.preset("talking-head"), seed)


def _random(net: Net[Any], config: Any, seed: int) -> Any:
    *_, case = net.cases(config, net.coreml_axes).values()
    example = (torch.from_numpy(case["mel"]),)
    return random_module(lambda: net.build(config), seed, example, rms=net.random_rms).requires_grad_(False)
