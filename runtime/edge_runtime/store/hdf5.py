"""Datasets of HDF5 files from outside: only values that are written, and in the file itself.

HDF5 gives the fill value, mostly 0, for what was never written and for what another file should hold and
does not: silence that looks like a recording. And a file can say that its values are in any other file of
the machine. Neither is read.
"""

from __future__ import annotations

import math
from typing import Any

from edge_runtime.errors import InputError


def find_dataset(file: Any, name: str) -> Any:
    """A dataset of h5py's, by its name in an open file.

    Raises:
        InputError: no dataset, a link that leads nowhere, values in another file, or never written.
    """
    link = file.get(name, getlink=True)
    if hasattr(link, "filename"):  # before it is followed: that opens the other file
        raise _elsewhere(name, f"a link to {link.filename}")
    try:
        dataset = file[name]
    except (KeyError, RuntimeError, OSError) as error:
        raise InputError(name, got="a link that leads nowhere", expected="an array") from error
    if getattr(dataset, "shape", None) is None:
        raise InputError(name, got="a group, or a dataset without values", expected="an array")
    if dataset.file.filename != file.filename:
        raise _elsewhere(name, f"a link to {dataset.file.filename}")
    if dataset.is_virtual or dataset.external:
        raise _elsewhere(name, "a virtual dataset" if dataset.is_virtual else "values kept in another file")
    _refuse_unwritten(name, dataset)
    return dataset


def _elsewhere(name: str, got: str) -> InputError:
    return InputError(
        name,
        got=got,
        expected="values in the file itself",
        cause="with the other file in place, in Python: values = file[name][()]; del file[name]; "
        "file[name] = values",
    )


def _refuse_unwritten(name: str, dataset: Any) -> None:
    if dataset.chunks:
        pairs = zip(dataset.shape, dataset.chunks, strict=True)
        wanted = math.prod(-(-length // chunk) for length, chunk in pairs)
        there = dataset.id.get_num_chunks()
    else:
        wanted = 1 if dataset.size else 0
        there = min(1, dataset.id.get_storage_size())
    if there < wanted:
        raise InputError(
            name,
            got=f"{dataset.shape} values of which {1 - there / wanted:.0%} were never written",
            expected="all of them",
            cause="its program was interrupted, or made the dataset larger than what it wrote",
        )
