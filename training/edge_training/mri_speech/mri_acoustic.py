"""MriAcoustic: real-time MRI video of the vocal tract → mel spectrogram, one mel frame a picture.

After Otani, Sawada, Ohmura, Katsurada (Interspeech 2023, 10.21437/Interspeech.2023-286): a convolutional
backbone sees each picture by itself, a bidirectional LSTM sees their sequence.

    input   (B, T, 1, S, S) or (B, T, S, S) float32   grey pictures, 0 black … 1 white
    output  (B, T, n_mels)                  float32   mel of `config.mel` in dB, standardised band by band:
                                                      dB = output · mel_std + mel_mean

Each picture → backbone → (C, h, w) → mean over h, w → LSTM, one layer, both directions **added** → dropout
→ linear. Backbone `b2` is EfficientNetV2-B2 (Tan, Le 2021, arXiv 2104.00298) up to its last block: S = 256
gives 208 × 8 × 8; with 640 LSTM cells the net has 12,784,430 parameters in 540 state-dict entries. Names are
those of timm's `tf_efficientnetv2_b2` (`cnn.backbone.conv_stem`, `.bn1`, `.blocks.{stage}.{i}.*`), then
`rnn.lstm.*` and `head.*`. Padding is TensorFlow's "same": an odd pixel of padding goes below and to the
right. A grey picture fills all three channels of the stem, without ImageNet's mean and deviation.

Backbones `phantom` and `tiny` are small ones for training on a processor and for tests. Processors train a
fifth faster on `net.to(memory_format=torch.channels_last)`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, isfinite
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Self, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from edge_runtime.dsp.mel import PRESETS, MelConfig
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.media.video import FrameScaling
from edge_training.engine.config import JsonConfig, Rule

Layout = Literal["padded", "legacy"]
Kind = Literal["conv", "fused", "inverted"]

# alignment of mel frames and pictures: padded, each centred on its picture, ⌊samples / hop⌋ of them; legacy,
# without padding, about two pictures ahead and four fewer
LAYOUTS: Mapping[Layout, MelConfig] = MappingProxyType(
    {"padded": replace(PRESETS["rtmri"], padding="reflect"), "legacy": PRESETS["rtmri"]}
)


# ---- backbones --------------------------------------------------------------------------------------------


class Stage(NamedTuple):
    """A stage of a backbone: `repeats` blocks of one kind, the first of them with the stride."""

    kind: Kind
    repeats: int
    channels: int
    expansion: int
    stride: int


class Backbone(NamedTuple):
    """A stem of stride 2, then stages."""

    stem: int  # channels
    stages: tuple[Stage, ...]

    @property
    def channels(self) -> int:
        """Channels of the last map."""
        return self.stages[-1].channels

    def map_size(self, image_size: int) -> int:
        """Height and width of the last map for pictures of ``image_size`` pixels a side."""
        size = ceil(image_size / 2)
        for stage in self.stages:
            size = ceil(size / stage.stride)
        return size


BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        # EfficientNetV2-B2; 256 × 256 → 208 × 8 × 8
        "b2": Backbone(
            32,
            (
                Stage("conv", 2, 16, 1, 1),
                Stage("fused", 3, 32, 4, 2),
                Stage("fused", 3, 56, 4, 2),
                Stage("inverted", 4, 104, 4, 2),
                Stage("inverted", 6, 120, 6, 1),
                Stage("inverted", 10, 208, 6, 2),
            ),
        ),
        # 64 × 64 → 64 × 8 × 8: as fine a map as b2's
        "phantom": Backbone(
            8, (Stage("fused", 1, 16, 4, 2), Stage("fused", 2, 32, 3, 2), Stage("inverted", 2, 64, 3, 1))
        ),
        # every kind of block once
        "tiny": Backbone(
            8, (Stage("conv", 1, 8, 1, 1), Stage("fused", 1, 8, 2, 2), Stage("inverted", 2, 16, 2, 2))
        ),
    }
)


# ---- configuration ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MriAcousticConfig(JsonConfig):
    """Sizes of the net, and what is needed to prepare its input and interpret its output.

    Raises:
        ConfigError: an impossible entry; the error names it, the value and the rule.
    """

    image_size: int = 256  # pixels, of the square picture
    backbone: str = "b2"  # of BACKBONES
    rnn_hidden: int = 640  # cells of each direction
    dropout: float = 0.5  # on the sum of both directions
    frame_scaling: FrameScaling = "full-scale"  # grey / 255, or each picture's own range onto 0 … 1
    window: int = 4  # pictures of a training window, and of one step of inference in window mode
    mel: MelConfig = LAYOUTS["padded"]
    mel_mean: tuple[float, ...] | None = None  # dB, of each band over the training set
    mel_std: tuple[float, ...] | None = None  # dB

    def _rules(self) -> Iterator[Rule]:
        """(field, what it must be, whether it is)."""
        yield "backbone", f"one of {', '.join(BACKBONES)}", self.backbone in tuple(BACKBONES)
        yield "image_size", "a whole number of pixels, 16 to 1024", _whole(self.image_size, 16, 1024)
        yield "rnn_hidden", "a whole number of cells, 1 to 4096", _whole(self.rnn_hidden, 1, 4096)
        yield "dropout", "a number, 0 or more and below 1", _number(self.dropout) and 0 <= self.dropout < 1
        yield (
            "frame_scaling",
            " or ".join(get_args(FrameScaling)),
            self.frame_scaling in get_args(FrameScaling),
        )
        yield "window", "a whole number of pictures, 1 to 1024", _whole(self.window, 1, 1024)
        is_mel = isinstance(self.mel, MelConfig)
        yield "mel", "a mel front end with bands (n_mels)", is_mel and self.mel.n_mels is not None
        for name in ("mel_mean", "mel_std"):
            value = getattr(self, name)
            numbers = isinstance(value, tuple) and len(value) == self.n_mels and all(map(_number, value))
            yield name, f"{self.n_mels} numbers, one a mel band, or null", value is None or numbers
        yield (
            "mel_std",
            "numbers above 0, where mel_mean is given",
            (self.mel_std is None) == (self.mel_mean is None) and all(s > 0 for s in self.mel_std or ()),
        )

    @property
    def n_mels(self) -> int:
        """Mel bands."""
        return self.mel.bands

    @property
    def layout(self) -> Layout:
        """Alignment of mel frames and pictures: "padded" or "legacy"."""
        return "legacy" if self.mel.padding == "none" else "padded"

    @property
    def frame_rate(self) -> float:
        """Pictures, and mel frames, per second."""
        return self.mel.sample_rate / self.mel.hop_length

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> Self:
        """A config from `to_json`'s entries or a data set's `meta.json`; unknown entries are refused."""
        return super().from_json(_from_meta(entries) if entries.keys() >= _META else entries)


# entries by which the meta.json of mri2speech's data set is recognised, and the others that it may hold
_META = frozenset({"sr", "n_mels", "n_fft", "hop_length"})
_META_ENTRIES = (
    *sorted(_META),
    *("win_length", "preemph", "resize_h", "resize_w", "ref_frames"),
    *("stems", "mean", "std", "layout", "frame_scaling", "peak"),
)
_NET_ENTRIES = ("backbone", "rnn_hidden", "dropout")
META_ENTRIES = frozenset({*_META_ENTRIES, *_NET_ENTRIES})


def _from_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a config from those of a `meta.json`; one without `layout` is mri2speech's own."""
    for key in meta:
        if key not in (*_META_ENTRIES, *_NET_ENTRIES):
            raise _unknown_entry(key, (*_META_ENTRIES, *_NET_ENTRIES))
    layout = meta.get("layout", "legacy")
    if layout not in LAYOUTS:
        raise ConfigError("layout", got=repr(layout), expected=" or ".join(LAYOUTS))
    height, width = meta.get("resize_h", 256), meta.get("resize_w", 256)
    if height != width:
        raise ConfigError("resize_h, resize_w", got=f"{height} × {width}", expected="two equal sizes")
    mel = replace(
        LAYOUTS[layout],
        sample_rate=meta["sr"],
        n_mels=meta["n_mels"],
        n_fft=meta["n_fft"],
        hop_length=meta["hop_length"],
        win_length=meta.get("win_length", meta["n_fft"]),
        pre_emphasis=meta.get("preemph", LAYOUTS[layout].pre_emphasis),
    )
    entries = {"image_size": height, "mel": mel, "mel_mean": meta.get("mean"), "mel_std": meta.get("std")}
    if "ref_frames" in meta:
        entries["window"] = meta["ref_frames"]
    return entries | {key: meta[key] for key in ("frame_scaling", *_NET_ENTRIES) if key in meta}


