"""Training of a LoRA for spectrograms of speech: configuration, step, validation, files.

    picture → VAE → latents z (drawn anew each step) → z_t, noise added at a random step t
    prompt → text encoder, or phoneme vector → adapter → condition c
    loss = mean square of UNet(z_t, t, c) − noise

Trained are the LoRA of the UNet's attention and feed-forward layers (`edge_training.image_speech.lora`),
parts of the UNet itself that `unfreeze` names (modules whose names contain one of its texts), and with
condition `phoneme` the adapter. All else is frozen: the VAE's means and variances and the text's states are
computed once for each row and kept in memory.

In one of ten items the condition is left out, so that guidance has something to guide from: an empty prompt,
or the adapter of a zero vector, as generation has it. (The seed trains without.)

With precision 16-mixed or bf16-mixed frozen matrices and kernels are kept in half precision, which gives the
same numbers as casting them at each use; everything that is trained, and all norms, are float32.

    checkpoints/adapter_model.safetensors, adapter_config.json     peft's format
    checkpoints/base_unet.safetensors, phoneme_adapter.safetensors where such are trained
    checkpoints/lora.pt, base_unet.pt, phoneme_adapter.pt          the seed's
    checkpoints/loss.csv                                           step, loss: of each step, as the seed's

Lightning's checkpoints hold what is trained, the optimiser's state, and a fingerprint of the model, so that
a resumed run goes on bit by bit and refuses another model. Validation: the loss at fixed steps with fixed
noise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, cast, get_args

import torch
from torch import Tensor, nn

from edge_runtime.errors import CheckpointError, ConfigError
from edge_training.engine.config import FitConfig, JsonConfig, Rule, is_number, is_whole
from edge_training.engine.items import Item, TrainingData
from edge_training.engine.logs import TABLE, read_table
from edge_training.engine.module import FitModule, Recipe, WeightsFile
from edge_training.image_speech import frozen, lora
from edge_training.image_speech.lora_data import Condition, LoraData, ManifestSource
from edge_training.image_speech.phoneme_adapter import (
    PhonemeAdapter,
    PhonemeAdapterConfig,
    save_phoneme_adapter,
)
from edge_training.weights.loading import load_into

ADAPTER, LOSSES = "phoneme_adapter.pt", "loss.csv"
VALIDATION_STEPS = (100, 300, 500, 700, 900)  # of the diffusion
FINGERPRINT = "diffusion_model"


@dataclass(frozen=True, kw_only=True)
class LoraConfig(JsonConfig):
    """What is added to the UNet."""

    rank: int = 8
    alpha: float = 16.0  # the LoRA is scaled by alpha / rank
    dropout: float = 0.0  # of the LoRA's input
    targets: tuple[str, ...] = lora.TARGETS  # ends of the Linears' names

    def _rules(self) -> Iterator[Rule]:
        yield (
            "rank",
            f"a whole number, 1 … {lora.MOST_RANK}",
            is_whole(self.rank, least=1, most=lora.MOST_RANK),
        )
        yield "alpha", "a positive number", is_number(self.alpha, least=1e-30)
        yield "dropout", "a number in 0 … 0.9", is_number(self.dropout, least=0, most=0.9)
        yield "targets", "names, at least one", bool(self.targets) and _are_texts(self.targets)


@dataclass(frozen=True, kw_only=True)
class LoraFit(FitConfig):
    """Every number of the training; `batch_size` counts pictures."""

    net: LoraConfig = field(default_factory=LoraConfig)
    steps: int = 2000
    batch_size: int = 2
    log_every: int = 1
    checkpoint_every: int = 200
    validate_every: int = 200

    auffusion: str | None = None  # the model's folder, or a repository's name
    condition: Condition = "text"
    phonemes: str | None = None  # .npz of condition phoneme; null: the one beside the manifest
    prompt_column: str = "audio_prompt"
    picture_column: str = "mel_npy"

    unfreeze: tuple[str, ...] = ()  # parts of names of the UNet's modules that are trained themselves
    learning_rate: float = 1e-4  # of LoRA and adapter; AdamW
    base_rate: float = 2e-5  # of the UNet's own modules
    weight_decay: float = 1e-2
    condition_dropout: float = 0.1  # part of the items without condition
    recompute: bool = False  # gradient checkpointing: less memory, a third more time

    def _rules(self) -> Iterator[Rule]:
        yield from super()._rules()
        yield "condition", " or ".join(get_args(Condition)), self.condition in get_args(Condition)
        for name in ("auffusion", "phonemes"):
            value = getattr(self, name)
            yield name, "a path, or null", value is None or isinstance(value, str)
        for name in ("prompt_column", "picture_column"):
            yield name, "a column's name", _are_texts((getattr(self, name),))
        yield "unfreeze", "parts of modules' names", _are_texts(self.unfreeze)
        for name in ("learning_rate", "base_rate"):
            yield name, "a positive number", is_number(getattr(self, name), least=1e-30)
        yield "weight_decay", "a number, 0 or more", is_number(self.weight_decay, least=0)
        yield "condition_dropout", "0 … 1", is_number(self.condition_dropout, least=0, most=1)
        yield "recompute", "true or false", isinstance(self.recompute, bool)

    @property
    def model(self) -> str:
        """The model's folder or name; ConfigError where none is given."""
        if self.auffusion is None:
            raise ConfigError(
                "auffusion", got="none", expected="the audio model's folder, or its repository's name",
                cause="give it with --auffusion",
            )  # fmt: skip
        return self.auffusion


