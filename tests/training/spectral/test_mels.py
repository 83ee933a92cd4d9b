"""Mels in torch equal the runtime's front end, and can be differentiated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edge_runtime.dsp.mel import PRESETS, MelConfig, MelFrontEnd
from edge_runtime.errors import ConfigError
from edge_training.spectral.mels import TorchMel, log_floor

SUPPORTED = ["hifigan-22k", "hifigan-11k", "mel-inversion"]


def noise(config: MelConfig, seconds: float = 0.5) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """A decaying noise: loud and quiet frames."""
    samples = int(config.sample_rate * seconds)
    envelope = np.exp(-8 * np.arange(samples) / samples)
    return (0.5 * envelope * np.random.default_rng(3).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("name", SUPPORTED)
def test_equals_the_runtimes_front_end(name: str) -> None:
    config = PRESETS[name]
    audio = noise(config)
    (ours,) = TorchMel(config)(torch.from_numpy(audio))
    np.testing.assert_allclose(ours.numpy(), MelFrontEnd(config)(audio), rtol=0, atol=1e-4)


def test_pre_emphasis_and_power_are_the_runtimes_too() -> None:
    config = replace(PRESETS["hifigan-22k"], pre_emphasis=0.97, power=2, epsilon=0.0)
    audio = noise(config)
    (ours,) = TorchMel(config)(torch.from_numpy(audio))
    np.testing.assert_allclose(ours.numpy(), MelFrontEnd(config)(audio), rtol=0, atol=1e-4)


def test_several_banks_over_one_transform() -> None:
    config = PRESETS["hifigan-22k"]
    other = replace(config, fmax=None, n_mels=100)
    audio = np.stack([noise(config), -noise(config)[::-1]])[:, None]
    batch = torch.from_numpy(np.ascontiguousarray(audio))
    narrow, wide = TorchMel(config, other)(batch)
    assert narrow.shape[:3] == (2, 1, 80)
    for row in range(2):
        front_ends = [MelFrontEnd(c)(audio[row, 0]) for c in (config, other)]
        np.testing.assert_allclose(narrow[row, 0].numpy(), front_ends[0], rtol=0, atol=1e-4)
        np.testing.assert_allclose(wide[row, 0].numpy(), front_ends[1], rtol=0, atol=1e-4)


def test_gradient_is_the_difference_quotient() -> None:
    config = replace(PRESETS["hifigan-22k"], n_fft=64, win_length=64, hop_length=16, n_mels=6)
    mel = TorchMel(config).double()
    torch.manual_seed(0)
    audio = torch.randn(1, 128, dtype=torch.float64, requires_grad=True)
    mel.spectrum(audio).sum().backward()  # type: ignore[no-untyped-call]
    step = 1e-4 * torch.randn(1, 128, dtype=torch.float64)
    with torch.no_grad():
        quotient = (mel.spectrum(audio + step).sum() - mel.spectrum(audio - step).sum()) / 2
    assert audio.grad is not None
    assert float(quotient) == pytest.approx(float((audio.grad * step).sum()), rel=1e-5)


def test_half_precision_around_it_changes_nothing() -> None:
    config = PRESETS["hifigan-22k"]
    mel, audio = TorchMel(config), torch.from_numpy(noise(config))
    with torch.autocast("cpu", torch.bfloat16):
        (inside,) = mel(audio)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, mel(audio)[0])


def test_silence_is_the_floor() -> None:
    config = PRESETS["hifigan-22k"]
    (mel,) = TorchMel(config)(torch.zeros(1, 2048))
    # the root of epsilon 1e-9 stays below the floor in every band
    assert torch.allclose(mel, torch.tensor(log_floor(config)))


@pytest.mark.parametrize("name", sorted(set(PRESETS) - set(SUPPORTED) - {"auffusion"}))
def test_front_ends_it_does_not_compute_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"mel configuration: got .*, a spectrum, a bank"):
        TorchMel(PRESETS[name])


def test_other_transforms_are_refused() -> None:
    config = PRESETS["hifigan-22k"]
    with pytest.raises(ConfigError, match="got different transforms"):
        TorchMel(config, replace(config, hop_length=128))
