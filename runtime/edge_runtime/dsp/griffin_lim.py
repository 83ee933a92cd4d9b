"""The Griffin-Lim family: a signal whose spectrogram has the given magnitude, without a model.

Two projections of a spectrum: P_A gives each bin the wanted magnitude and keeps its phase; P_C is
``STFT(iSTFT(·))``, the nearest spectrum that a signal has. With c_0 of the initial phase:

    gla     c ← P_C(P_A(c))                                                       Griffin and Lim, 1984
    fgla    t_n = P_C(P_A(c));  c = t_n + α (t_n − t_{n−1})              Perraudin, Balazs, Søndergaard, 2013
    agla    t_n = (1 − γ) d + γ P_C(P_A(c));  c = t_n + α (t_n − t_{n−1});  d = t_n + β (t_n − t_{n−1})
                                                                           Nenov, Nguyen, Balazs, Boţ, 2023
    admm    x = P_A(z − u);  v = x + u;  z = (ρ v + P_C(v)) / (1 + ρ);  u ← u + x − z
                                                                    Masuyama, Yatabe, Oikawa, 2019

α is the momentum. All but the last need no spectrum between iterations: P_C's result is known by its signal,
and everything else is linear, so the extrapolations are made on signals, and a block of frames goes through
STFT, P_A and overlap-add while it is in the cache. Beside the magnitude (copied time-major) memory holds four
to six signals; ADMM holds one spectrum more.

The output after N iterations is ``iSTFT(P_A(c))``, the signal that librosa gives (order "librosa"). In
mel-speech-reconstruction (order "origin") P_A comes before the extrapolation, ``q_n = P_A(P_C(c)),
c = q_n + α (q_n − q_{n−1})``, and the output after N + 1 iterations is ``iSTFT(c)``: on signals that is the
same iteration, but the extrapolated signal is returned.

`RealtimeGriffinLim` is FGLA on the newest frames only, for streams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np

from edge_runtime.dsp.spectral import BLOCK_FRAMES, Array, Padding, Stft, StftConfig
from edge_runtime.errors import ConfigError, InputError

Algorithm = Literal["gla", "fgla", "agla", "admm"]
Order = Literal["librosa", "origin"]
Progress = Callable[[int, float], object]  # iterations done, relative change of the signal by the last one

MOMENTUM = 0.99
AGLA_BETA, AGLA_GAMMA = 1.1, 1.25  # of the paper; its α is the momentum
ADMM_RHO = 0.2  # of the paper: 0.1; 0.2 comes nearer on speech after 16 … 100 iterations


def griffin_lim(
    magnitude: Array,
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    n_iter: int = 32,
    momentum: float = MOMENTUM,
    algorithm: Algorithm = "fgla",
    order: Order = "librosa",
    init: Literal["zero", "random"] | Array = "zero",
    seed: int = 0,
    length: int | None = None,
    padding: Padding = "center-zero",
    tolerance: float | None = None,
    callback: Progress | None = None,
) -> Array:
    """Signal ``(samples,)`` of a magnitude ``(bins, frames)``, float64 if that is, else float32.

    Args:
        magnitude: linear, of the transform that the next three and `padding` describe (periodic Hann).
        n_fft: samples per frame.
        hop_length: samples from frame to frame.
        win_length: samples of the window, by default n_fft.
        n_iter: iterations; 0 returns the inverse transform with the initial phase.
        momentum: α of `fgla` and `agla`; 0 makes `fgla` the same as `gla`. The others have none.
        algorithm: `gla`, `fgla`, `agla` or `admm`.
        order: of P_A and the extrapolation, for `fgla`: "librosa", or "origin" as mel-speech-reconstruction.
        init: initial phase: `zero`, `random` (uniform), or an array ``(bins, frames)`` of radians, or of
            complex numbers whose phase is taken.
        seed: of the random phase.
        length: samples wanted; by default all that the frames cover, less the padding.
        padding: what stood before and after the signal; "center-zero" is librosa's. The mirrored paddings
            mirror the estimate in each iteration. Without padding ("none") the first and last samples, which
            only the edge of one window covers, fade in and out: least squares would magnify their errors.
        tolerance: end when an iteration changes the signal by less than this part of its norm.
        callback: called after each iteration with the number done and that relative change.

    Raises:
        ConfigError: numbers that contradict each other; a hop so long that the windows leave gaps.
        InputError: a magnitude of another size, negative, or not finite; initial phases of another size.

    >>> magnitude = np.ones((513, 20), np.float32)
    >>> griffin_lim(magnitude, n_fft=1024, hop_length=256, n_iter=2).shape
    (4864,)
    """
    config = check_config(n_fft, hop_length, win_length, padding)
    check_options(n_iter, momentum)
    check_choices(algorithm, order, length, tolerance)
    magnitude = check_magnitude(magnitude, config)
    projection = Projection(magnitude, config, length)
    phase = _initial_phase(init, magnitude, seed)
    spectrum = projection.spectrum() if algorithm == "admm" else None
    signal = projection.start(phase, spectrum)
    phase = None  # frees a random one before the method takes its own memory
    method = method_of(algorithm, projection, signal, spectrum, momentum, order)
    for done in range(1, n_iter + 1):
        method.step()
        if tolerance is None and callback is None:
            continue
        change = _relative_change(method.signal, method.previous)
        if callback is not None:
            callback(done, change)
        if tolerance is not None and change < tolerance:
            break
    return projection.crop(method.result())


class Part(NamedTuple):
    """Some frames of a longer magnitude."""

    first: int
    of: int  # frames in all
    largest: float  # value of all


class Projection:
    """P_A between two transforms, on padded signals that are held as rows of one hop.

    Args:
        magnitude: ``(bins, frames)``.
        config: of the transform.
        length: samples that the caller wants. If they have so many frames, they are what is free to change;
            if not, what the frames cover is.
        part: of a longer magnitude, which frames these are; None: all there is.
    """

    def __init__(
        self, magnitude: Array, config: StftConfig, length: int | None, part: Part | None = None
    ) -> None:
        count = magnitude.shape[1]
        self.part = part = part or Part(0, count, float(magnitude.max()))
        # on padded signals the transform itself pads nothing
        self.stft = Stft(replace(config, padding="none"), str(magnitude.dtype))
        self._workspace = self.stft.workspace()
        self._scale = _power_of_two(part.largest)
        self.magnitude = np.empty((count, config.bins), magnitude.dtype)
        np.multiply(magnitude.T, magnitude.dtype.type(1 / self._scale), out=self.magnitude)
        self._modulus = np.empty((self.stft.block_frames, config.bins), magnitude.dtype)
        self._spectrum = np.empty(self._modulus.shape, self.stft.complex_dtype)
        frames = part.of
        covered = max(0, config.n_fft + (frames - 1) * config.hop_length - 2 * config.pad)
        inside = covered if length is None or config.frames(length) != frames else length
        mirror = config.pad if "reflect" in config.padding else 0
        if mirror and mirror >= inside:
            raise InputError(
                "magnitude",
                got=f"{frames} frames, {inside} samples",
                expected=f"more than {mirror} samples",
                cause=f"padding {config.padding} mirrors so many",
            )
        # where the signal itself lies in the rows of these frames
        self._first = part.first * config.hop_length - config.pad  # the signal's sample in front
        self._inside = slice(max(0, -self._first), max(0, inside - self._first))
        self._mirrored = (mirror if part.first == 0 else 0, mirror if part.first + count == frames else 0)
        self._length = inside if length is None else length
        self._weight = self._rows_weight(count, config.padding)
        flat = self._weight.reshape(-1)
        flat[: self._inside.start] = flat[self._inside.stop :] = 0

    def _rows_weight(self, count: int, padding: Padding) -> Array:
        """Of the rows under these frames, with what the frames beside them weigh."""
        reach = -(-self.stft.config.n_fft // self.stft.config.hop_length) - 1
        before = min(reach, self.part.first)
        after = min(reach, self.part.of - self.part.first - count)
        weight = _weight(self.stft, before + count + after, padding)
        rows: Array = np.ascontiguousarray(weight[before : len(weight) - after])
        return rows

    def initial(self, phase: Array | None) -> Iterator[tuple[slice, Array]]:
        """The magnitude with a phase ``(bins, frames)``, radians or complex, None is zero; as `spectra`."""
        for rows in self._blocks():
            spectrum = self._spectrum[: rows.stop - rows.start]
            if phase is None:
                spectrum[...] = self.magnitude[rows]
            elif phase.dtype.kind == "c":
                spectrum[...] = phase[:, rows].T
                self.impose(spectrum, rows)
            else:
                spectrum[...] = np.exp(1j * phase[:, rows].T)
                spectrum *= self.magnitude[rows]
            yield rows, spectrum

    def start(self, phase: Array | None, keep: Array | None = None) -> Array:
        """The padded signal ``(rows, hop)`` of the magnitude with a phase; ``keep`` takes their spectrum."""
        signal = self.silence()
        for rows, spectrum in self.initial(phase):
            if keep is not None:
                keep[rows] = spectrum
            self.add(spectrum, rows, signal)
        return self.settle(signal)

    def spectrum(self) -> Array:
        """An uninitialised array for a whole spectrum ``(frames, bins)``."""
        return np.empty(self.magnitude.shape, self.stft.complex_dtype)

    def silence(self) -> Array:
        """A padded signal of zeros, ``(rows, hop)``."""
        return self.stft.padded_rows(len(self.magnitude))

    def __call__(self, signal: Array, out: Array) -> Array:
        """iSTFT(P_A(STFT(signal))), written into ``out``; both padded, ``(rows, hop)``."""
        out.fill(0)
        for rows, spectrum in self.spectra(signal):
            self.impose(spectrum, rows)
            self.add(spectrum, rows, out)
        return self.settle(out)

    def spectra(self, signal: Array) -> Iterator[tuple[slice, Array]]:
        """Spectrum ``(frames, bins)`` of a padded signal, block by block; the next block overwrites it."""
        for rows in self._blocks():
            buffer = self._spectrum[: rows.stop - rows.start]
            yield rows, self.stft.transform_padded(signal, rows.start, self._workspace, buffer)

    def impose(self, spectrum: Array, rows: slice) -> None:
        """P_A of a block ``(frames, bins)``, in place; where a bin is 0 it has no phase and stays 0."""
        _impose(self.magnitude[rows], spectrum, self._modulus[: len(spectrum)])

    def add(self, spectrum: Array, rows: slice, out: Array) -> None:
        """Overlap-add of a block ``(frames, bins)`` to ``out (rows, hop)``; `settle` follows the last."""
        self.stft.add_block(spectrum, rows.start, self._workspace, out)

    def settle(self, signal: Array) -> Array:
        """Divides ``(rows, hop)`` by the sum of squared windows and renews the mirrored padding, in place."""
        signal *= self._weight
        flat, inside = signal.reshape(-1), self._inside
        before, after = self._mirrored
        if before:
            flat[:before] = flat[before + 1 : 2 * before + 1][::-1]
        if after:
            rest = flat[inside.stop : inside.stop + after]
            rest[...] = flat[inside.stop - 1 - rest.size : inside.stop - 1][::-1]
        return signal

    def crop(self, signal: Array) -> Array:
        """The wanted samples ``(length,)`` of a padded signal ``(rows, hop)``, at the magnitude's level."""
        result = np.zeros(self._length, signal.dtype)
        inside = signal.reshape(-1)[self._inside][: self._length]
        np.multiply(inside, signal.dtype.type(self._scale), out=result[: inside.size])
        return result

    def crop_rows(self, signal: Array, first: int, stop: int, out: Array) -> None:
        """Write the samples of some rows, counted in the whole magnitude, into ``out (length,)``."""
        hop = self.stft.config.hop_length
        begin = max(first * hop - self.part.first * hop, self._inside.start)
        end = min(stop * hop - self.part.first * hop, signal.size, self._inside.stop)
        end = min(end, self._length - self._first)
        if begin < end:
            target = out[begin + self._first : end + self._first]
            np.multiply(signal.reshape(-1)[begin:end], signal.dtype.type(self._scale), out=target)

    def _blocks(self) -> Iterator[slice]:
        frames = len(self.magnitude)
        for start in range(0, frames, self.stft.block_frames):
            yield slice(start, min(start + self.stft.block_frames, frames))


