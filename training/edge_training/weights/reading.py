"""Every foreign checkpoint → the plain state dict of one net, safely.

    containers    torch zip, torch legacy pickle, pickle, safetensors, several files with an index, .nemo
    places        the net wherever it lies, behind any wrappers; averaged weights told from live ones
    dialects      other toolkits' names for the layers of one net
    weights       weight norm old and new folded in float64; every floating type → float32

Nothing that a file names is imported or called (`pickles`). Tensors are compared by shape with the net before
any of their values is read; what would unfold to more than the file itself is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from edge_runtime.errors import CheckpointError
from edge_runtime.store.targets import sha256_file
from edge_training.weights.configs import find_config as find_config
from edge_training.weights.configs import read_config as read_config
from edge_training.weights.containers import FREE, Opened, open_weights, refusal
from edge_training.weights.dialects import rename
from edge_training.weights.diffusers_names import current_names
from edge_training.weights.pickles import PickleError, Stored
from edge_training.weights.recognition import resemblance
from edge_training.weights.selection import select, several
from edge_training.weights.weight_norm import NEW, fold_stored, folded_key, magnitude_of
from edge_training.weights.weight_norm import fold_weight_norm as fold_weight_norm
from edge_training.weights.weight_norm import origin_state_dict as origin_state_dict

State = dict[str, Tensor]

# the low-pass of BigVGAN's activations, which its configuration decides: files of ports leave it out
_TAPS = ("upsample.filter", "downsample.lowpass.filter")
# batch norm's counter, which inference does not read; two numbers of ECoG decoders' heads that nothing reads,
# and that are in files written on a CPU alone
_OPTIONAL = ("num_batches_tracked", *_TAPS, "head.formant_bandwitdh_ratio", "head.formant_bandwitdh_slop")
MOST_CONTAINERS = 1_000_000
MOST_UNFOLDED = 4  # times the file's size, of the tensors that share its values


@dataclass(frozen=True)
class Checkpoint:
    """The weights of one net, ready to load.

    Args:
        stored: prefix-free key → tensor, weight norm folded; shapes are known, values are read when needed.
        format: the recognised format, a phrase as «torch zip, level generator, float16».
        sha256: of the file; of several, of the list of theirs.
        file: its name.
        path: as it was given, for sentences; never written into a bundle.
        normed: layers whose weights were stored with weight norm.
        said: what was inferred and why, a sentence each.
        config: texts of configurations that lie in an archive, by name.
        dialect: the toolkit whose names the layers had, "" for the net's own.
        extras: tensors beside the weights that the dialect knows: statistics of the net's input.
    """

    stored: Mapping[str, Stored]
    format: str
    sha256: str
    file: str
    normed: frozenset[str] = frozenset()
    path: str = ""
    said: tuple[str, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    dialect: str = ""
    extras: Mapping[str, Stored] = field(default_factory=dict)

    @cached_property
    def state(self) -> State:
        """Key → plain tensor on the CPU; floating types as float32. CheckpointError for values not finite."""
        return {key: self.read(key) for key in self.stored}

    def read(self, key: str) -> Tensor:
        """The tensor (…,) of one key, as float32 if it is floating; CheckpointError for values not finite."""
        with _named(self.path or self.file):
            return _finite(key, _single(read_values(key, self.stored[key])))


def read_checkpoint(
    path: str | os.PathLike[str], net: str | None = None, weights: str | None = None
) -> Checkpoint:
    """Read a checkpoint of any format listed above, all of its values.

    Args:
        path: of the file.
        net: the net that is sought in it, by its name in the catalogue; None: the one that is there.
        weights: "ema", "live" or the name of a set, where it has several.

    Raises:
        CheckpointError: a file that is damaged, hostile or without such weights; names it.
    """
    checkpoint = open_checkpoint(path, net, weights)
    _ = checkpoint.state
    return checkpoint


def open_checkpoint(
    path: str | os.PathLike[str], net: str | None = None, weights: str | None = None
) -> Checkpoint:
    """As `read_checkpoint`, with the values left in the file until they are asked for."""
    path = Path(path)
    with _named(str(path)):
        opened = open_weights(path)
        selection = select(opened.saved, net, weights)
        notes = [opened.container, *selection.notes]
        dtypes = _checked(selection.stored, opened.size)
        named, extras, dialect = rename(current_names(selection.stored))
        if dialect:
            notes.append(f"dialect {dialect}")
        folded, normed = fold_stored(named, notes)
        notes.append(" and ".join(dtypes))
        return Checkpoint(
            folded,
            ", ".join(notes),
            _sha256(opened),
            path.name,
            normed,
            str(path),
            tuple(selection.said),
            opened.config,
            dialect,
            extras,
        )


def read_saved(path: str | os.PathLike[str]) -> object:
    """All that was saved in a file, its tensors read: states of optimisers beside weights, say.

    Raises:
        CheckpointError: a file as `read_checkpoint` refuses it, containers that hold themselves.
    """
    with _named(str(path)):
        opened = open_weights(Path(path))
        return _whole(opened.saved, {}, [MOST_UNFOLDED * opened.size + FREE])


_UNDONE = object()


def _whole(value: object, done: dict[int, object], left: list[int]) -> object:
    """A value with its tensors read; what occurs twice is one object afterwards too."""
    if isinstance(value, Stored):
        left[0] -= value.values * value.dtype.itemsize
        if value.kind or left[0] < 0:
            raise refusal(value.kind or "tensors that unfold to far more than the file", "")
        return read_values("a tensor", value)
    if not isinstance(value, dict | list | tuple):
        return value
    if done.get(id(value)) is _UNDONE or len(done) > MOST_CONTAINERS:
        raise refusal("containers that hold themselves", "it is damaged, or made to harm")
    if id(value) not in done:
        done[id(value)] = _UNDONE
        items: list[object] = [
            _whole(item, done, left) for item in (value.values() if isinstance(value, dict) else value)
        ]
        if isinstance(value, dict):
            done[id(value)] = dict(zip(value, items, strict=True))
        else:
            done[id(value)] = items if isinstance(value, list) else tuple(items)
    return done[id(value)]


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Refusals inside name the file."""
    try:
        yield
    except CheckpointError as error:
        raise error.within(path) from error.__cause__
    except RecursionError as error:
        raise refusal("containers nested too deeply", "it is damaged, or made to harm").within(
            path
        ) from error


