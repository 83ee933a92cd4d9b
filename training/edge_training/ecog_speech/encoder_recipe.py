"""Stage one, speech to speech: the speech encoder and the formant synthesizer learn together, without ECoG.

    spectrogram → encoder → parameters → synthesizer → spectrogram, and `speech_losses` between the two

Each step draws new noise. The moving averages of both nets are kept (with a half-life of `halving` crops).

    checkpoints/speech-encoder.safetensors, config.json
    checkpoints/formant-synthesizer.safetensors, .json
    checkpoints/model_epoch{n}.pth    in neural_speech_decoding's format; an epoch is 128 crops of every trial

Validation: 1 − PCC of test items, the lower the better. Source: `train_a2a` of neural_speech_decoding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from edge_runtime.pipelines.ecog_speech.measures import correlation
from edge_training.ecog_speech.data import CROPS, EcogData
from edge_training.ecog_speech.fit_config import EcogFit, refuse_bins
from edge_training.ecog_speech.formant_synthesizer import (
    FormantSynthesizer,
    FormantSynthesizerConfig,
    draw_noise,
)
from edge_training.ecog_speech.losses.speech_losses import SpeechLoss, SpeechLossConfig
from edge_training.ecog_speech.parameters import FRAMES
from edge_training.ecog_speech.speech_encoder import (
    SPEECH_ENCODER_PRESETS,
    SpeechEncoder,
    SpeechEncoderConfig,
)
from edge_training.engine.config import Rule
from edge_training.engine.items import Item, TrainingData
from edge_training.engine.module import FitModule, Picture, Recipe, WeightsFile
from edge_training.engine.running_mean import follow
from edge_training.weights.loading import load_into

SYNTHESIZER_FILE = "formant-synthesizer.safetensors"
PICTURES_DRAWN = 2
_SHARED = ("bins", "floor_db", "top_db")  # of both nets


@dataclass(frozen=True, kw_only=True)
class SpeechEncoderFit(EcogFit):
    """Every number of the stage."""

    flat: ClassVar[Collection[str]] = ("net", "synthesizer", "loss")

    net: SpeechEncoderConfig = field(default_factory=SpeechEncoderConfig)
    synthesizer: FormantSynthesizerConfig = field(default_factory=FormantSynthesizerConfig)
    loss: SpeechLossConfig = field(default_factory=SpeechLossConfig)
    steps: int = 100_000
    batch_size: int = 8

    def _rules(self) -> Iterator[Rule]:
        yield from super()._rules()
        same = all(getattr(self.net, name) == getattr(self.synthesizer, name) for name in _SHARED)
        yield "synthesizer", "the bins and limits of the encoder", same


class SpeechEncoderModule(FitModule[SpeechEncoderFit]):
    """Both nets in training, and their averages."""

    monitor: ClassVar[str] = "validation/distance"
    weights_file: ClassVar[str] = "speech-encoder.safetensors"

    def __init__(self, config: SpeechEncoderFit, data: TrainingData) -> None:
        super().__init__(config, data)
        refuse_bins("bins", config.net.bins, cast(EcogData, data).bins)
        self.encoder, self.synthesizer = SpeechEncoder(config.net), FormantSynthesizer(config.synthesizer)
        if config.start_from is not None:
            chosen = config.start_weights
            self.said += load_into(self.encoder, config.start_from, "speech-encoder", chosen).said
            beside = _beside(config.start_from)
            self.said += load_into(self.synthesizer, beside, "formant-synthesizer", chosen).said
        self.encoder_average = _frozen(self.encoder)
        self.synthesizer_average = _frozen(self.synthesizer)
        self.loss = SpeechLoss(config.net.bins, config.net.scale, config.loss)

    def configure_optimizers(self) -> Any:
        return self.config.optimizers((self.encoder, self.synthesizer))

    def training_step(self, batch: Item, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's names
        """Loss, a scalar, of a batch of spectrograms (B, 1, 128, F)."""
        made, parameters = self._made(self.encoder, self.synthesizer, batch)
        terms = self.loss(made, batch["spectrogram"], parameters, batch, self.epoch / CROPS)
        total = self.finite(torch.stack([*terms.values()]).sum(), batch)
        self.note(
            {f"loss/{name}": value for name, value in terms.items()} | {"loss/total": total},
            bar=("loss/total",),
        )
        return total

    def _made(
        self, encoder: SpeechEncoder, synthesizer: FormantSynthesizer, batch: Item
    ) -> tuple[Tensor, dict[str, Tensor]]:
        spectrogram = batch["spectrogram"]
        parameters = encoder.parameters_of(spectrogram, batch["gender"])
        uniform, normal, _ = (value.to(spectrogram.device) for value in draw_noise(FRAMES, 1))
        background = batch["noisesample"]
        if not self.config.synthesizer.background_from_data:
            background = parameters["noisebg"]
        return synthesizer.spectrogram(parameters, background, uniform, normal), parameters

    def on_before_optimizer_step(self, optimizer: Any) -> None:  # noqa: ARG002 - Lightning's names
        if self.config.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters(), self.config.clip_norm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        # here, not at the end of the batch: by then a checkpoint may have been written
        for copied, net in (
            (self.encoder_average, self.encoder),
            (self.synthesizer_average, self.synthesizer),
        ):
            follow(copied, net, self.config.decay, self.step)

    def validation_step(self, batch: Item, batch_idx: int) -> None:
        torch.manual_seed(batch_idx)  # the same noise at every validation
        made, parameters = self._made(self.encoder_average, self.synthesizer_average, batch)
        true = batch["spectrogram"][0, 0].cpu().numpy()
        decoded = made[0, 0].clamp(max=1).cpu().numpy()
        pcc = torch.tensor(correlation(decoded, true))
        figures = {self.monitor: 1 - pcc, "validation/pcc": pcc}
        if "pitch" in batch:
            voiced = batch["pitch"] > 0
            error = (parameters["f0_hz"] - batch["pitch"]).abs()[voiced]
            figures["validation/f0_error_hz"] = error.mean() if voiced.any() else error.sum()
        self.note(figures, bar=("validation/pcc",))
        if batch_idx == 0:
            self.pictures = []
        if batch_idx < PICTURES_DRAWN:
            self.pictures.append(Picture(batch["name"][0], {"recording": true.T, "synthesized": decoded.T}))

    def weights(self) -> dict[str, Tensor]:
        """State dict of the average encoder: name → tensor (…,)."""
        return state_of(self.encoder_average)

    def further_weights(self) -> Mapping[str, WeightsFile]:
        """formant-synthesizer's, with their configuration."""
        synthesizer = WeightsFile(state_of(self.synthesizer_average), self.config.synthesizer.to_json())
        return {SYNTHESIZER_FILE: synthesizer}

    def origin_files(self) -> dict[str, Callable[[Path], None]]:
        models = {
            "encoder": state_of(self.encoder),
            "encoder_s": state_of(self.encoder_average),
            "generator": state_of(self.synthesizer),
            "generator_s": state_of(self.synthesizer_average),
        }
        name = f"model_epoch{int(self.epoch / CROPS)}.pth"
        return {name: lambda path: torch.save({"models": models, "auxiliary": {}}, path)}


