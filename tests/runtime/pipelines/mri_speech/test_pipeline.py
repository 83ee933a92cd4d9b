"""rtMRI video to speech on two small real nets, against the same steps written out in numpy."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import small_bundles, small_mri
from tests.small_bundles import HOP
from tests.small_mri import BANDS, CLOCK, MEAN, SIZE, STD

from edge_runtime.errors import BundleError, ConfigError, InputError, TargetError
from edge_runtime.media.audio import read_audio
from edge_runtime.media.masks import POLYGONS, mask_weights
from edge_runtime.media.video import prepare_frames
from edge_runtime.pipelines.mri_speech.pipeline import Mode, MriSpeech
from edge_runtime.pipelines.mri_speech.system import SYSTEM
from edge_runtime.pipelines.vocoder.pipeline import Vocoder
from edge_runtime.store.reading import read_array

Values = NDArray[Any]
SAME = 1e-4


@pytest.fixture(scope="module")
def acoustic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_mri.write_acoustic(tmp_path_factory.mktemp("bundles") / "acoustic")


@pytest.fixture(scope="module")
def vocoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_bundles.write_vocoder(
        tmp_path_factory.mktemp("bundles") / "vocoder", front_end=small_mri.FRONT_END
    )


def video(frames: int, side: int = 20) -> NDArray[np.uint8]:
    return np.random.default_rng(frames).integers(0, 256, (frames, side, side), np.uint8)


def drawn(name: str, alpha: float) -> Values:
    """A mask on pixels of the video, reduced to those of the net."""
    (weights,) = prepare_frames(mask_weights(POLYGONS[name], 20, 20, alpha)[None], SIZE)
    return np.asarray(weights)


def windowed(frames: Values, window: int) -> Values:
    """Every window by itself, averaged."""
    length = min(window, len(frames))
    total, count = np.zeros((len(frames), BANDS)), np.zeros((len(frames), 1))
    for start in range(len(frames) - length + 1):
        total[start : start + length] += small_mri.answer(frames[None, start : start + length])[0]
        count[start : start + length] += 1
    return np.asarray(total / count)


# the way of the numbers ------------------------------------------------------------------------------------


def test_every_stage_is_the_one_that_is_written_down(acoustic: Path, vocoder: Path) -> None:
    frames = video(30)
    result = MriSpeech(acoustic, vocoder).process(frames)
    prepared = prepare_frames(frames, SIZE)
    np.testing.assert_array_equal(result.frames, prepared)
    np.testing.assert_allclose(result.standardised, small_mri.answer(prepared[None])[0], atol=SAME)
    decibels = result.standardised * np.array(STD) + np.array(MEAN)
    np.testing.assert_allclose(result.mel, decibels, atol=SAME)
    np.testing.assert_allclose(result.mel_log, np.log(np.maximum(10 ** (decibels / 10), 1e-5)), atol=SAME)
    assert result.mel_log.min() >= np.float32(np.log(1e-5))
    np.testing.assert_array_equal(result.samples, Vocoder(vocoder).synthesize(result.mel_log.T))
    assert result.samples.shape == (30 * HOP,)


@settings(deadline=None, max_examples=40)
@given(frames=st.integers(1, 40), window=st.integers(1, 9))
def test_windows_are_averaged(acoustic: Path, vocoder: Path, frames: int, window: int) -> None:
    result = MriSpeech(acoustic, vocoder, mode="window", window=window).process(video(frames))
    np.testing.assert_allclose(result.standardised, windowed(result.frames, window), atol=SAME)


@pytest.mark.parametrize("frames", [3, 7, 30])
def test_length_buckets_change_nothing(acoustic: Path, vocoder: Path, frames: int) -> None:
    plain = MriSpeech(acoustic, vocoder, mode="window").process(video(frames))
    few = MriSpeech(acoustic, vocoder, mode="window", length_buckets=True).process(video(frames))
    np.testing.assert_allclose(few.standardised, plain.standardised, atol=SAME)
    np.testing.assert_allclose(few.samples, plain.samples, atol=SAME)


def test_the_window_is_that_of_the_training(acoustic: Path, vocoder: Path) -> None:
    pipeline = MriSpeech(acoustic, vocoder, mode="window")
    assert (pipeline.window, pipeline.step) == (4, 1)
    result = pipeline.process(video(11))
    np.testing.assert_allclose(result.standardised, windowed(result.frames, 4), atol=SAME)


def test_windows_keep_to_what_an_artifact_takes(tmp_path: Path, vocoder: Path) -> None:
    short = small_mri.write_acoustic(tmp_path / "short", longest=8)
    result = MriSpeech(short, vocoder, mode="window", window=2).process(video(30))
    np.testing.assert_allclose(result.standardised, windowed(result.frames, 2), atol=SAME)
    with pytest.raises(
        InputError, match=r"frames: got 30 frames in one run, expected 1 to 8 frames, .*--mode window runs"
    ):
        MriSpeech(short, vocoder).process(video(30))
    with pytest.raises(
        InputError,
        match=r"frames: got 9 frames in one run, expected 1 to 8 frames, which the artifact takes$",
    ):
        MriSpeech(short, vocoder, mode="window", window=9).process(video(30))


def test_another_rate_is_brought_to_the_clock(acoustic: Path, vocoder: Path) -> None:
    pipeline = MriSpeech(acoustic, vocoder)
    frames = video(10)
    doubled = pipeline.process(frames, fps=CLOCK / 2)
    assert len(doubled.frames) == 20
    np.testing.assert_array_equal(doubled.frames[::2], pipeline.process(frames).frames)
    assert len(pipeline.process(frames, fps=CLOCK * 1.004).frames) == 10


def test_frames_scaled_to_their_own_range(tmp_path: Path, vocoder: Path) -> None:
    bundle = small_mri.write_acoustic(
        tmp_path / "b", config={"frame_scaling": "min-max", "mel_mean": list(MEAN), "mel_std": list(STD)}
    )
    frames = video(6) // 3 + 40
    result = MriSpeech(bundle, vocoder).process(frames)
    np.testing.assert_array_equal(result.frames, prepare_frames(frames, SIZE, "min-max"))
    masked = MriSpeech(bundle, vocoder, mask="lip", alpha=0.0).process(frames)
    beside = drawn("lip", 0.0) == 1
    assert beside.any()
    np.testing.assert_array_equal(masked.frames[:, beside], result.frames[:, beside])


def test_a_mask_darkens_what_the_net_sees(acoustic: Path, vocoder: Path) -> None:
    frames = video(6)
    plain = MriSpeech(acoustic, vocoder).process(frames)
    masked = MriSpeech(acoustic, vocoder, mask="tongue", alpha=0.3).process(frames)
    np.testing.assert_allclose(masked.frames, plain.frames * drawn("tongue", 0.3), atol=1e-7)
    assert np.abs(masked.mel - plain.mel).max() > 0.1
    same = MriSpeech(acoustic, vocoder, mask="10,20 200,20 10,90", alpha=1.0).process(frames)
    np.testing.assert_array_equal(same.mel, plain.mel)
    hidden = MriSpeech(acoustic, vocoder, mask="lip").process(frames)
    np.testing.assert_allclose(hidden.frames, plain.frames * drawn("lip", 0.1))


def test_a_scaler_takes_the_place_of_the_bundles(acoustic: Path, vocoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "scaler.json"
    path.write_text(json.dumps({"mean": [-10.0] * BANDS, "std": [2.0] * BANDS, "count_frames": 3}))
    result = MriSpeech(acoustic, vocoder, scaler=path).process(video(5))
    np.testing.assert_allclose(result.mel, result.standardised * 2 - 10, atol=SAME)


def test_a_bundle_without_statistics_needs_a_scaler(vocoder: Path, tmp_path: Path) -> None:
    bare = small_mri.write_acoustic(tmp_path / "bare", config={"mel_mean": None, "mel_std": None})
    with pytest.raises(
        ConfigError, match=r"--scaler: got no scaler, and no mel_mean .* in .*bare, expected the sc"
    ):
        MriSpeech(bare, vocoder)
    path = tmp_path / "scaler.json"
    path.write_text(json.dumps({"mean": [0.0] * 7, "std": [1.0] * 7}))
    with pytest.raises(InputError, match=r"scaler\.json: mean: got 7 numbers, expected 5, one a mel band"):
        MriSpeech(bare, vocoder, scaler=path)


# files -----------------------------------------------------------------------------------------------------


def result_of(folder: Path, source: Path, pipeline: MriSpeech) -> dict[str, Any]:
    folder.mkdir()
    return pipeline.write_result(source, folder)


@pytest.mark.parametrize("mode", ["full", "window"])
@pytest.mark.filterwarnings("ignore:.*samples around")  # of a net that knows no sound
def test_files_hold_what_memory_holds(acoustic: Path, vocoder: Path, tmp_path: Path, mode: Mode) -> None:
    np.save(tmp_path / "007.npy", video(1300))
    pipeline = MriSpeech(acoustic, vocoder, mode=mode)
    facts = result_of(tmp_path / "out", tmp_path / "007.npy", pipeline)
    whole = pipeline.process_file(tmp_path / "007.npy")
    folder = tmp_path / "out"
    np.testing.assert_array_equal(np.load(folder / "007_mel.npy"), whole.mel)
    np.testing.assert_array_equal(np.load(folder / "007_mel_log.npy"), whole.mel_log)
    np.testing.assert_allclose(np.load(folder / "007_mel_linear.npy"), 10 ** (whole.mel / 10), rtol=1e-5)
    speech = read_audio(folder / "007_generated.wav")
    assert speech.sample_rate == CLOCK * HOP
    np.testing.assert_allclose(speech.samples, whole.samples, atol=0.6 / 32768)
    for name in ("007_mel.png", "007_mel_log.png"):
        picture = cv2.imread(str(folder / name))
        assert picture is not None
        assert picture.shape == (240, 1300, 3)
    assert {"frames": 1300, "samples": 1300 * HOP, "mode": mode, "video_fps": None}.items() <= facts.items()
    assert len(list(folder.iterdir())) == 6


def test_a_video_of_another_rate(acoustic: Path, vocoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), CLOCK / 2, (20, 20), isColor=False)
    for frame in video(10):
        writer.write(frame)
    writer.release()
    told: list[str] = []
    pipeline = MriSpeech(acoustic, vocoder, progress=told.append)
    facts = result_of(tmp_path / "out", path, pipeline)
    assert {"frames": 20, "video_fps": CLOCK / 2, "resampled": True}.items() <= facts.items()
    assert told == [
        "the video has 125 frames a second: interpolated to the mel's 250",
        "0.1 s of speech of about 0.1 s",
    ]
    whole = pipeline.process(video(10), fps=CLOCK / 2)
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "a_mel.npy"), whole.mel)


def test_the_first_frames_alone(acoustic: Path, vocoder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", video(50))
    modes: tuple[Mode, ...] = ("full", "window")
    for mode in modes:
        pipeline = MriSpeech(acoustic, vocoder, mode=mode, max_frames=9)
        result = pipeline.process_file(tmp_path / "a.npy")
        np.testing.assert_array_equal(result.mel, pipeline.process(video(50)[:9]).mel)


MEMORY = """
import resource, sys
from pathlib import Path
from edge_runtime.pipelines.mri_speech.pipeline import MriSpeech
from edge_runtime.pipelines.mri_speech.result import write_result
acoustic, vocoder, source, out = map(Path, sys.argv[1:])
pipeline = MriSpeech(acoustic, vocoder, mode="window", threads=1)
out.mkdir()
print(write_result(pipeline, out, source)["frames"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_video(acoustic: Path, vocoder: Path, tmp_path: Path) -> None:
    peaks = []
    for frames in (2_000, 20_000):
        np.save(tmp_path / "long.npy", np.zeros((frames, 64, 64), np.uint8))  # 8 and 82 MB
        arguments = [acoustic, vocoder, tmp_path / "long.npy", tmp_path / f"out-{frames}"]
        done = subprocess.run(
            [sys.executable, "-c", MEMORY, *map(str, arguments)], capture_output=True, text=True, check=True
        )
        count, peak = map(int, done.stdout.split())
        assert count == frames
        peaks.append(peak / 1024)  # MB
    assert peaks[1] - peaks[0] < 6, peaks


ALONE = """
import sys
from pathlib import Path

class Barrier:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BARRED:
            raise ModuleNotFoundError(f"barred: {name}", name=name)

BARRED = {"cv2", "scipy", "soundfile", "soxr", "torch", "onnx", "librosa", "matplotlib", "PIL", "typer"}
BARRED |= {"edge_training", "edge_export"}
sys.meta_path.insert(0, Barrier())
from edge_runtime.pipelines.mri_speech.pipeline import MriSpeech
from edge_runtime.pipelines.mri_speech.result import write_result
from edge_runtime.pipelines.mri_speech.system import SYSTEM
acoustic, vocoder, source, out = map(Path, sys.argv[1:])
out.mkdir()
pipeline = MriSpeech(acoustic, vocoder, mode="window", mask="lip")
print(write_result(pipeline, out, source)["frames"])
SYSTEM.save_reference(pipeline, out / "pack", source=source)
"""


def test_numpy_and_onnxruntime_are_enough(acoustic: Path, vocoder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", video(9))
    arguments = map(str, [acoustic, vocoder, tmp_path / "a.npy", tmp_path / "out"])
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *arguments], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("9\n", "")


# the reference pack ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["full", "window"])
def test_the_pack_holds_every_stage(acoustic: Path, vocoder: Path, tmp_path: Path, mode: Mode) -> None:
    np.save(tmp_path / "a.npy", video(12))
    pipeline = MriSpeech(acoustic, vocoder, mode=mode, mask="lip", alpha=0.2)
    folder = SYSTEM.save_reference(pipeline, tmp_path / "pack", source=tmp_path / "a.npy")
    result = pipeline.process(video(12))
    stages = {
        "video": video(12),
        "frames": result.frames,
        "mask": drawn("lip", 0.2),
        "mel_standardised": result.standardised,
        "mel_db": result.mel,
        "mel_log": result.mel_log,
        "wav": result.samples,
    }
    for name, values in stages.items():
        np.testing.assert_array_equal(read_array(folder / f"{name}.npy"), values)
    assert {path.stem for path in folder.glob("*.npy")} == set(stages)
    told = json.loads((folder / "VALIDATION_INSTRUCTIONS.json").read_text())
    assert {name for name in told["files"] if name.endswith(".npy")} == {f"{name}.npy" for name in stages}
    assert set(told["provenance"]) == {"mri-acoustic", "hifigan"}
    facts = json.loads((folder / "metadata.json").read_text())
    assert facts["mel_mean"] == list(MEAN)
    assert (facts["mode"], facts["mask"], facts["alpha"]) == (mode, "lip", 0.2)
    with pytest.raises(TargetError, match="got an existing folder"):
        SYSTEM.save_reference(pipeline, tmp_path / "pack", source=tmp_path / "a.npy")
    pipeline.save_reference(tmp_path / "a.npy", tmp_path / "pack", overwrite=True)


# refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        (video(0), "got no frame, expected a video of at least one"),
        (np.zeros((3, 20, 30), np.uint8), r"frames: got 30x20 pixels, expected square frames"),
        (np.zeros((3, 8, 8), np.uint8), r"frames: got 8x8 pixels"),
        (
            np.eye(60, 20, dtype=np.uint8).reshape(3, 20, 20)[..., None] * np.arange(3, dtype=np.uint8),
            "a colour video",
        ),
        (np.full((3, 20, 20), 200.0), r"frames: got floats from 200 to 200.*divide by 255"),
    ],
)
@pytest.mark.parametrize("mode", ["full", "window"])
def test_videos_that_are_refused_are_named_once(
    acoustic: Path, vocoder: Path, tmp_path: Path, frames: Values, sentence: str, mode: Any
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, frames)
    pipeline = MriSpeech(acoustic, vocoder, mode=mode)
    with pytest.raises(InputError, match=sentence) as refusal:
        result_of(tmp_path / "out", path, pipeline)
    assert str(refusal.value).count(str(path)) == 1
    with pytest.raises(InputError, match=sentence):
        SYSTEM.save_reference(pipeline, tmp_path / "pack", source=path)
    assert not (tmp_path / "pack").exists()


