"""Files → pictures in our convention: float32 (256, T) in 0 … 1, row 0 the highest band.

    .png    8 or 16 bits, grey or the mean of the three colours, divided by the largest level; the colours of
            a colour map, whose mean says little, are refused
    arrays  of .npy, .npz and .pt (`edge_runtime.store.arrays`): (256, T), or (3, 256, T) and (256, T, 3),
            whose channels are averaged; told by the values:
              uint8, uint16           divided by the largest level
              floats in 0 … 1         a picture
              floats down to ln 1e-5  a log-mel, natural logarithm (some of its values are below 0); doubted
                                      where the values fit log10
    audio   the mel of front end `auffusion`

Which way up it stands is given; or known, because a run of ours wrote it (metadata.json beside it) or it is
of training data (record.json one folder up names it); or recognised (`orientation`). Where none of that
helps, the file is refused and the option named. What was taken is told; it is doubted where the content says
otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp.mel import MelFrontEnd
from edge_runtime.errors import ConfigError, InputError, doubt
from edge_runtime.media.audio import Audio, read_audio
from edge_runtime.media.png import is_png, read_png
from edge_runtime.pipelines.image_speech.data_folder import names_picture
from edge_runtime.pipelines.image_speech.picture import (
    BANDS,
    BRIGHTEST,
    DARKEST,
    FRONT_END,
    ROUNDING,
    mel_to_picture,
)
from edge_runtime.pipelines.picture_speech.orientation import Orientation, recognise
from edge_runtime.store.arrays import is_array_file, read_one, split_key
from edge_runtime.store.mels import doubt_scale
from edge_runtime.store.reading import find_object

EXPECTED = "a picture: .png, or an array in a .npy, .npz or .pt file"
OURS = ("image-speech", "picture-speech")  # pipelines whose results are in our convention
LOG_MEL = "a log-mel, natural logarithm"
MAPPED = 256  # distinct colours of a colour map, at most; pictures that models paint have thousands


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture in our convention, and how it came to it."""

    values: NDArray[np.float32]  # (256, T)
    scale: str  # how values of the file were read, in words
    orientation: Orientation  # of the file
    because: str  # why that orientation was taken
    audio: Audio | None = None  # where the file was a recording

    @property
    def told(self) -> str:
        """What was taken, in one line."""
        return f"{self.scale}; {self.orientation}: {self.because}"


def read_picture(
    path: str | os.PathLike[str],
    orientation: Orientation | None = None,
    say: Callable[[str], object] = lambda _line: None,
) -> Picture:
    """The picture of a file.

    Args:
        path: of a .png or .npy file, or of a recording.
        orientation: what row 0 of the file is; recognised if None.
        say: told which of several arrays was taken.

    Raises:
        InputError: a file that cannot be read, a picture of another height, values of another scale, a colour
            map, an orientation that cannot be told.
        ConfigError: an unknown orientation, or one for a recording.
    """
    if orientation is not None and orientation not in get_args(Orientation):
        raise ConfigError("--orientation", got=repr(orientation), expected=" or ".join(get_args(Orientation)))
    source = Path(path)
    if not _is_picture(source):
        return _of_audio(source, orientation)
    found = _scaled(source, _values(source, say))
    if orientation is not None:
        found = replace(found, orientation=orientation, because="as given")
    elif found.scale != LOG_MEL and (witness := _witness(source)):  # we write pictures, which a mel is not
        found = replace(found, orientation="high-first", because=witness)
        _doubt_witness(source, found)
    else:
        found = replace(found, orientation=_told_by_content(source, found.values))
    return found if found.orientation == "high-first" else replace(found, values=_turned(found.values))


def read_grey(path: str | os.PathLike[str]) -> NDArray[np.float32]:
    """A picture of any size as it is, (H, W) in 0 … 1.

    Raises:
        InputError: neither .png nor .npy, or values of another scale.
    """
    source = Path(path)
    return _unit(source, _values(source))[0]


def _is_picture(source: Path) -> bool:
    return is_array_file(source) or is_png(source)


def _witness(source: Path) -> str:
    """What says that we wrote the file, in our convention; "" if nothing does."""
    path = split_key(source)[0]
    if find_object(path.parent / "metadata.json").get("pipeline") in OURS:
        return "metadata.json beside it says so"
    return "record.json of the training data names it" if names_picture(path) else ""


def _doubt_witness(source: Path, found: Picture) -> None:
    if recognise(found.values) == "low-first":
        doubt(
            InputError(
                str(source),
                got=f"harmonics of a voice at the top, taken for high bands: {found.because}",
                expected="them at the bottom",
                cause="the file was turned since: --orientation low-first",
            )
        )


def _values(source: Path, say: Callable[[str], object] = lambda _line: None) -> NDArray[Any]:
    if split_key(source)[1] is None and is_png(source):
        return read_png(source)
    return read_one(source, EXPECTED, likely=lambda member: len(member.shape) in (2, 3), say=say)


