"""ECoG decoder, 3-D ResNet: four residual blocks over time and the grid, then frames doubled four times.

Shapes of one item with a grid of 8 × 8 (15 × 15 in brackets) and 16 channels behind the first layer, as
published; all but the last two doublings' 32 follow `channels`:

    ecog          (1, 144, 8, 8)
    from_ecog     (16, 144, 8, 8)             kernel (9, 1, 1); 5 with `causal`
    conv1         (32, 72, 8, 8)              (5, 1, 1), then the mean of two frames
    conv2         (64, 36, 8, 8)              (3, 1, 1), likewise; the first 4 frames are dropped: 32
    conv3         (128, 16, 4, 4) [7 × 7]     (3, 3, 3), mean over 2 × 2 × 2
    conv4         (256, 8, 2, 2) [3 × 3]      likewise, then the largest value over the grid: (256, 8)
    conv5         (256, 8)
    conv6 … conv9 (128, 16) (64, 32) (32, 64) (32, 128) = x_common

Wiring "published" with `causal` pads every convolution only with the past but still looks ahead: its norms
use the whole window, means and doublings straddle frames. Wiring "streaming" looks at no later input: norms
by frame, means over a frame and the one before, doublings that see the past; blocks 3 and 4 keep their
frames, so that what the last layers say is at most 3 frames old, not 15. It takes any number of frames.

Source: `ECoGMapping_ResNet` of neural_speech_decoding; keys as there, `mask` and `norm_mask` unused.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from edge_training.ecog_speech.decoders.layers import (
    AveragedConv3d,
    BlockNorm,
    Doubling,
    FrameNorm,
    Side,
    TimeConv1d,
    TimeConv3d,
    initialise,
    leaky,
    pad_past,
)
from edge_training.ecog_speech.decoders.prediction_head import PredictionHead
from edge_training.ecog_speech.parameters import PAST, Parameters

Wiring = Literal["published", "streaming", "stateful"]

DROPOUT = 0.2
FEATURES = 32  # channels of x_common
STREAMING_STRIDE = 4  # frames that a streaming step advances at least
# input frames before an output's own that it may depend on, see `tests`: rounded up to a step
STREAMING_CONTEXT = 112
CHANNELS = 16  # behind the first layer; each block doubles them
_KERNELS = ((5, 1, 1), (3, 1, 1), (3, 3, 3), (3, 3, 3))
_STRIDES = ((2, 1, 1), (2, 1, 1), (2, 2, 2), (2, 2, 2))
_STREAMING_STRIDES = ((2, 1, 1), (2, 1, 1), (1, 2, 2), (1, 2, 2))


class Pool(nn.Module):
    """Means over neighbouring frames and electrodes; what does not fill a cell is dropped."""

    def __init__(self, strides: tuple[int, int, int], past: int) -> None:
        super().__init__()
        self.strides, self.past = strides, past

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → means, (B, C, T', H', W')."""
        # behind the padding the last frame has no successor yet: it fills no cell and is dropped
        x = pad_past(x, self.past) if self.past else x
        if not self.training or self.strides[0] != 2:
            return F.avg_pool3d(x, self.strides, self.strides)
        # torch averages pairs of frames five times as fast so; an exported graph must not ask for lengths
        pairs = x[:, :, : x.shape[2] // 2 * 2].unflatten(2, (-1, 2)).mean(3)  # type: ignore[no-untyped-call]
        space = self.strides[1:]
        return pairs if space == (1, 1) else F.avg_pool3d(pairs, (1, *space), (1, *space))


class Block(nn.Module):
    """h = σ(norm1(x)); out = pool(convskip(h)) + conv2(pool(σ(norm2(conv1(h)))))."""

    def __init__(
        self,
        inputs: int,
        kernel: tuple[int, int, int],
        strides: tuple[int, int, int],
        side: Side,
        *,
        streaming: bool,
    ) -> None:
        super().__init__()
        outputs = 2 * inputs
        self.norm1 = BlockNorm(inputs, framewise=streaming)
        self.conv1 = TimeConv3d(inputs, outputs, kernel, side, bias=False)
        past = strides[0] - 1 if streaming else 0
        self.convskip = AveragedConv3d(inputs, outputs, kernel, side, strides, past=past)
        self.conv2 = TimeConv3d(outputs, outputs, kernel, side, bias=False)
        self.norm2 = BlockNorm(outputs, framewise=streaming)
        self.pool = Pool(strides, past)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, T, H, W) → (B, outputs, T', H', W')."""
        h = leaky(self.norm1(x))
        y: Tensor = self.convskip(h) + self.conv2(self.pool(leaky(self.norm2(self.conv1(h)))))
        return y


class FromEcog(nn.Module):
    """The first convolution, along time only, under the key `from_ecog.from_ecog`."""

    def __init__(self, channels: int, side: Side) -> None:
        super().__init__()
        taps = 9 if side == "both" else 5
        self.from_ecog = TimeConv3d(1, channels, (taps, 1, 1), side, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, T, H, W) → (B, channels, T, H, W)."""
        y: Tensor = self.from_ecog(x)
        return y


class ResNetDecoder(nn.Module):
    """ecog (B, 16 + T, E) → parameters over T frames; T 128 (any multiple of 4 when streaming)."""

    def __init__(
        self,
        electrodes: int,
        side: Side,
        wiring: Wiring,
        *,
        channels: int = CHANNELS,
        dropout: float = DROPOUT,
        db_loudness: bool = False,
    ) -> None:
        super().__init__()
        self.grid = round(electrodes**0.5)
        streaming = wiring == "streaming"
        strides = _STREAMING_STRIDES if streaming else _STRIDES
        self.dropped = PAST // (strides[0][0] * strides[1][0])  # frames behind conv2
        self.from_ecog = FromEcog(channels, side)
        blocks = [
            Block(channels << number, kernel, stride, side, streaming=streaming)
            for number, (kernel, stride) in enumerate(zip(_KERNELS, strides, strict=True))
        ]
        self.conv1, self.conv2, self.conv3, self.conv4 = blocks
        self.norm_mask = FrameNorm(4 * channels)
        self.mask = nn.Conv3d(4 * channels, 1, (3, 1, 1))
        widest = 16 * channels
        self.norm, self.norm2 = FrameNorm(widest), FrameNorm(widest)
        self.conv5 = TimeConv1d(widest, widest, 3, side)
        self.conv6 = Doubling(widest, widest // 2, causal=streaming, hold=streaming)
        self.norm3 = FrameNorm(widest // 2)
        self.conv7 = Doubling(widest // 2, widest // 4, causal=streaming, hold=streaming)
        self.norm4 = FrameNorm(widest // 4)
        self.conv8 = Doubling(widest // 4, FEATURES, causal=streaming)
        self.norm5 = FrameNorm(FEATURES)
        self.conv9 = Doubling(FEATURES, FEATURES, causal=streaming)
        self.norm6 = FrameNorm(FEATURES)
        self.prediction_head = PredictionHead(FEATURES, side, db_loudness=db_loudness)
        self.dropout = nn.Dropout(dropout)
        initialise(self)
        self.prediction_head.quieten()

    def forward(self, ecog: Tensor) -> Parameters:
        """(B, 16 + T, E) → parameters by name, (B, rows, T) each."""
        x = ecog.unflatten(2, (self.grid, self.grid)).unsqueeze(1)  # type: ignore[no-untyped-call]
        x = self.dropout(self.conv1(self.from_ecog(x)))
        x = self.dropout(self.conv2(x))[:, :, self.dropped :]
        x = self.dropout(self.conv4(self.dropout(self.conv3(x))))
        x = x.amax((3, 4))
        x = leaky(self.norm2(self.conv5(leaky(self.norm(x)))))
        x = leaky(self.norm3(self.conv6(x)))
        x = leaky(self.norm4(self.conv7(x)))
        x = leaky(self.norm5(self.conv8(x)))
        parameters: Parameters = self.prediction_head(leaky(self.norm6(self.conv9(x))))
        return parameters
