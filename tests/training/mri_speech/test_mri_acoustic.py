"""MriAcoustic against mri2speech's keys (tests/data/keys) and against its description written out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests import closed_form
from torch import Tensor, nn

from edge_runtime.dsp.mel import PRESETS
from edge_runtime.errors import ConfigError, InputError
from edge_training.mri_speech.mri_acoustic import (
    BACKBONES,
    MRI_ACOUSTIC_PRESETS,
    MriAcoustic,
    MriAcousticConfig,
)

ROOT = Path(__file__).parents[3]
KEYS = ROOT / "tests" / "data" / "keys" / "mri_acoustic.json"
TINY = MRI_ACOUSTIC_PRESETS["tiny"]
META = {
    "sr": 11413, "n_mels": 64, "n_fft": 2048, "win_length": 2048, "hop_length": 420, "preemph": 0.97,
    "resize_h": 256, "resize_w": 256, "ref_frames": 4, "stems": ["000"],
    "mean": [-40.0] * 64, "std": [9.0] * 64,
}  # fmt: skip

# of TINY: (kind, inputs, outputs, stride) of each block
TABLE = (
    ("0.0", "conv", 8, 8, 1),
    ("1.0", "fused", 8, 8, 2),
    ("2.0", "inverted", 8, 16, 2),
    ("2.1", "inverted", 16, 16, 1),
)


def tiny(seed: int = 3, **changes: Any) -> MriAcoustic:
    """A net whose batch norms have statistics as after training."""
    torch.manual_seed(seed)
    net = MriAcoustic(replace(TINY, **changes))
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0.0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0.0, 0.1)
    return net


def frames(*shape: int) -> Tensor:
    return torch.rand(*shape, 1, 32, 32, generator=torch.Generator().manual_seed(5))


# ---- sizes ------------------------------------------------------------------------------------------------


def test_keys_and_shapes_are_the_origins() -> None:
    expected = json.loads(KEYS.read_text())
    net = MriAcoustic()
    assert {key: list(value.shape) for key, value in net.state_dict().items()} == expected
    assert len(expected) == 540
    assert sum(p.numel() for p in net.parameters()) == 12_784_430
    assert sum(p.numel() for p in net.cnn.parameters()) == 8_391_406


def test_b2_ends_in_208_maps_of_8_by_8() -> None:
    net = MriAcoustic().eval()
    with torch.no_grad():
        maps = net.maps(torch.zeros(1, 1, 1, 256, 256))
    assert maps.shape == (1, 1, 208, 8, 8)
    assert (BACKBONES["b2"].channels, BACKBONES["b2"].map_size(256)) == (208, 8)


@pytest.mark.parametrize("size", [16, 31, 32, 33, 47])
@pytest.mark.parametrize("backbone", ["phantom", "tiny"])
def test_map_sizes_of_even_and_odd_pictures(backbone: str, size: int) -> None:
    net = MriAcoustic(replace(TINY, backbone=backbone, image_size=size)).eval()
    side = BACKBONES[backbone].map_size(size)
    with torch.no_grad():
        assert net.maps(torch.zeros(1, 2, size, size)).shape[-2:] == (side, side)


# ---- against the description ------------------------------------------------------------------------------


def by_hand(state: dict[str, Tensor], pictures: Tensor) -> Tensor:
    """The net `tiny` from its description, of one clip (T, 1, S, S), without any of its modules."""

    def conv(x: Tensor, key: str, stride: int = 1, groups: int = 1) -> Tensor:
        kernel, size = state[key].shape[-1], x.shape[-1]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        low = total // 2
        x = F.pad(x, (low, total - low, low, total - low))
        return F.conv2d(x, state[key], state.get(key.replace("weight", "bias")), stride, groups=groups)

    def norm(x: Tensor, key: str) -> Tensor:
        names = ("running_mean", "running_var", "weight", "bias")
        mean, var, gain, bias = (state[f"{key}.{name}"].reshape(1, -1, 1, 1) for name in names)
        return (x - mean) / torch.sqrt(var + 1e-3) * gain + bias

    def silu(x: Tensor) -> Tensor:
        return x / (1 + torch.exp(-x))

    root = "cnn.backbone."
    x = silu(norm(conv(pictures.repeat(1, 3, 1, 1), root + "conv_stem.weight", 2), root + "bn1"))
    for place, kind, inputs, outputs, stride in TABLE:
        at = f"{root}blocks.{place}."
        if kind == "conv":
            y = silu(norm(conv(x, at + "conv.weight", stride), at + "bn1"))
        elif kind == "fused":
            y = silu(norm(conv(x, at + "conv_exp.weight", stride), at + "bn1"))
            y = norm(conv(y, at + "conv_pwl.weight"), at + "bn2")
        else:
            y = silu(norm(conv(x, at + "conv_pw.weight"), at + "bn1"))
            y = silu(norm(conv(y, at + "conv_dw.weight", stride, y.shape[1]), at + "bn2"))
            gate = silu(conv(y.mean((2, 3), keepdim=True), at + "se.conv_reduce.weight"))
            y = y / (1 + torch.exp(-conv(gate, at + "se.conv_expand.weight")))
            y = norm(conv(y, at + "conv_pwl.weight"), at + "bn3")
        x = x + y if stride == 1 and inputs == outputs else y
    pooled = x.mean((2, 3))
    total = lstm(state, pooled, "") + lstm(state, pooled.flip(0), "_reverse").flip(0)
    return total @ state["head.weight"].T + state["head.bias"]


def lstm(state: dict[str, Tensor], inputs: Tensor, suffix: str) -> Tensor:
    """One direction, step by step: gates in the order input, forget, cell, output."""
    w, r, b, c = (
        state[f"rnn.lstm.{name}_l0{suffix}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    hidden = cell = torch.zeros(r.shape[1], dtype=inputs.dtype)
    out = []
    for x in inputs:
        i, f, g, o = (w @ x + b + r @ hidden + c).chunk(4)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        out.append(hidden)
    return torch.stack(out)


def test_equals_the_net_written_out_by_hand() -> None:
    net = tiny().double().eval()
    pictures = frames(1, 7).double()
    with torch.no_grad():
        ours, theirs = net(pictures)[0], by_hand(net.state_dict(), pictures[0])
    assert ours.std() > 1e-3  # not dead
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def test_channel_axis_may_be_absent_and_clips_do_not_mix() -> None:
    net = tiny().eval()
    pictures = frames(2, 5)
    with torch.no_grad():
        both = net(pictures)
        torch.testing.assert_close(net(pictures[:, :, 0]), both, rtol=0, atol=0)
        torch.testing.assert_close(net(pictures[1:]), both[1:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 2, 1, 32, 31), (2, 1, 32), (1, 2, 3, 1, 32, 32)])
def test_pictures_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"frames: got shape .*, expected \(batch, frames, 1, 32, 32\)"):
        tiny()(torch.zeros(shape))


# ---- window mode ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 3, 4, 5, 9])
def test_window_mode_is_the_mean_of_all_windows_that_hold_a_frame(length: int) -> None:
    net = tiny().double().eval()
    pictures = frames(2, length).double()
    window = min(4, length)
    with torch.no_grad():
        found = [(start, net(pictures[:, start : start + window])) for start in range(length - window + 1)]
        expected = torch.stack(
            [
                torch.stack([mel[:, t - start] for start, mel in found if start <= t < start + window]).mean(
                    0
                )
                for t in range(length)
            ],
            dim=1,
        )
        torch.testing.assert_close(net.windowed(pictures), expected, rtol=0, atol=1e-12)


# ---- gradient checkpointing -------------------------------------------------------------------------------


def kept_bytes(run: Callable[[], Tensor]) -> int:
    """Bytes of the tensors that a forward pass keeps for the backward pass, parameters aside."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        run()
    return sum(kept.values())


