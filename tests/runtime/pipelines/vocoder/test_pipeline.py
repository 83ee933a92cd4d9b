"""Chunked equals one run, on a real small convolutional net whose context is known exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import small_bundles
from tests.small_bundles import CONTEXT, HOP

from edge_runtime.dsp.mel import MelFrontEnd
from edge_runtime.errors import BundleError, ConfigError, InputError, TargetError
from edge_runtime.media.audio import read_audio, write_wav
from edge_runtime.pipelines.vocoder.pipeline import Chunk, Vocoder, plan_chunks
from edge_runtime.pipelines.vocoder.pipeline import buckets as ladder
from edge_runtime.pipelines.vocoder.system import SYSTEM
from edge_runtime.store.bundle import Geometry
from edge_runtime.store.reading import read_array

BUCKETS = (12, 16, 40)
SAME = 1e-5  # the kernels of onnxruntime sum in another order for another length


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundles.write_vocoder(tmp_path_factory.mktemp("bundles") / "vocoder")


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same net in an artifact that takes three lengths alone."""
    return small_bundles.write_vocoder(tmp_path_factory.mktemp("bundles") / "buckets", only=BUCKETS)


def random_mel(frames: int) -> NDArray[np.float32]:
    return np.random.default_rng(frames).normal(-3, 2, (5, frames)).astype(np.float32)


