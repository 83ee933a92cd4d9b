"""Signals and weights that anyone can rebuild from a formula: the goldens in reference_data start from them.

Neither side needs the other: generate.py and the tests import this file, and it imports numpy alone.

Weights. The element with flat (C-order) index k of the tensor named NAME is ``offset + scale · u(NAME, k)``,
computed in float64 and rounded to float32. u is a hash, exact in integers and so the same on every machine:

    h = (k + 0x9E3779B9 · crc32(NAME)) mod 2³²
    h = h ^ (h >> 16);  h = h · 0x7FEB352D mod 2³²
    h = h ^ (h >> 15);  h = h · 0x846CA68B mod 2³²
    h = h ^ (h >> 16);  u = h / 2³¹ - 1                     in [-1, 1)

(A sine of the index would be of rank two over every pair of axes; a hash tells all elements apart.)

    name ends in              offset    scale
    running_mean, bias        0         0.1
    running_var               1         0.3
    weight, one axis          1         0.2        batch norm
    weight_g                  1         0.2        weight norm
    weight, weight_v          0         sqrt(3 / fan_in), fan_in = elements / length of the first axis
    num_batches_tracked       0         0          int64

NAME is the bare key: without ``module.``, ``audio_encoder.`` or ``generator.`` before it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

PREFIXES = ("module.", "generator.", "audio_encoder.")


def uniform(name: str, count: int) -> NDArray[np.float64]:
    """u(name, 0) … u(name, count - 1)."""
    h = np.arange(count, dtype=np.uint32) + np.uint32((0x9E3779B9 * zlib.crc32(name.encode())) & 0xFFFFFFFF)
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x7FEB352D)
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x846CA68B)
    h ^= h >> np.uint32(16)
    return h / 2.0**31 - 1.0


def tensor(name: str, shape: Sequence[int]) -> NDArray[Any]:
    """The weight of that bare key, float32 (num_batches_tracked: int64)."""
    shape = tuple(shape)
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    offset, scale = _range(name, shape)
    return (offset + scale * uniform(name, prod(shape))).astype(np.float32).reshape(shape)


def _range(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """(offset, scale) of the table above."""
    if name.endswith(("running_mean", "bias")):
        return 0.0, 0.1
    if name.endswith("running_var"):
        return 1.0, 0.3
    if name.endswith("weight_g") or len(shape) == 1:
        return 1.0, 0.2
    return 0.0, (3.0 / prod(shape[1:])) ** 0.5


def state(shapes: Mapping[str, Sequence[int]]) -> dict[str, NDArray[Any]]:
    """A state dict for keys with or without a prefix: ``{key: tensor(bare key, shape)}``."""
    return {key: tensor(bare(key), shape) for key, shape in shapes.items()}


def bare(key: str) -> str:
    """The key without the prefixes that checkpoints put before it."""
    while key.startswith(PREFIXES):
        key = key.split(".", 1)[1]
    return key


def signals(sample_rate: int, seconds: float = 0.25) -> dict[str, NDArray[np.float32]]:
    """Test signals by name, float32, full scale at ±1."""
    count = round(sample_rate * seconds)
    t = np.arange(count) / sample_rate
    sweep = 20.0 + (0.5 * sample_rate - 20.0) * t / (2.0 * t[-1])  # 20 Hz … Nyquist: mean frequency up to t
    impulse = np.zeros(count)
    impulse[count // 3] = 1.0
    waves = {
        "silence": np.zeros(count),
        "impulse": impulse,
        "sine-100": np.sin(2 * np.pi * 100.0 * t),
        "sine-3000": np.sin(2 * np.pi * 3000.0 * t),
        "square": np.where((220.0 * t) % 1.0 < 0.5, 1.0, -1.0),
        "chirp": np.sin(2 * np.pi * sweep * t),
        "quiet": 1e-4 * (np.sin(2 * np.pi * 440.0 * t) + np.cos(2 * np.pi * 2500.0 * t)),
    }
    return {name: wave.astype(np.float32) for name, wave in waves.items()}
