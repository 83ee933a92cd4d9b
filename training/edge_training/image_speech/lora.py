"""LoRA of a diffusion UNet: files of the seed, of peft and of diffusers; wrapped, merged.

    y = W x + (alpha / rank) · B A x     A (rank, in), B (out, rank), of Linears whose names end in a target

Files, told apart by their keys:

    lora.pt                      the seed's: <module>.A.weight, .B.weight, .alpha and .rank (scalars)
    base_unet.pt                 beside it: trained weights of the UNet itself, under names with `.base.`
    adapter_model.safetensors    peft's: base_model.model.<module>.lora_A.weight …; with adapter_config.json,
                                 which has alpha; a folder of both, or a run's `checkpoints`
    base_unet.safetensors        beside it, as base_unet.pt, with the UNet's plain names

Base weights belong to the LoRA that they were trained with: they are read with it, and loaded before it is
merged. Rank and alpha are those of the file. Nothing in a file is run.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edge_runtime.errors import CheckpointError
from edge_runtime.store.reading import find_object, read_object
from edge_training.image_speech.libraries import library
from edge_training.weights.reading import read_saved

TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
LORA, BASE = "lora.pt", "base_unet.pt"
PEFT, PEFT_CONFIG, PEFT_BASE = "adapter_model.safetensors", "adapter_config.json", "base_unet.safetensors"
ADAPTER = "default"  # peft's own name for the only adapter
MOST_RANK = 4096
_EXPECTED = "LoRA weights: the seed's lora.pt, or peft's adapter_model.safetensors with adapter_config.json"
_PATTERN = re.compile(r"\^?[\w.]+")  # with ^ a module's whole name, without it the end of one
_PREFIXES = ("base_model.model.", "unet.", "module.")


@dataclass(frozen=True)
class LoraPair:
    """The two matrices of one Linear."""

    A: Tensor  # (rank, in)
    B: Tensor  # (out, rank)
    alpha: float

    @property
    def rank(self) -> int:
        return int(self.A.shape[0])

    @property
    def delta(self) -> Tensor:
        """What the pair adds to the weight, (out, in)."""
        return (self.alpha / self.rank) * (self.B @ self.A)


@dataclass(frozen=True)
class LoraWeights:
    """The LoRA of a UNet."""

    pairs: Mapping[str, LoraPair]  # by the Linear's name
    base: Mapping[str, Tensor] = field(default_factory=dict)  # parameters of the UNet, by their plain names
    path: str = ""  # of the file, for sentences

    @property
    def ranks(self) -> tuple[int, ...]:
        return tuple(sorted({pair.rank for pair in self.pairs.values()}))


# ---- reading ----------------------------------------------------------------------------------------------


def read_lora(path: str | os.PathLike[str]) -> LoraWeights:
    """The LoRA of a file or folder as above, float32.

    Raises:
        CheckpointError: no such weights, or matrices that contradict each other or the rank that is stated.
    """
    file = _file(Path(path))
    saved = read_saved(file)
    tensors = {str(key): value for key, value in saved.items()} if isinstance(saved, dict) else {}
    own = any(key.endswith(".A.weight") for key in tensors)
    pairs = dict(_own_pairs(tensors, file) if own else _peft_pairs(tensors, file))
    if not pairs:
        raise CheckpointError(str(file), got="no pair of matrices", expected=_EXPECTED)
    _refuse_more(tensors, file, own)
    return LoraWeights(pairs, _base_beside(file, own), str(file))


def _file(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in (PEFT, LORA):
        if (path / name).is_file():
            return path / name
    raise CheckpointError(str(path), got=f"a folder without {PEFT} and {LORA}", expected=_EXPECTED)


def _refuse_more(tensors: Mapping[str, Any], file: Path, own: bool) -> None:
    """Refuse what would be left out: half a pair, biases, DoRA's magnitudes, other modules' weights."""
    down, up = (".A.weight", ".B.weight") if own else (".lora_A.", ".lora_B.")
    known = {
        f"{key.partition(down)[0]}{end}" for key in tensors if down in key for end in (".alpha", ".rank")
    }
    known |= {part for key in tensors if down in key for part in (key, key.replace(down, up))}
    if rest := [key for key in tensors if key not in known]:
        raise CheckpointError(
            str(file),
            got=f"{rest[0]}, which belongs to no pair ({len(rest)} such)",
            expected="pairs of matrices alone",
            cause="it is damaged, or trained more than plain LoRA: DoRA, biases, modules_to_save",
        )


def _own_pairs(tensors: Mapping[str, Any], file: Path) -> Iterator[tuple[str, LoraPair]]:
    for key in tensors:
        name = key.removesuffix(".A.weight")
        if name != key:
            alpha, rank = tensors.get(f"{name}.alpha"), tensors.get(f"{name}.rank")
            pair = _pair(name, tensors[key], tensors.get(f"{name}.B.weight"), alpha, file)
            stated = _scalar(rank)
            if rank is not None and stated != pair.rank:
                raise CheckpointError(
                    str(file),
                    got=f"matrices of rank {pair.rank} at {name}",
                    expected=f"rank {rank if stated is None else f'{stated:g}'}, as the file states",
                    cause="it was put together from two trainings",
                )
            yield name, pair


def _peft_pairs(tensors: Mapping[str, Any], file: Path) -> Iterator[tuple[str, LoraPair]]:
    config = _peft_config(file)
    for key in tensors:
        name, found, rest = key.partition(".lora_A.")
        if not found:
            continue
        plain = name
        for prefix in _PREFIXES:
            plain = plain.removeprefix(prefix)
        alpha = tensors.get(f"{name}.alpha", _of_module(config, plain, "alpha_pattern", "lora_alpha"))
        pair = _pair(plain, tensors[key], tensors.get(f"{name}.lora_B.{rest}"), alpha, file)
        stated = _of_module(config, plain, "rank_pattern", "r")
        if stated is not None and stated != pair.rank:
            raise CheckpointError(
                str(file),
                got=f"matrices of rank {pair.rank} at {plain}",
                expected=f"rank {stated}, as {PEFT_CONFIG} states",
                cause="the two files are of different trainings",
            )
        if config.get("use_rslora") or config.get("use_dora"):
            raise CheckpointError(str(file), got="rsLoRA or DoRA", expected="plain LoRA: alpha / rank")
        yield plain, pair


def _peft_config(file: Path) -> dict[str, Any]:
    path = file.with_name(PEFT_CONFIG)
    if path.is_file():
        return read_object(path, refusal=CheckpointError)
    ours = find_object(file.with_name("config.json"))  # of a training run's best weights
    return {"r": ours.get("rank"), "lora_alpha": ours.get("alpha")}


def _of_module(config: Mapping[str, Any], name: str, patterns: str, entry: str) -> Any:
    """A module's own number, or the one for all; peft's patterns name the ends of modules."""
    own = config.get(patterns)
    for pattern, value in own.items() if isinstance(own, dict) else ():
        if not _PATTERN.fullmatch(pattern):
            raise CheckpointError(
                f"{PEFT_CONFIG}, {patterns}",
                got=repr(pattern),
                expected="names of modules, no regular expression",
            )
        if name == pattern.removeprefix("^") or name.endswith(f".{pattern}"):
            return value
    return config.get(entry)


def _pair(name: str, down: Any, up: Any, alpha: Any, file: Path) -> LoraPair:
    fits = (
        all(isinstance(matrix, Tensor) and matrix.ndim == 2 for matrix in (down, up))
        and down.shape[0] == up.shape[1]
        and 1 <= down.shape[0] <= MOST_RANK
    )
    if not fits:
        shapes = " and ".join(str(tuple(m.shape)) if isinstance(m, Tensor) else "nothing" for m in (down, up))
        raise CheckpointError(
            str(file), got=f"{shapes} at {name}", expected="matrices (rank, in) and (out, rank)"
        )
    if not (torch.isfinite(down).all() and torch.isfinite(up).all()):
        raise CheckpointError(str(file), got=f"values that are not finite at {name}", expected="numbers")
    number = _scalar(alpha)
    if number is None or not math.isfinite(number):
        raise CheckpointError(
            str(file),
            got=f"no alpha of {name}" if alpha is None else f"alpha {alpha!r:.40}",
            expected="a number",
            cause=f"peft keeps it in {PEFT_CONFIG}, which lies beside the weights" if alpha is None else "",
        )
    return LoraPair(down.float(), up.float(), number)


def _scalar(value: Any) -> float | None:
    if isinstance(value, Tensor):
        return float(value) if value.numel() == 1 else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _base_beside(file: Path, own: bool) -> dict[str, Tensor]:
    """Trained weights of the UNet itself that lie beside a LoRA."""
    path = file.with_name(BASE if own else PEFT_BASE)
    if not path.is_file():
        return {}
    saved = read_saved(path)
    tensors = {
        str(key).replace(".base.", "."): value
        for key, value in (saved.items() if isinstance(saved, dict) else ())
        if isinstance(value, Tensor)
    }
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise CheckpointError(str(path), got=f"values that are not finite at {name}", expected="numbers")
    return {name: value.float() for name, value in tensors.items()}


# ---- into a UNet ------------------------------------------------------------------------------------------


@torch.no_grad()
def merge_lora(unet: nn.Module, path: str | os.PathLike[str]) -> LoraWeights:
    """Load a LoRA into the plain weights of a UNet: W + (alpha / rank) B A; base weights first.

    The UNet has the layers, names and types that it had. Returns what was merged. A refusal changes nothing.

    Raises:
        CheckpointError: what `read_lora` refuses; a LoRA of another UNet.
    """
    lora = read_lora(path)
    linears = _linears(unet, lora)
    load_base(unet, lora)
    for name, pair in lora.pairs.items():
        weight = linears[name].weight
        merged = weight.float() + pair.delta.to(weight.device)
        weight.copy_(merged.reshape(weight.shape))
    return lora


def load_base(unet: nn.Module, lora: LoraWeights) -> None:
    """Load the base weights of a LoRA; CheckpointError for names or shapes of another UNet."""
    own = {_plain(name): parameter for name, parameter in unet.named_parameters()}
    for name, value in lora.base.items():
        shape = tuple(own[name].shape) if name in own else None
        if shape != tuple(value.shape):
            raise _other_unet(lora, f"base weights {name} of shape {tuple(value.shape)}", shape)
    with torch.no_grad():
        for name, value in lora.base.items():
            own[name].copy_(value)


def _linears(unet: nn.Module, lora: LoraWeights) -> dict[str, Any]:
    """The UNet's layers that a LoRA is for; refuses one of another UNet."""
    modules = dict(unet.named_modules())
    for name, pair in lora.pairs.items():
        weight = getattr(modules.get(name), "weight", None)
        shape = tuple(weight.shape) if isinstance(weight, Tensor) else None
        # older UNets project with convolutions of kernel 1
        plain = shape[:2] if shape is not None and shape[2:] == (1, 1) else shape
        if plain != (pair.B.shape[0], pair.A.shape[1]):
            raise _other_unet(lora, f"{name} of {pair.B.shape[0]} × {pair.A.shape[1]}", shape)
    return modules


