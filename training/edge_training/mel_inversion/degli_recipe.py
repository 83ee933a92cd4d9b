"""Deep Griffin-Lim's training by denoising: configuration, step, validation; any folder of recordings.

One block is trained alone ("sub-block training", Masuyama and others 2020), so that any number of blocks may
follow one another later: it gets the true spectrum X* with white complex noise, each item at a
signal-to-noise ratio drawn from `noise_low_db` … `noise_high_db`, and the true magnitude A = |X*|, and must
give X*. `loss` says where the two are compared: at the block's output ("spectrum", as in the PyTorch port
cvincent13/DeGLI-phase-reconstruction and preset `small`), or after P_A ("projected", as in
mel-speech-reconstruction: only the phase counts).

Each item is scaled so that A has the root mean square that the net's configuration states.

Validation: `validation_blocks` blocks from zero phase on the first `validation_seconds` of each clip, then
P_A and the inverse transform; the magnitude of the resulting signal is compared with the wanted one by the
measures of `edge_runtime.dsp.quality`. The monitored one is spectral convergence, the lower the better.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor, nn

from edge_runtime.errors import ConfigError
from edge_training.engine.config import FitConfig, is_number, is_whole
from edge_training.engine.items import Item, TrainingData
from edge_training.engine.module import FitModule, Picture, Recipe
from edge_training.engine.running_mean import follow
from edge_training.engine.schedules import warm_up_cosine
from edge_training.mel_inversion.data import InversionData, InversionSource
from edge_training.mel_inversion.degli import DEGLI_PRESETS, Degli, DegliConfig, magnitude_of, with_magnitude
from edge_training.mel_inversion.losses import SpectrumLoss, noisy, spectrum_loss
from edge_training.mel_inversion.recipe import judge
from edge_training.weights.loading import load_into

PICTURES = 2  # validation clips that are drawn
SILENCE = 1e-5  # root mean square of a magnitude; quieter items are scaled up as if they had this


@dataclass(frozen=True, kw_only=True)
class DegliFit(FitConfig):
    """Every number of the training."""

    net: DegliConfig = field(default_factory=DegliConfig)
    steps: int = 200_000
    batch_size: int = 2
    segment_frames: int = 100  # of a training item
    vary: bool = True  # pitch, direction and level of each item at random
    noise_low_db: float = -6.0  # signal-to-noise ratio
    noise_high_db: float = 12.0
    loss: SpectrumLoss = "projected"

    learning_rate: float = 4e-4  # Adam
    clip: float = 100.0  # largest norm of the gradient
    warm_up_steps: int = 0  # the rate rises over them
    decay_steps: int | None = None  # the rate falls to 0 along half a cosine until this step; null: it stays
    average: float = 0.0  # decay of the mean of weights that is exported; 0: the weights themselves

    validation_blocks: int = 5
    validation_seconds: float = 2.0  # of each clip
    log_every: int = 50
    validate_every: int = 500
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise_low_db > self.noise_high_db:
            raise ConfigError(
                "noise_low_db",
                got=f"{self.noise_low_db:g} dB",
                expected=f"at most noise_high_db, {self.noise_high_db:g} dB",
            )

    def _rules(self) -> Iterator[tuple[str, str, bool]]:
        yield from super()._rules()
        yield "segment_frames", "a whole number, 8 or more", is_whole(self.segment_frames, least=8)
        yield "vary", "true or false", isinstance(self.vary, bool)
        for name in ("noise_low_db", "noise_high_db"):
            yield name, "a number of dB", is_number(getattr(self, name))
        yield "loss", " or ".join(get_args(SpectrumLoss)), self.loss in get_args(SpectrumLoss)
        for name in ("learning_rate", "clip", "validation_seconds"):
            yield name, "a positive number", is_number(getattr(self, name), least=1e-30)
        yield "warm_up_steps", "a whole number, 0 or more", is_whole(self.warm_up_steps, least=0)
        yield (
            "decay_steps",
            "a positive whole number, or null",
            self.decay_steps is None or is_whole(self.decay_steps, least=1),
        )
        yield "average", "a number in 0 … 1", is_number(self.average, least=0, most=1)
        yield "validation_blocks", "a whole number, 1 or more", is_whole(self.validation_blocks, least=1)

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        share = warm_up_cosine(step, warm_up=self.warm_up_steps, until=self.decay_steps)
        return self.learning_rate * share


class DegliModule(FitModule[DegliFit]):
    """The block in training."""

    monitor: ClassVar[str] = "validation/spectral_convergence"
    weights_file: ClassVar[str] = "degli.safetensors"

    def __init__(self, config: DegliFit, data: TrainingData) -> None:
        super().__init__(config, data)
        self.net = Degli(config.net)
        if config.start_from is not None:
            self.said += load_into(self.net, config.start_from, "degli", config.start_weights).said
        self.average = copy.deepcopy(self.net).requires_grad_(False) if config.average else None

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.net.parameters(), self.config.learning_rate)

    # ---- a step

    def training_step(self, batch: Item, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's names
        """Loss, a scalar, of a batch of samples (B, N)."""
        config = self.config
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = config.rate(self.step)
        truth, magnitude = self.spectrum(batch["wav"])
        output = run_block(self.net, noisy(truth, config.noise_low_db, config.noise_high_db), magnitude)
        loss = self.finite(spectrum_loss(truth, output, magnitude, config.loss), batch)
        self.note({"loss": loss}, bar=("loss",))
        return loss

    @torch.no_grad()
    def spectrum(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (B, N) → spectrum (B, 2, bins, T) at the level that the net is for, and its magnitude."""
        with torch.autocast(samples.device.type, enabled=False):
            spectrum = self.net.degliblock.stft(samples.float())
            magnitude = magnitude_of(spectrum[:, 0], spectrum[:, 1])
            level = magnitude.square().mean((1, 2)).sqrt()
            gain = self.config.net.magnitude_rms / level.clamp(min=SILENCE)
            return spectrum * gain[:, None, None, None], magnitude * gain[:, None, None]

    def on_before_optimizer_step(self, optimizer: Any) -> None:  # noqa: ARG002 - Lightning's names
        nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip)

    def on_train_batch_end(self, *_: Any) -> None:
        if self.average is not None:
            follow(self.average, self.net, self.config.average, self.step)

    # ---- validation and results

    @property
    def result(self) -> Degli:
        """The net that is validated and exported."""
        return self.net if self.average is None else self.average

    def validation_step(self, batch: Item, batch_idx: int) -> None:
        config = self.config
        net, length = config.net, round(config.validation_seconds * config.net.sample_rate)
        samples = batch["wav"][:, : max(length, net.spectral.stft.min_samples)]
        _, magnitude = self.spectrum(samples)
        heard = self.spectrum_of_blocks(magnitude, config.validation_blocks)
        figures = judge(magnitude[0].cpu(), heard[0].cpu())
        self.note({f"validation/{name}": value for name, value in figures.items()}, bar=(self.monitor,))
        if batch_idx == 0:
            self.pictures = []
        if batch_idx < PICTURES:
            rows = {"asked for": magnitude, "heard": heard}
            drawn = {name: rows[name][0].clamp(min=1e-3).log().cpu().numpy() for name in rows}
            self.pictures.append(Picture(batch["name"][0], drawn))

    def spectrum_of_blocks(self, magnitude: Tensor, blocks: int) -> Tensor:
        """Magnitude of the signal that `blocks` blocks make, from zero phase; (B, bins, T) → (B, bins, T)."""
        spectrum = torch.stack([magnitude, torch.zeros_like(magnitude)], 1)
        for _ in range(blocks):
            spectrum = run_block(self.result, spectrum, magnitude)
        with torch.autocast(magnitude.device.type, enabled=False):
            heard = self.result.degliblock.consistent(with_magnitude(spectrum.float(), magnitude))
            return magnitude_of(heard[:, 0], heard[:, 1])

    def weights(self) -> dict[str, Tensor]:
        """State dict of the exported net: name → tensor (…,)."""
        return {key: tensor.detach().cpu() for key, tensor in self.result.state_dict().items()}


