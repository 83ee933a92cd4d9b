"""AudioEncoder against SyncTalk_2D's keys (tests/data/keys) and against its table written out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests import closed_form
from torch import Tensor

from edge_runtime.dsp.mel import PRESETS
from edge_runtime.errors import ConfigError
from edge_training.talking_head.audio_encoder import AudioEncoder, AudioEncoderConfig

ROOT = Path(__file__).parents[3]
KEYS = ROOT / "tests" / "data" / "keys" / "audio_encoder.json"

# (stride of mel and time, padding, residual), one row a block
TABLE = (
    [((1, 1), 1, False)] + [((1, 1), 1, True)] * 2 + [((3, 1), 1, False)] + [((1, 1), 1, True)] * 2
    + [((3, 3), 1, False)] + [((1, 1), 1, True)] * 2 + [((3, 2), 1, False), ((1, 1), 1, True)]
    + [((1, 1), 0, False)] * 2
)  # fmt: skip


def by_hand(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The net from its description, batch norm written out as (y − mean) / √(var + 1e-5) · weight + bias."""
    for index, (stride, padding, residual) in enumerate(TABLE):
        conv, norm = f"audio_encoder.{index}.conv_block.0.", f"audio_encoder.{index}.conv_block.1."
        y = F.conv2d(x, state[conv + "weight"], state[conv + "bias"], stride, padding)
        mean, var, gain, bias = (
            state[norm + name].reshape(1, -1, 1, 1)
            for name in ("running_mean", "running_var", "weight", "bias")
        )
        y = (y - mean) / torch.sqrt(var + 1e-5) * gain + bias
        x = (y + x if residual else y).clamp(min=0)
    return x.reshape(len(x), 512)


def random_state(net: AudioEncoder) -> dict[str, Tensor]:
    """Weights near their initial ones, and statistics that a trained batch norm could have."""
    torch.manual_seed(2)
    state = net.state_dict()
    for key, tensor in state.items():
        if key.endswith(("running_var", "1.weight")):
            state[key] = torch.rand_like(tensor) + 0.5
        elif key.endswith(("running_mean", "bias")):
            state[key] = 0.1 * torch.randn_like(tensor)
    return state


def test_keys_and_shapes_are_the_origins() -> None:
    expected = json.loads(KEYS.read_text())
    assert {key: list(value.shape) for key, value in AudioEncoder().state_dict().items()} == expected
    assert len(expected) == 91


def test_counts_of_parameters_and_buffers() -> None:
    net = AudioEncoder()
    assert sum(p.numel() for p in net.parameters()) == 2_812_672
    assert sum(b.numel() for b in net.buffers()) == 4_429


def test_equals_the_net_written_out_by_hand() -> None:
    net = AudioEncoder().double().eval()
    net.load_state_dict(random_state(net))
    mel = 8 * torch.rand(3, 1, 80, 16, dtype=torch.float64) - 4
    with torch.no_grad():
        ours, theirs = net(mel), by_hand(net.state_dict(), mel)
    assert ours.shape == (3, 512)
    assert ours.max() > 0.1  # not dead
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("frames", range(13, 19))
def test_a_few_other_widths_give_one_vector_too(frames: int) -> None:
    with torch.no_grad():
        assert AudioEncoder().eval()(torch.zeros(2, 1, 80, frames)).shape == (2, 512)


def test_config_round_trip_and_front_end() -> None:
    config = AudioEncoderConfig()
    assert AudioEncoderConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert config.mel == PRESETS["talking-head"]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"num_mels": 64}, "num_mels: got 64, expected 80"),
        ({"window_frames": True}, "window_frames: got True, expected 16"),
        ({"features": "512"}, "features: got '512', expected 512"),
        ({"mels": 80}, "entry 'mels': got an unknown entry"),
    ],
)
def test_other_sizes_are_refused(entries: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        AudioEncoderConfig.from_json(entries)


GOLDENS = json.loads((ROOT / "reference_data" / "manifest.json").read_text())["nets"]["audio-encoder"]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("case", GOLDENS)
def test_goldens(case: str, dtype: torch.dtype, tolerance: float) -> None:
    folder = ROOT / "reference_data" / "nets" / "audio-encoder" / case
    net = AudioEncoder(AudioEncoderConfig.from_json(GOLDENS[case]["config"])).eval()
    weights = closed_form.state(GOLDENS[case]["keys"])
    net.load_state_dict({f"audio_encoder.{key}": torch.from_numpy(array) for key, array in weights.items()})
    mel, features = (
        torch.from_numpy(np.load(folder / f"{name}.npy")).to(dtype) for name in ("mel", "features")
    )
    with torch.no_grad():
        difference = (net.to(dtype)(mel) - features).abs().max()
    assert features.std() > 0.01
    assert difference <= tolerance * (features.max() - features.min())


def test_every_golden_case_is_here() -> None:
    folder = ROOT / "reference_data" / "nets" / "audio-encoder"
    assert {path.name for path in folder.iterdir()} == set(GOLDENS)
    assert len(GOLDENS) == 2