def _other_unet(lora: LoraWeights, got: str, shape: tuple[int, ...] | None) -> CheckpointError:
    there = "this UNet, which has no such layer" if shape is None else f"a layer of shape {shape}"
    return CheckpointError(lora.path or "LoRA", got=got, expected=there, cause="it is of another UNet")


def add_lora(
    unet: Any, *, rank: int, alpha: float, dropout: float = 0.0, targets: Sequence[str] = TARGETS
) -> None:
    """Wrap the UNet's Linears whose names end in a target with peft's LoRA; A as Kaiming draws it, B zero.

    All of the UNet's own parameters are frozen; the LoRA's are float32, whatever the UNet's type.

    Raises:
        BackendError: peft is missing.
    """
    unet.requires_grad_(requires_grad=False)
    config = library("peft").LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets)
    )
    unet.add_adapter(config, adapter_name=ADAPTER)
    for name, parameter in unet.named_parameters():
        if ".lora_" in name:
            parameter.data = parameter.data.float()


def load_lora(unet: nn.Module, lora: LoraWeights) -> None:
    """Load a LoRA into the wrapped Linears of `add_lora`.

    Raises:
        CheckpointError: it has another rank, other layers, or is of another UNet.
    """
    mine = lora_of(unet).pairs
    for name, pair in lora.pairs.items():
        if name not in mine:
            raise _other_unet(lora, f"a pair for {name}", None)
        if pair.rank != mine[name].rank:
            raise CheckpointError(
                lora.path or "LoRA",
                got=f"rank {pair.rank}",
                expected=f"rank {mine[name].rank}",
                cause=f"--set rank={pair.rank} goes on with it",
            )
        if pair.alpha != mine[name].alpha:
            raise CheckpointError(
                lora.path or "LoRA",
                got=f"alpha {pair.alpha:g}",
                expected=f"alpha {mine[name].alpha:g}",
                cause=f"--set alpha={pair.alpha:g} goes on with it",
            )
        if pair.A.shape != mine[name].A.shape or pair.B.shape != mine[name].B.shape:
            raise _other_unet(lora, f"{name} of {tuple(pair.B.shape)}", tuple(mine[name].B.shape))
    if missing := [name for name in mine if name not in lora.pairs]:
        raise CheckpointError(
            lora.path or "LoRA", got=f"no pair for {missing[0]}", expected=f"{len(mine)} pairs"
        )
    load_base(unet, lora)
    with torch.no_grad():
        for name, layer in _wrapped(unet):
            layer.lora_A[ADAPTER].weight.copy_(lora.pairs[name].A)
            layer.lora_B[ADAPTER].weight.copy_(lora.pairs[name].B)


