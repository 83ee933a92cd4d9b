"""How alike two spectrograms are: Pearson's correlation, pooled in a way that is said.

`pcc` is that of all time-frequency values of a trial, then the mean over trials (what the literature calls
PCC). A decoder that knows nothing but the average spectrum of speech scores on it, since spectra fall with
frequency and words stand at one place of their window. `centred_pcc` takes the mean of the training speech
away from both first, bin by bin or also frame by frame: a decoder without information is then near 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def correlation(made: ArrayLike, true: ArrayLike) -> float:
    """Pearson's r of all values of two arrays of one shape; 0 where one of them does not vary."""
    x, y = (np.asarray(values, np.float64).reshape(-1) for values in (made, true))
    x, y = x - x.mean(), y - y.mean()
    power = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / power if power > 0 else 0.0


def pcc(made: Iterable[NDArray[Any]], true: Iterable[NDArray[Any]]) -> float:
    """Mean over trials of the correlation of spectrograms (T, F)."""
    return float(np.mean([correlation(x, y) for x, y in zip(made, true, strict=True)]))


def centred_pcc(made: Iterable[NDArray[Any]], true: Iterable[NDArray[Any]], mean: NDArray[Any]) -> float:
    """As `pcc` of spectrograms less a mean, (F,) or (T, F), of the training speech."""
    return float(np.mean([correlation(x - mean, y - mean) for x, y in zip(made, true, strict=True)]))
