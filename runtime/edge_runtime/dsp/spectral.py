"""The one short-time Fourier transform of the project, forward and inverse, block by block.

Conventions
    * Signals are ``(samples,)``. Inside, spectra are time-major ``(frames, bins)`` and contiguous, because
      FFT and overlap-add walk along a frame; `Stft.forward` and `Stft.inverse` show ``(bins, frames)``.
    * The window is the periodic Hann, ``0.5 - 0.5 cos(2πn / win_length)``. A window shorter than the
      transform stands ``(n_fft - win_length) // 2`` samples after the frame's start, zeros around it.
    * The forward transform is not scaled. The inverse is the least-squares one (Griffin and Lim, 1984):
      ``x[n] = Σ_m w[n - mh] irfft(X_m)[n - mh] / Σ_m w²[n - mh]``.

Padding: what stands before and after the signal

    none            nothing: frame m covers the samples m·hop … m·hop + n_fft
    center-zero     n_fft // 2 zeros: frame m is centred on sample m·hop (librosa since 0.9)
    center-reflect  the same with the signal mirrored about its end samples (torch.stft)
    reflect         (n_fft - hop) // 2 mirrored samples: exactly ⌊samples / hop⌋ frames (HiFi-GAN)

Memory beside input and output is one block of frames per worker, whatever the length of the signal. A
result does not depend on the block size (a multiple of 16) or the number of workers, not in a single bit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError, InputError

Padding = Literal["none", "center-zero", "center-reflect", "reflect"]
Array = NDArray[Any]

# Frames that are transformed together. Measured on `talking-head`: 128 … 256 differ by less than 3 %, 64 is
# 10 % slower, 32 is 30 % slower. A multiple of 16, because scipy transforms rows by the vector register.
BLOCK_FRAMES = 128

# Full scale is ±1, and int16 values in floats reach 32768. A sample beyond this limit cannot be audio, and
# the squares of much larger values overflow.
LARGEST_SAMPLE = 1e6

LONGEST_FRAME = 1 << 17  # samples, of a transform or from one to the next; nobody has longer ones

# Where the sum of squared windows is smaller than this, overlap-add cannot tell what the sample was.
_SMALLEST_WEIGHT = 1e-10

_NUMPY_FFT_HAS_OUT = int(np.__version__.split(".")[0]) >= 2


def hann(length: int, dtype: str = "float64") -> Array:
    """Periodic Hann window, ``(length,)``: the first sample is 0, the maximum stands at ``length / 2``.

    >>> hann(4)
    array([0. , 0.5, 1. , 0.5])
    """
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / length)).astype(dtype)


@dataclass(frozen=True)
class StftConfig:
    """Framing of one transform. Raises `ConfigError` where the numbers contradict each other.

    >>> config = StftConfig(n_fft=1024, hop_length=256, win_length=1024)
    >>> config.bins, config.frames(16000)
    (513, 63)
    """

    n_fft: int  # samples per frame, odd lengths included
    hop_length: int  # samples from frame to frame
    win_length: int  # samples of the window, at most n_fft
    padding: Padding = "center-reflect"

    def __post_init__(self) -> None:
        for name in ("n_fft", "hop_length", "win_length"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= LONGEST_FRAME:
                raise ConfigError(
                    name, got=repr(value), expected=f"a whole number of samples, 1 to {LONGEST_FRAME}"
                )
        if self.win_length < 2:
            raise ConfigError(
                "win_length",
                got=str(self.win_length),
                expected="at least 2 samples",
                cause="a periodic Hann window of one sample is zero",
            )
        if self.win_length > self.n_fft:
            raise ConfigError(
                "win_length", got=f"{self.win_length} samples", expected=f"at most n_fft = {self.n_fft}"
            )
        if self.padding not in get_args(Padding):
            raise ConfigError("padding", got=repr(self.padding), expected=", ".join(get_args(Padding)))
        if self.padding == "reflect" and self.hop_length > self.n_fft:
            raise ConfigError(
                "padding",
                got=f"'reflect' with hop_length {self.hop_length} > n_fft {self.n_fft}",
                expected="hop_length <= n_fft",
                cause="the padding is (n_fft - hop_length) // 2 samples",
            )

    @property
    def bins(self) -> int:
        """One-sided bins, 0 … Nyquist (an odd n_fft has no bin at Nyquist)."""
        return self.n_fft // 2 + 1

    @property
    def pad(self) -> int:
        """Samples added before the signal, and again after it."""
        if self.padding == "none":
            return 0
        return (self.n_fft - self.hop_length) // 2 if self.padding == "reflect" else self.n_fft // 2

    @property
    def min_samples(self) -> int:
        """Fewest samples that give one frame (a mirror about the end samples needs one more than it adds)."""
        mirrored = self.pad + 1 if self.padding in ("center-reflect", "reflect") else 1
        return max(mirrored, self.n_fft - 2 * self.pad)

    def frames(self, samples: int) -> int:
        """Frames of a signal of so many samples, 0 if it is too short."""
        if samples < self.min_samples:
            return 0
        return 1 + (samples + 2 * self.pad - self.n_fft) // self.hop_length


class Signal(Protocol):
    """Samples that are read piece by piece, so that conditioning needs no copy of the whole signal."""

    @property
    def size(self) -> int: ...

    def read(self, start: int, out: Array) -> None:
        """Writes the samples from ``start`` on into ``out (count,)``; all of them exist."""


class ArraySignal:
    """An array as a `Signal`; the reader's buffer decides the precision."""

    def __init__(self, samples: Array) -> None:
        self.samples = samples
        self.size: int = samples.size

    def read(self, start: int, out: Array) -> None:
        """Writes the samples from ``start`` on into ``out (count,)``."""
        np.copyto(out, self.samples[start : start + out.size], casting="same_kind")


