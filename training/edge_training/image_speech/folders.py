"""A model in diffusers' layout: which file of its folder is which net's weights.

    MODEL/unet/  vae/  text_encoder/    config.json and the weights, safetensors or .bin
    MODEL/tokenizer/  scheduler/        files of the nets beside them
    MODEL/vocoder/                      Auffusion's: config.json, vocoder.pt

A model is a folder, or the name of a repository (`owner/name`), which the libraries fetch where the machine
has a network and keep in their cache.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from edge_runtime.errors import CheckpointError, EdgeError, InputError
from edge_training.image_speech.libraries import library

AnyPath = str | os.PathLike[str]

# in this order: full precision before half, safetensors before pickles, live weights alone
WEIGHTS = (
    "diffusion_pytorch_model.safetensors",
    "model.safetensors",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
    "diffusion_pytorch_model.fp16.safetensors",
    "model.fp16.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "model.safetensors.index.json",
)
VOCODER = "vocoder.pt"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FETCHED = ("*/config.json", "*.json", "*/*.json", "*/merges.txt", "vocoder/*")


def model_folder(source: AnyPath) -> Path:
    """The folder of a model: itself, or the copy in the cache of a repository's name.

    Raises:
        InputError: neither a folder nor a repository that can be fetched.
        BackendError: the name of a repository, and the libraries are missing.
    """
    path = Path(source)
    if path.is_dir():
        return path
    if path.exists() or not _REPOSITORY.fullmatch(str(source)):
        raise InputError(
            str(source),
            got="a file" if path.exists() else "no such folder",
            expected="a model's folder in diffusers' layout, or the name of a repository, owner/name",
        )
    return _fetched(str(source))


def _fetched(repository: str) -> Path:
    """The copy of a repository in the cache of huggingface_hub, which fetches what is not there."""
    hub = library("huggingface_hub")
    patterns = [*_FETCHED, *(f"*/{name}" for name in WEIGHTS[:4])]
    try:
        return Path(hub.snapshot_download(repository, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            repository,
            got=f"no such folder, and «{first}»",
            expected="a model's folder, or a repository that this machine reaches or has in its cache",
        ) from error


def part_weights(source: AnyPath, part: str) -> Path:
    """The file of weights of a part, "unet", "vae", "text_encoder" or "vocoder".

    Args:
        source: that file itself, the part's folder, or a model.

    Raises:
        CheckpointError: the folder has no such part, or no weights in it.
        InputError: as `model_folder`.
    """
    if Path(source).is_file():
        return Path(source)
    folder = model_folder(source)
    inside = folder / part
    if not inside.is_dir() and (folder / "config.json").is_file():
        inside = folder
    names = (VOCODER,) if part == "vocoder" else WEIGHTS
    for name in names:
        if (inside / name).is_file():
            return inside / name
    there = sorted(entry.name for entry in (inside if inside.is_dir() else folder).iterdir())[:8]
    raise CheckpointError(
        str(inside),
        got=f"no such folder beside {', '.join(there)}"
        if not inside.is_dir()
        else f"only {', '.join(there)}",
        expected=f"a folder with {names[0]}" + (f", {names[1]} or .bin" if len(names) > 1 else ""),
        cause="was the model downloaded in part, or is it another layout than diffusers'?",
    )


def beside(weights: AnyPath, name: str, refusal: type[EdgeError] = CheckpointError) -> Path:
    """A file of another part of the model that a part's weights lie in, as ``tokenizer/vocab.json``.

    Raises:
        CheckpointError: it is not there.
    """
    path = Path(weights).parent.parent / name
    if not path.is_file():
        raise refusal(
            str(path),
            got="no such file",
            expected=f"the model's {name}, beside {Path(weights).parent.name}",
            cause="was the model downloaded in part?",
        )
    return path
