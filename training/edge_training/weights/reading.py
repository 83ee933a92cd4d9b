"""Every foreign checkpoint format → one plain state dict, safely.

    container   torch zip, torch legacy pickle (before 1.6), safetensors; told by content, never by suffix
    levels      dicts `state_dict`, `model_state_dict`, `generator`, `audio_encoder`, `model`, `net`, nested
    prefixes    `module.`, `audio_encoder.`, `generator.`, `model.`, `net.` on every key, nested
    parts       Wav2Lip generator → its `audio_encoder.*`; a state with discriminators → `generator.*`
    weights     weight norm old (`weight_g`, `weight_v`) and new (`parametrizations.weight.original0`, `…1`)
                folded in float64; every floating type → float32

Pickles are read with torch's `weights_only=True` alone: what is not a tensor or a plain container is refused
before anything of it runs. Every entry of a zip must have the CRC-32 that is written beside it, which torch
itself does not check; a file saved under `set_crc32_options(False)` has zero in all of them and is taken as
it is, as are the containers without checksums (legacy pickle, safetensors). Spectral norm (`weight_orig`,
`weight_u`, `weight_v`) is another thing than weight norm and stays as it is.
"""

from __future__ import annotations

import os
import pickletools
import re
import string
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edge_runtime.errors import BackendError, CheckpointError, ConfigError
from edge_runtime.store.reading import read_object
from edge_runtime.store.targets import sha256_file
from edge_training.vocoder.hifigan import HifiGanConfig, Wiring
from edge_training.weights.recognition import recognise, resemblance

State = dict[str, Tensor]

LEVELS = ("state_dict", "model_state_dict", "generator", "audio_encoder", "model", "net")
PREFIXES = ("module.", "audio_encoder.", "generator.", "model.", "net.")
DISCRIMINATORS = ("mpd", "msd")
# weight norm's (magnitude g, direction v), each spelling under the name that a format is recorded by
_OLD_NORM = ("weight_g", "weight_v")
_NEW_NORM = ("parametrizations.weight.original0", "parametrizations.weight.original1")
_SPELLINGS: Mapping[str, tuple[str, str]] = {"weight_g, weight_v": _OLD_NORM, "parametrizations": _NEW_NORM}
_OPTIONAL = "num_batches_tracked"  # batch norm's counter, which inference does not read
_BLOCK = 2**20  # bytes read at once
_NAMED = 3  # keys that a sentence names before it counts the rest


@dataclass(frozen=True)
class Checkpoint:
    """The weights of one net, ready to load.

    Args:
        state: prefix-free key → plain tensor on the CPU; floating types as float32, weight norm folded.
        format: the recognised format, a phrase as «torch zip, level generator, float16».
        sha256: of the file.
        file: its name.
        path: as it was given, for sentences; never written into a bundle.
        normed: layers whose weights were stored with weight norm.
    """

    state: State
    format: str
    sha256: str
    file: str
    normed: frozenset[str] = frozenset()
    path: str = ""


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint of any format listed above; raises CheckpointError with the file's name."""
    path = Path(path)
    try:
        container, saved = _open(path)
        notes = [container]
        state = _select(_unwrap(saved, notes), notes)
        dtypes = _checked_dtypes(state)
        folded, normed = _fold(state, notes)
        notes.append(" and ".join(dtypes))
        single = {key: _single(tensor) for key, tensor in folded.items()}
        _check_finite(single)
        return Checkpoint(single, ", ".join(notes), sha256_file(path), path.name, normed, str(path))
    except CheckpointError as error:
        raise error.within(str(path)) from error.__cause__


def fold_weight_norm(state: Mapping[str, Tensor]) -> State:
    """Each magnitude g and direction v → weight = g · v / ‖v‖, the norm over all axes but the first.

    Raises CheckpointError where half of a pair is missing or its shapes do not belong together.
    """
    return _fold(dict(state), [])[0]


def load_checkpoint(module: nn.Module, checkpoint: Checkpoint, *, net: str) -> None:
    """Load weights strictly: every key and shape must fit; `num_batches_tracked` alone may be absent.

    A module whose keys all lie under one name (`audio_encoder.`) takes a state without it. A module with
    weight norm takes folded weights: the direction v is the weight itself, the magnitude g its norm.
    Raises CheckpointError that names the first differing keys and the net that the weights look like.
    """
    own = module.state_dict()
    wanted = {_folded_key(key): tensor for key, tensor in own.items() if not key.endswith(_NEW_NORM[0])}
    state = _under_one_name(checkpoint.state, wanted)
    differences = _differences(wanted, state)
    if differences:
        raise CheckpointError(
            checkpoint.path or checkpoint.file,
            got="; ".join(differences),
            expected=f"the {len(wanted)} tensors of {net}",
            cause=resemblance(checkpoint.state, net),
        )
    loaded = {}
    for key, tensor in own.items():
        weight = state.get(_folded_key(key), tensor)
        loaded[key] = _magnitude(weight) if key.endswith(_NEW_NORM[0]) else weight
    module.load_state_dict(loaded, strict=True)


