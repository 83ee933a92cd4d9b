"""scaler.json of a data set: mean and standard deviation of each mel band, dB."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.store.reading import read_object

Statistics = tuple[NDArray[np.float64], NDArray[np.float64]]  # mean and standard deviation, (n_mels,) each


def read_scaler(path: str | os.PathLike[str], n_mels: int) -> Statistics:
    """Mean and standard deviation of each band from a scaler.json.

    Raises:
        InputError: no such file, no JSON, or numbers of another count or kind; names the file.
    """
    entries = read_object(path, "a scaler.json with mean and std")
    return statistics(entries, "mean", "std", n_mels, str(path))


def statistics(entries: Mapping[str, Any], mean: str, std: str, n_mels: int, where: str) -> Statistics:
    """Mean and standard deviation, (n_mels,) each, from two entries of the object that ``where`` names."""
    means, deviations = (_numbers(entries.get(name), n_mels, f"{where}: {name}") for name in (mean, std))
    if not (deviations > 0).all():
        raise InputError(f"{where}: {std}", got=f"{deviations.min():g}", expected="numbers above 0")
    return means, deviations


def _numbers(value: Any, n_mels: int, what: str) -> NDArray[np.float64]:
    good = isinstance(value, list) and all(
        isinstance(number, int | float) and not isinstance(number, bool) for number in value
    )
    numbers = np.asarray(value, np.float64) if good else np.empty(0)
    if not good or not np.isfinite(numbers).all():
        raise InputError(what, got=f"{value!r:.40}", expected=f"{n_mels} numbers")
    if len(numbers) != n_mels:
        raise InputError(
            what,
            got=f"{len(numbers)} numbers",
            expected=f"{n_mels}, one a mel band of the net",
            cause="this scaler.json belongs to another mel configuration",
        )
    return numbers