def test_frames_in_memory_that_are_refused(acoustic: Path, vocoder: Path) -> None:
    pipeline = MriSpeech(acoustic, vocoder)
    with pytest.raises(InputError, match="frames: got no frame, expected at least one"):
        pipeline.process(video(0))
    with pytest.raises(InputError, match=r"frames: got shape \(20, 20\), expected \(T, H, W\)"):
        pipeline.process(video(1)[0])


def test_levels_that_no_sound_has_are_refused(acoustic: Path, vocoder: Path, tmp_path: Path) -> None:
    path = tmp_path / "scaler.json"
    path.write_text(json.dumps({"mean": [80.0] * BANDS, "std": [1.0] * BANDS}))
    with pytest.raises(
        InputError, match=r"mel: got up to 8\d.* dB, expected at most 52.12 dB, .* is untrained"
    ):
        MriSpeech(acoustic, vocoder, scaler=path).process(video(3))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mode": "ave"}, "--mode: got 'ave', expected full or window"),
        ({"window": 8}, "--window: got 8 in mode full, expected this option only in mode window"),
        ({"step": 2}, "--step: got 2 in mode full"),
        ({"mode": "window", "window": 0}, "--window: got 0, expected at least 1"),
        ({"mode": "window", "step": 5}, "--step: got 5, expected at most the window's 4 frames"),
        ({"max_frames": 0}, "--max-frames: got 0, expected at least 1"),
        ({"alpha": 0.3}, "--alpha: got 0.3 without --mask"),
        ({"mask": "lip", "alpha": 1.5}, "--alpha: got 1.5, expected 0"),
        ({"mask": "nose"}, "--mask: got «nose»"),
        ({"mask": "1,1 300,1 1,90"}, "mask polygon: got a point at 300,1, expected points within 0 … 256"),
        ({"mask": "1,1 30,1"}, "mask polygon: got 2 different points, expected at least 3"),
    ],
)
def test_options_that_are_refused(
    acoustic: Path, vocoder: Path, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises((ConfigError, InputError), match=sentence):
        MriSpeech(acoustic, vocoder, **options)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"sample_rate": 8000},
            "sample rate: got 8000, expected 1000, as in the mri-acoustic bundle; the vocoder",
        ),
        ({"n_mels": 6}, None),
    ],
)
def test_a_vocoder_of_another_mel_is_refused(
    acoustic: Path, tmp_path: Path, changes: dict[str, Any], sentence: str | None
) -> None:
    other = small_bundles.write_vocoder(tmp_path / "v", front_end=replace(small_mri.FRONT_END, **changes))
    if sentence is None:  # the bands that count are those that the net itself takes
        MriSpeech(acoustic, other)
        return
    with pytest.raises(BundleError, match=sentence):
        MriSpeech(acoustic, other)


