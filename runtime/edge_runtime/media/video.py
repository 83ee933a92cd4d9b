"""Reading and writing grey video, and preparing its frames for the nets.

    file  →  open_video, read_frames  →  frames (T, H, W), grey: uint8, or float32 in 0 … 1
          →  follow_clock             →  frames at the rate of the mel, where the video has another one
          →  prepare_frames           →  float32 (T, size, size) in 0 … 1

Training, inference and Grad-CAM share these steps; in mri2speech they differ (area against bilinear
reduction, 1/255 against min-max).

Reading
    .npy .npz .pt   frames (T, H, W), uint8 or floats in 0 … 1 (`edge_runtime.media.frame_arrays`); .npy and
                    .npz need only numpy. They have no frame rate
    anything else   through opencv; three channels that are equal but for the noise of a codec become one by
                    BT.601's weights, channels that differ are refused
    Frames come one by one: memory does not grow with the video.

Reduction
    Each pixel of the result is the mean of the area that it covers (equal to cv2.INTER_AREA within one level
    of 255). Smaller frames are enlarged by the same rule.

Scaling
    full-scale      255 becomes 1: brightness keeps its meaning from frame to frame. The default
    min-max         each frame from its darkest (0) to its brightest pixel (1); a constant frame is all zeros
"""

from __future__ import annotations

import importlib
import math
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import BackendError, ConfigError, InputError, TargetError
from edge_runtime.media.frame_arrays import SMALLEST_SIDE, open_frames
from edge_runtime.media.frame_rate import check_rate, is_rate
from edge_runtime.store.arrays import is_array_file, split_key
from edge_runtime.store.growing_arrays import ArrayWriter
from edge_runtime.store.reading import open_regular, regular_file

FrameScaling = Literal["full-scale", "min-max"]
Frame = NDArray[Any]  # (H, W), uint8 or float32

CLOCK_TOLERANCE = 0.005  # a relative difference of frame rates that is ignored
# A pixel is coloured where its channels differ by more than a codec makes those of a grey video differ (6
# levels, measured: MPEG-4 on white noise); a frame is coloured where more than this part of its pixels is.
COLOURED_LEVELS = 24
COLOURED_PART = 0.01
# A header may announce a few frames more than there are; a file that was cut off lacks many.
LOST_FRAMES, LOST_PART = 2, 0.02
WRITTEN = (".mp4", ".mov", ".avi", ".mkv")  # videos; opencv crops odd heights and widths


@dataclass(frozen=True, eq=False)
class Video:
    """A whole video in memory."""

    frames: NDArray[Any]  # (T, H, W), uint8, or float32 in 0 … 1
    fps: float | None  # frames per second; None where the file does not say


class VideoReader:
    """A video that is read frame by frame, once: ``for frame in reader``.

    Attributes:
        path: the file.
        fps: frames per second, None where the file does not say.
        count: frames that the file's header announces: exact for .npy, approximate for others, None where
            unknown.
        height, width: of a frame, pixels.
        note: how an array of frames was read, where that had to be inferred.
    """

    def __init__(
        self,
        path: Path,
        frames: Iterator[Frame],
        *,
        fps: float | None,
        count: int | None,
        height: int,
        width: int,
        note: str = "",
    ) -> None:
        self.path = path
        self.fps = fps
        self.count = count
        self.height = height
        self.width = width
        self.note = note
        self._frames = frames

    def raw(self) -> Iterator[Frame]:
        """Frames as they are decoded, three channels or one, to the last that can be read."""
        return self._frames

    def __iter__(self) -> Iterator[Frame]:
        """(H, W) uint8, or float32 in 0 … 1.

        Raises:
            InputError: no frame at all, a coloured one, a damaged or cut-off file.
        """
        number = -1
        for number, frame in enumerate(self._frames):
            yield _grey(frame, self.path, number)
        if number < 0:
            raise InputError(str(self.path), got="no frame", expected="a video of at least one frame")
        lost = (self.count or 0) - (number + 1)
        if lost > max(LOST_FRAMES, LOST_PART * (self.count or 0)):
            raise InputError(
                str(self.path),
                got=f"only {number + 1} frames",
                expected=f"the {self.count} frames that its header announces",
                cause="the file is damaged or was cut off",
            )


