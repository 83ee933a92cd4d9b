"""Mel inversion's nets against their tables written out by hand, keys and counts against those of
mel-speech-reconstruction."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests import closed_form
from tests.small_spectral_nets import CHANNELS, INVERSION, INVERSION_DB, MEL, ORIGINS
from torch import Tensor, nn

from edge_runtime.dsp.mel import PRESETS, MelFrontEnd, filter_bank
from edge_runtime.dsp.spectral import Stft
from edge_runtime.errors import ConfigError
from edge_training.mel_inversion.pinv_conv_skip import (
    MEL_INVERSION_PRESETS,
    SCALE,
    Estimate,
    MelInversion,
    MelInversionConfig,
    UNet,
    build_mel_inversion,
    log_scaled,
    log_unscaled,
)

ROOT = Path(__file__).parents[3]
CONVOLUTIONAL = {  # (inputs, outputs) of each block with 32, 64, 128 channels, from the spec
    "pinv-conv-skip": [(1, 32), (32, 64), (64, 128), (128, 128), (256, 64), (128, 32), (64, 1)],
    "pinv-conv": [(1, 32), (32, 64), (64, 128), (128, 128), (128, 64), (64, 32), (32, 1)],
    "pinv-conv-res": [(1, 32), (32, 64), (64, 128), (128, 128), (128, 64), (64, 32), (32, 1)],
    "pinv-conv-skip-no-bottleneck": [(1, 32), (32, 64), (64, 128), (256, 64), (128, 32), (64, 1)],
}
DOMAINS = {
    "log": INVERSION,
    "db": INVERSION_DB,
    "db-min-max": replace(INVERSION_DB, normalization="min-max"),
}


def net(config: MelInversionConfig, seed: int = 1) -> nn.Module:
    """In float64, with statistics that a trained batch norm could have and an output that is not all zero."""
    torch.manual_seed(seed)
    module = build_mel_inversion(config).double().eval()
    state = module.state_dict()
    for key, tensor in state.items():
        if key.endswith(("running_var", "bn.weight")):
            state[key] = torch.rand_like(tensor) + 0.5
        elif key.endswith("bn.bias"):
            state[key] = 0.3 + 0.1 * torch.rand_like(tensor)
    module.load_state_dict(state)
    return module


def speech_mel(config: MelInversionConfig, frames: int = 13) -> Tensor:
    """(1, n_mels, frames) of a few tones in noise."""
    samples = 64 + frames * config.mel.hop_length
    t, rng = np.arange(samples) / config.mel.sample_rate, np.random.default_rng(0)
    tones = sum(np.sin(2 * np.pi * f * t) / f for f in (200.0, 700.0, 2500.0))
    audio = 100 * tones / np.abs(tones).max() * 0.005 + 0.01 * rng.standard_normal(samples)
    return torch.from_numpy(MelFrontEnd(config.mel, "float64")(audio)[None, :, :frames])


def block(state: dict[str, Tensor], x: Tensor, index: int) -> Tensor:
    """Convolution, batch norm as (y − mean) / √(var + 1e-5) · weight + bias, ReLU."""
    conv, norm = f"convblocks.{index}.conv.", f"convblocks.{index}.bn."
    y = F.conv2d(x, state[conv + "weight"], state[conv + "bias"], padding=(2, 1))
    mean, var, gain, bias = (
        state[norm + name].reshape(1, -1, 1, 1) for name in ("running_mean", "running_var", "weight", "bias")
    )
    return ((y - mean) / torch.sqrt(var + 1e-5) * gain + bias).clamp(min=0)


def by_hand(variant: str, state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The convolutional variants, block by block."""
    e0 = block(state, x, 0)
    e1 = block(state, e0, 1)
    e2 = block(state, e1, 2)
    first = 4
    x = block(state, e2, 3) if variant != "pinv-conv-skip-no-bottleneck" else e2
    if variant == "pinv-conv-skip-no-bottleneck":
        first = 3
    for index, skip in enumerate((e2, e1, e0), first):
        if variant.startswith("pinv-conv-skip"):
            x = torch.cat([x, skip], 1)
        elif variant == "pinv-conv-res":
            x = x + skip
        x = block(state, x, index)
    return x


