"""Stage two, ECoG to speech: a decoder learns to give the frozen encoder's parameters of the same speech.

    ECoG → decoder → parameters → frozen synthesizer → spectrogram; `decoder_losses` compares both

`teacher` names the first stage: the folder of its run, or a file of neural_speech_decoding
(`model_epoch{n}.pth`). With `r_drop` > 0 the decoder runs twice with different dropout: the loss is the mean
of both, plus λ times that of the second against the first. Only the decoder is trained; its moving average is
kept.

    checkpoints/ecog-decoder.safetensors, config.json
    checkpoints/model_epoch{n}.pth    in neural_speech_decoding's format, with encoder and synthesizer

Validation: 1 − PCC of test items with fixed noise. Source: `train_e2a` of neural_speech_decoding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from edge_runtime.errors import ConfigError
from edge_runtime.pipelines.ecog_speech.measures import correlation
from edge_training.ecog_speech.data import CROPS, EcogData
from edge_training.ecog_speech.decoders.ecog_decoder import (
    ECOG_DECODER_PRESETS,
    EcogDecoderConfig,
    build_decoder,
    decode,
)
from edge_training.ecog_speech.encoder_recipe import state_of
from edge_training.ecog_speech.fit_config import EcogFit, refuse_bins
from edge_training.ecog_speech.formant_synthesizer import draw_noise
from edge_training.ecog_speech.losses.decoder_losses import DecoderLoss, DecoderLossConfig
from edge_training.ecog_speech.losses.speech_losses import Terms
from edge_training.ecog_speech.parameters import FRAMES, Parameters
from edge_training.ecog_speech.teacher import open_teacher
from edge_training.engine.config import Rule, is_number
from edge_training.engine.items import Item, TrainingData
from edge_training.engine.module import FitModule, Picture, Recipe
from edge_training.engine.running_mean import follow
from edge_training.weights.loading import load_into

PICTURES_DRAWN = 2


@dataclass(frozen=True, kw_only=True)
class EcogDecoderFit(EcogFit):
    """Every number of the stage."""

    flat: ClassVar[Collection[str]] = ("net", "loss")

    net: EcogDecoderConfig = field(default_factory=EcogDecoderConfig)
    loss: DecoderLossConfig = field(default_factory=DecoderLossConfig)
    teacher: str | None = None  # run of the first stage, or a file of neural_speech_decoding
    teacher_weights: str | None = None  # of a teacher with several sets: ema, live, or the name of one
    r_drop: float = 0.0  # λ
    steps: int = 100_000
    batch_size: int = 8

    def _rules(self) -> Iterator[Rule]:
        yield from super()._rules()
        yield "r_drop", "a number, 0 or more", is_number(self.r_drop, least=0)
        for name, rule in (
            ("teacher", "a path, or null"),
            ("teacher_weights", "ema, live or a name, or null"),
        ):
            yield name, rule, getattr(self, name) is None or isinstance(getattr(self, name), str)


class EcogDecoderModule(FitModule[EcogDecoderFit]):
    """The decoder in training, its average, and the frozen pair."""

    monitor: ClassVar[str] = "validation/distance"
    weights_file: ClassVar[str] = "ecog-decoder.safetensors"

    def __init__(self, config: EcogDecoderFit, data: TrainingData) -> None:
        trials = cast(EcogData, data)
        super().__init__(replace(config, net=replace(config.net, bins=trials.bins)), data)
        if trials.electrodes != config.net.electrodes:
            raise ConfigError(
                "electrodes",
                got=str(config.net.electrodes),
                expected=f"the {trials.electrodes} electrodes of the data",
                cause="presets with -hb are for hybrid grids; coarse takes the first 64 electrodes of one",
            )
        if config.teacher is None:
            raise ConfigError(
                "teacher", got="none", expected="the run of `edge-export train speech-encoder`, or its file"
            )
        self.net = build_decoder(config.net)
        if config.start_from is not None:
            self.said += load_into(self.net, config.start_from, "ecog-decoder", config.start_weights).said
        self.net_average = copy.deepcopy(self.net).eval().requires_grad_(requires_grad=False)
        pair = open_teacher(
            Path(config.teacher), bins=trials.bins, female=trials.female, weights=config.teacher_weights,
            said=self.said,
        )  # fmt: skip
        self.encoder, self.synthesizer = pair
        refuse_bins(config.teacher, self.encoder.config.bins, trials.bins)
        self.loss = DecoderLoss(trials.bins, self.encoder.config.scale, config.loss)
        # two passes differ otherwise than decoder and teacher: GHM-R gets counts of their own
        self.apart = copy.deepcopy(self.loss) if config.r_drop and config.loss.harmonized_shares else None

    def configure_optimizers(self) -> Any:
        return self.config.optimizers((self.net,))

    def training_step(self, batch: Item, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's names
        """Loss, a scalar, of a batch of ECoG (B, 144, E) and spectrograms (B, 1, 128, F)."""
        self.encoder.eval()  # Lightning trains every child; the pair is frozen
        self.synthesizer.eval()
        with torch.no_grad():
            teacher = self.encoder.parameters_of(batch["spectrogram"], batch["gender"])
        decoded = decode(self.net, batch["ecog"])
        terms = self._terms(decoded, teacher, batch)
        total = torch.stack([*terms.values()]).sum()
        if self.config.r_drop:
            again = decode(self.net, batch["ecog"])
            second = torch.stack([*self._terms(again, teacher, batch).values()]).sum()
            apart = (self.apart or self.loss).components(again, decoded, batch["on_stage"])
            terms["r_drop"] = self.config.r_drop * torch.stack([*apart.values()]).sum()
            total = (total + second) / 2 + terms["r_drop"]
        total = self.finite(total, batch)
        self.note(
            {f"loss/{name}": value for name, value in terms.items()} | {"loss/total": total},
            bar=("loss/total",),
        )
        return total

    def _terms(self, decoded: Parameters, teacher: Parameters, batch: Item) -> Terms:
        true = batch["spectrogram"]
        made = true if self.config.loss.component_regression else self._synthesized(decoded, batch)
        terms: Terms = self.loss(made, true, decoded, teacher, batch["on_stage"])
        return terms

    def _synthesized(self, decoded: Parameters, batch: Item) -> Tensor:
        uniform, normal, _ = (value.to(batch["ecog"].device) for value in draw_noise(FRAMES, 1))
        return self.synthesizer.spectrogram(decoded, batch["noisesample"], uniform, normal)

    def on_before_optimizer_step(self, optimizer: Any) -> None:  # noqa: ARG002 - Lightning's names
        if self.config.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip_norm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        # here, not at the end of the batch: by then a checkpoint may have been written
        follow(self.net_average, self.net, self.config.decay, self.step)

    def validation_step(self, batch: Item, batch_idx: int) -> None:
        torch.manual_seed(batch_idx)
        made = self._synthesized(decode(self.net_average, batch["ecog"]), batch)
        true, decoded = batch["spectrogram"][0, 0].cpu().numpy(), made[0, 0].clamp(max=1).cpu().numpy()
        pcc = torch.tensor(correlation(decoded, true))
        self.note({self.monitor: 1 - pcc, "validation/pcc": pcc}, bar=("validation/pcc",))
        if batch_idx == 0:
            self.pictures = []
        if batch_idx < PICTURES_DRAWN:
            self.pictures.append(Picture(batch["name"][0], {"recording": true.T, "decoded": decoded.T}))

    def weights(self) -> dict[str, Tensor]:
        """State dict of the average decoder: name → tensor (…,)."""
        return state_of(self.net_average)

    def origin_files(self) -> dict[str, Callable[[Path], None]]:
        models = {
            "encoder": state_of(self.encoder),
            "generator": state_of(self.synthesizer),
            "ecog_decoder": state_of(self.net),
            "ecog_decoder_s": state_of(self.net_average),
        }
        name = f"model_epoch{int(self.epoch / CROPS)}.pth"
        return {name: lambda path: torch.save({"models": models, "auxiliary": {}}, path)}


def open_data(config: EcogDecoderFit, folder: Path) -> EcogData:
    """The trials."""
    return EcogData(config.source(folder))


def _presets() -> Mapping[str, EcogDecoderFit]:
    presets = {name: EcogDecoderFit(net=net) for name, net in ECOG_DECODER_PRESETS.items()}
    # three layers of 128 units, the defaults of neural_speech_decoding's class
    presets["phantom"] = EcogDecoderFit(
        net=EcogDecoderConfig(family="lstm", layers=3, units=128, classes=64),
        loss=DecoderLossConfig(alpha_power=False),
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=1e-2,
        clip_norm=20.0,
        schedule="cosine",
        warm_up_steps=30,
        halving=600,
        steps=1000,
        batch_size=16,
        log_every=20,
        validate_every=250,
        checkpoint_every=250,
    )
    # half of the published channels, a quarter of the work; short of crops, not of trials: no dropout
    presets["phantom-resnet"] = replace(
        presets["phantom"],
        net=EcogDecoderConfig(family="resnet", channels=8, drop_rate=0.0),
        learning_rate=2e-3,
        batch_size=4,
        halving=300,
        steps=1800,
    )
    presets["phantom-resnet-streaming"] = replace(
        presets["phantom-resnet"],
        net=replace(presets["phantom-resnet"].net, wiring="streaming", causal=True),
        batch_size=8,
        warm_up_steps=60,
        halving=1500,
        steps=3600,
        validate_every=300,
        checkpoint_every=300,
    )
    # two thirds of the published channels; frames doubled by weights, see `swin`
    presets["phantom-swin"] = replace(
        presets["phantom-resnet"],
        net=EcogDecoderConfig(family="swin", channels=32, drop_rate=0.0, learned_doubling=True),
        learning_rate=1e-3,
        batch_size=8,
        warm_up_steps=100,
        halving=1500,
        steps=5200,
        validate_every=400,
        checkpoint_every=400,
    )
    return MappingProxyType(presets)


PRESETS = _presets()
RECIPE = Recipe(
    "ecog-decoder",
    PRESETS,
    "resnet",
    EcogDecoderFit.from_json,
    open_data,
    EcogDecoderModule,
    unused_parameters=True,
)
