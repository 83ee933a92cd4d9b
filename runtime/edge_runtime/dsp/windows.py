"""The video clock of the talking head: mel → encoder windows → feature rows → context of one video frame.

Source: SyncTalk_2D and its audio_pipeline, whose arithmetic is kept to the last bit.

    mel (80, T) at 80 frames/s
    → windows (n, 16, 80), one per video frame, time first as the reference pack stores them
    → encoder, one row of D features each (n, D)
    → first and last row once more (n+2, D): row k looks at video frame k−1
    → context of frame i: rows i−8 … i+7, zeros outside, so frame i always stands at row 8 (16, D)
    → the same numbers in C order in the shape that the renderer of the mode was trained with
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError, InputError

MEL_BINS = 80
MEL_HOP = 200  # samples of 16 kHz
MEL_RATE = 16000 / MEL_HOP  # mel frames per second
WINDOW_FRAMES = 16  # mel frames of one encoder window: 200 ms
MIN_SAMPLES = (WINDOW_FRAMES - 1) * MEL_HOP  # 3000: T = 1 + samples // hop reaches one window
PAST, FUTURE = 8, 8  # context rows before frame i, and from frame i on
CONTEXT_ROWS = PAST + FUTURE
DEFAULT_FPS = 25
Counting = Literal["synctalk", "wav2lip"]


@dataclass(frozen=True)
class Mode:
    """What a renderer expects for one video frame."""

    name: str
    features: int  # numbers per feature row
    shape: tuple[int, int, int]  # of one frame's context

    @property
    def size(self) -> int:
        """Numbers of one frame's context: 16 rows."""
        return CONTEXT_ROWS * self.features


MODES: Mapping[str, Mode] = MappingProxyType(
    {
        "ave": Mode("ave", 512, (32, 16, 16)),  # the audio-encoder net
        "hubert": Mode("hubert", 2048, (32, 32, 32)),  # HuBERT-large: two 50 Hz frames of 1024
        "wenet": Mode("wenet", 8192, (256, 16, 32)),  # WeNet: 16 encoder frames of 512
    }
)


def get_mode(name: str) -> Mode:
    """The mode of that name; ConfigError names the ones there are."""
    if name not in MODES:
        raise ConfigError("mode", got=f"{name!r}", expected=" or ".join(MODES))
    return MODES[name]


def check_fps(fps: float) -> float:
    """The frame rate (frames/s) itself; ConfigError unless it is positive and finite."""
    if not (np.isfinite(fps) and fps > 0):
        raise ConfigError(
            "fps", got=f"{fps}", expected="frames per second above 0", cause="SyncTalk_2D uses 25"
        )
    return fps


def check_counting(counting: str) -> Counting:
    """The counting itself; ConfigError names the ones there are."""
    if counting not in get_args(Counting):
        raise ConfigError("windows", got=f"{counting!r}", expected=" or ".join(get_args(Counting)))
    return cast("Counting", counting)


def frame_count(mel_frames: int, fps: float = DEFAULT_FPS, counting: Counting = "synctalk") -> int:
    """Number of video frames that a mel of ``mel_frames`` frames (80 per second) is long enough for.

    The two systems count differently where the mel ends within a window: of the mels of 16 … 2999 frames at
    25 fps, 760 have a window more in Wav2Lip (first at 19 frames: 3 for 2), and 24 and 30 fps have such too.

    float64 in SyncTalk_2D's order of operations: exact integer arithmetic gives one frame more in 513 cases
    below 100 000 (first at 384 mel frames).

    Raises:
        InputError: fewer mel frames than one window.
        ConfigError: a frame rate that is not positive.

    >>> frame_count(161)  # 2 s of audio
    47
    """
    check_fps(fps)
    if mel_frames < WINDOW_FRAMES:
        raise InputError(
            "mel",
            got=f"{mel_frames} mel frames",
            expected=f"at least {WINDOW_FRAMES} (one window: {MIN_SAMPLES} samples at 16 kHz)",
            cause="the recording is too short",
        )
    if counting == "wav2lip":
        return _count_wav2lip(mel_frames, fps)
    return int((mel_frames - WINDOW_FRAMES) / MEL_RATE * fps) + 2


def _count_wav2lip(mel_frames: int, fps: float) -> int:
    """Windows that begin at int(i · 80 / fps) and end within the mel, and one more, against the end.

    Source: inference.py of Rudrabha/Wav2Lip, described; its multiplier is 80.0 / fps.
    """
    step = MEL_RATE / fps
    count = max(0, int((mel_frames - WINDOW_FRAMES) / step) - 2)  # a little below, then in its own arithmetic
    while int(count * step) + WINDOW_FRAMES <= mel_frames:
        count += 1
    return count + 1


def window_starts(
    mel_frames: int, fps: float = DEFAULT_FPS, counting: Counting = "synctalk"
) -> NDArray[np.int64]:
    """(n,): first mel frame of each video frame's window; clamped to the last whole window.

    >>> window_starts(41)
    array([ 0,  3,  6,  9, 12, 16, 19, 22, 25])
    """
    frames = np.arange(frame_count(mel_frames, fps, counting), dtype=np.float64)
    # each in its system's order of operations
    places = frames * (MEL_RATE / fps) if counting == "wav2lip" else MEL_RATE * (frames / fps)
    starts = places.astype(np.int64)
    return np.minimum(starts, mel_frames - WINDOW_FRAMES)


