"""rtMRI → speech all the way, through the command line, on the synthetic speaker; and what is refused.

data phantom → data mri → train mri-acoustic → export → verify
                        → data predicted-mels → train hifigan → export
                        → run mri-speech → wav of the video's length
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.training.mri_speech.mri_clips import write_clip, write_clips

from edge_export.__main__ import main
from edge_runtime.media.audio import read_audio
from edge_runtime.media.video import read_frames
from edge_runtime.store.bundle import open_bundle
from edge_training.vocoder.data import read_mel
from edge_training.vocoder.hifigan import HIFIGAN_PRESETS

# the phantom's 256 pixels reduced to the smallest that the backbone `tiny` is made for
SIZE = 32
ACOUSTIC = ("image_size=32", "backbone=tiny", "rnn_hidden=8", "batch_size=4", "validate_every=4",
            "checkpoint_every=4", "log_every=1")  # fmt: skip
VOCODER = ("upsample_initial_channel=16", "resblock_kernel_sizes=[3]", "resblock_dilation_sizes=[[1,3,5]]",
           "segment_size=2100", "batch_size=2", "validate_every=2", "checkpoint_every=2", "msd=null",
           'mpd={"periods":[2],"channels":[4,8]}')  # fmt: skip


def edge_export(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def settings(entries: tuple[str, ...]) -> list[str]:
    return [word for entry in entries for word in ("--set", entry)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mri")


@pytest.fixture(scope="module")
def data(place: Path) -> Path:
    edge_export("data", "phantom", "--system", "mri", "--utterances", 5, "--out", place / "phantom")
    raw = place / "phantom" / "mri"
    edge_export(
        "data", "mri", "--videos", raw / "normalized_videos", "--wavs", raw / "audio_wav",
        "--out", place / "data", "--size", SIZE, "--workers", 1,
    )  # fmt: skip
    return place / "data"


def test_from_video_and_sound_to_speech(data: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, bundle = place / "acoustic", place / "acoustic-bundle"
    edge_export("train", "mri-acoustic", "--data", data, "--out", run, "--steps", 4, *settings(ACOUSTIC))
    weights = run / "checkpoints" / "best" / "mri-acoustic.safetensors"
    edge_export(
        "export", "mri-acoustic", "--checkpoint", weights, "--target", "onnx", "--precision", "fp32",
        "--out", bundle,
    )  # fmt: skip
    capsys.readouterr()
    edge_export("verify", bundle)
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1].startswith("PASS")
    assert "onnxruntime" in shown
    scaler = json.loads((data / "scaler.json").read_text())
    np.testing.assert_allclose(open_bundle(bundle).manifest.config["mel_mean"], scaler["mean"], rtol=1e-5)

    # the vocoder, fine-tuned on what this net predicts and on true mels
    edge_export("data", "predicted-mels", "--data", data, "--checkpoint", weights)
    mels = (f"mels_dir={data / 'mels_ft_log_normalized'}", f"extra_mels_dir={data / 'mels_gt_log'}")
    lists, vocoder = data / "hifigan_filelists", place / "vocoder"
    edge_export(
        "train", "hifigan", "--data", lists, "--out", vocoder, "--preset", "rtmri", "--steps", 2,
        *settings(VOCODER + mels),
    )  # fmt: skip
    generator, speech = vocoder / "checkpoints" / "generator.safetensors", place / "vocoder-bundle"
    edge_export(
        "export", "hifigan", "--checkpoint", generator, "--target", "onnx", "--precision", "fp32",
        "--out", speech,
    )  # fmt: skip

    video = place / "phantom" / "mri" / "normalized_videos" / "003.mp4"
    frames = len(read_frames(video).frames)
    for mode in ("full", "window"):
        out = place / mode
        edge_export(
            "run", "mri-speech", video, "--bundle", bundle, "--bundle", speech, "--out", out, "--mode", mode
        )
        wav = read_audio(out / "003_generated.wav")
        assert (wav.sample_rate, len(wav.samples)) == (11413, frames * 420)
        assert np.load(out / "003_mel.npy").shape == (frames, 64)

        # training data, checkpoint and bundle are the same way from pictures to the vocoder's mel
        predicted = place / f"predicted-{mode}"
        edge_export(
            "data", "predicted-mels", "--data", data, "--bundle", bundle, "--mode", mode, "--out", predicted
        )
        mel = read_mel(predicted / "003.npy", HIFIGAN_PRESETS["rtmri"].mel)
        np.testing.assert_allclose(mel, np.load(out / "003_mel_log.npy").T, atol=2e-4)
    by_checkpoint = np.load(data / "mels_ft_log_normalized" / "003.npy")
    np.testing.assert_allclose(np.load(place / "predicted-full" / "003.npy"), by_checkpoint, atol=2e-4)


# ---- what is refused --------------------------------------------------------------------------------------


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run a command that must be refused; returns its one sentence."""
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("edge-export: ")]
    assert len(told) == 1
    return told[0]


