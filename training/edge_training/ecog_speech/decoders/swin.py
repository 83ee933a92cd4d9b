"""ECoG decoder, 3-D Swin transformer: attention within windows of 4 frames × 2 × 2 electrodes.

Shapes of one item with a grid of 8 × 8 (15 × 15 in brackets) and 48 channels in the first stage, as
published; tokens (frames, rows, columns):

    ecog, the first 16 frames dropped    (128, 8, 8), a row above and a column before it: zeros
    1 × 1 × 1 convolution, 48 channels   largest of 2 × 2 × 2: (64, 4, 4) [8 × 8]
    4 stages of 2, 2, 6, 2 blocks        48, 96, 192, 384 channels; 3, 6, 12, 24 heads; between them 2 × 2 × 2
                                         tokens are merged, zeros where a side is odd: (8, 1, 1)
    layer norm → conv6                   frames doubled: (256, 16)
    3 × (norm, linear interpolation)     (256, 128), then a norm over the recording: x_common

The interpolation leaves knots every 64 ms; speech is quicker (docs/ecog-speech.md). `learned_doubling` puts
transposed convolutions in its place, as the ResNet has: no published weights fit them.

Every second block shifts its windows by (2, 1, 1); an axis that is no longer than the window is not cut. A
cut window reads the head of the full window's table of relative positions, whose axes are then others: so it
is published, and weights depend on it. Windows, shifts and merges are gathers with constant indices. `causal`
masks what follows in the window's order of tokens, as published; it leaks through norm, pooling and
interpolation.

Source: `ECoGMapping_3D_SWIN` of neural_speech_decoding; keys as there, `norms4` and the second head unused.
Swin: Liu and others 2022, Video Swin Transformer.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_runtime.errors import ConfigError
from edge_training.ecog_speech.decoders.layers import (
    BlockNorm,
    DoublingConv,
    FrameNorm,
    Side,
    initialise,
    leaky,
)
from edge_training.ecog_speech.decoders.prediction_head import WIDTH, PredictionHead
from edge_training.ecog_speech.parameters import FORMANTS, FRAMES, PAST, Parameters

FEATURES = 256  # channels of x_common
WINDOW, SHIFT = (4, 2, 2), (2, 1, 1)  # frames, rows, columns
CHANNELS, HEAD = 48, 16  # of the first stage, each later one doubles them; channels of an attention head
DEPTHS = (2, 2, 6, 2)
HIDDEN = 4  # channels of the perceptron, over those of the block
DROP_PATH = 0.2  # of the last block; rises linearly from 0
MASKED, LATER = -100.0, -1e4  # added to logits: other region of a shift, later token

Size = tuple[int, int, int]
Indices = NDArray[np.int64]


class Attention(nn.Module):
    """Self-attention within windows: (B · windows, n, C) → the same."""

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.channels = heads, channels
        positions = math.prod(2 * side - 1 for side in WINDOW)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(positions, heads))
        self.register_buffer("relative_position_index", torch.from_numpy(_relative_positions()))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, windows: int, tokens: int, mask: Tensor | None) -> Tensor:
        """`mask` (windows, n, n) is added to the logits; n is `tokens`."""
        channels = self.channels
        parts = self.qkv(x).reshape(-1, tokens, 3, self.heads, channels // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)  # (B · windows, heads, n, d)
        logits = (q * (channels // self.heads) ** -0.5) @ k.transpose(-2, -1) + self._bias(tokens)
        if mask is not None:
            grouped = logits.reshape(-1, windows, self.heads, tokens, tokens) + mask.unsqueeze(1)
            logits = grouped.reshape(-1, self.heads, tokens, tokens)
        mixed = logits.softmax(-1) @ v
        y: Tensor = self.proj(mixed.transpose(1, 2).reshape(-1, tokens, channels))
        return y

    def _bias(self, tokens: int) -> Tensor:
        places = self.relative_position_index[:tokens, :tokens].reshape(-1)
        rows: Tensor = self.relative_position_bias_table[places]
        return rows.reshape(tokens, tokens, -1).permute(2, 0, 1)


class Perceptron(nn.Module):
    """Two layers with an exact GELU between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, HIDDEN * channels)
        self.fc2 = nn.Linear(HIDDEN * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) → the same shape."""
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


class Block(nn.Module):
    """x += attention(norm1(x)); x += perceptron(norm2(x)): tokens (B, T · H · W, C)."""

    there: Tensor
    back: Tensor
    mask: Tensor | None

    def __init__(
        self, channels: int, heads: int, size: Size, *, shifted: bool, causal: bool, drop: float
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attn = Attention(channels, heads)
        self.mlp = Perceptron(channels)
        self.drop = drop
        window, shift = _fitted(size, shifted)
        there, regions, self.padded = _windows(size, window, shift)
        self.windows, self.tokens = there.shape
        self.register_buffer("there", torch.from_numpy(there.reshape(-1)), persistent=False)
        self.register_buffer("back", torch.from_numpy(_inverse(there, math.prod(size))), persistent=False)
        mask = _mask(regions, causal=causal)
        self.register_buffer("mask", None if mask is None else torch.from_numpy(mask), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T · H · W, C) → the same shape."""
        x = x + self._dropped(self._attended(self.norm1(x)))
        return x + self._dropped(self.mlp(self.norm2(x)))

    def _attended(self, x: Tensor) -> Tensor:
        rows = F.pad(x, (0, 0, 0, 1)) if self.padded else x
        windows = rows[:, self.there].reshape(-1, self.tokens, self.attn.channels)
        mixed: Tensor = self.attn(windows, self.windows, self.tokens, self.mask)
        return mixed.reshape(-1, self.windows * self.tokens, self.attn.channels)[:, self.back]

    def _dropped(self, branch: Tensor) -> Tensor:
        """Stochastic depth: an item keeps the branch, scaled up, or loses it."""
        if not self.training or not self.drop:
            return branch
        kept = torch.rand(branch.shape[0], 1, 1, device=branch.device) >= self.drop
        return branch * kept / (1 - self.drop)


