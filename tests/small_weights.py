"""Weights for tests of the loader: a small HiFi-GAN, and states under the keys of published files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from edge_training.vocoder.hifigan import HIFIGAN_PRESETS, HifiGan

KEYS = Path(__file__).parent / "data" / "keys"
TINY = replace(HIFIGAN_PRESETS["v3"], upsample_initial_channel=16, num_mels=4)

State = dict[str, Tensor]


def generated(key_file: str) -> State:
    """Random weights under the keys and shapes of a published system's file."""
    torch.manual_seed(6)
    shapes: dict[str, list[int]] = json.loads((KEYS / f"{key_file}.json").read_text())
    return {
        key: torch.tensor(7) if key.endswith("num_batches_tracked") else 0.1 * torch.randn(shape)
        for key, shape in shapes.items()
    }


def discriminators() -> State:
    """The published keys; every axis cut to two, for they are 70 million weights."""
    shapes: dict[str, list[int]] = json.loads((KEYS / "hifigan_discriminators.json").read_text())
    return {key: torch.rand([min(size, 2) for size in shape]) + 0.5 for key, shape in shapes.items()}


def tiny(seed: int = 7) -> HifiGan:
    """With weight norm, whose magnitudes are not the directions' norms."""
    torch.manual_seed(seed)
    net = HifiGan(TINY, weight_norm=True)
    for name, parameter in net.named_parameters():
        if name.endswith("original0"):
            nn.init.uniform_(parameter, 0.5, 1.5)
    return net


def output(net: nn.Module) -> Tensor:
    with torch.no_grad():
        result: Tensor = net.eval()(torch.linspace(-5, 1, 4 * 6).reshape(1, 4, 6))
    return result


def save(path: Path, saved: object) -> Path:
    torch.save(saved, path)
    return path


def save_legacy(path: Path, saved: object) -> Path:
    torch.save(saved, path, _use_new_zipfile_serialization=False)
    return path