class Method(Protocol):
    """One member of the family, between iterations."""

    signal: Array  # the estimate
    previous: Array  # the one before

    def step(self) -> None: ...

    def result(self) -> Array:
        """The resulting padded signal, ``(rows, hop)``."""


class _Fgla:
    """GLA and FGLA: ``signal`` is iSTFT(P_A(c)), what the projection made; the next one starts further on."""

    def __init__(
        self, projection: Projection, signal: Array, momentum: float = 0.0, order: Order = "librosa"
    ) -> None:
        self.signal, self.previous = signal, np.zeros_like(signal)
        self._projection, self._momentum, self._order = projection, momentum, order
        self._ahead = signal.copy() if momentum else signal

    def step(self) -> None:
        if not self._momentum:
            self.signal, self.previous = self._projection(self.signal, self.previous), self.signal
            return
        self.signal, self.previous = self._projection(self._ahead, self.previous), self.signal
        _extrapolate(self.signal, self.previous, self._momentum, self._ahead)

    def result(self) -> Array:
        if self._order == "librosa":
            return self.signal
        self.step()
        return self._ahead if self._momentum else self.signal


class _Agla:
    """The accelerated algorithm: ``signal`` is iSTFT(P_A(c)), t and d are signals too."""

    def __init__(self, projection: Projection, signal: Array, momentum: float) -> None:
        self.signal, self.previous = signal, np.zeros_like(signal)
        self._projection, self._momentum = projection, momentum
        self._t, self._older, self._d, self._ahead = (signal.copy() for _ in range(4))

    def step(self) -> None:
        self.signal, self.previous = self._projection(self._ahead, self.previous), self.signal
        self._t, self._older = self._older, self._t
        # t = d + γ (signal − d)
        _extrapolate(self._d, self.signal, -AGLA_GAMMA, self._t)
        _extrapolate(self._t, self._older, self._momentum, self._ahead)
        _extrapolate(self._t, self._older, AGLA_BETA, self._d)

    def result(self) -> Array:
        return self.signal


