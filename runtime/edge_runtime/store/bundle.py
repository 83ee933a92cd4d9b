"""The bundle, format ``edge-bundle/1``: a net for devices, its inputs and outputs, and reference arrays.

    BUNDLE/
      manifest.json                    everything below, and the hash of itself
      model.onnx  model.fp16.onnx      a file per artifact …
      model.plain.onnx                 … where a net has another form for processors, each form has its own …
      model.onnx.data                  … with others beside it that it refers to (weights above 2 GiB) …
      model.mlpackage/  model.aimodel/ … or a folder
      model.origins.json               files beside the artifacts that belong to the net (`Manifest.files`)
      reference/<case>/<tensor>.npy    inputs and outputs of the PyTorch net in float32
      tokenizer/…                      files that go with the net, where it has such

manifest.json is canonical JSON: UTF-8, sorted keys, indent 2, a newline at the end. Its entry ``sha256`` is
the hash of the same text without that entry. Files carry the hash of their bytes, folders that of
`edge_runtime.store.targets.sha256_tree`. So one changed byte anywhere is refused, and the file that holds it
is named. The hashes detect damage; they are not a signature against an attacker.

The dataclasses below are the format: the manifest's entries are their fields, and `open_bundle` checks their
annotations.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp.mel import MelConfig
from edge_runtime.errors import BundleError, ConfigError, EdgeError, InputError
from edge_runtime.store.dataclass_json import decode_fields, encode_fields, listed
from edge_runtime.store.reading import parse_json, read_array, read_bytes, regular_file
from edge_runtime.store.targets import files_below, sha256_file, sha256_tree

FORMAT = "edge-bundle/1"
MANIFEST = "manifest.json"
REFERENCE = "reference"

Array = NDArray[Any]
Target = Literal["onnx", "coreml", "coreai"]
# int8: weights alone (ONNX); palettes: weights as indices of 8 or 6 bits, arithmetic of fp16 (Core ML)
Precision = Literal["fp32", "fp16", "int8", "palette8", "palette6"]
Interface = Literal["fp32", "fp16"]  # types of an artifact's floating inputs and outputs
HALF_ARITHMETIC: tuple[Precision, ...] = ("fp16", "palette8", "palette6")
Form = Literal["cpu", "plain", "any"]

MOST_VALUES = 1 << 33  # of one tensor; more than fits into any machine that this is for
MOST_FRAMES = 1 << 20  # that one output frame depends on; samples from one to the next

# device → forms of an artifact, the one that it runs fastest first; any other device is as "gpu"
_PREFERRED: Mapping[str, tuple[Form, ...]] = {
    "cpu": ("cpu", "any", "plain"),
    "gpu": ("plain", "any", "cpu"),
}

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_ARTIFACT_NAME = re.compile(r"model[A-Za-z0-9_.-]*")
TOKENIZER = "tokenizer"  # folder of files that go with a text encoder
_CARRIED_NAME = re.compile(TOKENIZER + r"/[A-Za-z0-9_][A-Za-z0-9_.-]*")


# types of tensors → the types in Core ML packages, whose interfaces have no others
DTYPES: Mapping[str, str] = {
    "float32": "float32",
    "float16": "float32",
    "int32": "int32",
    "int64": "int32",
    "bool": "int32",
}


@dataclass(frozen=True)
class Tensor:
    """One input or output of a net."""

    name: str  # letters, digits, _ . - (it names files too)
    dtype: str  # one of `DTYPES`
    shape: tuple[int | str, ...]  # an axis of any length has a name, such as "frames"
    meaning: str
    unit: str

    def __post_init__(self) -> None:
        _check_name("name", self.name)
        if self.dtype not in DTYPES:
            raise ConfigError("dtype", got=self.dtype, expected=" or ".join(DTYPES))
        sizes = [axis for axis in self.shape if isinstance(axis, int)]
        if "" in self.shape or min(sizes, default=1) < 1 or math.prod(sizes) > MOST_VALUES:
            raise ConfigError(
                "shape",
                got=str(self.shape),
                expected=f"sizes of at least 1, {MOST_VALUES} values together at most, or names of axes",
            )


@dataclass(frozen=True)
class Lengths:
    """Lengths that an artifact takes on a named axis: all from `low` to `high`, or `only` some of them."""

    low: int = 1
    high: int | None = None  # None: no limit
    only: tuple[int, ...] = ()  # ascending; empty where every length is taken
    step: int = 1  # lengths are multiples of it

    def __post_init__(self) -> None:
        if not 1 <= self.step <= self.low:
            raise ConfigError("step", got=str(self.step), expected=f"1 to {self.low}, the lowest length")
        ends = (self.low, self.high) if self.high is not None else (self.low,)
        if min(ends) < 1 or list(ends) != sorted(ends) or ends[-1] > MOST_VALUES:
            raise ConfigError(
                "lengths", got=f"{self.low} to {self.high}", expected=f"1 ≤ low ≤ high ≤ {MOST_VALUES}"
            )
        if any(length % self.step for length in (*ends, *self.only)):
            raise ConfigError("lengths", got=f"step {self.step}", expected="lengths that are multiples of it")
        if self.only and (self.only[0], self.only[-1]) != (self.low, self.high):
            raise ConfigError(
                "lengths", got=f"only {self.only}", expected=f"{self.low} … {self.high}, ascending"
            )

    def admits(self, length: int) -> bool:
        """Whether it is one of them.

        >>> Lengths(32, 64, (32, 64)).admits(48)
        False
        """
        if self.only:
            return length in self.only
        high = self.high if self.high is not None else length
        return self.low <= length <= high and length % self.step == 0


@dataclass(frozen=True)
class DataFile:
    """A file beside an artifact that it refers to by name."""

    path: str  # its name in the bundle, as "model.onnx.data" or "tokenizer/vocab.json"
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        if not _CARRIED_NAME.fullmatch(self.path):
            _check_artifact_name(self.path)


@dataclass(frozen=True)
class Artifact:
    """The net in one target's format and one precision."""

    path: str  # its name in the bundle, as "model.fp16.onnx"
    target: Target
    precision: Precision
    sha256: str  # of the file, or of the sorted tree of a folder
    bytes: int  # size of the file, or of all files in the folder
    version: str  # as "opset 17, IR 8" or "iOS16, specification 7"
    axes: dict[str, Lengths]  # by the names of axes in the shapes of inputs
    note: str = ""  # anything else that a user of this artifact should know
    data: tuple[DataFile, ...] = ()  # files that it refers to: weights that do not fit into an ONNX file
    # parts of a float16 artifact that are float32, by the names of the net's modules
    float32_parts: tuple[str, ...] = ()
    # "cpu": arranged for processors; "plain": the net's own layers, for GPUs and runtimes with few operators;
    # "any": the net has one form for both, or the bundle is older than this entry
    form: Form = "any"
    io: Interface = "fp32"  # of float inputs and outputs in its file; "fp16" spares runtimes casts

    def __post_init__(self) -> None:
        _check_artifact_name(self.path)

    @property
    def kind(self) -> str:
        """Target, precision and, where there are several, form, as in sentences: "onnx fp32 plain"."""
        words = (self.target, self.precision, *((self.form,) if self.form != "any" else ()))
        return " ".join(words)

    @property
    def paths(self) -> tuple[str, ...]:
        """All names in the bundle that belong to it, its own first."""
        return (self.path, *(file.path for file in self.data))

    @property
    def total_bytes(self) -> int:
        """Size of all its files."""
        return self.bytes + sum(file.bytes for file in self.data)