@pytest.mark.parametrize("variant", CONVOLUTIONAL)
def test_keys_and_shapes_are_the_origins(variant: Any) -> None:
    shapes = {
        key: tuple(tensor.shape)
        for key, tensor in build_mel_inversion(MelInversionConfig(variant=variant)).state_dict().items()
    }
    expected: dict[str, tuple[int, ...]] = {}
    for i, (inputs, outputs) in enumerate(CONVOLUTIONAL[variant]):
        expected[f"convblocks.{i}.conv.weight"] = (outputs, inputs, 5, 3)
        expected[f"convblocks.{i}.conv.bias"] = (outputs,)
        for name in ("weight", "bias", "running_mean", "running_var"):
            expected[f"convblocks.{i}.bn.{name}"] = (outputs,)
        expected[f"convblocks.{i}.bn.num_batches_tracked"] = ()
    assert shapes == expected


def test_the_best_net_has_709_347_parameters() -> None:
    assert sum(p.numel() for p in build_mel_inversion().parameters()) == 709_347


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("variant", CONVOLUTIONAL)
def test_equals_the_net_written_out_by_hand(variant: Any, domain: str) -> None:
    config = replace(DOMAINS[domain], variant=variant)
    module, mel = net(config), speech_mel(config)
    bank = filter_bank(config.mel)
    pinv = torch.from_numpy(np.linalg.pinv(bank)).float().double()
    with torch.no_grad():
        ours = module(mel)
    if domain == "log":
        low, high = math.log(1e-5), math.log(32.0)
        neighbours = bank.T / np.maximum(bank.T @ bank.sum(1), 1e-300)[:, None]
        least = (torch.from_numpy(0.1 * neighbours) @ mel.exp()).clamp(min=1e-5)
        estimate = (torch.maximum(pinv @ mel.exp(), least).log() - low) / (high - low)
    else:
        estimate = pinv @ mel
        estimate = (
            estimate.clamp(0, 1)
            if domain == "db"
            else (estimate - estimate.min()) / (estimate.max() - estimate.min())
        )
    answer = by_hand(variant, dict(module.state_dict()), estimate[:, None])[:, 0]
    if domain == "db-min-max":
        answer = answer / answer.max()
    expected = answer * (high - low) + low if domain == "log" else answer
    assert expected.std() > 0.01
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)  # a constant of ours is float32


@pytest.mark.parametrize("frames", [1, 7, 8, 9, 16])
def test_u_nets_take_any_number_of_frames(frames: int) -> None:
    config = replace(INVERSION, variant="unet")
    module = net(config)
    with torch.no_grad():
        answer = module(speech_mel(config, 16)[:, :, :frames])
    assert answer.shape == (1, 33, frames)
    assert answer.min() >= math.log(1e-5) - 1e-9


def test_a_u_net_is_the_one_of_the_table() -> None:
    """3 levels of two 3 × 3 convolutions, bottleneck of twice the width, then back; counted by hand."""

    def pair(inputs: int, outputs: int) -> int:
        return 9 * outputs * (inputs + outputs) + 2 * outputs + 4 * outputs

    down = pair(1, 32) + pair(32, 64) + pair(64, 128) + pair(128, 256)
    reduce = 9 * (256 * 128 + 128 * 64 + 64 * 32) + 128 + 64 + 32
    up = pair(256, 128) + pair(128, 64) + pair(64, 32)
    out = 9 * 32 * 16 + 16 + 16 + 1
    unet = UNet((32, 64, 128))
    assert sum(p.numel() for p in unet.parameters()) == down + reduce + up + out


def test_pinv_unet_subtracts_what_unet_says() -> None:
    """The same weights in both; the result is nowhere below the floor."""
    config = replace(INVERSION, variant="pinv-unet")
    module, mel = net(config), speech_mel(config)
    assert isinstance(module, MelInversion)
    with torch.no_grad():
        estimate = module.estimate(mel)
        expected = (estimate - module.unet(estimate)).clamp(min=0)[:, 0]
        torch.testing.assert_close(module(mel), log_unscaled(expected, config))


