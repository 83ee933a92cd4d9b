"""AudioEncoder's training by audio-visual synchrony: configuration, step, validation.

Each step takes `batch_size` clips and `windows` windows of each. The face tower sees the mouth in every
window, the audio tower (the encoder itself) hears it, and the loss asks which belongs to which:

    loss bce       Wav2Lip's: cosine as a probability, right pair against a wrong one of the same clip, and
                   with `other_clips` above 0 also of other clips
    loss infonce   the right partner among all windows of the step, those of the same clip at other times and
                   those of other clips

With several processes, batch norm's statistics and the wrong pairs are those of one process. Source of the
towers and of preset `origin`: Wav2Lip's expert; using the encoder itself as the audio tower is our choice
(the published weights come from the generator that the expert supervised; its training was not released).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from edge_runtime.errors import ConfigError
from edge_training.engine.config import FitConfig, is_number, is_whole
from edge_training.engine.items import Item, TrainingData
from edge_training.engine.module import FitModule, Picture, Recipe
from edge_training.engine.schedules import warm_up_cosine
from edge_training.talking_head.audio_encoder import AudioEncoder, AudioEncoderConfig
from edge_training.talking_head.data import SyncData, SyncSource
from edge_training.talking_head.losses import bce_loss, cosines, infonce_loss
from edge_training.talking_head.quality import embed, offsets, same_clip, scale_pictures
from edge_training.talking_head.syncnet_face import SyncNetFace, SyncNetFaceConfig
from edge_training.weights.loading import load_into

PICTURES_DRAWN = 2  # validation clips whose similarities are drawn


@dataclass(frozen=True, kw_only=True)
class AudioEncoderFit(FitConfig):
    """Every number of the training; `batch_size` counts clips, each with `windows` windows."""

    net: AudioEncoderConfig = field(default_factory=AudioEncoderConfig)
    face: SyncNetFaceConfig = field(default_factory=SyncNetFaceConfig)
    steps: int = 200_000
    batch_size: int = 8
    windows: int = 8  # of each clip in a step
    spacing: int = 2  # pictures, least between two of them
    vary: bool = True  # mirror, light and loudness of each clip at random

    loss: Literal["bce", "infonce"] = "infonce"
    temperature: float = 0.05  # infonce
    other_clips: float = 0.0  # bce: share of wrong pairs from other clips

    learning_rate: float = 1e-4  # Adam
    warm_up_steps: int = 0  # the rate rises over them
    decay_steps: int | None = None  # the rate falls to 0 along half a cosine until this step; null: it stays
    log_every: int = 50
    validate_every: int = 500
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss == "bce" and self.other_clips > 0 and self.batch_size < 2:
            raise ConfigError(
                "other_clips", got="more than 0 with batch_size 1", expected="2 or more clips in a step"
            )

    def _rules(self) -> Iterator[tuple[str, str, bool]]:
        yield from super()._rules()
        yield "windows", "a whole number, 2 or more", is_whole(self.windows, least=2)
        yield "spacing", "a positive whole number of pictures", is_whole(self.spacing, least=1)
        yield "vary", "true or false", isinstance(self.vary, bool)
        yield "loss", "'bce' or 'infonce'", self.loss in ("bce", "infonce")
        yield "temperature", "a number above 0", is_number(self.temperature, least=1e-6)
        yield "other_clips", "a number in 0 … 1", is_number(self.other_clips, least=0, most=1)
        yield "learning_rate", "a positive number", is_number(self.learning_rate, least=1e-30)
        yield "warm_up_steps", "a whole number, 0 or more", is_whole(self.warm_up_steps, least=0)
        yield (
            "decay_steps",
            "a positive whole number, or null",
            self.decay_steps is None or is_whole(self.decay_steps, least=1),
        )

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        share = warm_up_cosine(step, warm_up=self.warm_up_steps, until=self.decay_steps)
        return self.learning_rate * share


class AudioEncoderModule(FitModule[AudioEncoderFit]):
    """Both towers in training."""

    monitor: ClassVar[str] = "validation/loss"
    weights_file: ClassVar[str] = "audio-encoder.safetensors"

    def __init__(self, config: AudioEncoderFit, data: TrainingData) -> None:
        super().__init__(config, data)
        self.audio = AudioEncoder(config.net)
        self.face = SyncNetFace(config.face)
        if config.start_from is not None:
            taken = load_into(self.audio, config.start_from, "audio-encoder", config.start_weights)
            self.said += taken.said
        # the CPU's convolutions in bfloat16 are twice as fast in this order
        self.to(memory_format=torch.channels_last)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), self.config.learning_rate)

    def training_step(self, batch: Item, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's names
        """Loss, a scalar, of a batch of faces (B, windows, 15, 48, 96) and mels (B, windows, 1, 80, 16)."""
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = self.config.rate(self.step)
        similarity = self.similarity(batch)
        loss = self.finite(self.loss(similarity, batch["face"].shape[1]), batch)
        hits = (
            (similarity.argmax(1) == torch.arange(len(similarity), device=similarity.device)).float().mean()
        )
        self.note({"loss/sync": loss, "loss/hits": hits}, bar=("loss/sync", "loss/hits"))
        return loss

    def similarity(self, batch: Item) -> Tensor:
        """Cosines (N, N) of all windows of a batch, clip after clip."""
        faces = scale_pictures(batch["face"].flatten(0, 1)).contiguous(memory_format=torch.channels_last)
        return cosines(self.face(faces), self.audio(batch["mel"].flatten(0, 1)))

    def loss(self, similarity: Tensor, windows: int) -> Tensor:
        """Scalar loss of cosines (N, N); each `windows` rows in a row are of one clip."""
        config = self.config
        if config.loss == "infonce":
            return infonce_loss(similarity, config.temperature)
        clips = torch.arange(len(similarity), device=similarity.device) // windows
        return bce_loss(similarity, clips, config.other_clips if len(similarity) > windows else 0.0)

    # ---- validation and results

    def validation_step(self, batch: Item, batch_idx: int) -> None:
        item = {"name": batch["name"][0]} | {key: batch[key][0] for key in ("face", "mel", "start")}
        item["start"] = item["start"].cpu()
        clip = embed(self.face, self.audio, item)
        similarity = torch.from_numpy(clip.face @ clip.audio.T)
        figures = {
            self.monitor: self.loss(similarity, len(similarity)),
            "validation/accuracy": torch.tensor(same_clip(clip)).mean(),
        }
        if found := offsets(clip):
            figures["validation/offset"] = (torch.tensor(found).abs() <= 1).float().mean()
        self.note(figures, bar=(self.monitor, "validation/accuracy"))
        if batch_idx == 0:
            self.pictures = []
        if batch_idx < PICTURES_DRAWN:
            self.pictures.append(
                Picture(clip.name, {"similarity, audio up, face right": similarity.T.numpy()})
            )

    def weights(self) -> dict[str, Tensor]:
        """State dict of the audio tower: name → tensor (…,)."""
        return {key: tensor.detach().cpu() for key, tensor in self.audio.state_dict().items()}


# ---- recipe -----------------------------------------------------------------------------------------------


def open_data(config: AudioEncoderFit, folder: Path) -> SyncData:
    """Opens the clips of a data folder."""
    return SyncData(
        SyncSource(
            folder=folder,
            windows=config.windows,
            spacing=config.spacing,
            vary=config.vary,
            validation_clips=config.validation_clips,
        )
    )


PRESETS: Mapping[str, AudioEncoderFit] = MappingProxyType(
    {
        "infonce": AudioEncoderFit(warm_up_steps=500),
        # a narrow face tower and a short schedule: under half an hour on two cores
        "phantom": AudioEncoderFit(
            face=SyncNetFaceConfig(width=8),
            steps=1300,
            learning_rate=1e-3,
            warm_up_steps=100,
            decay_steps=1300,
            log_every=20,
            validate_every=200,
            checkpoint_every=100,
        ),
        # two moments of a clip: the right one and the wrong one
        "origin": AudioEncoderFit(
            batch_size=64, windows=2, spacing=1, vary=False, loss="bce", checkpoint_every=10_000
        ),
    }
)
RECIPE = Recipe("audio-encoder", PRESETS, "infonce", AudioEncoderFit.from_json, open_data, AudioEncoderModule)
