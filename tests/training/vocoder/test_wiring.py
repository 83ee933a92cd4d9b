"""HiFi-GAN's wiring is told from signs that decide, or asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.small_weights import TINY

from edge_runtime.errors import ConfigError
from edge_training.vocoder.hifigan import HIFIGAN_PRESETS, HifiGan, HifiGanConfig
from edge_training.vocoder.wiring import hifigan_wiring, settle_hifigan, settle_wiring
from edge_training.weights.reading import Checkpoint
from edge_training.weights.weight_norm import as_stored, fold_stored, origin_state_dict

# the rtMRI system's numbers on few channels
SYSTEM = replace(HIFIGAN_PRESETS["rtmri-origin"], upsample_initial_channel=16, num_mels=4, wiring=None)


def checkpoint(config: HifiGanConfig, plain: str = "") -> Checkpoint:
    """Weights with weight norm but on the layers of `plain` ("all" for none)."""
    net = HifiGan(config, weight_norm=plain != "all")
    state = {key: as_stored(tensor) for key, tensor in origin_state_dict(net).items()}
    folded, normed = fold_stored(state, [])
    return Checkpoint(folded, "", "", "g", frozenset(normed - set(plain.split())))


@pytest.mark.parametrize(
    ("config", "plain", "wiring", "why"),
    [
        (TINY, "", "stock", "conv_pre has weight norm"),
        (TINY, "conv_pre", "stock", "only known from mri2speech"),
        (TINY, "conv_pre conv_post", "stock", "only known from mri2speech"),
        (TINY, "all", "stock", "only known from mri2speech"),
        (SYSTEM, "", "stock", "conv_pre has weight norm"),
        (SYSTEM, "conv_pre", "causal-tail", "only conv_pre has no weight norm, and rate and hop"),
        (SYSTEM, "conv_pre conv_post", None, "weight norm is folded away"),
        (SYSTEM, "all", None, "weight norm is folded away"),
    ],
)
def test_signs(config: HifiGanConfig, plain: str, wiring: Any, why: str) -> None:
    told = hifigan_wiring(config, checkpoint(config, plain))
    assert told.wiring == wiring
    assert why in told.why
    if wiring is None:
        with pytest.raises(ConfigError, match=r"wiring: .*--set wiring=causal-tail .* or --set wiring=stock"):
            settle_wiring(config, checkpoint(config, plain))
    else:
        said: list[str] = []
        assert settle_wiring(config, checkpoint(config, plain), said).wiring == wiring
        assert said == [f"wiring {wiring} taken: {told.why}"]


@pytest.mark.parametrize("wiring", ["stock", "causal-tail"])
def test_a_configuration_that_says_it_is_believed(wiring: Any) -> None:
    config = replace(SYSTEM, wiring=wiring)
    for plain in ("", "conv_pre", "all"):
        assert settle_wiring(config, checkpoint(config, plain)).wiring == wiring


def test_without_a_checkpoint_it_is_stock() -> None:
    assert settle_wiring(TINY, None).wiring == "stock"


def test_bands_above_nyquist_are_said() -> None:
    said: list[str] = []
    settle_hifigan(replace(SYSTEM, wiring="stock"), checkpoint(SYSTEM), said)
    assert said == [
        "fmax 8000 Hz taken, above half the sampling rate (5706.5 Hz): the highest mel bands are empty, "
        "as they were in training"
    ]