def _unknown_entry(key: str, known: Sequence[str]) -> ConfigError:
    near = difflib.get_close_matches(key, known, n=1)
    cause = f"is {near[0]!r} meant?" if near else ""
    return ConfigError(f"entry {key!r}", got="an unknown entry", expected=", ".join(known), cause=cause)


def _whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


MRI_ACOUSTIC_PRESETS: Mapping[str, MriAcousticConfig] = MappingProxyType(
    {
        "b2": MriAcousticConfig(),
        "origin": MriAcousticConfig(mel=LAYOUTS["legacy"]),
        "phantom": MriAcousticConfig(image_size=64, backbone="phantom", rnn_hidden=160, dropout=0.2),
        "tiny": MriAcousticConfig(image_size=32, backbone="tiny", rnn_hidden=12),
    }
)


# ---- layers -----------------------------------------------------------------------------------------------


class BatchNorm(nn.BatchNorm2d):
    """Batch norm whose running statistics can be held fixed while a pass is computed a second time."""

    held = False

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-3)  # TensorFlow's

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        if not (self.held and self.training):
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        # copies take the update: checkpointing requires the second pass to save as many tensors as the first
        mean, var = self.running_mean.clone(), self.running_var.clone()
        return F.batch_norm(x, mean, var, self.weight, self.bias, training=True, eps=self.eps)


