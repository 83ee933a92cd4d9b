"""Damaged, lying and hostile files of every kind that a user may give, by number: case N is always the same.

A kind is a good file, a way to spoil it, and the reader that meets it. Files are spoilt blindly (bits, pieces
cut out, put twice, cut off), with the numbers that break readers (0, −1, 2³¹, 2³², 2⁶³), and by structure:
JSON gets values of other types, deep nests, endless numbers; .npy headers get shapes and types nobody has.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from safetensors.torch import save as save_safetensors
from tests import small_diffusion, small_nets
from tests.runtime.store import test_bundle

from edge_export.proof.reference import check_reference
from edge_export.run import run
from edge_export.train import parse_settings
from edge_runtime.dsp.mel import PRESETS, MelConfig
from edge_runtime.media.audio import read_audio
from edge_runtime.media.masks import mask_video, parse_mask
from edge_runtime.media.pictures import write_png
from edge_runtime.media.png import read_png
from edge_runtime.pipelines.image_speech.batch import read_embeddings
from edge_runtime.pipelines.image_speech.tokenizer import ClipTokenizer
from edge_runtime.store import bundle as bundles
from edge_runtime.store.scaler import read_scaler
from edge_training.mri_speech.mri_acoustic import MriAcousticConfig
from edge_training.vocoder.hifigan import HifiGanConfig
from edge_training.vocoder.hifigan_recipe import HifiGanFit
from edge_training.weights.reading import read_checkpoint, read_config

Reader = Callable[[Path], object]
Spoil = Callable[[bytes, random.Random], bytes]

NUMBERS = (
    0,
    1,
    0x7F,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    0x7FFFFFFFFFFFFFFF,
    (1 << 64) - 1,
)
EVIL: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 10**10, 2**31, 2**32, 2**63, 10**30, 0.5, -0.0, 1e-300, 1e308),
    *("", "x", "a\nb\x1b[31m", "k" * 100_000, "../../x", "/etc/passwd", "caf\udce9", "∞", "null"),
    *([], {}, [[]], [1, 2, 3], {"a": 1}, [None], [1e308, -1e308], [[1, 2], [3, 4]], list(range(100))),
)
TEXTS = (
    "NaN",
    "Infinity",
    "1e999",
    "9" * 5000,
    "[" * 5000,
    "-",
    '"\\ud800"',
    "{",
    "1" * 30,
    '{"a":' * 300,
    "\0",
)
SHAPES = (
    "(3, 1000000, 1000000)",
    "(True,)",
    "(-1,)",
    f"({10**31},)",
    "()",
    "(0,)",
    "(0, 9)",
    "3",
    "'a'",
    "(2,",
    "None",
)
TYPES = (
    "'<f8'",
    "'|O'",
    "'<U9'",
    "'<M8[s]'",
    "'V9'",
    "[('a', '<f4')]",
    "'>i2'",
    "'<c8'",
    "'?'",
    "object",
    "'f4, f4'",
)


@dataclass(frozen=True)
class Kind:
    """One kind of file."""

    name: str
    suffix: str
    good: bytes
    spoil: Spoil
    read: Reader


@dataclass(frozen=True)
class Case:
    """One spoilt file."""

    number: int
    kind: Kind
    content: bytes


def make(number: int, kinds: list[Kind]) -> Case:
    """Case `number` of these kinds, which take turns."""
    draw = random.Random(number)
    kind = kinds[number % len(kinds)]
    content = kind.good
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        content = draw.choice((kind.spoil, kind.spoil, spoil_bytes))(content, draw)
    return Case(number, kind, content)


# spoiling --------------------------------------------------------------------------------------------------


def spoil_bytes(content: bytes, draw: random.Random) -> bytes:
    """Bits, pieces and numbers, anywhere, more often near the begin."""
    data = bytearray(content)
    if not data:
        return bytes(draw.randrange(256) for _ in range(draw.randrange(40)))
    place = draw.randrange(min(len(data), draw.choice((16, 64, 512, len(data)))))
    match draw.randrange(7):
        case 0:
            data[place] ^= 1 << draw.randrange(8)
        case 1:
            del data[draw.randrange(len(data) + 1) :]
        case 2:
            width = draw.choice((1, 2, 4, 8))
            number = draw.choice(NUMBERS) & ((1 << 8 * width) - 1)
            data[place : place + width] = number.to_bytes(width, draw.choice(("little", "big")))
        case 3:
            del data[place : place + draw.randrange(1, 64)]
        case 4:
            data[place:place] = data[place : place + draw.randrange(1, 64)]
        case 5:
            data[place : place + 8] = bytes(draw.randrange(256) for _ in range(8))
        case _:
            data += bytes(draw.randrange(1, 200))
    return bytes(data)


def spoil_json(content: bytes, draw: random.Random) -> bytes:
    """One value, key or piece of text becomes another."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return spoil_bytes(content, draw)
    if draw.random() < 0.2:
        text = content.decode("utf-8", "replace")
        at = draw.randrange(len(text) + 1)
        return (text[:at] + draw.choice(TEXTS) + text[at:]).encode("utf-8", "surrogatepass")
    boxes = [box for box in _boxes(value) if box]
    if not boxes:
        return json.dumps(draw.choice(EVIL)).encode()
    box = draw.choice(boxes)
    place = draw.choice(list(box)) if isinstance(box, dict) else draw.randrange(len(box))
    match draw.randrange(4):
        case 0:
            del box[place]
        case 1 if isinstance(box, dict):
            box[draw.choice(("", "x", "k" * 5000, "a\nb", "steps", "n_fft"))] = draw.choice(EVIL)
        case _:
            box[place] = draw.choice(EVIL)
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=draw.random() < 0.5)
    return text.encode("utf-8", "surrogatepass")


