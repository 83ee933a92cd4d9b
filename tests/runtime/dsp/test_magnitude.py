"""Mel → magnitude against the formulas in plain float64, librosa's NNLS, and the front ends' own mels."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.dsp.magnitude import _inversion, estimate_magnitude, linear_mel
from edge_runtime.dsp.mel import PRESETS, MelConfig, MelFrontEnd, filter_bank
from edge_runtime.dsp.quality import si_ssdr, spectral_convergence
from edge_runtime.dsp.spectral import Array, Stft
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.media.audio import read_audio

SENTENCE = Path(__file__).resolve().parents[3] / "export" / "edge_export" / "assets" / "sentence.wav"
MEL = PRESETS["mel-inversion"]
LINEAR = replace(MEL, log="none")


@cache
def speech(rate: int = 16000) -> Array:
    return read_audio(SENTENCE, sample_rate=rate).samples


@cache
def magnitude_of_speech() -> Array:
    return np.abs(Stft(MEL.stft, "float64").forward(speech().astype(np.float64)))


def plain(mel: Array, bank: Array, updates: int) -> Array:
    """The formulas as the module states them."""
    q: Array = np.maximum(np.linalg.pinv(bank) @ mel, 1e-10)
    for _ in range(updates):
        q = q * (bank.T @ mel) / (bank.T @ (bank @ q) + 1e-300)
    return q


# ---- the estimate -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("updates", [0, 1, 50])
@pytest.mark.parametrize("bands", [40, 80, 250])
def test_estimate_equals_the_formulas(bands: int, updates: int) -> None:
    config = replace(LINEAR, n_mels=bands)
    bank = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=bands, dtype=np.float64)
    mel = bank @ magnitude_of_speech()
    expected = plain(mel, bank, updates)
    got = estimate_magnitude(mel, config, updates)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-10 * expected.max())
    single = estimate_magnitude(mel.astype(np.float32), config, updates)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-4 * expected.max())


def test_the_start_is_nearly_librosas_nnls() -> None:
    """librosa solves for least squares that are nowhere negative, from the same start."""
    magnitude = magnitude_of_speech()[:, 60:90]
    mel = filter_bank(MEL) @ magnitude
    peer = librosa.feature.inverse.mel_to_stft(mel, sr=16000, n_fft=1024, power=1.0)
    ours = estimate_magnitude(mel, LINEAR, 0)
    assert spectral_convergence(peer, ours) < 0.05
    assert si_ssdr(magnitude, estimate_magnitude(mel, LINEAR)) > si_ssdr(magnitude, peer)


def test_updates_bring_the_estimate_nearer_to_mel_and_magnitude() -> None:
    bank, magnitude = filter_bank(MEL), magnitude_of_speech()
    mel = bank @ magnitude
    estimates = [estimate_magnitude(mel, LINEAR, updates) for updates in (0, 5, 50)]
    residual = [spectral_convergence(mel, bank @ estimate) for estimate in estimates]
    assert residual == sorted(residual, reverse=True)
    assert residual[-1] < 0.01
    quality = [si_ssdr(magnitude, estimate) for estimate in estimates]
    assert quality == sorted(quality)
    assert quality[-1] - quality[0] > 1.1  # 1.19 dB measured; 1.5 dB on LJ Speech
    convergence = [spectral_convergence(magnitude, estimate) for estimate in estimates]
    assert convergence[0] == pytest.approx(0.332, abs=1e-3)
    assert convergence[-1] == pytest.approx(0.294, abs=1e-3)


def test_power_mels_give_the_root() -> None:
    config, magnitude = replace(LINEAR, power=2), magnitude_of_speech()
    mel = filter_bank(MEL) @ magnitude**2
    expected = np.sqrt(plain(mel, filter_bank(MEL), 7))
    np.testing.assert_allclose(estimate_magnitude(mel, config, 7), expected, atol=1e-9 * expected.max())


def test_decibel_mels_give_the_magnitude_below_its_largest() -> None:
    config = PRESETS["mel-inversion-db"]
    mel = MelFrontEnd(config, "float64")(speech().astype(np.float64))
    decibels = np.minimum(plain(mel, filter_bank(config), 3), 1)
    expected = 10 ** (4 * (decibels - 1))
    got = estimate_magnitude(linear_mel(mel, config), config, 3)
    np.testing.assert_allclose(got, expected, rtol=1e-9)
    assert got.max() <= 1
    assert si_ssdr(magnitude_of_speech(), got) > 5  # the order costs quality, as in mel-speech-reconstruction


def test_without_a_bank_the_bins_are_the_magnitude() -> None:
    config = replace(LINEAR, n_mels=None)
    magnitude = magnitude_of_speech()
    estimate = estimate_magnitude(magnitude, config)
    np.testing.assert_array_equal(estimate, magnitude)
    assert not np.shares_memory(estimate, magnitude)


def test_silence_and_bins_outside_the_bank_are_silent() -> None:
    config = replace(PRESETS["hifigan-22k"], log="none")  # its bank ends at 8 kHz
    assert not estimate_magnitude(np.zeros((80, 3), np.float32), config).any()
    estimate = estimate_magnitude(np.ones((80, 3), np.float32), config)
    above = int(8000 / 22050 * 1024) + 1
    assert not estimate[above:].any()
    assert estimate[1:above].all()
    assert np.isfinite(estimate_magnitude(np.full((80, 3), 1e-30, np.float32), config)).all()


@settings(deadline=None, max_examples=20)
@given(frames=st.integers(1, 300), cut=st.integers(0, 300), seed=st.integers(0, 9))
def test_frames_are_independent(frames: int, cut: int, seed: int) -> None:
    mel = np.random.default_rng(seed).uniform(0, 1, (80, frames)).astype(np.float32)
    whole = estimate_magnitude(mel, LINEAR, 3)
    parts = [estimate_magnitude(part, LINEAR, 3) for part in (mel[:, :cut], mel[:, cut:]) if part.shape[1]]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=0, atol=1e-6 * whole.max())


def test_pseudo_inverse_is_computed_once() -> None:
    config = replace(LINEAR, n_mels=77)
    before = _inversion.cache_info().misses
    for _ in range(3):
        estimate_magnitude(np.ones((77, 2), np.float32), config)
    assert _inversion.cache_info().misses == before + 1


def test_memory_is_constant() -> None:
    mel = np.ones((80, 20000), np.float32)
    estimate_magnitude(mel[:, :10], LINEAR)
    tracemalloc.start()
    result = estimate_magnitude(mel, LINEAR, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - result.nbytes < 6e6


# ---- the logarithm undone ---------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"mel-inversion-db"}))
def test_linear_mel_undoes_every_preset(preset: str) -> None:
    """Against a front end without logarithm and scale, where neither floor nor clipping took anything."""
    config = PRESETS[preset]
    audio = speech(config.sample_rate)[:20000].astype(np.float64)
    plain_config = replace(config, log="none", log_gain=1.0, reference=0.0, scale_from=None, top_db=None)
    plain_config = replace(plain_config, clip=False)
    expected = MelFrontEnd(plain_config, "float64")(audio)
    got = linear_mel(MelFrontEnd(config, "float64")(audio), config)
    kept = expected > 1.001 * (got.min() if config.top_db or config.clip else config.floor)
    if config.clip:
        kept &= expected < 0.999 * got.max()
    assert kept.mean() > 0.3
    np.testing.assert_allclose(got[kept], expected[kept], rtol=1e-9)


def test_linear_mel_keeps_the_precision() -> None:
    for dtype in ("float32", "float64"):
        assert linear_mel(np.full((80, 2), -3, dtype), MEL).dtype == dtype
    assert linear_mel(np.full((80, 2), -3, np.float16), MEL).dtype == np.float32


# ---- refusals ---------------------------------------------------------------------------------------------

SILENT = np.zeros((80, 20))
LOG = np.linspace(-11.5, 2, 1600).reshape(80, 20)
REFUSED: tuple[tuple[Array, str], ...] = (
    (np.zeros((64, 20)), r"mel: got shape \(64, 20\), expected \(80, frames\), .*another number of bands"),
    (np.zeros((20, 80)), r"mel: got shape \(20, 80\), expected \(80, frames\), .*is it transposed\?"),
    (np.zeros((1, 80, 20)), r"mel: got shape \(1, 80, 20\), .*drop the batch axis"),
    (np.zeros((80, 0)), r"mel: got shape \(80, 0\), expected \(80, frames\), at least one frame$"),
    (SILENT.astype(complex), "mel: got values of type complex128, expected real numbers"),
    (np.where(np.arange(20) == 7, np.nan, SILENT), "NaN or infinite, the first in band 0 of frame 7"),
    (np.where(np.arange(20) == 7, -np.inf, SILENT), "a logarithm of zero, or a damaged file"),
)


@pytest.mark.parametrize(("mel", "sentence"), REFUSED)
def test_mel_refused(mel: Array, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        estimate_magnitude(mel, LINEAR)
    with pytest.raises(InputError, match=sentence):
        linear_mel(mel, MEL)


@pytest.mark.parametrize(
    ("mel", "sentence"),
    [
        (LOG, r"got negative values, -11.5 … 2, expected linear .*this looks like a log mel, a natural log"),
        (LOG * 8.686, r"got negative values, -99.89 … 17.37, .*a log mel, in decibels; linear_mel undoes"),
        (SILENT - 80, r"got negative values, -80 … -80, .*in decibels"),
        (LOG / 5 + 1, r"a natural logarithm or a scaled one"),
        (SILENT - 1e-9, r"got negative values, -1e-09 … -1e-09, .*a net's output .*set such values to 0"),
    ],
)
def test_log_mel_refused_where_linear_is_expected(mel: Array, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        estimate_magnitude(mel, MEL)
    with pytest.raises(InputError, match=sentence):
        linear_mel(mel, LINEAR)


@pytest.mark.parametrize(
    ("mel", "config", "sentence"),
    [
        (
            SILENT - 80,
            MEL,
            r"got a value that stands for -695 dB if read as ln, .* floor of -100 dB or above; ",
        ),
        (SILENT + 60, MEL, r"got a value that stands for 521 dB if read as ln"),
        (np.zeros((64, 20)) + 300, PRESETS["rtmri"], r"got a value that stands for 300 dB if read as log10"),
    ],
)
def test_impossible_logarithm_refused(mel: Array, config: MelConfig, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        linear_mel(mel, config)


@pytest.mark.parametrize("updates", [-1, 2.0, True])
def test_updates_refused(updates: Any) -> None:
    with pytest.raises(ConfigError, match=f"updates: got {updates}, expected a whole number, at least 0"):
        estimate_magnitude(SILENT, LINEAR, updates)
