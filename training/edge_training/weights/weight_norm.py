"""Weight norm, folded in float64: weight = g · v / ‖v‖, the norm over all axes but the first.

Old files spell the pair `weight_g`, `weight_v`, newer ones `parametrizations.weight.original0`, `…1`.
Spectral norm (`weight_orig`, `weight_u`, `weight_v`) is another thing and stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor, nn

from edge_runtime.errors import CheckpointError
from edge_training.weights.pickles import Stored

# weight norm's (magnitude g, direction v), each spelling under the name that a format is recorded by
OLD = ("weight_g", "weight_v")
NEW = ("parametrizations.weight.original0", "parametrizations.weight.original1")
_SPELLINGS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"weight_g, weight_v": OLD, "parametrizations": NEW}
)


def fold_weight_norm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of plain weights, name → tensor (…,); weight norm is folded in float64.

    Raises:
        CheckpointError: half of a pair is missing or its shapes do not belong together.
    """
    stored = {key: as_stored(tensor) for key, tensor in state.items()}
    return {key: tensor.read() for key, tensor in fold_stored(stored, [])[0].items()}


def as_stored(tensor: Tensor) -> Stored:
    """A tensor (…,) in memory in the form of one in a file."""
    return Stored(tuple(tensor.shape), tensor.dtype, lambda: tensor)


def fold_stored(state: Mapping[str, Stored], notes: list[str]) -> tuple[dict[str, Stored], frozenset[str]]:
    """(tensors with plain weights, to be folded when they are read; layers that had weight norm).

    Notes the spelling. Raises CheckpointError as `fold_weight_norm`.
    """
    spectral = {key.removesuffix("weight_orig") for key in state if key.endswith("weight_orig")}
    folded, normed = dict(state), set[str]()
    for phrase, (g, v) in _SPELLINGS.items():
        layers = {key.removesuffix(end) for key in state for end in (g, v) if key.endswith(f".{end}")}
        for layer in sorted(layers - spectral):
            folded[f"{layer}weight"] = _folded(state, f"{layer}weight", (layer + g, layer + v))
            del folded[layer + g], folded[layer + v]
            normed.add(layer.removesuffix("."))
        if layers - spectral:
            notes.append(f"weight norm ({phrase})")
    return folded, frozenset(normed)


def _folded(state: Mapping[str, Stored], plain: str, pair: tuple[str, str]) -> Stored:
    """One weight in float64, so that its float32 rounding does not depend on the order of summation."""
    for key, other in (pair, pair[::-1]):
        if key not in state:
            raise CheckpointError(other, got=f"no {key}", expected="both halves of the weight norm")
    if plain in state:
        raise CheckpointError(plain, got=f"{pair[0]} as well", expected="a weight folded or normed, not both")
    magnitude, direction = state[pair[0]], state[pair[1]]
    if direction.ndim < 2 or magnitude.values != direction.shape[0]:
        raise CheckpointError(
            pair[0],
            got=f"shape {magnitude.shape} for a direction of {direction.shape}",
            expected="one magnitude for each row",
        )

    def read() -> Tensor:
        g, v = magnitude.read().detach().double(), direction.read().detach().double()
        return v * (g.reshape(_rows(v)) / _lengths(v))

    return replace(direction, read=read, kind=magnitude.kind or direction.kind)


def magnitude_of(weight: Tensor) -> Tensor:
    """The magnitude g, (outputs, 1, …), of a plain weight (outputs, …), for a layer with weight norm."""
    return _lengths(weight.double()).to(weight.dtype)


def folded_key(key: str) -> str:
    """A parametrised layer's key as that of its plain weight."""
    for suffix in NEW:
        key = key.replace(suffix, "weight")
    return key


def origin_state_dict(module: nn.Module) -> dict[str, Tensor]:
    """A module's weights (…,) by name, weight norm spelt as in published files (`weight_g`, `weight_v`)."""
    return {
        key.replace(NEW[0], OLD[0]).replace(NEW[1], OLD[1]): tensor
        for key, tensor in module.state_dict().items()
    }


def _lengths(direction: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(direction.flatten(1), dim=1)
    return lengths.reshape(_rows(direction))


def _rows(direction: Tensor) -> tuple[int, ...]:
    return (len(direction), *[1] * (direction.ndim - 1))
