"""rtMRI to speech by the command line: files, masks, packs, and every refusal in one sentence."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests import small_bundles, small_mri, small_nets

from edge_export.__main__ import main
from edge_export.convert import export
from edge_export.proof.reference import write_reference
from edge_runtime.media.audio import read_audio
from edge_runtime.media.video import prepare_frames
from edge_runtime.store.reading import read_array
from edge_training.mri_speech.mri_acoustic import LAYOUTS, MRI_ACOUSTIC_PRESETS, MriAcoustic

SIDE = 20  # pixels of the videos, which the net sees as 16


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Both, as options."""
    folder = tmp_path_factory.mktemp("bundles")
    acoustic = small_mri.write_acoustic(folder / "acoustic")
    vocoder = small_bundles.write_vocoder(folder / "vocoder", front_end=small_mri.FRONT_END)
    return ["--bundle", str(vocoder), "--bundle", str(acoustic)]


def frames(count: int, side: int = SIDE) -> NDArray[np.uint8]:
    """Pictures as smooth as MRI is."""
    noise = np.random.default_rng(count).integers(0, 256, (count, 4, 4), np.uint8)
    return np.stack([cv2.resize(picture, (side, side)) for picture in noise])


def write(path: Path, pictures: NDArray[Any]) -> Path:
    if path.suffix == ".npy":
        np.save(path, pictures)
        return path
    height, width = pictures.shape[1:3]
    size, colour = (width, height), pictures.ndim == 4
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*"FFV1"), small_mri.CLOCK, size, isColor=colour
    )
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


