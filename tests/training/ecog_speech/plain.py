"""The layers of the ECoG system in numpy and float64, with loops: what the nets are checked against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Array = NDArray[np.float64]


def weights(net: nn.Module) -> dict[str, Array]:
    """A state dict as float64 arrays."""
    return {key: value.double().numpy() for key, value in net.state_dict().items()}


def unsettled(net: nn.Module, seed: int = 3) -> nn.Module:
    """The net in evaluation mode with gains and offsets that are not 1 and 0, as training leaves them."""
    draw = torch.Generator().manual_seed(seed)
    for name, parameter in net.named_parameters():
        if parameter.ndim == 1:
            shift = 0.3 * torch.randn(parameter.shape, generator=draw)
            base = 1.0 if name.endswith("weight") else 0.0
            parameter.data.copy_(base + shift)
    return net.eval().requires_grad_(False)


def conv(x: Array, weight: Array, bias: Array | None = None, before: Any = None, after: Any = None) -> Array:
    """(C, …) with a kernel (O, C, …), zeros before and after each axis (half the kernel if not given)."""
    kernel = weight.shape[2:]
    first = [size // 2 for size in kernel] if before is None else before
    last = [size // 2 for size in kernel] if after is None else after
    padded = np.pad(x, [(0, 0), *zip(first, last, strict=True)])
    view: Any = np.lib.stride_tricks.sliding_window_view
    windows = view(padded, kernel, tuple(range(1, x.ndim)))
    axes = list(range(windows.ndim - len(kernel), windows.ndim))
    y = np.tensordot(weight, windows, (list(range(1, weight.ndim)), [0, *axes]))
    return y if bias is None else y + bias.reshape(-1, *[1] * (x.ndim - 1))


def leaky(x: Array) -> Array:
    return np.where(x > 0, x, 0.2 * x)


def sigmoid(x: Array) -> Array:
    y: Array = 1 / (1 + np.exp(-x))
    return y


def softplus(x: Array) -> Array:
    return np.asarray(np.log1p(np.exp(x)))


def softmax(x: Array, axis: int = 0) -> Array:
    exponents = np.exp(x - x.max(axis, keepdims=True))
    y: Array = exponents / exponents.sum(axis, keepdims=True)
    return y


def affine(x: Array, w: Mapping[str, Array], name: str) -> Array:
    shape = (-1, *[1] * (x.ndim - 1))
    return x * w[f"{name}.weight"].reshape(shape) + w[f"{name}.bias"].reshape(shape)


def frame_norm(x: Array, w: Mapping[str, Array], name: str) -> Array:
    """Frame by frame over channels and grid."""
    y = np.empty_like(x)
    for frame in range(x.shape[1]):
        part = x[:, frame]
        y[:, frame] = (part - part.mean()) / np.sqrt(part.var() + 1e-5)
    return affine(y, w, name)


def channel_norm(x: Array, w: Mapping[str, Array], name: str) -> Array:
    """Channel by channel over all frames and electrodes."""
    rows = x.reshape(len(x), -1)
    y = (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + 1e-5)
    return affine(y.reshape(x.shape), w, name)


def group_norm(x: Array, w: Mapping[str, Array], name: str, groups: int = 32) -> Array:
    rows = x.reshape(groups, -1)
    y = (rows - rows.mean(1, keepdims=True)) / np.sqrt(rows.var(1, keepdims=True) + 1e-5)
    return affine(y.reshape(x.shape), w, name)


def pool(x: Array, strides: tuple[int, int, int], reduce: Any = np.mean) -> Array:
    """Cells of (frames, rows, columns); what fills none is dropped."""
    sizes = [length // stride for length, stride in zip(x.shape[1:], strides, strict=True)]
    y = np.empty((len(x), *sizes))
    for place in np.ndindex(*sizes):
        cell = tuple(slice(p * s, (p + 1) * s) for p, s in zip(place, strides, strict=True))
        y[(slice(None), *place)] = reduce(x[(slice(None), *cell)], axis=(1, 2, 3))
    return y


def doubled(x: Array, weight: Array, bias: Array) -> Array:
    """Transposed convolution, stride 2, taps (w0, w0 + w1, w1 + w2, w2), a frame cut on both sides."""
    w0, w1, w2 = (weight[..., tap] for tap in range(3))
    taps = (w0, w0 + w1, w1 + w2, w2)
    y = np.zeros((weight.shape[1], 2 * x.shape[1] + 2))
    for frame in range(x.shape[1]):
        for tap, matrix in enumerate(taps):
            y[:, 2 * frame + tap] += x[:, frame] @ matrix
    return y[:, 1:-1] + bias[:, None]


def head(x: Array, w: Mapping[str, Array], name: str = "prediction_head.") -> dict[str, Array]:
    """(C, T) → the parameters."""

    def layer(part: str, values: Array) -> Array:
        return conv(values, w[f"{name}{part}.weight"], w[f"{name}{part}.bias"])

    pitch = leaky(frame_norm(layer("conv_fundementals", x), w, f"{name}norm_fundementals.norm"))
    h = leaky(frame_norm(layer("conv_formants", x), w, f"{name}norm_formants.norm"))
    low = np.array([300, 700, 1800, 3400, 5000, 6000.0])[:, None]
    high = np.array([950, 3400, 3800, 5000, 6000, 7000.0])[:, None]
    frequency = low + (high - low) * sigmoid(layer("conv_formants_freqs", h))
    width = 0.65 * (0.00625 * frequency + 375)
    voiced = layer("conv_formants_amplitude", h)
    noise = layer("conv_formants_amplitude_noise", h)
    noise_frequency = 4000 + 4000 * sigmoid(layer("conv_formants_freqs_noise", h))
    noise_width = 2344 * softplus(layer("conv_formants_bandwidth_noise", h)) + 586
    return {
        "f0_hz": 332 * sigmoid(layer("conv_f0", pitch)) + 88,
        "loudness": softplus(layer("conv_loudness", x)),
        "amplitudes": softmax(layer("conv_amplitudes", x)),
        "amplitudes_h": softmax(layer("conv_amplitudes_h", x)),
        "freq_formants_hamon_hz": frequency,
        "bandwidth_formants_hamon_hz": width,
        "amplitude_formants_hamon": softmax(voiced),
        "freq_formants_noise_hz": np.concatenate([frequency, noise_frequency]),
        "bandwidth_formants_noise_hz": np.concatenate([width, noise_width]),
        "amplitude_formants_noise": softmax(np.concatenate([voiced, noise])),
        "x_common": x,
    }


def relative_error(made: Any, true: Array) -> float:
    """Largest difference, of the largest value."""
    values = np.asarray(made, np.float64)
    assert values.shape == true.shape, (values.shape, true.shape)
    return float(np.abs(values - true).max() / np.abs(true).max())
