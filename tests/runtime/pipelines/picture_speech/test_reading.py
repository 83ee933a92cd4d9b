"""Files of several kinds become one picture; what cannot be told is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_export.assets import SENTENCE
from edge_runtime.dsp.mel import MelFrontEnd
from edge_runtime.dsp.resampling import resample
from edge_runtime.errors import ConfigError, EdgeWarning, InputError
from edge_runtime.media.audio import read_audio
from edge_runtime.media.pictures import colour, write_png
from edge_runtime.pipelines.image_speech.picture import FRONT_END, mel_to_picture
from edge_runtime.pipelines.picture_speech.orientation import recognise
from edge_runtime.pipelines.picture_speech.reading import read_grey, read_picture


@pytest.fixture(scope="module")
def mel() -> np.ndarray:
    """(256, 299) of a sentence, low band first."""
    return np.asarray(MelFrontEnd(FRONT_END)(read_audio(SENTENCE, 16000).samples))


@pytest.fixture(scope="module")
def picture(mel: np.ndarray) -> np.ndarray:
    return mel_to_picture(mel)


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    def save(values: np.ndarray) -> Path:
        np.save(tmp_path / "a.npy", values)
        return tmp_path / "a.npy"

    return save


def smooth_noise(seed: int, slope: float) -> np.ndarray:
    """A picture whose spectrum falls as 1 / f^slope: photographs have about 1."""
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((256, 300)))
    distance = np.hypot(np.fft.fftfreq(256)[:, None] * 256, np.fft.rfftfreq(300) * 300)
    values = np.fft.irfft2(spectrum / np.maximum(1, distance) ** slope, (256, 300))
    return np.asarray((values - values.min()) / np.ptp(values), np.float32)


def test_speech_shows_which_way_up_it_stands(picture: np.ndarray) -> None:
    assert recognise(picture) == "high-first"
    assert recognise(picture[::-1]) == "low-first"
    for start in (0, 60, 120, 180):
        assert recognise(picture[::-1, start : start + 119]) == "low-first"
    assert recognise(picture[:, :50]) is None, "too little to be sure"


@pytest.mark.parametrize("pitch", [0.5, 0.65, 0.8, 1.3])
def test_other_voices_are_never_taken_wrongly(pitch: float) -> None:
    speech = read_audio(SENTENCE, 22050).samples
    other = resample(resample(speech, round(22050 * pitch), 22050), 22050, 16000)
    voice = mel_to_picture(MelFrontEnd(FRONT_END)(other))
    for start in range(0, voice.shape[1] - 120, 60):
        piece = voice[:, start : start + 120]
        assert recognise(piece) in ("high-first", None)
        assert recognise(piece[::-1]) in ("low-first", None)


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0, 2.5])
def test_pictures_of_something_else_show_nothing(slope: float) -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    for seed in range(6):
        values = smooth_noise(seed, slope)
        assert recognise(values) is None
        assert recognise((values + ramp) / 2) is None
    assert recognise(np.full((256, 300), 0.5, np.float32)) is None


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kind", ["unit", "mel", "uint8", "uint16", "colours", "planes"])
def test_arrays_in_either_orientation(
    saved: Any, mel: np.ndarray, picture: np.ndarray, kind: str, turned: bool
) -> None:
    values = {
        "unit": picture,
        "mel": mel[::-1],
        "uint8": np.rint(picture * 255).astype(np.uint8),
        "uint16": np.rint(picture * 65535).astype(np.uint16),
        "colours": np.rint(picture * 255).astype(np.uint8)[..., None].repeat(3, axis=2),
        "planes": picture[None].repeat(3, axis=0),
    }[kind]
    rows = 1 if kind == "planes" else 0
    found = read_picture(saved(np.flip(values, rows) if turned else values))
    assert found.orientation == ("low-first" if turned else "high-first")
    assert found.because == "by the harmonics of its low bands"
    said = {"mel": "a log-mel, natural log", "uint8": "levels 0 to 255", "planes": "values of 0 to 1, mean"}
    assert found.scale.startswith(said.get(kind, ""))
    assert found.values.dtype == np.float32
    step = 1 / 255 if kind in ("uint8", "colours") else 2e-5
    np.testing.assert_allclose(found.values, picture, atol=0.51 * step)


def test_png_of_8_and_16_bits(tmp_path: Path, picture: np.ndarray) -> None:
    write_png(tmp_path / "a.png", np.rint(picture * 255).astype(np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.rint(picture[::-1] * 65535).astype(np.uint16))
    np.testing.assert_allclose(read_picture(tmp_path / "a.png").values, picture, atol=0.51 / 255)
    fine = read_picture(tmp_path / "b.png")
    assert (fine.orientation, fine.scale) == ("low-first", "levels 0 to 65535")
    np.testing.assert_allclose(fine.values, picture, atol=0.51 / 65535)


def test_one_array_of_an_archive(tmp_path: Path, picture: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", other=np.zeros(3), clean=picture, turned=picture[::-1])
    assert read_picture(tmp_path / "a.npz:turned").orientation == "low-first"
    with pytest.raises(InputError, match=r"a\.npz: got .*clean, turned|a\.npz: got "):
        read_picture(tmp_path / "a.npz")


def test_what_is_given_or_known_is_taken(saved: Any, picture: np.ndarray) -> None:
    path = saved(picture)
    given = read_picture(path, "low-first")
    assert given.told == "values of 0 to 1; low-first: as given"
    np.testing.assert_array_equal(given.values, picture[::-1])
    noise = saved(smooth_noise(1, 1.0))
    (path.parent / "metadata.json").write_text(json.dumps({"pipeline": "image-speech"}))
    assert read_picture(noise).because == "metadata.json beside it says so"


def test_what_we_wrote_is_known(picture: np.ndarray, tmp_path: Path) -> None:
    """A picture of noise shows no harmonics; record.json vouches for the files that it names alone."""
    noise = smooth_noise(1, 1.0)
    (tmp_path / "spectrograms").mkdir()
    (tmp_path / "pictures").mkdir()
    for name in ("000001", "stranger"):
        np.save(tmp_path / "spectrograms" / f"{name}.npy", noise)
        write_png(tmp_path / "pictures" / f"{name}.png", np.rint(noise * 255).astype(np.uint8))
    record = {"format": "edge-image-speech-data/1", "clips": ["000001"]}
    (tmp_path / "record.json").write_text(json.dumps(record))
    for file in ("spectrograms/000001.npy", "pictures/000001.png"):
        found = read_picture(tmp_path / file)
        assert found.told.endswith("; high-first: record.json of the training data names it")
    for file in ("spectrograms/stranger.npy", "pictures/stranger.png"):
        with pytest.raises(InputError, match="--orientation high-first"):
            read_picture(tmp_path / file)
    np.save(tmp_path / "spectrograms" / "000001.npy", picture[::-1])
    with pytest.warns(EdgeWarning, match=r"harmonics .* at the top, .*record.*--orientation low-first"):
        read_picture(tmp_path / "spectrograms" / "000001.npy")
    (tmp_path / "record.json").write_text(json.dumps(record | {"format": "another"}))
    assert read_picture(tmp_path / "spectrograms" / "000001.npy").orientation == "low-first"


def test_a_mel_among_our_results_is_no_result(saved: Any, mel: np.ndarray, picture: np.ndarray) -> None:
    path = saved(mel)
    (path.parent / "metadata.json").write_text(json.dumps({"pipeline": "image-speech"}))
    found = read_picture(path)
    assert found.orientation == "low-first"
    np.testing.assert_allclose(found.values, picture, atol=2e-5)


def test_a_mel_of_log10_is_doubted(saved: Any, mel: np.ndarray, picture: np.ndarray) -> None:
    path = saved(mel[::-1] / np.float32(np.log(10)))
    with pytest.warns(EdgeWarning, match=r"a\.npy: mel: got values from -5 to 0\.78.*taken for natural log"):
        read_picture(path, "high-first")
    np.save(path, np.load(path) * 2.302585)
    np.testing.assert_allclose(read_picture(path).values, picture, atol=2e-5)


@pytest.mark.parametrize("name", ["viridis", "jet"])
def test_colours_of_a_map_are_no_levels(tmp_path: Path, saved: Any, picture: np.ndarray, name: Any) -> None:
    colours = colour(picture, name)
    write_png(tmp_path / "a.png", colours)
    (tmp_path / "metadata.json").write_text(json.dumps({"pipeline": "image-speech"}))
    for path in (tmp_path / "a.png", saved(colours.astype(np.float32) / 255)):
        with pytest.raises(
            InputError, match=r"got at most 256 colours that are not grey.*such as N_spec.png"
        ):
            read_picture(path, "high-first")
    assert read_grey(tmp_path / "a.png").shape == picture.shape, "to imprint, any picture will do"
    painted = np.random.default_rng(0).integers(0, 256, (256, 60, 3), np.uint8)
    assert read_picture(saved(painted), "high-first").values.shape == (256, 60)


def test_a_recording_becomes_its_picture(picture: np.ndarray) -> None:
    found = read_picture(SENTENCE)
    np.testing.assert_array_equal(found.values, picture)
    assert found.audio is not None
    with pytest.raises(ConfigError, match="--orientation: got low-first for audio, expected it for pictures"):
        read_picture(SENTENCE, "low-first")


def test_what_does_not_fit_is_one_sentence(saved: Any, picture: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.npy: got a picture whose rows do not show .*--orientation hig"):
        read_picture(saved(smooth_noise(1, 1.0)))
    with pytest.raises(InputError, match=r"got a picture 299 pixels high, expected 256, .*is it transposed"):
        read_picture(saved(picture.T))
    with pytest.raises(InputError, match=r"got a picture 255 pixels high.*another front end, or was scaled"):
        read_picture(saved(picture[1:]))
    with pytest.raises(
        InputError, match=r"got values of 0 … 202, expected 0 … 1, or a log-mel.*divide 8-bit"
    ):
        read_picture(saved(np.rint(picture * 255).astype(np.float32)))
    with pytest.raises(
        InputError, match=r"got values of -1 … 0\.\d+, expected a picture of 0 … 1.*\(x \+ 1\) / 2"
    ):
        read_picture(saved(picture * 2 - 1))
    with pytest.raises(InputError, match="got values of nan … nan"):
        read_picture(saved(np.full((256, 5), np.nan)))
    with pytest.raises(InputError, match="got values of type int64, expected uint8, uint16 or floats"):
        read_picture(saved(np.zeros((256, 5), int)))
    with pytest.raises(InputError, match=r"got an array of shape \(256,\), expected \(256, frames\)"):
        read_picture(saved(np.zeros(256)))
    with pytest.raises(ConfigError, match="--orientation: got 'up', expected high-first or low-first"):
        read_picture(saved(picture), "up")  # type: ignore[arg-type]
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(InputError, match=r"a\.jpg: got "):
        read_grey(tmp_path / "a.jpg")