@contextmanager
def open_video(path: str | os.PathLike[str], *, square: bool = False) -> Iterator[VideoReader]:
    """Open a video for reading frame by frame.

    Args:
        path: of the file; arrays of frames as `edge_runtime.media.frame_arrays` has them.
        square: the frames must be; arrays whose axes are in another order are then recognised by it.

    Raises:
        InputError: no such file, not a video, or an array that does not hold frames.
        BackendError: a file other than .npy, and opencv is not installed.
    """
    place = Path(path)
    regular_file(split_key(place)[0], "a video file, or .npy frames (T, H, W)")
    with _open_array(place, square=square) if is_array_file(place) else _open_capture(place) as reader:
        yield reader


def read_frames(path: str | os.PathLike[str], limit: int | None = None) -> Video:
    """A whole video, or its first ``limit`` frames.

    Raises:
        InputError, BackendError: as `open_video` and iteration.
    """
    with open_video(path) as reader:
        frames: list[Frame] = []
        for frame in reader:
            if limit is not None and len(frames) >= limit:
                break
            frames.append(frame)
        return Video(np.stack(frames), reader.fps)


# preparing -------------------------------------------------------------------------------------------------


def prepare_frames(
    frames: NDArray[Any], size: int, scaling: FrameScaling = "full-scale"
) -> NDArray[np.float32]:
    """Frames reduced and scaled to a net's input.

    Args:
        frames: (T, H, W), square; uint8, or floats in 0 … 1.
        size: height and width that the net takes, pixels.
        scaling: "full-scale" or "min-max", whichever the net was trained with.

    Returns:
        (T, size, size) in 0 … 1.

    Raises:
        InputError: no frame, frames that are not square or too small, values of another type or range.
        ConfigError: no such scaling.
    """
    if scaling not in get_args(FrameScaling):
        raise ConfigError("frame scaling", got=repr(scaling), expected=", ".join(get_args(FrameScaling)))
    values = np.asarray(frames)
    if values.ndim != 3 or not values.shape[0]:
        raise InputError("frames", got=f"shape {values.shape}", expected="(T, H, W) with at least one frame")
    check_size(*values.shape[1:])
    check_levels(values)
    full = 255.0 if values.dtype == np.uint8 else 1.0
    reduced = _reduced(values, size)
    if scaling == "full-scale":
        return np.asarray(reduced / np.float32(full), np.float32)
    low = reduced.min(axis=(1, 2), keepdims=True)
    span = reduced.max(axis=(1, 2), keepdims=True) - low
    # a constant frame may leave the reduction with rounding noise, which must not be stretched to 0 … 1
    flat = span <= 1e-4 * full
    return np.asarray(np.where(flat, 0, (reduced - low) / np.where(flat, 1, span)), np.float32)


def check_size(height: int, width: int) -> None:
    """Refuse frames that are not square: squeezing them would distort the vocal tract."""
    if height != width or height < SMALLEST_SIDE:
        raise InputError(
            "frames",
            got=f"{width}x{height} pixels",
            expected=f"square frames of at least {SMALLEST_SIDE}x{SMALLEST_SIDE} pixels",
            cause="crop the video to the head first" if height != width else "",
        )


def check_levels(frames: NDArray[Any]) -> None:
    """Refuse frames (…, H, W) whose values are neither uint8 nor floats in 0 … 1."""
    if frames.dtype == np.uint8:
        return
    if frames.dtype.kind != "f":
        raise InputError("frames", got=f"values of type {frames.dtype}", expected="uint8, or floats in 0 … 1")
    low, high = float(frames.min()), float(frames.max())
    if not (low >= 0.0 and high <= 1.0):
        finite = math.isfinite(low) and math.isfinite(high)
        raise InputError(
            "frames",
            got=f"floats from {low:.4g} to {high:.4g}" if finite else "NaN or infinity",
            expected="floats in 0 … 1",
            cause="divide by 255" if finite and 1 < high <= 255 and low >= 0 else "",
        )


def rate_of(video: VideoReader, fps: float | None) -> float | None:
    """Frames per second of an open video: what the file states, else ``fps``; None where neither does.

    Raises:
        ConfigError: a rate that no video has; both are there, and differ.
    """
    if fps is not None and differs(video.fps, check_rate(fps)):
        raise ConfigError(
            "--fps",
            got=f"{fps:g}",
            expected=f"{video.fps:g}, as {video.path.name} states",
            cause="leave the option out, it is for .npy frames",
        )
    return fps if video.fps is None else video.fps


def assumed_rate(clock: float) -> str:
    """The sentence for a video that states no rate, where none was given either."""
    return f"no frame rate stated: taken to be the mel's {clock:.4g} a second; --fps says another"


