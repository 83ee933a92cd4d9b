"""Containers of weights → what was saved in them, its tensors unread; told by content, never by suffix.

    torch zip             a zip archive with `data.pkl` and one entry a storage
    torch legacy pickle   before 1.6: four pickles, then the storages one after another
    pickle                Python's own, in which each storage is a little file of the former kind
    safetensors           read by its library; several files under an `….index.json`
    NeMo archive          a tar, compressed or not, of `model_config.yaml` and a torch zip

Only regular files are opened. Every entry of a zip must have the CRC-32 that is written beside it, which
torch itself does not check; a file saved under `set_crc32_options(False)` has zero in all of them and is
taken as it is, as are the containers without checksums. What an archive would unpack to is bounded by its
own size.
"""

from __future__ import annotations

import io
import re
import string
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import torch

from edge_runtime.errors import BackendError, CheckpointError, EdgeError
from edge_runtime.store.reading import open_regular, parse_json
from edge_training.weights.pickles import PickleError, Storage, Stored, read_pickle

BLOCK = 1 << 20  # bytes read at once
MAGIC = 0x1950A86A20F9469CFC6C  # the first of a legacy file's pickles
# weights hardly compress: what unpacks to more than this many times the file is no archive of them
MOST_UNPACKED, FREE = 8, 1 << 24
MOST_CONFIG = 1 << 20  # bytes of a configuration inside an archive
MOST_MEMBERS = 10_000
MOST_SHARDS = 1000
T = TypeVar("T")
# beginnings of what weights are exported to
_EXPORTED = (
    (rb"\x08[\x01-\x14]\x12.[A-Za-z]", "an ONNX file"),
    (rb"GGUF", "a GGUF file"),
    (rb"....TFL3", "a TensorFlow Lite file"),
)
_INDEX = re.compile(rb"\s*\{")


@dataclass(frozen=True)
class Opened:
    """What a file of weights holds.

    Args:
        container: its name, for the format.
        saved: the object that was saved, of dicts, lists, scalars, `Stored` tensors and stand-ins.
        size: bytes on the disk, of all files together.
        files: all of them.
        config: text of a configuration that lies in the archive, by name.
    """

    container: str
    saved: object
    size: int
    files: tuple[Path, ...]
    config: Mapping[str, str] = field(default_factory=dict)


class Kept:
    """A file that stays open as long as a tensor may be read from it, and is closed then."""

    def __init__(self, file: BinaryIO, outer: Kept | None = None) -> None:
        self.file = file
        self.outer = outer  # the archive that it lies in
        weakref.finalize(self, file.close)


def open_weights(path: Path) -> Opened:
    """Open a file of weights; raises CheckpointError for one that is none, is damaged or hostile."""
    if path.is_dir():
        cause = "a checkpoint is one file inside that folder; of several, the one that ends in .index.json"
        raise CheckpointError("checkpoint", got="a folder", expected="a readable file", cause=cause)
    kept = Kept(open_regular(path, "a readable file", CheckpointError, what="checkpoint"))
    head = kept.file.read(512)
    size = kept.file.seek(0, io.SEEK_END)
    kept.file.seek(0)
    if size == 0:
        raise refusal("an empty file", "the download was interrupted or the disk was full; fetch it again")
    header = int.from_bytes(head[:8], "little")  # length of a safetensors header, at most 100 MB
    if head[8:9] == b"{" and header < 10**9:
        return Opened("safetensors", _guarded(lambda: _safetensors(path), size), size, (path,))
    if _INDEX.match(head) and path.name.endswith(".index.json"):
        return _sharded(path, kept.file)
    if head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar":
        return _guarded(lambda: _archive(path, kept, size), size)
    container, saved = _of_torch(kept, head, size)
    return Opened(container, saved, size, (path,))


def refusal(got: str, cause: str = "") -> CheckpointError:
    """The refusal of a whole file."""
    expected = "a PyTorch checkpoint of tensors and plain containers, or safetensors"
    return CheckpointError("checkpoint", got=got, expected=expected, cause=cause)