# ---- normalisation ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "domain"), [*itertools.product(ORIGINS, DOMAINS), ("light", "log")])
def test_an_example_does_not_depend_on_its_neighbours(variant: Any, domain: str) -> None:
    """Not so in mel-speech-reconstruction, whose extrema are over the batch."""
    config = replace(DOMAINS[domain], variant=variant)
    module, mel = net(config), speech_mel(config)
    louder = mel + 2.0 if domain == "log" else mel * 1.5
    with torch.no_grad():
        together, alone = module(torch.cat([mel, louder])), module(mel)
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-5)  # light computes in float32


def test_the_level_is_kept() -> None:
    """The estimate of a mel e times as loud is higher by 1 in ln, wherever the floor is not got."""
    estimate = Estimate(INVERSION).double()
    mel = speech_mel(INVERSION) + 3.0
    with torch.no_grad():
        quiet, loud = (log_unscaled(estimate(m), INVERSION) for m in (mel, mel + 1.0))
    assert (quiet > -11).double().mean() > 0.9
    torch.testing.assert_close(loud[quiet > -11], quiet[quiet > -11] + 1.0, rtol=0, atol=1e-9)


def test_the_estimate_is_near_the_magnitude_and_near_its_neighbours() -> None:
    """Of flat noise: within 3 dB in most bins, and 20 dB below the local level at the most."""
    audio = 0.1 * np.random.default_rng(0).standard_normal(8000)
    magnitude = Stft(MEL.stft, "float64").forward(audio)
    mel = torch.from_numpy(MelFrontEnd(MEL, "float64")(audio))[None]
    with torch.no_grad():
        log_estimate = log_unscaled(Estimate(INVERSION).double()(mel), INVERSION)[0, 0].numpy()
    error = np.abs(log_estimate - np.log(np.abs(magnitude)))[1:-1]
    assert np.median(error) < 0.35
    assert log_estimate[1:-1].min() > math.log(np.abs(magnitude).mean()) - math.log(10) - 3.5


def test_fixed_scales_are_full_scale_and_the_floor() -> None:
    values = torch.tensor([1e-9, 1e-5, 32.0])
    torch.testing.assert_close(log_scaled(values, INVERSION), torch.tensor([0.0, 0.0, 1.0]))
    back = log_unscaled(torch.tensor([0.0, 1.0]), INVERSION)
    torch.testing.assert_close(back, torch.tensor([math.log(1e-5), math.log(32.0)]))


def test_silence_is_the_floor_in_each_domain() -> None:
    """No division by zero: in mel-speech-reconstruction 0 / 0 is NaN."""
    silent_log = torch.full((1, 12, 9), math.log(1e-5), dtype=torch.float64)
    with torch.no_grad():
        assert Estimate(INVERSION).double()(silent_log).max() < 0.35
        for config in (INVERSION_DB, DOMAINS["db-min-max"]):
            answer = net(config)(torch.zeros(1, 12, 9, dtype=torch.float64))
            assert torch.isfinite(answer).all()


def test_float16_meets_no_number_that_it_does_not_hold() -> None:
    """Pain 2: exp of a log mel goes below float16's smallest normal number, 6.1e-5, at the floor."""
    estimate = Estimate(INVERSION)
    mel = torch.tensor([math.log(1e-5), 3.0]).repeat(1, 12, 1)
    assert (mel + math.log(SCALE)).exp().min() > torch.finfo(torch.float16).tiny
    assert SCALE * 4 * MEL.win_length / 2 < torch.finfo(torch.float16).max
    with torch.no_grad():
        double, half = estimate.double()(mel.double()), estimate.half()(mel.half())
    assert (half.double() - double).abs().max() < 0.01


