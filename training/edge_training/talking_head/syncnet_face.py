"""The face tower of SyncNet: five pictures of a mouth (200 ms) → one vector, compared with the audio's.

Source: Wav2Lip's expert discriminator (Prajwal and others 2020, after Chung and Zisserman 2016), block for
block at `width` 32. It is needed to train `audio-encoder` and to measure synchrony, and is never exported.
Each block is the audio tower's: Conv2d with bias → BatchNorm2d → plus its input where it is residual → ReLU.

    input   (B, 15, 48, 96) float32   5 consecutive pictures × (blue, green, red), 0 … 1, lower half of 96×96
    output  (B, 512)        float32   non-negative, not normalised

Parameters are named `face_encoder.{i}.conv_block.*`, i = 0…16.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from edge_training.engine.config import JsonConfig, Rule, is_whole
from edge_training.talking_head.audio_encoder import Block, ConvBlock

PICTURES = 5  # of one window, 40 ms each
HEIGHT, WIDTH = 48, 96  # the lower half of a 96×96 face
CHANNELS = 3 * PICTURES
FEATURES = 512  # as many as the audio tower's


@dataclass(frozen=True)
class SyncNetFaceConfig(JsonConfig):
    """How wide the tower is."""

    width: int = 32  # channels of the first block; the published net has 32

    def _rules(self) -> Iterator[Rule]:
        yield "width", "a whole number in 1 … 128", is_whole(self.width, least=1) and self.width <= 128


def blocks(config: SyncNetFaceConfig) -> tuple[Block, ...]:
    """The 17 blocks; the comments are output maps, height × width."""
    w = config.width
    return (
        Block(CHANNELS, w, 7, (1, 1), 3, residual=False),  # 48 × 96
        Block(w, 2 * w, 5, (1, 2), 1, residual=False),  # 46 × 47
        *2 * (Block(2 * w, 2 * w, 3, (1, 1), 1, residual=True),),
        Block(2 * w, 4 * w, 3, (2, 2), 1, residual=False),  # 23 × 24
        *3 * (Block(4 * w, 4 * w, 3, (1, 1), 1, residual=True),),
        Block(4 * w, 8 * w, 3, (2, 2), 1, residual=False),  # 12 × 12
        *2 * (Block(8 * w, 8 * w, 3, (1, 1), 1, residual=True),),
        Block(8 * w, 16 * w, 3, (2, 2), 1, residual=False),  # 6 × 6
        *2 * (Block(16 * w, 16 * w, 3, (1, 1), 1, residual=True),),
        Block(16 * w, 16 * w, 3, (2, 2), 1, residual=False),  # 3 × 3
        Block(16 * w, FEATURES, 3, (1, 1), 0, residual=False),  # 1 × 1
        Block(FEATURES, FEATURES, 1, (1, 1), 0, residual=False),
    )


class SyncNetFace(nn.Module):
    """(B, 15, 48, 96) mouth windows → (B, 512) features."""

    def __init__(self, config: SyncNetFaceConfig | None = None) -> None:
        super().__init__()
        self.config = config or SyncNetFaceConfig()
        self.face_encoder = nn.Sequential(*(ConvBlock(block) for block in blocks(self.config)))

    def forward(self, face: Tensor) -> Tensor:
        """(B, 15, 48, 96) → (B, 512)."""
        x: Tensor = self.face_encoder(face)  # (B, 512, 1, 1)
        return x.squeeze(3).squeeze(2)