def _of_torch(kept: Kept, head: bytes, size: int) -> tuple[str, object]:
    """(container, what was saved in it)."""
    if head.startswith(b"PK\x03\x04"):
        return "torch zip", _guarded(lambda: _zip(kept, size), size)
    if head.startswith(b"\x80"):
        return _guarded(lambda: _pickles(kept, size), size)
    raise _foreign(head, size)


def _guarded(load: Callable[[], T], size: int) -> T:
    """What `load` returns; damaged bytes make the readers raise nearly anything, all of it a refusal."""
    try:
        return load()
    except EdgeError:
        raise
    except PickleError as error:
        if error.called:
            raise refusal(
                f"a pickle that calls {error.called}",
                "it could run any code; none of it was run, and reading stopped there",
            ) from error
        raise _unreadable(size, f"its pickle holds {error}") from error
    except Exception as error:
        raise _unreadable(size, type(error).__name__) from error


def _unreadable(size: int, why: str) -> CheckpointError:
    return refusal(
        f"{size} bytes that cannot be read ({why})",
        "the file is truncated or damaged (fetch it again), or its pickle is not as torch.save writes it",
    )


def _foreign(head: bytes, size: int) -> CheckpointError:
    """The refusal of a file that is no checkpoint at all."""
    if head.startswith(b"version https://git-lfs"):
        return refusal("a Git LFS pointer, not the file itself", "run git lfs pull, or download the file")
    if head.lstrip()[:1] == b"<":
        return refusal("a web page (HTML)", "the download ended on an error or a login page; fetch it again")
    if other := next((form for magic, form in _EXPORTED if re.match(magic, head, re.DOTALL)), ""):
        return refusal(other, "it was made from a checkpoint; give that one")
    if head.startswith(b"\x89HDF"):
        return refusal("an HDF5 file", "weights of Keras and statistics lie in such; give the torch file")
    if set(head) <= set(string.printable.encode()):
        return refusal("a text file", "is it the config, or a note beside the checkpoint?")
    return refusal(f"{size} bytes beginning with {head[:4].hex(' ')}", "it is damaged or of another program")


# ---- torch's zip ------------------------------------------------------------------------------------------


@dataclass
class _ZipEntries:
    """The storages of a torch zip."""

    kept: Kept
    archive: zipfile.ZipFile
    root: str

    def read(self, storage: Storage, first: int, count: int) -> bytearray:
        return self.entry(f"data/{storage.key}", first, count)

    def entry(self, name: str, first: int = 0, count: int | None = None) -> bytearray:
        """Bytes of an entry, as they lie in the file: checksums are compared once, in the beginning."""
        entry = self.archive.getinfo(self.root + name)
        count = entry.file_size - first if count is None else count
        if first + count > entry.file_size:
            raise EOFError(entry.filename)
        if entry.compress_type != zipfile.ZIP_STORED:
            return bytearray(memoryview(self.archive.read(entry))[first : first + count])
        self.kept.file.seek(entry.header_offset)
        local = self.kept.file.read(30)
        names = int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
        return _exactly(self.kept.file, entry.header_offset + 30 + names + first, count)


def _zip(kept: Kept, size: int) -> object:
    try:
        archive = zipfile.ZipFile(kept.file)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise refusal(
            f"{size} bytes of a zip archive without its end", "the file is truncated; fetch it again"
        ) from error
    names = {name.partition("/")[2]: name for name in reversed(archive.namelist())}
    if "constants.pkl" in names:
        raise refusal("a TorchScript archive, a program", "save the module's state_dict() where it was made")
    if any(name.endswith(".npy") for name in archive.namelist()):
        raise refusal("an .npz archive of numpy's arrays", "torch.save({name: torch.from_numpy(array), …})")
    if "data.pkl" not in names:
        raise refusal("a zip archive without torch weights", "unpack it; the checkpoint may lie inside")
    unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > MOST_UNPACKED * size + FREE:
        raise refusal(
            f"{size} bytes that unpack to {unpacked}", "torch stores weights as they are; this is a bomb"
        )
    if damaged := _damaged_entry(archive):
        raise refusal(f"{size} bytes, damaged: entry {damaged}", "fetch the file again")
    entries = _ZipEntries(kept, archive, names["data.pkl"].removesuffix("data.pkl"))
    if "byteorder" in names and entries.entry("byteorder").strip() == b"big":
        raise refusal("weights of a big-endian machine", "save them again on a little-endian one")
    return read_pickle(io.BytesIO(entries.entry("data.pkl")), entries, inner=_inner)


