"""Bytecode with names of weights that are the same in every process, on handmade files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_export.to_coreai.bytecode import MAGIC, _read_varint, _varint, canonical

ALIGNED = bytes(13) + b"weights"


def strings(*names: bytes) -> bytes:
    texts = [name + b"\0" for name in names]
    return b"".join((_varint(len(texts)), *(_varint(len(text)) for text in reversed(texts)), *texts))


def section(number: int, held: bytes) -> bytes:
    return bytes([number]) + _varint(len(held)) + held


def code(*names: bytes, before: bytes = b"", after: bytes = b"properties") -> bytes:
    """A file with an aligned section, a section of strings and one more."""
    head = MAGIC + _varint(6) + b"MLIR22\0" + section(1, b"dialects") + before
    start = head + bytes([0x80 | 5]) + _varint(len(ALIGNED)) + _varint(16)
    start += b"\xcb" * (-len(start) % 16)
    return start + ALIGNED + section(0, strings(*names)) + section(8, after)


def test_weights_are_numbered_in_the_order_of_the_file_and_nothing_else_changes() -> None:
    first = code(b"resource_4241772148326668816", b"main", b"resource_77", b"a_resource_1", b"resource_9_1")
    wanted = code(b"weight_0", b"main", b"weight_1", b"a_resource_1", b"weight_2")
    assert canonical(first) == wanted
    assert canonical(wanted) == wanted


def test_names_of_other_lengths_give_the_same_bytes() -> None:
    assert canonical(code(b"resource_1", b"mel")) == canonical(code(b"resource_18446744073709551615", b"mel"))


@given(st.integers(0, 2**56 - 1))
def test_a_number_is_read_as_it_was_written(value: int) -> None:
    assert _read_varint(b"xx" + _varint(value) + b"y", 2) == (value, 2 + len(_varint(value)))


def test_a_number_of_nine_bytes_is_read() -> None:
    assert _read_varint(b"\0" + (2**60).to_bytes(8, "little"), 0) == (2**60, 9)
    with pytest.raises(ValueError, match="is no length"):
        _varint(2**56)


@pytest.mark.parametrize(
    ("damaged", "sentence"),
    [
        (b"MLIR text", "begins with"),
        (code(b"main")[:-3], "a section ends at byte"),
        (code(b"main", before=section(0, strings(b"x"))), "one section of strings behind all aligned data"),
        (code(b"main").replace(strings(b"main"), b"\x03\x07main\0"), "strings of"),
    ],
)
def test_another_layout_is_said(damaged: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        canonical(damaged)