class Merging(nn.Module):
    """2 × 2 × 2 tokens become one of twice the channels: (B, N, C) → (B, N / 8, 2 C)."""

    index: Tensor

    def __init__(self, channels: int, size: Size) -> None:
        super().__init__()
        self.reduction = nn.Linear(8 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(8 * channels)
        self.channels = channels
        index, self.size = _merge(size)
        self.register_buffer("index", torch.from_numpy(index), persistent=False)
        self.padded = bool((index == math.prod(size)).any())

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) → (B, N / 8, 2 C)."""
        rows = F.pad(x, (0, 0, 0, 1)) if self.padded else x
        merged = rows[:, self.index].reshape(-1, math.prod(self.size), 8 * self.channels)
        y: Tensor = self.reduction(self.norm(merged))
        return y


class Stage(nn.Module):
    """Blocks of one resolution, then the merge, under the keys `blocks` and `downsample`."""

    def __init__(self, stage: int, size: Size, *, channels: int, causal: bool, drop_path: float) -> None:
        super().__init__()
        first, total = sum(DEPTHS[:stage]), sum(DEPTHS)
        self.blocks = nn.ModuleList(
            Block(
                channels,
                channels // HEAD,
                size,
                shifted=bool(index % 2),
                causal=causal,
                drop=drop_path * (first + index) / (total - 1),
            )
            for index in range(DEPTHS[stage])
        )
        self.downsample = Merging(channels, size) if stage < len(DEPTHS) - 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) → (B, N / 8, 2 C), or the same shape for the last stage."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class PatchEmbedding(nn.Module):
    """The first convolution, under the key `patch_embed.proj`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(1, channels, 1)


