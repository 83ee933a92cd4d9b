"""sd-unet in the catalogue."""

from __future__ import annotations

import os
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from edge_export.catalog.dynamic_axes import Buckets
from edge_export.catalog.net import Arrays, Axes, Net, Trained
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance

if TYPE_CHECKING:
    from torch import nn

    from edge_training.image_speech.net_configs import SdUnetConfig

TOKENS = 77  # positions of CLIP's text
PAIR = 2  # a latent with and without its condition, in one call


_CODE: Trained[SdUnetConfig] = Trained("sd-unet")


def locate(part: str, source: str | os.PathLike[str]) -> Path:
    """The weights of a part: a file, its folder, a model's folder, or a repository's name."""
    from edge_training.image_speech.folders import part_weights

    return part_weights(source, part)


def _merge(module: nn.Module, lora: str | os.PathLike[str]) -> str:
    from edge_training.image_speech.lora import merge_lora

    merged = merge_lora(module, lora)
    ranks = " and ".join(map(str, merged.ranks))
    base = f", with {len(merged.base)} tensors of the UNet itself" if merged.base else ""
    return f"LoRA {Path(merged.path).name} merged: {len(merged.pairs)} layers of rank {ranks}{base}"


def _inputs(config: SdUnetConfig) -> tuple[Tensor, ...]:
    steps = f"0 to {config.num_train_timesteps - 1}"
    states = ("batch", "tokens", config.cross_attention_dim)
    return (
        Tensor(
            "sample", "float32", ("batch", 4, "height", "width"), "noisy latents", "deviation of the noise"
        ),
        Tensor("timestep", "float32", ("batch",), "how noisy they are", f"step of the training, {steps}"),
        Tensor(
            "encoder_hidden_states", "float32", states, "the condition: text or phonemes", "its encoder's"
        ),
    )


def _outputs(config: SdUnetConfig) -> tuple[Tensor, ...]:
    meaning = "the noise in the latents" if config.prediction_type == "epsilon" else "velocity of the latents"
    shape = ("batch", 4, "height", "width")
    return (Tensor("noise_pred", "float32", shape, meaning, "deviation of the noise"),)


def _cases(config: SdUnetConfig, _axes: Axes) -> dict[str, Arrays]:
    """Two pairs with and without condition, early and late in the denoising."""
    last = config.num_train_timesteps - 1
    return {name: _pair(config, step, seed) for name, step, seed in (("early", last, 1), ("late", 1, 2))}


def _pair(config: SdUnetConfig, step: int, seed: int) -> Arrays:
    random = np.random.default_rng(seed)
    latents = random.standard_normal((1, 4, *config.latent_size))
    states = random.standard_normal((PAIR, TOKENS, config.cross_attention_dim))
    return {
        "sample": np.repeat(latents, PAIR, axis=0).astype(np.float32),
        "timestep": np.full(PAIR, step, np.float32),
        "encoder_hidden_states": states.astype(np.float32),
    }


def _axes_of(config: SdUnetConfig, axes: Axes) -> Axes:
    height, width = config.latent_size
    return {**axes, "height": Buckets((height,)), "width": Buckets((width,))}


NET: Net[SdUnetConfig] = Net(
    name="sd-unet",
    summary="one denoising step: the UNet of Stable Diffusion 1 and 2, and of Auffusion",
    signature="sample (batch, 4, height, width), timestep (batch), "
    "encoder_hidden_states (batch, tokens, dim) -> noise_pred (batch, 4, height, width)",
    presets=("sd15", "tiny"),
    preset=_CODE.preset,
    config_from_json=_CODE.config_from_json,
    build=_CODE.build,
    inputs=_inputs,
    outputs=_outputs,
    front_end=lambda _: None,
    geometry=lambda _: Geometry(None, None, None),
    tolerance=MappingProxyType({"fp32": Tolerance(1e-4, 100.0), "fp16": Tolerance(5e-2, 45.0)}),
    cases=_cases,
    coreml_axes=MappingProxyType(
        {
            "batch": Buckets((PAIR,)),
            "height": Buckets((32,)),
            "width": Buckets((128,)),
            "tokens": Buckets((TOKENS,)),
        }
    ),
    settle=_CODE.settle,
    # sine and cosine of up to 999: float16 has steps of 0.5 there
    float32_parts=("time_proj",),
    locate=lambda source: locate("unet", source),
    axes_of=_axes_of,
    merge=_merge,
    steps=lambda config: {"height": config.latent_multiple, "width": config.latent_multiple},
    justified=MappingProxyType(
        {
            "float32-island": "sine and cosine of steps up to 999, where float16 has steps of 0.5",
            "last-axis-below-32": "attention heads of the tiny net, 8 wide; Stable Diffusion has 40 to 160",
        }
    ),
)