@dataclass(frozen=True)
class Tolerance:
    """Limits for the differences between a backend's outputs and the reference arrays."""

    max_abs: float  # largest absolute difference, in the output's unit
    min_snr_db: float  # dB


@dataclass(frozen=True)
class Geometry:
    """How the frames of the net's inputs and outputs are related in time; None where this does not apply."""

    hop_length: int | None  # samples a frame
    receptive_field: int | None  # input frames that one output frame depends on
    context_frames: int | None  # input frames on each side that a chunk needs
    # where the sides differ: frames before and after a frame that its output depends on, and how many of the
    # latter are the overlap of the inverse STFT's windows
    context_before: int | None = None
    context_after: int | None = None
    overlap_after: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not 0 <= value <= MOST_FRAMES:
                raise ConfigError(field.name, got=str(value), expected=f"0 to {MOST_FRAMES}, or null")
        before, after = self.context_before, self.context_after
        if (before is None) != (after is None):
            got = f"({before}, {after})"
            raise ConfigError("context_before and context_after", got=got, expected="both, or neither")
        if before is not None and after is not None and max(before, after) != self.context_frames:
            raise ConfigError(
                "context_frames", got=str(self.context_frames), expected=f"the larger of {before} and {after}"
            )

    @property
    def sides(self) -> tuple[int, int] | None:
        """Frames of context before and after; None where the net states none."""
        if self.context_before is not None and self.context_after is not None:
            return self.context_before, self.context_after
        return None if self.context_frames is None else (self.context_frames, self.context_frames)


