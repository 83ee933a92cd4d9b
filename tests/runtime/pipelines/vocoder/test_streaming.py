"""Streams equal one run, whatever the pushes; nothing twice, nothing lost, nothing kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import small_bundles
from tests.small_bundles import CONTEXT, HOP

from edge_runtime.errors import ConfigError, InputError
from edge_runtime.pipelines.vocoder.pipeline import Vocoder
from edge_runtime.pipelines.vocoder.streaming import StreamingVocoder
from edge_runtime.store.bundle import Geometry

BUCKETS = (12, 16, 40)
SAME = 1e-5
# 3 frames suffice after a frame: its transposed convolution reaches further back than ahead
SIDES = Geometry(HOP, 2 * CONTEXT + 1, CONTEXT, context_before=4, context_after=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("streams")


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Path:
    return small_bundles.write_vocoder(folder / "any")


@pytest.fixture(scope="module")
def buckets(folder: Path) -> Path:
    return small_bundles.write_vocoder(folder / "buckets", only=BUCKETS)


def random_mel(frames: int) -> NDArray[np.float32]:
    return np.random.default_rng(frames).normal(-3, 2, (5, frames)).astype(np.float32)


def one_run(bundle: Path, mel: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"mel": mel[None]})[0]).reshape(-1)


def streamed(vocoder: StreamingVocoder, mel: NDArray[np.float32], cuts: list[int]) -> list[NDArray[Any]]:
    """The pieces of audio of pushes of these sizes, over and over; the last is what `flush` gives."""
    pieces, start, turn = [], 0, 0
    while start < mel.shape[1]:
        size = cuts[turn % len(cuts)]
        pieces.append(vocoder.push(mel[:, start : start + size]))
        start, turn = start + size, turn + 1
    return [*pieces, vocoder.flush()]


@settings(deadline=None, max_examples=40)
@given(
    frames=st.integers(1, 90),
    chunk=st.integers(1, 9),
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=4),
)
def test_a_stream_is_one_run(bundle: Path, frames: int, chunk: int, cuts: list[int]) -> None:
    mel = random_mel(frames)
    vocoder = StreamingVocoder(bundle, chunk=chunk, threads=1)
    first = np.concatenate(streamed(vocoder, mel, cuts))
    assert first.shape == (frames * HOP,)
    np.testing.assert_allclose(first, one_run(bundle, mel), atol=SAME, rtol=0)
    again = np.concatenate(streamed(vocoder, mel, [frames]))  # the stream began anew; other pushes, same bits
    assert again.tobytes() == first.tobytes()


@settings(deadline=None, max_examples=25)
@given(frames=st.integers(min(BUCKETS), 90), cuts=st.lists(st.integers(1, 50), min_size=1, max_size=3))
def test_fixed_lengths_stream_too(bundle: Path, buckets: Path, frames: int, cuts: list[int]) -> None:
    mel = random_mel(frames)
    vocoder = StreamingVocoder(buckets, threads=1)
    assert vocoder.chunk == 12 - 2 * CONTEXT
    samples = np.concatenate(streamed(vocoder, mel, cuts))
    np.testing.assert_allclose(samples, one_run(bundle, mel), atol=SAME, rtol=0)


def test_audio_comes_as_soon_as_its_context_is_there(folder: Path) -> None:
    vocoder = StreamingVocoder(small_bundles.write_vocoder(folder / "sides", geometry=SIDES), chunk=2)
    assert vocoder.latency == 3 * HOP
    mel = random_mel(11)
    given = [vocoder.push(mel[:, frame : frame + 1]).size // HOP for frame in range(11)]
    assert given == [0, 0, 0, 0, 2, 0, 2, 0, 2, 0, 2]
    assert vocoder.flush().size == 3 * HOP


def test_a_side_too_short_would_be_heard(folder: Path, bundle: Path) -> None:
    """The test above that streams equal one run can fail: with one frame less before, they differ."""
    less = Geometry(HOP, 2 * CONTEXT + 1, CONTEXT, context_before=1, context_after=CONTEXT)
    vocoder = StreamingVocoder(small_bundles.write_vocoder(folder / "less", geometry=less), chunk=2)
    mel = random_mel(30)
    difference = np.abs(np.concatenate(streamed(vocoder, mel, [5])) - one_run(bundle, mel)).max()
    assert difference > 100 * SAME


def test_memory_does_not_grow(bundle: Path, buckets: Path) -> None:
    mel = random_mel(24)
    for place, most in ((bundle, 24 + 2 * CONTEXT + 4), (buckets, 24 + 3 * max(BUCKETS))):
        vocoder = StreamingVocoder(place, chunk=4, threads=1)
        longest = 0
        for _ in range(60):
            vocoder.push(mel)
            longest = max(longest, vocoder._kept.shape[1])
        assert longest <= most


def test_an_open_vocoder_is_taken_and_keeps_its_settings(bundle: Path) -> None:
    open_one = Vocoder(bundle, threads=1)
    streaming = StreamingVocoder(open_one)
    assert streaming.vocoder is open_one
    assert streaming.sample_rate == 8000


def test_an_empty_stream_gives_nothing(bundle: Path, buckets: Path) -> None:
    assert StreamingVocoder(bundle).flush().size == 0
    assert StreamingVocoder(buckets).flush().size == 0


def test_refused_frames_leave_the_stream_as_it_was(bundle: Path) -> None:
    vocoder, mel = StreamingVocoder(bundle, threads=1), random_mel(20)
    vocoder.push(mel[:, :7])
    for bad, sentence in (
        (np.full((5, 2), np.nan, np.float32), "mel: got NaN or infinity"),
        (random_mel(2)[:4], r"mel: got shape \(4, 2\), expected \(5, frames\)"),
        (np.empty((5, 0), np.float32), "at least one frame"),
        (np.exp(random_mel(2)), "these look like magnitudes: take the logarithm"),
        (20 * random_mel(2) - 40, "these look like decibels"),
    ):
        with pytest.raises(InputError, match=sentence):
            vocoder.push(bad)
    rest = np.concatenate([vocoder.push(mel[:, 7:]), vocoder.flush()])
    np.testing.assert_allclose(rest, one_run(bundle, mel)[-rest.size :], atol=SAME, rtol=0)


@pytest.mark.parametrize("chunk", [0, -1, 2.0, True])
def test_a_chunk_is_a_whole_number(bundle: Path, chunk: Any) -> None:
    with pytest.raises(ConfigError, match=r"chunk: got .*, expected a whole number of frames"):
        StreamingVocoder(bundle, chunk=chunk)


def test_lengths_without_room_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="frames per run: got 8, expected more than 8"):
        StreamingVocoder(small_bundles.write_vocoder(folder / "narrow", only=(4, 8)))
