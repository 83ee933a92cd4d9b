"""HiFi-GAN against published keys (tests/data/keys), its description written out, its own geometry."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import closed_form
from torch import Tensor, nn

from edge_runtime.dsp.mel import PRESETS
from edge_runtime.errors import ConfigError
from edge_training.vocoder.hifigan import HIFIGAN_PRESETS, HifiGan, HifiGanConfig

ROOT = Path(__file__).parents[3]
KEYS = ROOT / "tests" / "data" / "keys"

# as the paper's repository ships it for V1, training entries and all
STOCK_JSON: dict[str, Any] = json.loads("""{
    "resblock": "1", "num_gpus": 0, "batch_size": 16, "learning_rate": 0.0002, "adam_b1": 0.8,
    "adam_b2": 0.99, "lr_decay": 0.999, "seed": 1234, "upsample_rates": [8, 8, 2, 2],
    "upsample_kernel_sizes": [16, 16, 4, 4], "upsample_initial_channel": 512,
    "resblock_kernel_sizes": [3, 7, 11], "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "segment_size": 8192, "num_mels": 80, "num_freq": 1025, "n_fft": 1024, "hop_size": 256,
    "win_size": 1024, "sampling_rate": 22050, "fmin": 0, "fmax": 8000, "fmax_for_loss": null,
    "num_workers": 4,
    "dist_config": {"dist_backend": "nccl", "dist_url": "tcp://localhost:54321", "world_size": 1}
}""")

ODD = replace(  # Auffusion's rule in its first two stages (k − u = 5, 3), the even one in the third
    HIFIGAN_PRESETS["v1"],
    upsample_rates=(4, 2, 2),
    upsample_kernel_sizes=(9, 5, 4),
    hop_size=16,
    segment_size=None,
    odd_kernels="output-padding",
)


def small(config: HifiGanConfig) -> HifiGanConfig:
    """The same time geometry with the fewest channels."""
    return replace(config, upsample_initial_channel=2 ** len(config.upsample_rates), num_mels=3)


def small_net(config: HifiGanConfig) -> HifiGan:
    torch.manual_seed(4)
    return HifiGan(small(config)).double().eval()


CONFIGS = {**HIFIGAN_PRESETS, "odd": ODD}
all_configs = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


# ---- the net ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "normed_keys", "folded_keys", "normed_size", "folded_size"),
    [
        ("v1", 234, 156, 13_936_130, 13_926_017),
        ("v2", 234, 156, 928_514, 925_985),
        ("v3", 69, 46, 1_464_322, 1_462_273),
        ("rtmri", 234, 156, 14_394_882, 14_384_769),
        ("rtmri-origin", 233, 156, 14_394_370, 14_384_769),
    ],
)
def test_keys_shapes_and_counts_are_the_origins(
    preset: str, normed_keys: int, folded_keys: int, normed_size: int, folded_size: int
) -> None:
    with torch.device("meta"):
        folded = HifiGan(HIFIGAN_PRESETS[preset])
        normed = HifiGan(HIFIGAN_PRESETS[preset], weight_norm=True)
    expected = json.loads((KEYS / f"hifigan_{preset}.json").read_text())
    ours = {
        key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): list(tensor.shape)
        for key, tensor in normed.state_dict().items()
    }
    assert ours == expected
    assert (len(expected), len(folded.state_dict())) == (normed_keys, folded_keys)
    assert sum(p.numel() for p in normed.parameters()) == normed_size
    assert sum(p.numel() for p in folded.parameters()) == folded_size


def by_hand(net: HifiGan, mel: Tensor) -> Tensor:
    """The net from its description; causal-tail as mri2speech does it: doubled padding, tail cut off."""
    config, state = net.config, net.state_dict()
    tail = config.wiring == "causal-tail"

    def conv(x: Tensor, name: str, dilation: int = 1) -> Tensor:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        span = (weight.shape[2] - 1) * dilation
        if name in ("conv_pre", "conv_post"):
            zeros = x.new_zeros(*x.shape[:2], 6)
            return (
                F.conv1d(torch.cat([x, zeros], 2), weight, bias) if tail else F.conv1d(x, weight, bias, 1, 3)
            )
        if tail:
            return F.conv1d(x, weight, bias, 1, span, dilation)[:, :, : x.shape[2]]
        return F.conv1d(x, weight, bias, 1, span // 2, dilation)

    def block(x: Tensor, name: str, dilations: tuple[int, ...]) -> Tensor:
        for i, dilation in enumerate(dilations):
            if config.resblock == 1:
                y = conv(F.leaky_relu(x, 0.1), f"{name}.convs1.{i}", dilation)
                x = x + conv(F.leaky_relu(y, 0.1), f"{name}.convs2.{i}")
            else:
                x = x + conv(F.leaky_relu(x, 0.1), f"{name}.convs.{i}", dilation)
        return x

    x = conv(mel, "conv_pre")
    for stage, (u, k) in enumerate(zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True)):
        odd = (k - u) % 2
        up = (state[f"ups.{stage}.weight"], state[f"ups.{stage}.bias"])
        x = F.conv_transpose1d(F.leaky_relu(x, 0.1), *up, u, (k - u) // 2 + odd, odd)
        outs = [
            block(x, f"resblocks.{stage * len(config.resblock_kernel_sizes) + j}", dilations)
            for j, dilations in enumerate(config.resblock_dilation_sizes)
        ]
        x = torch.stack(outs).mean(0)
    return torch.tanh(conv(F.leaky_relu(x, 0.01), "conv_post"))


@all_configs
def test_equals_the_net_written_out_by_hand(config: HifiGanConfig) -> None:
    net = small_net(config)
    mel = 4 * torch.randn(2, 3, 9, dtype=torch.float64)
    with torch.no_grad():
        ours, theirs = net(mel), by_hand(net, mel)
    assert ours.shape == (2, 1, 9 * config.hop_length)
    assert ours.std(-1).min() > 1e-4  # neither silent …
    assert ours.abs().max() < 0.99  # … nor saturated
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)


@pytest.mark.parametrize("frames", [1, 2, 5])
@all_configs
def test_each_frame_gives_one_hop(config: HifiGanConfig, frames: int) -> None:
    with torch.no_grad():
        assert small_net(config)(torch.zeros(1, 3, frames).double()).shape[-1] == frames * config.hop_length


@pytest.mark.parametrize("preset", ["v2", "v3", "rtmri-origin"])
def test_folding_weight_norm_changes_nothing(preset: str) -> None:
    torch.manual_seed(5)
    net = HifiGan(replace(HIFIGAN_PRESETS[preset], upsample_initial_channel=64), weight_norm=True).eval()
    for name, parameter in net.named_parameters():
        if name.endswith("original0"):
            nn.init.uniform_(parameter, 0.5, 1.5)  # a magnitude that is not the direction's norm
    mel = torch.randn(1, net.config.num_mels, 6)
    with torch.no_grad():
        before = net(mel)
        after = net.fold()(mel)
    assert (before - after).abs().max() <= 1e-5
    assert set(net.state_dict()) == set(HifiGan(net.config).state_dict())


# ---- context ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "context", "frames"),
    [
        ("v1", (13, 13), 13),
        ("v2", (13, 13), 13),
        ("v3", (11, 11), 11),
        ("rtmri", (11, 11), 11),
        ("rtmri-origin", (16, 7), 16),
    ],
)
def test_context_frames(name: str, context: tuple[int, int], frames: int) -> None:
    config = HIFIGAN_PRESETS[name]
    assert (config.context, config.context_frames) == (context, frames)
    assert config.receptive_field == sum(context) + 1


@all_configs
def test_context_is_what_a_changed_frame_reaches(config: HifiGanConfig) -> None:
    """Frame s changes the samples of frames s − ahead … s + back, and of no other."""
    net, (back, ahead) = small_net(config), config.context
    for name, parameter in net.named_parameters():
        parameter.data = parameter.abs() if name.endswith("weight") else torch.zeros_like(parameter)
    mel = torch.zeros(1, 3, back + ahead + 7, dtype=torch.float64)
    with torch.no_grad():
        assert not net(mel).any()  # so nothing is rounded away beside the effect, however small
        mel[:, :, ahead + 3] = 1.0
        reached = net(mel).reshape(-1, config.hop_length).any(1)
    assert reached.nonzero().flatten().tolist() == list(range(3, 3 + ahead + 1 + back))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(CONFIGS)), st.integers(1, 60), st.integers(1, 20))
def test_chunks_with_context_equal_one_pass(name: str, frames: int, size: int) -> None:
    net = small_net(CONFIGS[name])
    back, ahead = net.config.context
    hop = net.config.hop_length
    mel = torch.randn(1, 3, frames, dtype=torch.float64, generator=torch.Generator().manual_seed(frames))
    pieces = []
    with torch.no_grad():
        for start in range(0, frames, size):
            stop, first = min(start + size, frames), max(start - back, 0)
            chunk = net(mel[..., first : stop + ahead])
            pieces.append(chunk[..., (start - first) * hop : (stop - first) * hop])
        torch.testing.assert_close(torch.cat(pieces, 2), net(mel), rtol=0, atol=1e-12)


# ---- config -----------------------------------------------------------------------------------------------


def test_stock_config_is_preset_v1() -> None:
    config = HifiGanConfig.from_json(STOCK_JSON)
    assert json.dumps(config.to_json()) == json.dumps(HIFIGAN_PRESETS["v1"].to_json())
    assert config.wiring is None


@all_configs
def test_config_round_trip(config: HifiGanConfig) -> None:
    assert HifiGanConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_front_ends_are_the_runtimes() -> None:
    assert HIFIGAN_PRESETS["v1"].mel == PRESETS["hifigan-22k"]
    assert HIFIGAN_PRESETS["rtmri"].mel == PRESETS["hifigan-11k"]
    origin = HIFIGAN_PRESETS["rtmri-origin"].mel
    assert origin == replace(PRESETS["hifigan-11k"], fmax=8000.0, fmax_above_nyquist=True)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"hop_size": 300}, r"upsample_rates: got 8 × 8 × 2 × 2 = 256, expected .* hop_size, 300"),
        (
            {"upsample_kernel_sizes": [16, 15, 4, 4]},
            r"sizes\[1\]: got kernel 15 with rate 8: k − u = 7, odd.*extra",
        ),
        ({"upsample_kernel_sizes": [16, 6, 4, 4]}, r"kernel 6 with rate 8, expected a kernel not smaller"),
        ({"upsample_kernel_sizes": [16, 16, 4]}, "got 3 kernels, expected 4"),
        (
            {
                "upsample_rates": [8, 8, 4, 1],
                "upsample_kernel_sizes": [16, 16, 8, 2],
                "odd_kernels": "output-padding",
            },
            "kernel 2 with rate 1, expected an odd kernel",
        ),
        (
            {"upsample_initial_channel": 100},
            "got 100, expected a multiple of 16; each of the 4 stages halves",
        ),
        ({"fmin": 8000}, "fmin: got 8000 Hz, expected less than fmax, 8000 Hz"),
        ({"fmin": -1}, "fmin: got -1.0, expected a frequency"),
        ({"fmax": float("inf")}, "fmax: got inf"),
        ({"fmax": True}, "fmax: got True"),
        ({"resblock_kernel_sizes": [3, 7]}, "resblock_dilation_sizes: got 3 lists, expected 2"),
        ({"resblock_kernel_sizes": [3, 7, 10]}, "got 10, expected odd kernels"),
        ({"resblock_dilation_sizes": [[1, 3], [1, 3], [1, 3]]}, r"got \[1, 3\], expected 3 dilations"),
        ({"resblock_dilation_sizes": [1, 3, 5]}, "expected a list of lists"),
        ({"resblock": "3"}, "resblock: got '3', expected 1 or 2"),
        ({"resblock": 3}, "resblock: got 3, expected 1 or 2"),
        ({"resblock": True}, "resblock: got True"),
        ({"resblock": "2"}, "expected 2 dilations in each list; residual block 2 has 2 of them"),
        ({"segment_size": 8000}, "segment_size: got 8000, expected a multiple of hop_size, 256"),
        ({"segment_size": 0}, "segment_size: got 0, expected a positive"),
        ({"num_mels": 0}, "num_mels: got 0, expected a positive whole number"),
        ({"num_mels": 80.0}, "num_mels: got 80.0, expected a positive whole number"),
        ({"upsample_rates": []}, r"upsample_rates: got \[\]"),
        ({"upsample_rates": "8,8,2,2"}, "upsample_rates: got '8,8,2,2', expected a list"),
        (
            {"upsample_initial_channel": 2**24},
            "upsample_initial_channel: got 16777216, .* most 8192",
        ),
        ({"upsample_initial_channel": 8192}, r"8192, with these kernels \d+ weights, .* at most 536870912"),
        ({"num_mels": 10**9}, "num_mels: got 1000000000, expected at most 1024; no such net fits"),
        ({"resblock_dilation_sizes": [[1, 3, 10**9]] * 3}, "resblock_dilation_sizes: got 1000000000, exp"),
        ({"upsample_rates": [1] * 17}, "upsample_rates: got 17 entries, expected at most 16"),
        ({"n_fft": 512}, "n_fft: got 512, expected at least win_size, 1024"),
        ({"n_fft": 128, "win_size": 128}, "n_fft: got 128, expected at least hop_size, 256"),
        ({"wiring": "causal"}, "wiring: got 'causal', expected 'stock' or 'causal-tail'"),
        ({"odd_kernels": True}, "odd_kernels: got True"),
        ({"fmax_above_nyquist": "yes"}, "fmax_above_nyquist: got 'yes', expected true or false"),
        ({"upsample_rate": [8, 8, 2, 2]}, "entry 'upsample_rate': .*is 'upsample_rates' meant"),
        ({"snake_logscale": True}, "entry 'snake_logscale': .*another net than HiFi-GAN"),
    ],
)
def test_rules(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        HifiGanConfig.from_json(STOCK_JSON | changes)


def test_no_lowest_frequency_is_0() -> None:
    assert HifiGanConfig.from_json(STOCK_JSON | {"fmin": None}) == HifiGanConfig.from_json(STOCK_JSON)


@pytest.mark.parametrize("name", ["fmax", "fmax_for_loss"])
def test_bands_above_nyquist_are_a_slip_in_code_and_taken_from_a_file(name: str) -> None:
    """The rtMRI system's own config.json has them, without a word on it."""
    config = HifiGanConfig.from_json(STOCK_JSON | {name: 12000})
    assert config.fmax_above_nyquist
    with pytest.raises(ConfigError, match=rf'{name}: got 12000 Hz, .*11025 Hz, .*"fmax_above_nyquist": true'):
        replace(config, fmax_above_nyquist=False)