def call(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence of a refusal, beside lines of progress."""
    assert main([str(argument) for argument in arguments]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if not re.match(r" +\d+\.\d s  ", line)]
    assert len(told) == 1
    return told[0]


def test_a_video_becomes_speech_whatever_the_order_of_bundles(
    bundles: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "000.avi", frames(30))
    call("run", "mri-speech", source, *bundles, "--out", tmp_path / "a")
    swapped = [bundles[2], bundles[3], bundles[0], bundles[1]]
    call("run", "mri-speech", source, *swapped, "--out", tmp_path / "b")
    names = {
        *("000_generated.wav", "000_mel.npy", "000_mel_linear.npy", "000_mel_log.npy"),
        *("000_mel.png", "000_mel_log.png", "metadata.json"),
    }
    assert {path.name for path in (tmp_path / "a").iterdir()} == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    facts = json.loads((tmp_path / "a" / "metadata.json").read_text())
    assert (facts["pipeline"], facts["source"], facts["frames"]) == ("mri-speech", "000.avi", 30)
    assert read_audio(tmp_path / "a" / "000_generated.wav").samples.size == 30 * small_bundles.HOP
    assert "000_generated.wav" in capsys.readouterr().out
    call("run", "mri-speech", source, *bundles, "--out", tmp_path / "a", "--overwrite", "--max-frames", 7)
    assert np.load(tmp_path / "a" / "000_mel.npy").shape == (7, small_mri.BANDS)


@pytest.mark.parametrize(
    ("mode", "mask"),
    [
        (["--mode", "full"], "lip"),
        (["--mode", "full"], "20,20 230,40 30,200"),
        (["--mode", "window", "--window", "6", "--step", "2"], "tongue"),
    ],
)
def test_masking_in_memory_is_masking_the_file(
    bundles: list[str], tmp_path: Path, mode: list[str], mask: str
) -> None:
    source = write(tmp_path / "000.avi", frames(12, 256))
    call(
        "data", "mask", source, "--out", tmp_path / "masked.avi", "--mask", mask, "--alpha", 0.3, "--lossless"
    )
    call("run", "mri-speech", tmp_path / "masked.avi", *bundles, *mode, "--out", tmp_path / "a")
    with_mask = ["--mask", mask, "--alpha", 0.3]
    call("run", "mri-speech", source, *bundles, *mode, *with_mask, "--out", tmp_path / "b")
    call("run", "mri-speech", source, *bundles, *mode, "--out", tmp_path / "plain")
    first, second = np.load(tmp_path / "a" / "masked_mel.npy"), np.load(tmp_path / "b" / "000_mel.npy")
    plain = np.load(tmp_path / "plain" / "000_mel.npy")
    # the file holds whole levels, and a mean of products is not quite the product of means
    assert np.abs(first - second).max() < 0.05 * np.abs(first - plain).max()


def test_packs_are_checked(bundles: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "000.npy", frames(9))
    options = ["--mode", "window", "--mask", "lip"]
    call("reference", "mri-speech", source, *bundles, *options, "--out", tmp_path / "pack")
    call("reference", "mri-speech", source, *bundles, *options, "--out", tmp_path / "port")
    call("check", tmp_path / "pack", tmp_path / "port")
    assert "7 of 7 arrays within 0.001" in capsys.readouterr().out
    spoiled = read_array(tmp_path / "port" / "mel_db.npy") + 0.01
    np.save(tmp_path / "port" / "mel_db.npy", spoiled)
    assert main(["check", str(tmp_path / "pack"), str(tmp_path / "port")]) == 1
    call("reference", "mri-speech", source, *bundles, "--out", tmp_path / "pack", "--overwrite")
    assert not (tmp_path / "pack" / "mask.npy").exists()


@pytest.mark.parametrize(
    ("pictures", "sentence"),
    [
        (np.zeros((3, 20, 30), np.uint8), r"000\.avi: frames: got 30x20 pixels, expected square frames"),
        (
            np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), np.uint8),
            r"000\.avi: got colour in .*% of",
        ),
        (None, r"000\.avi: got bytes that opencv cannot read"),
    ],
)
@pytest.mark.parametrize("command", ["run", "reference"])
def test_videos_that_are_refused_leave_nothing(
    bundles: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    pictures: NDArray[Any] | None,
    sentence: str,
    command: str,
) -> None:
    source = tmp_path / "000.avi"
    if pictures is None:
        source.write_text("hello")
    else:
        write(source, pictures)
    told = refused(capsys, command, "mri-speech", source, *bundles, "--out", tmp_path / "out")
    assert re.search(sentence, told)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--mask", "300,10 10,10 10,90"],
            "mask polygon: got a point at 300,10, expected points within 0 … 256",
        ),
        (["--mask", "1,10 10,10"], "mask polygon: got 2 different points, expected at least 3"),
        (["--mask", "lips"], "--mask: got «lips», expected lip, tongue, or the points"),
        (["--mask", "lip", "--alpha", "2"], "--alpha: got 2.0, expected 0"),
        (["--alpha", "0.2"], "--alpha: got 0.2 without --mask"),
        (
            ["--scaler", "scaler.json"],
            "scaler.json: mean: got 3 numbers, expected 5, one a mel band of the net",
        ),
        (["--scaler", "none.json"], "none.json: got no such file, expected a scaler.json"),
        (["--mode", "fast"], "--mode: got 'fast', expected full or window"),
        (["--window", "3"], "--window: got 3 in mode full"),
        (["--max-frames", "0"], "--max-frames: got 0, expected at least 1"),
        (["--phase", "gla"], "No such option: --phase"),
    ],
)
def test_options_that_are_refused(
    bundles: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "000.npy", frames(3))
    (tmp_path / "scaler.json").write_text('{"mean": [1, 2, 3], "std": [1, 2, 3]}')
    before = sorted(tmp_path.iterdir())
    assert sentence in refused(capsys, "run", "mri-speech", "000.npy", *bundles, *options, "--out", "out")
    assert sorted(tmp_path.iterdir()) == before


def test_bundles_that_are_refused(
    bundles: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "000.npy", frames(3))
    vocoder, acoustic = bundles[:2], bundles[2:]
    run = ["run", "mri-speech", source, "--out", tmp_path / "out"]
    cases: list[tuple[list[str], str]] = [
        ([], "bundles of mri-speech: got none of mri-acoustic, expected one each of mri-acoustic, hifigan"),
        (acoustic, "bundles of mri-speech: got none of hifigan"),
        (vocoder * 2, "bundles of mri-speech: got two of the net hifigan, expected one each of"),
        ([*bundles, *vocoder], "bundles of mri-speech: got 3, expected one each of"),
        ([*acoustic, "--bundle", str(tmp_path / "gone")], "gone: got no such folder"),
    ]
    for given, sentence in cases:
        assert sentence in refused(capsys, *run, *given)
    other = small_bundles.write_vocoder(tmp_path / "other")
    told = refused(capsys, *run, *acoustic, "--bundle", other)
    assert "other: sample rate: got 8000, expected 1000, as in the mri-acoustic bundle" in told
    assert not (tmp_path / "out").exists()


def test_masks_on_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "000.npy", frames(5, 84))
    out = tmp_path / "masked.npy"
    call("data", "mask", source, "--out", out, "--mask", "lip", "--alpha", 0, "--blur", 1)
    assert "masked.npy: 5 frames, lip at 0" in capsys.readouterr().out
    masked = np.load(out)
    # the rectangle from 8,84 to 43,156 of 256, on 84 pixels
    assert (masked[:, 30:50, 4:14] == 0).all()
    np.testing.assert_array_equal(masked[:, :27], frames(5, 84)[:, :27])
    assert "got an existing file" in refused(capsys, "data", "mask", source, "--out", out, "--mask", "lip")
    told = refused(capsys, "data", "mask", source, "--out", source, "--mask", "lip", "--overwrite")
    assert "got a path inside of the input" in told
    np.testing.assert_array_equal(np.load(source), frames(5, 84))
    assert "--blur: got 0 pixels" in refused(
        capsys, "data", "mask", source, "--out", tmp_path / "b.npy", "--mask", "lip", "--blur", 0
    )


# the real net ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[MriAcoustic, Path]:
    """A tiny mri-acoustic in torch, with the mel of the small HiFi-GAN, and its bundle."""
    folder = tmp_path_factory.mktemp("trained")
    hifigan = small_nets.CONFIG
    mel = replace(
        LAYOUTS["padded"],
        sample_rate=hifigan.sampling_rate,
        n_fft=hifigan.n_fft,
        win_length=hifigan.win_size,
        hop_length=hifigan.hop_size,
        n_mels=hifigan.num_mels,
    )
    statistics = {"mel_mean": (-20.0,) * mel.bands, "mel_std": tuple(np.linspace(3, 9, mel.bands).tolist())}
    config = replace(MRI_ACOUSTIC_PRESETS["tiny"], mel=mel, window=5, **statistics)  # type: ignore[arg-type]
    torch.manual_seed(0)
    net = MriAcoustic(config).eval().requires_grad_(False)
    torch.save(net.state_dict(), folder / "net.pth")
    export(
        "mri-acoustic",
        folder / "bundle",
        checkpoint=folder / "net.pth",
        config=config.to_json(),
        precisions=["fp32"],
    )
    return net, folder / "bundle"


@pytest.mark.parametrize("mode", ["full", "window"])
@pytest.mark.parametrize("backend", ["onnxruntime", "mil"])
def test_the_net_says_what_it_says_in_torch(
    trained: tuple[MriAcoustic, Path], small_hifigan: Path, tmp_path: Path, mode: str, backend: str
) -> None:
    net, bundle = trained
    source = write(tmp_path / "000.npy", frames(11, 48))
    pack = write_reference(
        "mri-speech", source, [bundle, small_hifigan], tmp_path / "pack", mode=mode, backend=backend
    )
    prepared = torch.from_numpy(prepare_frames(frames(11, 48), 32))[None, :, None]
    answer = net(prepared) if mode == "full" else net.windowed(prepared)
    np.testing.assert_allclose(read_array(pack / "mel_standardised.npy"), answer[0].numpy(), atol=1e-4)
    features = net.maps(prepared).mean((3, 4))[0]
    np.testing.assert_allclose(read_array(pack / "features.npy"), features.numpy(), atol=1e-4)
    decibels = answer[0].numpy() * np.array(net.config.mel_std) - 20
    np.testing.assert_allclose(read_array(pack / "mel_db.npy"), decibels, atol=1e-3)
    assert read_array(pack / "wav.npy").shape == (11 * small_nets.CONFIG.hop_size,)
    told = json.loads((pack / "VALIDATION_INSTRUCTIONS.json").read_text())
    assert told["files"]["features.npy"].startswith("(11, 16) float32")