def state_of(net: nn.Module) -> dict[str, Tensor]:
    """The state dict on the CPU: name → tensor (…,)."""
    return {key: tensor.detach().cpu() for key, tensor in net.state_dict().items()}


def _beside(path: str) -> Path:
    """The synthesizer's weights: in neural_speech_decoding's file of both nets, or beside the encoder's."""
    own = Path(path).with_name(SYNTHESIZER_FILE)
    return own if own.is_file() and Path(path).suffix == own.suffix else Path(path)


def _frozen(net: Any) -> Any:
    return copy.deepcopy(net).eval().requires_grad_(requires_grad=False)


def open_data(config: SpeechEncoderFit, folder: Path) -> EcogData:
    """The trials."""
    return EcogData(config.source(folder))


def _presets() -> Mapping[str, SpeechEncoderFit]:
    presets = {
        name: SpeechEncoderFit(net=net, synthesizer=FormantSynthesizerConfig(bins=net.bins))
        for name, net in SPEECH_ENCODER_PRESETS.items()
    }
    # a thousand steps: some 20 minutes of one core
    presets["phantom"] = replace(
        presets["female-256"],
        loss=SpeechLossConfig(formant_supervision=True, pitch_supervision=True),
        optimizer="adamw",
        weight_decay=1e-2,
        clip_norm=20.0,
        schedule="cosine",
        warm_up_steps=30,
        halving=600,
        steps=1000,
        log_every=20,
        validate_every=250,
        checkpoint_every=250,
    )
    return MappingProxyType(presets)


PRESETS = _presets()
RECIPE = Recipe(
    "speech-encoder",
    PRESETS,
    "female-256",
    SpeechEncoderFit.from_json,
    open_data,
    SpeechEncoderModule,
    unused_parameters=True,
)
