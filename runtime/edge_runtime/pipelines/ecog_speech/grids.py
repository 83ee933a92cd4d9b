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

from edge_runtime.errors import ConfigError, InputError

Density = Literal["LD", "HB"]
LD_SIDE, HB_SIDE = 8, 15
LD_ELECTRODES, HB_ELECTRODES, EXTENDED = 64, 128, 100
# row: first column, end (exclusive), step between columns, first electrode
_BETWEEN = (
    (0, 1, 6, 2, 64), (1, 0, 6, 1, 67), (2, 1, 6, 2, 73), (3, 0, 9, 1, 76), (4, 1, 12, 2, 85),
    (5, 0, 14, 1, 91), (6, 1, 12, 2, 105), (8, 7, 14, 2, 111), (9, 6, 14, 1, 115), (10, 7, 14, 2, 123),
    (11, 7, 8, 1, 127),
)  # fmt: skip

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
    if coarse and extended:
        raise ConfigError("grid", got="coarse and extended", expected="one of them")
    electrodes = ecog.shape[1]
    if wrong := sorted({number for number in bad if not 0 <= number < electrodes}):
        raise ConfigError(
            "bad", got=", ".join(map(str, wrong)), expected=f"numbers from 0 to {electrodes - 1}"
        )
    ecog = _silenced(ecog, bad)
    if coarse or extended:
        wanted = LD_ELECTRODES if coarse else EXTENDED
        if electrodes < wanted:
            raise InputError("ecog", got=f"{electrodes} electrodes", expected=f"at least {wanted}")
        return np.ascontiguousarray(ecog[:, :wanted])
    if electrodes == HB_ELECTRODES:
        return to_hybrid(ecog, quarter_turns)
    if round(electrodes**0.5) ** 2 != electrodes:
        raise InputError(
            "ecog",
            got=f"{electrodes} electrodes",
            expected="a square such as 64 or 225, or the 128 of a hybrid grid",
            cause="is it (time, electrodes)? coarse takes the first 64 of a hybrid grid",
        )
    return ecog


def _silenced(ecog: Activity, bad: Sequence[int]) -> Activity:
    if bad:
        ecog = ecog.copy()
        ecog[:, list(bad)] = 0
    broken = np.flatnonzero(~np.isfinite(ecog).all(0))
    if broken.size:
        listed = ", ".join(map(str, broken))
        raise InputError(
            "ecog",
            got=f"NaN or infinite values in electrode{'s' if broken.size > 1 else ''} {listed}",
            expected="numbers",
            cause=f"silence them with --bad {listed.replace(' ', '')}",
        )
    return ecog


def check_density(name: str) -> Density:
    """The name of a kind of grid; ConfigError for another."""
    for density in get_args(Density):
        if name == density:
            return density  # type: ignore[no-any-return]
    raise ConfigError("density", got=repr(name), expected=" or ".join(get_args(Density)))
