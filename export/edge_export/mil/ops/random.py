"""Random values: numpy's, by the seed of the operation or the run. Apple's generator is not documented.

What a program does with them can be tested (shapes, ranges, distributions); a single number cannot be
compared with a device's.
"""

from __future__ import annotations

from typing import Any
from zlib import crc32

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.registry import Call, operation

PREFIX = "random_"


@operation("random_uniform")
def random_uniform(shape: Array, call: Call, low: Any = 0.0, high: Any = 1.0, seed: Any = -1) -> Array:
    """Low included, high excluded."""
    drawn = _generator(call, seed).random(_sizes(shape), np.float32)
    return np.float32(low) + drawn * np.float32(high - low)


@operation("random_normal")
def random_normal(shape: Array, call: Call, mean: Any = 0.0, stddev: Any = 1.0, seed: Any = -1) -> Array:
    """By mean and standard deviation."""
    drawn = _generator(call, seed).standard_normal(_sizes(shape), np.float32)
    return np.float32(mean) + drawn * np.float32(stddev)


@operation("random_bernoulli")
def random_bernoulli(shape: Array, call: Call, prob: Any = 0.5, seed: Any = -1) -> Array:
    """1 with this probability, else 0."""
    return (_generator(call, seed).random(_sizes(shape)) < float(prob)).astype(np.float32)


@operation("random_categorical")
def random_categorical(x: Array, call: Call, mode: str = "logits", size: Any = 1, seed: Any = -1) -> Array:
    """x (…, classes) → class numbers (…, size), drawn with replacement."""
    logs = x.astype(np.float64) if mode == "logits" else np.log(np.maximum(x.astype(np.float64), 1e-300))
    uniform = _generator(call, seed).random((*x.shape[:-1], int(size), x.shape[-1]))
    gumbel = -np.log(-np.log(np.clip(uniform, 1e-300, 1 - 1e-16)))
    drawn: Array = np.argmax(logs[..., None, :] + gumbel, axis=-1).astype(np.float32)
    return drawn


def _sizes(shape: Array) -> tuple[int, ...]:
    return tuple(int(length) for length in np.asarray(shape).reshape(-1))


def _generator(call: Call, seed: Any) -> np.random.Generator:
    """An operation's own seed gives the same numbers in every run; else the run's, for each apart."""
    if int(seed) >= 0:
        return np.random.default_rng(int(seed))
    return np.random.default_rng([call.seed, crc32(call.operation.name.encode())])