def _damaged_entry(archive: zipfile.ZipFile) -> str:
    """The first entry whose bytes are not those of its checksum; "" if all are, or if none has a checksum."""
    if not any(entry.CRC for entry in archive.infolist()):
        return ""  # torch writes zeros when it is told not to compute them
    for entry in archive.infolist():
        try:
            with archive.open(entry) as file:
                while file.read(BLOCK):
                    pass
        except Exception:  # damaged headers make zipfile raise nearly anything
            return entry.filename
    return ""


def _exactly(file: BinaryIO, place: int, count: int) -> bytearray:
    """`count` bytes of a file; a bytearray, for torch wants memory that may be written."""
    end = file.seek(0, io.SEEK_END)
    if place + count > end:  # before anything is allocated
        raise EOFError(f"{end} bytes")
    file.seek(place)
    content = bytearray(count)
    if cast(io.BufferedReader, file).readinto(content) != count:
        raise EOFError(f"{end} bytes")
    return content


# ---- pickles ----------------------------------------------------------------------------------------------


@dataclass
class _Run:
    """The storages of a legacy file, one after another."""

    kept: Kept
    places: dict[str, tuple[int, int]] = field(default_factory=dict)  # key → first byte, bytes

    def read(self, storage: Storage, first: int, count: int) -> bytearray:
        place, length = self.places[storage.key]
        if first + count > length:
            raise EOFError(storage.key)
        return _exactly(self.kept.file, place + first, count)

    def find(self, keys: Any, storages: Mapping[str, Storage]) -> None:
        """Where each storage begins: after eight bytes that count its elements."""
        file = self.kept.file
        for key in keys:
            count = int.from_bytes(_exactly(file, file.tell(), 8), "little")
            storage = storages[str(key)]
            length = count * (1 if storage.dtype is None else storage.dtype.itemsize)
            self.places[storage.key] = file.tell(), length
            if file.seek(length, io.SEEK_CUR) > file.seek(0, io.SEEK_END):
                raise EOFError(storage.key)
            file.seek(sum(self.places[storage.key]))


def _pickles(kept: Kept, size: int) -> tuple[str, object]:
    """(container, what was saved): torch's legacy file, or one pickle of Python's."""
    first = read_pickle(kept.file, inner=_inner)
    if first != MAGIC:
        return "pickle", first
    return "torch legacy pickle", _legacy(kept, size)


def _legacy(kept: Kept, size: int) -> object:
    """What follows the magic number: the format's version, the machine, the object, keys, storages."""
    file = kept.file
    version, machine = read_pickle(file), read_pickle(file)
    if version != 1001 or not isinstance(machine, dict) or not machine.get("little_endian", True):
        raise _unreadable(size, "not as torch writes it on a little-endian machine")
    run, storages = _Run(kept), dict[str, Storage]()
    saved = read_pickle(file, run, storages=storages)
    run.find(read_pickle(file), storages)
    return saved


def _inner(content: bytes) -> object:
    """A storage out of a little legacy file inside a plain pickle."""
    file = io.BytesIO(content)
    if read_pickle(file) != MAGIC:
        raise PickleError("a storage that is no file of torch's")
    return _legacy(Kept(file), len(content))


# ---- safetensors ------------------------------------------------------------------------------------------

# as safetensors names them; others are not weights
_SAFE_TYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


def _safetensors(path: Path) -> dict[str, Stored]:
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise BackendError(
            "reading safetensors",
            got="no module named safetensors",
            expected="safetensors",
            cause="pip install 'edge-export[export]'",
        ) from error
    file: Any = safe_open(path, framework="pt")

    def stored(key: str) -> Stored:
        outline = file.get_slice(key)
        dtype = _SAFE_TYPES.get(outline.get_dtype())
        kind = "" if dtype else f"a tensor of type {outline.get_dtype()}"
        return Stored(tuple(outline.get_shape()), dtype or torch.uint8, lambda: file.get_tensor(key), kind)

    return {key: stored(key) for key in file.keys()}  # noqa: SIM118  it is no mapping


