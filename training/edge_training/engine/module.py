"""What the trainer needs of a net: a LightningModule of this kind, and a `Recipe` that builds it.

A net's training lives in `edge_training/<system>/recipe.py` and ends in a module-level `RECIPE`; `RECIPES`
names the file. Everything random inside a step comes from torch's, numpy's and Python's global generators,
which are seeded anew before each step by (seed, step, process): the random state needs no saving either.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import lightning
import numpy as np
import torch
from torch import Tensor

from edge_runtime.errors import ConfigError, InputError
from edge_training.engine.config import FitConfig
from edge_training.engine.items import Item, TrainingData
from edge_training.engine.late_checks import LateChecks

RECIPES: Mapping[str, str] = {
    "hifigan": "edge_training.vocoder.hifigan_recipe",
    "istft-vocoder": "edge_training.vocoder.istft_recipe",
    "audio-encoder": "edge_training.talking_head.recipe",
    "mel-inversion": "edge_training.mel_inversion.recipe",
    "degli": "edge_training.mel_inversion.degli_recipe",
    "mri-acoustic": "edge_training.mri_speech.recipe",
    "speech-encoder": "edge_training.ecog_speech.encoder_recipe",
    "ecog-decoder": "edge_training.ecog_speech.decoder_recipe",
    "image-speech": "edge_training.image_speech.lora_recipe",
}

Config = TypeVar("Config", bound=FitConfig)


@dataclass(frozen=True)
class Picture:
    """A validation spectrogram: the true one above, the net's below."""

    name: str
    rows: Mapping[str, Any]  # title → array (bands, frames)


class WeightsFile(NamedTuple):
    """Weights of a file beside the main one."""

    state: Mapping[str, Tensor]
    config: Mapping[str, Any] | None = None  # written as NAME.json, which is found before config.json


class FitModule(lightning.LightningModule, Generic[Config]):
    """A net in training.

    Children build their nets in `__init__`, write `training_step` and `validation_step`, call `finite` on
    every loss before its backward pass, and log through `note`.
    """

    monitor: ClassVar[str]  # the logged validation figure, the lower the better
    weights_file: ClassVar[str]  # name of the file that `edge-export export` takes

    def __init__(self, config: Config, data: TrainingData) -> None:
        super().__init__()
        self.config = config
        self.clips = len(data.names)
        self.pictures: list[Picture] = []  # of the last validation
        self.late = LateChecks()  # of losses on a GPU
        self.said: list[str] = []  # what was inferred from checkpoints that the training begins with

    # ---- what a net provides

    def weights(self) -> dict[str, Tensor]:
        """The plain state dict, name → tensor (…,), that `edge-export export` takes."""
        raise NotImplementedError

    def further_weights(self) -> Mapping[str, WeightsFile]:
        """File name → weights beside those: adapters, other nets, frozen teachers. None by default.

        A file is called NAME.safetensors, and its configuration, where it has one of its own, NAME.json.
        """
        return {}

    def origin_files(self) -> dict[str, Callable[[Path], None]]:
        """File name → writer, for formats of the system that the net comes from; none by default."""
        return {}

    # ---- what it can use

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return int(self.trainer.global_step)

    @property
    def epoch(self) -> float:
        """Passes over the training clips done, counted in items: a batch may span two."""
        return self.step * self.config.batch_size / self.clips

    def finite(self, loss: Tensor, batch: Item, what: str = "loss") -> Tensor:
        """The loss, a scalar (); InputError with the step and the clips where it is not finite.

        A loss on a GPU is looked at two steps later (`late_checks`): asking at once would make it wait.
        """
        step, clips = self.step + 1, ", ".join(batch["name"])

        def refusal(value: float) -> InputError:
            return InputError(
                what,
                got=f"{value} at step {step} on {clips}",
                expected="a finite loss",
                cause="lower learning_rate, or listen to these clips; the last good checkpoint is kept, "
                "and training goes on from it with --resume",
            )

        if loss.is_cuda:
            self.late.add(loss, step, refusal)
        elif not torch.isfinite(loss):
            raise refusal(float(loss.detach()))
        return loss

    def adamw(self, parameters: Iterable[Tensor], rate: float, **settings: Any) -> torch.optim.AdamW:
        """torch's AdamW; on CUDA with one kernel for all parameters.

        Not under a gradient scaler (16-mixed): Lightning leaves unscaling to such an optimiser, and gradients
        would be clipped while they are still scaled.
        """
        chosen = list(parameters)
        if chosen and all(each.is_cuda for each in chosen) and not self._scales_gradients:
            settings["fused"] = True
        return torch.optim.AdamW(chosen, rate, **settings)

    @property
    def _scales_gradients(self) -> bool:
        try:
            return str(self.trainer.precision) == "16-mixed"
        except RuntimeError:  # outside of a trainer
            return False

    def note(self, figures: Mapping[str, Tensor], *, bar: tuple[str, ...] = ()) -> None:
        """Log scalar figures () of this step, averaged over processes; `bar` names those shown on the bar."""
        together = self.trainer.world_size > 1
        for name, value in figures.items():
            self.log(name, value.detach(), prog_bar=name in bar, sync_dist=together, batch_size=1)
        # Lightning numbers rows by this figure; automatic optimisation steps after the log
        ahead = self.automatic_optimization and self.trainer.training
        # filled on the device: a number would be copied there, and the copy waited for
        number = torch.full((), float(self.step + ahead), device=self.device)
        self.log("step", number, batch_size=1)

    def on_validation_start(self) -> None:
        self.late.settle()

    def on_train_end(self) -> None:
        self.late.settle()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's names
        words = np.random.SeedSequence((self.config.seed, self.step, self.global_rank)).generate_state(3)
        random.seed(int(words[0]))
        np.random.seed(int(words[1]))  # noqa: NPY002 - for libraries that draw from it
        torch.manual_seed(int(words[2]))


@dataclass(frozen=True)
class Recipe:
    """How one net is trained."""

    net: str
    presets: Mapping[str, FitConfig]
    default_preset: str
    read_config: Callable[[Mapping[str, Any]], FitConfig]  # from one flat JSON object
    open_data: Callable[[Any, Path], TrainingData]  # (config, DATA)
    build: Callable[[Any, TrainingData], FitModule[Any]]
    unused_parameters: bool = False  # some backward passes leave parameters out (two nets in turn)


def uncounted(optimizer: Any) -> None:
    """Keep Lightning from counting this optimiser's steps, of discriminators that step beside a generator.

    `global_step`, and with it `max_steps`, is otherwise counted twice a batch (Lightning issue 17958).
    """
    optimizer._on_before_step = optimizer._on_after_step = lambda: None


def find_recipe(net: str) -> Recipe:
    """The recipe of a net; raises ConfigError for a net that is not trained here."""
    if net not in RECIPES:
        raise ConfigError("net", got=repr(net), expected=" or ".join(RECIPES))
    recipe = import_module(RECIPES[net]).RECIPE
    assert isinstance(recipe, Recipe)
    return recipe
