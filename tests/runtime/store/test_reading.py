"""The one door for files of users: plain files, text, JSON, .npy headers and arrays."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edge_export
import edge_runtime
import edge_training
from edge_runtime.errors import ConfigError, EdgeError, InputError
from edge_runtime.store import reading

Reader = Callable[[Path], object]
READERS: dict[str, Reader] = {
    "regular_file": reading.regular_file,
    "read_bytes": reading.read_bytes,
    "read_text": reading.read_text,
    "read_json": reading.read_json,
    "read_object": reading.read_object,
    "read_array": reading.read_array,
}


def _fifo(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def _socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))
    return folder / "s"


def _loop(folder: Path) -> Path:
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    return folder / "a"


NO_FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "pipe": (_fifo, "a pipe"),
    "socket": (_socket, "a socket"),
    "device": (lambda _: Path("/dev/zero"), "a device"),
    "folder": (lambda folder: folder, "a folder"),
    "nothing": (lambda folder: folder / "absent", "no such file"),
    "below a file": (lambda _: Path(__file__, "x"), "no such file"),
    "loop of links": (_loop, "links that lead in a circle"),
    "NUL in the name": (lambda _: Path("a\0b"), "null"),
    "name too long": (lambda _: Path("n" * 3000), "too long"),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", NO_FILES)
def test_only_regular_files_are_opened(reader: str, kind: str, tmp_path: Path) -> None:
    make, words = NO_FILES[kind]
    with pytest.raises(InputError, match=words):
        READERS[reader](make(tmp_path))


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("ä", encoding="utf-8")
    (tmp_path / "link").symlink_to("text")
    assert reading.regular_file(tmp_path / "link") == tmp_path / "link"
    assert reading.read_text(tmp_path / "link") == "ä"


@pytest.mark.parametrize("reader", READERS)
def test_urls_are_named_as_such(reader: str) -> None:
    for address in ("https://example.org/a.wav", "s3://bucket/a.npy"):
        with pytest.raises(InputError, match=r"got no such file.*it is a URL: download it first"):
            READERS[reader](Path(address))
    with pytest.raises(InputError) as refusal:
        READERS[reader](Path("C:/gone/a.wav"))
    assert "URL" not in str(refusal.value)


def test_the_refusal_is_of_the_kind_and_the_name_that_were_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"^scaler: got a device, expected a scaler\.json$"):
        reading.regular_file("/dev/null", "a scaler.json", ConfigError, "scaler")
    with pytest.raises(ConfigError, match=r"^scaler: got a device, expected a scaler\.json$"):
        reading.open_regular("/dev/null", "a scaler.json", ConfigError, "scaler")


def test_text(tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_bytes(b"\xef\xbb\xbfa\n")
    assert reading.read_text(file) == "a\n"
    file.write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=r"names.txt: got bytes that are not UTF-8 text \(at 3\)"):
        reading.read_text(file)
    file.write_bytes("a".encode("utf-16"))
    with pytest.raises(InputError, match=r"got text in UTF-16.*save it as UTF-8"):
        reading.read_text(file)
    with open(file, "wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(InputError, match="more than 16777216 bytes"):
        reading.read_text(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("[" * 100_000, "levels deep"),
        ('{"a":' * 100_000, "levels deep"),
        ("[" * 65 + "]" * 65, "levels deep"),
        ("9" * 5000, "64 bits"),
        ("-" + "9" * 30, "64 bits"),
        (str(1 << 64), "64 bits"),
        ("1e999", "too large"),
        ("[-1e400]", "too large"),
        ("NaN", "no number"),
        ('{"a": Infinity}', "no number"),
        ("{'a': 1}", "not JSON"),
    ],
)
def test_json_beyond_bounds_is_refused(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text(text)
    with pytest.raises(InputError, match=rf"c.json: got .*{words}"):
        reading.read_json(file)


def test_json_within_bounds(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    value = {"n": [(1 << 64) - 1, -3, 2.5, 1e300, None, True], "deep": json.loads("[" * 62 + "]" * 62)}
    file.write_text(json.dumps(value))
    assert reading.read_object(file) == reading.find_object(file) == value
    file.write_text("[1]")
    with pytest.raises(InputError, match="got a JSON list, expected a scaler"):
        reading.read_object(file, "a scaler")
    assert reading.find_object(file) == reading.find_object(tmp_path) == {}


def _npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode("latin-1") + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text + data


def _of_shape(shape: str, data: bytes = b"", descr: str = "'<f4'") -> bytes:
    return _npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}", data)


HEADERS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "an empty file"),
    "cut": (b"\x93NUM", "no readable header"),
    "unclosed quotes": (_npy("{'descr': '<f4, 'fortran_order': False"), "no readable header"),
    "minus signs": (_npy("-" * 9000 + "1"), "no readable header"),
    "brackets": (_npy("(" * 9000), "no readable header"),
    "longer than numpy takes": (_npy("{" + " " * 60_000 + "}"), "no readable header"),
    "no entries": (_npy("{}"), "no readable header"),
    "a call": (_npy("__import__('os').system('true')"), "no readable header"),
    "unknown type": (_of_shape("(1,)", descr="'<z9'"), "no readable header"),
    "version 9": (_npy("{}", version=b"\x09\x00"), "no readable header"),
    "shape of bools": (_of_shape("(True,)", bytes(4)), "shape"),
    "negative": (_of_shape("(-1,)"), "shape"),
    "10^31": (_of_shape(f"({10**31},)"), "shape"),
    "nothing times 10^31": (_of_shape(f"(0, {10**31})"), "shape"),
    "many axes": (_of_shape(f"({'1,' * 90})"), "shape"),
    "more than there is": (
        _of_shape("(3, 1000000, 1000000)", bytes(8)),
        "got 8 bytes of values, expected 12000000000000",
    ),
    "objects": (_of_shape("(1,)", bytes(8), "'|O'"), "type object"),
    "text": (_of_shape("(1,)", bytes(8), "'<U2'"), "type <U2"),
    "fields": (_of_shape("(1,)", bytes(4), "[('a', '<f4')]"), "type"),
    "dates": (_of_shape("(1,)", bytes(8), "'<M8[s]'"), "type"),
    "zip": (b"PK\x03\x04 and more", "zip archive"),
    "pickle": (b"\x80\x04K\x01.", "a pickle"),
}


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("case", HEADERS)
def test_npy_headers_that_lie(case: str, mapped: bool, tmp_path: Path) -> None:
    content, words = HEADERS[case]
    file = tmp_path / "mel.npy"
    file.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        reading.read_array(file, mapped=mapped)
    assert str(caught.value).startswith(f"{file}: got ")


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (0, 4), (1, 2, 3)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_read_as_numpy_reads_them(
    order: str, shape: tuple[int, ...], mapped: bool, tmp_path: Path
) -> None:
    for dtype in ("<f4", ">i2", "?", "<c16"):
        array = np.asarray(np.arange(np.prod(shape)).reshape(shape), dtype, order=order)  # type: ignore[call-overload]
        np.save(tmp_path / "a.npy", array)
        read = reading.read_array(tmp_path / "a.npy", mapped=mapped)
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype
        assert read.flags.f_contiguous == array.flags.f_contiguous


def test_a_truncated_array_may_be_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(8, np.float32))
    with open(tmp_path / "a.npy", "r+b") as file:
        file.truncate(140)
    with open(tmp_path / "a.npy", "rb") as file:
        header = reading.read_array_header("a.npy", file, truncated=True)
        assert (header.shape, header.offset, file.tell()) == ((8,), 128, 128)
    with pytest.raises(EdgeError, match="got 12 bytes of values, expected 32"):
        reading.read_array(tmp_path / "a.npy")


def test_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, numbers=np.arange(5), labels=np.array(["a", "bc"]))
    read = reading.read_archive(path)
    assert list(read) == ["numbers", "labels"]
    assert read["labels"].tolist() == ["a", "bc"]
    whole = path.read_bytes()
    for place in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            reading.read_archive(path)
    for content in (b"", b"no archive", whole[:90]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npz: got no readable archive"):
            reading.read_archive(path)
    np.savez(path, objects=np.array([{}]))
    with pytest.raises(InputError, match=r"no readable archive.*Object arrays.*save texts as"):
        reading.read_archive(path)
    np.savez_compressed(path, numbers=np.arange(5))
    monkeypatch.setattr(reading, "LARGEST_ARCHIVE", 100)
    with pytest.raises(InputError, match="got 168 bytes unpacked"):
        reading.read_archive(path)


# what these read, they or their own child process wrote a moment before
OWN = {
    "store/reading.py",
    "store/bundle.py",
    "dsp/perceptual.py",
    "edge_export/bench.py",
    "mil/blob.py",  # a file that regular_file has passed
    "backends/worker.py",  # answers of its own process
    "to_coreai/exporter.py",  # what the converter wrote
    "to_coreml/package.py",
    "bisect/mil_cut.py",  # weights of a package that the executor has opened
    "edge_export/gpu_check.py",
    "edge_export/runtimes.py",
    "proof/runtime_trials.py",
    "report/page.py",  # package data
}


def test_there_is_no_other_door() -> None:
    direct = re.compile(
        r"\bjson\.loads?\(|\bnp\.(load|fromfile|memmap)\(|\.read_(text|bytes)\(|\bliteral_eval\("
    )
    files = [
        file
        for package in (edge_runtime, edge_training, edge_export)
        for file in Path(package.__path__[0]).rglob("*.py")
        if not any(file.as_posix().endswith(name) for name in OWN)
    ]
    assert len(files) > 100
    assert [str(file) for file in files if direct.search(file.read_text("utf-8"))] == []