def origin_state_dict(module: nn.Module) -> State:
    """A module's weights with weight norm spelt as in the origin systems' files (`weight_g`, `weight_v`)."""
    return {
        key.replace(_NEW_NORM[0], _OLD_NORM[0]).replace(_NEW_NORM[1], _OLD_NORM[1]): tensor
        for key, tensor in module.state_dict().items()
    }


# ---- HiFi-GAN's wiring and config -------------------------------------------------------------------------


def hifigan_wiring(checkpoint: Checkpoint) -> Wiring | None:
    """The wiring that a HiFi-GAN's keys give away; None after weight norm is folded: both look alike then.

    In the causal-tail system conv_pre alone has no weight norm (233 keys instead of 234).
    """
    if recognise(checkpoint.state) != "hifigan" or not checkpoint.normed:
        return None
    return "stock" if "conv_pre" in checkpoint.normed else "causal-tail"


def settle_wiring(config: HifiGanConfig, checkpoint: Checkpoint | None) -> HifiGanConfig:
    """The config with its wiring said: by itself, else by the checkpoint's keys, else stock."""
    if config.wiring is not None:
        return config
    told = hifigan_wiring(checkpoint) if checkpoint is not None else None
    return replace(config, wiring=told or "stock")


def find_config(checkpoint: str | os.PathLike[str], names: Sequence[str] = ("config.json",)) -> Path | None:
    """The configuration beside a checkpoint: the file of its name that ends in `.json`, or one of `names`.

    HiFi-GAN's training writes `config.json`; the former is for folders with weights of several nets. None
    where there is neither.
    """
    path = Path(checkpoint)
    found = (path.with_suffix(".json"), *(path.parent / name for name in names))
    return next((config for config in found if config != path and config.is_file()), None)


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The entries of a JSON config file; raises ConfigError with the file's name."""
    return read_object(path, refusal=ConfigError)


# ---- containers -------------------------------------------------------------------------------------------