def encoder_windows(
    mel: NDArray[Any],
    fps: float = DEFAULT_FPS,
    *,
    start: int = 0,
    stop: int | None = None,
    counting: Counting = "synctalk",
) -> NDArray[Any]:
    """Windows of the video frames ``start`` … ``stop``−1 (all by default).

    Args:
        mel: (80, T), T at least 16.
        fps: video frames per second.
        start: first video frame wanted.
        stop: one past the last video frame wanted; beyond the last frame it means all that remain.
        counting: how many windows there are, see `frame_count`.

    Returns:
        (n, 16, 80), time first, of the mel's dtype. The net takes them as (n, 1, 80, 16).
    """
    if mel.ndim != 2 or mel.shape[0] != MEL_BINS:
        cause = "transposed" if mel.ndim == 2 and mel.shape[1] == MEL_BINS else ""
        raise InputError("mel", got=f"shape {mel.shape}", expected=f"({MEL_BINS}, frames)", cause=cause)
    starts = window_starts(mel.shape[1], fps, counting)[start:stop]
    by_start = np.lib.stride_tricks.sliding_window_view(mel.T, WINDOW_FRAMES, axis=0)  # (T−15, 80, 16)
    return np.ascontiguousarray(by_start[starts].transpose(0, 2, 1))


def repeat_ends(features: NDArray[Any]) -> NDArray[Any]:
    """(n, D) → (n+2, D): the first and the last row are repeated once."""
    if features.ndim != 2 or len(features) == 0:
        raise InputError(
            "features", got=f"shape {features.shape}", expected="(frames, values), at least one frame"
        )
    return np.concatenate([features[:1], features, features[-1:]])


def context_window(features: NDArray[Any], i: int) -> NDArray[Any]:
    """Rows i−8 … i+7 of (L, D) as (16, D), zeros where there are none; row 8 is frame i.

    Always 16 rows, also where L is below 8 (SyncTalk_2D gets fewer there and fails).

    >>> context_window(np.array([[1.0], [2.0], [3.0]]), 1).ravel()
    array([0., 0., 0., 0., 0., 0., 0., 1., 2., 3., 0., 0., 0., 0., 0., 0.])
    """
    if features.ndim != 2:
        raise InputError("features", got=f"shape {features.shape}", expected="(frames, values)")
    if not 0 <= i < len(features):
        raise InputError("frame", got=f"{i}", expected=f"0 … {len(features) - 1}")
    window = np.zeros((CONTEXT_ROWS, features.shape[1]), features.dtype)
    rows = features[max(i - PAST, 0) : i + FUTURE]
    first = max(PAST - i, 0)
    window[first : first + len(rows)] = rows
    return window


def reshape_context(window: NDArray[Any], mode: str, *, legacy_padding: bool = False) -> NDArray[Any]:
    """One frame's context (16, D) in the renderer's shape, the numbers in C order.

    Args:
        window: (16, D); D is 512 for "ave", 2048 for "hubert", 8192 for "wenet".
        mode: ave → (32, 16, 16), hubert → (32, 32, 32), wenet → (256, 16, 32).
        legacy_padding: with "hubert" and "wenet" take the 8192 values of an AVE context and append zeros
            up to that mode's size, as the audio_pipeline of SyncTalk_2D does. The shape is right but the
            values are meaningless to a renderer trained on HuBERT or WeNet features. Only for comparing
            with that program's output.

    Raises:
        InputError: the number of values is not the mode's.

    >>> reshape_context(np.zeros((16, 512)), "ave").shape
    (32, 16, 16)
    """
    wanted = get_mode(mode)
    values = window.reshape(-1)
    if legacy_padding and len(values) == MODES["ave"].size:
        values = np.concatenate([values, np.zeros(wanted.size - len(values), values.dtype)])
    if len(values) != wanted.size:
        raise InputError(
            f"context for {mode}",
            got=f"{len(values)} values of shape {window.shape}",
            expected=f"{wanted.size} = {CONTEXT_ROWS} × {wanted.features}",
            cause=_guess_mode(len(values)),
        )
    return values.reshape(wanted.shape)


def _guess_mode(size: int) -> str:
    return next((f"these are {m.name} features" for m in MODES.values() if m.size == size), "")


def check_features(features: NDArray[Any], mode: str) -> NDArray[np.float32]:
    """External features of one row per video frame as (frames, D) float32.

    Args:
        features: (frames, D), or D split over axes: hubert (frames, 2, 1024), wenet (frames, 16, 512).
        mode: says D.

    Raises:
        InputError: another number of values per frame, no frames, or values that are not finite.
    """
    wanted = get_mode(mode).features
    if features.ndim < 2 or len(features) == 0 or features[0].size != wanted:
        raise InputError(
            f"{mode} features",
            got=f"shape {features.shape}",
            expected=f"(frames, {wanted}), one row per video frame",
            cause=_guess_features(features, mode),
        )
    if not np.issubdtype(features.dtype, np.floating):
        raise InputError(f"{mode} features", got=f"{features.dtype}", expected="floats")
    rows = features.reshape(len(features), wanted).astype(np.float32)
    if not np.isfinite(rows).all():
        raise InputError(f"{mode} features", got="NaN or infinity", expected="finite values")
    return rows


def _guess_features(features: NDArray[Any], mode: str) -> str:
    if features.ndim < 2 or len(features) == 0:
        return ""
    per_frame = features[0].size
    if mode == "hubert" and per_frame == 1024:
        return "these are single 50 Hz frames; join pairs with features.reshape(-1, 2048)"
    return next((f"these are {m.name} features" for m in MODES.values() if m.features == per_frame), "")
