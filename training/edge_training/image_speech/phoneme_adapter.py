"""The phoneme adapter: the sentence's vector of a phoneme encoder → what a UNet's cross attention reads.

    input   (B, in_dim) float32             mean over a sentence's phonemes (PL-BERT)
    output  (B, seq_len, out_dim) float32   the same vector at each position, in place of CLIP's states

Linear → LayerNorm → repeated. Files are those of the seed's training: ``phoneme_adapter.pt`` with
``state_dict`` (proj.weight, proj.bias, norm.weight, norm.bias), ``in_dim``, ``out_dim`` and ``seq_len``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edge_runtime.errors import CheckpointError
from edge_runtime.store.targets import replace_file
from edge_training.engine.config import JsonConfig, Rule, is_whole

if TYPE_CHECKING:
    from edge_training.weights.reading import Checkpoint

MOST = 16384  # of each size; Stable Diffusion has 768, 768 and 77


@dataclass(frozen=True)
class PhonemeAdapterConfig(JsonConfig):
    """Sizes, by the names of the file's own entries."""

    in_dim: int = 768  # of the phoneme encoder
    out_dim: int = 768  # that the UNet's cross attention reads
    seq_len: int = 77  # positions, as many as CLIP's

    def _rules(self) -> Iterator[Rule]:
        for name in ("in_dim", "out_dim", "seq_len"):
            yield name, f"a whole number, 1 to {MOST}", is_whole(getattr(self, name), least=1, most=MOST)


class PhonemeAdapter(nn.Module):
    """(B, in_dim) → (B, seq_len, out_dim)."""

    def __init__(self, config: PhonemeAdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.proj = nn.Linear(config.in_dim, config.out_dim)
        self.norm = nn.LayerNorm(config.out_dim)

    def forward(self, embedding: Tensor) -> Tensor:
        """(B, in_dim) → (B, seq_len, out_dim)."""
        vector: Tensor = self.norm(self.proj(embedding))
        return vector[:, None].repeat(1, self.config.seq_len, 1)


def save_phoneme_adapter(adapter: PhonemeAdapter, path: str | os.PathLike[str]) -> Path:
    """Write a `phoneme_adapter.pt`, weights in float32 on the CPU; an older file there is replaced."""
    state = {name: tensor.detach().float().cpu() for name, tensor in adapter.state_dict().items()}
    with replace_file(path) as fresh:
        torch.save({"state_dict": state, **adapter.config.to_json()}, fresh)
    return Path(path)


def settle_phoneme_adapter(
    config: PhonemeAdapterConfig, checkpoint: Checkpoint | None, said: list[str] | None = None
) -> PhonemeAdapterConfig:
    """The config with the sizes that the weights, and the numbers beside them in the file, tell.

    Raises:
        CheckpointError: no weights of an adapter, or numbers that contradict them.
    """
    if checkpoint is None:
        return config
    weight = checkpoint.stored.get("proj.weight")
    if weight is None or weight.ndim != 2:
        raise CheckpointError(
            checkpoint.path or checkpoint.file,
            got="no matrix proj.weight",
            expected="a phoneme_adapter.pt: state_dict with proj.* and norm.*, in_dim, out_dim, seq_len",
        )
    out_dim, in_dim = weight.shape
    numbers = _numbers_beside(checkpoint)
    for name, size in (("in_dim", in_dim), ("out_dim", out_dim)):
        if numbers.get(name, size) != size:
            raise CheckpointError(
                checkpoint.path or checkpoint.file,
                got=f"{name} {numbers[name]!r:.40}",
                expected=f"{size}, as the weights have",
                cause="the file was put together from two trainings",
            )
    if said is not None and "seq_len" not in numbers:
        said.append(f"the file names no seq_len: {config.seq_len} positions taken")
    return replace(config, in_dim=in_dim, out_dim=out_dim, seq_len=numbers.get("seq_len", config.seq_len))


def _numbers_beside(checkpoint: Checkpoint) -> Mapping[str, Any]:
    from edge_training.weights.reading import read_saved

    saved = read_saved(checkpoint.path)
    return saved if isinstance(saved, dict) and isinstance(saved.get("state_dict"), dict) else {}


PHONEME_ADAPTER_PRESETS: Mapping[str, PhonemeAdapterConfig] = MappingProxyType(
    {"sd15": PhonemeAdapterConfig()}  # one, so that no configuration is sought beside the weights
)
