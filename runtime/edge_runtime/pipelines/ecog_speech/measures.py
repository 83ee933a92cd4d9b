"""How near decoded speech is to the true one: Pearson's correlation, STOI⁺, mel cepstral distortion.

`pcc` is the correlation of all time-frequency values of a trial, averaged over trials (what the literature
calls PCC). A decoder that knows only the average spectrum of speech scores well on it, since spectra fall
with frequency and words begin at one place of their window. `centred_pcc` first subtracts the mean of the
training speech from both, bin by bin or also frame by frame: a decoder without information is then near 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.dsp.resampling import resample

MCD_BANDS = 80
STOI_RATE, STOI_FRAME, SEGMENT = 10000, 256, 30  # Hz, samples, frames
TINY = float(np.finfo(np.float64).eps)


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


def mel_cepstral_distortion(made: NDArray[Any], true: NDArray[Any]) -> float:
    """MCD in dB of two powers (T, F) over 0 … 8 kHz: 80 mel bands, cepstra 1 … 13, the mean over frames."""
    difference = _cepstra(made) - _cepstra(true)
    return float(np.mean(10 / np.log(10) * np.sqrt(2 * np.square(difference).sum(1))))


def _cepstra(power: NDArray[Any]) -> NDArray[np.float64]:
    """(T, 13)."""
    bins = power.shape[1]
    hz = np.linspace(0.0, 8000.0, bins)
    edges = 700 * (10 ** (np.linspace(0.0, 2595 * np.log10(1 + 8000 / 700), MCD_BANDS + 2) / 2595) - 1)
    rising = (hz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hz) / np.diff(edges)[1:, None]
    bank = np.maximum(0, np.minimum(rising, falling))
    bank = bank[bank.any(1)]  # narrow bands may hold no bin
    logs = np.log(np.maximum(np.asarray(power, np.float64) @ bank.T, 1e-8))
    order, place = np.arange(1, 14)[:, None], np.arange(len(bank))[None] + 0.5
    # log power = c0 + 2 Σ c cos: the distance is that of levels in dB, of their shape up to the 13th wave
    basis = np.cos(np.pi * order * place / len(bank)) / len(bank)
    cepstra: NDArray[np.float64] = logs @ basis.T
    return cepstra


def stoi_plus(made: NDArray[Any], true: NDArray[Any], sample_rate: int = 16000) -> float:
    """STOI⁺ of two signals (samples,): without normalisation and clipping; nan if too little is audible."""
    return stoi(made, true, sample_rate, plus=True)


def stoi(made: NDArray[Any], true: NDArray[Any], sample_rate: int = 16000, *, plus: bool = False) -> float:
    """Short-time objective intelligibility of two signals (samples,); nan where too little is audible.

    At 10 kHz, frames of 256 every 128, FFT 512, 15 third octaves from 150 Hz, segments of 30 frames. Source:
    Taal and others 2011; Graetzer and Hopkins 2021 for `plus`.
    """
    signals = [resample(np.asarray(x, np.float64), sample_rate, STOI_RATE) for x in (true, made)]
    x, y = _audible(*signals)
    bands = [_third_octaves(signal) for signal in (x, y)]
    frames = bands[0].shape[1]
    if frames < SEGMENT:
        return float("nan")
    scores = []
    for last in range(SEGMENT, frames + 1):
        a, b = (band[:, last - SEGMENT : last] for band in bands)
        if not plus:
            gain = np.linalg.norm(a, axis=1) / (np.linalg.norm(b, axis=1) + TINY)
            b = np.minimum(b * gain[:, None], a * (1 + 10 ** (15 / 20)))
        a, b = (band - band.mean(1, keepdims=True) for band in (a, b))
        scores.append((a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + TINY))
    return float(np.mean(scores))


def _audible(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both without the frames in which the first is 40 dB below its loudest one."""
    window = np.hanning(STOI_FRAME + 2)[1:-1]
    starts = range(0, len(x) - STOI_FRAME, STOI_FRAME // 2)
    cut = [np.array([window * signal[s : s + STOI_FRAME] for s in starts]) for signal in (x, y)]
    if not len(starts):
        return x[:0], y[:0]
    level = 20 * np.log10(np.linalg.norm(cut[0], axis=1) + TINY)
    heard = level.max() - 40 - level < 0
    results = []
    for frames in cut:
        kept = frames[heard]
        signal = np.zeros((len(kept) - 1) * STOI_FRAME // 2 + STOI_FRAME if len(kept) else 0)
        for index, frame in enumerate(kept):
            signal[index * STOI_FRAME // 2 : index * STOI_FRAME // 2 + STOI_FRAME] += frame
        results.append(signal)
    return results[0], results[1]


def _third_octaves(signal: NDArray[Any]) -> NDArray[np.float64]:
    """(15, frames) amplitudes."""
    window = np.hanning(STOI_FRAME + 2)[1:-1]
    starts = range(0, len(signal) - STOI_FRAME, STOI_FRAME // 2)
    if not len(starts):
        return np.zeros((15, 0))
    frames = np.array([window * signal[s : s + STOI_FRAME] for s in starts])
    power = np.abs(np.fft.rfft(frames, 2 * STOI_FRAME)) ** 2
    hz = np.linspace(0, STOI_RATE, 2 * STOI_FRAME + 1)[: STOI_FRAME + 1]
    order = np.arange(15)
    low, high = (150 * 2.0 ** ((2 * order + side) / 6) for side in (-1, 1))
    bank = np.zeros((15, len(hz)))
    for band in range(15):
        first, last = (int(np.argmin(np.square(hz - edge))) for edge in (low[band], high[band]))
        bank[band, first:last] = 1
    amplitudes: NDArray[np.float64] = np.sqrt(power @ bank.T).T
    return amplitudes
