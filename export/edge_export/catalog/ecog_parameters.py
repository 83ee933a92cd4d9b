"""What the three nets of ECoG to speech have in common in the catalogue: the speech parameters as tensors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.store.bundle import Tensor

FRAMES = 128  # of an item, at 125 Hz
HOP = 128  # samples per frame
# name → rows, meaning, unit; the order of the outputs
PARAMETERS = {
    "f0_hz": (1, "fundamental frequency", "Hz"),
    "loudness": (1, "power of the sources", "linear, 0 or more"),
    "amplitudes": (2, "share of voiced and of unvoiced sound", "share, sum 1"),
    "amplitudes_h": (2, "a second pair of shares, which nothing reads", "share, sum 1"),
    "freq_formants_hamon_hz": (6, "formants of voiced sound", "Hz"),
    "bandwidth_formants_hamon_hz": (6, "their bandwidths", "Hz"),
    "amplitude_formants_hamon": (6, "their amplitudes", "share, sum 1"),
    "freq_formants_noise_hz": (7, "the same formants, then the noise filter", "Hz"),
    "bandwidth_formants_noise_hz": (7, "their bandwidths", "Hz"),
    "amplitude_formants_noise": (7, "their amplitudes in unvoiced sound", "share, sum 1"),
}
# what the synthesizer reads
READ = tuple(name for name in PARAMETERS if name != "amplitudes_h")


def parameter_tensors(names: tuple[str, ...], frames: int | str) -> tuple[Tensor, ...]:
    """Tensors (batch, rows, frames)."""
    tensors = []
    for name in names:
        rows, meaning, unit = PARAMETERS[name]
        told = f"{meaning}, 125 frames per second"
        told = f"{meaning}, 125 frames per second"
        tensors.append(Tensor(name, "float32", ("batch", rows, frames), told, unit))
    return tuple(tensors)


def signature_of(inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> str:
    """Inputs and outputs with their axes, as one line of the catalogue."""
    sides = (
        ", ".join(f"{tensor.name} ({', '.join(map(str, tensor.shape))})" for tensor in side)
        for side in (inputs, outputs)
    )
    return " -> ".join(sides)


def example_parameters(frames: int = FRAMES) -> dict[str, NDArray[np.float32]]:
    """The synthesizer's inputs as a speaker has them, (1, rows, frames): a gliding voice, hiss between."""
    time = np.arange(frames) / 125
    turn = np.stack([np.sin(2 * np.pi * (0.7 + 0.3 * row) * time + row) for row in range(8)])
    middle = np.array([600.0, 1500, 2600, 4100, 5500, 6500])[:, None]
    frequency = middle * (1 + 0.08 * turn[:6])
    width = 0.65 * (0.00625 * frequency + 375)
    voiced = 1 / (1 + np.exp(-4 * turn[6:7]))
    logits = -0.7 * np.arange(6.0)[:, None] + 0.3 * turn[:6]
    rows = {
        "f0_hz": 220 + 60 * turn[:1],
        "loudness": 0.01 * (1.05 + turn[7:8]),
        "amplitudes": np.concatenate([voiced, 1 - voiced]),
        "freq_formants_hamon_hz": frequency,
        "bandwidth_formants_hamon_hz": width,
        "amplitude_formants_hamon": _softmax(logits),
        "freq_formants_noise_hz": np.concatenate([frequency, 5500 + 900 * turn[6:7]]),
        "bandwidth_formants_noise_hz": np.concatenate([width, 2800 + 500 * turn[7:8]]),
        "amplitude_formants_noise": _softmax(np.concatenate([logits, 1 + turn[6:7]])),
    }
    return {name: values[None].astype(np.float32) for name, values in rows.items()}


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponents = np.exp(logits)
    return np.asarray(exponents / exponents.sum(0))
