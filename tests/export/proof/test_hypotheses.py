"""Guesses about a port's arrays are told where they hold, and only there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_export.proof.hypotheses import explain, explain_bytes, find_elsewhere
from edge_export.proof.reference import check_reference

Array = NDArray[Any]
TRUTH = np.random.default_rng(1).normal(size=(7, 12)).astype(np.float32)
CUBE = np.random.default_rng(2).normal(size=(3, 4, 5)).astype(np.float32)


def padded(array: Array, by: int) -> Array:
    """What a port reads that takes a buffer with padded rows for a whole one."""
    wide = np.zeros((len(array), array.shape[1] + by), array.dtype)
    wide[:, : array.shape[1]] = array
    return wide.reshape(-1)[: array.size].reshape(array.shape)


HELD: dict[str, tuple[Array, Callable[[Array], Array], str]] = {
    "flattened": (TRUTH, lambda a: a.reshape(-1), r"\(7, 12\), row by row: it is flattened"),
    "another shape": (TRUTH, lambda a: a.reshape(12, 7), r"\(7, 12\), row by row$"),
    "transposed": (TRUTH, lambda a: a.T, r"axes in the order \(1, 0\)"),
    "transposed and flattened": (TRUTH, lambda a: a.T.reshape(-1), "column by column"),
    "axes moved": (CUBE, lambda a: a.transpose(2, 0, 1), r"axes in the order \(1, 2, 0\)"),
    "axes moved, shape kept": (
        CUBE,
        lambda a: a.transpose(2, 0, 1).reshape(3, 4, 5),
        r"\(5, 3, 4\), then axes",
    ),
    "batch axis": (TRUTH, lambda a: a[None], "axes of length 1 differ"),
    "batch axis lost": (CUBE[:1], lambda a: a[0], "axes of length 1 differ"),
    "byte order": (TRUTH, lambda a: a.byteswap(), "the other byte order"),
    "padded rows": (
        TRUTH,
        lambda a: padded(a, 4),
        "rows 16 values apart, 12 of them used.*row stride; 2 of 7 rows",
    ),
    "padded rows, whole buffer": (
        TRUTH,
        lambda a: np.pad(a, ((0, 0), (0, 20))),
        r"(0 to 12 along axis 1|rows 32 values apart)",
    ),
    "frames too many": (TRUTH, lambda a: np.pad(a, ((2, 0), (0, 0))), "2 to 9 along axis 0 of it: 2 more"),
    "frames too few": (TRUTH, lambda a: a[:-1], "0 to 6 along axis 0 of the reference: 1 fewer"),
    "centred": (TRUTH, lambda a: np.pad(a, ((3, 3), (0, 0))), "3 to 10 along axis 0 of it: 6 more"),
}


@pytest.mark.parametrize("case", HELD)
def test_what_holds_is_told(case: str) -> None:
    truth, port, words = HELD[case]
    noise = np.float32(3e-6)
    said = explain(truth + noise if case != "byte order" else truth, port(truth), 1e-3)
    assert re.search(words, said), said
    assert "when read as" in said
    if case not in ("byte order",):
        assert "within 1e-05" in said


SPECTRUM = (TRUTH + 1j * TRUTH[::-1]).astype(np.complex64)
BITS_AND_UNITS: dict[str, tuple[Array, Callable[[Array], Array], str]] = {
    "bits of float32": (TRUTH, lambda a: a.view(np.int32), "the bits of float32"),
    "bytes": (TRUTH, lambda a: a.view(np.uint8), "the bits of float32"),
    "bits of float16": (TRUTH, lambda a: a.astype(np.float16).view(np.uint16), "the bits of float16"),
    "negative": (TRUTH, lambda a: -a, "the negative"),
    "integers": (TRUTH, lambda a: np.rint(a * 32768).astype(np.int32), "16-bit integers, full scale 32768"),
    "decibels": (TRUTH, lambda a: a * 8.685889638, "decibels of a magnitude"),
    "log10": (TRUTH, lambda a: a / np.log(10), "common logarithms"),
    "linear": (TRUTH, np.exp, "linear values: take the natural logarithm"),
    "backwards": (TRUTH, lambda a: a[:, ::-1], "axis 1 backwards"),
    "late": (TRUTH, lambda a: np.roll(a, 1, 0), "1 late along axis 0"),
    "early": (TRUTH, lambda a: np.roll(a, -2, 1), "2 early along axis 1"),
    "parts side by side": (SPECTRUM, lambda a: np.stack([a.real, a.imag], -1), "pairs of real and imaginary"),
    "parts apart": (SPECTRUM, lambda a: np.stack([a.real, a.imag]), "all real parts, then"),
    "magnitude and phase": (
        SPECTRUM,
        lambda a: np.stack([np.abs(a), np.angle(a)], -1),
        "they are magnitude and phase",
    ),
    "conjugate": (SPECTRUM, np.conj, "the conjugate"),
    "complex for parts": (
        np.stack([SPECTRUM.real, SPECTRUM.imag], -1),
        lambda a: a[..., 0] + 1j * a[..., 1],
        "its parts belong on the last axis",
    ),
}


@pytest.mark.parametrize("case", BITS_AND_UNITS)
def test_bits_and_units_that_hold_are_told(case: str) -> None:
    truth, port, words = BITS_AND_UNITS[case]
    said = explain(truth, np.asarray(port(truth)), 2e-3)
    assert re.search(f"when read as {words}|when read as .*{words}", said), said


def test_an_imaginary_part_is_not_overlooked() -> None:
    assert explain(SPECTRUM, SPECTRUM.real + 0.5j, 1e-3) == ""
    assert explain(TRUTH, TRUTH + 0.5j, 1e-3) == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (TRUTH.tobytes() + b"\1", "1 bytes too many at the end"),
        (np.int32(TRUTH.size).tobytes() + TRUTH.tobytes(), "behind a header of 4 bytes"),
        (TRUTH.tobytes()[:-8], "row by row: the file ends 2 values early"),
        (padded(np.vstack([TRUTH] * 2), 4).tobytes(), "rows 16 values apart"),
    ],
)
def test_bare_values_with_more_or_less(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.bin").write_bytes(content)
    said = find_elsewhere(TRUTH, tmp_path, "a.npy", 1e-3)
    assert said.startswith("a.bin is there; raw float32 values without the .npy header"), said
    assert words in said


def test_files_of_other_programs_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"PK")
    said = find_elsewhere(TRUTH, tmp_path, "a.npy", 1e-3)
    assert said == "a.pt is there, which is no .npy file: write it with numpy.save"
    (tmp_path / "a.pt").unlink()
    np.savez(tmp_path / "a.npz", output=TRUTH)
    assert find_elsewhere(TRUTH, tmp_path, "a.npy", 1e-3).startswith("a.npz holds it; save it as a.npy")


@pytest.mark.parametrize(
    "port",
    [
        lambda a: a * 1.01,
        lambda a: np.zeros_like(a),
        lambda a: a[::-1] + 1,
        lambda a: np.full(a.size, np.nan, np.float32),
        lambda a: a[0, 0],
        lambda a: np.random.default_rng(9).normal(size=a.size).reshape(12, 7),
    ],
)
def test_what_does_not_hold_is_not_guessed(port: Callable[[Array], Array]) -> None:
    assert explain(TRUTH, np.asarray(port(TRUTH)), 1e-3) == ""


def test_other_lengths_are_a_fact_where_no_guess_holds() -> None:
    assert explain(TRUTH, np.zeros((7, 15), np.float32), 1e-3) == "3 more along axis 1"


@pytest.mark.parametrize(
    ("dtype", "name"), [("<f4", "float32"), ("<f2", "float16"), ("<f8", "float64"), (">f4", "big")]
)
def test_bare_values_are_told(tmp_path: Path, dtype: str, name: str) -> None:
    truth = TRUTH.astype(np.float16).astype(np.float32)
    (tmp_path / "a.npy").write_bytes(truth.astype(dtype).tobytes())
    said = explain_bytes(truth, tmp_path / "a.npy", 1e-3)
    assert said.startswith(f"raw {name}")
    assert "without the .npy header; matches within 0" in said
    (tmp_path / "a.npy").write_bytes(truth.T.astype(dtype).tobytes())
    assert "column by column" in explain_bytes(truth, tmp_path / "a.npy", 1e-3)
    (tmp_path / "a.npy").write_bytes(bytes(4 * truth.size))
    assert explain_bytes(truth, tmp_path / "a.npy", 1e-3) == ""


def test_missing_arrays_are_found_under_other_names(tmp_path: Path) -> None:
    assert find_elsewhere(TRUTH, tmp_path, "a.npy", 1e-3) == ""
    np.savez(tmp_path / "all.npz", a=TRUTH.T, b=TRUTH)
    assert find_elsewhere(TRUTH, tmp_path, "a.npy", 1e-3).startswith(
        "all.npz holds it; save it as a.npy; matches"
    )
    assert "when read as it is" in find_elsewhere(TRUTH, tmp_path, "b.npy", 1e-3)
    (tmp_path / "a.bin").write_bytes(TRUTH.tobytes())
    assert find_elsewhere(TRUTH, tmp_path, "a.npy", 1e-3).startswith("a.bin is there; raw float32 values")
    (tmp_path / "a").write_bytes(b"no array")
    assert find_elsewhere(TRUTH, tmp_path, "a.npy", 1e-3) == "a is there, and is another array"


def test_damaged_archives_are_no_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "all.npz", a=TRUTH)
    whole = bytearray((tmp_path / "all.npz").read_bytes())
    for place in range(0, len(whole), 7):
        damaged = whole.copy()
        damaged[place] ^= 0xFF
        (tmp_path / "all.npz").write_bytes(damaged)
        find_elsewhere(TRUTH, tmp_path, "a.npy", 1e-3)
    (tmp_path / "all.npz").write_bytes(whole[:100])
    assert find_elsewhere(TRUTH, tmp_path, "a.npy", 1e-3) == ""


def test_the_report_tells(tmp_path: Path) -> None:
    for folder in ("pack", "port"):
        (tmp_path / folder).mkdir()
    for name in ("flat", "raw", "missing", "far"):
        np.save(tmp_path / "pack" / f"{name}.npy", TRUTH)
    np.save(tmp_path / "port" / "flat.npy", TRUTH.reshape(-1))
    (tmp_path / "port" / "raw.npy").write_bytes(TRUTH.tobytes())
    np.savez(tmp_path / "port" / "all.npz", missing=TRUTH)
    np.save(tmp_path / "port" / "far.npy", TRUTH + 1)
    report = check_reference(tmp_path / "pack", tmp_path / "port")
    remarks = {row.file: (row.status, row.remark) for row in report.rows}
    assert not report.passed
    assert remarks["flat.npy"][0] == "FAIL"
    assert remarks["flat.npy"][1].endswith("row by row: it is flattened")
    assert remarks["raw.npy"][1].startswith("raw float32 values without the .npy header")
    assert remarks["missing.npy"][0] == "MISSING"
    assert remarks["missing.npy"][1].startswith("all.npz holds it")
    assert "when read as" not in remarks["far.npy"][1]