def one_run(bundle: Path, mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The net over the whole mel, without the pipeline."""
    session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"mel": mel[None]})[0]).reshape(-1)


# chunks ----------------------------------------------------------------------------------------------------


@given(st.integers(1, 300), st.integers(0, 6), st.integers(13, 60))
def test_plans_give_every_frame_once_with_its_context(frames: int, context: int, longest: int) -> None:
    chunks = list(plan_chunks(frames, context, range(1, longest + 1)))
    kept = [frame for chunk in chunks for frame in range(chunk.first, chunk.last)]
    assert kept == list(range(frames))
    for chunk in chunks:
        assert 0 <= chunk.start < chunk.stop <= frames
        assert chunk.stop - chunk.start <= longest
        assert chunk.start == 0 or chunk.first - chunk.start >= context
        assert chunk.stop == frames or chunk.stop - chunk.last >= context


@given(st.integers(1, 300), st.integers(0, 6), st.sets(st.integers(13, 200), min_size=1, max_size=5))
def test_plans_use_the_admitted_lengths_alone(frames: int, context: int, admitted: set[int]) -> None:
    sizes = sorted(admitted)
    chunks = list(plan_chunks(frames, context, sizes))
    kept = [frame for chunk in chunks for frame in range(chunk.first, chunk.last)]
    assert kept == list(range(frames))
    assert {chunk.stop - chunk.start for chunk in chunks} <= admitted
    if frames >= sizes[0]:
        for chunk in chunks:  # inside the recording, each kept frame with its context
            assert 0 <= chunk.start < chunk.stop <= frames
            assert chunk.start == 0 or chunk.first - chunk.start >= context
            assert chunk.stop == frames or chunk.stop - chunk.last >= context


def test_buckets_are_few_and_longer_than_the_context() -> None:
    assert ladder(27, 512) == (32, 48, 64, 96, 128, 192, 256, 384, 512)
    assert ladder(100, 120) == (120,)
    assert ladder(1, 500)[-2:] == (384, 500)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 150))
def test_length_buckets_change_no_sample(bundle: Path, frames: int) -> None:
    mel = random_mel(frames)
    vocoder = Vocoder(bundle, threads=1, chunk_frames=64, length_buckets=True)
    ran = {chunk.stop - chunk.start for chunk in vocoder.plan(frames)}
    assert ran == {frames} if frames < 32 else ran <= {32, 48, 64}
    np.testing.assert_allclose(vocoder.synthesize(mel), one_run(bundle, mel), rtol=0, atol=SAME)
    streamed = np.concatenate(list(vocoder.stream(mel[:, at : at + 7] for at in range(0, frames, 7))))
    np.testing.assert_allclose(streamed, one_run(bundle, mel), rtol=0, atol=SAME)


@given(st.integers(1, 200), st.integers(0, 6), st.integers(0, 6), st.integers(13, 40))
def test_sides_of_their_own(frames: int, before: int, after: int, longest: int) -> None:
    chunks = list(plan_chunks(frames, (before, after), range(1, longest + 1)))
    assert [frame for chunk in chunks for frame in range(chunk.first, chunk.last)] == list(range(frames))
    for chunk in chunks:
        assert chunk.start == 0 or chunk.first - chunk.start >= before
        assert chunk.stop == frames or chunk.stop - chunk.last >= after


def test_lengths_that_leave_no_room_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"frames per run: got 8, expected more than 8 .*longer frame bucket"
    ):
        list(plan_chunks(50, 4, [8]))


def test_lengths_within_the_context_give_way_to_longer_ones() -> None:
    assert list(plan_chunks(12, 6, [12, 20])) == [Chunk(0, 12, 0, 12)]  # exact: one run
    assert list(plan_chunks(15, 6, [12, 20])) == [Chunk(0, 20, 0, 15)]  # filled up
    assert list(plan_chunks(23, 6, [12, 20])) == [Chunk(0, 20, 0, 14), Chunk(3, 23, 14, 23)]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 120), st.integers(2 * CONTEXT + 1, 50))
def test_chunked_equals_one_run(bundle: Path, frames: int, chunk_frames: int) -> None:
    mel = random_mel(frames)
    samples = Vocoder(bundle, threads=1, chunk_frames=chunk_frames).synthesize(mel)
    assert samples.shape == (frames * HOP,)
    np.testing.assert_allclose(samples, one_run(bundle, mel), atol=SAME, rtol=0)


@settings(deadline=None, max_examples=60)
@given(st.integers(min(BUCKETS), 150))
def test_fixed_lengths_equal_one_run(bundle: Path, buckets: Path, frames: int) -> None:
    mel = random_mel(frames)
    samples = Vocoder(buckets, threads=1).synthesize(mel)
    np.testing.assert_allclose(samples, one_run(bundle, mel), atol=SAME, rtol=0)


def test_less_context_would_be_heard(tmp_path: Path, bundle: Path) -> None:
    """The context of the small net is exact: one frame less and the property above fails."""
    short = small_bundles.write_vocoder(
        tmp_path / "short", geometry=Geometry(HOP, 2 * CONTEXT + 1, CONTEXT - 1)
    )
    mel = random_mel(100)
    error = np.abs(Vocoder(short, chunk_frames=12).synthesize(mel) - one_run(bundle, mel))
    assert error.max() > 20 * SAME


def test_a_net_of_one_fixed_length_runs_any_recording(tmp_path: Path, bundle: Path) -> None:
    """onnxruntime itself refuses any other number of frames here, as Core ML does."""
    fixed = small_bundles.write_vocoder(tmp_path / "fixed", frames=16, only=(16,))
    vocoder = Vocoder(fixed)
    for frames in (16, 17, 60):
        mel = random_mel(frames)
        np.testing.assert_allclose(vocoder.synthesize(mel), one_run(bundle, mel), atol=SAME, rtol=0)


@pytest.mark.parametrize("frames", [1, 5, 11])
def test_shorter_than_the_shortest_length_is_filled_with_silence(
    bundle: Path, tmp_path: Path, frames: int
) -> None:
    mel = random_mel(frames)
    samples = Vocoder(small_bundles.write_vocoder(tmp_path / "b", only=(16,))).synthesize(mel)
    filled = np.concatenate([mel, np.full((5, 16 - frames), np.log(1e-5), np.float32)], axis=1)
    assert samples.shape == (frames * HOP,)
    np.testing.assert_allclose(samples, one_run(bundle, filled)[: frames * HOP], atol=SAME, rtol=0)
    same = max(frames - CONTEXT, 0) * HOP
    np.testing.assert_allclose(samples[:same], one_run(bundle, mel)[:same], atol=SAME, rtol=0)


@settings(deadline=None, max_examples=80)
@given(pieces=st.lists(st.integers(1, 40), min_size=1, max_size=8), fixed=st.booleans())
def test_a_mel_in_pieces_gives_the_very_samples_of_the_whole(
    bundle: Path, buckets: Path, pieces: list[int], fixed: bool
) -> None:
    vocoder = Vocoder(buckets, threads=1) if fixed else Vocoder(bundle, threads=1, chunk_frames=20)
    mel = random_mel(sum(pieces))
    parts = np.split(mel, np.cumsum(pieces)[:-1], axis=1)
    np.testing.assert_array_equal(np.concatenate(list(vocoder.stream(parts))), vocoder.synthesize(mel))


def test_audio_comes_before_the_mel_ends(bundle: Path) -> None:
    taken = []

    def pieces() -> Iterator[NDArray[np.float32]]:
        for start in range(0, 200, 10):
            taken.append(start)
            yield random_mel(200)[:, start : start + 10]

    next(iter(Vocoder(bundle, chunk_frames=20).stream(pieces())))
    assert taken == [0, 10, 20]


def test_a_mel_in_pieces_is_refused_as_a_whole_one_is(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mel: got shape \(5, 0\), expected .* at least one frame"):
        list(Vocoder(bundle).stream([]))
    with pytest.raises(InputError, match="mel: got NaN or infinity"):
        list(Vocoder(bundle).stream([random_mel(5), np.full((5, 1), np.nan)]))
    narrow = small_bundles.write_vocoder(tmp_path / "narrow", only=(2 * CONTEXT,))
    with pytest.raises(ConfigError, match="frames per run: got 8, expected more than 8"):
        list(Vocoder(narrow).stream([random_mel(50)]))


# audio -----------------------------------------------------------------------------------------------------


def test_copy_synthesis_goes_through_the_front_end(bundle: Path) -> None:
    vocoder = Vocoder(bundle)
    audio = np.sin(np.arange(4000) * 0.2).astype(np.float32) * 0.4
    mel = MelFrontEnd(small_bundles.vocoder_front_end())(audio)
    np.testing.assert_array_equal(vocoder.mel(audio), mel)
    samples = vocoder.copy_synthesis(audio)
    assert samples.shape == (mel.shape[1] * HOP,)
    assert samples.dtype == np.float32
    assert np.abs(samples).max() <= 1
    np.testing.assert_allclose(samples, one_run(bundle, mel), atol=SAME, rtol=0)
    assert vocoder.sample_rate == 8000


# refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mel", "sentence"),
    [
        (
            np.zeros((80, 100)),
            r"shape \(80, 100\), expected \(5, frames\).*another front end or net",
        ),
        (np.zeros((100, 5)), "transposed: pass mel.T"),
        (np.zeros((1, 5, 100)), r"drop the batch axis: pass mel\[0\]"),
        (np.zeros((5, 0)), "at least one frame"),
        (np.zeros(5), r"shape \(5,\)"),
        (np.full((5, 9), np.nan), "NaN or infinity"),
        (np.full((5, 9), -np.inf), "NaN or infinity"),
        (np.zeros((5, 9), np.int16), "int16, expected floats"),
        (np.full((5, 9), -60.0), r"-60 to -60, .*about -11.5 to 2; these look like decibels"),
        (np.full((5, 9), 100.0), "these look like magnitudes: take the logarithm"),
    ],
)
def test_mels_of_another_kind_are_refused(bundle: Path, mel: NDArray[np.float32], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Vocoder(bundle).synthesize(mel)


def test_bundles_that_are_no_vocoder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="net: got audio-encoder, expected hifigan"):
        Vocoder(small_bundles.write_encoder(tmp_path / "encoder"))
    path = small_bundles.write_vocoder(tmp_path / "no geometry", geometry=Geometry(None, None, None))
    with pytest.raises(BundleError, match="geometry: got hop_length None, context_frames None"):
        Vocoder(path)
    path = small_bundles.write_vocoder(tmp_path / "wrong hop", geometry=Geometry(8, 9, 4))
    with pytest.raises(BundleError, match=r"got 40 samples for 10 frames, expected 80 \(hop 8\)"):
        Vocoder(path).synthesize(random_mel(10))


def test_without_a_front_end_mels_still_run(tmp_path: Path, bundle: Path) -> None:
    vocoder = Vocoder(small_bundles.write_vocoder(tmp_path / "bare", front_end=None))
    mel = random_mel(10)
    np.testing.assert_array_equal(vocoder.synthesize(mel), Vocoder(bundle).synthesize(mel))
    with pytest.raises(BundleError, match="got no front_end"):
        vocoder.copy_synthesis(np.zeros(4000, np.float32))


def test_chunks_within_the_context_are_refused(bundle: Path) -> None:
    with pytest.raises(ConfigError, match="chunk_frames: got 8, expected more than 8"):
        Vocoder(bundle, chunk_frames=8)


# the reference pack ----------------------------------------------------------------------------------------


def test_the_pack_of_audio_holds_input_and_output(bundle: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.sin(np.arange(4000) * 0.2) * 0.4, 8000)
    out = SYSTEM.save_reference(Vocoder(bundle), tmp_path / "pack", source=tmp_path / "a.wav")
    assert {path.name for path in out.iterdir()} == {
        "mel.npy",
        "wav.npy",
        "reference_audio.wav",
        "metadata.json",
        "VALIDATION_INSTRUCTIONS.json",
    }
    samples = read_audio(out / "reference_audio.wav").samples
    mel = MelFrontEnd(small_bundles.vocoder_front_end(), "float64")(samples).astype(np.float32)
    np.testing.assert_array_equal(read_array(out / "mel.npy"), mel)
    np.testing.assert_allclose(read_array(out / "wav.npy"), one_run(bundle, mel), atol=SAME)
    metadata = json.loads((out / "metadata.json").read_text())
    assert metadata["mel_shape"] == [5, 1000]
    assert metadata["sample_rate"] == 8000
    instructions = json.loads((out / "VALIDATION_INSTRUCTIONS.json").read_text())
    assert set(instructions["files"]) == {p.name for p in out.iterdir()} - {"VALIDATION_INSTRUCTIONS.json"}


def test_the_pack_of_a_mel_holds_no_audio(bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mel.npy", random_mel(30))
    out = SYSTEM.save_reference(Vocoder(bundle), tmp_path / "pack", source=tmp_path / "mel.npy")
    assert not (out / "reference_audio.wav").exists()
    np.testing.assert_array_equal(read_array(out / "mel.npy"), random_mel(30))
    with pytest.raises(TargetError, match="got an existing folder"):
        SYSTEM.save_reference(Vocoder(bundle), out, source=tmp_path / "mel.npy")
    Vocoder(bundle).save_reference(tmp_path / "mel.npy", out, overwrite=True)


def test_refusals_name_the_file_once(bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "mel.npy", np.zeros((80, 30)))
    with pytest.raises(InputError, match=r"mel\.npy: mel: got shape \(80, 30\)"):
        SYSTEM.save_reference(Vocoder(bundle), tmp_path / "out", source=tmp_path / "mel.npy")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "mel.npy").read_bytes()[:200])
    with pytest.raises(InputError, match=r"cut\.npy: got 72 bytes of values.*truncated") as refusal:
        SYSTEM.save_reference(Vocoder(bundle), tmp_path / "out", source=tmp_path / "cut.npy")
    assert str(refusal.value).count("cut.npy") == 1
    assert not (tmp_path / "out").exists()


def test_a_mel_is_known_by_its_suffix_in_any_case(bundle: Path, tmp_path: Path) -> None:
    mel = random_mel(30)
    with (tmp_path / "MEL.NPY").open("wb") as stream:
        np.save(stream, mel)
    read, audio = Vocoder(bundle).read_mel(tmp_path / "MEL.NPY")
    np.testing.assert_array_equal(read, mel)
    assert audio is None
    assert (
        SYSTEM.save_reference(Vocoder(bundle), tmp_path / "pack", source=tmp_path / "MEL.NPY") / "wav.npy"
    ).exists()