class _Admm:
    """ADMM with v alone as state: δ = z − v = (P_C(v) − v) / (1 + ρ) gives u = −δ and z − u = v + 2δ.

    ``signal`` is iSTFT(v), which is iSTFT(x) too: that of δ is zero.
    """

    def __init__(self, projection: Projection, signal: Array, v: Array) -> None:
        self.signal, self.previous = signal, np.zeros_like(signal)
        self._projection, self._v = projection, v

    def step(self) -> None:
        out = self.previous
        out.fill(0)
        for rows, delta in self._projection.spectra(self.signal):
            v = self._v[rows]
            delta -= v
            delta *= delta.real.dtype.type(1 / (1 + ADMM_RHO))
            v += delta
            v += delta
            self._projection.impose(v, rows)
            v -= delta
            self._projection.add(v, rows, out)
        self.signal, self.previous = self._projection.settle(out), self.signal

    def result(self) -> Array:
        return self.signal


def method_of(
    algorithm: Algorithm,
    projection: Projection,
    signal: Array,
    spectrum: Array | None,
    momentum: float,
    order: Order,
) -> Method:
    """The method that begins with a padded signal ``(rows, hop)``, and its spectrum for `admm`."""
    if spectrum is not None:
        return _Admm(projection, signal, spectrum)
    if algorithm == "agla":
        return _Agla(projection, signal, momentum)
    return _Fgla(projection, signal, momentum, order) if algorithm == "fgla" else _Fgla(projection, signal)


