"""Mels from files of other programs: one reader, one rule for axes, one for their unit."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp.mel import MelConfig
from edge_runtime.errors import InputError, doubt
from edge_runtime.store.arrays import Member, read_one
from edge_runtime.store.arrays import is_array_file as is_array_file

EXPECTED = "a mel in a .npy, .npz or .pt file"
# of natural logarithms of magnitudes: no usual floor is lower than e^-30, and full scale is about 2
LOWEST, HIGHEST = -30.0, 12.0
DECIBELS = -30.0  # values below are decibels, for no other logarithm goes so deep
ALWAYS_LOUD = -5.0  # speech is quieter than this somewhere, above all in its pauses and high bands
ENOUGH_FRAMES = 16  # of a mel whose scale can be doubted
BELOW_THE_FLOOR = 3.0  # of ln; nets that predict mels go a little below it
# speech reaches 0.4 to 1.3 of log10, and spans 3 to 6.4; of ln 9 and more, in noise as loud as itself 7
HIGHEST_COMMON, LEAST_SPAN = 1.6, 1.0


def read_mel(
    path: str | os.PathLike[str], bands: int, say: Callable[[str], object] = lambda _: None
) -> NDArray[Any]:
    """A mel (bands, frames), of its own type, from a file that holds (bands, frames) or (1, bands, frames).

    Files are .npy, .npz and .pt, see `edge_runtime.store.arrays`; ``say`` is told which of several arrays was
    taken.

    Raises:
        InputError: another format, which is named, several arrays, or other axes (also transposed ones).
    """
    mel = read_one(path, EXPECTED, likely=lambda member: _can_be_mel(member, bands), say=say)
    if mel.ndim == 3 and len(mel) == 1:
        mel = mel[0]
    if mel.ndim != 2 or len(mel) != bands or mel.dtype.kind != "f":
        turned = mel.ndim == 2 and mel.shape[-1] == bands
        cause = (
            "it is transposed: save mel.T" if turned else "the mel is of another configuration, or several"
        )
        shape = f"shape {mel.shape}"
        raise InputError(
            f"{path}: mel",
            got=shape if mel.dtype.kind == "f" else f"values of type {mel.dtype}, {shape}",
            expected=f"({bands}, frames) or (1, {bands}, frames), floats",
            cause=cause if mel.dtype.kind == "f" else "",
        )
    if mel.shape == (bands, bands):
        doubt(
            InputError(
                f"{path}: mel",
                got=f"{bands} × {bands} values",
                expected=f"a number of frames that is not the number of bands, {bands}",
                cause="nothing tells the axes apart; (bands, frames) was taken",
            )
        )
    return mel


def _can_be_mel(member: Member, bands: int) -> bool:
    return member.kind == "f" and len(member.shape) >= 2 and bands in member.shape[-2:]


def check_logarithms(mel: NDArray[Any], config: MelConfig | None) -> None:
    """Refuse values that cannot be natural logarithms of a mel.

    Args:
        mel: (bands, frames).
        config: the front end that should have made the mel; None where it is unknown. Where it has another
            logarithm, all finite values pass.

    Raises:
        InputError: NaN or infinity, decibels or linear values.
    """
    if not mel.size:
        return
    lowest, highest = float(mel.min()), float(mel.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise InputError("mel", got="NaN or infinity", expected="finite values")
    if config is not None and config.log != "ln":
        return
    floor = LOWEST if config is None else float(np.log(config.floor)) - BELOW_THE_FLOOR
    # no sound within ±1 has a magnitude of 1 or more in every band; powers may
    positive = lowest >= 0 and (config is None or config.power == 1)
    if lowest < floor or highest > HIGHEST or positive:
        raise InputError(
            "mel",
            got=f"values from {lowest:.4g} to {highest:.4g}",
            expected="natural logarithms of magnitudes, about -11.5 to 2",
            cause=_likely_unit(mel, lowest, highest),
        )


def doubt_scale(mel: NDArray[Any], config: MelConfig, path: str | os.PathLike[str] | None = None) -> None:
    """Doubt the mel of a whole recording that is taken for natural logarithms and fits something else.

    log10 ends where the floor does, at -5 of 1e-5, where ln would have gone down to -11.5; standardised and
    scaled mels end there too, and go higher. Stationary noise fits all of them, and is doubted too. A part of
    a recording says nothing: pass all of it.

    Args:
        mel: (bands, frames) that `check_logarithms` let pass.
        config: the front end that should have made the mel; only magnitudes in ln are looked at.
        path: of the file, for the sentence.

    Raises:
        InputError: within `edge_runtime.errors.strictly`, the doubt itself.
    """
    if not mel.size or (config.log, config.power) != ("ln", 1):
        return
    lowest, highest = float(mel.min()), float(mel.max())
    if not lowest < 0 or highest - lowest < LEAST_SPAN:
        return
    cause = ""
    if np.log10(config.floor) - 0.01 <= lowest and highest <= HIGHEST_COMMON:
        cause = "log10 has this range: if it is that, multiply by 2.302585, which is ln 10"
    elif lowest == -10 and np.count_nonzero(mel == lowest) > 1:
        cause = (
            "log10 of a mel with floor 1e-10 ends there: if it is that, multiply by 2.302585, which is ln 10"
        )
    elif lowest > ALWAYS_LOUD > np.log(config.floor) + 2 and mel.shape[-1] >= ENOUGH_FRAMES:
        cause = "standardised or scaled mels have such a range: if it is one, undo that"
    if not cause:
        return
    doubt(
        InputError(
            "mel" if path is None else f"{path}: mel",
            got=f"values from {lowest:.4g} to {highest:.4g}, taken for natural logarithms",
            expected=f"those of speech, which go down to {np.log(config.floor):.4g} in pauses",
            cause=cause,
        )
    )


def _likely_unit(mel: NDArray[Any], lowest: float, highest: float) -> str:
    """What values are that cannot be natural logarithms, and the cure."""
    if lowest >= 0 and float(np.median(mel)) < 0.2 * highest:  # most magnitudes are small
        return "these look like magnitudes: take the logarithm"
    if lowest >= 0:
        return "these look like magnitudes: take the logarithm; or like scaled mels: undo the scaling"
    if lowest < DECIBELS or highest > HIGHEST:
        return "these look like decibels: divide dB of a magnitude by 8.686"
    return "these look like logarithms of a power (halve them) or of base 2 (multiply by 0.6931)"