@pytest.mark.parametrize("name", ["resblock", "hop_size", "fmax"])
def test_missing_entries_are_named(name: str) -> None:
    entries = {key: value for key, value in STOCK_JSON.items() if key != name}
    with pytest.raises(ConfigError, match=f"{name}: got no such entry"):
        HifiGanConfig.from_json(entries)


FOREIGN: dict[str, Any] = {
    "padding_mode": "reflect", "input_mean": [0.5] * 80, "input_scale": [2] * 80,
    "front_end": replace(PRESETS["hifigan-22k"], log="log10", floor=1e-10).to_json(),
}  # fmt: skip


def test_what_other_toolkits_need_goes_through_json() -> None:
    config = HifiGanConfig.from_json(STOCK_JSON | FOREIGN)
    assert config.known_front_end == config.mel == replace(PRESETS["hifigan-22k"], log="log10", floor=1e-10)
    assert HifiGanConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert replace(config, front_end_known=False).known_front_end is None


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"input_scale": None}, "got one of input_mean and input_scale, expected both"),
        ({"input_mean": [0.5]}, "input_mean: got 1 values, expected 80 finite numbers"),
        ({"input_scale": [0] * 80}, "input_scale: .*scales not zero"),
        ({"input_mean": "x"}, "input_mean: got 'x'"),
        ({"padding_mode": "circular"}, "padding_mode: got 'circular'"),
        ({"wiring": "causal-tail"}, "'reflect' with wiring causal-tail"),
        ({"front_end": PRESETS["hifigan-11k"].to_json()}, "front_end: got 11413 Hz.*expected 22050 Hz"),
        ({"front_end": "stock"}, "front_end: got 'stock'"),
        ({"front_end_known": 1}, "front_end_known: got 1, expected true or false"),
    ],
)
def test_rules_of_what_other_toolkits_need(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        HifiGanConfig.from_json(STOCK_JSON | FOREIGN | changes)


def test_the_shortest_mel_that_can_be_reflected() -> None:
    config = HifiGanConfig.from_json(
        STOCK_JSON | FOREIGN | {"upsample_initial_channel": 16, "upsample_rates": [4, 4, 4, 4],
                                "upsample_kernel_sizes": [8, 8, 8, 8]}
    )  # fmt: skip
    assert config.shortest == 7  # 25 samples on each side of 28
    net = HifiGan(config)
    assert net(torch.zeros(1, 80, config.shortest)).shape[-1] == 256 * config.shortest
    with pytest.raises(RuntimeError, match="less than the corresponding input"):
        net(torch.zeros(1, 80, config.shortest - 1))
    assert replace(config, padding_mode="zeros").shortest == 1


def test_the_odd_kernel_rule_is_about_length() -> None:
    """What the refusal says: stock padding with k − u odd emits one sample more in each such stage."""
    up = nn.ConvTranspose1d(1, 1, 15, 8, (15 - 8) // 2)
    assert up(torch.zeros(1, 1, 5)).shape[-1] == 5 * 8 + 1


# ---- golden arrays (reference_data, made from torch.nn.functional in float64) ------------------------------

GOLDENS = json.loads((ROOT / "reference_data" / "manifest.json").read_text())["nets"]["hifigan"]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("case", GOLDENS)
def test_goldens(case: str, dtype: torch.dtype, tolerance: float) -> None:
    golden, folder = GOLDENS[case], ROOT / "reference_data" / "nets" / "hifigan" / case
    net = HifiGan(HifiGanConfig.from_json(golden["config"]), weight_norm=golden["weight_norm"]).eval()
    weights = {
        key.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): torch.from_numpy(array)
        for key, array in closed_form.state(golden["keys"]).items()
    }
    net.load_state_dict(weights)
    mel, audio = (torch.from_numpy(np.load(folder / f"{name}.npy")).to(dtype) for name in ("mel", "audio"))
    with torch.no_grad():
        difference = (net.to(dtype)(mel) - audio).abs().max()
    assert audio.std() > 0.01
    assert difference <= tolerance * (audio.max() - audio.min())


def test_every_golden_case_is_here() -> None:
    folder = ROOT / "reference_data" / "nets" / "hifigan"
    assert {path.name for path in folder.iterdir()} == set(GOLDENS)
    assert len(GOLDENS) == 4