def _open(path: Path) -> tuple[str, object]:
    """(container, what was saved in it)."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        cause = "a checkpoint is one file inside that folder" if isinstance(error, IsADirectoryError) else ""
        raise CheckpointError(
            "checkpoint", got=_reason(error), expected="a readable file", cause=cause
        ) from error
    if size == 0:
        raise _refusal("an empty file", "the download or the disk gave out; fetch it again")
    header = int.from_bytes(head[:8], "little")  # length of a safetensors header, at most 100 MB
    if head[8:9] == b"{" and header < 10**9:
        return "safetensors", _guarded(lambda: _load_safetensors(path), size)
    if head.startswith(b"PK\x03\x04"):
        _check_zip(path, size)
        return "torch zip", _guarded(lambda: _load_torch(path), size)
    if head.startswith(b"\x80"):
        _check_pickle(path)
        return "torch legacy pickle", _guarded(lambda: _load_torch(path), size)
    raise _foreign(head, size)


def _load_torch(path: Path) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # «pickle protocol 3»: read or refused just the same
        return torch.load(path, map_location="cpu", weights_only=True)


def _load_safetensors(path: Path) -> object:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise BackendError(
            "reading safetensors",
            got="no module named safetensors",
            expected="safetensors",
            cause="pip install 'edge-export[export]'",
        ) from error
    return load_file(path)


def _guarded(load: Callable[[], object], size: int) -> object:
    """What `load` returns; damaged bytes make the libraries raise nearly anything, all of it a refusal."""
    try:
        return load()
    except BackendError:
        raise
    except Exception as error:
        called = re.search(r"GLOBAL ([\w.]+)", str(error))
        if called:
            raise _refusal(
                f"a pickle that calls {called[1].rstrip('.')}",
                "it could run any code and was not opened; if it is a whole saved model, save its "
                "state_dict() where it was made",
            ) from error
        raise _refusal(
            f"{size} bytes that cannot be read ({type(error).__name__})",
            "the file is truncated or damaged (fetch it again), or its pickle is not as torch.save writes it",
        ) from error


def _check_zip(path: Path, size: int) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.partition("/")[2] for name in archive.namelist()}
            damaged = _damaged_entry(archive)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _refusal(
            f"{size} bytes of a zip archive without its end", "the file is truncated; fetch it again"
        ) from error
    if "constants.pkl" in names:
        raise _refusal("a TorchScript archive, a program", "save the module's state_dict() where it was made")
    if "data.pkl" not in names:
        raise _refusal("a zip archive without torch weights", "unpack it; the checkpoint may lie inside")
    if damaged:
        raise _refusal(f"{size} bytes, damaged: entry {damaged}", "fetch the file again")


def _damaged_entry(archive: zipfile.ZipFile) -> str:
    """The first entry whose bytes are not those of its checksum; "" if all are, or if none has a checksum."""
    if not any(entry.CRC for entry in archive.infolist()):
        return ""  # torch writes zeros when it is told not to compute them
    for entry in archive.infolist():
        try:
            with archive.open(entry) as file:
                while file.read(_BLOCK):
                    pass
        except Exception:  # damaged headers make zipfile raise nearly anything
            return entry.filename
    return ""


def _check_pickle(path: Path) -> None:
    """Refuse a pickle that calls something at once; torch's own begins with a pickled number.

    Its operations are listed, none is executed.
    """
    texts: list[str] = []
    with path.open("rb") as file:
        try:
            for operation, argument, _ in pickletools.genops(file):
                if operation.name in ("GLOBAL", "STACK_GLOBAL", "INST"):
                    called = ".".join(texts[-2:]) if argument is None else argument.replace(" ", ".")
                    break
                if isinstance(argument, str):
                    texts.append(argument)
            else:
                return
        except Exception:  # damaged bytes make pickletools raise nearly anything; reading will refuse them
            return
    raise _refusal(
        f"a plain pickle that calls {called}",
        "it holds code or objects, not tensors alone, and was not opened; save the state_dict() with "
        "torch.save where it was made",
    )


def _foreign(head: bytes, size: int) -> CheckpointError:
    """The refusal of a file that is no checkpoint at all."""
    if head.startswith(b"version https://git-lfs"):
        return _refusal("a Git LFS pointer, not the file itself", "run git lfs pull, or download the file")
    if head.lstrip()[:1] == b"<":
        return _refusal("a web page (HTML)", "the download ended on an error or a login page; fetch it again")
    printable = set(string.printable.encode())
    if set(head) <= printable:
        return _refusal("a text file", "is it the config, or a note beside the checkpoint?")
    return _refusal(f"{size} bytes beginning with {head[:4].hex(' ')}", "it is damaged or of another program")


def _refusal(got: str, cause: str = "") -> CheckpointError:
    expected = "a PyTorch checkpoint of tensors and plain containers, or safetensors"
    return CheckpointError("checkpoint", got=got, expected=expected, cause=cause)


def _reason(error: OSError) -> str:
    return "a folder" if isinstance(error, IsADirectoryError) else (error.strerror or str(error)).lower()


# ---- levels, prefixes, parts ------------------------------------------------------------------------------


def _unwrap(saved: object, notes: list[str]) -> State:
    """The state dict inside nested levels; notes each level."""
    if not isinstance(saved, Mapping):
        raise _refusal(f"a saved object of type {type(saved).__name__}", "save the module's state_dict()")
    for level in LEVELS:
        if isinstance(saved.get(level), Mapping):
            notes.append(f"level {level}")
            return _unwrap(saved[level], notes)
    both = [name for name in DISCRIMINATORS if isinstance(saved.get(name), Mapping)]
    if both:
        notes.append(f"levels {', '.join(both)}")
        saved = {f"{name}.{key}": tensor for name in both for key, tensor in saved[name].items()}
    if not saved:
        raise _refusal("no weights at all", "the state dict was empty when it was saved")
    for key, value in saved.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"entry {key!r}",
                got=f"type {type(value).__name__}",
                expected=f"tensors under names, bare or inside {', '.join(LEVELS)}",
            )
    return dict(saved)


def _select(state: State, notes: list[str]) -> State:
    """The state without prefixes; of a known larger net, the part that is one of ours."""
    state = _strip(state, notes)
    tops = {key.partition(".")[0] for key in state}
    if "face_decoder_blocks" in tops and "audio_encoder" in tops:
        notes.append("Wav2Lip generator: audio_encoder.* taken")
        return _part(state, "audio_encoder.")
    if "generator" in tops and tops <= {"generator", *DISCRIMINATORS}:
        notes.append("training state: generator.* taken")
        return _strip(_part(state, "generator."), notes)
    return state


def _strip(state: State, notes: list[str]) -> State:
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in state):
            notes.append(f"prefix {prefix}")
            return _strip(_part(state, prefix), notes)
    return state


def _part(state: State, prefix: str) -> State:
    return {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}


# ---- weights ----------------------------------------------------------------------------------------------


def _checked_dtypes(state: State) -> list[str]:
    """Names of the floating types got; refuses tensors without plain values on the CPU."""
    for key, tensor in state.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise CheckpointError(key, got=_kind(tensor), expected="a plain dense tensor")
    dtypes = sorted({_name(tensor.dtype) for tensor in state.values() if tensor.is_floating_point()})
    if not dtypes:
        found = ", ".join(sorted({_name(tensor.dtype) for tensor in state.values()}))
        raise CheckpointError(
            "weights",
            got=f"{found} alone",
            expected="floating-point weights",
            cause="quantised checkpoints cannot be read back; give the one they were made from",
        )
    return dtypes


def _kind(tensor: Tensor) -> str:
    if tensor.is_quantized:
        return f"a quantised tensor ({_name(tensor.dtype)})"
    return f"a tensor of layout {_name(tensor.layout)} on {tensor.device.type}"


def _name(torch_constant: object) -> str:
    return str(torch_constant).removeprefix("torch.")


def _single(tensor: Tensor) -> Tensor:
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    return tensor.detach().to(dtype).contiguous()


def _check_finite(state: State) -> None:
    for key, tensor in state.items():
        wrong = int((~torch.isfinite(tensor)).sum())
        if wrong:
            raise CheckpointError(
                key,
                got=f"{wrong} of {tensor.numel()} values NaN or infinite",
                expected="finite weights",
                cause="training diverged, or half precision overflowed when it was saved",
            )


def _fold(state: State, notes: list[str]) -> tuple[State, frozenset[str]]:
    """(state with plain weights, layers that had weight norm); notes the spelling."""
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


def _folded(state: State, plain: str, pair: tuple[str, str]) -> Tensor:
    """One weight in float64, so that its float32 rounding does not depend on the order of summation."""
    for key, other in (pair, pair[::-1]):
        if key not in state:
            raise CheckpointError(other, got=f"no {key}", expected="both halves of the weight norm")
    if plain in state:
        raise CheckpointError(plain, got=f"{pair[0]} as well", expected="a weight folded or normed, not both")
    magnitude, direction = (state[key].detach().double() for key in pair)
    if magnitude.numel() != len(direction) or direction.ndim < 2:
        raise CheckpointError(
            pair[0],
            got=f"shape {tuple(magnitude.shape)} for a direction of {tuple(direction.shape)}",
            expected="one magnitude for each row",
        )
    return direction * (magnitude.reshape(_rows(direction)) / _lengths(direction))


def _magnitude(weight: Tensor) -> Tensor:
    return _lengths(weight.double()).to(weight.dtype)


def _lengths(direction: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(direction.flatten(1), dim=1)
    return lengths.reshape(_rows(direction))


def _rows(direction: Tensor) -> tuple[int, ...]:
    return (len(direction), *[1] * (direction.ndim - 1))


# ---- strict loading ---------------------------------------------------------------------------------------


def _folded_key(key: str) -> str:
    for suffix in _NEW_NORM:
        key = key.replace(suffix, "weight")
    return key


def _under_one_name(state: State, wanted: Mapping[str, Tensor]) -> State:
    """The state with the name in front under which all wanted keys lie, if that makes any of them fit."""
    top = next(iter(wanted)).partition(".")[0]
    placed = {f"{top}.{key}": tensor for key, tensor in state.items()}
    return placed if any(key in wanted for key in placed) else state


def _differences(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Clauses on what is missing, unexpected, of another shape or of another type."""
    missing = [key for key in wanted if key not in state and not key.endswith(_OPTIONAL)]
    unexpected = sorted(key for key in state if key not in wanted)
    common = [key for key in wanted if key in state]
    reshaped = [
        f"{key} of shape {tuple(state[key].shape)} for {tuple(wanted[key].shape)}"
        for key in common
        if state[key].shape != wanted[key].shape
    ]
    retyped = [
        f"{key} of type {_name(state[key].dtype)}"
        for key in common
        if state[key].is_floating_point() != wanted[key].is_floating_point() and not key.endswith(_OPTIONAL)
    ]
    kinds = {"missing": missing, "unexpected": unexpected, "wrong shape": reshaped, "wrong type": retyped}
    return [f"{kind} {_several(names)}" for kind, names in kinds.items() if names]


def _several(names: list[str]) -> str:
    rest = len(names) - _NAMED
    listed = ", ".join(names[:_NAMED])
    return f"{listed} and {rest} more" if rest > 0 else listed
