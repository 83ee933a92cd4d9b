"""Electrodes on grids: their positions, and how a recording's columns become a square.

    low density      64 electrodes, 8 × 8, row by row
    hybrid density   128 electrodes on 15 × 15: the 64 of a coarse grid at even rows and columns, 64 more
                     between them; zeros where there is none
    extended         the first 100 electrodes as 10 × 10

Decoders take only squares. Source: the electrode tables of neural_speech_decoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError, InputError, doubt

Density = Literal["LD", "HB"]
LD_SIDE, HB_SIDE = 8, 15
LD_ELECTRODES, HB_ELECTRODES, EXTENDED = 64, 128, 100
# row: first column, end (exclusive), step between columns, first electrode
_BETWEEN = (
    (0, 1, 6, 2, 64), (1, 0, 6, 1, 67), (2, 1, 6, 2, 73), (3, 0, 9, 1, 76), (4, 1, 12, 2, 85),
    (5, 0, 14, 1, 91), (6, 1, 12, 2, 105), (8, 7, 14, 2, 111), (9, 6, 14, 1, 115), (10, 7, 14, 2, 123),
    (11, 7, 8, 1, 127),
)  # fmt: skip

LOUDEST, QUIETEST = 50.0, 0.5  # standard deviations; beyond them ECoG is not z-scored
_PREPARED = "an amplitude, in volts or µV? `edge-export data ecog` computes z-scores from raw recordings"

Activity = NDArray[np.float32]


def hybrid_places() -> NDArray[np.int64]:
    """(128,) cell of each electrode on the 15 × 15 grid, row by row."""
    places = np.empty(HB_ELECTRODES, np.int64)
    coarse = np.arange(LD_ELECTRODES)
    places[:LD_ELECTRODES] = 2 * (coarse // LD_SIDE) * HB_SIDE + 2 * (coarse % LD_SIDE)
    for row, start, stop, step, first in _BETWEEN:
        columns = np.arange(start, stop, step)
        places[first : first + len(columns)] = row * HB_SIDE + columns
    return places


def to_hybrid(ecog: Activity, quarter_turns: int = 0) -> Activity:
    """(N, 128) → (N, 225), zeros where no electrode is.

    Args:
        ecog: (N, 128).
        quarter_turns: counter-clockwise turns of the grid afterwards (3 for subject NY742 of
            neural_speech_decoding).
    """
    grid = np.zeros((len(ecog), HB_SIDE * HB_SIDE), ecog.dtype)
    grid[:, hybrid_places()] = ecog
    square = grid.reshape(-1, HB_SIDE, HB_SIDE)
    return np.ascontiguousarray(np.rot90(square, quarter_turns, (1, 2))).reshape(len(ecog), -1)


def arrange(
    ecog: Activity,
    *,
    coarse: bool = False,
    extended: bool = False,
    quarter_turns: int = 0,
    bad: Sequence[int] = (),
) -> Activity:
    """A recording's electrodes as a square that a decoder takes.

    Args:
        ecog: (N, E); 128 electrodes become the 15 × 15 grid.
        coarse: only the first 64 electrodes of a hybrid grid, as 8 × 8 (FAKE_LD of neural_speech_decoding).
        extended: the first 100 electrodes as 10 × 10.
        quarter_turns: see `to_hybrid`.
        bad: electrodes to silence, numbered from 0 as in the recording.

    Returns:
        (N, electrodes of the square).

    Raises:
        InputError: electrodes with values that are not finite (listed), or a number that fits no grid.
        ConfigError: a bad electrode that does not exist; both `coarse` and `extended`.
    """
    check_grid(ecog.shape[1], coarse=coarse, extended=extended, bad=bad)
    refuse_broken(broken_in(ecog), bad)
    if bad:
        ecog = ecog.copy()
        ecog[:, list(bad)] = 0
    if coarse or extended:
        return np.ascontiguousarray(ecog[:, : LD_ELECTRODES if coarse else EXTENDED])
    return to_hybrid(ecog, quarter_turns) if ecog.shape[1] == HB_ELECTRODES else ecog


def check_grid(
    electrodes: int, *, coarse: bool = False, extended: bool = False, bad: Sequence[int] = ()
) -> None:
    """Refuse what `arrange` cannot do with so many electrodes.

    Raises:
        InputError, ConfigError: as `arrange`.
    """
    if coarse and extended:
        raise ConfigError("grid", got="coarse and extended", expected="one of them")
    if wrong := sorted({number for number in bad if not 0 <= number < electrodes}):
        raise ConfigError(
            "bad", got=", ".join(map(str, wrong)), expected=f"numbers from 0 to {electrodes - 1}"
        )
    if coarse or extended:
        wanted = LD_ELECTRODES if coarse else EXTENDED
        if electrodes < wanted:
            raise InputError("ecog", got=f"{electrodes} electrodes", expected=f"at least {wanted}")
    elif electrodes != HB_ELECTRODES and round(electrodes**0.5) ** 2 != electrodes:
        advice = [
            f"{name} takes the first {count}"
            for name, count in (("coarse", LD_ELECTRODES), ("extended", EXTENDED))
            if electrodes > count
        ]
        raise InputError(
            "ecog",
            got=f"{electrodes} electrodes",
            expected="a square such as 64 or 225, or the 128 of a hybrid grid",
            cause=", ".join(["is it (time, electrodes)?", *advice]),
        )


def broken_in(ecog: Activity) -> NDArray[np.bool_]:
    """(E,) which electrodes of (N, E) hold values that are not finite."""
    return np.asarray(~np.isfinite(ecog).all(0))


def refuse_broken(broken: NDArray[np.bool_], bad: Sequence[int] = ()) -> None:
    """InputError that lists the electrodes, of (E,), with values that are not finite and are not `bad`."""
    numbers = np.setdiff1d(np.flatnonzero(broken), bad)
    if numbers.size:
        raise InputError(
            "ecog",
            got=f"NaN or infinite values in electrode{'s' if numbers.size > 1 else ''} {_listed(numbers)}",
            expected="numbers",
            cause=_silencing(numbers),
        )


def check_scale(ecog: Activity, bad: Sequence[int] = (), *, numbered: bool = True) -> None:
    """Refuse (N, E) that cannot be z-scores, and doubt what hardly is; electrodes of `bad` do not count.

    Args:
        ecog: finite where it counts.
        bad: see `arrange`.
        numbered: columns have the numbers that the user knows.

    Raises:
        InputError: values beyond 50 standard deviations.
    """
    counted = np.setdiff1d(np.arange(ecog.shape[1]), bad)
    low, high = ecog.min(0)[counted], ecog.max(0)[counted]
    largest = np.maximum(np.abs(low), np.abs(high))
    numbers = counted[largest > LOUDEST]
    if numbers.size:
        few = numbered and numbers.size <= len(counted) // 4
        raise InputError(
            "ecog",
            got=f"values up to {largest.max():.4g}" + (f" in electrodes {_listed(numbers)}" if few else ""),
            expected="z-scores, mostly within ±5",
            cause=_silencing(numbers) if few else _PREPARED,
        )
    if largest.max(initial=0) < QUIETEST:
        got = f"values within ±{largest.max(initial=0):.3g}"
    elif low.min() >= 0:
        got = f"values of {low.min():.3g} … {high.max():.3g}, none below 0"
    else:
        return
    doubt(InputError("ecog", got=got, expected="z-scores around 0, mostly within ±5", cause=_PREPARED))


def _listed(numbers: NDArray[np.int64]) -> str:
    return ", ".join(map(str, numbers))


def _silencing(numbers: NDArray[np.int64]) -> str:
    listed = ",".join(map(str, numbers))
    return f"silence them with --bad {listed}, in training with --set 'bad=[{listed}]'"


def check_density(name: str) -> Density:
    """The name of a kind of grid; ConfigError for another."""
    for density in get_args(Density):
        if name == density:
            return density  # type: ignore[no-any-return]
    raise ConfigError("density", got=repr(name), expected=" or ".join(get_args(Density)))
