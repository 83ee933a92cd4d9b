"""Random weights: reproducible, and with signals in the range of trained nets."""

from __future__ import annotations

import numpy as np
import torch
from tests import small_nets

from edge_export.catalog import NETS
from edge_export.examples.random_weights import weights_sha256


def test_a_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (weights_sha256(small_nets.small_hifigan(seed=seed)) for seed in (3, 3, 4))
    assert first == again != other


def test_torchs_own_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    small_nets.small_hifigan()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_encoder_speaks_in_the_range_of_the_published_weights() -> None:
    """Real ones: mean 0.37, deviation 0.71, 55 % zeros; untrained ones: nothing above 0.07."""
    net = NETS["audio-encoder"]
    mel = net.cases(net.preset("talking-head"), net.coreml_axes)["batch-7"]["mel"]
    with torch.no_grad():
        features = small_nets.encoder()(torch.from_numpy(mel)).numpy()
    assert 0.2 < features.std() < 2
    assert 1 < features.max() < 11
    assert 0.2 < np.mean(features == 0) < 0.8
    assert not np.allclose(features[0], features[-1], atol=0.1), "it tells windows apart"


def test_the_vocoder_is_neither_silent_nor_saturated() -> None:
    mel = small_nets.NET.cases(small_nets.CONFIG, small_nets.AXES)["frames-24"]["mel"]
    with torch.no_grad():
        audio = small_nets.small_hifigan()(torch.from_numpy(mel)).numpy()
    assert 0.05 < audio.std() < 0.3
    assert np.abs(audio).max() < 0.99