def _sharded(path: Path, file: BinaryIO) -> Opened:
    """All tensors that an index names, from the files beside it."""
    text = file.read(MOST_CONFIG * 16).decode("utf-8", "replace")
    index = parse_json(text, str(path), "a JSON object { … }", CheckpointError)
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise refusal("an index without weight_map", "it names the file of each tensor in transformers' form")
    names = sorted(set(places.values()))
    if len(names) > MOST_SHARDS or any(Path(name).name != name or name in ("", ".", "..") for name in names):
        raise refusal("an index of files elsewhere", "an index may only name files in its own folder")
    shards = {name: _shard(path.with_name(name)) for name in names}
    saved = {}
    for key, name in places.items():
        held = shards[name].saved
        if not isinstance(held, dict) or key not in held:
            raise refusal(
                f"an index that seeks {key} in {name}", "a file of another checkpoint; fetch it again"
            )
        saved[key] = held[key]
    container = f"{len(names)} files of {next(iter(shards.values())).container}" if names else "an index"
    return Opened(
        container,
        saved,
        sum(shard.size for shard in shards.values()),
        (path, *(path.with_name(name) for name in names)),
    )


def _shard(path: Path) -> Opened:
    try:
        if path.name.endswith(".index.json"):
            raise refusal("an index in an index")
        return open_weights(path)
    except CheckpointError as error:
        raise error.within(path.name) from error.__cause__


# ---- NeMo's archives --------------------------------------------------------------------------------------


def _archive(path: Path, kept: Kept, size: int) -> Opened:
    """A `.nemo`: tar, plain or gzipped, of a torch file and its configuration."""
    if kept.file.read(2) == b"\x1f\x8b":
        kept = _unzipped(kept.file, size)
    kept.file.seek(0)
    head = kept.file.read(512)
    kept.file.seek(0)
    if head[257:262] != b"ustar":  # a single file, compressed
        unpacked = kept.file.seek(0, io.SEEK_END)
        kept.file.seek(0)
        container, saved = _of_torch(kept, head, unpacked)
        return Opened(f"gzip, {container}", saved, size, (path,))
    weights, configs = None, dict[str, str]()
    archive = tarfile.open(fileobj=kept.file, mode="r:")  # noqa: SIM115  `kept` closes the file
    for count, member in enumerate(archive):
        name = Path(member.name).name
        if count > MOST_MEMBERS:
            raise refusal("an archive of too many files")
        if not member.isreg():
            continue
        if name.endswith((".ckpt", ".pt", ".pth")):
            weights = member
        elif name.endswith((".yaml", ".yml")) and member.size <= MOST_CONFIG:
            part = archive.extractfile(member)
            configs[name] = part.read().decode("utf-8", "replace") if part else ""
    if weights is None:
        raise refusal("a tar archive without weights", "unpack it; the checkpoint may lie inside")
    inside = cast(BinaryIO, archive.extractfile(weights))
    head = inside.read(512)
    inside.seek(0)
    container, saved = _of_torch(Kept(inside, kept), head, weights.size)
    return Opened(f"archive, {container}", saved, size, (path,), configs)


def _unzipped(file: BinaryIO, size: int) -> Kept:
    """The content of a gzip, in a file without a name; as much as weights may unpack to."""
    file.seek(0)
    plain = Kept(cast(BinaryIO, tempfile.TemporaryFile()))  # noqa: SIM115  it closes it
    engine, left = zlib.decompressobj(31), MOST_UNPACKED * size + FREE
    while block := file.read(BLOCK):
        while block:
            part = engine.decompress(block, BLOCK)
            left -= len(part)
            if left < 0:
                raise refusal(
                    f"{size} bytes that unpack to far more", "weights hardly compress; this is a bomb"
                )
            plain.file.write(part)
            block = engine.unconsumed_tail
    return plain