class Transformer(nn.Module):
    """ecog (B, 1, 128, H, W) → (B, `outputs`, 8); 384 as published."""

    def __init__(self, size: Size, *, channels: int, causal: bool, drop_path: float) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(channels)
        layers = []
        for stage in range(len(DEPTHS)):
            layers.append(Stage(stage, size, channels=channels << stage, causal=causal, drop_path=drop_path))
            merge = layers[-1].downsample
            size = size if merge is None else merge.size
        if size[1:] != (1, 1):
            raise ConfigError(
                "electrodes",
                got=f"a grid that ends in {size[1]} × {size[2]}",
                expected="a grid of 3 … 16 a side",
            )
        self.layers = nn.ModuleList(layers)
        self.outputs = channels << (len(DEPTHS) - 1)
        self.norm = nn.LayerNorm(self.outputs)

    def initialise(self) -> None:
        """As Video Swin: quiet branches. And offsets of the first layer, by which norms can tell a level.

        Without offsets a token is a multiple of ECoG, and the first norm takes the multiple off.
        """
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
        nn.init.uniform_(self.patch_embed.proj.bias, -1, 1)  # type: ignore[arg-type]  # it has one

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, 128, H, W) → (B, 384, 8)."""
        x = F.max_pool3d(self.patch_embed.proj(x), 2)
        x = x.flatten(2).transpose(1, 2)  # (B, T · H · W, C)
        for layer in self.layers:
            x = layer(x)
        y: Tensor = self.norm(x).transpose(1, 2)
        return y


class Stretching(nn.Module):
    """Frames doubled by linear interpolation, the ends in place: (B, C, T) → (B, C, 2 T)."""

    matrix: Tensor

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.from_numpy(_interpolation(frames)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) → (B, C, 2 T)."""
        return x @ self.matrix