def load_checkpoint(module: nn.Module, checkpoint: Checkpoint, *, net: str) -> None:
    """Load weights strictly: every key and shape must fit; only `num_batches_tracked` may be absent.

    A module whose keys all lie under one name (`audio_encoder.`) takes a state without it. A module with
    weight norm takes folded weights: the direction v is the weight itself, the magnitude g its norm.
    Raises CheckpointError that names the first differing keys and the net that the weights look like.
    """
    own = module.state_dict()
    wanted = {folded_key(key): tensor for key, tensor in own.items() if not key.endswith(NEW[0])}
    placed = _under_one_name(checkpoint.stored, wanted)
    differences = _differences(wanted, {key: checkpoint.stored[name] for key, name in placed.items()})
    if differences:
        raise CheckpointError(
            checkpoint.path or checkpoint.file,
            got="; ".join(differences),
            expected=f"the {len(wanted)} tensors of {net}",
            cause=_part_of_several(checkpoint.file) or resemblance(checkpoint.stored, net),
        )
    loaded, read = {}, dict[str, Tensor]()
    for key, tensor in own.items():
        plain = folded_key(key)
        if plain not in read and plain in placed:
            read[plain] = checkpoint.read(placed[plain])
        weight = read.get(plain, tensor)
        loaded[key] = magnitude_of(weight) if key.endswith(NEW[0]) else weight
    module.load_state_dict(loaded, strict=True)