def run_block(net: Degli, spectrum: Tensor, magnitude: Tensor) -> Tensor:
    """One block with transforms in float32; (B, 2, bins, T) and (B, bins, T) → (B, 2, bins, T)."""
    block = net.degliblock
    with torch.autocast(spectrum.device.type, enabled=False):
        y = with_magnitude(spectrum.float(), magnitude)
        z = block.consistent(y)
    return z - block.residual(spectrum, y, z, magnitude).float()


# ---- recipe -----------------------------------------------------------------------------------------------


def open_data(config: DegliFit, folder: Path) -> InversionData:
    """Opens the recordings of a data folder."""
    net = config.net
    return InversionData(
        InversionSource(
            folder=folder,
            sample_rate=net.sample_rate,
            segment=config.segment_frames * net.hop_length,
            shortest=net.spectral.stft.min_samples,
            vary=config.vary,
            validation_clips=config.validation_clips,
        )
    )


PRESETS: Mapping[str, DegliFit] = MappingProxyType(
    {
        # the recipe of mel-speech-reconstruction
        "origin": DegliFit(
            net=DEGLI_PRESETS["origin"], batch_size=1, segment_frames=64, vary=False, learning_rate=1e-4
        ),
        # that of cvincent13/DeGLI-phase-reconstruction, which has trained this net
        "small": DegliFit(net=DEGLI_PRESETS["small"], loss="spectrum"),
    }
)
RECIPE = Recipe("degli", PRESETS, "small", DegliFit.from_json, open_data, DegliModule)