def _impose(magnitude: Array, spectrum: Array, modulus: Array) -> None:
    """P_A, ``magnitude · spectrum / |spectrum|`` in place, 0 for 0; ``modulus`` is a buffer."""
    np.abs(spectrum, out=modulus)
    np.maximum(modulus, modulus.dtype.type(1e-20 if modulus.dtype == np.float32 else 1e-150), out=modulus)
    np.divide(magnitude, modulus, out=modulus)
    spectrum *= modulus


def _extrapolate(signal: Array, previous: Array, momentum: float, out: Array) -> None:
    """``out ← signal + momentum (signal − previous)``; out is neither of them."""
    np.subtract(signal, previous, out=out)
    out *= signal.dtype.type(momentum)
    out += signal


def _relative_change(signal: Array, previous: Array) -> float:
    """``‖signal − previous‖ / ‖signal‖``, 0 for silence, without a copy of the signal."""
    size = change = 0.0
    for start in range(0, len(signal), BLOCK_FRAMES):
        part = signal[start : start + BLOCK_FRAMES]
        difference = part - previous[start : start + BLOCK_FRAMES]
        size += float(np.vdot(part, part))
        change += float(np.vdot(difference, difference))
    return (change / size) ** 0.5 if size else 0.0


# Where samples stand under the edge of one window alone (the ends without padding, the newest of a stream),
# least squares divides by next to nothing what no signal has: hundreds of times full scale from speech. Their
# weight is taken as at least this part of the full one, so that the ends fade instead, and no error grows by
# more than 1 / sqrt(0.1 · Σ w²), 2.6 for a Hann window and hops of a quarter. In a stream, from 0.03 to 0.3
# speech differs by less than 2 dB.
_LEAST_WEIGHT = 0.1


