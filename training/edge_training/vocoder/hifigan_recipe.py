"""HiFi-GAN's training: configuration, alternating steps, validation.

Each step: the generator makes audio from the mel of a segment; the discriminators are trained on real and
generated audio; then the generator on

    λ_mel · mel + λ_feature · features + λ_adversarial · adversarial + λ_stft · multi-resolution STFT

The input mel ends at `fmax`, the mel of the loss at `fmax_for_loss`; both come from one short-time transform.
Gradients of the generator's step never reach the discriminators' weights, nor the features of real audio.

Not in the paper, and off by default: `warm_up_steps` in which only the generator is trained; λ_stft;
`channels_last`, a layout of the generator's tensors in which a CPU trains faster; the optimiser `muon`, with
which the generator needs about a third of AdamW's steps at first; `discriminator_rate`; and `average`, the
decay of a running mean of the generator's weights, which is then validated and exported (`g_` files keep the
weights themselves, for further training). They are for short runs on small machines.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.lr_scheduler import ReduceLROnPlateau

from edge_runtime.dsp.mel import MelConfig
from edge_runtime.errors import ConfigError
from edge_training.engine.config import FitConfig, is_number, is_whole
from edge_training.engine.items import Item, TrainingData
from edge_training.engine.module import FitModule, Picture, Recipe, uncounted
from edge_training.engine.optimizers import AdaBelief, Muon
from edge_training.engine.running_mean import follow
from edge_training.spectral.mels import TorchMel
from edge_training.vocoder.data import VocoderData, VocoderSource
from edge_training.vocoder.discriminators import (
    Judgement,
    MultiPeriodDiscriminator,
    MultiScaleDiscriminator,
    PeriodConfig,
    ScaleConfig,
)
from edge_training.vocoder.hifigan import HIFIGAN_PRESETS, TRAINING_ENTRIES, HifiGan, HifiGanConfig
from edge_training.vocoder.hifigan_channels_last import forward_channels_last
from edge_training.vocoder.hifigan_checkpoints import OriginPair, PairNets, read_pair, writers
from edge_training.vocoder.losses import (
    SpectralDistance,
    adversarial_loss,
    discriminator_loss,
    feature_loss,
    mel_loss,
    split_judgements,
)
from edge_training.vocoder.wiring import settle_wiring
from edge_training.weights.weight_norm import fold_weight_norm

_Kind = Callable[..., torch.optim.Optimizer]

PICTURES = 2  # validation clips that are drawn


@dataclass(frozen=True, kw_only=True)
class HifiGanFit(FitConfig):
    """Every number of HiFi-GAN's training; the defaults are the published ones unless the comment says so."""

    ignored: ClassVar[Collection[str]] = TRAINING_ENTRIES

    net: HifiGanConfig
    steps: int = 2_500_000
    batch_size: int = 16
    segment_size: int = 8192  # samples, a multiple of the hop
    peak: float = 0.95  # of each recording; unused when fine-tuning on mels

    optimizer: Literal["adamw", "adabelief", "muon"] = "adamw"  # muon: ours; discriminators take AdamW then
    learning_rate: float = 2e-4
    discriminator_rate: float | None = None  # ours: the discriminators' own; null: the same
    adam_b1: float = 0.8
    adam_b2: float = 0.99
    weight_decay: float = 0.01  # AdaBelief: 0 in mri2speech
    schedule: Literal["exponential", "plateau"] = "exponential"
    lr_decay: float = 0.999  # exponential: factor for each pass over the clips
    plateau_factor: float = 0.1  # plateau: factor after …
    plateau_patience: int = 4  # … so many validations without a better one

    lambda_mel: float = 45.0
    lambda_feature: float = 2.0
    lambda_adversarial: float = 1.0
    lambda_stft: float = 0.0  # ours
    stft_resolutions: tuple[tuple[int, int, int], ...] = (
        (512, 128, 512),
        (1024, 256, 1024),
        (2048, 512, 2048),
    )
    warm_up_steps: int = 0  # ours: of the generator alone
    channels_last: bool = False  # ours: layout of the generator's tensors, see `hifigan_channels_last`
    compile_discriminators: bool = False  # ours: with torch.compile, which takes minutes at the first step
    average: float = 0.0  # ours: decay of the exported mean of weights, for example 0.999; 0: no mean

    mpd: PeriodConfig = field(default_factory=PeriodConfig)
    msd: ScaleConfig | None = field(default_factory=ScaleConfig)  # null: none (ours)

    mels_dir: str | None = None  # fine-tuning: predicted mels
    extra_mels_dir: str | None = None  # a second folder of mels (for example true ones) …
    extra_mels_weight: float = 0.0  # … drawn with this probability
    origin_checkpoints: bool = True  # write `g_%08d` and `do_%08d` of the newest checkpoint

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.mels  # checks fmax_for_loss
        if self.segment_size % self.net.hop_length:
            raise ConfigError(
                "segment_size",
                got=str(self.segment_size),
                expected=f"a multiple of hop_size, {self.net.hop_length}",
                cause="a training crop is a whole number of mel frames",
            )
        if self.extra_mels_dir is not None and self.mels_dir is None:
            raise ConfigError("extra_mels_dir", got="no mels_dir", expected="a folder of mels to mix with")

    def _rules(self) -> Iterator[tuple[str, str, bool]]:
        yield from super()._rules()
        yield "segment_size", "a positive whole number of samples", is_whole(self.segment_size, least=1)
        for name in ("learning_rate", "peak"):
            yield name, "a positive number", is_number(getattr(self, name), least=1e-30)
        for name in ("weight_decay", "lambda_mel", "lambda_feature", "lambda_adversarial", "lambda_stft"):
            yield name, "a number, 0 or more", is_number(getattr(self, name), least=0)
        for name in ("adam_b1", "adam_b2", "extra_mels_weight", "lr_decay", "plateau_factor", "average"):
            yield name, "a number in 0 … 1", is_number(getattr(self, name), least=0, most=1)
        for name in ("warm_up_steps", "plateau_patience"):
            yield name, "a whole number, 0 or more", is_whole(getattr(self, name), least=0)
        known = ("adamw", "adabelief", "muon")
        yield "optimizer", "'adamw', 'adabelief' or 'muon'", self.optimizer in known
        rate = self.discriminator_rate
        yield "discriminator_rate", "a positive number, or null", rate is None or is_number(rate, least=1e-30)
        yield "schedule", "'exponential' or 'plateau'", self.schedule in ("exponential", "plateau")
        for name in ("channels_last", "compile_discriminators"):
            yield name, "true or false", isinstance(getattr(self, name), bool)
        for name in ("mels_dir", "extra_mels_dir"):
            yield name, "a path, or null", getattr(self, name) is None or isinstance(getattr(self, name), str)

    @property
    def mels(self) -> tuple[MelConfig, MelConfig]:
        """Front ends of the net's input and of the loss."""
        mel = self.net.mel
        return mel, replace(mel, fmax=self.net.fmax_for_loss)

    @property
    def front_ends(self) -> Mapping[str, MelConfig]:
        return dict(zip(("fmax", "fmax_for_loss"), self.mels, strict=True))

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> Self:
        """The configuration of a stock `config.json`, or of `to_json`."""
        if entries.get("segment_size", 0) is None:
            entries = {name: value for name, value in entries.items() if name != "segment_size"}
        read = super().from_json(entries)
        return replace(read, net=settle_wiring(read.net, None))

    def net_json(self) -> dict[str, Any]:
        """A `config.json` for jik876/hifi-gan: `resblock` is a string; it ignores our other entries."""
        stock = (
            "batch_size", "learning_rate", "adam_b1", "adam_b2", "lr_decay", "seed", "num_workers",
        )  # fmt: skip
        training = {name: getattr(self, name) for name in stock}
        return self.net.to_json() | training | {
            "resblock": str(self.net.resblock), "segment_size": self.segment_size, "num_gpus": 0,
        }  # fmt: skip


