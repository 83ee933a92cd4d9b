"""The fixed convolutions against the runtime's transform, and against torch's windows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge_runtime.dsp.spectral import Padding, Stft
from edge_runtime.errors import ConfigError
from edge_training.spectral.layers import (
    LEAST_WEIGHT,
    SPECTRAL_PRESETS,
    FixedIstft,
    FixedStft,
    SpectralConfig,
    Window,
    weight_between_frames,
    window_in_frame,
)

ROOT = Path(__file__).parents[3]
PADDINGS = get_args(Padding)


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def spectrum_of(config: SpectralConfig, audio: Any) -> Any:
    """(2, bins, frames) float64 by the fixed convolution in float64."""
    with torch.no_grad():
        return FixedStft(config).double()(torch.from_numpy(audio)[None])[0].numpy()


def audio_of(config: SpectralConfig, spectrum: Any) -> Any:
    parts = np.stack([spectrum.real, spectrum.imag])[None]
    with torch.no_grad():
        return FixedIstft(config).double()(torch.from_numpy(parts))[0].numpy()


@st.composite
def configs(draw: st.DrawFn) -> SpectralConfig:
    n_fft = draw(st.integers(4, 80))
    return SpectralConfig(
        n_fft, draw(st.integers(1, n_fft)), draw(st.integers(2, n_fft)), draw(st.sampled_from(PADDINGS))
    )


@settings(deadline=None, max_examples=60)
@given(configs(), st.integers(0, 150))
def test_forward_is_the_runtimes_transform(config: SpectralConfig, more: int) -> None:
    """Any length of transform, hop, window and signal; the number of frames too."""
    audio = noise(config.stft.min_samples + more)
    expected = Stft(config.stft, "float64").forward(audio)
    re, im = spectrum_of(config, audio)
    assert re.shape == expected.shape
    np.testing.assert_allclose(re + 1j * im, expected, rtol=0, atol=1e-5)  # kernels are float32


@settings(deadline=None, max_examples=60)
@given(configs(), st.integers(1, 12))
def test_inverse_is_the_runtimes_inverse(config: SpectralConfig, frames: int) -> None:
    """Lengths are exact; without padding the ends fade where hardly any window reaches."""
    between = weight_between_frames(config)
    assume(between.min() >= 0.02 * between.max())
    stft = Stft(config.stft, "float64")
    spectrum = noise(config.stft.bins, frames) + 1j * noise(config.stft.bins, frames, seed=1)
    expected = stft.inverse(spectrum)
    audio = audio_of(config, spectrum)
    assert audio.shape == expected.shape
    weight, least = overlap(config, frames), LEAST_WEIGHT * between.min()
    np.testing.assert_allclose(audio, expected * weight / np.maximum(weight, least), rtol=0, atol=1e-5)


def overlap(config: SpectralConfig, frames: int) -> Any:
    """Σ w² at each sample that comes out."""
    total = np.zeros(config.n_fft + (frames - 1) * config.hop_length)
    for frame in range(frames):
        start = frame * config.hop_length
        total[start : start + config.n_fft] += window_in_frame(config) ** 2
    pad = config.stft.pad
    return total[pad : total.size - pad]


@pytest.mark.parametrize("preset", SPECTRAL_PRESETS)
def test_there_and_back_in_single_precision(preset: str) -> None:
    """Equal to the runtime to 1e-4, and the signal comes back."""
    config = SPECTRAL_PRESETS[preset]
    audio = (0.3 * noise(3 * 4096)).clip(-1, 1).astype(np.float32)
    with torch.no_grad():
        spectrum = FixedStft(config)(torch.from_numpy(audio)[None])
        back = FixedIstft(config)(spectrum)[0].numpy()
    runtime = Stft(config.stft, "float64")
    expected = runtime.forward(audio.astype(np.float64))
    re, im = spectrum[0].numpy()
    assert np.abs(re + 1j * im - expected).max() < 1e-4
    np.testing.assert_allclose(back, runtime.inverse(expected), rtol=0, atol=1e-4)
    np.testing.assert_allclose(back, audio[: back.size], rtol=0, atol=1e-4)


TORCHS: dict[str, Any] = {
    "hann": torch.hann_window,
    "hamming": torch.hamming_window,
    "blackman": torch.blackman_window,
    "rectangular": torch.ones,
}


@pytest.mark.parametrize("window", get_args(Window))
def test_windows_are_torchs(window: Window) -> None:
    config = SpectralConfig(40, 10, 37, window=window)
    expected = np.zeros(40)
    expected[1:38] = TORCHS[window](37, dtype=torch.float64).numpy()
    np.testing.assert_allclose(window_in_frame(config), expected, rtol=0, atol=1e-15)
    audio = noise(200)
    re, im = spectrum_of(config, audio)
    np.testing.assert_allclose(audio_of(config, re + 1j * im), audio, rtol=0, atol=1e-4)


def test_batches_do_not_mix() -> None:
    config, audio = SpectralConfig(16, 4, 16), torch.from_numpy(noise(3, 50)).float()
    stft, istft = FixedStft(config), FixedIstft(config)
    together = istft(stft(audio))
    for row, alone in zip(together, audio, strict=True):
        torch.testing.assert_close(row, istft(stft(alone[None]))[0])


@pytest.mark.parametrize(("win", "hop"), [(32, 32), (32, 31), (1024, 900)])
def test_windows_that_leave_gaps_have_no_inverse(win: int, hop: int) -> None:
    with pytest.raises(ConfigError, match=f"hop_length: got {hop} samples, windows of {win} that leave gaps"):
        FixedIstft(SpectralConfig(2 * win, hop, win))
    FixedIstft(SpectralConfig(2 * win, win // 2, win))


def test_gradients_are_finite_where_no_window_reaches() -> None:
    spectrum = torch.randn(1, 2, 5, 3, requires_grad=True)
    FixedIstft(SpectralConfig(8, 2, 4, "none"))(spectrum).square().sum().backward()
    assert spectrum.grad is not None
    assert torch.isfinite(spectrum.grad).all()


def test_kernels_are_in_no_state_dict() -> None:
    assert not FixedStft(SpectralConfig(16, 4, 16)).state_dict()
    assert not FixedIstft(SpectralConfig(16, 4, 16)).state_dict()


def test_config_round_trip() -> None:
    config = SpectralConfig(100, 30, 90, "none", "hamming")
    assert SpectralConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"window": "kaiser"}, "window: got 'kaiser', expected hann, hamming, blackman, rectangular"),
        ({"win_length": 2048}, "win_length: got 2048 samples, expected at most n_fft = 1024"),
        ({"padding": "same"}, "padding: got 'same', expected none, center-zero"),
        ({"n_fft": 16384}, "n_fft: got 16384, a kernel of 268468224 numbers, expected at most 67108864"),
        ({"hop": 3}, "entry 'hop': got an unknown entry, expected n_fft, hop_length"),
    ],
)
def test_refusals(entries: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        SpectralConfig.from_json(entries)


GOLDENS = json.loads((ROOT / "reference_data" / "manifest.json").read_text())["nets"]


@pytest.mark.parametrize("case", GOLDENS["stft"])
def test_goldens(case: str) -> None:
    """Both directions, in float32 and float64; the kernels are float32 in both."""
    folder = ROOT / "reference_data" / "nets"
    config = SpectralConfig.from_json(GOLDENS["stft"][case]["config"])
    for module, name, source, wanted in (
        (FixedStft(config), "stft", "audio", "spectrum"),
        (FixedIstft(config), "istft", "spectrum", "audio"),
    ):
        values, expected = (np.load(folder / name / case / f"{part}.npy") for part in (source, wanted))
        with torch.no_grad():
            single = module(torch.from_numpy(values)).numpy()
        assert single.shape == expected.shape
        assert np.abs(single - expected).max() < 1e-5 * np.ptp(expected)


def test_every_golden_case_is_here() -> None:
    for net in ("stft", "istft"):
        stored = {path.name for path in (ROOT / "reference_data" / "nets" / net).iterdir()}
        assert stored == set(GOLDENS[net])
    assert len(GOLDENS["stft"]) == 5