class SwinDecoder(nn.Module):
    """ecog (B, 144, E) → parameters over 128 frames; E a square of 3 … 16 a side."""

    def __init__(
        self,
        electrodes: int,
        side: Side,
        *,
        channels: int = CHANNELS,
        drop_path: float = DROP_PATH,
        learned_doubling: bool = False,
        db_loudness: bool = False,
    ) -> None:
        super().__init__()
        self.grid = round(electrodes**0.5)
        half = (self.grid + 1) // 2
        size = (FRAMES // 2, half, half)
        self.swin_transformer = Transformer(
            size, channels=channels, causal=side != "both", drop_path=drop_path
        )
        self.conv6 = DoublingConv(self.swin_transformer.outputs, FEATURES)
        self.norms1, self.norms2, self.norms3, self.norms4 = (FrameNorm(FEATURES) for _ in range(4))
        self.norm6 = BlockNorm(FEATURES)
        self.prediction_head = PredictionHead(FEATURES, side, db_loudness=db_loudness)
        for name, layer in _second_head().items():
            self.add_module(name, layer)
        self.doublings = nn.ModuleList(
            DoublingConv(FEATURES, FEATURES) if learned_doubling else Stretching(frames)
            for frames in (16, 32, 64)
        )
        initialise(self)
        self.swin_transformer.initialise()
        self.prediction_head.quieten()

    def forward(self, ecog: Tensor) -> Parameters:
        """(B, 144, E) → parameters by name, (B, rows, 128) each."""
        x = ecog[:, PAST:].unflatten(2, (self.grid, self.grid)).unsqueeze(1)  # type: ignore[no-untyped-call]
        x = self.conv6(leaky(self.swin_transformer(F.pad(x, (1, 0, 1, 0)))))
        for norm, double in zip((self.norms1, self.norms2, self.norms3), self.doublings, strict=True):
            x = double(leaky(norm(x)))
        parameters: Parameters = self.prediction_head(leaky(self.norm6(x)))
        return parameters


def _second_head() -> dict[str, nn.Module]:
    """Layers that published files hold beside `prediction_head`; unused."""
    layers: dict[str, nn.Module] = {
        "conv_fundementals": nn.Conv1d(FEATURES, WIDTH, 3),
        "norm_fundementals": BlockNorm(WIDTH),
        "conv_f0": nn.Conv1d(WIDTH, 1, 1),
        "conv_amplitudes": nn.Conv1d(FEATURES, 2, 1),
        "conv_amplitudes_h": nn.Conv1d(FEATURES, 2, 1),
        "conv_loudness": nn.Conv1d(FEATURES, 1, 1),
        "conv_formants": nn.Conv1d(FEATURES, WIDTH, 3),
        "norm_formants": BlockNorm(WIDTH),
    }
    for name in ("freqs", "bandwidth", "amplitude"):
        layers[f"conv_formants_{name}"] = nn.Conv1d(WIDTH, FORMANTS, 1)
        layers[f"conv_formants_{name}_noise"] = nn.Conv1d(WIDTH, 1, 1)
    return layers


# ---- constant indices -------------------------------------------------------------------------------------


def _relative_positions() -> Indices:
    """Place in the table for each pair of a full window's tokens, (16, 16)."""
    places = np.stack(np.meshgrid(*(np.arange(side) for side in WINDOW), indexing="ij")).reshape(3, -1)
    between = places[:, :, None] - places[:, None]
    sides = np.array(WINDOW)[:, None, None]
    shifted = between + sides - 1
    index: Indices = (
        shifted[0] * (2 * WINDOW[1] - 1) * (2 * WINDOW[2] - 1) + shifted[1] * (2 * WINDOW[2] - 1) + shifted[2]
    )
    return index.astype(np.int64)


def _fitted(size: Size, shifted: bool) -> tuple[Size, Size]:
    """Window and shift of a block, where an axis no longer than the window is not cut."""
    window, shift = [], []
    for length, side, step in zip(size, WINDOW, SHIFT, strict=True):
        window.append(min(length, side))
        shift.append(step if shifted and length > side else 0)
    return (window[0], window[1], window[2]), (shift[0], shift[1], shift[2])


def _windows(size: Size, window: Size, shift: Size) -> tuple[Indices, Indices, bool]:
    """(windows, n) token of each place, the region it belongs to, and whether there are places without one.

    A place without a token, where a side is no multiple of the window, has the index N: a row of zeros.
    """
    padded = tuple(-(-length // side) * side for length, side in zip(size, window, strict=True))
    tokens = np.full(padded, math.prod(size), np.int64)
    tokens[: size[0], : size[1], : size[2]] = np.arange(math.prod(size)).reshape(size)
    regions = np.zeros(padded, np.int64)
    for axis, (side, step) in enumerate(zip(window, shift, strict=True)):
        if not step:
            continue
        place = np.arange(padded[axis])
        part = np.where(place < padded[axis] - side, 0, np.where(place < padded[axis] - step, 1, 2))
        regions = regions * 3 + np.expand_dims(part, [other for other in range(3) if other != axis])
    tokens = np.roll(tokens, [-step for step in shift], (0, 1, 2))
    return _cut(tokens, window), _cut(regions, window), bool((tokens == math.prod(size)).any())


def _cut(values: Indices, window: Size) -> Indices:
    counts = [length // side for length, side in zip(values.shape, window, strict=True)]
    split = values.reshape(counts[0], window[0], counts[1], window[1], counts[2], window[2])
    return np.ascontiguousarray(split.transpose(0, 2, 4, 1, 3, 5)).reshape(-1, math.prod(window))


def _inverse(there: Indices, tokens: int) -> Indices:
    """Place of each token among those of the windows."""
    back = np.empty(tokens + 1, np.int64)
    back[there.reshape(-1)] = np.arange(there.size)
    return back[:tokens]


def _mask(regions: Indices, *, causal: bool) -> NDArray[np.float32] | None:
    """What is added to the logits, (windows, n, n); None where it would be zero."""
    if not causal and not regions.any():
        return None
    mask = np.where(regions[:, :, None] == regions[:, None, :], 0.0, MASKED)
    if causal:
        mask = mask + np.triu(np.full(mask.shape[1:], LATER), 1)
    return mask.astype(np.float32)


def _merge(size: Size) -> tuple[Indices, Size]:
    """(8 · N / 8,) tokens that are merged, and the size behind; (t, h, w) offsets in the order 000, 010, …"""
    merged = tuple(-(-length // 2) for length in size)
    padded = np.full([2 * length for length in merged], math.prod(size), np.int64)
    padded[: size[0], : size[1], : size[2]] = np.arange(math.prod(size)).reshape(size)
    order = [(t, h, w) for t, w, h in product(range(2), repeat=3)]
    parts = [padded[t::2, h::2, w::2].reshape(-1) for t, h, w in order]
    return np.stack(parts, 1).reshape(-1), (merged[0], merged[1], merged[2])


def _interpolation(frames: int) -> NDArray[np.float32]:
    """(frames, 2 · frames): linear interpolation whose ends are those of the input."""
    place = np.linspace(0, frames - 1, 2 * frames)
    weights = 1 - np.abs(place[None] - np.arange(frames)[:, None])
    matrix: NDArray[np.float32] = np.maximum(weights, 0).astype(np.float32)
    return matrix