class Stft:
    """Short-time Fourier transform and its least-squares inverse.

    Args:
        config: framing and padding.
        dtype: ``"float32"`` (spectra are complex64) or ``"float64"`` (complex128).
        workers: threads of the forward transform; each owns one block of frames.

    float32 goes through scipy.fft where it is installed (numpy before 2 has no float32 transform), float64
    through numpy, which is as fast there and needs no temporary array.

    >>> stft = Stft(StftConfig(n_fft=512, hop_length=128, win_length=512), "float64")
    >>> audio = np.sin(np.arange(2048) / 10)
    >>> spectrum = stft.forward(audio)
    >>> spectrum.shape
    (257, 17)
    >>> bool(np.allclose(stft.inverse(spectrum), audio))
    True
    """

    def __init__(self, config: StftConfig, dtype: str = "float32", workers: int = 1) -> None:
        self.config = config
        self.dtype = real_dtype(dtype)
        self.complex_dtype = np.result_type(self.dtype, np.complex64)
        self.workers = check_workers(workers)
        self.block_frames = BLOCK_FRAMES
        self.window = hann(config.win_length).astype(self.dtype)
        self._scaled_window = (hann(config.win_length) * config.n_fft).astype(self.dtype)
        self._window_start = (config.n_fft - config.win_length) // 2
        self._fft = _scipy_fft() if self.dtype == np.float32 else None

    def forward(self, x: Array) -> Array:
        """Spectrum ``(bins, frames)`` of a signal ``(samples,)``: a view of the time-major array.

        Raises:
            InputError: not one channel, not floating point, not finite, or too short for one frame.
        """
        return self.analyze(x).T

    def inverse(self, spectrum: Array, length: int | None = None) -> Array:
        """Signal ``(length,)`` of a spectrum ``(bins, frames)``; see `synthesize`."""
        return self.synthesize(np.asarray(spectrum).T, length)

    def analyze(self, x: Array, out: Array | None = None) -> Array:
        """Spectrum ``(frames, bins)`` of a signal ``(samples,)``, written into ``out`` if that is given."""
        signal = ArraySignal(check_signal(x, self.config.min_samples))
        frames = self.config.frames(signal.size)
        spectrum = np.empty((frames, self.config.bins), self.complex_dtype) if out is None else out

        def transform(blocks: Iterator[tuple[int, int]]) -> None:
            workspace = self.workspace()
            for start, stop in blocks:
                self.transform_block(signal, start, workspace, spectrum[start:stop])

        for_each_block(transform, frames, self.block_frames, self.workers)
        return spectrum

    def blocks(self, signal: Signal) -> Iterator[tuple[int, Array]]:
        """Yields ``(first frame, (frames, bins))`` block by block; the buffer is reused by the next block."""
        workspace = self.workspace()
        spectrum = np.empty((self.block_frames, self.config.bins), self.complex_dtype)
        frames = self.config.frames(signal.size)
        for start in range(0, frames, self.block_frames):
            block = spectrum[: min(self.block_frames, frames - start)]
            self.transform_block(signal, start, workspace, block)
            yield start, block

    def workspace(self) -> _Workspace:
        """Buffers of one worker."""
        return _Workspace(self.config, self.block_frames, self.dtype)

    def transform_block(self, signal: Signal, first: int, workspace: _Workspace, out: Array) -> None:
        """Writes the frames ``first … first + len(out)`` of a signal into ``out (frames, bins)``."""
        config, count = self.config, len(out)
        samples = workspace.samples[: (count - 1) * config.hop_length + config.win_length]
        position = first * config.hop_length + self._window_start - config.pad
        _read_padded(signal, position, samples, mirror="reflect" in config.padding)
        spectrum = self._rfft(workspace.overlapping[:count], workspace, out)
        if spectrum is not out:
            out[...] = spectrum

    def transform_padded(self, rows: Array, first: int, workspace: _Workspace, out: Array) -> Array:
        """Transforms the frames ``first … first + len(out)`` of a padded signal.

        Args:
            rows: ``(rows, hop_length)``, contiguous, the padded signal as `padded_rows` lays it out.
            first: number of the first frame.
            workspace: of this worker.
            out: ``(frames, bins)``, complex.

        Returns:
            ``(frames, bins)``: ``out``, or a new array where that saves a copy.
        """
        hop, step = self.config.hop_length, rows.itemsize
        overlapping: Array = np.ndarray(
            (len(out), self.config.win_length),
            rows.dtype,
            buffer=rows,
            offset=(first * hop + self._window_start) * step,
            strides=(hop * step, step),
        )
        return self._rfft(overlapping, workspace, out)

    def synthesize(self, spectrum: Array, length: int | None = None, out: Array | None = None) -> Array:
        """Least-squares inverse of a time-major spectrum.

        Args:
            spectrum: ``(frames, bins)``, complex.
            length: samples wanted; by default all that the frames cover, less the padding. Samples beyond
                the last frame are zero, as are samples where every window is zero (the first one, without
                padding).
            out: ``(length,)``, where to write.

        Returns:
            ``(length,)`` in the transform's dtype.

        Raises:
            InputError: no frame, or another number of bins than ``n_fft // 2 + 1``.
        """
        spectrum = self._check_spectrum(spectrum)
        config, count = self.config, len(spectrum)
        if out is None:
            natural = max(0, config.n_fft + (count - 1) * config.hop_length - 2 * config.pad)
            out = np.empty(natural if length is None else length, self.dtype)
        rows = self._overlap_add(spectrum)
        self._divide_by_weight(rows, count)
        samples = rows.reshape(-1)[config.pad : config.pad + out.size]
        out[: samples.size] = samples
        out[samples.size :] = 0
        return out

    def _check_spectrum(self, spectrum: Array) -> Array:
        spectrum = np.asarray(spectrum)
        if spectrum.ndim != 2 or spectrum.shape[1] != self.config.bins or not len(spectrum):
            raise InputError(
                "spectrum",
                got=f"frames × bins of {' × '.join(map(str, spectrum.shape))}",
                expected=f"at least one frame of {self.config.bins} bins",
                cause=f"n_fft is {self.config.n_fft}",
            )
        return spectrum

    def padded_rows(self, frames: int) -> Array:
        """``(rows, hop_length)`` zeros for the padded signal of so many frames: what `add_block` adds to."""
        pieces = -(-self.config.n_fft // self.config.hop_length)
        return np.zeros((frames + pieces - 1, self.config.hop_length), self.dtype)

    def add_block(self, spectrum: Array, first: int, workspace: _Workspace, rows: Array) -> None:
        """Adds the windowed inverse transforms of ``spectrum (frames, bins)`` to a padded signal, in place.

        ``rows (rows, hop_length)`` are those of `padded_rows`; ``first`` is the number of the first frame.
        When all frames have been added, ``rows`` times `inverse_weight` is the least-squares inverse.
        """
        config, count = self.config, len(spectrum)
        hop, start = config.hop_length, self._window_start
        frames = self._irfft(spectrum, workspace.frames[:count])
        frames[:, start : start + config.win_length] *= self.window
        frames[:, :start] = 0
        frames[:, start + config.win_length :] = 0
        # last piece first: each sample then adds its frames in order of time, for any block size
        for piece in reversed(range(-(-config.n_fft // hop))):
            part = frames[:, piece * hop : (piece + 1) * hop]
            rows[first + piece : first + piece + count, : part.shape[1]] += part

    def inverse_weight(self, frames: int) -> Array:
        """``1 / Σ w²`` of the padded signal's samples, ``(rows, hop_length)``; 0 where no window reaches."""
        rows = np.ones_like(self.padded_rows(frames))
        self._divide_by_weight(rows, frames)
        return rows

    @property
    def covers_every_sample(self) -> bool:
        """Whether ``Σ w²`` is nowhere zero between two frames (nonzero overlap-add, NOLA)."""
        return bool(self._square_window().sum(axis=0).min() > _SMALLEST_WEIGHT)

    def _overlap_add(self, spectrum: Array) -> Array:
        """Windowed frames, added where they overlap: the padded signal as rows of one hop."""
        rows = self.padded_rows(len(spectrum))
        workspace = self.workspace()
        for first in range(0, len(spectrum), self.block_frames):
            self.add_block(spectrum[first : first + self.block_frames], first, workspace, rows)
        return rows

    def _divide_by_weight(self, rows: Array, count: int) -> None:
        """Divides by ``Σ w²`` in place, 0 where no window reaches; all rows but the ends share one weight."""
        square = self._square_window()
        pieces = len(square)
        inner = slice(pieces - 1, max(count, pieces - 1))
        ends = [*range(pieces - 1), *range(inner.stop, len(rows))]
        rows[inner] *= self._inverse(square.sum(axis=0))
        for row in ends:
            rows[row] *= self._inverse(square[max(0, row - count + 1) : row + 1].sum(axis=0))

    def _square_window(self) -> Array:
        """``w²`` in float64 as rows of one hop, which overlap-add puts on top of each other."""
        hop, pieces = self.config.hop_length, -(-self.config.n_fft // self.config.hop_length)
        window = np.zeros(pieces * hop)
        window[self._window_start : self._window_start + self.config.win_length] = hann(
            self.config.win_length
        )
        return (window**2).reshape(pieces, hop)

    def _inverse(self, weight: Array) -> Array:
        inverse = np.zeros_like(weight)
        np.divide(1.0, weight, out=inverse, where=weight > _SMALLEST_WEIGHT)
        return inverse.astype(self.dtype)

    def _rfft(self, overlapping: Array, workspace: _Workspace, out: Array) -> Array:
        """Spectrum of frames ``(count, win_length)``, in ``out`` or new."""
        count = len(overlapping)
        # numpy's float32 transform goes through float64 unless it divides by n_fft: 1.5 … 6 times as long
        scaled = self._fft is None and _NUMPY_FFT_HAS_OUT and self.dtype == np.float32
        window = self._scaled_window if scaled else self.window
        np.multiply(overlapping, window, out=workspace.windowed[:count])
        frames = workspace.frames[:count]
        if self._fft is not None or not _NUMPY_FFT_HAS_OUT:
            spectrum: Array = (self._fft or np.fft).rfft(frames, axis=1)
            return spectrum
        np.fft.rfft(frames, axis=1, norm="forward" if scaled else "backward", out=out)
        return out

    def _irfft(self, spectrum: Array, out: Array) -> Array:
        """The frames, in ``out`` or new."""
        if self._fft is not None or not _NUMPY_FFT_HAS_OUT:
            frames: Array = (self._fft or np.fft).irfft(spectrum, self.config.n_fft, axis=1)
            return frames
        np.fft.irfft(spectrum, self.config.n_fft, axis=1, out=out)
        return out


class _Workspace:
    """Buffers that one worker reuses from block to block."""

    def __init__(self, config: StftConfig, block_frames: int, dtype: np.dtype[Any]) -> None:
        hop, length = config.hop_length, config.win_length
        self.samples = np.empty((block_frames - 1) * hop + length, dtype)
        step = self.samples.itemsize
        # (block_frames, win_length): row m starts hop samples after row m - 1, on the same memory
        self.overlapping = np.lib.stride_tricks.as_strided(
            self.samples, (block_frames, length), (hop * step, step), writeable=False
        )
        self.frames = np.zeros((block_frames, config.n_fft), dtype)
        start = (config.n_fft - length) // 2
        self.windowed = self.frames[:, start : start + length]  # the rest of a frame stays zero


def for_each_block(
    work: Callable[[Iterator[tuple[int, int]]], None], frames: int, block_frames: int, workers: int
) -> None:
    """Calls ``work`` once per worker with an iterator over the blocks ``(start, stop)`` still to be done.

    The workers share one queue, so that a busy core does not hold the others up.
    """
    starts = iter(range(0, frames, block_frames))
    lock = threading.Lock()

    def remaining() -> Iterator[tuple[int, int]]:
        while True:
            with lock:
                start = next(starts, None)
            if start is None:
                return
            yield start, min(start + block_frames, frames)

    workers = min(workers, -(-frames // block_frames))
    if workers <= 1:
        work(remaining())
        return
    with ThreadPoolExecutor(workers) as pool:
        for future in [pool.submit(work, remaining()) for _ in range(workers)]:
            future.result()


def check_signal(x: Array, min_samples: int, what: str = "audio") -> Array:
    """The signal ``(samples,)`` itself, checked.

    Raises:
        InputError: not one channel, not floating point, not finite, larger than `LARGEST_SAMPLE`, or fewer
            than ``min_samples`` samples. It calls the signal ``what``.
    """
    x = np.asarray(x)
    if x.ndim != 1:
        raise InputError(
            what,
            got=f"an array of shape {x.shape}",
            expected="one channel, shape (samples,)",
            cause="average the channels or choose one",
        )
    if x.dtype.kind != "f":
        raise InputError(
            what,
            got=f"{x.dtype} samples",
            expected="floating-point samples, full scale at ±1",
            cause="divide int16 samples by 32768",
        )
    if x.size < min_samples:
        raise InputError(
            what,
            got=f"{x.size} samples",
            expected=f"at least {min_samples} samples (one frame)",
            cause="the recording is too short" if x.size else "the recording is empty",
        )
    # the extrema carry NaN and infinity without a temporary array
    low, high = float(x.min()), float(x.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(
            what,
            got=f"a sample that is NaN or infinite, the first at index {_first_not_finite(x)}",
            expected="finite samples",
            cause="the file is damaged, or something before it divided by zero",
        )
    if max(-low, high) > LARGEST_SAMPLE:
        raise too_large(high if high > -low else low, what)
    return x


def too_large(value: float, what: str) -> InputError:
    """The error for a finite sample beyond `LARGEST_SAMPLE`; ``what`` names the signal."""
    return InputError(
        what,
        got=f"a sample of {value:g}",
        expected="samples with full scale at ±1",
        cause="are these integers? Divide them by their full scale",
    )


def _first_not_finite(x: Array) -> int:
    for start in range(0, x.size, 1 << 16):
        bad = np.flatnonzero(~np.isfinite(x[start : start + (1 << 16)]))
        if bad.size:
            return start + int(bad[0])
    raise AssertionError("called on a finite signal")


def real_dtype(dtype: str) -> np.dtype[Any]:
    """``float32`` or ``float64`` as a numpy dtype; `ConfigError` for any other."""
    if str(dtype) not in ("float32", "float64"):
        raise ConfigError("dtype", got=repr(dtype), expected="'float32' or 'float64'")
    return np.dtype(dtype)


def check_workers(workers: int) -> int:
    """The number of threads itself; `ConfigError` unless it is a whole number, at least 1."""
    if not isinstance(workers, int) or workers < 1:
        raise ConfigError("workers", got=repr(workers), expected="a whole number of threads, at least 1")
    return workers


def _read_padded(signal: Signal, position: int, out: Array, *, mirror: bool) -> None:
    """Fills ``out`` with the samples from ``position`` on, which may lie outside the signal."""
    before = min(max(-position, 0), out.size)
    after = min(max(position + out.size - signal.size, 0), out.size)
    if before + after < out.size:
        signal.read(position + before, out[before : out.size - after])
    if before:
        _fill_edge(signal, -(position + before - 1), out[:before], mirror)
    if after:
        _fill_edge(signal, 2 * (signal.size - 1) - (position + out.size - 1), out[out.size - after :], mirror)


def _fill_edge(signal: Signal, start: int, out: Array, mirror: bool) -> None:
    """Zeros, or the samples from ``start`` on in reverse."""
    if not mirror:
        out[...] = 0
        return
    image = np.empty(out.size, out.dtype)
    signal.read(start, image)
    out[...] = image[::-1]


@cache
def _scipy_fft() -> Any:
    try:
        import scipy.fft
    except ImportError:
        return None
    return scipy.fft
