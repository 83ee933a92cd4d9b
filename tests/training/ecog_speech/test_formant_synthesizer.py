"""The synthesizer against sums in float64, its phase, its keys."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.ecog_speech import plain
from tests.training.ecog_speech.spoken import spoken

from edge_runtime.dsp.spectral import Stft, StftConfig
from edge_runtime.errors import ConfigError
from edge_training.ecog_speech.formant_synthesizer import (
    FORMANT_SYNTHESIZER_PRESETS,
    INPUTS,
    FormantSynthesizer,
    FormantSynthesizerConfig,
    draw_noise,
    harmonic_sum,
    wrapped_cycles,
)

KEYS = json.loads((Path(__file__).parents[2] / "data" / "keys" / "ecog_speech.json").read_text())
PUBLISHED = {
    "synth_gauss": "gaussian-256",
    "synth_learned": "learned-256",
    "synth_learned_dummy": "dummy-256",
    "synth_learned_bglearn": "background-256",
}
FRAMES = 24


@pytest.mark.parametrize(("published", "preset"), PUBLISHED.items())
def test_keys_and_shapes_are_the_origins(published: str, preset: str) -> None:
    net = FormantSynthesizer(FORMANT_SYNTHESIZER_PRESETS[preset])
    assert {key: list(value.shape) for key, value in net.state_dict().items()} == KEYS[published]


def samples_of(frames: plain.Array) -> plain.Array:
    """Linear interpolation ×128, values in the middle of their frames, ends held."""
    place = (np.arange(128 * len(frames)) + 0.5) / 128 - 0.5
    return np.asarray(np.interp(place, np.arange(len(frames)), frames))


def power(signal: plain.Array) -> plain.Array:
    """(T, 256)."""
    spectrum = Stft(StftConfig(511, 128, 511, "center-reflect"), "float64").analyze(signal)
    return np.asarray(np.abs(spectrum) ** 2)


def written_out(
    p: dict[str, plain.Array], w: dict[str, plain.Array], dist: plain.Array, noise: list[plain.Array]
) -> tuple[plain.Array, plain.Array]:
    """Gaussian masks: (T, 256) scaled dB and (128 T,) samples, with the phase summed as it stands."""
    uniform, normal, phase = noise
    f0 = samples_of(p["f0_hz"][0])
    hz = 8000 * np.arange(256) / 256

    def masks(kind: str, at: plain.Array) -> plain.Array:
        centre, width = (p[f"{part}_formants_{kind}_hz"][..., None] for part in ("freq", "bandwidth"))
        spread = width / (2 * np.sqrt(np.log(2))) + 0.01
        shape = np.exp(-((at - centre) ** 2) / (2 * spread**2))
        return np.asarray(shape * p[f"amplitude_formants_{kind}"][..., None])

    harmonics = []
    for k in range(1, 41):
        wave = np.sqrt(2) * np.sin(2 * np.pi * np.cumsum(k * f0) / 16000)
        harmonics.append(wave * (k * f0 < 7800))
    loudness, (voiced, unvoiced) = p["loudness"][0], p["amplitudes"]
    h, u = power(np.sum(harmonics, 0)), power(np.sqrt(3) * (2 * uniform - 1))
    total = (loudness * voiced)[:, None] * h * masks("hamon", hz).sum(0)
    noise_power = (loudness * unvoiced)[:, None] * u * masks("noise", hz).sum(0)
    x = normal[None]
    for place in (0, 2, 4):
        name = f"bgnoise_mapping2.{place}"
        x = w[f"{name}.weight"][..., 0] @ x
        x = x if place == 4 else plain.leaky(x + w[f"{name}.bias"][:, None])
    background = 3e-4 * plain.softplus(w["bgnoise_amp"]) * dist * power(x[0])
    decibels = 10 * np.log10(np.maximum(total + noise_power + background, 1e-10))
    scaled = np.maximum((decibels + 50) / 72.5 * 2 - 1, -1)

    wave = np.zeros_like(f0)
    for k, harmonic in enumerate(harmonics, 1):
        own = k * p["f0_hz"][0][None, :, None]
        envelope = np.sqrt(masks("hamon", own)[..., 0]).sum(0)
        wave += samples_of(envelope) * samples_of(np.sqrt(loudness * voiced)) * harmonic
    spectrum = np.sqrt(noise_power) * np.exp(2j * np.pi * phase.T)
    hiss = 2 * Stft(StftConfig(511, 128, 511, "center-reflect"), "float64").synthesize(spectrum)
    return scaled, wave + np.pad(hiss, (0, len(wave) - len(hiss)))


def test_gaussian_synthesis_is_its_description() -> None:
    torch.manual_seed(1)
    net = FormantSynthesizer(FORMANT_SYNTHESIZER_PRESETS["gaussian-256"]).eval()
    parameters = spoken(FRAMES)
    dist = torch.rand(1, 256, generator=torch.Generator().manual_seed(5)) * 1e-3
    noise = draw_noise(FRAMES, 256, torch.Generator().manual_seed(6))
    with torch.no_grad():
        spectrogram, wave = net(*(parameters[name] for name in INPUTS), dist, *noise)
    named = {name: value[0].double().numpy() for name, value in parameters.items()}
    arrays = [value.double().numpy().squeeze() for value in noise]
    true, samples = written_out(named, plain.weights(net), dist[0].double().numpy(), arrays)
    assert np.abs(spectrogram[0, 0].numpy() - true).max() < 1e-3
    assert np.abs(wave[0, 0].numpy() - samples).max() < 1e-4 * np.abs(samples).max()


@pytest.mark.parametrize("preset", ["dummy-256", "background-256"])
def test_float32_stays_within_a_thousandth_of_float64(preset: str) -> None:
    torch.manual_seed(1)
    net = FormantSynthesizer(FORMANT_SYNTHESIZER_PRESETS[preset]).eval()
    parameters = spoken(128)
    inputs = [*(parameters[name] for name in INPUTS), torch.full((1, 256), 1e-4)]
    inputs += draw_noise(128, 256, torch.Generator().manual_seed(6))
    with torch.no_grad():
        single, wave = net(*inputs)
        double, wave64 = net.double()(*(value.double() for value in inputs))
        assert (single - double).abs().max() < 1e-3
        assert (wave - wave64).abs().max() < 1e-4
        net.float().fold()
        folded, _ = net(*inputs)
        assert (folded - double).abs().max() < 1e-3


def test_cycles_are_those_of_the_sum_however_long() -> None:
    pitch = torch.rand(2, 1, 128 * 37, generator=torch.Generator().manual_seed(1)) * 300 + 80
    cycles = wrapped_cycles(pitch, -37 % 8).double()
    true = torch.cumsum(pitch.double(), -1) / 16000
    distance = (cycles - true + 0.5).remainder(1) - 0.5
    assert distance.abs().max() < 1e-6
    assert cycles.min() > -0.01
    assert cycles.max() < 1.01


def test_harmonics_in_closed_form_are_their_sum() -> None:
    draw = torch.Generator().manual_seed(1)
    cycles = torch.rand(1, 1, 64, generator=draw, dtype=torch.float64)
    # whole cycles and their neighbours, where the quotient is 0 / 0; half a cycle
    cycles[..., :8] = torch.tensor([0, 1, 1e-7, 1 - 1e-7, 3e-6, 1 - 3.5e-6, 0.5, 1e-3], dtype=torch.float64)
    cycles.requires_grad_()
    pitch = 80 + 400 * torch.rand(1, 1, 64, generator=draw, dtype=torch.float64)
    orders = torch.arange(1, 41, dtype=torch.float64).reshape(1, -1, 1)
    true = (torch.sin(2 * np.pi * orders * cycles) * (orders * pitch < 7800)).sum(1, keepdim=True)
    made = harmonic_sum(cycles, pitch, 40)
    assert torch.allclose(made, true, rtol=0, atol=1e-8)
    weight = torch.randn(64, generator=draw, dtype=torch.float64)
    (slope,), (wanted,) = (torch.autograd.grad((value * weight).sum(), cycles) for value in (made, true))
    assert torch.allclose(slope, wanted, rtol=0, atol=1e-2)  # of up to 5000: 2π Σ k


def test_the_spectrogram_of_training_is_that_of_the_graph() -> None:
    torch.manual_seed(1)
    net = FormantSynthesizer(FORMANT_SYNTHESIZER_PRESETS["learned-256"]).eval()
    parameters, background = spoken(FRAMES), torch.full((1, 256), 1e-4)
    noise = draw_noise(FRAMES, 256, torch.Generator().manual_seed(6))
    with torch.no_grad():
        trained = net.spectrogram(parameters, background, *noise[:2])
        graph, _ = net(*(parameters[name] for name in INPUTS), background, *noise)
    assert (trained - graph).abs().max() < 5e-4


def test_cycles_have_the_gradient_of_the_sum() -> None:
    pitch = torch.full((1, 1, 256), 123.4, requires_grad=True)
    wrapped_cycles(pitch, 6).sum().backward()  # type: ignore[no-untyped-call]
    assert pitch.grad is not None
    assert torch.allclose(pitch.grad[0, 0], torch.arange(256, 0, -1) / 16000)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"filter_samples": 7}, "filter_samples: got 7, expected an even number from 4"),
        ({"bins": 0}, "bins: got 0, expected a whole number from 128"),
        ({"learned_mask": False, "dummy_formant": True}, "dummy_formant: got true with Gaussian masks"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        FormantSynthesizerConfig(**changes)  # type: ignore[arg-type]
