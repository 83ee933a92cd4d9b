"""Weight norm: folded as torch folds it, spelt as published files spell it, refused in halves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.small_weights import discriminators, tiny

from edge_runtime.errors import CheckpointError
from edge_training.vocoder.hifigan import HIFIGAN_PRESETS, HifiGan
from edge_training.weights.weight_norm import fold_weight_norm, origin_state_dict

KEYS = Path(__file__).parents[2] / "data" / "keys"


def test_fold_weight_norm_is_torchs_own() -> None:
    net = tiny()
    folded = fold_weight_norm(net.state_dict())
    expected = net.fold().state_dict()
    assert folded.keys() == expected.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(folded[key].float(), tensor, rtol=1e-6, atol=1e-8)


def test_spectral_norm_is_left_alone() -> None:
    """Its weight_v is a buffer of power iteration, not weight norm's direction."""
    state = discriminators()
    folded = fold_weight_norm(state)
    spectral = {key for key in state if key.endswith(("weight_orig", "weight_u"))}
    spectral |= {key.replace("weight_u", "weight_v") for key in spectral if key.endswith("weight_u")}
    assert len(spectral) == 3 * 8
    assert all(torch.equal(folded[key], state[key]) for key in spectral)
    assert not [key for key in folded if key.endswith("weight_g")]


@pytest.mark.parametrize("spelling", ["weight_g", "weight_v"])
def test_half_a_weight_norm_is_refused(spelling: str) -> None:
    state = origin_state_dict(tiny())
    del state[f"ups.1.{spelling}"]
    with pytest.raises(CheckpointError, match=f"no ups.1.{spelling}, expected both halves"):
        fold_weight_norm(state)


def test_weight_norm_of_wrong_shape_or_beside_its_folded_weight_is_refused() -> None:
    state = origin_state_dict(tiny())
    with pytest.raises(
        CheckpointError, match=r"conv_post.weight_g: got shape \(2, 1, 1\).*one magnitude for each"
    ):
        fold_weight_norm(state | {"conv_post.weight_g": torch.ones(2, 1, 1)})
    with pytest.raises(CheckpointError, match=r"conv_post\.weight: got conv_post.weight_g as well"):
        fold_weight_norm(state | {"conv_post.weight": torch.ones(1, 2, 7)})


def test_origin_state_dict_spells_as_the_origin() -> None:
    net = HifiGan(HIFIGAN_PRESETS["rtmri-origin"], weight_norm=True)
    assert set(origin_state_dict(net)) == set(json.loads((KEYS / "hifigan_rtmri-origin.json").read_text()))
    assert origin_state_dict(net.fold()).keys() == net.state_dict().keys()
