"""MriAcoustic's training: configuration, step, validation, schedule, mri2speech's checkpoint file.

    mode window   items of `net.window` pictures; validated with overlapping windows averaged
    mode full     whole clips, or random pieces of `frames` pictures; validated in one pass over the clip

A step takes `batch_size` items, `micro_batch` of them at a time, and adds their gradients, which needs less
memory than one large batch. Clips of a micro-batch that differ in length share the backbone's pass and go
through the LSTM one by one, so that padding is never seen.

    schedule plateau   mri2speech's: the rate times `plateau_factor` after `plateau_patience` validations
                       without a better loss, not below `least_rate`; the run ends after `stop_after` of them,
                       or when the rate has reached `least_rate`
    schedule cosine    ours: up during `warm_up_steps`, then along half a cosine to 0 at `steps`

`origin_checkpoints` keeps `checkpoints/mri_acoustic_model.pt` in mri2speech's format at each best validation,
as its trainer does. `start_from` takes such a file or plain weights; from the file of a training run the
optimiser's moments are restored too, and the loss's ramp continues at its step. It also takes weights of only
the backbone, as timm publishes those of `tf_efficientnetv2_b2`, with which mri2speech can begin too.

Source: mri2speech_code of YamaneKoyo/mri-to-speech (numbers: preset `origin`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self, cast

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from edge_runtime.errors import CheckpointError, ConfigError
from edge_training.engine.config import FitConfig, is_number, is_whole, refuse_unknown
from edge_training.engine.items import Item, TrainingData
from edge_training.engine.module import FitModule, Picture, Recipe
from edge_training.engine.schedules import warm_up_cosine
from edge_training.mri_speech.data import MriData, MriSource, Split
from edge_training.mri_speech.losses import ORIGIN_BINS, Band, Bins, MaskedMSEMAE, Parts, bins_of
from edge_training.mri_speech.mri_acoustic import MRI_ACOUSTIC_PRESETS, MriAcoustic, MriAcousticConfig
from edge_training.weights.reading import Checkpoint, load_checkpoint, open_checkpoint, read_saved

PICTURES_DRAWN = 2  # validation clips whose mels are drawn
ORIGIN_FILE = "mri_acoustic_model.pt"
# of fp16's loss scale, as mri2speech sets it
SCALE, GROWTH, BACKOFF, INTERVAL = 2.0**10, 1.5, 0.5, 100


@dataclass(frozen=True, kw_only=True)
class MriAcousticFit(FitConfig):
    """Every number of the training; `batch_size` counts windows or clips."""

    net: MriAcousticConfig = field(default_factory=MriAcousticConfig)
    steps: int = 200_000
    batch_size: int = 8
    micro_batch: int = 2
    recompute: bool = True  # gradient checkpointing of the backbone
    mode: Literal["window", "full"] = "window"
    frames: int | None = None  # mode full: pictures of an item; null: whole clips
    split: Split = "clip"

    bands: tuple[Band, ...] | None = None  # of the loss, in Hz; null: mri2speech's bins
    learning_rate: float = 1e-4  # AdamW, betas 0.9 and 0.999, ε 1e-8
    weight_decay: float = 1e-4
    clip_norm: float = 1.0  # of all gradients together

    schedule: Literal["plateau", "cosine"] = "plateau"
    plateau_factor: float = 0.5
    plateau_patience: int = 5  # validations
    least_rate: float = 1e-6
    stop_after: int | None = 20  # validations without a better one; null: never
    warm_up_steps: int = 0
    origin_checkpoints: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % self.micro_batch:
            raise ConfigError(
                "micro_batch", got=f"{self.micro_batch}", expected=f"a divisor of {self.batch_size}"
            )
        if self.mode == "full" and self.split == "window":
            raise ConfigError("split", got="'window'", expected="'clip' in mode full")
        _ = self.bins  # checks them

    def _rules(self) -> Iterator[tuple[str, str, bool]]:
        yield from super()._rules()
        yield "micro_batch", "a positive whole number", is_whole(self.micro_batch, least=1)
        for name, choices in (
            ("mode", ("window", "full")),
            ("split", ("clip", "window")),
            ("schedule", ("plateau", "cosine")),
        ):
            yield name, " or ".join(map(repr, choices)), getattr(self, name) in choices
        for name in ("frames", "stop_after"):
            value = getattr(self, name)
            yield name, "a positive whole number, or null", value is None or is_whole(value, least=1)
        for name in ("recompute", "origin_checkpoints"):
            yield name, "true or false", isinstance(getattr(self, name), bool)
        for name in ("learning_rate", "clip_norm"):
            yield name, "a positive number", is_number(getattr(self, name), least=1e-30)
        for name in ("weight_decay", "least_rate"):
            yield name, "a number, 0 or more", is_number(getattr(self, name), least=0)
        yield "plateau_factor", "a number in 0 … 1", is_number(self.plateau_factor, least=0, most=1)
        for name in ("plateau_patience", "warm_up_steps"):
            yield name, "a whole number, 0 or more", is_whole(getattr(self, name), least=0)

    @property
    def bins(self) -> tuple[Bins, ...]:
        """Bands of the loss, as bands of the mel."""
        return ORIGIN_BINS if self.bands is None else bins_of(self.bands, self.net.mel)

    @property
    def item_frames(self) -> int | None:
        """Pictures of a training item; None: whole clips."""
        return self.net.window if self.mode == "window" else self.frames

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> Self:
        """The configuration of a flat JSON object; bands are objects of name, low, high and weight."""
        if isinstance(entries.get("bands"), list | tuple):
            entries = dict(entries) | {"bands": tuple(map(_band, entries["bands"]))}
        return super().from_json(entries)

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0; of schedule plateau before any plateau."""
        until = None if self.schedule == "plateau" else self.steps
        return self.learning_rate * warm_up_cosine(step, warm_up=self.warm_up_steps, until=until)


