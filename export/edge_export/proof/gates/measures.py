"""How far two sounds, or two sets of features, lie apart for those who hear or render them.

    log_mel_db     mean |Δ| of the mel spectrogram in dB: 80 bands, 23 ms windows, 6 ms apart
    mr_stft_db     the same of linear magnitudes, in the mean of three resolutions (512, 1024, 2048 samples)
    convergence    ‖|S| - |T|‖ / ‖|T|‖, the largest of the three resolutions
    pesq, stoi     ITU-T P.862.2 (1 … 4.64) and intelligibility (0 … 1) against the truth, at 16 kHz
    dnsmos_loss    by how much DNSMOS' overall opinion (1 … 5) of the truth exceeds that of the judged sound
    cosine         the least over windows, ⟨t, h⟩ / (‖t‖ ‖h‖)
    scale_error    |‖h‖ / ‖t‖ - 1| over all windows: the renderer moves by the features' size

dB are taken `RANGE_DB` below the truth's largest value and up: what is quieter is masked, or nothing.
Phases do not count: a sound that is one sample late has a large error and sounds the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp.mel import MelConfig, MelFrontEnd
from edge_runtime.dsp.perceptual import judge
from edge_runtime.dsp.spectral import Stft, StftConfig
from edge_runtime.errors import BackendError, InputError

Array = NDArray[Any]
Figures = dict[str, float | str]  # a figure, or why there is none

RANGE_DB = 80.0  # white noise of 52 dB is then 0.7 dB, where PESQ is 4.3
SIZES = (512, 1024, 2048)  # samples of a transform; a quarter from one to the next
BANDS = 80
LEAST = frozenset({"pesq", "stoi", "cosine"})  # figures whose bound is a least value
SOUND = ("log_mel_db", "mr_stft_db", "convergence", "pesq", "stoi", "dnsmos_loss")
SHORTEST = 2 * max(SIZES)  # samples that can be judged


def sound_figures(truth: Array, made: Array, sample_rate: int, names: Collection[str] = SOUND) -> Figures:
    """The named figures of two sounds ``(samples,)``, all of `SOUND` by default.

    Raises:
        InputError: sounds of different lengths, or too short to judge.
    """
    if truth.shape != made.shape or truth.ndim != 1 or truth.size < SHORTEST:
        raise InputError(
            "sound",
            got=f"{made.shape} against {truth.shape} samples",
            expected=f"two sounds of one length, at least {SHORTEST} samples",
        )
    if not np.isfinite(made).all():
        return {name: -np.inf if name in LEAST else np.inf for name in names}
    figures: Figures = {"log_mel_db": log_mel_db(truth, made, sample_rate), **stft_figures(truth, made)}
    if {"pesq", "stoi"} & set(names):
        figures |= judge(truth, made, sample_rate)
    if "dnsmos_loss" in names:
        figures["dnsmos_loss"] = _dnsmos_loss(truth, made, sample_rate)
    return {name: figures[name] for name in SOUND if name in names}


def log_mel_db(truth: Array, made: Array, sample_rate: int) -> float:
    """Mean |Δ| in dB of the mels of two sounds ``(samples,)``."""
    config = MelConfig(
        sample_rate=sample_rate,
        n_fft=1024,
        hop_length=256,
        win_length=min(1024, max(64, round(0.0232 * sample_rate))),
        n_mels=BANDS,
        log="none",
        floor=1e-12,
    )
    front_end = MelFrontEnd(config, dtype="float64")
    return _mean_db(np.asarray(front_end(truth)), np.asarray(front_end(made)))


def stft_figures(truth: Array, made: Array) -> dict[str, float]:
    """``mr_stft_db`` and ``convergence`` of two sounds ``(samples,)``."""
    distances, convergences = [], []
    for size in SIZES:
        stft = Stft(
            StftConfig(n_fft=size, hop_length=size // 4, win_length=size, padding="center-reflect"),
            dtype="float64",
        )
        t, h = (np.abs(stft.forward(np.asarray(samples, np.float64))) for samples in (truth, made))
        distances.append(_mean_db(t, h))
        norm = float(np.linalg.norm(t))
        convergences.append(float(np.linalg.norm(h - t)) / norm if norm else float(np.any(h)))
    return {"mr_stft_db": float(np.mean(distances)), "convergence": max(convergences)}


def feature_figures(truth: Array, made: Array) -> Figures:
    """``cosine`` and ``scale_error`` of features ``(windows, features)``."""
    t, h = np.asarray(truth, np.float64), np.asarray(made, np.float64)
    if not np.isfinite(h).all():
        return {"cosine": -1.0, "scale_error": float("inf")}
    sizes = np.linalg.norm(t, axis=-1) * np.linalg.norm(h, axis=-1)
    inner = np.sum(t * h, axis=-1)
    cosines = np.where(sizes > 0, inner / np.where(sizes > 0, sizes, 1.0), np.all(t == h, axis=-1))
    norm = float(np.linalg.norm(t))
    scale = float(np.linalg.norm(h)) / norm if norm else float(np.any(h)) + 1.0
    return {"cosine": float(cosines.min()), "scale_error": abs(scale - 1.0)}


def within(name: str, value: float, bound: float) -> bool:
    """Whether a figure keeps its bound."""
    return value >= bound if name in LEAST else value <= bound


def failures(figures: Mapping[str, float | str], limits: Mapping[str, float]) -> list[str]:
    """The figures beyond their bounds, in words; those that could not be computed are no failures."""
    words = []
    for name, bound in limits.items():
        value = figures.get(name, "")
        if isinstance(value, float) and not within(name, value, bound):
            side = "below" if name in LEAST else "above"
            words.append(f"{name} {value:.4g} is {side} {bound:g}")
    return words


def _mean_db(truth: Array, made: Array) -> float:
    floor = float(truth.max()) * 10 ** (-RANGE_DB / 20)
    if floor == 0:
        return float("inf") if made.any() else 0.0
    difference = 20 * np.log10(np.maximum(truth, floor) / np.maximum(made, floor))
    return float(np.mean(np.abs(difference)))


def _dnsmos_loss(truth: Array, made: Array, sample_rate: int) -> float | str:
    from edge_export.quality.vocoder import dnsmos

    try:
        scores = [dnsmos(np.asarray(sound, np.float32), sample_rate)["dnsmos"] for sound in (truth, made)]
    except BackendError as missing:
        return f"not computed: {missing.got}; {missing.cause}"
    return scores[0] - scores[1]