def test_nets_of_other_hops_or_bands_are_refused(vocoder: Path, tmp_path: Path) -> None:
    slow = small_mri.write_acoustic(tmp_path / "a", front_end=replace(small_mri.FRONT_END, hop_length=8))
    with pytest.raises(BundleError, match="hop length: got 4, expected 8, as in the mri-acoustic bundle"):
        MriSpeech(slow, vocoder)
    none = small_mri.write_acoustic(tmp_path / "b", front_end=None)
    with pytest.raises(BundleError, match="got no front_end, expected the mel of the net's training"):
        MriSpeech(none, vocoder)


def test_a_bundle_of_another_net_is_refused(acoustic: Path, vocoder: Path) -> None:
    with pytest.raises(BundleError, match="net: got hifigan, expected mri-acoustic"):
        MriSpeech(vocoder, vocoder)
    with pytest.raises(BundleError, match="net: got mri-acoustic, expected hifigan"):
        MriSpeech(acoustic, acoustic)


def test_frames_without_a_rate_take_the_one_that_is_given(
    acoustic: Path, vocoder: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "v.npy", video(10))
    told: list[str] = []
    plain = MriSpeech(acoustic, vocoder, progress=told.append).process_file(tmp_path / "v.npy")
    assert len(plain.frames) == 10
    assert "v.npy: no frame rate stated: taken to be the mel's" in told[0]
    told.clear()
    slow = MriSpeech(acoustic, vocoder, fps=CLOCK / 2, progress=told.append).process_file(tmp_path / "v.npy")
    assert len(slow.frames) == 20
    assert "interpolated to the mel's" in told[0]
    for wrong in (0, -3, float("nan"), 1e9):
        with pytest.raises(ConfigError, match="--fps: got"):
            MriSpeech(acoustic, vocoder, fps=wrong)
