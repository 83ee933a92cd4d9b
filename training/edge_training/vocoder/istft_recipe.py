"""Training of `istft-vocoder`: configuration, steps, validation.

Each step the net makes a spectrum and audio from the mel of segments, and learns from

    Σ λ_part · part                         the distances of `edge_training.vocoder.spectral_losses`

alone: minutes of speech and thousands of steps are enough for that. From step `discriminate_from` on, if it
is given, multi-period and spectrogram discriminators play too, after HiFi-GAN (least squares, features):

    + r · (λ_adversarial · adversarial + λ_feature · features),   r rising to 1 over `ramp_steps`

With mels beside the recordings (`mels_dir`) the net is fine-tuned on those it will be given.

What is validated and exported is a running mean of the weights. `vary` draws a level and a sign for each
segment, `speeds` plays recordings faster and slower, so that two minutes of one voice go further.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from edge_runtime.errors import ConfigError
from edge_training.engine.config import FitConfig, is_number, is_whole
from edge_training.engine.items import Item, TrainingData
from edge_training.engine.module import FitModule, Picture, Recipe, uncounted
from edge_training.engine.optimizers import Muon
from edge_training.engine.running_mean import follow
from edge_training.engine.schedules import warm_up_cosine
from edge_training.spectral.mels import TorchMel
from edge_training.vocoder.data import VocoderData, VocoderSource
from edge_training.vocoder.discriminators import Judgement, MultiPeriodDiscriminator, PeriodConfig
from edge_training.vocoder.istft_vocoder import (
    ISTFT_VOCODER_PRESETS,
    IstftVocoder,
    IstftVocoderConfig,
)
from edge_training.vocoder.losses import adversarial_loss, discriminator_loss, feature_loss, split_judgements
from edge_training.vocoder.spectral_losses import PARTS, SpectralLosses
from edge_training.vocoder.spectrogram_discriminators import MultiResolutionDiscriminator
from edge_training.weights.loading import load_into

PICTURES = 2  # validation clips that are drawn
LEVELS = (-1.3, 0.1)  # ln of the level of a segment, with `vary`
LOWEST_RATE = 0.02  # of the learning rate, at the end


@dataclass(frozen=True, kw_only=True)
class IstftVocoderFit(FitConfig):
    """Every number of the training."""

    net: IstftVocoderConfig = field(default_factory=IstftVocoderConfig)
    steps: int = 6000
    batch_size: int = 64
    segment_frames: int = 64  # of a training item
    peak: float = 0.95  # of each recording; unused when fine-tuning on mels
    vary: bool = True  # level and sign of each segment at random; unused when fine-tuning on mels
    speeds: tuple[float, ...] = (0.86, 0.91, 0.95, 1.06, 1.12, 1.2)  # beside 1; likewise

    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3
    warm_up_steps: int = 200  # the rate rises over them, then falls along half a cosine
    decay_steps: int | None = None  # until this step; null: the last
    adam_b1: float = 0.8
    adam_b2: float = 0.99
    weight_decay: float = 0.01
    clip: float = 20.0  # largest norm of the gradient
    average: float = 0.999  # decay of the mean of weights that is exported

    lambda_mel: float = 15.0
    lambda_magnitude: float = 10.0
    lambda_phase: float = 8.0
    lambda_resolutions: float = 5.0
    lambda_consistency: float = 10.0
    lambda_spectrum: float = 10.0
    sizes: tuple[int, ...] = (256, 512, 2048)  # n_fft of the further transforms

    discriminate_from: int | None = None  # the step that discriminators play from; null: never
    discriminator_rate: float = 4e-4
    lambda_adversarial: float = 1.0
    lambda_feature: float = 2.0
    ramp_steps: int = 300
    discriminator_sizes: tuple[int, ...] = (512, 1024, 2048)  # n_fft of the spectrogram discriminators
    mpd: PeriodConfig = field(default_factory=lambda: PeriodConfig(channels=(32, 64, 128, 256, 256)))

    mels_dir: str | None = None  # fine-tuning: predicted mels
    extra_mels_dir: str | None = None  # a second folder of mels (true ones, say) …
    extra_mels_weight: float = 0.0  # … drawn with this probability
    log_every: int = 50
    validate_every: int = 500
    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.extra_mels_dir is not None and self.mels_dir is None:
            raise ConfigError("extra_mels_dir", got="no mels_dir", expected="a folder of mels to mix with")

    def _rules(self) -> Iterator[tuple[str, str, bool]]:
        yield from super()._rules()
        hop, longest = self.net.hop_length, max((self.net.mel.n_fft, *self.sizes, *self.discriminator_sizes))
        least = longest // (2 * hop) + 1  # reflection needs as much on each side
        yield "segment_frames", f"a whole number, {least} or more", is_whole(self.segment_frames, least=least)
        yield "vary", "true or false", isinstance(self.vary, bool)
        yield (
            "speeds",
            "numbers in 0.5 … 2",
            all(is_number(speed, least=0.5, most=2) for speed in self.speeds),
        )
        yield "optimizer", "'adamw' or 'muon'", self.optimizer in ("adamw", "muon")
        for name in ("peak", "learning_rate", "discriminator_rate", "clip"):
            yield name, "a positive number", is_number(getattr(self, name), least=1e-30)
        weights = (f"lambda_{part}" for part in (*PARTS, "adversarial", "feature"))
        for name in ("weight_decay", *weights):
            yield name, "a number, 0 or more", is_number(getattr(self, name), least=0)
        for name in ("adam_b1", "adam_b2", "average", "extra_mels_weight"):
            yield name, "a number in 0 … 1", is_number(getattr(self, name), least=0, most=1)
        for name in ("warm_up_steps", "ramp_steps"):
            yield name, "a whole number, 0 or more", is_whole(getattr(self, name), least=0)
        for name in ("decay_steps", "discriminate_from"):
            value = getattr(self, name)
            yield name, "a whole number, or null", value is None or is_whole(value, least=0)
        for name in ("sizes", "discriminator_sizes"):
            wholes = all(is_whole(size, least=16) and size % 4 == 0 for size in getattr(self, name))
            yield name, "multiples of 4, 16 or more", wholes
        for name in ("mels_dir", "extra_mels_dir"):
            yield name, "a path, or null", getattr(self, name) is None or isinstance(getattr(self, name), str)

    def rate_share(self, step: int) -> float:
        """Part of the learning rate at a step, counted from 0."""
        until = self.steps if self.decay_steps is None else self.decay_steps
        return warm_up_cosine(step, warm_up=self.warm_up_steps, until=until, floor=LOWEST_RATE)


class IstftVocoderModule(FitModule[IstftVocoderFit]):
    """The net in training, and its discriminators where they play."""

    monitor: ClassVar[str] = "validation/mel"
    weights_file: ClassVar[str] = "istft-vocoder.safetensors"

    def __init__(self, config: IstftVocoderFit, data: TrainingData) -> None:
        super().__init__(config, data)
        self.automatic_optimization = False
        self.net = IstftVocoder(config.net)
        if config.start_from is not None:
            self.said += load_into(self.net, config.start_from, "istft-vocoder", config.start_weights).said
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        # segments are cut from the middle: framed as the net frames them, whatever the padding of whole clips
        self.front_end = TorchMel(replace(config.net.mel, padding="reflect", peak=None))
        self.losses = SpectralLosses(config.net.mel, config.sizes)
        self.judges: nn.ModuleList | None = None
        if config.discriminate_from is not None:
            self.judges = nn.ModuleList(
                [
                    MultiPeriodDiscriminator(config.mpd),
                    MultiResolutionDiscriminator(config.discriminator_sizes),
                ]
            )

    def configure_optimizers(self) -> Any:
        config = self.config
        kind: Any = Muon if config.optimizer == "muon" else self.adamw
        shared: dict[str, Any] = {
            "betas": (config.adam_b1, config.adam_b2),
            "weight_decay": config.weight_decay,
        }
        optimizers: list[torch.optim.Optimizer] = [
            kind(self.net.parameters(), config.learning_rate, **shared)
        ]
        if self.judges is not None:
            optimizers.append(self.adamw(self.judges.parameters(), config.discriminator_rate, **shared))
        return optimizers

    # ---- a step

    def training_step(self, batch: Item, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's names
        """One step on segments (B, N), with mels (B, n_mels, T) when fine-tuning."""
        config = self.config
        self._set_rates()
        recording = batch["wav"].float()
        if config.vary and "mel" not in batch:
            recording = varied(recording)
        (mel,) = self.front_end(recording) if "mel" not in batch else (batch["mel"],)
        spectrum = self.net.spectrum(mel)
        audio = self.net.audio(*spectrum)
        with torch.autocast(audio.device.type, enabled=False):
            parts = self.losses(recording, audio.squeeze(1), *spectrum)
        loss = torch.stack([getattr(config, f"lambda_{name}") * part for name, part in parts.items()]).sum()
        figures = {f"loss/{name}": part for name, part in parts.items()}
        if self.judges is not None and self.step >= (config.discriminate_from or 0):
            figures["loss/discriminator"] = self._improve_judges(recording[:, None], audio.detach(), batch)
            with self._judges_frozen():
                play = self._play(recording[:, None], audio)
                ramp = min(1.0, (self.step - (config.discriminate_from or 0) + 1) / max(1, config.ramp_steps))
                weighted = [ramp * getattr(config, f"lambda_{name}") * part for name, part in play.items()]
                loss = loss + torch.stack(weighted).sum()
                figures |= {f"loss/{name}": part for name, part in play.items()}
                self._improve_net(loss, batch)
        else:
            self._improve_net(loss, batch)
        follow(self.average, self.net, config.average, self.step)
        self.note({"loss": loss} | figures, bar=("loss", "loss/mel"))

    def _improve_net(self, loss: Tensor, batch: Item) -> None:
        optimizer = self._optimizers()[0]
        optimizer.zero_grad()
        self.manual_backward(self.finite(loss, batch))
        nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip)
        optimizer.step()

    def _improve_judges(self, real: Tensor, fake: Tensor, batch: Item) -> Tensor:
        optimizer = self._optimizers()[1]
        uncounted(optimizer)
        judged = split_judgements(self.judge(torch.cat([real, fake])), len(real))
        loss = self.finite(discriminator_loss(*judged), batch, "discriminator loss")
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss

    def _play(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            judged_real = self.judge(real)
        judged_fake = self.judge(fake)
        return {
            "adversarial": adversarial_loss(judged_fake),
            "feature": feature_loss(judged_real, judged_fake),
        }

    def judge(self, audio: Tensor) -> list[Judgement]:
        """Judgements of all discriminators on (B, 1, N)."""
        assert self.judges is not None
        return [judgement for judge in self.judges for judgement in judge(audio)]

    @contextmanager
    def _judges_frozen(self) -> Iterator[None]:
        """No gradients of the discriminators' weights, and their norms computed once for both passes."""
        assert self.judges is not None
        self.judges.requires_grad_(False)
        try:
            with parametrize.cached():
                yield
        finally:
            self.judges.requires_grad_(True)

    def _optimizers(self) -> list[Any]:
        found = self.optimizers()
        return list(found) if isinstance(found, list) else [found]

    def _set_rates(self) -> None:
        share = self.config.rate_share(self.step)
        rates = (self.config.learning_rate, self.config.discriminator_rate)
        for optimizer, rate in zip(self.trainer.optimizers, rates, strict=False):
            for group in optimizer.param_groups:
                group["lr"] = rate * share

    # ---- validation and results

    def validation_step(self, batch: Item, batch_idx: int) -> None:
        recording = batch["wav"].float()
        mel = batch["mel"] if "mel" in batch else self.front_end(recording)[0]
        audio = self.average(mel).float().squeeze(1)
        with torch.autocast(audio.device.type, enabled=False):
            truth, made = (self.losses.log_mel(self.losses.transform(x)) for x in (recording, audio))
        self.note({self.monitor: (truth - made).abs().mean()}, bar=(self.monitor,))
        if batch_idx == 0:
            self.pictures = []
        if batch_idx < PICTURES:
            rows = {"recording": truth[0].cpu().numpy(), "generated": made[0].cpu().numpy()}
            self.pictures.append(Picture(batch["name"][0], rows))

    def weights(self) -> dict[str, Tensor]:
        """State dict of the exported net: name → tensor (…,)."""
        return {key: tensor.detach().float().cpu() for key, tensor in self.average.state_dict().items()}