def _are_texts(values: object) -> bool:
    return isinstance(values, tuple) and all(isinstance(value, str) and value for value in values)


class LoraModule(FitModule[LoraFit]):
    """A UNet with its LoRA in training, and the frozen parts around it."""

    monitor: ClassVar[str] = "validation/loss"
    weights_file: ClassVar[str] = lora.PEFT

    def __init__(self, config: LoraFit, data: TrainingData) -> None:
        super().__init__(config, data)
        self.strict_loading = False  # checkpoints hold what is trained
        rows = cast(LoraData, data)
        model = frozen.open_model(config.model, text=config.condition == "text")
        self.fingerprint = model.fingerprint
        self.unet, self.vae, self.text_encoder = model.unet, model.vae, model.text_encoder
        self.scheduler = model.scheduler
        self.scaling = float(model.vae.config.scaling_factor)
        self._check_sizes(rows)
        net = config.net
        lora.add_lora(self.unet, rank=net.rank, alpha=net.alpha, dropout=net.dropout, targets=net.targets)
        self._unfreeze()
        if config.recompute:
            self.unet.enable_gradient_checkpointing()
        self.adapter = self._build_adapter(rows)
        if config.start_from is not None:
            self._start(Path(config.start_from))
        self._moments: dict[int, Tensor] = {}  # row → mean and log variance
        self._states: dict[int, Tensor] = {}  # row → the text's; −1: of the empty prompt
        self._empty_ids = torch.from_numpy(frozen.open_tokenizer(config.model)([""]).astype("int64"))
        self._losses: list[tuple[int, float]] = []

    # ---- building

    def _check_sizes(self, data: LoraData) -> None:
        halvings = len(self.vae.config.block_out_channels) - 1
        if halvings != 3:
            raise ConfigError(
                "vae", got=f"a factor of {2**halvings}", expected="8, as Stable Diffusion's",
                cause="pictures of 256 × 1024 are latents of 32 × 128 there",
            )  # fmt: skip
        steps = 8 * 2 ** (len(self.unet.config.block_out_channels) - 1)
        if data.shape[1] % steps or data.shape[0] % steps:
            raise ConfigError("pictures", got=f"{data.shape}", expected=f"sizes that {steps} divides")

    def _unfreeze(self) -> None:
        """Train the UNet's own parameters in the modules that `unfreeze` names."""
        used = set()
        for name, parameter in self.unet.named_parameters():
            module = name.replace(".base_layer.", ".").rpartition(".")[0]
            patterns = [text for text in self.config.unfreeze if text in module]
            if patterns and ".lora_" not in name:
                parameter.requires_grad_(requires_grad=True)
                used |= set(patterns)
        if missing := [text for text in self.config.unfreeze if text not in used]:
            tops = dict.fromkeys(name.partition(".")[0] for name, _ in self.unet.named_parameters())
            raise ConfigError(
                "unfreeze",
                got=f"{missing[0]!r}, which no module's name contains",
                expected=f"parts of names as {', '.join(tops)}, or up_blocks.3",
            )

    def _build_adapter(self, data: LoraData) -> PhonemeAdapter | None:
        if self.config.condition == "text":
            return None
        width = int(self.unet.config.cross_attention_dim)
        return PhonemeAdapter(PhonemeAdapterConfig(in_dim=data.embedding_size, out_dim=width))

    def _start(self, path: Path) -> None:
        """Begin with the LoRA of an earlier training, and with the adapter beside it."""
        weights = lora.read_lora(path)
        trained = lora.lora_of(self.unet).base
        if strange := [name for name in weights.base if name not in trained]:
            raise CheckpointError(
                weights.path,
                got=f"base weights {strange[0]}",
                expected="modules that this run trains too, or the run would not write them",
                cause="name them with --set unfreeze='[…]'",
            )
        lora.load_lora(self.unet, weights)
        if self.adapter is not None:
            load_into(self.adapter, Path(weights.path).with_name(ADAPTER), "phoneme-adapter")

    # ---- one run

    def setup(self, stage: str) -> None:  # noqa: ARG002 - Lightning's names
        half = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}.get(str(self.trainer.precision))
        if half is not None:
            halve_frozen(self.unet, half)

    def configure_optimizers(self) -> Any:
        config = self.config
        parts = {"lora": [], "base": []}  # type: dict[str, list[nn.Parameter]]
        for name, parameter in self.unet.named_parameters():
            if parameter.requires_grad:
                parts["lora" if ".lora_" in name else "base"].append(parameter)
        adapter = [] if self.adapter is None else list(self.adapter.parameters())
        groups = [
            {"params": parts["lora"], "lr": config.learning_rate},
            {"params": parts["base"], "lr": config.base_rate},
            {"params": adapter, "lr": config.learning_rate},
        ]
        return torch.optim.AdamW(
            [group for group in groups if group["params"]], weight_decay=config.weight_decay
        )

    def on_train_start(self) -> None:
        rows = read_table(Path(self.trainer.default_root_dir) / TABLE)
        # a run that was killed has rows of steps that it now does again
        self._losses = [
            (int(row["step"]), row["loss"]) for row in rows if "loss" in row and row["step"] <= self.step
        ]

    def training_step(self, batch: Item, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's names
        """Loss, a scalar, of a batch of pictures (B, 256, frames)."""
        self._evaluate_frozen()
        latents = self._latents(batch)
        noise = torch.randn_like(latents)
        steps = torch.randint(0, len(self.scheduler.betas), (len(latents),), device=latents.device)
        left_out = torch.rand(len(latents), device=latents.device) < self.config.condition_dropout
        loss = self._loss(latents, noise, steps, self._condition(batch, left_out))
        loss = self.finite(loss, batch)
        self.note({"loss": loss}, bar=("loss",))
        self._losses.append((self.step + 1, float(loss.detach())))
        return loss

    def validation_step(self, batch: Item, batch_idx: int) -> None:
        torch.manual_seed(batch_idx)
        latents = self._latents(batch)
        condition = self._condition(batch, torch.zeros(1, dtype=torch.bool, device=latents.device))
        losses = [
            self._loss(
                latents, torch.randn_like(latents), torch.tensor([step], device=latents.device), condition
            )
            for step in VALIDATION_STEPS
        ]
        self.note({self.monitor: torch.stack(losses).mean()}, bar=(self.monitor,))

    def _loss(self, latents: Tensor, noise: Tensor, steps: Tensor, condition: Tensor) -> Tensor:
        noisy = self.scheduler.add_noise(latents, noise, steps)
        wanted = frozen.to_velocity(self.scheduler, latents, noise, steps)
        predicted = self.unet(noisy, steps, condition).sample
        return nn.functional.mse_loss(predicted.float(), wanted.float())

    def _evaluate_frozen(self) -> None:
        """Lightning sets every child to training, dropouts of frozen nets included."""
        self.vae.eval()
        if self.text_encoder is not None:
            self.text_encoder.eval()

    def _latents(self, batch: Item) -> Tensor:
        """(B, 4, h, w), drawn anew from moments that are computed once."""
        rows = [int(clip) for clip in batch["clip"]]
        for place, row in enumerate(rows):
            if row not in self._moments:
                # one by one, so that the numbers do not depend on the batch
                with torch.autocast(self.device.type, enabled=False):
                    self._moments[row] = frozen.encode(self.vae, batch["picture"][place].float())
        return frozen.sample_latents(torch.stack([self._moments[row] for row in rows]), self.scaling)

    def _condition(self, batch: Item, left_out: Tensor) -> Tensor:
        """(B, 77, C); rows of `left_out` (B,) without what conditions them."""
        if self.adapter is not None:
            vectors = torch.where(left_out[:, None], 0.0, batch["embedding"])
            states: Tensor = self.adapter(vectors)
            return states
        return torch.stack(
            [
                self._text(-1, self._empty_ids.to(self.device)) if out else self._text(int(clip), ids[None])
                for out, clip, ids in zip(left_out.tolist(), batch["clip"], batch["ids"], strict=True)
            ]
        )

    def _text(self, row: int, ids: Tensor) -> Tensor:
        """The text's states (77, C), computed once."""
        if row not in self._states:
            assert self.text_encoder is not None
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                self._states[row] = self.text_encoder(ids).last_hidden_state[0]
        return self._states[row]

    # ---- checkpoints and files

    def _trained(self) -> set[str]:
        return {name for name, parameter in self.named_parameters() if parameter.requires_grad}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = self._trained()
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: value for name, value in state.items() if name in trained}
        checkpoint[FINGERPRINT] = self.fingerprint

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if checkpoint.get(FINGERPRINT) != self.fingerprint:
            raise ConfigError(
                "auffusion",
                got=f"another model at {self.config.auffusion}",
                expected="the one that the run began with",
                cause="its folder was replaced, or another one is given",
            )
        if differing := self._trained() ^ checkpoint["state_dict"].keys():
            raise CheckpointError(
                "checkpoint", got=f"other weights, {min(differing)} among them", expected="those of this run"
            )

    def weights(self) -> dict[str, Tensor]:
        """The LoRA as peft names it: name → tensor (rank, in) or (out, rank)."""
        return lora.peft_state(lora.lora_of(self.unet))

    def further_weights(self) -> Mapping[str, WeightsFile]:
        files = {}
        if base := lora.lora_of(self.unet).base:
            files[lora.PEFT_BASE] = WeightsFile(base)
        if self.adapter is not None:
            state = {name: value.detach().float().cpu() for name, value in self.adapter.state_dict().items()}
            config = self.adapter.config.to_json()
            files[Path(ADAPTER).with_suffix(".safetensors").name] = WeightsFile(state, config)
        return files

    def origin_files(self) -> dict[str, Callable[[Path], None]]:
        weights = lora.lora_of(self.unet)
        net = self.config.net
        config = lora.peft_config(
            rank=net.rank,
            alpha=net.alpha,
            dropout=net.dropout,
            targets=net.targets,
            base=self.config.auffusion,
        )
        files: dict[str, Callable[[Path], None]] = {
            lora.LORA: lambda path: torch.save(lora.own_state(weights), path),
            lora.PEFT_CONFIG: lambda path: _write_text(path, json.dumps(config, indent=2, sort_keys=True)),
            LOSSES: self._write_losses,
        }
        if weights.base:
            files[lora.BASE] = lambda path: torch.save(lora.own_base_state(weights), path)
        if (adapter := self.adapter) is not None:
            files[ADAPTER] = lambda path: _save_adapter(adapter, path)
        return files

    def _write_losses(self, path: Path) -> None:
        lines = [f"{step},{loss:.9g}" for step, loss in self._losses]
        _write_text(path, "\n".join(["step,loss", *lines]))


