"""Distances of spectra: nothing between equals, each its own formula, gradients that are finite."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from edge_runtime.dsp.mel import PRESETS
from edge_runtime.dsp.spectral import Stft
from edge_training.vocoder.spectral_losses import (
    PARTS,
    SpectralLosses,
    Transform,
    magnitude,
    phase_distance,
)

MEL = replace(
    PRESETS["hifigan-22k"], sample_rate=8000, n_fft=64, win_length=64, hop_length=16, n_mels=8, fmax=2000.0
)


@pytest.fixture
def losses() -> SpectralLosses:
    return SpectralLosses(MEL, (32, 128)).double()


def signal(seed: int, samples: int = 320) -> Tensor:
    return torch.from_numpy(0.3 * np.random.default_rng(seed).standard_normal((2, samples)))


def spectrum_of(losses: SpectralLosses, audio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    spectrum = losses.transform(audio)
    return spectrum.abs().log(), torch.cos(spectrum.angle()), torch.sin(spectrum.angle())


def test_nothing_between_a_recording_and_itself(losses: SpectralLosses) -> None:
    audio = signal(0)
    parts = losses(audio, audio, *spectrum_of(losses, audio))
    assert tuple(parts) == PARTS
    assert max(float(part) for part in parts.values()) < 1e-6


def test_each_part_is_its_formula(losses: SpectralLosses) -> None:
    theirs, ours, said = signal(0), signal(1), signal(2)
    parts = {name: float(part) for name, part in losses(theirs, ours, *spectrum_of(losses, said)).items()}
    x, y, s = (losses.transform(z).numpy() for z in (theirs, ours, said))
    logs = [np.log(np.maximum(losses.bank.numpy() @ np.sqrt(np.abs(z) ** 2 + 1e-9), 1e-5)) for z in (x, y)]
    assert parts["mel"] == pytest.approx(np.abs(logs[0] - logs[1]).mean(), rel=1e-6)
    assert parts["magnitude"] == pytest.approx(np.abs(np.log(np.abs(s) / np.abs(x))).mean(), rel=1e-5)
    assert parts["consistency"] == pytest.approx(np.abs(y - s).mean(), rel=1e-6)
    assert parts["spectrum"] == pytest.approx(np.abs(y - x).mean(), rel=1e-6)
    total = 0.0
    for size in (32, 128):
        both = [Transform(size, size // 4, size).double()(z).abs().numpy() for z in (theirs, ours)]
        total += float(np.linalg.norm(both[0] - both[1]) / np.linalg.norm(both[0]))
        total += float(np.abs(np.log(both[0]) - np.log(both[1])).mean())
    assert parts["resolutions"] == pytest.approx(total, rel=1e-3)


def test_phases_wrap() -> None:
    """A whole turn is no distance; a quarter is one, and a constant one neither in frequency nor in time."""
    weight = torch.ones(1, 3, 4, dtype=torch.float64)
    turns = 2 * np.pi * torch.tensor([[1.0, -2.0, 0.0], [3.0, 0.0, 1.0]], dtype=torch.float64)
    assert float(phase_distance(turns.reshape(1, 2, 3), weight[:, :2, :3])) < 1e-12
    assert float(phase_distance(weight * np.pi / 2, weight)) == pytest.approx(np.pi / 2)
    ramp = torch.arange(4, dtype=torch.float64).expand(1, 3, 4) * np.pi  # π is as far as it goes
    assert float(phase_distance(ramp, weight)) == pytest.approx(np.pi / 2 + np.pi)


def test_gradients_are_finite_on_silence(losses: SpectralLosses) -> None:
    silence = torch.zeros(1, 320, dtype=torch.float64)
    audio = torch.zeros(1, 320, dtype=torch.float64, requires_grad=True)
    level = torch.full((1, 33, 20), -11.0, dtype=torch.float64, requires_grad=True)
    vector = torch.randn(2, 1, 33, 20, dtype=torch.float64)
    parts = losses(silence + 1e-9, audio, level, vector[0], vector[1])
    torch.stack(list(parts.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert audio.grad is not None
    assert level.grad is not None
    assert torch.isfinite(audio.grad).all()
    assert torch.isfinite(level.grad).all()


def test_the_transform_frames_as_the_runtime() -> None:
    audio = signal(3)
    theirs = Stft(MEL.stft, "float64").forward(audio[0].numpy())
    ours = Transform(64, 16, 64).double()(audio)[0].numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    assert float(magnitude(torch.zeros(1, dtype=torch.complex64))) == pytest.approx(1e-9**0.5)