# writing ---------------------------------------------------------------------------------------------------


@contextmanager
def write_video(
    path: str | os.PathLike[str],
    height: int,
    width: int,
    fps: float,
    *,
    lossless: bool = False,
    colour: bool = False,
) -> Iterator[Callable[[Frame], None]]:
    """Yield a function that appends a grey frame, uint8 (H, W), to a new video.

    Args:
        path: .npy for frames (T, H, W), exact; .mp4, .mov, .avi or .mkv for a video written by opencv: in
            MPEG-4, which changes values slightly, or FFV1, which is exact.
        height, width: of a frame, pixels.
        fps: frames per second; opencv writes at most three decimals, so that 30000/1001 becomes 29.97.
        lossless: FFV1 instead of MPEG-4.
        colour: frames are uint8 (H, W, 3), red green blue.

    Raises:
        BackendError: a file other than .npy, and opencv is not installed.
        TargetError: another suffix, an odd height or width, opencv cannot write the file, or the file, which
            is read back at the end, differs from what was given: opencv does not report a full disk.
    """
    if Path(path).suffix.lower() == ".npy":
        with ArrayWriter(path, (height, width, 3) if colour else (height, width), np.uint8) as file:
            yield lambda frame: file.write(frame[None])
        return
    if Path(path).suffix.lower() not in WRITTEN or height % 2 or width % 2:
        raise TargetError(
            Path(path).name,
            got=f"a video of {width}x{height} pixels",
            expected=f"{', '.join(WRITTEN)} of even height and width, or .npy of any",
        )
    cv2 = import_opencv()
    codec = cv2.VideoWriter.fourcc(*("FFV1" if lossless else "mp4v"))
    given = _Frames()
    # as grey: through colour the conversion darkens everything by four levels (measured)
    writer = cv2.VideoWriter(str(path), codec, fps, (width, height), isColor=colour)
    try:
        if not writer.isOpened():
            raise TargetError(
                str(path), got="a refusal from opencv", expected="a video that opencv can write"
            )

        def append(frame: Frame) -> None:
            given.add(frame)
            writer.write(frame[:, :, ::-1].copy() if colour else frame)

        yield append
    finally:
        writer.release()
    _check_written(Path(path), given, exact=lossless and not colour)


class _Frames:
    """The number of frames, and one checksum of all of them."""

    def __init__(self) -> None:
        self.count = 0
        self.checksum = 0

    def add(self, frame: Frame) -> None:
        self.count += 1
        self.checksum = zlib.crc32(np.ascontiguousarray(frame).data, self.checksum)


def _check_written(path: Path, given: _Frames, *, exact: bool) -> None:
    """Read a video back and compare: all frames, and of a lossless one (`exact`) every pixel."""
    found = _Frames()
    if given.count and path.is_file() and path.stat().st_size:
        with suppress(InputError), _open_capture(path) as reader:
            for frame in reader if exact else reader.raw():
                found.add(frame)
    if found.count == given.count and (not exact or found.checksum == given.checksum):
        return
    got = f"{found.count} of {given.count} frames that can be read back"
    if found.count == given.count:
        got = "frames that differ from those that were written"
    raise TargetError(
        str(path), got=got, expected="all of them", cause="is the disk full? Nothing was left half-written"
    )


# the clock -------------------------------------------------------------------------------------------------


def follow_clock(frames: Iterable[Frame], fps: float | None, clock: float) -> Iterator[Frame]:
    """Frames at another rate, interpolated linearly between the two nearest.

    Frame i of the result stands at i / clock seconds; the result lasts as long as the video, whose last frame
    is held to its end. Where the rates differ by at most 0.5 %, or ``fps`` is unknown, frames pass unchanged.

    Args:
        frames: (H, W) each; only two are held at a time.
        fps: frames per second of the video, or None.
        clock: frames per second of the result.

    >>> levels = [np.full((1, 1), level) for level in (0.0, 1.0, 2.0)]
    >>> [float(frame[0, 0]) for frame in follow_clock(levels, fps=10, clock=20)]
    [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]
    """
    if not differs(fps, clock):
        yield from frames
        return
    assert fps is not None
    step = fps / clock  # frames of the video per frame of the result
    wanted = 0
    seen = -1
    before: Frame | None = None
    for seen, frame in enumerate(frames):
        while wanted * step <= seen:
            part = wanted * step - (seen - 1)
            yield frame if before is None or part >= 1 else _blended(before, frame, part)
            wanted += 1
        before = frame
    while before is not None and wanted < round((seen + 1) / step, 6):
        yield before
        wanted += 1