def _save_adapter(adapter: PhonemeAdapter, path: Path) -> None:
    save_phoneme_adapter(adapter, path)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")


def halve_frozen(unet: nn.Module, half: torch.dtype) -> None:
    """Keep the weights of frozen Linears and convolutions in half precision, norms in float32.

    Under autocast they are cast at each use anyway: the numbers are the same, the memory is half.
    """
    for module in unet.modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and not any(
            parameter.requires_grad for parameter in module.parameters()
        ):
            module.to(half)


def open_data(config: LoraFit, folder: Path) -> LoraData:
    """The manifest's rows, with token numbers for condition text."""
    source = ManifestSource(
        manifest=folder,
        prompt_column=config.prompt_column,
        picture_column=config.picture_column,
        condition=config.condition,
        phonemes=None if config.phonemes is None else Path(config.phonemes),
        validation_clips=config.validation_clips,
    )
    return LoraData(source, frozen.open_tokenizer(config.model) if config.condition == "text" else None)


PRESETS: Mapping[str, LoraFit] = MappingProxyType(
    {
        "text": LoraFit(),
        "phoneme": LoraFit(condition="phoneme"),
        # the seed's run of 50 sentences
        "seed": LoraFit(
            condition="phoneme",
            steps=20_000,
            learning_rate=5e-4,
            unfreeze=("mid_block", "up_blocks.3"),
            condition_dropout=0.0,
        ),
    }
)
RECIPE = Recipe("image-speech", PRESETS, "text", LoraFit.from_json, open_data, LoraModule)