@dataclass(frozen=True)
class Source:
    """Where the weights came from."""

    file: str  # its name, "random" for weights from a seed, "none" for a net without weights
    sha256: str
    format: str  # as recognised; "random seed 7" for weights from a seed, "no weights"
    said: tuple[str, ...] = ()  # what was inferred from the checkpoint, and why


@dataclass(frozen=True)
class Manifest:
    """The contents of manifest.json."""

    net: str  # a name in edge_export.catalog
    config: dict[str, Any]  # the net's config dataclass, as JSON
    front_end: MelConfig | None  # makes the net's mel of audio: the one that the net was trained with
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    artifacts: tuple[Artifact, ...]
    source: Source
    tolerance: dict[str, Tolerance]  # by precision
    geometry: Geometry
    versions: dict[str, str]  # library → version that wrote the bundle
    reference: dict[str, dict[str, str]]  # case → file, as "mel.npy" → its SHA-256
    # others of the net's own: where operations come from, pictures, a tokenizer
    files: tuple[DataFile, ...] = ()
    optimised: dict[str, Any] | None = None  # how formats of layers were chosen: `edge-export optimise`

    def __post_init__(self) -> None:
        names = [tensor.name for tensor in (*self.inputs, *self.outputs)]
        _check_unique("inputs and outputs", names)
        _check_unique("artifacts", [item.kind for item in self.artifacts])
        paths = [path for item in self.artifacts for path in item.paths]
        _check_unique("artifacts", [*paths, *(file.path for file in self.files)])
        for item in self.artifacts:
            if item.precision not in self.tolerance:
                raise ConfigError("tolerance", got="none for " + item.precision, expected="one per precision")
        for case, hashes in self.reference.items():
            _check_name("reference", case)
            if set(hashes) != {f"{name}.npy" for name in names}:
                raise ConfigError(
                    f"reference/{case}",
                    got=listed(hashes),
                    expected=listed(f"{name}.npy" for name in names),
                )

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON values, without its hash."""
        return {"format": FORMAT} | encode_fields(self)

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> Self:
        """The opposite of `to_json`.

        Raises:
            BundleError: an entry is missing, unknown, or has a wrong type or value; names the entry.
        """
        manifest: Self = decode_fields(cls, {key: entries[key] for key in entries if key != "format"})
        return manifest

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write manifest.json, hash included, into a folder; the last file of a bundle to be written."""
        entries = self.to_json()
        type(self).from_json(json.loads(_canonical(entries)))  # raises for what could not be opened again
        path = Path(folder, MANIFEST)
        path.write_bytes(_canonical(entries | {"sha256": _self_hash(entries)}))
        return path

    def artifact(self, target: str, precision: str = "fp32", device: str = "cpu") -> Artifact:
        """The artifact of a target ("onnx", "coreml", "coreai") and a precision ("fp32", "fp16").

        Of several forms it is the one that the device runs fastest; of the forms that are there: a bundle
        with one form has it for every device.

        Raises:
            BundleError: the bundle holds none; the sentence lists what it holds.
        """
        forms = _PREFERRED.get(device, _PREFERRED["gpu"])
        fitting = [item for item in self.artifacts if (item.target, item.precision) == (target, precision)]
        if fitting:
            return min(fitting, key=lambda item: forms.index(item.form))
        raise BundleError(
            "artifacts",
            got=listed(item.kind for item in self.artifacts),
            expected=f"{target} {precision}",
            cause="export the net again with this target and precision",
        )


