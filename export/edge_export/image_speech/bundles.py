"""All parts of image-speech in one folder: a bundle each, named by its role.

    OUT/image_unet/  audio_unet/  image_text/  audio_text/  vae_decoder/  vae_encoder/  vocoder/
    OUT/phoneme_adapter/         where an adapter is given

The picture is decoded once, by the image model's VAE: that of the audio model must have the same weights.
Both UNets see the same latents at the same step, so that their noise schedules must be the same too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from edge_export.convert import DEFAULT_PRECISIONS, DEFAULT_TARGETS, export, precisions_for
from edge_runtime.errors import ConfigError
from edge_runtime.store.bundle import Bundle, is_bundle
from edge_runtime.store.targets import replace_directory

PathLike = str | os.PathLike[str]

SYSTEM = "image-speech"
# so that parts which do not belong together are refused before hours are spent
SMALLEST_FIRST = (
    "vocoder", "vae_decoder", "phoneme_adapter", "image_text", "audio_text", "vae_encoder", "image_unet",
    "audio_unet",
)  # fmt: skip
PICTURED = ("image_unet", "audio_unet", "vae_decoder", "vae_encoder")  # whose packages have one size
SCHEDULE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type")
SAME = 2e-3  # of the largest weight: what float16 files differ from float32 ones by


class Part(NamedTuple):
    """One bundle: its net, and the weights that it is made of."""

    net: str
    checkpoint: Path
    lora: PathLike | None = None


ROLES = (
    "image_unet", "audio_unet", "image_text", "audio_text", "vae_decoder", "vae_encoder", "vocoder",
    "phoneme_adapter",
)  # fmt: skip


def export_image_speech(
    sd: PathLike,
    auffusion: PathLike,
    out: PathLike,
    *,
    lora: PathLike | None = None,
    adapter: PathLike | None = None,
    height: int = 256,
    width: int = 1024,
    targets: Sequence[str] = DEFAULT_TARGETS,
    precisions: Sequence[str] = DEFAULT_PRECISIONS,
    ios: int = 16,
    overwrite: bool = False,
    progress: Callable[[str], object] = lambda _line: None,
) -> dict[str, Bundle]:
    """Write every part of two models, or nothing.

    Args:
        sd: the image model: folder in diffusers' layout, or a repository's name.
        auffusion: the audio model, with its vocoder.
        out: the folder to write; refused if it exists.
        lora: of the audio model's UNet, merged into its weights.
        adapter: a `phoneme_adapter.pt`.
        height, width: pixels of the picture, for Core ML's packages and reference cases.
        targets, precisions, ios: as of `edge_export.convert.export`.
        overwrite: replace an older folder of these parts (nothing else is ever replaced).
        progress: called with a line of text before each step.

    Returns:
        Role → bundle.

    Raises:
        ConfigError: models that do not belong together; names the parts.
        EdgeError: as `edge_export.convert.export` refuses a part.
    """
    parts = find_parts(sd, auffusion, lora, adapter)
    precisions_for(targets, precisions)
    with replace_directory(out, overwrite, ours=holds_parts) as folder:
        check_vaes(parts["vae_decoder"].checkpoint, _weights(auffusion, "vae"))
        made: dict[str, Bundle] = {}
        for role in sorted(parts, key=SMALLEST_FIRST.index):
            part = parts[role]
            made[role] = export(
                part.net,
                folder / role,
                checkpoint=part.checkpoint,
                lora=part.lora,
                changes={"height": height, "width": width} if role in PICTURED else None,
                targets=targets,
                precisions=precisions,
                ios=ios,
                progress=_told(progress, role),
            )
            if role == "vocoder":
                check_height(height, made[role])
            check_together(made)
    return {role: Bundle(Path(out, role), made[role].manifest) for role in parts}


_BESIDE = {
    "unet": ("unet/config.json", "scheduler/scheduler_config.json"),
    "vae": ("vae/config.json",),
    "text_encoder": ("text_encoder/config.json", "tokenizer/vocab.json", "tokenizer/merges.txt"),
}


def find_parts(
    sd: PathLike, auffusion: PathLike, lora: PathLike | None = None, adapter: PathLike | None = None
) -> dict[str, Part]:
    """Role → where its weights are.

    Raises:
        CheckpointError: a model's folder lacks a part, or a part what lies beside its weights.
        InputError: no such folder or repository.
    """
    vae = _weights(sd, "vae")
    parts = {
        "image_unet": Part("sd-unet", _weights(sd, "unet")),
        "audio_unet": Part("sd-unet", _weights(auffusion, "unet"), lora),
        "image_text": Part("clip-text", _weights(sd, "text_encoder")),
        "audio_text": Part("clip-text", _weights(auffusion, "text_encoder")),
        "vae_decoder": Part("sd-vae-decoder", vae),
        "vae_encoder": Part("sd-vae-encoder", vae),
        "vocoder": Part("hifigan", _weights(auffusion, "vocoder")),
    }
    return parts if adapter is None else parts | {"phoneme_adapter": Part("phoneme-adapter", Path(adapter))}


def _weights(model: PathLike, part: str) -> Path:
    """The file of weights; whatever the part's export will read beside it is there, or that is said now."""
    from edge_training.image_speech.folders import beside, part_weights

    weights = part_weights(model, part)
    for name in _BESIDE.get(part, ()):
        beside(weights, name)
    return weights


