"""Pictures to speech: lengths, levels, what is imprinted, what is written, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests import small_bundles

from edge_export.__main__ import main
from edge_export.assets import SENTENCE
from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.errors import BundleError, ConfigError, InputError
from edge_runtime.media.audio import read_audio
from edge_runtime.media.pictures import write_png
from edge_runtime.media.png import read_png
from edge_runtime.pipelines.image_speech.imprint import imprint, resized
from edge_runtime.pipelines.image_speech.picture import FRONT_END, mel_to_picture, picture_to_mel
from edge_runtime.pipelines.picture_speech.pipeline import PictureSpeech


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return read_audio(SENTENCE, 16000).samples


@pytest.fixture(scope="module")
def picture(speech: np.ndarray) -> np.ndarray:
    return mel_to_picture(MelFrontEnd(FRONT_END)(speech))


@pytest.mark.parametrize("frames", [13, 64, 117])
def test_a_column_is_160_samples(picture: np.ndarray, frames: int) -> None:
    result = PictureSpeech(iterations=1).process(picture[:, :frames])
    assert result.samples.shape == (160 * frames,)
    assert result.samples.dtype == np.float32


def test_the_sound_has_the_mel_of_the_picture(picture: np.ndarray) -> None:
    result = PictureSpeech(iterations=24).process(picture[:, 40:160])
    config = replace(FRONT_END, peak=None)
    difference = np.abs(MelFrontEnd(config)(result.samples) - result.mel)
    assert float(np.median(difference)) < 0.12, "of ln"
    np.testing.assert_array_equal(result.mel, picture_to_mel(picture[:, 40:160]))


def test_a_loud_picture_does_not_exceed_full_scale(picture: np.ndarray) -> None:
    louder = np.clip(picture[:, :120] + 0.1, 0, 1)
    assert np.abs(PictureSpeech(iterations=2).process(louder).samples).max() == pytest.approx(0.98, abs=1e-6)


def test_imprint_takes_brightness_away_where_the_picture_is_dark(picture: np.ndarray, tmp_path: Path) -> None:
    photograph = np.zeros((32, 20), np.uint8)
    photograph[:, 10:] = 255
    write_png(tmp_path / "photograph.png", photograph)
    result = PictureSpeech(iterations=1, imprint=tmp_path / "photograph.png", strength=0.4).process(picture)
    half = picture.shape[1] // 2
    np.testing.assert_allclose(result.picture[:, :half], 0.6 * picture[:, :half], atol=1e-6)
    np.testing.assert_array_equal(result.picture[:, half + 1 :], picture[:, half + 1 :])


def test_resizing_keeps_the_mean() -> None:
    values = np.random.default_rng(0).random((37, 53))
    for size in ((11, 90), (37, 53), (100, 7)):
        assert resized(values, *size).mean() == pytest.approx(values.mean(), abs=1e-6)
    np.testing.assert_allclose(resized(values, 37, 53), values, atol=1e-7)


def test_vocoders_of_another_front_end_are_refused(tmp_path: Path) -> None:
    # five bands and a hop of 4 samples: not our pictures
    bundle = small_bundles.write_vocoder(tmp_path / "vocoder")
    with pytest.raises(BundleError, match=r"front_end: got sample_rate 8000, n_fft 16, .* take a vocoder of"):
        PictureSpeech(bundle)
    other = replace(PRESETS["auffusion"], mel_scale="htk", fmax=8000.0)
    bundle = small_bundles.write_vocoder(tmp_path / "htk", front_end=other)
    with pytest.raises(BundleError, match="front_end: got mel_scale htk, expected mel_scale slaney; take a"):
        PictureSpeech(bundle)


def test_impossible_options_are_refused(picture: np.ndarray, tmp_path: Path) -> None:
    bundle = small_bundles.write_vocoder(tmp_path / "vocoder")
    with pytest.raises(
        ConfigError, match="--iterations: got 3 beside a vocoder, expected it for Griffin-Lim"
    ):
        PictureSpeech(bundle, iterations=3)
    with pytest.raises(ConfigError, match=r"--strength: got 1\.5, expected 0 \(no picture\) to 1"):
        PictureSpeech(strength=1.5)
    with pytest.raises(InputError, match="picture: got 12 columns, expected at least 13, of 10 ms each"):
        PictureSpeech().process(picture[:, :12])
    with pytest.raises(InputError, match=r"picture to imprint: got shape \(2, 3\), expected \(2, 4\)"):
        imprint(np.zeros((2, 4)), np.zeros((2, 3)))


def test_the_command_writes_and_can_read_it_again(picture: np.ndarray, tmp_path: Path) -> None:
    write_png(tmp_path / "speech.png", np.rint(picture[::-1] * 255).astype(np.uint8))
    out = tmp_path / "out"
    given = ["run", "picture-speech", str(tmp_path / "speech.png"), "--iterations", "2", "--out", str(out)]
    assert main(given) == 0
    said = json.loads((out / "metadata.json").read_text())
    assert said["taken"]["orientation"] == "low-first"
    assert said["samples"] == 160 * picture.shape[1] == read_audio(out / "speech.wav").samples.size
    np.testing.assert_array_equal(read_png(out / "speech_spec.png"), np.rint(picture * 255).astype(np.uint8))
    again = ["run", "picture-speech", str(out / "speech.npy"), "--iterations", "2"]
    assert main([*again, "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "speech.wav").read_bytes() == (out / "speech.wav").read_bytes()


def test_a_recording_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["run", "picture-speech", str(SENTENCE), "--iterations", "2", "--out", str(tmp_path / "out")]
    assert main(given) == 0
    assert "made here" in capsys.readouterr().err
    assert set(json.loads((tmp_path / "out" / "metrics.json").read_text())) == {"pesq", "stoi"}


def test_the_pack_and_its_check(picture: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "speech.npy", picture[:, :130])
    pack, ours = tmp_path / "pack", tmp_path / "ours"
    given = ["reference", "picture-speech", str(tmp_path / "speech.npy"), "--iterations", "2"]
    assert main([*given, "--out", str(pack)]) == 0
    ours.mkdir()
    for name in ("picture", "mel", "wav"):
        np.save(ours / f"{name}.npy", np.load(pack / f"{name}.npy"))
    assert main(["check", str(pack), str(ours)]) == 0
    np.save(ours / "mel.npy", np.load(pack / "mel.npy")[::-1])
    assert main(["check", str(pack), str(ours)]) == 1


def test_refusals_of_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_png(tmp_path / "a.png", np.zeros((128, 300), np.uint8))
    assert main(["run", "picture-speech", str(tmp_path / "a.png"), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "a.png: got a picture 128 pixels high, expected 256, one for each band" in told
    assert not (tmp_path / "out").exists()
