"""Mel inversion's training: configuration, step, validation; any folder of recordings.

Each step gives the net the mel of a few segments and compares its output with their magnitude:

    λ_log · mean |Δ ln|  +  λ_distortion · distortion (dB, see `edge_training.mel_inversion.losses`)

The logarithm corresponds to loudness, quiet bins included; the distortion is what SI-SSDR measures, nearly
all of it in the loudest bins. mel-speech-reconstruction trains on the first term only.

Validation: SI-SSDR, spectral convergence and log-spectral distance of whole clips
(`edge_runtime.dsp.quality`). The monitored one is spectral convergence, the lower the better, and the plateau
schedule follows it in that direction. PESQ and STOI need a phase and take minutes:
`edge_training.mel_inversion.quality`.

`average` is the decay of a running mean of the weights; the mean is what is validated and exported.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from edge_runtime.dsp.quality import log_spectral_distance, si_ssdr, spectral_convergence
from edge_training.engine.config import FitConfig, is_number, is_whole
from edge_training.engine.items import Item, TrainingData
from edge_training.engine.module import FitModule, Picture, Recipe
from edge_training.engine.running_mean import follow
from edge_training.engine.schedules import warm_up_cosine
from edge_training.mel_inversion.data import InversionData, InversionSource
from edge_training.mel_inversion.losses import InversionTargets, distortion, log_error
from edge_training.mel_inversion.pinv_conv_skip import (
    MEL_INVERSION_PRESETS,
    MelInversionConfig,
    build_mel_inversion,
)
from edge_training.weights.loading import load_into

PICTURES = 2  # validation clips that are drawn


@dataclass(frozen=True, kw_only=True)
class MelInversionFit(FitConfig):
    """Every number of the training."""

    net: MelInversionConfig = field(default_factory=MelInversionConfig)
    steps: int = 50_000
    batch_size: int = 8
    segment_frames: int = 96  # of a training item
    vary: bool = True  # pitch, direction and level of each item at random
    colour: float = 0.35  # standard deviation of a random equaliser, of ln; 0: none

    lambda_log: float = 1.0
    lambda_distortion: float = 0.1

    learning_rate: float = 1e-3  # AdamW
    weight_decay: float = 0.01
    clip: float = 1.0  # largest norm of the gradient
    schedule: Literal["cosine", "plateau"] = "cosine"
    warm_up_steps: int = 100  # cosine: the rate rises over them
    decay_steps: int | None = None  # cosine: the rate falls to 0 until this step; null: it stays
    plateau_factor: float = 0.5  # plateau: factor after …
    plateau_patience: int = 3  # … so many validations without a better one
    average: float = 0.999  # decay of the mean of weights that is exported; 0: the weights themselves
    log_every: int = 50
    validate_every: int = 500
    checkpoint_every: int = 500

    def _rules(self) -> Iterator[tuple[str, str, bool]]:
        yield from super()._rules()
        yield "segment_frames", "a whole number, 8 or more", is_whole(self.segment_frames, least=8)
        yield "vary", "true or false", isinstance(self.vary, bool)
        for name in ("colour", "lambda_log", "lambda_distortion", "weight_decay"):
            yield name, "a number, 0 or more", is_number(getattr(self, name), least=0)
        for name in ("learning_rate", "clip"):
            yield name, "a positive number", is_number(getattr(self, name), least=1e-30)
        for name in ("warm_up_steps", "plateau_patience"):
            yield name, "a whole number, 0 or more", is_whole(getattr(self, name), least=0)
        yield "schedule", "'cosine' or 'plateau'", self.schedule in ("cosine", "plateau")
        yield (
            "decay_steps",
            "a positive whole number, or null",
            self.decay_steps is None or is_whole(self.decay_steps, least=1),
        )
        for name in ("plateau_factor", "average"):
            yield name, "a number in 0 … 1", is_number(getattr(self, name), least=0, most=1)

    def rate(self, step: int) -> float:
        """Learning rate of a step of the cosine schedule, counted from 0."""
        share = warm_up_cosine(step, warm_up=self.warm_up_steps, until=self.decay_steps)
        return self.learning_rate * share


class MelInversionModule(FitModule[MelInversionFit]):
    """A net of mel inversion in training."""

    monitor: ClassVar[str] = "validation/spectral_convergence"
    weights_file: ClassVar[str] = "mel-inversion.safetensors"

    def __init__(self, config: MelInversionFit, data: TrainingData) -> None:
        super().__init__(config, data)
        self.net = build_mel_inversion(config.net)
        if config.start_from is not None:
            self.said += load_into(self.net, config.start_from, "mel-inversion", config.start_weights).said
        self.targets = InversionTargets(config.net.mel, config.net.domain)
        self.average = copy.deepcopy(self.net).requires_grad_(False) if config.average else None

    def configure_optimizers(self) -> Any:
        config = self.config
        optimizer = self.adamw(
            self.net.parameters(), config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
        )
        if config.schedule == "cosine":
            return optimizer  # the rate is a function of the step, see `rate`
        plateau = ReduceLROnPlateau(optimizer, "min", config.plateau_factor, config.plateau_patience)
        # stepped after each validation by `on_validation_epoch_end`, never by Lightning's own count
        entry = {"scheduler": plateau, "monitor": self.monitor, "interval": "step", "frequency": sys.maxsize}
        return {"optimizer": optimizer, "lr_scheduler": entry}

    # ---- a step

    def training_step(self, batch: Item, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's names
        """Loss, a scalar, of a batch of samples (B, N)."""
        config = self.config
        if config.schedule == "cosine":
            for group in self.trainer.optimizers[0].param_groups:
                group["lr"] = config.rate(self.step)
        mel, truth = self.targets(batch["wav"], config.colour)
        log_estimate = self.targets.log_magnitude(self.net(mel).float())
        parts = {
            "log": log_error(truth, log_estimate),
            "distortion": distortion(truth, log_estimate),
        }
        terms = [getattr(config, f"lambda_{name}") * part for name, part in parts.items()]
        loss = self.finite(torch.stack(terms).sum(), batch)
        self.note({"loss": loss} | {f"loss/{name}": part for name, part in parts.items()}, bar=("loss",))
        return loss

    def on_before_optimizer_step(self, optimizer: Any) -> None:  # noqa: ARG002 - Lightning's names
        nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip)

    def on_train_batch_end(self, *_: Any) -> None:
        if self.average is not None:
            follow(self.average, self.net, self.config.average, self.step)

    # ---- validation and results

    @property
    def result(self) -> nn.Module:
        """The net that is validated and exported."""
        return self.net if self.average is None else self.average

    def validation_step(self, batch: Item, batch_idx: int) -> None:
        mel, truth = self.targets(batch["wav"])
        log_estimate = self.targets.log_magnitude(self.result(mel).float())
        figures = judge(truth[0].cpu(), log_estimate[0].exp().cpu())
        self.note({f"validation/{name}": value for name, value in figures.items()}, bar=(self.monitor,))
        if batch_idx == 0:
            self.pictures = []
        if batch_idx < PICTURES:
            rows = {"recording": truth[0].log().cpu().numpy(), "estimate": log_estimate[0].cpu().numpy()}
            self.pictures.append(Picture(batch["name"][0], rows))

    def on_validation_epoch_end(self) -> None:
        if self.config.schedule == "plateau" and not self.trainer.sanity_checking:
            scheduler: Any = self.lr_schedulers()
            scheduler.step(float(self.trainer.callback_metrics[self.monitor]))

    def weights(self) -> dict[str, Tensor]:
        """State dict of the exported net: name → tensor (…,)."""
        return {key: tensor.detach().cpu() for key, tensor in self.result.state_dict().items()}


def judge(truth: Tensor, estimate: Tensor) -> dict[str, Tensor]:
    """The measures of `edge_runtime.dsp.quality` for two magnitudes (bins, T) on the CPU; scalars."""
    ours, theirs = estimate.double().numpy(), truth.double().numpy()
    figures = {
        "si_ssdr": si_ssdr(theirs, ours),
        "spectral_convergence": spectral_convergence(theirs, ours),
        "log_spectral_distance": log_spectral_distance(theirs, ours),
    }
    return {name: torch.tensor(value) for name, value in figures.items()}


# ---- recipe -----------------------------------------------------------------------------------------------


def open_data(config: MelInversionFit, folder: Path) -> InversionData:
    """Opens the recordings of a data folder."""
    mel = config.net.mel
    return InversionData(
        InversionSource(
            folder=folder,
            sample_rate=mel.sample_rate,
            segment=config.segment_frames * mel.hop_length,
            shortest=mel.min_samples,
            vary=config.vary,
            validation_clips=config.validation_clips,
        )
    )


def _presets() -> dict[str, MelInversionFit]:
    presets = {name: MelInversionFit(net=net) for name, net in MEL_INVERSION_PRESETS.items()}
    # takes a quarter of an hour on one core for two minutes of speech
    presets["light"] = replace(
        presets["light"], steps=1800, batch_size=4, learning_rate=2e-3, decay_steps=1800, average=0.998,
        warm_up_steps=50, checkpoint_every=250,
    )  # fmt: skip
    # mel-speech-reconstruction's: L1 of the normalised dB (`nepers` each), one segment of 64 frames a step
    nepers = 80 * math.log(10) / 20
    presets["origin"] = replace(
        presets["origin"], batch_size=1, segment_frames=64, vary=False, colour=0.0, lambda_log=1 / nepers,
        lambda_distortion=0.0, learning_rate=1e-4, weight_decay=0.0, schedule="plateau", average=0.0,
    )  # fmt: skip
    return presets


PRESETS: Mapping[str, MelInversionFit] = MappingProxyType(_presets())
RECIPE = Recipe("mel-inversion", PRESETS, "light", MelInversionFit.from_json, open_data, MelInversionModule)
