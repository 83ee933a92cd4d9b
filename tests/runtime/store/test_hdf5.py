"""Datasets whose values are not in the file, or nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edge_runtime.errors import InputError
from edge_runtime.store.hdf5 import find_dataset


def virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("missing.h5", "x", shape=(4,))
    file.create_virtual_dataset("x", layout)


def linked_group(file: Any) -> None:
    with h5py.File(Path(file.filename).with_name("other.h5"), "w") as other:
        other["x"] = np.ones(4)
    file["group"] = h5py.ExternalLink("other.h5", "/")
    file["x"] = h5py.SoftLink("/group/x")


def half(file: Any) -> None:
    file.create_dataset("x", (4, 4), "f4", chunks=(2, 4))[:2] = 1


WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "external link": (
        lambda f: f.__setitem__("x", h5py.ExternalLink("/etc/passwd", "/")),
        "got a link to /etc/",
    ),
    "through a linked group": (linked_group, r"got a link to .*other\.h5"),
    "external values": (
        lambda f: f.create_dataset("x", (4,), "i1", external=[("/etc/passwd", 0, 4)]),
        "got values kept in another file",
    ),
    "virtual": (virtual, "got a virtual dataset, expected values in the file itself"),
    "soft link": (lambda f: f.__setitem__("x", h5py.SoftLink("/y")), "got a link that leads nowhere"),
    "circle": (lambda f: f.__setitem__("x", h5py.SoftLink("/x")), "got a link that leads nowhere"),
    "group": (lambda f: f.create_group("x"), "got a group"),
    "no values": (lambda f: f.__setitem__("x", h5py.Empty("f4")), "or a dataset without values"),
    "chunks": (half, "of which 50% were never written"),
    "huge": (
        lambda f: f.create_dataset("x", (1 << 40, 64), "f4", chunks=(1 << 16, 64)),
        "of which 100% were never written",
    ),
    "not written": (lambda f: f.create_dataset("x", (4,), "f4"), "of which 100% were never written"),
}


@pytest.mark.parametrize("case", WRONG)
def test_values_that_are_not_in_the_file_are_refused(tmp_path: Path, case: str) -> None:
    make, sentence = WRONG[case]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file)
    with h5py.File(tmp_path / "a.h5") as file, pytest.raises(InputError, match=rf"^x: .*{sentence}"):
        find_dataset(file, "x")


@pytest.mark.parametrize(
    "options", [{}, {"chunks": (3, 2), "compression": "gzip", "maxshape": (9, 4)}, {"maxshape": (None, 4)}]
)
@pytest.mark.parametrize("shape", [(4, 4), (0, 4)])
def test_values_of_the_file_are_found(
    tmp_path: Path, options: dict[str, Any], shape: tuple[int, int]
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("deep/x", data=np.zeros(shape), **options)
        file["x"] = h5py.SoftLink("/deep/x")
        file["text"] = "text"
    with h5py.File(tmp_path / "a.h5") as file:
        assert find_dataset(file, "x").shape == shape
        assert find_dataset(file, "text")[()] == b"text"