@dataclass(frozen=True)
class Bundle:
    """A bundle that was opened and checked."""

    path: Path
    manifest: Manifest

    def artifact(self, target: str, precision: str = "fp32", device: str = "cpu") -> Path:
        """Path of the artifact of a target and a precision for a device; BundleError if there is none."""
        try:
            return self.path / self.manifest.artifact(target, precision, device).path
        except BundleError as error:
            raise error.within(str(self.path)) from error

    @property
    def cases(self) -> tuple[str, ...]:
        """Names of the reference cases, sorted."""
        return tuple(sorted(self.manifest.reference))

    def reference(self, case: str) -> tuple[dict[str, Array], dict[str, Array]]:
        """The PyTorch net's inputs and outputs (batch, …) of a case, by tensor name; hashes are checked.

        Raises:
            BundleError: no such case, or a file that is damaged.
        """
        if case not in self.manifest.reference:
            raise BundleError(
                f"{self.path}: {REFERENCE}", got=f"no case {case}", expected=f"one of {listed(self.cases)}"
            )
        return (
            {tensor.name: self._tensor(case, tensor) for tensor in self.manifest.inputs},
            {tensor.name: self._tensor(case, tensor) for tensor in self.manifest.outputs},
        )

    def _tensor(self, case: str, tensor: Tensor) -> Array:
        file = f"{tensor.name}.npy"
        path = self.path / REFERENCE / case / file
        _check_hash(path, self.manifest.reference[case][file])
        return read_array(path, refusal=BundleError)


def open_bundle(path: str | os.PathLike[str], *, verify: bool = True) -> Bundle:
    """Open a bundle and check it before anything in it runs.

    Args:
        path: the bundle's folder.
        verify: read every file: hashes, and the shapes of the reference arrays. Without it only the manifest
            is checked, and that the files are there in the right sizes.

    Raises:
        BundleError: not a bundle, of another format, incomplete, or damaged; names the file.
    """
    folder = Path(path)
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise BundleError(
            str(path), got=got, expected="a bundle's folder", cause="edge-export export writes one"
        )
    try:
        bundle = Bundle(folder, _read_manifest(folder / MANIFEST))
        _check_files(bundle)
        for item in bundle.manifest.artifacts:
            files: tuple[Artifact | DataFile, ...] = (item, *item.data)
            for file in files:
                _check_artifact(folder / file.path, file, verify)
        for file in bundle.manifest.files:
            _check_artifact(folder / file.path, file, verify)
        if verify:
            for case in bundle.cases:
                _check_case(bundle, case)
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) else str(path)
        raise BundleError(place, got=f"«{error.strerror}»", expected="a file that can be read") from error
    return bundle


def is_bundle(folder: Path) -> bool:
    """Whether a folder holds a bundle, damaged or not, and nothing else, so that it may be overwritten."""
    try:
        manifest = read_bytes(folder / MANIFEST)
        names = {name.split("/")[0] for name in files_below(folder)}
    except (OSError, EdgeError):
        return False
    own = (MANIFEST, REFERENCE, TOKENIZER)
    known = {name for name in names if name in own or _ARTIFACT_NAME.fullmatch(name)}
    return b'"edge-bundle/' in manifest and names == known


def describe_artifact(
    folder: str | os.PathLike[str],
    path: str,
    *,
    target: Target,
    precision: Precision,
    version: str,
    axes: Mapping[str, Lengths],
    note: str = "",
    data: Sequence[str] = (),
    float32_parts: Sequence[str] = (),
    form: Form = "any",
    io: Interface = "fp32",
) -> Artifact:
    """The manifest's entry for an artifact, a file or folder, in a bundle's folder.

    ``data``: names of the files beside it that it refers to.
    """
    place = Path(folder, path)
    return Artifact(
        path=path,
        target=target,
        precision=precision,
        sha256=_hash(place),
        bytes=_size(place),
        version=version,
        axes=dict(axes),
        note=note,
        data=tuple(describe_file(folder, name) for name in data),
        float32_parts=tuple(float32_parts),
        form=form,
        io=io,
    )


def describe_file(folder: str | os.PathLike[str], path: str) -> DataFile:
    """The entry in `Manifest.files` for a file in a bundle's folder."""
    return DataFile(path, _hash(Path(folder, path)), _size(Path(folder, path)))