def colour(root: Path) -> None:
    np.save(root / "videos" / "c0.npy", np.arange(12 * 32 * 32 * 3, dtype=np.uint8).reshape(12, 32, 32, 3))


def no_frames(root: Path) -> None:
    np.save(root / "videos" / "c0.npy", np.zeros((0, 32, 32), np.uint8))


def no_square(root: Path) -> None:
    np.save(root / "videos" / "c0.npy", np.zeros((12, 32, 40), np.uint8))


def longer(root: Path) -> None:
    write_clip(root, "c0", 12, samples=50 * 420)


def no_sound(root: Path) -> None:
    (root / "wavs" / "c0.wav").unlink()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (colour, "colour video"),
        (no_frames, "no frame"),
        (no_square, "40x32 pixels"),
        (longer, "within 1 s of the 1.84 s of c0.wav"),
        (no_sound, "without a common name"),
    ],
)
def test_clips_that_cannot_be_prepared(
    damage: Callable[[Path], None], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_clips(tmp_path, (12,))
    damage(tmp_path)
    told = refused(
        capsys, "data", "mri", "--videos", tmp_path / "videos", "--wavs", tmp_path / "wavs",
        "--out", tmp_path / "out", "--size", 16, "--workers", 1,
    )  # fmt: skip
    assert sentence in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["videos", "wavs"]


def test_one_bad_clip_among_good_ones_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clips(tmp_path, (12, 12, 12))
    colour(tmp_path)
    edge_export(
        "data", "mri", "--videos", tmp_path / "videos", "--wavs", tmp_path / "wavs",
        "--out", tmp_path / "out", "--size", 16, "--workers", 1,
    )  # fmt: skip
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path / 'out'}: 2 clips, 24 frames, 1 skipped\n"
    assert any(line.startswith("skipped c0: ") and "colour" in line for line in shown.err.splitlines())


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"scaler.json": {"mean": [0.0] * 80, "std": [1.0] * 80}}, "scaler.json: mean: got 80 numbers"),
        ({"meta.json": {"stems": []}}, "meta.json: got no names of clips"),
    ],
)
def test_data_that_cannot_be_trained_on(
    changed: dict[str, Any], sentence: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("samples", "scaler.json", "meta.json"):
        (tmp_path / name).symlink_to(data / name)
    for name, content in changed.items():
        (tmp_path / name).unlink()
        (tmp_path / name).write_text(json.dumps(content))
    train = ("train", "mri-acoustic", "--data", tmp_path, "--out", tmp_path / "run", "--steps", 1)
    assert sentence in refused(capsys, *train, *settings(ACOUSTIC))
    assert not (tmp_path / "run").exists()


def test_data_of_another_picture_size(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ("train", "mri-acoustic", "--data", data, "--out", tmp_path / "run", "--preset", "b2")
    assert "image_size: got 256, expected the 32 pixels" in refused(capsys, *train)
    assert not (tmp_path / "run").exists()