# ---- values -----------------------------------------------------------------------------------------------


def _checked(state: Mapping[str, Stored], size: int) -> list[str]:
    """Names of the floating types got; refuses tensors without plain values, and more than the file has."""
    for key, tensor in state.items():
        if tensor.kind:
            raise CheckpointError(key, got=tensor.kind, expected="a plain dense tensor")
    unfolded = sum(tensor.values * tensor.dtype.itemsize for tensor in state.values())
    if unfolded > MOST_UNFOLDED * size + FREE:
        raise refusal(
            f"{size} bytes whose tensors unfold to {unfolded}", "they share their values; it is a bomb"
        )
    dtypes = sorted({_name(tensor.dtype) for tensor in state.values() if tensor.dtype.is_floating_point})
    if not dtypes:
        found = ", ".join(sorted({_name(tensor.dtype) for tensor in state.values()}))
        raise CheckpointError(
            "weights",
            got=f"only {found or 'nothing'}",
            expected="floating-point weights",
            cause="quantised checkpoints cannot be read back; give the one they were made from",
        )
    return dtypes


def _name(torch_constant: object) -> str:
    return str(torch_constant).removeprefix("torch.")


def read_values(key: str, stored: Stored) -> Tensor:
    """The tensor (…,) of one key, of its own type; CheckpointError where its bytes cannot be read."""
    try:
        return stored.read()
    except CheckpointError:
        raise
    except (PickleError, KeyError, EOFError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            key,
            got=f"no values ({type(error).__name__})",
            expected=f"{stored.values} of {_name(stored.dtype)}",
            cause="the file is truncated or damaged; fetch it again",
        ) from error


def _single(tensor: Tensor) -> Tensor:
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to(dtype).contiguous()


def _finite(key: str, tensor: Tensor) -> Tensor:
    wrong = int((~torch.isfinite(tensor)).sum())
    if wrong:
        raise CheckpointError(
            key,
            got=f"{wrong} of {tensor.numel()} values NaN or infinite",
            expected="finite weights",
            cause="training diverged, or half precision overflowed when it was saved",
        )
    return tensor


def _sha256(opened: Opened) -> str:
    if len(opened.files) == 1:
        return sha256_file(opened.files[0])
    lines = (f"{sha256_file(file)}  {file.name}\n" for file in opened.files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


# ---- strict loading ---------------------------------------------------------------------------------------


def _part_of_several(file: str) -> str:
    if not re.search(r"-\d+-of-\d+\.", file):
        return ""
    return "it is one of several files: give the one that ends in .index.json"


def _under_one_name(state: Mapping[str, Stored], wanted: Mapping[str, Tensor]) -> dict[str, str]:
    """Key as the module has it → as the state has it; with the name in front under which all wanted keys lie,
    if that makes any of them fit."""
    top = next(iter(wanted)).partition(".")[0]
    placed = {f"{top}.{key}": key for key in state}
    return placed if any(key in wanted for key in placed) else {key: key for key in state}


def _differences(wanted: Mapping[str, Tensor], state: Mapping[str, Stored]) -> list[str]:
    """Clauses on what is missing, unexpected, of another shape or of another type."""
    missing = [key for key in wanted if key not in state and not key.endswith(_OPTIONAL)]
    unexpected = sorted(key for key in state if key not in wanted)
    common = [key for key in wanted if key in state]
    reshaped = [
        f"{key} of shape {state[key].shape} for {tuple(wanted[key].shape)}"
        for key in common
        if state[key].shape != tuple(wanted[key].shape)
    ]
    retyped = [
        f"{key} of type {_name(state[key].dtype)}"
        for key in common
        if state[key].dtype.is_floating_point != wanted[key].is_floating_point()
        and not key.endswith(_OPTIONAL)
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "wrong shape": reshaped, "wrong type": retyped}
    return [f"{kind} {several(names)}" for kind, names in kinds.items() if names]