def carry_files(
    folder: str | os.PathLike[str], files: Mapping[str, str | os.PathLike[str]]
) -> tuple[DataFile, ...]:
    """Copy files that go with a net into a bundle's folder; returns the manifest's entries.

    ``files``: name in the bundle, as "tokenizer/vocab.json" → the file.
    """
    for name, file in files.items():
        place = Path(folder, name)
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(read_bytes(file, "a file that goes with the net", BundleError))
    return tuple(describe_file(folder, name) for name in sorted(files))


def write_reference(folder: str | os.PathLike[str], case: str, arrays: Mapping[str, Array]) -> dict[str, str]:
    """Write a case's arrays (batch, …), by tensor name, into a bundle's folder; returns file → SHA-256."""
    place = Path(folder, REFERENCE, case)
    place.mkdir(parents=True)
    hashes = {}
    for name, array in sorted(arrays.items()):
        file = place / f"{name}.npy"
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        hashes[file.name] = sha256_file(file)
    return hashes


def check_inputs(specs: Sequence[Tensor], arrays: Mapping[str, Array]) -> None:
    """Check arrays against their specifications, before they are given to a backend.

    Checked are names, dtypes, numbers of axes, fixed axes, and that an axis name has one length everywhere.

    Args:
        specs: the net's inputs.
        arrays: (batch, …) by name.

    Raises:
        InputError: names the array, what it is and what the net takes.
    """
    expected = {spec.name for spec in specs}
    if set(arrays) != expected:
        raise InputError("inputs", got=listed(arrays), expected=listed(expected))
    lengths: dict[str, tuple[int, str]] = {}
    for spec in specs:
        array = np.asarray(arrays[spec.name])
        if array.dtype != np.dtype(spec.dtype):
            raise InputError(spec.name, got=str(array.dtype), expected=spec.dtype)
        if array.ndim != len(spec.shape):
            raise InputError(
                spec.name,
                got=f"shape {array.shape}, {array.ndim} axes",
                expected=f"{_shape(spec)}, {len(spec.shape)} axes",
                cause="is the batch axis missing?" if array.ndim == len(spec.shape) - 1 else "",
            )
        _check_axes(spec, array.shape, lengths)


def fits_lengths(
    specs: Sequence[Tensor], lengths: Mapping[str, Lengths], arrays: Mapping[str, Array]
) -> bool:
    """Whether every named axis of the arrays (batch, …) has a length that an artifact takes."""
    return all(
        lengths[axis].admits(length)
        for spec in specs
        for axis, length in zip(spec.shape, arrays[spec.name].shape, strict=True)
        if isinstance(axis, str) and axis in lengths
    )


def _check_axes(spec: Tensor, shape: tuple[int, ...], lengths: dict[str, tuple[int, str]]) -> None:
    for index, (axis, length) in enumerate(zip(spec.shape, shape, strict=True)):
        if isinstance(axis, int) and length != axis:
            raise InputError(
                spec.name,
                got=f"shape {shape}",
                expected=f"{_shape(spec)}, {axis} on axis {index}",
                cause="are two axes swapped?" if axis in shape else "",
            )
        if length < 1:
            raise InputError(spec.name, got=f"shape {shape}", expected=f"{_shape(spec)}, no axis empty")
        if isinstance(axis, str):
            known, other = lengths.setdefault(axis, (length, spec.name))
            if length != known:
                raise InputError(
                    spec.name,
                    got=f"{length} {axis} (axis {index})",
                    expected=f"{known} {axis}, as many as {other} has",
                )


def _shape(spec: Tensor) -> str:
    return f"({', '.join(map(str, spec.shape))})"