def varied(recording: Tensor) -> Tensor:
    """Segments (B, N), each at a level and with a sign of its own."""
    low, high = LEVELS
    draw = torch.rand(2, len(recording), 1, device=recording.device)
    sign = torch.where(draw[1] < 0.5, -1.0, 1.0)
    return recording * torch.exp(low + (high - low) * draw[0]) * sign


# ---- recipe -----------------------------------------------------------------------------------------------


def open_data(config: IstftVocoderFit, folder: Path) -> VocoderData:
    """Opens the recordings, and the mels when fine-tuning."""
    return VocoderData(
        VocoderSource(
            folder=folder,
            mel=config.net.mel,
            segment=config.segment_frames * config.net.hop_length,
            peak=config.peak,
            validation_clips=config.validation_clips,
            mels=None if config.mels_dir is None else Path(config.mels_dir),
            extra_mels=None if config.extra_mels_dir is None else Path(config.extra_mels_dir),
            extra_weight=config.extra_mels_weight,
            speeds=config.speeds,
        )
    )


def _presets() -> dict[str, IstftVocoderFit]:
    presets = {name: IstftVocoderFit(net=net) for name, net in ISTFT_VOCODER_PRESETS.items()}
    # a frame is 37 ms and three transforms of 2048 points fill a segment
    presets["rtmri"] = replace(presets["rtmri"], segment_frames=32, batch_size=32)
    presets["auffusion"] = replace(presets["auffusion"], segment_frames=80, batch_size=32)
    return presets


PRESETS: Mapping[str, IstftVocoderFit] = MappingProxyType(_presets())
RECIPE = Recipe("istft-vocoder", PRESETS, "lj-22k", IstftVocoderFit.from_json, open_data, IstftVocoderModule)