def test_recomputing_keeps_less_memory() -> None:
    pictures = frames(1, 6)
    plain, recomputed = tiny().train(), tiny().train()
    recomputed.recompute = True
    assert kept_bytes(lambda: recomputed(pictures)) < 0.3 * kept_bytes(lambda: plain(pictures))


def test_recomputing_changes_neither_outputs_gradients_nor_running_statistics() -> None:
    pictures = frames(2, 5)
    nets = [tiny(dropout=0.0).train(), tiny(dropout=0.0).train()]
    nets[1].recompute = True
    outputs = [net(pictures) for net in nets]
    for output in outputs:
        output.square().mean().backward()
    torch.testing.assert_close(*outputs, rtol=0, atol=0)
    for (name, one), other in zip(nets[0].named_parameters(), nets[1].parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=0, msg=name)
    for (name, first), second in zip(nets[0].named_buffers(), nets[1].buffers(), strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0, msg=name)
    assert nets[1].cnn.backbone.bn1.num_batches_tracked == 1


def test_inference_never_recomputes() -> None:
    net = MriAcoustic(TINY, recompute=True).eval()
    with torch.no_grad():
        assert net(frames(1, 3)).shape == (1, 3, 64)


# ---- configuration ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", MRI_ACOUSTIC_PRESETS)
def test_a_config_survives_json(preset: str) -> None:
    config = replace(MRI_ACOUSTIC_PRESETS[preset], mel_mean=(-40.0,) * 64, mel_std=(9.0,) * 64)
    assert MriAcousticConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_the_origins_meta_json_is_a_config() -> None:
    config = MriAcousticConfig.from_json(META)
    assert config == replace(MRI_ACOUSTIC_PRESETS["origin"], mel_mean=(-40.0,) * 64, mel_std=(9.0,) * 64)
    assert config.mel == PRESETS["rtmri"]
    assert config.layout == "legacy"