def _canonical(entries: Mapping[str, Any]) -> bytes:
    text = json.dumps(entries, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def _self_hash(entries: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in entries.items() if key != "sha256"}
    return hashlib.sha256(_canonical(rest)).hexdigest()


def _read_manifest(path: Path) -> Manifest:
    if not path.exists():
        raise BundleError(
            str(path),
            got="no such file",
            expected="the manifest of a bundle",
            cause="is this a bundle's folder? edge-export export writes one",
        )
    raw = read_bytes(path, "the manifest of a bundle", BundleError)
    try:
        entries = parse_json(raw.decode(), str(path), refusal=BundleError)
        _check_format(path, entries)
        whole = entries.get("sha256") == _self_hash(entries) and _canonical(entries) == raw
    except (BundleError, UnicodeError) as error:
        if isinstance(error, BundleError) and error.cause:
            raise
        got = error.got if isinstance(error, BundleError) else "bytes that are not UTF-8 text"
        cause = "the file is damaged" if raw.endswith(b"\n}\n") else "the file is truncated"
        raise BundleError(str(path), got=got, expected="JSON", cause=cause) from error
    if not whole:
        raise BundleError(
            str(path),
            got="contents that differ from their own hash",
            expected="the file as it was written",
            cause="the file is damaged, or was edited",
        )
    try:
        return Manifest.from_json({key: value for key, value in entries.items() if key != "sha256"})
    except BundleError as error:
        raise error.within(str(path)) from error


def _check_format(path: Path, entries: Any) -> None:
    found = entries.get("format") if isinstance(entries, dict) else None
    if found == FORMAT:
        return
    if isinstance(found, str) and found.startswith("edge-bundle/"):
        cause = "another version of edge-export wrote it: update this one, or export the net again"
    else:
        cause = "is this a bundle's folder? edge-export export writes one"
    raise BundleError(
        str(path),
        got=f"format {found}" if isinstance(found, str) else "no format",
        expected=f"{FORMAT}, which is what this version reads",
        cause=cause,
    )


def _check_artifact_name(path: str) -> None:
    if not _ARTIFACT_NAME.fullmatch(path):
        raise ConfigError("path", got=repr(path), expected="a name in the bundle, such as model.fp16.onnx")


def _check_name(what: str, name: str) -> None:
    if not _FILE_NAME.fullmatch(name):
        raise ConfigError(what, got=repr(name), expected="a name of letters, digits and _ . -")


def _check_unique(what: str, names: Sequence[str]) -> None:
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigError(what, got=f"{listed(twice)} twice", expected="each once")


def _hash(path: Path) -> str:
    return sha256_tree(path) if path.is_dir() else sha256_file(path)


def _size(path: Path) -> int:
    if path.is_dir():
        return sum((path / name).stat().st_size for name in files_below(path))
    return path.stat().st_size


def _check_files(bundle: Bundle) -> None:
    """Every file that the manifest lists is there, and no other."""
    references = [
        f"{REFERENCE}/{case}/{name}" for case, files in bundle.manifest.reference.items() for name in files
    ]
    artifacts = [path for item in bundle.manifest.artifacts for path in item.paths]
    files = [file.path for file in bundle.manifest.files]
    for name in (*artifacts, *files, *references):
        if not (bundle.path / name).exists():
            raise BundleError(
                str(bundle.path / name),
                got="no such file",
                expected="a file that the manifest lists",
                cause="the bundle was copied or downloaded only in part",
            )
    single = {MANIFEST, *references, *artifacts, *files}
    for name in files_below(bundle.path):
        regular_file(bundle.path / name, "a file of the bundle", BundleError)
        if name not in single and not any(PurePosixPath(name).is_relative_to(item) for item in artifacts):
            raise BundleError(
                str(bundle.path / name),
                got="a file that the manifest does not list",
                expected="only the bundle's own files",
                cause="move it elsewhere",
            )


def _check_artifact(path: Path, item: Artifact | DataFile, verify: bool) -> None:
    size = _size(path)
    if size != item.bytes:
        raise BundleError(
            str(path),
            got=f"{size} bytes",
            expected=f"{item.bytes} bytes",
            cause="it was copied or downloaded only in part" if size < item.bytes else "it was replaced",
        )
    if verify:
        _check_hash(path, item.sha256)


def _check_hash(path: Path, expected: str) -> None:
    got = _hash(path)
    if got != expected:
        raise BundleError(
            str(path),
            got=f"SHA-256 {got[:12]}…",
            expected=f"{expected[:12]}…",
            cause="it is damaged, or was replaced",
        )


def _check_case(bundle: Bundle, case: str) -> None:
    inputs, outputs = bundle.reference(case)
    specs = (*bundle.manifest.inputs, *bundle.manifest.outputs)
    try:
        check_inputs(specs, inputs | outputs)
    except InputError as error:
        raise BundleError(
            f"{bundle.path / REFERENCE / case}: {error.what}",
            got=error.got,
            expected=error.expected,
            cause=error.cause,
        ) from error
