"""MLIR bytecode, as Core AI assets hold it, with names of weights that are the same in every process.

The library names the weights of a program ``resource_`` and a hash that begins from an address in memory, so
that two conversions of one net differ. Here the weights are numbered in the order in which the file lists
them. The layout is that of https://mlir.llvm.org/docs/BytecodeFormat/: after magic bytes, a version and the
producer's name come sections, each with its length before it; names are in the string section. Those that
hold aligned data come before it, so nothing else moves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"ML\xefR"
_STRINGS = 0  # number of the section of strings
_ALIGNED = 0x80  # flag beside a section's number
_PADDING = 0xCB
_WEIGHT = re.compile(rb"resource_\d+(_\d+)?\0")


@dataclass(frozen=True)
class _Section:
    """One section of a file."""

    number: int
    aligned: bool
    start: int  # of the section's header
    first: int  # of what it holds
    end: int


def canonical(code: bytes) -> bytes:
    """Bytecode whose weights are called ``weight_0``, ``weight_1``, …

    Raises:
        ValueError: it is not bytecode, or another layout than this module knows.
    """
    sections = list(_sections(code))
    places = [index for index, section in enumerate(sections) if section.number == _STRINGS]
    if len(places) != 1 or any(section.aligned for section in sections[places[0] :]):
        raise ValueError("bytecode with one section of strings behind all aligned data was expected")
    section = sections[places[0]]
    renamed = _renamed(code[section.first : section.end])
    head = bytes([_STRINGS]) + _varint(len(renamed))
    return code[: section.start] + head + renamed + code[section.end :]


def _sections(code: bytes) -> Iterator[_Section]:
    if not code.startswith(MAGIC):
        raise ValueError(f"bytecode begins with {MAGIC!r}, this with {code[: len(MAGIC)]!r}")
    _, place = _read_varint(code, len(MAGIC))  # the version
    place = code.index(b"\0", place) + 1  # the producer
    while place < len(code):
        start, kind = place, code[place]
        length, place = _read_varint(code, place + 1)
        if kind & _ALIGNED:
            alignment, place = _read_varint(code, place)
            while place % alignment and code[place] == _PADDING:
                place += 1
        yield _Section(kind & ~_ALIGNED, bool(kind & _ALIGNED), start, place, place + length)
        place += length
    if place != len(code):
        raise ValueError(f"a section ends at byte {place} of {len(code)}")


def _renamed(strings: bytes) -> bytes:
    """The section of strings: their number, their lengths, the last one's first, and their bytes."""
    count, place = _read_varint(strings, 0)
    lengths = []
    for _ in range(count):
        length, place = _read_varint(strings, place)
        lengths.append(length)
    texts = []
    for length in reversed(lengths):
        texts.append(strings[place : place + length])
        place += length
    if place != len(strings):
        raise ValueError(f"strings of {place} bytes in a section of {len(strings)}")
    weights = 0
    for index, text in enumerate(texts):
        if _WEIGHT.fullmatch(text):
            texts[index] = b"weight_%d\0" % weights
            weights += 1
    return b"".join((_varint(count), *(_varint(len(text)) for text in reversed(texts)), *texts))


def _read_varint(code: bytes, place: int) -> tuple[int, int]:
    """A number, and where what follows it begins: zeros below the lowest one bit count the further bytes."""
    first = code[place]
    if first == 0:
        return int.from_bytes(code[place + 1 : place + 9], "little"), place + 9
    further = (first & -first).bit_length() - 1
    end = place + 1 + further
    return int.from_bytes(code[place:end], "little") >> (further + 1), end


def _varint(value: int) -> bytes:
    """The shortest form of a number below 2^56."""
    size = max(1, -(-value.bit_length() // 7))
    if size > 8:
        raise ValueError(f"{value} is no length")
    return (((value << 1) | 1) << (size - 1)).to_bytes(size, "little")