def lora_of(unet: nn.Module) -> LoraWeights:
    """The LoRA in a UNet of `add_lora`, and the UNet's own parameters that are trained, on the CPU."""
    pairs = {
        name: LoraPair(
            _cpu(layer.lora_A[ADAPTER].weight),
            _cpu(layer.lora_B[ADAPTER].weight),
            float(layer.lora_alpha[ADAPTER]),
        )
        for name, layer in _wrapped(unet)
    }
    base = {
        _plain(name): _cpu(parameter)
        for name, parameter in unet.named_parameters()
        if parameter.requires_grad and ".lora_" not in name
    }
    return LoraWeights(pairs, base)


def _wrapped(unet: nn.Module) -> Iterator[tuple[str, Any]]:
    for name, module in unet.named_modules():
        if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
            yield name, module


def _plain(name: str) -> str:
    """The UNet's own name of a wrapped layer's parameter."""
    return name.replace(".base_layer.", ".")


def _cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().float().cpu()


# ---- writing ----------------------------------------------------------------------------------------------


def own_state(lora: LoraWeights) -> dict[str, Tensor]:
    """The contents of the seed's lora.pt."""
    state: dict[str, Tensor] = {}
    for name, pair in lora.pairs.items():
        state |= {
            f"{name}.A.weight": pair.A,
            f"{name}.B.weight": pair.B,
            f"{name}.alpha": torch.tensor(float(pair.alpha)),
            f"{name}.rank": torch.tensor(pair.rank),
        }
    return state


def own_base_state(lora: LoraWeights) -> dict[str, Tensor]:
    """The contents of the seed's base_unet.pt: parameters of wrapped Linears have `.base.` in their names."""
    state: dict[str, Tensor] = {}
    for name, value in lora.base.items():
        layer, _, last = name.rpartition(".")
        state[f"{layer}.base.{last}" if layer in lora.pairs else name] = value
    return state


def peft_state(lora: LoraWeights) -> dict[str, Tensor]:
    """The contents of peft's adapter_model.safetensors."""
    state: dict[str, Tensor] = {}
    for name, pair in lora.pairs.items():
        state[f"base_model.model.{name}.lora_A.weight"] = pair.A
        state[f"base_model.model.{name}.lora_B.weight"] = pair.B
    return state


def peft_config(
    *, rank: int, alpha: float, dropout: float, targets: Sequence[str], base: str | None = None
) -> dict[str, Any]:
    """The contents of peft's adapter_config.json."""
    config = library("peft").LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=sorted(targets), inference_mode=True
    )
    entries: dict[str, Any] = config.to_dict()
    entries |= {"base_model_name_or_path": base, "target_modules": sorted(targets)}
    return {name: sorted(value) if isinstance(value, set) else value for name, value in entries.items()}
