"""A stream of frames against one run over all of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import BundleError, InputError
from edge_runtime.pipelines.ecog_speech import StreamingDecoder
from edge_runtime.pipelines.ecog_speech.nets import PARAMETERS
from edge_runtime.store.bundle import Bundle

FRAMES = 16 + 160  # more than the context


@pytest.fixture(scope="module")
def decoder(bundles: dict[str, Bundle]) -> StreamingDecoder:
    return StreamingDecoder(bundles["streaming"])


@settings(max_examples=5, deadline=None)
@given(sizes=st.lists(st.integers(1, 70), min_size=3, max_size=8))
def test_pieces_of_any_size_give_what_one_run_gives(decoder: StreamingDecoder, sizes: list[int]) -> None:
    ecog = np.random.default_rng(2).standard_normal((FRAMES, 16)).astype(np.float32)
    edges = np.minimum(np.cumsum([0, *sizes, FRAMES]), FRAMES)
    decoder.reset()
    pieces = [decoder.push(ecog[a:b]) for a, b in pairwise(edges)]
    whole = decoder.net.run({"ecog": ecog[None]})
    for name in PARAMETERS:
        joined = np.concatenate([piece[name] for piece in pieces], 1)
        assert joined.shape[1] == 160
        assert np.abs(joined - whole[name][0]).max() <= 2e-5 * np.abs(whole[name]).max(), name


def test_nothing_comes_before_the_past_is_there(decoder: StreamingDecoder) -> None:
    decoder.reset()
    assert decoder.push(np.zeros((19, 16)))["f0_hz"].shape == (1, 0)
    assert decoder.push(np.zeros((1, 16)))["amplitudes"].shape == (2, 4)


def test_other_decoders_and_electrodes_are_refused(
    decoder: StreamingDecoder, bundles: dict[str, Bundle]
) -> None:
    with pytest.raises(BundleError, match="wiring 'published', family 'lstm', expected wiring 'streaming'"):
        StreamingDecoder(bundles["decoder"])
    with pytest.raises(InputError, match=r"got shape \(5, 4\), expected finite numbers \(frames, 16\)"):
        decoder.push(np.zeros((5, 4)))
