"""A stream of frames against one run over all of them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tests.small_ecog import STATEFUL, small_bundle

from edge_export.backends import get_backend
from edge_runtime.errors import BundleError, EdgeWarning, InputError, strictly
from edge_runtime.pipelines.ecog_speech import EcogSpeech, StreamingDecoder
from edge_runtime.pipelines.ecog_speech.nets import PARAMETERS
from edge_runtime.store.bundle import Bundle
from edge_training.ecog_speech.decoders.ecog_decoder import EcogDecoderConfig, build_decoder

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


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_net_that_remembers_gives_what_the_same_weights_give_in_one_run(cell: str, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    config = STATEFUL | {"family": cell}
    torch.manual_seed(0)
    save_file(build_decoder(EcogDecoderConfig.from_json(config)).state_dict(), weights)
    source = {"random": None, "checkpoint": weights}
    live = StreamingDecoder(small_bundle("ecog-decoder", tmp_path / "live", config, **source))
    one_run = small_bundle("ecog-decoder", tmp_path / "one-run", config | {"wiring": "streaming"}, **source)
    net = get_backend("onnxruntime").open(one_run.artifact("onnx", "fp32"))
    ecog = np.random.default_rng(3).standard_normal((FRAMES, 16)).astype(np.float32)
    whole = net.run({"ecog": ecog[None]})

    @settings(max_examples=5, deadline=None)
    @given(sizes=st.lists(st.integers(1, 70), min_size=1, max_size=8))
    def in_pieces(sizes: list[int]) -> None:
        edges = np.minimum(np.cumsum([0, *sizes, FRAMES]), FRAMES)
        live.reset()
        pieces = [live.push(ecog[a:b]) for a, b in pairwise(edges)]
        for name in PARAMETERS:
            joined = np.concatenate([piece[name] for piece in pieces], 1)
            assert joined.shape[1] == 160
            assert np.abs(joined - whole[name][0]).max() <= 2e-5 * np.abs(whole[name]).max(), name

    in_pieces()


def test_a_core_ml_package_that_remembers_streams_too(tmp_path: Path) -> None:
    """It takes 4 or 16 frames at a time."""
    bundle = small_bundle("ecog-decoder", tmp_path / "lstm", STATEFUL, targets=("onnx", "coreml"))
    ecog = np.random.default_rng(4).standard_normal((16 + 29, 16)).astype(np.float32)
    onnx, package = StreamingDecoder(bundle), StreamingDecoder(bundle, backend=get_backend("mil"))
    expected, got = onnx.push(ecog), package.push(ecog)
    assert expected["f0_hz"].shape == (1, 28)
    for name in PARAMETERS:
        assert np.abs(got[name] - expected[name]).max() <= 1e-5 * np.abs(expected[name]).max(), name


def test_recordings_need_windows(bundles: dict[str, Bundle]) -> None:
    with pytest.raises(BundleError, match=r"wiring 'stateful'.*--set 'wiring=\"streaming\"'"):
        EcogSpeech(bundles["stateful"], bundles["synthesizer"])


def test_nothing_comes_before_the_past_is_there(decoder: StreamingDecoder) -> None:
    decoder.reset()
    assert decoder.push(np.zeros((19, 16)))["f0_hz"].shape == (1, 0)
    assert decoder.push(np.zeros((1, 16)))["amplitudes"].shape == (2, 4)


def test_other_decoders_are_refused(bundles: dict[str, Bundle]) -> None:
    with pytest.raises(
        BundleError, match=r"wiring 'published', family 'lstm', expected wiring 'streaming'.*later"
    ):
        StreamingDecoder(bundles["decoder"])


@pytest.mark.parametrize(
    ("pushed", "sentence"),
    [
        (np.zeros((5, 4)), r"got shape \(5, 4\), expected finite numbers \(frames, 16\)$"),
        (np.zeros((16, 5)), r"shape \(16, 5\), expected .*\(frames, 16\); transposed: push ecog.T"),
        ("x", r"got str of <U1, expected finite numbers"),
        (None, r"got NoneType of object"),
        ([[1.0], [1.0, 2.0]], r"got a list that is no array"),
        (np.ones((1, 16), complex), r"got ndarray of complex128"),
        (
            np.pad([[np.nan]], ((0, 0), (3, 12))),
            r"NaN or infinite values, first at electrode 3, .*push zeros",
        ),
        (np.full((1, 16), 1e300), r"infinite values, first at electrode 0"),
    ],
)
def test_what_is_no_ecog_is_refused_and_the_stream_goes_on(
    decoder: StreamingDecoder, pushed: Any, sentence: str
) -> None:
    decoder.reset()
    decoder.push(np.zeros((19, 16)))
    with pytest.raises(InputError, match=sentence):
        decoder.push(pushed)
    assert decoder.push(np.zeros((1, 16)))["f0_hz"].shape == (1, 4)


def test_microvolts_are_doubted_once_a_stream(decoder: StreamingDecoder) -> None:
    decoder.reset()
    frames = 1000 * np.random.default_rng(0).standard_normal((4, decoder.electrodes)).astype(np.float32)
    with strictly(), pytest.raises(InputError, match=r"values up to .*, expected z-scores.*microvolts"):
        decoder.push(frames)
    with pytest.warns(EdgeWarning, match="said once a stream"):
        decoder.push(frames)
    decoder.push(frames)  # a warning is an error here
    decoder.reset()
