"""AudioEncoder: 16 mel frames (200 ms of speech) → 512 features that drive a talking head's mouth.

The audio branch of the Wav2Lip generator, block for block (13 blocks; Wav2Lip's SyncNet has 14), as SyncTalk
and SyncTalk_2D use it under the name AVE. Each block: Conv2d with bias → BatchNorm2d (eps 1e-5, momentum 0.1)
→ plus its input where it is residual → ReLU. No L2 normalisation at the end, so features are non-negative.

    input   (B, 1, 80, 16) float32   mel of preset `talking-head` (range ±4), mel axis before time
    output  (B, 512)       float32   no unit, 0 … about 11 with the published weights

2,812,672 parameters, 93.09 M multiply-adds a window. Parameters are named `audio_encoder.{i}.conv_block.0.*`
(convolution) and `audio_encoder.{i}.conv_block.1.*` (batch norm), i = 0…12.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from edge_runtime.dsp.mel import PRESETS, MelConfig
from edge_runtime.errors import ConfigError
from edge_training.engine.config import JsonConfig


@dataclass(frozen=True)
class AudioEncoderConfig(JsonConfig):
    """The net's outer sizes. Its strides fit only these, so other values are refused."""

    num_mels: int = 80
    window_frames: int = 16  # mel frames of 12.5 ms
    features: int = 512

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or value != field.default:
                raise ConfigError(
                    field.name,
                    got=repr(value),
                    expected=str(field.default),
                    cause="the strides of its blocks reduce 80 mels × 16 frames to one vector of 512",
                )

    @property
    def mel(self) -> MelConfig:
        """The front end that the net was trained on."""
        return PRESETS["talking-head"]


class Block(NamedTuple):
    """One row of the table of blocks."""

    inputs: int
    outputs: int
    kernel: int
    stride: tuple[int, int]  # (mel, time)
    padding: int
    residual: bool


BLOCKS = (  # output map, mel × time
    Block(1, 32, 3, (1, 1), 1, residual=False),  # 80 × 16
    Block(32, 32, 3, (1, 1), 1, residual=True),
    Block(32, 32, 3, (1, 1), 1, residual=True),
    Block(32, 64, 3, (3, 1), 1, residual=False),  # 27 × 16
    Block(64, 64, 3, (1, 1), 1, residual=True),
    Block(64, 64, 3, (1, 1), 1, residual=True),
    Block(64, 128, 3, (3, 3), 1, residual=False),  # 9 × 6
    Block(128, 128, 3, (1, 1), 1, residual=True),
    Block(128, 128, 3, (1, 1), 1, residual=True),
    Block(128, 256, 3, (3, 2), 1, residual=False),  # 3 × 3
    Block(256, 256, 3, (1, 1), 1, residual=True),
    Block(256, 512, 3, (1, 1), 0, residual=False),  # 1 × 1
    Block(512, 512, 1, (1, 1), 0, residual=False),
)


class ConvBlock(nn.Module):
    """Conv2d → BatchNorm2d → (+ input) → ReLU; (B, inputs, H, W) → (B, outputs, H', W')."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        convolution = nn.Conv2d(block.inputs, block.outputs, block.kernel, block.stride, block.padding)
        self.conv_block = nn.Sequential(convolution, nn.BatchNorm2d(block.outputs))
        self.residual = block.residual

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H', W')."""
        y: Tensor = self.conv_block(x)
        return F.relu(x + y if self.residual else y)


class AudioEncoder(nn.Module):
    """(B, 1, 80, 16) mel windows → (B, 512) features. Call `.eval()` first: batch norm is part of the net."""

    def __init__(self, config: AudioEncoderConfig | None = None) -> None:
        super().__init__()
        self.config = config or AudioEncoderConfig()
        self.audio_encoder = nn.Sequential(*(ConvBlock(block) for block in BLOCKS))

    def forward(self, mel: Tensor) -> Tensor:
        """(B, 1, 80, 16) → (B, 512)."""
        x: Tensor = self.audio_encoder(mel)  # (B, 512, 1, 1)
        return x.squeeze(3).squeeze(2)