def test_meta_json_of_this_project_says_layout_scaling_and_net() -> None:
    config = MriAcousticConfig.from_json(
        META
        | {"layout": "padded", "frame_scaling": "min-max", "backbone": "tiny", "resize_h": 32, "resize_w": 32}
    )
    assert (config.layout, config.frame_scaling, config.backbone) == ("padded", "min-max", "tiny")
    assert config.mel.frames(54 * 420 + 419) == 54


def test_mel_frames_stand_on_the_video_clock() -> None:
    config = MriAcousticConfig()
    assert config.frame_rate == pytest.approx(27.1738, abs=1e-4)
    assert [config.mel.frames(samples) for samples in (22_680, 22_826, 23_100)] == [54, 54, 55]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"rnn_hiden": 8}, r"entry 'rnn_hiden': .*is 'rnn_hidden' meant\?"),
        ({"backbone": "b3"}, "backbone: got 'b3', expected one of b2, phantom, tiny"),
        ({"backbone": ["b2"]}, "backbone: got"),
        ({"image_size": 8}, "image_size: got 8, expected a whole number of pixels"),
        ({"rnn_hidden": True}, "rnn_hidden: got True"),
        ({"dropout": 1.0}, "dropout: got 1.0"),
        ({"frame_scaling": "z-score"}, "frame_scaling: got 'z-score', expected full-scale or min-max"),
        ({"window": 0}, "window: got 0"),
        ({"mel": 64}, "mel: got 64"),
        ({"mel_mean": [0.0] * 80, "mel_std": [1.0] * 80}, "mel_mean: got .* expected 64 numbers"),
        ({"mel_mean": [0.0] * 64}, "mel_std: got None, expected numbers above 0"),
        ({"mel_mean": [0.0] * 64, "mel_std": [0.0] * 64}, "mel_std: got .* expected numbers above 0"),
        ({**META, "resize_h": 128}, "resize_h, resize_w: got 128 × 256, expected two equal sizes"),
        ({**META, "layout": "centred"}, "layout: got 'centred', expected padded or legacy"),
        ({**META, "colour": 1}, "entry 'colour': got an unknown entry"),
    ],
)
def test_bad_entries_are_refused(entries: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        MriAcousticConfig.from_json(entries)


# ---- goldens ----------------------------------------------------------------------------------------------

GOLDENS = json.loads((ROOT / "reference_data" / "manifest.json").read_text())["nets"]["mri-acoustic"]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("case", GOLDENS)
def test_goldens(case: str, dtype: torch.dtype, tolerance: float) -> None:
    folder = ROOT / "reference_data" / "nets" / "mri-acoustic" / case
    net = MriAcoustic(MriAcousticConfig.from_json(GOLDENS[case]["config"])).eval()
    weights = closed_form.state(GOLDENS[case]["keys"])
    net.load_state_dict({key: torch.from_numpy(array) for key, array in weights.items()})
    pictures, mel = (
        torch.from_numpy(np.load(folder / f"{name}.npy")).to(dtype) for name in ("frames", "mel")
    )
    with torch.no_grad():
        difference = (net.to(dtype)(pictures) - mel).abs().max()
    assert mel.std(1).mean() > 0.05, "it changes over time"
    assert difference <= tolerance * (mel.max() - mel.min())


def test_every_golden_case_is_here() -> None:
    folder = ROOT / "reference_data" / "nets" / "mri-acoustic"
    assert {path.name for path in folder.iterdir()} == set(GOLDENS)
    assert {case["config"]["backbone"] for case in GOLDENS.values()} == set(BACKBONES)
