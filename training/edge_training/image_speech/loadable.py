"""What the loader of weights knows of Stable Diffusion's nets, and which files beside them matter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from edge_runtime.errors import EdgeError
from edge_training.image_speech.folders import beside
from edge_training.image_speech.net_configs import (
    CLIP_TEXT_PRESETS,
    SD_UNET_PRESETS,
    SD_VAE_PRESETS,
    ClipTextConfig,
    SdUnetConfig,
    SdVaeConfig,
    from_diffusers,
    from_transformers,
    schedule_of,
)
from edge_training.image_speech.phoneme_adapter import (
    PHONEME_ADAPTER_PRESETS,
    PhonemeAdapter,
    PhonemeAdapterConfig,
    settle_phoneme_adapter,
)
from edge_training.weights.configs import read_config
from edge_training.weights.nets import LoadableNet

if TYPE_CHECKING:
    from edge_training.weights.reading import Checkpoint

SCHEDULER = "scheduler/scheduler_config.json"


def sd_unet() -> LoadableNet[SdUnetConfig]:
    """The UNet; the noise schedule comes from the scheduler's file beside it."""
    return LoadableNet(
        "sd-unet",
        tuple(SD_UNET_PRESETS),
        SD_UNET_PRESETS.__getitem__,
        SdUnetConfig.from_json,
        _build_unet,
        settle=settle_schedule,
        translate=lambda entries, _, __: from_diffusers(entries, SdUnetConfig),
    )


def sd_vae(name: str) -> LoadableNet[SdVaeConfig]:
    """One half of the VAE, by the net's name."""
    return LoadableNet(
        name,
        tuple(SD_VAE_PRESETS),
        SD_VAE_PRESETS.__getitem__,
        SdVaeConfig.from_json,
        _build_encoder if name == "sd-vae-encoder" else _build_decoder,
        translate=lambda entries, _, __: from_diffusers(entries, SdVaeConfig),
    )


def clip_text() -> LoadableNet[ClipTextConfig]:
    """CLIP's text encoder."""
    return LoadableNet(
        "clip-text",
        tuple(CLIP_TEXT_PRESETS),
        CLIP_TEXT_PRESETS.__getitem__,
        ClipTextConfig.from_json,
        _build_text,
        translate=lambda entries, _, __: from_transformers(entries),
    )


def phoneme_adapter() -> LoadableNet[PhonemeAdapterConfig]:
    """The phoneme adapter, whose sizes its file tells."""
    return LoadableNet(
        "phoneme-adapter",
        tuple(PHONEME_ADAPTER_PRESETS),
        PHONEME_ADAPTER_PRESETS.__getitem__,
        PhonemeAdapterConfig.from_json,
        PhonemeAdapter,
        settle=settle_phoneme_adapter,
    )


def settle_schedule(
    config: SdUnetConfig, checkpoint: Checkpoint | None, said: list[str] | None = None
) -> SdUnetConfig:
    """The config with the noise schedule in the scheduler's file of the model that the weights lie in.

    Raises:
        CheckpointError: a model's folder without that file.
        ConfigError: a schedule that our samplers do not compute.
    """
    if checkpoint is None:
        return config
    model, notes = Path(checkpoint.path).parent.parent, list[str]()
    if not (model / SCHEDULER).is_file() and not (model / "model_index.json").is_file():
        notes.append(f"no {SCHEDULER} beside the weights: the configuration's noise schedule taken")
    else:
        file = beside(checkpoint.path, SCHEDULER)
        try:
            config = replace(config, **schedule_of(read_config(file), notes))
        except EdgeError as error:
            raise error.within(str(file)) from error
        notes.append(f"noise schedule of {SCHEDULER} taken")
    if said is not None:
        said += notes
    return config


def tokenizer_files(weights: str | Path, config: ClipTextConfig) -> Mapping[str, Path]:
    """Name in a bundle → file of the tokenizer that belongs to a text encoder's weights.

    Raises:
        CheckpointError: one is missing, or knows more tokens than the net.
    """
    from edge_runtime.errors import CheckpointError
    from edge_runtime.store.reading import read_object

    files = {name: beside(weights, name) for name in ("tokenizer/vocab.json", "tokenizer/merges.txt")}
    vocabulary = read_object(files["tokenizer/vocab.json"], refusal=CheckpointError)
    largest = max((value for value in vocabulary.values() if isinstance(value, int)), default=-1)
    if not 0 <= largest < config.vocab_size:
        raise CheckpointError(
            str(files["tokenizer/vocab.json"]),
            got=f"a largest token of {largest}",
            expected=f"tokens below vocab_size of the text encoder, {config.vocab_size}",
            cause="is it another model's tokenizer?",
        )
    return files


# nets are imported when they are built: diffusers and transformers take seconds


def _build_unet(config: SdUnetConfig) -> nn.Module:
    from edge_training.image_speech import nets

    return nets.build_unet(config)


def _build_decoder(config: SdVaeConfig) -> nn.Module:
    from edge_training.image_speech import nets

    return nets.build_vae_decoder(config)


def _build_encoder(config: SdVaeConfig) -> nn.Module:
    from edge_training.image_speech import nets

    return nets.build_vae_encoder(config)


def _build_text(config: ClipTextConfig) -> nn.Module:
    from edge_training.image_speech import nets

    return nets.build_clip_text(config)


BUILDERS: Mapping[str, Any] = {
    "sd-unet": sd_unet,
    "sd-vae-encoder": lambda: sd_vae("sd-vae-encoder"),
    "sd-vae-decoder": lambda: sd_vae("sd-vae-decoder"),
    "clip-text": clip_text,
    "phoneme-adapter": phoneme_adapter,
}