def holds_parts(folder: Path) -> bool:
    """Whether a folder holds bundles under names of roles, and nothing else."""
    entries = list(folder.iterdir())
    return bool(entries) and all(entry.name in ROLES and is_bundle(entry) for entry in entries)


def check_vaes(image: Path, audio: Path) -> None:
    """Refuse two models whose VAEs differ: the picture is decoded once, for the eye and for the ear.

    Raises:
        ConfigError: other weights than half precision explains.
    """
    from edge_training.weights.reading import open_checkpoint

    first, second = (open_checkpoint(path, "sd-vae-decoder") for path in (image, audio))
    if first.sha256 == second.sha256:
        return
    for key in sorted(first.stored.keys() | second.stored.keys()):
        if key not in first.stored or key not in second.stored:
            got = f"{key} in one of them alone"
        else:
            ours, theirs = first.read(key), second.read(key)
            same = ours.shape == theirs.shape
            if same and float((ours - theirs).abs().max()) <= SAME * max(float(ours.abs().max()), 1e-3):
                continue
            got = f"another {key}"
        raise ConfigError(
            f"{audio}",
            got=got,
            expected=f"the weights of {image}",
            cause="both models must have been trained on the latents of one VAE",
        )


def check_height(height: int, vocoder: Bundle) -> None:
    """Refuse pictures that cannot be heard, before the VAE and the UNets refuse what they cannot paint.

    Raises:
        ConfigError: another height than the vocoder has bands.
    """
    bands = vocoder.manifest.config["num_mels"]
    if height != bands:
        raise ConfigError(
            "height", got=str(height), expected=f"{bands}, a row for each band of the model's vocoder"
        )


def check_together(made: Mapping[str, Bundle]) -> None:
    """Refuse parts, of those that there are, which cannot work with each other.

    Raises:
        ConfigError: names both, with the numbers that differ.
    """
    configs = {role: bundle.manifest.config for role, bundle in made.items()}
    for first, second in (
        (("image_unet", "cross_attention_dim"), ("image_text", "hidden_size")),
        (("audio_unet", "cross_attention_dim"), ("audio_text", "hidden_size")),
        (("audio_unet", "cross_attention_dim"), ("phoneme_adapter", "out_dim")),
        *((("audio_unet", name), ("image_unet", name)) for name in SCHEDULE),
    ):
        if first[0] in configs and second[0] in configs:
            got, wanted = configs[first[0]][first[1]], configs[second[0]][second[1]]
            if got != wanted:
                raise ConfigError(
                    ": ".join(first), got=str(got), expected=f"{wanted}, as {' of '.join(second[::-1])}"
                )


def _told(progress: Callable[[str], object], role: str) -> Callable[[str], object]:
    return lambda line: progress(f"{role}: {line}")
