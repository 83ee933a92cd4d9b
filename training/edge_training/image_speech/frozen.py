"""The parts of an audio diffusion model that a LoRA is trained on: read once, and frozen.

AUFFUSION/unet, vae, text_encoder, scheduler, tokenizer     diffusers' layout; see `folders`
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_runtime.errors import CheckpointError, ConfigError
from edge_runtime.pipelines.image_speech.tokenizer import ClipTokenizer
from edge_training.image_speech.folders import model_folder
from edge_training.image_speech.libraries import library

PREDICTIONS = ("epsilon", "v_prediction")
SAMPLED = 256  # values of each tensor that the fingerprint sees


@dataclass(frozen=True)
class DiffusionModel:
    """diffusers' and transformers' own objects, float32, frozen, in evaluation mode."""

    unet: Any
    vae: Any
    text_encoder: Any | None
    scheduler: Any  # DDPM, with the betas of the model's own

    @property
    def fingerprint(self) -> str:
        """A hash of a sample of the weights: the same for the same model, wherever it lies."""
        found = hashlib.sha256()
        for part in (self.unet, self.vae, self.text_encoder):
            for name, tensor in sorted(part.state_dict().items()) if part is not None else ():
                values = tensor.detach().flatten()
                sample = values[:: max(1, len(values) // SAMPLED)].float().cpu().numpy()
                found.update(f"{name} {tuple(tensor.shape)}".encode() + sample.tobytes())
        return found.hexdigest()


def open_model(source: str | os.PathLike[str], *, text: bool) -> DiffusionModel:
    """The model of a folder, or of a repository's name.

    Args:
        source: the folder, or `owner/name`.
        text: read the text encoder too.

    Raises:
        BackendError: diffusers or transformers is missing.
        CheckpointError, InputError: no such model, or one of its parts is missing or damaged.
        ConfigError: a model that predicts something else than noise or velocity.
    """
    folder = model_folder(source)
    diffusers = library("diffusers")
    unet = _part(folder, "unet", diffusers.UNet2DConditionModel.from_pretrained)
    vae = _part(folder, "vae", diffusers.AutoencoderKL.from_pretrained)
    encoder = None
    if text:
        library("transformers.utils.logging").disable_progress_bar()
        encoder = _part(folder, "text_encoder", library("transformers").CLIPTextModel.from_pretrained)
    scheduler = _part(folder, "scheduler", diffusers.DDPMScheduler.from_pretrained)
    if scheduler.config.prediction_type not in PREDICTIONS:
        raise ConfigError(
            str(folder / "scheduler"),
            got=f"prediction_type {scheduler.config.prediction_type}",
            expected=" or ".join(PREDICTIONS),
        )
    for net in (unet, vae, encoder):
        if net is not None:
            net.float().eval().requires_grad_(requires_grad=False)
    return DiffusionModel(unet, vae, encoder, scheduler)


def open_tokenizer(source: str | os.PathLike[str]) -> ClipTokenizer:
    """The tokenizer of a model; errors as `open_model` and `ClipTokenizer.open`."""
    return ClipTokenizer.open(model_folder(source) / "tokenizer")


def _part(folder: Path, name: str, read: Callable[..., Any]) -> Any:
    place = folder / name
    if not place.is_dir():
        there = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8])
        raise CheckpointError(
            str(folder),
            got=f"no folder {name} beside {there}",
            expected="a model in diffusers' layout",
            cause="is its vocoder's or another part's folder given?",
        )
    try:
        return read(place, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            str(place),
            got=f"what the library cannot read («{first}»)",
            expected=f"the model's {name}",
            cause="was the model downloaded in part?",
        ) from error


def to_velocity(scheduler: Any, latents: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
    """What the UNet is to predict, (B, 4, h, w): the noise, or the velocity where the model predicts that."""
    if scheduler.config.prediction_type == "epsilon":
        return noise
    velocity: Tensor = scheduler.get_velocity(latents, noise, steps)
    return velocity


def picture_tensor(pictures: Tensor) -> Tensor:
    """(B, 256, frames) in 0 … 1 → what the VAE reads, (B, 3, 256, frames) in −1 … 1."""
    return (2 * pictures - 1)[:, None].expand(-1, 3, -1, -1)


@torch.no_grad()
def encode(vae: Any, picture: Tensor) -> Tensor:
    """Mean and log variance of a picture's latents, (2·4, h, w) float32, of (256, frames)."""
    parameters: Tensor = vae.encode(picture_tensor(picture[None])).latent_dist.parameters[0]
    return parameters.float()


def sample_latents(parameters: Tensor, scaling: float) -> Tensor:
    """Latents (B, 4, h, w) drawn from means and log variances (B, 8, h, w), scaled as the UNet has them."""
    mean, log_variance = parameters.chunk(2, dim=1)
    # the limits are those of diffusers' own distribution
    deviation = torch.exp(0.5 * log_variance.clamp(-30.0, 20.0))
    return (mean + deviation * torch.randn_like(mean)) * scaling
