"""Runs an artifact without rounding, and keeps what the values of each operation would be to float16."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from edge_export.proof.artifacts.base import Operation, Runnable
from edge_export.proof.comparing.feeding import Case
from edge_export.proof.linting.subject import Seen

NORMAL = 2.0**-14  # float16's smallest number of full precision
HALF_OF_SMALLEST = 2.0**-25  # below it float16 rounds to zero


def examine(
    runnable: Runnable, cases: Iterable[Case], progress: Callable[[str], None] = lambda _line: None
) -> tuple[dict[str, Seen], int]:
    """Operation → what it gave over all cases, and the longest axis of any input.

    Raises:
        BackendError: nothing here shows the inside of this artifact.
    """
    seen: dict[str, Seen] = {}
    longest = 0

    def look(operation: Operation, results: Sequence[Any]) -> None:
        record = seen.setdefault(operation.name, Seen())
        for result in results:
            if isinstance(result, np.ndarray):
                _add(record, result)

    state = runnable.new_state() or None
    for name, values in cases:
        progress(f"values of {runnable.what}, case {name}")
        longest = max([longest, *(axis for value in values.values() for axis in np.shape(value))])
        runnable.watch(values, look, state)
    return seen, longest


def _add(record: Seen, result: np.ndarray[Any, np.dtype[Any]]) -> None:
    record.longest_axis = max(record.longest_axis, max(result.shape, default=0))
    record.elements = max(record.elements, result.size)
    if result.dtype.kind != "f" or not result.size:
        return
    magnitudes = np.abs(result, dtype=np.float32)
    finite = np.isfinite(magnitudes)
    if not finite.all():
        record.not_finite += int(np.count_nonzero(~finite))
        result, magnitudes = result[finite], magnitudes[finite]
        if not result.size:
            return
    record.largest = max(record.largest, float(magnitudes.max()))
    record.smallest = min(record.smallest, float(result.min()))
    record.values += int(np.count_nonzero(magnitudes))
    small = magnitudes[(magnitudes > 0) & (magnitudes < NORMAL)]
    record.subnormal += small.size
    record.lost += int(np.count_nonzero(small < HALF_OF_SMALLEST))