# ---- module -----------------------------------------------------------------------------------------------


class HifiGanModule(FitModule[HifiGanFit]):
    """Generator and discriminators in training."""

    monitor: ClassVar[str] = "validation/mel"
    weights_file: ClassVar[str] = "generator.safetensors"

    def __init__(self, config: HifiGanFit, data: TrainingData) -> None:
        super().__init__(config, data)
        self.automatic_optimization = False
        self.generator = HifiGan(config.net, weight_norm=True)
        self.mpd = MultiPeriodDiscriminator(config.mpd)
        self.msd = None if config.msd is None else MultiScaleDiscriminator(config.msd)
        self.mels = TorchMel(*config.mels)
        self.distance = SpectralDistance(config.stft_resolutions if config.lambda_stft else ())
        self.origin: OriginPair | None = None
        if config.start_from is not None:
            self.origin = read_pair(Path(config.start_from), self._pair, config.start_weights)
            self.said += self.origin.said
        self.began_epoch = 0 if self.origin is None else self.origin.epoch  # passes behind the pair
        self.average = copy.deepcopy(self.generator).requires_grad_(False) if config.average else None

    @property
    def _pair(self) -> PairNets:
        return PairNets(self.generator, self.mpd, self.msd)

    def on_fit_start(self) -> None:
        if self.config.compile_discriminators:
            for judges in filter(None, (self.mpd, self.msd)):
                judges.compile()

    def configure_optimizers(self) -> Any:
        config = self.config
        optimizers = self.build_optimizers()
        if self.origin is not None:
            self.origin.restore(optimizers)
        if config.schedule == "exponential":
            return optimizers  # the rate is a function of the step, see `_set_rate`
        factor, patience = config.plateau_factor, config.plateau_patience
        return optimizers, [ReduceLROnPlateau(o, factor=factor, patience=patience) for o in optimizers]

    def build_optimizers(self) -> list[torch.optim.Optimizer]:
        """Of the generator and of the discriminators, in their initial state."""
        config = self.config
        # the discriminators in the order of published `do_` files: MSD, then MPD
        judges = list(chain(self.msd.parameters() if self.msd else (), self.mpd.parameters()))
        generator, judge = self._kinds
        return [
            self._optimizer(generator, list(self.generator.parameters()), config.learning_rate),
            self._optimizer(judge, judges, config.discriminator_rate or config.learning_rate),
        ]

    @property
    def _kinds(self) -> tuple[_Kind, _Kind]:
        """Optimisers of the generator and of the discriminators."""
        if self.config.optimizer == "muon":
            return Muon, self.adamw
        kind: _Kind = AdaBelief if self.config.optimizer == "adabelief" else self.adamw
        return kind, kind

    def _optimizer(self, kind: _Kind, parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
        config = self.config
        betas = (config.adam_b1, config.adam_b2)
        return kind(parameters, rate, betas=betas, weight_decay=config.weight_decay)

    # ---- a step

    def training_step(self, batch: Item, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's names
        """One step on segments (B, N), with mels (B, num_mels, T) when fine-tuning."""
        real = batch["wav"].unsqueeze(1)
        input_mel, true_mel = (mel.squeeze(1) for mel in self.mels(real))
        fake = self._generate(batch.get("mel", input_mel)).float()  # losses are taken in full precision
        length = min(real.shape[-1], fake.shape[-1])
        real, fake = real[..., :length], fake[..., :length]
        self._set_rate()
        generator, judges = cast(tuple[Any, Any], self.optimizers())
        uncounted(judges)
        figures = {}
        playing = self.step >= self.config.warm_up_steps
        if playing:
            figures["loss/discriminator"] = self._improve_judges(real, fake.detach(), judges, batch)
        figures |= self._improve_generator(real, fake, true_mel, generator, batch, playing=playing)
        self._update_average()
        self.note(figures, bar=("loss/generator", "loss/mel", "loss/discriminator"))

    def _generate(self, mel: Tensor) -> Tensor:
        audio: Tensor = (
            forward_channels_last(self.generator, mel) if self.config.channels_last else self.generator(mel)
        )
        return audio

    def _improve_judges(self, real: Tensor, fake: Tensor, optimizer: Any, batch: Item) -> Tensor:
        # one pass over real and generated audio: each weight is normed once, each product is twice as large
        judged = split_judgements(self.judge(torch.cat([real, fake])), len(real))
        loss = self.finite(discriminator_loss(*judged), batch, "discriminator loss")
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss

    def _improve_generator(
        self, real: Tensor, fake: Tensor, true_mel: Tensor, optimizer: Any, batch: Item, *, playing: bool
    ) -> dict[str, Tensor]:
        config = self.config
        parts = {"mel": mel_loss(true_mel, self.mels(fake)[1].squeeze(1))}
        if config.lambda_stft:
            parts["stft"] = self.distance(real, fake)
        with self._judges_frozen() if playing else nullcontext():
            if playing:
                with torch.no_grad():
                    judged_real = self.judge(real)
                judged_fake = self.judge(fake)
                parts["feature"] = feature_loss(judged_real, judged_fake)
                parts["adversarial"] = adversarial_loss(judged_fake)
            terms = [getattr(config, f"lambda_{name}") * part for name, part in parts.items()]
            loss = self.finite(torch.stack(terms).sum(), batch, "generator loss")
            optimizer.zero_grad()
            self.manual_backward(loss)
        optimizer.step()
        return {"loss/generator": loss} | {f"loss/{name}": part for name, part in parts.items()}

    def judge(self, audio: Tensor) -> list[Judgement]:
        """Judgements of all discriminators on (B, 1, N)."""
        judgements: list[Judgement] = self.mpd(audio)
        return judgements + self.msd(audio) if self.msd is not None else judgements

    @contextmanager
    def _judges_frozen(self) -> Iterator[None]:
        """No gradients of the discriminators' weights, and their norms computed once for both passes."""
        judges = [*self.mpd.parameters(), *(self.msd.parameters() if self.msd is not None else ())]
        for parameter in judges:
            parameter.requires_grad_(False)
        try:
            with parametrize.cached():
                yield
        finally:
            for parameter in judges:
                parameter.requires_grad_(True)

    @torch.no_grad()
    def _update_average(self) -> None:
        if self.average is not None:
            follow(self.average, self.generator, self.config.average, self.step)

    @property
    def result(self) -> HifiGan:
        """The generator that is validated and exported."""
        return self.generator if self.average is None else self.average

    def _set_rate(self) -> None:
        """The exponential schedule follows passes over the clips."""
        config = self.config
        if config.schedule == "exponential":
            passes = self.began_epoch + int(self.epoch)
            rates = (config.learning_rate, config.discriminator_rate or config.learning_rate)
            for optimizer, rate in zip(self.trainer.optimizers, rates, strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = rate * config.lr_decay**passes

    # ---- validation and results

    def validation_step(self, batch: Item, batch_idx: int) -> None:
        real = batch["wav"].unsqueeze(1)
        input_mel, true_mel = (mel.squeeze(1) for mel in self.mels(real))
        with parametrize.cached():
            fake = self.result(batch.get("mel", input_mel)).float()
        mel = self.mels(fake)[1].squeeze(1)
        self.note({self.monitor: mel_loss(true_mel, mel)}, bar=(self.monitor,))
        if batch_idx == 0:
            self.pictures = []
        if batch_idx < PICTURES:
            rows = {"recording": true_mel[0].cpu().numpy(), "generated": mel[0].cpu().numpy()}
            self.pictures.append(Picture(batch["name"][0], rows))

    def on_validation_epoch_end(self) -> None:
        if self.config.schedule == "plateau" and not self.trainer.sanity_checking:
            schedulers: Any = self.lr_schedulers()
            for scheduler in schedulers:
                scheduler.step(float(self.trainer.callback_metrics[self.monitor]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["began_epoch"] = self.began_epoch

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.began_epoch = checkpoint["began_epoch"]

    def weights(self) -> dict[str, Tensor]:
        """State dict of the exported generator, folded: name → tensor (…,)."""
        state = {key: tensor.detach().cpu() for key, tensor in self.result.state_dict().items()}
        return {key: tensor.float() for key, tensor in fold_weight_norm(state).items()}

    def origin_files(self) -> dict[str, Callable[[Path], None]]:
        if not self.config.origin_checkpoints:
            return {}
        epoch = self.began_epoch + int(self.epoch)
        return writers(self._pair, self.trainer.optimizers, step=self.step, epoch=epoch)


# ---- recipe -----------------------------------------------------------------------------------------------


def open_data(config: HifiGanFit, folder: Path) -> VocoderData:
    """Opens the recordings, and the mels when fine-tuning."""
    return VocoderData(
        VocoderSource(
            folder=folder,
            mel=config.net.mel,
            segment=config.segment_size,
            peak=config.peak,
            validation_clips=config.validation_clips,
            mels=None if config.mels_dir is None else Path(config.mels_dir),
            extra_mels=None if config.extra_mels_dir is None else Path(config.extra_mels_dir),
            extra_weight=config.extra_mels_weight,
        )
    )


def _presets() -> dict[str, HifiGanFit]:
    presets = {
        name: HifiGanFit(net=settle_wiring(net, None), segment_size=net.segment_size or 8192)
        for name, net in HIFIGAN_PRESETS.items()
    }
    for name in ("rtmri", "rtmri-origin"):
        # where true mels are given beside predicted ones, four of five items have them
        presets[name] = replace(presets[name], learning_rate=5e-5, extra_mels_weight=0.8)
    # as mri2speech was trained; for going on with its checkpoints
    presets["rtmri-origin"] = replace(
        presets["rtmri-origin"],
        optimizer="adabelief",
        weight_decay=0.0,
        schedule="plateau",
        mpd=PeriodConfig(padding=4),
    )
    # only the generator, for an hour or two on one core; discriminators, if they are used, are small
    presets["v3-cpu"] = replace(
        presets["v3"],
        steps=5000,
        batch_size=8,
        optimizer="muon",
        learning_rate=4e-3,
        discriminator_rate=1e-3,
        adam_b1=0.9,
        lr_decay=0.9993,
        lambda_stft=10.0,
        warm_up_steps=100_000,
        average=0.998,
        channels_last=True,
        mpd=PeriodConfig(channels=(16, 32, 64, 128, 128)),
        msd=None,
        log_every=20,
        checkpoint_every=200,
        validate_every=400,
    )
    return presets


PRESETS: Mapping[str, HifiGanFit] = MappingProxyType(_presets())
RECIPE = Recipe(
    "hifigan", PRESETS, "v1", HifiGanFit.from_json, open_data, HifiGanModule, unused_parameters=True
)
