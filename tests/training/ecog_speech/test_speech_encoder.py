"""The speech encoder against its description in numpy, and its keys."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.ecog_speech import plain

from edge_runtime.errors import ConfigError
from edge_training.ecog_speech.parameters import PARAMETERS
from edge_training.ecog_speech.speech_encoder import (
    FURTHER,
    SPEECH_ENCODER_PRESETS,
    SpeechEncoder,
    SpeechEncoderConfig,
    mel_filters,
)

KEYS = json.loads((Path(__file__).parents[2] / "data" / "keys" / "ecog_speech.json").read_text())
STACKS = {"female": (0, 3), "male": (0, 3, 6), "male-large": (0, 3, 6, 9)}


@pytest.mark.parametrize("preset", SPEECH_ENCODER_PRESETS)
def test_keys_and_shapes_are_the_origins(preset: str) -> None:
    with torch.device("meta"):
        net = SpeechEncoder(SPEECH_ENCODER_PRESETS[preset])
    published = KEYS[f"enc_{preset.replace('-', '_')}"]
    assert {key: list(value.shape) for key, value in net.state_dict().items()} == published


def db(power: plain.Array) -> plain.Array:
    return np.asarray((10 * np.log10(np.maximum(power, 1e-10)) + 50) / 72.5 * 2 - 1)


def smoothed(x: plain.Array, taps: int) -> plain.Array:
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(taps) / (taps - 1))
    return np.stack([np.convolve(row, window, "same") for row in x])


def written_out(
    x: plain.Array, w: dict[str, plain.Array], config: SpeechEncoderConfig, female: bool
) -> dict[str, plain.Array]:
    """(F, T) → what the encoder gives."""

    def layer(name: str, values: plain.Array) -> plain.Array:
        return plain.conv(values, w[f"{name}.weight"], w[f"{name}.bias"])

    def normed(name: str, values: plain.Array) -> plain.Array:
        return plain.leaky(plain.group_norm(layer(f"conv{name}", values), w, f"norm{name}"))

    def stack(name: str, values: plain.Array, places: tuple[int, ...]) -> plain.Array:
        for place in places:
            values = layer(f"{name}.{place}", values)
            values = plain.leaky(plain.group_norm(values, w, f"{name}.{place + 1}"))
        return values

    smooth = smoothed(x, 4 * config.bins // 256 + 1)
    level = layer("conv_loudness.0", smooth)
    level = layer("conv_loudness.4", plain.leaky(layer("conv_loudness.2", plain.leaky(level))))
    narrow = stack("conv1_narrow", x, STACKS[config.layout])
    hn = normed("_fundementals_narrow", narrow)
    power = 10 ** (((x + 1) / 2 * 72.5 - 50) / 10)
    hm = normed("_fundementals_mel", normed("2_mel", normed("1_mel", db(mel_filters(config.bins) @ power))))
    pitch = plain.sigmoid(layer("conv_f0_narrow", np.concatenate([hn, hm])))
    blurred = db(smoothed(power, 20 * config.bins // 256 + 1))
    h = normed("_formants", stack("conv1", blurred, STACKS[config.layout.removesuffix("-large")]))
    low, high = LIMITS[female]
    frequency = low + (high - low) * plain.sigmoid(layer("conv_formants_freqs", h))
    width = 0.65 * (0.00625 * frequency + 375) if female else 0.55 * (0.00625 * frequency + 300)
    voiced, noise = layer("conv_formants_amplitude", h), layer("conv_formants_amplitude_noise", h)
    noise_frequency = 4000 + 4000 * plain.sigmoid(layer("conv_formants_freqs_noise", h))
    noise_width = 2344 * plain.softplus(layer("conv_formants_bandwidth_noise", h)) + 586
    shares = plain.softmax(plain.group_norm(layer("conv1_bgnoise", narrow), w, "norm1_bgnoise"))
    shares = plain.softmax(plain.group_norm(layer("conv2_bgnoise", shares), w, "norm2_bgnoise"))
    return {
        "f0_hz": 120 * pitch + 80 + 100 * female,
        "loudness": plain.softplus(level),
        "amplitudes": plain.softmax(layer("conv_amplitudes_narrow", narrow)),
        "amplitudes_h": plain.softmax(layer("conv_amplitudes_h_narrow", narrow)),
        "freq_formants_hamon_hz": frequency,
        "bandwidth_formants_hamon_hz": width,
        "amplitude_formants_hamon": plain.softmax(voiced),
        "freq_formants_noise_hz": np.concatenate([frequency, noise_frequency]),
        "bandwidth_formants_noise_hz": np.concatenate([width, noise_width]),
        "amplitude_formants_noise": plain.softmax(np.concatenate([voiced, noise])),
        "noisebg": shares.max(1),
        "spec_smooth": smooth,
    }


LIMITS = {
    True: np.array([[300, 700, 1800, 3400, 5000, 6000.0], [950, 3400, 3800, 5000, 6000, 7000]])[..., None],
    False: np.array([[200, 500, 1400, 3000, 4000, 4500.0], [850, 3000, 3400, 4600, 6000, 7500]])[..., None],
}


@pytest.mark.parametrize(
    ("preset", "female"), [("female-256", True), ("female-256", False), ("male-512-large", False)]
)
def test_encoder_is_its_description(preset: str, female: bool) -> None:
    config = SPEECH_ENCODER_PRESETS[preset]
    torch.manual_seed(1)
    net = plain.unsettled(SpeechEncoder(config))
    x = 2 * torch.rand(1, 1, 48, config.bins, generator=torch.Generator().manual_seed(2)) - 1
    values = net(x, torch.tensor([[float(female)]]))
    true = written_out(x[0, 0].double().numpy().T, plain.weights(net), config, female)
    for name, value in zip((*PARAMETERS, *FURTHER), values, strict=True):
        assert plain.relative_error(value[0], true[name]) < 3e-5, name


def test_unified_ranges_ignore_the_sex() -> None:
    torch.manual_seed(1)
    net = SpeechEncoder(SpeechEncoderConfig(bins=32, unified=True)).eval()
    x = torch.rand(1, 1, 8, 32)
    one, other = (net(x, torch.tensor([[sex]])) for sex in (0.0, 1.0))
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[4], other[4])


def test_bands_without_a_bin_stand_at_the_floor() -> None:
    empty = ~mel_filters(256).any(1)
    assert 0 < empty.sum() < 20


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"bins": 250}, "bins: got 250, expected a multiple of 32"),
        ({"layout": "child"}, "layout: got 'child', expected female or male or male-large"),
        ({"floor_db": 30.0}, r"noise_db: got 30 … 22.5 dB, expected a floor below the top"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        SpeechEncoderConfig(**changes)  # type: ignore[arg-type]