def _bounded_weight(stft: Stft, frames: int) -> Array:
    """`Stft.inverse_weight`, at most ``1 / _LEAST_WEIGHT`` of what samples under all their windows have."""
    overlap = -(-stft.config.n_fft // stft.config.hop_length)  # frames that share a sample
    full = stft.inverse_weight(2 * overlap)[overlap - 1]
    rows: Array = stft.inverse_weight(frames)
    np.minimum(rows, full / stft.dtype.type(_LEAST_WEIGHT), out=rows)
    return rows


def _weight(stft: Stft, frames: int, padding: Padding) -> Array:
    """What frames that are all there are weighted with: any padding keeps away from the windows' edges."""
    return _bounded_weight(stft, frames) if padding == "none" else stft.inverse_weight(frames)


def _power_of_two(largest: float) -> float:
    """The power of 2 that scales this to ½ … 1 without rounding; 1 for zero."""
    return 2.0 ** np.frexp(largest)[1] if largest else 1.0


# ---- streams ----------------------------------------------------------------------------------------------


class RealtimeGriffinLim:
    """Frames in, samples out: RTISI-LA (Zhu, Beauregard, Wyse, 2007) with momentum.

    The phases of the newest ``look_ahead + 1`` frames may still change; those of earlier frames are final. A
    new frame takes its first phase from the samples estimated so far, then all frames that may change go
    through ``n_iter`` iterations of FGLA, and the oldest of them becomes final: its first ``hop_length``
    samples are returned.

    Args:
        n_fft, hop_length, win_length, padding: of the transform that made the magnitude, see `griffin_lim`;
            padding of zeros is held at zero, mirrored padding is estimated like any other samples.
        look_ahead: frames to wait for before one is final; by default all that overlap it.
        n_iter: iterations after each frame.
        momentum: α of FGLA.
        dtype: of samples and computation, ``"float32"`` or ``"float64"``.

    The samples are the same to the last bit however the frames are divided between calls of `push`.

    >>> stream = RealtimeGriffinLim(n_fft=1024, hop_length=256, n_iter=1)
    >>> len(stream.push(np.ones((513, 10)))) + len(stream.flush())
    2304
    """

    def __init__(
        self,
        *,
        n_fft: int,
        hop_length: int,
        win_length: int | None = None,
        look_ahead: int | None = None,
        n_iter: int = 16,
        momentum: float = MOMENTUM,
        padding: Padding = "center-zero",
        dtype: str = "float32",
    ) -> None:
        self.config = config = check_config(n_fft, hop_length, win_length, padding)
        check_options(n_iter, momentum)
        if look_ahead is None:
            look_ahead = (config.win_length - 1) // hop_length
        if not _is_whole(look_ahead) or look_ahead < 0:
            raise ConfigError(
                "look_ahead", got=repr(look_ahead), expected="a whole number of frames, at least 0"
            )
        self.look_ahead, self._n_iter, self._momentum = look_ahead, n_iter, momentum
        self._stft = Stft(replace(config, padding="none"), dtype)
        self._stft.block_frames = look_ahead + 1
        self._workspace = self._stft.workspace()
        self._overlap = -(-n_fft // hop_length)  # frames that share a sample
        self._complete = _weight(self._stft, 2 * self._overlap, padding)[: self._overlap]
        self._weights = [self._weight(seen) for seen in range(1, look_ahead + self._overlap + 1)]
        self._magnitude = np.empty((look_ahead + 1, config.bins), self._stft.dtype)
        self._modulus = np.empty_like(self._magnitude)
        self._spectra, self._buffer = (
            np.empty(self._magnitude.shape, self._stft.complex_dtype) for _ in range(2)
        )
        self.reset()

    @property
    def latency(self) -> int:
        """Delay in samples between recording a sample and returning it, if frames arrive without delay.

        It is that of the first sample of a hop, the longest: playback without gaps needs this much.
        """
        before = (self.config.n_fft - self.config.win_length) // 2  # zeros before the window
        return before + self.config.win_length + self.look_ahead * self.config.hop_length

    def reset(self) -> None:
        """Forgets the stream."""
        self._seen = 0  # frames
        self._free = 0  # frames that are not committed yet
        # rows of one hop, from the first free frame on: what the committed frames add, and the estimates
        self._committed, self._signal, self._previous, self._ahead = (
            self._stft.padded_rows(self.look_ahead + 1) for _ in range(4)
        )

    def push(self, frames: Array) -> Array:
        """Takes frames ``(bins, count)``; returns the samples ``(n,)`` that are final with them.

        Each frame gives ``hop_length`` samples; the first ``look_ahead`` frames of a stream give none.

        Raises:
            InputError: another number of bins, negative values, or values that are not finite.
        """
        frames = np.asarray(frames)
        if not (frames.ndim == 2 and len(frames) == self.config.bins and not frames.shape[1]):
            frames = check_magnitude(frames, self.config)
        rows = [self._push(frame) for frame in frames.T]
        return np.concatenate([np.empty(0, self._stft.dtype), *rows])

    def flush(self) -> Array:
        """The remaining samples ``(n,)``; what is pushed next begins a new stream."""
        config, seen = self.config, self._seen
        if not seen:
            return np.empty(0, self._stft.dtype)
        weight = _weight(self._stft, min(seen, self.look_ahead + self._overlap), config.padding)
        self._iterate(weight[-(self._free + self._overlap - 1) :])
        done = seen - self._free
        rows = [self._commit() for _ in range(self._free)]
        tail = self._committed[: self._overlap - 1] * weight[len(weight) - self._overlap + 1 :]
        samples = np.concatenate([*rows, tail.reshape(-1)])
        self.reset()
        # what the frames cover, less the padding at both ends and what has come out already
        end = config.n_fft + (seen - 1) * config.hop_length - config.pad
        begin = max(config.pad - done * config.hop_length, 0)
        rest: Array = samples[begin : max(begin, end - done * config.hop_length)]
        return rest

    def _push(self, frame: Array) -> Array:
        free = self._free
        self._magnitude[free] = frame
        self._spectra[free] = frame
        if self._seen:
            rows = slice(free, free + 1)
            found = self._stft.transform_padded(self._signal, free, self._workspace, self._spectra[rows])
            found[found == 0] = 1  # after silence the phase starts at zero
            _impose(self._magnitude[rows], found, self._modulus[rows])
            self._spectra[rows] = found
        self._seen, self._free = self._seen + 1, free + 1
        self._iterate(self._weights[min(self._seen, len(self._weights)) - 1])
        if self._free <= self.look_ahead:
            return np.empty(0, self._stft.dtype)
        position = (self._seen - self._free) * self.config.hop_length
        return self._commit()[max(self.config.pad - position, 0) :]

    def _iterate(self, weight: Array) -> None:
        """FGLA of the free frames, beside the committed ones."""
        free, rows = self._free, len(weight)
        spectra = self._spectra[:free]
        ahead = self._ahead[:rows]
        self._synthesize(spectra, weight)
        ahead[...] = self._signal[:rows]
        for _ in range(self._n_iter):
            spectra = self._stft.transform_padded(ahead, 0, self._workspace, self._buffer[:free])
            _impose(self._magnitude[:free], spectra, self._modulus[:free])
            self._signal, self._previous = self._previous, self._signal
            self._synthesize(spectra, weight)
            _extrapolate(self._signal[:rows], self._previous[:rows], self._momentum, ahead)
        self._spectra[:free] = spectra

    def _synthesize(self, spectra: Array, weight: Array) -> None:
        signal = self._signal[: len(weight)]
        signal[...] = self._committed[: len(weight)]
        self._stft.add_block(spectra, 0, self._workspace, signal)
        signal *= weight

    def _commit(self) -> Array:
        """Fixes the oldest free frame; the samples of the hop that it begins with."""
        self._stft.add_block(self._spectra[:1], 0, self._workspace, self._committed)
        row = min(self._seen - self._free, self._overlap - 1)
        samples: Array = self._committed[0] * self._complete[row]
        self._free -= 1
        for rows in (self._committed, self._signal, self._magnitude, self._spectra):
            rows[:-1] = rows[1:]
        self._committed[-1] = self._signal[-1] = 0
        return samples

    def _weight(self, seen: int) -> Array:
        """Inverse weight of the rows under the free frames when so many have been seen."""
        committed = max(0, seen - self.look_ahead - 1)
        rows = _bounded_weight(self._stft, seen)[committed:]
        if self.config.padding == "center-zero":
            known = self.config.pad - committed * self.config.hop_length
            rows.reshape(-1)[: max(known, 0)] = 0
        return rows


# ---- refusals ---------------------------------------------------------------------------------------------


def check_config(n_fft: int, hop_length: int, win_length: int | None, padding: Padding) -> StftConfig:
    config = StftConfig(n_fft, hop_length, n_fft if win_length is None else win_length, padding)
    if not Stft(config, "float64").covers_every_sample:
        raise ConfigError(
            "hop_length",
            got=f"{hop_length} samples with a window of {config.win_length}",
            expected=f"less than the window, {config.win_length // 4} for a good result",
            cause="the windows leave gaps: nonzero overlap-add (NOLA), Σ w²[n − m·hop] > 0 for all n, "
            "does not hold",
        )
    return config


def check_options(n_iter: int, momentum: float) -> None:
    if not _is_whole(n_iter) or n_iter < 0:
        raise ConfigError("n_iter", got=repr(n_iter), expected="a whole number of iterations, at least 0")
    if not 0 <= momentum < 2:
        raise ConfigError(
            "momentum", got=repr(momentum), expected="at least 0 and less than 2", cause="0.99 is usual"
        )


def check_choices(algorithm: Algorithm, order: Order, length: int | None, tolerance: float | None) -> None:
    for name, value, choices in (("algorithm", algorithm, Algorithm), ("order", order, Order)):
        if value not in get_args(choices):
            raise ConfigError(name, got=repr(value), expected=" or ".join(get_args(choices)))
    if length is not None and (not _is_whole(length) or length < 0):
        raise ConfigError("length", got=repr(length), expected="a whole number of samples, at least 0")
    if tolerance is not None and not tolerance > 0:
        raise ConfigError("tolerance", got=repr(tolerance), expected="more than 0, as 1e-3, or None")


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_magnitude(magnitude: Array, config: StftConfig) -> Array:
    """The magnitude ``(bins, frames)`` as a float array; InputError for another shape, type or range."""
    values = np.asarray(magnitude)
    if values.ndim != 2 or values.shape[0] != config.bins or not values.shape[1]:
        raise InputError(
            "magnitude",
            got=f"shape {values.shape}",
            expected=f"({config.bins}, frames), at least one frame",
            cause="is it transposed?"
            if values.ndim == 2 and values.shape[1] == config.bins
            else f"n_fft is {config.n_fft}; a mel goes through estimate_magnitude first",
        )
    if values.dtype.kind not in "iuf":
        raise InputError(
            "magnitude",
            got=f"values of type {values.dtype}",
            expected="real numbers",
            cause="take the absolute value first" if values.dtype.kind == "c" else "",
        )
    values = values.astype(np.float64 if values.dtype.itemsize > 4 else np.float32, copy=False)
    lowest, highest = float(values.min()), float(values.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise InputError("magnitude", got="values that are NaN or infinite", expected="finite values")
    if lowest < 0:
        raise InputError(
            "magnitude",
            got=f"negative values, {lowest:.4g} … {highest:.4g}",
            expected="linear values, at least 0",
            cause="this looks like a logarithm or decibels: undo it first",
        )
    return values


def _initial_phase(init: str | Array, magnitude: Array, seed: int) -> Array | None:
    if isinstance(init, str):
        if init not in ("zero", "random"):
            raise ConfigError("init", got=repr(init), expected="'zero', 'random' or an array of phases")
        return None if init == "zero" else _random_phase(magnitude, seed)
    phase = np.asarray(init)
    if phase.shape != magnitude.shape or phase.dtype.kind not in "iufc":
        raise InputError(
            "init",
            got=f"{phase.dtype} of shape {phase.shape}",
            expected=f"the phase of each bin, shape {magnitude.shape}, in radians or complex",
        )
    if not np.isfinite(phase).all():
        raise InputError("init", got="phases that are NaN or infinite", expected="finite phases")
    return phase


def _random_phase(magnitude: Array, seed: int) -> Array:
    if not _is_whole(seed) or seed < 0:
        raise ConfigError("seed", got=repr(seed), expected="a whole number, at least 0")
    generator, phase = np.random.default_rng(seed), np.empty_like(magnitude, order="C")
    for row in phase:  # in the order, and with the draws, of one large array
        row[...] = 2 * np.pi * generator.random(row.size)
    return phase