def _boxes(value: Any) -> list[Any]:
    inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return ([value] if isinstance(value, (dict, list)) else []) + [
        box for item in inside for box in _boxes(item)
    ]


def spoil_manifest(content: bytes, draw: random.Random) -> bytes:
    """As JSON, and sealed again: another program may have written it."""
    spoilt = spoil_json(content, draw)
    try:
        entries = json.loads(spoilt)
        entries["sha256"] = bundles._self_hash(entries)
        return bundles._canonical(entries)
    except (ValueError, TypeError, RecursionError):
        return spoilt


def spoil_array(content: bytes, draw: random.Random) -> bytes:
    """The header of a .npy file says something else."""
    shape = draw.choice(SHAPES) if draw.random() < 0.6 else "(5, 7)"
    order = draw.choice(("False", "True", "3"))
    header = f"{{'descr': {draw.choice(TYPES)}, 'fortran_order': {order}, 'shape': {shape}, }}"
    if draw.random() < 0.2:
        wrong = ("-" * 3000 + "1", "(" * 3000, header[:-9], "{}", "'" * 99, "\xff" * 60, header * 400)
        header = draw.choice(wrong)
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) & 0xFFFF) + text + content[128:]


def spoil_sound(content: bytes, draw: random.Random) -> bytes:
    """A number in the header of a sound file, where chunks and streams have theirs."""
    data = bytearray(content)
    place = draw.choice((4, 16, 20, 22, 24, 28, 32, 34, 40, 18, 21))
    width = draw.choice((2, 4))
    data[place : place + width] = (draw.choice(NUMBERS) & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    return bytes(data)


def spoil_png(content: bytes, draw: random.Random) -> bytes:
    """Contents or name of a chunk change, its checksum with them; or it comes twice, or not at all."""
    chunks, place = [], 8
    while place + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    if not chunks:
        return spoil_bytes(content, draw)
    number = draw.randrange(len(chunks))
    kind, body = chunks[number]
    match draw.randrange(5):
        case 0:
            chunks.insert(draw.randrange(len(chunks)), chunks[number])
        case 1:
            del chunks[number]
        case 2:
            chunks[number] = (draw.choice((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"\xff\n\0x")), body)
        case 3 if kind == b"IDAT":
            with suppress(zlib.error):
                body = zlib.compress(spoil_bytes(zlib.decompress(body), draw))
            chunks[number] = (kind, body)
        case _:
            chunks[number] = (kind, spoil_bytes(body, draw))
    sealed = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return content[:8] + b"".join(sealed)


# good files and their readers ------------------------------------------------------------------------------


def make_kinds(place: Path) -> list[Kind]:
    """All kinds; readers write below `place` only."""
    mel = np.random.default_rng(0).uniform(-9, 1, (80, 6)).astype(np.float32)
    tone = (np.sin(np.arange(1500) / 9) * 0.4).astype(np.float32)
    frames = np.random.default_rng(1).integers(0, 255, (3, 32, 32), np.uint8)
    weights = {"a.weight": torch.ones(3, 4), "a.bias": torch.zeros(3)}
    saved = io.BytesIO()
    torch.save({"model": weights, "epoch": 3}, saved)
    (place / "video.npy").write_bytes(_npy(frames))
    (place / "pack").mkdir()
    (place / "pack" / "a.npy").write_bytes(_npy(mel))
    test_bundle.write(place / "bundle")
    write_png(place / "picture.png", frames[0])
    embeddings = io.BytesIO()
    np.savez(embeddings, emb=mel, model_id="m")
    vocabulary = small_diffusion.write_tokenizer(place / "tokenizer") / "vocab.json"

    def tokenize(path: Path) -> object:
        path.replace(vocabulary)
        return ClipTokenizer.open(vocabulary.parent)(["a castle"])

    def mask(path: Path) -> object:
        return mask_video(path, place / "o.npy", parse_mask("lip"), overwrite=True)

    def settings(path: Path) -> object:
        return parse_settings([path.read_bytes().decode("latin-1")])

    polygon = {"size": 84, "points": [[10, 20], [30, 40], [50, 10]]}
    scaler = {"mean": [-40.0, -30.0, -20.0], "std": [1.0, 2.0, 3.0], "count_frames": 9}
    configurations: dict[str, tuple[Any, Any]] = {
        "mel": (PRESETS["hifigan-22k"], MelConfig),
        "hifigan": (small_nets.CONFIG, HifiGanConfig),
        "training": (HifiGanFit(net=small_nets.CONFIG, segment_size=240), HifiGanFit),
        "acoustic": (MriAcousticConfig(), MriAcousticConfig),
    }
    manifest = (place / "bundle" / "manifest.json").read_bytes()
    return [
        *(
            Kind(f"{form} sound", f".{form.lower()}", _sound(tone, form), spoil_sound, _listen)
            for form in ("WAV", "FLAC", "AIFF", "OGG", "MP3")
        ),
        Kind("float sound", ".wav", _sound(tone, "WAV", "FLOAT"), spoil_sound, _listen),
        Kind("mel", ".npy", _npy(mel), spoil_array, lambda path: _invert(path, place)),
        Kind("video", ".npy", _npy(frames), spoil_array, mask),
        Kind("candidate", ".npy", _npy(mel), spoil_array, lambda path: _check(path, place)),
        _json("mask", polygon, lambda path: parse_mask(str(path))),
        _json("scaler", scaler, lambda path: read_scaler(path, 3)),
        *(
            _json(f"{name} configuration", good.to_json(), partial(_configure, kind))
            for name, (good, kind) in configurations.items()
        ),
        Kind("picture", ".png", (place / "picture.png").read_bytes(), spoil_png, read_png),
        Kind("embeddings", ".npz", embeddings.getvalue(), spoil_bytes, read_embeddings),
        Kind("vocabulary", ".json", vocabulary.read_bytes(), spoil_json, tokenize),
        Kind("settings", ".txt", b"learning_rate=1e-4", spoil_bytes, settings),
        Kind("manifest", ".json", manifest, spoil_manifest, lambda path: _open(path, place)),
        Kind("safetensors", ".safetensors", save_safetensors(weights), spoil_bytes, read_checkpoint),
        Kind("checkpoint", ".pth", saved.getvalue(), spoil_bytes, read_checkpoint),
    ]


def _json(name: str, value: Any, read: Reader) -> Kind:
    return Kind(name, ".json", json.dumps(value).encode(), spoil_json, read)


def _configure(kind: Any, path: Path) -> object:
    return kind.from_json(read_config(path))


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _sound(samples: np.ndarray, form: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, 16000, format=form, subtype=subtype)
    return file.getvalue()


def _listen(path: Path) -> None:
    samples = read_audio(path).samples
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert len(samples) > 0


def _invert(path: Path, place: Path) -> None:
    options = {"preset": "hifigan-22k", "phase": "gla", "iterations": 1, "updates": 0}
    run("mel-inversion", path, [], place / "out", overwrite=True, **options)


def _check(path: Path, place: Path) -> None:
    port = place / "port"
    port.mkdir(exist_ok=True)
    path.replace(port / "a.npy")
    report = check_reference(place / "pack", port)
    assert all(row.remark.isprintable() for row in report.rows)


def _open(path: Path, place: Path) -> None:
    path.replace(place / "bundle" / "manifest.json")
    bundles.open_bundle(place / "bundle")