def differs(fps: float | None, clock: float) -> bool:
    """Whether a frame rate is known and differs from the clock by more than the tolerance.

    >>> differs(25.0, 25.1), differs(30.0, 25.0), differs(None, 25.0)
    (False, True, False)
    """
    return fps is not None and abs(fps - clock) > CLOCK_TOLERANCE * clock


def _blended(before: Frame, after: Frame, part: float) -> Frame:
    mixed = before + np.float32(part) * (after.astype(np.float32) - before)
    levels = before.dtype == np.uint8
    return np.asarray(np.rint(mixed) if levels else mixed, np.uint8 if levels else np.float32)


def _reduced(frames: NDArray[Any], size: int) -> NDArray[np.float32]:
    """(T, H, W) → float32 (T, size, size) in the unit of ``frames``."""
    height, width = frames.shape[1:]
    values = np.asarray(frames, np.float32)
    if (height, width) == (size, size):
        return values
    return np.asarray(_overlap(size, height) @ values @ _overlap(size, width).T, np.float32)


@cache
def _overlap(size: int, length: int) -> NDArray[np.float32]:
    """(size, length): the part of each pixel of the result that lies on each pixel of the source frame."""
    edges = np.linspace(0, length, size + 1)
    left = np.maximum(edges[:-1, None], np.arange(length))
    right = np.minimum(edges[1:, None], np.arange(1, length + 1))
    return np.asarray(np.maximum(right - left, 0) * (size / length), np.float32)


# reading ---------------------------------------------------------------------------------------------------


def _grey(frame: Frame, path: Path, number: int) -> Frame:
    """(H, W) of a frame (H, W) or (H, W, 3), blue green red; refuses one that is coloured."""
    if frame.ndim == 2:
        return frame
    # plane by plane: sixty times faster than over the last axis
    blue, green, red = (frame[..., channel] for channel in range(3))
    spread = np.maximum(np.maximum(blue, green), red) - np.minimum(np.minimum(blue, green), red)
    part = np.count_nonzero(spread > COLOURED_LEVELS) / spread.size
    if part > COLOURED_PART:
        raise InputError(
            str(path),
            got=f"colour in {100 * part:.0f} % of frame {number}",
            expected="a grey video",
            cause="is this the MRI video, not a camera's? `ffmpeg -i IN -vf format=gray OUT` removes colour",
        )
    return np.asarray(import_opencv().cvtColor(frame, import_opencv().COLOR_BGR2GRAY))


@contextmanager
def _open_array(path: Path, *, square: bool) -> Iterator[VideoReader]:
    with open_regular(split_key(path)[0]) as file:
        frames = open_frames(path, file, square=square)
        count, height, width = frames.shape
        checked = (_level_checked(frame, path) for frame in frames)
        yield VideoReader(path, checked, fps=None, count=count, height=height, width=width, note=frames.note)


def _level_checked(frame: Frame, path: Path) -> Frame:
    try:
        check_levels(frame)
    except InputError as error:
        raise error.within(str(path)) from error
    return frame if frame.dtype == np.uint8 else frame.astype(np.float32)


@contextmanager
def _open_capture(path: Path) -> Iterator[VideoReader]:
    cv2 = import_opencv()
    known = cv2.CAP_FFMPEG in cv2.videoio_registry.getBackends()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG if known else cv2.CAP_ANY)
    try:
        if not capture.isOpened():
            raise InputError(
                str(path),
                got="bytes that opencv cannot read" if path.stat().st_size else "an empty file",
                expected="a video file, or .npy frames (T, H, W)",
            )
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        yield VideoReader(
            path,
            _captured(capture),
            fps=fps if is_rate(fps) else None,
            count=count if count > 0 else None,
            height=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            width=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        )
    finally:
        capture.release()


def _captured(capture: Any) -> Iterator[Frame]:
    while True:
        more, frame = capture.read()
        if not more:
            return
        yield frame


def import_opencv() -> Any:
    """The module cv2, its decoders silenced: our errors say in one sentence what they would print.

    Raises:
        BackendError: it is not installed.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise BackendError(
            "reading and writing video",
            got="no module named cv2",
            expected="opencv, or .npy frames (T, H, W)",
            cause="pip install 'edge-export[video]'",
        ) from error