def _of_audio(source: Path, orientation: Orientation | None) -> Picture:
    if orientation is not None:
        raise ConfigError("--orientation", got=f"{orientation} for audio", expected="it for pictures only")
    audio = read_audio(source, FRONT_END.sample_rate)
    try:
        values = mel_to_picture(MelFrontEnd(FRONT_END)(audio.samples))
    except InputError as error:
        raise error.within(str(source)) from error
    return Picture(values, "the mel of a recording", "high-first", "made here", audio)


def _scaled(source: Path, values: NDArray[Any]) -> Picture:
    """The picture as it stands in the file."""
    unit, scale = _unit(source, values)
    if _is_mapped(_channels(source, values)):
        raise InputError(
            str(source),
            got=f"at most {MAPPED} colours that are not grey, as colour maps have",
            expected="a grey picture such as N_spec.png, or colours that a model painted",
            cause="a map like viridis is for the eye: the mean of its three channels is not the level",
        )
    if len(unit) != BANDS:
        raise InputError(
            str(source),
            got=f"a picture {len(unit)} pixels high",
            expected=f"{BANDS}, one for each band",
            cause="is it transposed?"
            if unit.shape[1] == BANDS
            else "it is of another front end, or was scaled",
        )
    return Picture(unit, scale, "high-first", "by the harmonics of its low bands")


def _unit(source: Path, values: NDArray[Any]) -> tuple[NDArray[np.float32], str]:
    """(H, W) in 0 … 1, and how the values were read."""
    channels = _channels(source, values)
    if values.dtype.kind == "u" and values.dtype.itemsize < 4:
        largest = int(np.iinfo(values.dtype).max)
        unit, scale = channels / largest, f"levels 0 to {largest}"
    elif values.dtype.kind == "f":
        unit, scale = _unit_of_floats(source, channels)
    else:
        raise InputError(
            str(source), got=f"values of type {values.dtype}", expected="uint8, uint16 or floats"
        )
    if len(channels) == 3:
        scale += ", mean of three channels"
    return np.asarray(np.clip(unit.mean(axis=0, dtype=np.float64), 0, 1), np.float32), scale


def _channels(source: Path, values: NDArray[Any]) -> NDArray[Any]:
    """(1 or 3, H, W)."""
    if values.ndim == 2 and values.size:
        return values[None]
    if values.ndim == 3 and values.size and values.shape[0] in (1, 3):
        return values
    if values.ndim == 3 and values.size and values.shape[2] in (1, 3):
        return np.moveaxis(values, 2, 0)
    raise InputError(
        str(source),
        got=f"an array of shape {values.shape}",
        expected=f"({BANDS}, frames), or the same with three channels",
    )


def _is_mapped(channels: NDArray[Any]) -> bool:
    """Whether (3, H, W) shows grey levels through a colour map: few colours, and not grey."""
    if len(channels) != 3 or channels[0].size < 4 * MAPPED:
        return False
    largest = np.iinfo(channels.dtype).max if channels.dtype.kind == "u" else 1
    red, green, blue = np.rint(channels * (255 / largest)).astype(np.int64)
    if max(abs(red - green).max(), abs(green - blue).max()) <= 2:
        return False
    return np.unique(red << 16 | green << 8 | blue).size <= MAPPED


def _unit_of_floats(source: Path, values: NDArray[Any]) -> tuple[NDArray[Any], str]:
    lowest, highest = float(values.min()), float(values.max())
    if lowest >= 0 and highest <= 1:
        return values, "values of 0 to 1"
    if -1 <= lowest < 0 and highest <= 1:  # of a log-mel, no band would ever be silent
        raise InputError(
            str(source),
            got=f"values of {lowest:.4g} … {highest:.4g}",
            expected="a picture of 0 … 1",
            cause="it looks like one of -1 … 1, as a VAE decoder gives it: save (x + 1) / 2",
        )
    if DARKEST - ROUNDING <= lowest < 0 and highest <= BRIGHTEST + ROUNDING:
        doubt_scale(values, FRONT_END, source)
        unit = (values.astype(np.float64) - DARKEST) / (BRIGHTEST - DARKEST)
        return unit, LOG_MEL
    raise InputError(
        str(source),
        got=f"values of {lowest:.4g} … {highest:.4g}",
        expected=f"0 … 1, or a log-mel of {DARKEST:.4g} (ln 1e-5) … {BRIGHTEST:.4g} (ln 200)",
        cause="divide 8-bit levels by 255; dB of a magnitude by 8.686",
    )


def _told_by_content(source: Path, values: NDArray[np.float32]) -> Orientation:
    found = recognise(values)
    if found is None:
        raise InputError(
            str(source),
            got="a picture whose rows do not show which end is low",
            expected="--orientation high-first (low bands at the bottom, as usual) or low-first",
            cause="no harmonics of a voice stand out at either edge",
        )
    return found


def _turned(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values[::-1])