def _band(entry: Any) -> Band:
    if not isinstance(entry, Mapping):
        raise ConfigError("bands", got=repr(entry), expected="objects of name, low, high (Hz) and weight")
    names = {f.name for f in fields(Band)}
    refuse_unknown(entry, names)
    if lacking := sorted(names - entry.keys()):
        raise ConfigError("bands", got=f"no {', '.join(lacking)}", expected="name, low, high and weight")
    for name in ("low", "high", "weight"):
        if not is_number(entry[name], least=0):
            raise ConfigError(f"bands: {name}", got=repr(entry[name]), expected="a number, 0 or more")
    return Band(**entry)


# ---- module -----------------------------------------------------------------------------------------------


class MriAcousticModule(FitModule[MriAcousticFit]):
    """The net in training. It takes front end, mean and deviation from the data."""

    monitor: ClassVar[str] = "validation/loss"
    weights_file: ClassVar[str] = "mri-acoustic.safetensors"

    def __init__(self, config: MriAcousticFit, data: TrainingData) -> None:
        super().__init__(_settled(config, cast(MriData, data)), data)
        self.automatic_optimization = False
        self.net = MriAcoustic(self.config.net, recompute=config.recompute)
        self.loss = MaskedMSEMAE(self.config.net.n_mels, self.config.bins)
        self.register_buffer("scale", torch.tensor(self.config.net.mel_std), persistent=False)
        self.moments: Mapping[int, Any] = {}  # of the run whose checkpoint is `start_from`
        self.began_step = 0  # steps of that run
        if config.start_from is not None:
            self._start(Path(config.start_from))
        self.best: float | None = None  # validation loss
        self.best_step = -1
        self.idle = 0  # validations since
        self.train_loss = 0.0
        # the CPU's convolutions are faster in this order
        self.to(memory_format=torch.channels_last)

    def _start(self, path: Path) -> None:
        checkpoint = open_checkpoint(path, weights=self.config.start_weights)
        self.said += checkpoint.said
        if any(key.startswith("conv_stem.") for key in checkpoint.stored):
            load_backbone(self.net, checkpoint)
            return
        load_checkpoint(self.net, checkpoint, net="mri-acoustic")
        self.moments = _moments(path, list(self.net.parameters()))
        self.began_step = max((int(state["step"]) for state in self.moments.values()), default=0)

    def configure_optimizers(self) -> Any:
        config = self.config
        optimizer = self.adamw(self.net.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        if self.moments:
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": dict(self.moments), "param_groups": groups})
        if config.schedule == "cosine":
            return optimizer  # the rate is a function of the step
        factor, patience = config.plateau_factor, config.plateau_patience
        plateau = ReduceLROnPlateau(optimizer, factor=factor, patience=patience, min_lr=config.least_rate)
        return [optimizer], [plateau]

    def on_fit_start(self) -> None:
        plugin: Any = self.trainer.precision_plugin
        if getattr(plugin, "scaler", None) is not None:  # 16-mixed
            plugin.scaler = torch.amp.GradScaler(self.device.type, SCALE, GROWTH, BACKOFF, INTERVAL)

    # ---- a step

    def training_step(self, batch: Item, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's names
        """One step on a batch of frames (B, T, S, S), mels (B, T, n_mels) and masks (B, T)."""
        optimizer = cast(Any, self.optimizers())
        if self.config.schedule == "cosine" or self.step < self.config.warm_up_steps:
            for group in optimizer.param_groups:
                group["lr"] = self.config.rate(self.step)
        optimizer.zero_grad()
        figures: dict[str, Tensor] = {}
        parts = list(_split(batch, self.config.micro_batch))
        for part in parts:
            loss = self._loss(part)
            self.manual_backward(self.finite(loss.total, part) / len(parts))
            for name, value in _figures("loss", loss).items():
                figures[name] = figures.get(name, 0) + value.detach() / len(parts)
        optimizer.step()
        self.train_loss = float(figures["loss/total"])
        self.note(figures, bar=("loss/total", "loss/mse"))

    def on_before_optimizer_step(self, optimizer: Any) -> None:  # noqa: ARG002 - Lightning's names
        # here fp16's gradients are unscaled already
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip_norm)

    def _loss(self, batch: Item) -> Parts:
        """Loss of a micro-batch; for clips of different lengths the mean of their losses."""
        step = self.began_step + self.step
        lengths = batch["length"].tolist()
        if len(set(lengths)) == 1:
            frames, mel, mask = (batch[name][:, : lengths[0]] for name in ("frames", "mel", "mask"))
            return cast(Parts, self.loss(self.net(frames), mel, mask, step))
        there = torch.cat([frames[:length] for frames, length in zip(batch["frames"], lengths, strict=True)])
        maps = torch.split(self.net.maps(there[None]), lengths, dim=1)
        losses = [
            self.loss(self.net.mel(clip), mel[None, :length], mask[None, :length], step)
            for clip, mel, mask, length in zip(maps, batch["mel"], batch["mask"], lengths, strict=True)
        ]
        return _mean_of(losses)

    # ---- validation and results

    def validation_step(self, batch: Item, batch_idx: int) -> None:
        frames, mel, mask = batch["frames"], batch["mel"], batch["mask"]
        windowed = self.config.mode == "window" and frames.shape[1] > self.config.net.window
        predicted = (self.net.windowed if windowed else self.net)(frames).float()
        loss = self.loss(predicted, mel, mask, self.began_step + self.step)
        squared = ((predicted - mel) * self.scale).square().mean()
        figures = {
            self.monitor: loss.total,
            "validation/mse": loss.mse,
            "validation/mse_db2": squared,
            "validation/correlation": _correlation(predicted[0], mel[0]),
        }
        bands = {f"validation/{name}": value for name, value in loss.bands.items()}
        self.note(figures | bands, bar=(self.monitor, "validation/correlation"))
        if batch_idx == 0:
            self.pictures = []
        if batch_idx < PICTURES_DRAWN:
            rows = {"recording": mel[0].T.cpu().numpy(), "predicted": predicted[0].T.cpu().numpy()}
            self.pictures.append(Picture(batch["name"][0], rows))

    def on_validation_epoch_end(self) -> None:
        if self.trainer.sanity_checking:
            return
        figure = float(self.trainer.callback_metrics[self.monitor])
        better = self.best is None or figure < self.best
        if better:
            self.best, self.best_step, self.idle = figure, self.step, 0
        else:
            self.idle += 1
        ended = self.config.stop_after is not None and self.idle >= self.config.stop_after
        if self.config.schedule == "plateau":
            plateau = cast(ReduceLROnPlateau, self.lr_schedulers())
            plateau.step(figure)
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            ended = ended or (self.config.stop_after is not None and rate <= self.config.least_rate)
        if ended:
            self.trainer.should_stop = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        names = ("began_step", "best", "best_step", "idle")
        checkpoint["mri_acoustic"] = {name: getattr(self, name) for name in names}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["mri_acoustic"].items():
            setattr(self, name, value)

    def weights(self) -> dict[str, Tensor]:
        """State dict of the net: name → tensor (…,)."""
        return {key: tensor.detach().cpu() for key, tensor in self.net.state_dict().items()}

    def origin_files(self) -> dict[str, Callable[[Path], None]]:
        """mri2speech's trainer keeps one file, that of the best validation."""
        if not self.config.origin_checkpoints or self.step != self.best_step:
            return {}
        return {ORIGIN_FILE: self._save_origin}

    def _save_origin(self, path: Path) -> None:
        figures = self.trainer.callback_metrics
        scheduler = self.lr_schedulers()
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        torch.save(
            {
                "epoch": int(self.epoch),
                "model_state_dict": self.weights(),
                "optimizer_state_dict": self.trainer.optimizers[0].state_dict(),
                "scheduler_state_dict": scheduler.state_dict()
                if isinstance(scheduler, ReduceLROnPlateau)
                else {},
                "scaler_state_dict": {} if scaler is None else scaler.state_dict(),
                "val_loss": float(figures[self.monitor]),
                "val_mse": float(figures["validation/mse"]),
                "train_loss": self.train_loss,
            },
            path,
        )


def _settled(config: MriAcousticFit, data: MriData) -> MriAcousticFit:
    """The configuration completed with the entries that the data state."""
    told = MriAcousticConfig.from_json(data.meta)
    net = replace(
        config.net,
        mel=told.mel,
        frame_scaling=told.frame_scaling,
        mel_mean=tuple(map(float, data.mean)),
        mel_std=tuple(map(float, data.std)),
    )
    return replace(config, net=net)


def _split(batch: Item, size: int) -> Iterator[Item]:
    """Parts of `size` items."""
    for start in range(0, len(batch["name"]), size):
        yield {name: values[start : start + size] for name, values in batch.items()}


def _figures(place: str, parts: Parts) -> dict[str, Tensor]:
    names = [f.name for f in fields(Parts) if f.name != "bands"]
    bands = {f"band/{name}": value for name, value in parts.bands.items()}
    return {f"{place}/{name}": getattr(parts, name) for name in names} | bands


def _mean_of(losses: list[Parts]) -> Parts:
    def mean(values: list[Tensor]) -> Tensor:
        return torch.stack(values).mean()

    names = [f.name for f in fields(Parts) if f.name != "bands"]
    bands = {name: mean([loss.bands[name] for loss in losses]) for name in losses[0].bands}
    return Parts(**{name: mean([getattr(loss, name) for loss in losses]) for name in names}, bands=bands)


def _correlation(predicted: Tensor, mel: Tensor) -> Tensor:
    """Pearson's correlation over time, mean over bands; (T, n_mels) each. Of a constant band it is 0."""
    ours, theirs = (x - x.mean(0) for x in (predicted, mel))
    norms = ours.square().sum(0) * theirs.square().sum(0)
    return ((ours * theirs).sum(0) / norms.clamp(min=1e-12).sqrt()).mean()


def load_backbone(net: MriAcoustic, checkpoint: Checkpoint) -> None:
    """Load timm's weights of the backbone; layers after its last map are left out.

    Raises:
        CheckpointError: weights of another net.
    """
    beyond = ("conv_head.", "bn2.", "classifier.")
    state = {key: tensor for key, tensor in checkpoint.stored.items() if not key.startswith(beyond)}
    load_checkpoint(net.cnn.backbone, replace(checkpoint, stored=state), net="the backbone")


# ---- mri2speech's file ------------------------------------------------------------------------------------


def _moments(path: Path, parameters: list[Tensor]) -> Mapping[int, Any]:
    """AdamW's state in mri2speech's training file, by number of the parameter; none in plain weights."""
    saved = read_saved(path)
    optimizer = saved.get("optimizer_state_dict") if isinstance(saved, Mapping) else None
    if not isinstance(optimizer, Mapping) or not optimizer.get("state"):
        return {}
    state: Mapping[int, Any] = optimizer["state"]
    shapes = [state[i]["exp_avg"].shape if i in state else None for i in range(len(parameters))]
    if len(state) != len(parameters) or shapes != [parameter.shape for parameter in parameters]:
        raise CheckpointError(
            f"{path}: optimizer_state_dict",
            got=f"{len(state)} states of other shapes",
            expected=f"{len(parameters)} states, one for each parameter of mri-acoustic, in its order",
            cause="the optimiser belongs to another net",
        )
    return state


# ---- recipe -----------------------------------------------------------------------------------------------


def open_data(config: MriAcousticFit, folder: Path) -> MriData:
    """Opens the clips of a data folder."""
    return MriData(
        MriSource(
            folder=folder,
            image_size=config.net.image_size,
            n_mels=config.net.n_mels,
            frames=config.item_frames,
            split=config.split,
            validation_clips=config.validation_clips,
        )
    )


PRESETS: Mapping[str, MriAcousticFit] = MappingProxyType(
    {
        "b2": MriAcousticFit(net=MRI_ACOUSTIC_PRESETS["b2"]),
        # as published: split over windows, weights and moments in one file
        "origin": MriAcousticFit(net=MRI_ACOUSTIC_PRESETS["origin"], split="window"),
        # pictures of 64 pixels and a small backbone: under half an hour on two cores
        "phantom": MriAcousticFit(
            net=MRI_ACOUSTIC_PRESETS["phantom"],
            mode="full",
            frames=32,
            steps=3000,
            batch_size=4,
            micro_batch=4,
            recompute=False,
            learning_rate=1e-3,
            weight_decay=1e-2,
            schedule="cosine",
            warm_up_steps=30,
            log_every=20,
            validate_every=250,
            checkpoint_every=250,
            stop_after=None,
        ),
    }
)
RECIPE = Recipe("mri-acoustic", PRESETS, "b2", MriAcousticFit.from_json, open_data, MriAcousticModule)