@pytest.mark.parametrize("variant", ORIGINS)
def test_frames_beyond_the_context_change_nothing(variant: Any) -> None:
    config = replace(INVERSION, variant=variant)
    reach = config.context_frames
    if reach is None:
        assert variant in ("unet", "pinv-unet")
        return
    module, mel = net(config), speech_mel(config, 2 * reach + 9)
    other = mel.clone()
    other[:, :, reach + 4] += 1.0
    with torch.no_grad():
        change = (module(other) - module(mel)).abs().amax((0, 1))
    changed = torch.nonzero(change).flatten()
    assert (int(changed.min()), int(changed.max())) == (4, 2 * reach + 4)
    assert replace(INVERSION_DB, normalization="min-max").context_frames is None


# ---- config -----------------------------------------------------------------------------------------------


def test_config_round_trip() -> None:
    for config in (*MEL_INVERSION_PRESETS.values(), *DOMAINS.values()):
        assert MelInversionConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_the_default_is_the_log_magnitude_mel_of_vocoders() -> None:
    assert MelInversionConfig.from_json({}) == MelInversionConfig()
    assert MelInversionConfig().mel == PRESETS["mel-inversion"]
    assert MelInversionConfig.from_json({"domain": "db"}).mel == PRESETS["mel-inversion-db"]
    assert MEL_INVERSION_PRESETS["pinv-conv-skip-22k"].mel == PRESETS["hifigan-22k"]
    assert MEL_INVERSION_PRESETS["origin"].normalization == "min-max"


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"variant": "pinv"}, "variant: got 'pinv', expected pinv-conv-skip, pinv-conv,"),
        ({"domain": "linear"}, "domain: got 'linear', expected log or db"),
        ({"channels": [1, 2]}, r"channels: got \(1, 2\), expected 3 whole numbers"),
        ({"channels": [1, 2, True]}, "channels: got"),
        ({"normalization": "min-max"}, "normalization: got 'min-max' with .*the level would be lost"),
        ({"mel": PRESETS["rtmri"].to_json()}, r"mel: got another mel \(log 'log10', power 2\), expected"),
        ({"domain": "db", "mel": MEL.to_json()}, "mel: got another mel .*as in the preset mel-inversion-db"),
        ({"mel": replace(MEL, n_mels=None).to_json()}, "mel: got no mel bands"),
        ({"mel": "hifigan-22k"}, "mel: got 'hifigan-22k', expected an object"),
        ({"mels": 80}, "entry 'mels': got an unknown entry"),
    ],
)  # fmt: skip
def test_refusals(entries: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        MelInversionConfig.from_json(entries)


def test_small_channels_are_used() -> None:
    module = build_mel_inversion(INVERSION)
    assert module.state_dict()["convblocks.2.conv.weight"].shape[:2] == (CHANNELS[2], CHANNELS[1])


# ---- goldens ----------------------------------------------------------------------------------------------

GOLDENS = json.loads((ROOT / "reference_data" / "manifest.json").read_text())["nets"]["mel-inversion"]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 2e-5)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("case", GOLDENS)
def test_goldens(case: str, dtype: torch.dtype, tolerance: float) -> None:
    """The pseudo-inverse is a float32 constant in both."""
    folder = ROOT / "reference_data" / "nets" / "mel-inversion" / case
    config = MelInversionConfig.from_json(GOLDENS[case]["config"])
    module = build_mel_inversion(config).eval().to(dtype)
    weights = closed_form.state(GOLDENS[case]["keys"])
    scales = GOLDENS[case].get("scales", {})
    module.load_state_dict(
        {key: scales.get(key, 1) * torch.from_numpy(array) for key, array in weights.items()}
    )
    mel, expected = (
        torch.from_numpy(np.load(folder / f"{name}.npy")).to(dtype) for name in ("mel", "magnitude")
    )
    with torch.no_grad():
        difference = (module(mel) - expected).abs().max()
    assert expected.std() > 0.05
    assert difference <= tolerance * (expected.max() - expected.min())


def test_every_golden_case_is_here() -> None:
    folder = ROOT / "reference_data" / "nets" / "mel-inversion"
    assert {path.name for path in folder.iterdir()} == set(GOLDENS)
    assert {GOLDENS[case]["config"]["variant"] for case in GOLDENS} == {*ORIGINS, "light"}
    assert len(GOLDENS) == 8