class SameConv2d(nn.Conv2d):
    """Convolution without bias, with TensorFlow's "same" padding for maps of ``size`` × ``size``."""

    def __init__(
        self, inputs: int, outputs: int, size: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        missing = max((ceil(size / stride) - 1) * stride + kernel - size, 0)
        before, self.uneven = missing // 2, missing % 2
        super().__init__(inputs, outputs, kernel, stride, padding=before, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, ⌈H / stride⌉, ⌈W / stride⌉)."""
        return super().forward(F.pad(x, (0, 1, 0, 1)) if self.uneven else x)


class ConvBlock(nn.Module):
    """3 × 3 convolution → SiLU, plus its input where the shapes are equal."""

    FOLDS = (("conv", "bn1"),)

    def __init__(self, inputs: int, stage: Stage, size: int, stride: int) -> None:
        super().__init__()
        self.conv = SameConv2d(inputs, stage.channels, size, 3, stride)
        self.bn1 = BatchNorm(stage.channels)
        self.residual = stride == 1 and inputs == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H', W')."""
        y = F.silu(self.bn1(self.conv(x)))
        return x + y if self.residual else y


class FusedBlock(nn.Module):
    """Fused MBConv: 3 × 3 expansion → SiLU → 1 × 1 projection, plus its input where the shapes are equal."""

    FOLDS = (("conv_exp", "bn1"), ("conv_pwl", "bn2"))

    def __init__(self, inputs: int, stage: Stage, size: int, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expansion
        self.conv_exp = SameConv2d(inputs, wide, size, 3, stride)
        self.bn1 = BatchNorm(wide)
        self.conv_pwl = SameConv2d(wide, stage.channels, ceil(size / stride))
        self.bn2 = BatchNorm(stage.channels)
        self.residual = stride == 1 and inputs == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H', W')."""
        y: Tensor = self.bn2(self.conv_pwl(F.silu(self.bn1(self.conv_exp(x)))))
        return x + y if self.residual else y


class SqueezeExcite(nn.Module):
    """Each channel times a gate in 0 … 1 that is computed from the means of all channels."""

    def __init__(self, channels: int, narrow: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, narrow, 1)
        self.conv_expand = nn.Conv2d(narrow, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        gate = self.conv_expand(F.silu(self.conv_reduce(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


class InvertedBlock(nn.Module):
    """MBConv: 1 × 1 expansion → depthwise 3 × 3 → squeeze and excite → projection, plus its input."""

    FOLDS = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))

    def __init__(self, inputs: int, stage: Stage, size: int, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expansion
        self.conv_pw = SameConv2d(inputs, wide, size)
        self.bn1 = BatchNorm(wide)
        self.conv_dw = SameConv2d(wide, wide, size, 3, stride, groups=wide)
        self.bn2 = BatchNorm(wide)
        self.se = SqueezeExcite(wide, inputs // 4)
        self.conv_pwl = SameConv2d(wide, stage.channels, ceil(size / stride))
        self.bn3 = BatchNorm(stage.channels)
        self.residual = stride == 1 and inputs == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) → (N, outputs, H', W')."""
        y: Tensor = self.se(F.silu(self.bn2(self.conv_dw(F.silu(self.bn1(self.conv_pw(x)))))))
        y = self.bn3(self.conv_pwl(y))
        return x + y if self.residual else y


_BLOCKS: Mapping[Kind, type[ConvBlock | FusedBlock | InvertedBlock]] = MappingProxyType(
    {"conv": ConvBlock, "fused": FusedBlock, "inverted": InvertedBlock}
)


class EfficientNet(nn.Module):
    """(N, 1, S, S) → (N, C, h, h). With `recompute`, activations inside the stages are not stored."""

    FOLDS = (("conv_stem", "bn1"),)

    def __init__(self, backbone: Backbone, image_size: int) -> None:
        super().__init__()
        self.conv_stem = SameConv2d(3, backbone.stem, image_size, 3, 2)
        self.bn1 = BatchNorm(backbone.stem)
        self.blocks = nn.Sequential()
        inputs, size = backbone.stem, ceil(image_size / 2)
        for stage in backbone.stages:
            blocks = nn.Sequential()
            for index in range(stage.repeats):
                stride = stage.stride if index == 0 else 1
                blocks.append(_BLOCKS[stage.kind](inputs, stage, size, stride))
                inputs, size = stage.channels, ceil(size / stride)
            self.blocks.append(blocks)
        self.apply(_initialise)

    def forward(self, pictures: Tensor, recompute: bool = False) -> Tensor:
        """(N, 1, S, S) → (N, C, h, h)."""
        run = partial(_recomputed, self) if recompute else _computed
        x = run(self._stem, pictures)
        for blocks in self.blocks:
            x = run(blocks, x)
        return x

    def fold(self) -> None:
        """Replace the stem's three equal input channels by one, permanently: for inference."""
        stem = self.conv_stem
        weight = stem.weight.detach().double().sum(1, keepdim=True)
        stem.weight, stem.in_channels = nn.Parameter(weight.to(stem.weight.dtype)), 1

    def _stem(self, pictures: Tensor) -> Tensor:
        # three equal channels are one channel under the sum of their weights
        stem = self.conv_stem
        weight = stem.weight.sum(1, keepdim=True) if stem.in_channels > 1 else stem.weight
        padded = F.pad(pictures, (0, 1, 0, 1)) if stem.uneven else pictures
        return F.silu(self.bn1(F.conv2d(padded, weight, stem.bias, stem.stride, stem.padding)))


def _initialise(layer: nn.Module) -> None:
    """Normal weights by the outputs that a weight reaches, as TensorFlow's EfficientNets start."""
    if isinstance(layer, nn.Conv2d):
        reached = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels // layer.groups
        nn.init.normal_(layer.weight, 0.0, (2.0 / reached) ** 0.5)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def _computed(part: Any, x: Tensor) -> Tensor:
    y: Tensor = part(x)
    return y


def _recomputed(backbone: nn.Module, part: Any, x: Tensor) -> Tensor:
    """Keeps only the input; the backward pass computes the part again, with the same batch statistics."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _held_statistics(backbone)

    y: Tensor = checkpoint(part, x, use_reentrant=False, context_fn=contexts, preserve_rng_state=False)
    return y


@contextmanager
def _held_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norm's running means are not updated in this block: the second pass sees the same batch again."""
    norms = [layer for layer in module.modules() if isinstance(layer, BatchNorm)]
    for norm in norms:
        norm.held = True
    try:
        yield
    finally:
        for norm in norms:
            norm.held = False


class Pictures(nn.Module):
    """The backbone, under the parameter names of mri2speech."""

    def __init__(self, config: MriAcousticConfig) -> None:
        super().__init__()
        self.backbone = EfficientNet(BACKBONES[config.backbone], config.image_size)


class Sequences(nn.Module):
    """Both directions of an LSTM, added: (B, T, C) → (B, T, hidden)."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(features, hidden, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) → (B, T, hidden)."""
        both, _ = self.lstm(x)
        forward, backward = both.chunk(2, dim=-1)
        total: Tensor = forward + backward
        return total


class MriAcoustic(nn.Module):
    """(B, T, 1, S, S) or (B, T, S, S) pictures → (B, T, n_mels) standardised dB.

    Args:
        config: None means mri2speech's net for 256 × 256 pictures.
        recompute: gradient checkpointing: in training, activations inside the stages of the backbone are not
            kept but computed again. Outputs, gradients and running statistics are those without it, because
            batch norm still sees all pictures of the batch at once.
    """

    def __init__(self, config: MriAcousticConfig | None = None, *, recompute: bool = False) -> None:
        super().__init__()
        self.config = config or MriAcousticConfig()
        self.recompute = recompute
        channels = BACKBONES[self.config.backbone].channels
        self.cnn = Pictures(self.config)
        self.rnn = Sequences(channels, self.config.rnn_hidden)
        self.dropout = nn.Dropout(self.config.dropout)
        self.head = nn.Linear(self.config.rnn_hidden, self.config.n_mels)

    def forward(self, frames: Tensor) -> Tensor:
        """Mode `full`: (B, T, 1, S, S) or (B, T, S, S) → (B, T, n_mels), the whole video at once."""
        return self.mel(self.maps(frames))

    def maps(self, frames: Tensor) -> Tensor:
        """The backbone's last map of each picture, (B, T, 1, S, S) or (B, T, S, S) → (B, T, C, h, h)."""
        size = self.config.image_size
        # while a graph is traced, sizes are tensors, not ints
        wrong = any(isinstance(side, int) and side != size for side in frames.shape[-2:])
        if frames.ndim not in (4, 5) or wrong:
            raise InputError(
                "frames", got=f"shape {tuple(frames.shape)}", expected=f"(batch, frames, 1, {size}, {size})"
            )
        recompute = self.recompute and self.training and torch.is_grad_enabled()
        maps: Tensor = self.cnn.backbone(frames.reshape(-1, 1, size, size), recompute)
        return maps.reshape(frames.shape[0], frames.shape[1], *maps.shape[1:])

    def mel(self, maps: Tensor) -> Tensor:
        """Maps (B, T, C, h, h) → standardised dB (B, T, n_mels)."""
        return self._mel_of(maps.mean((3, 4)))

    def windowed(self, frames: Tensor) -> Tensor:
        """Mode `window`: the mean over all windows of `config.window` pictures that hold a frame.

        (B, T, 1, S, S) or (B, T, S, S) → (B, T, n_mels). A mel frame depends on window − 1 pictures on each
        side; a shorter video is one window.
        """
        features = self.maps(frames).mean((3, 4))  # (B, T, C)
        batch, length = features.shape[:2]
        window = min(self.config.window, length)
        windows = features.unfold(1, window, 1).transpose(2, 3)  # (B, n, window, C)
        mels = self._mel_of(windows.flatten(0, 1))  # (B · n, window, n_mels)
        mels = mels.reshape(batch, -1, window, self.config.n_mels)
        total, count = mels.new_zeros(batch, length, mels.shape[-1]), mels.new_zeros(length, 1)
        for place in range(window):
            span = slice(place, place + mels.shape[1])
            total[:, span] += mels[:, :, place]
            count[span] += 1
        return total / count

    def _mel_of(self, features: Tensor) -> Tensor:
        mel: Tensor = self.head(self.dropout(self.rnn(features)))
        return mel
