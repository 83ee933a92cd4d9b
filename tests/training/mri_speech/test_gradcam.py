"""Grad-CAM against finite differences of the net, and what the command writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tests.training.mri_speech.wandering_spot import FRAMES, MEAN, STATISTICS, STD, TINY, pictures, tiny

from edge_runtime.errors import CheckpointError, ConfigError, EdgeError, InputError, TargetError
from edge_runtime.media.video import prepare_frames
from edge_training.mri_speech.gradcam import (
    FormantCam,
    enlarged,
    formant_bins,
    gradcam,
    overlay,
    parse_band,
)
from edge_training.mri_speech.mri_acoustic import LAYOUTS, MRI_ACOUSTIC_PRESETS, MriAcoustic


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    (folder / "config.json").write_text(json.dumps(TINY.to_json()))
    torch.save({"model_state_dict": tiny().state_dict()}, folder / "best.pt")
    return folder / "best.pt"


def as_the_net_takes_them() -> NDArray[np.float32]:
    return prepare_frames(pictures(), TINY.image_size)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.npy"
    np.save(path, pictures(48))
    return path


# ---- bands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "bins", "legacy"),
    [("F1:300-900", range(7, 21), range(9, 21)), ("F2:900-2500", range(21, 45), range(21, 39))],
)
def test_bins_are_slaneys_and_on_request_the_origins(text: str, bins: range, legacy: range) -> None:
    for mel in LAYOUTS.values():
        assert formant_bins(parse_band(text), mel) == bins
        assert formant_bins(parse_band(text), mel, legacy_bins=True) == legacy


@pytest.mark.parametrize(
    "text", ["F1", "F1:300", "F1:900-300", "F1:300-300", ":300-900", "../F1:1-2", "F1:a-b", "F1:0-inf"]
)
def test_other_forms_of_a_band_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--formant-band: got '.*', expected NAME:LOW-HIGH in Hz"):
        parse_band(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "F5:4000-6000",
            r"--formant-band F5: got 6000 Hz, expected at most the Nyquist frequency, 5706.5 Hz",
        ),
        ("X:42-43", r"--formant-band: band 'X': got 42 … 43 Hz, expected the centre of a mel band"),
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_bands_that_the_mel_does_not_have_are_refused(text: str, sentence: str, legacy: bool) -> None:
    with pytest.raises(ConfigError, match=sentence):
        formant_bins(parse_band(text), LAYOUTS["padded"], legacy_bins=legacy)


# ---- maps -------------------------------------------------------------------------------------------------


def power_by_hand(net: MriAcoustic, maps: torch.Tensor, bins: range) -> torch.Tensor:
    """P (T,) of maps (T, C, h, h)."""
    mel = net.head(net.rnn(maps.mean((2, 3))[None]))[0]
    decibels = mel * torch.tensor(STD, dtype=mel.dtype) + torch.tensor(MEAN, dtype=mel.dtype)
    power: torch.Tensor = (10 ** (decibels[:, list(bins)] / 10)).sum(1)
    return power


@pytest.mark.parametrize("target", [None, 4])
def test_maps_are_those_of_finite_differences(target: int | None) -> None:
    """A channel's weight: how the logarithm of the power grows when the whole channel of a picture does."""
    net, bins, step = tiny(), range(7, 21), 1e-5
    prepared = as_the_net_takes_them()
    cam = FormantCam(net, STATISTICS, prepared)
    ours = cam.sequence(bins) if target is None else cam.target(bins, target)

    double = tiny().double()
    with torch.no_grad():
        maps = double.maps(torch.from_numpy(prepared)[None].double())[0]

        def number(shifted: torch.Tensor) -> torch.Tensor:
            power = power_by_hand(double, shifted, bins)
            return (power.mean() if target is None else power[target]).log()

        weights = torch.zeros(maps.shape[:2], dtype=torch.float64)
        for picture, channel in np.ndindex(*maps.shape[:2]):
            shift = torch.zeros_like(maps)
            shift[picture, channel] = step
            weights[picture, channel] = (number(maps + shift) - number(maps - shift)) / (2 * step)
        # a shift of the whole channel adds up the gradient over its places; Grad-CAM takes their mean
        weights = weights / maps[0, 0].numel()
        expected = F.relu((weights[:, :, None, None] * maps).sum(1)).numpy()
    expected = expected if target is None else expected[target : target + 1]
    assert (expected > 0).any()
    assert (expected == 0).any(), "what makes the band quiet is not shown"
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-4 * expected.max())


def test_nothing_of_the_net_is_left_changed() -> None:
    net = tiny().train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    FormantCam(net, STATISTICS, as_the_net_takes_them()).sequence(range(7, 21))
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(layer.training for layer in net.modules()), "batch norm and dropout as in inference"
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_backbone_in_parts_is_the_backbone_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net, prepared = tiny(), as_the_net_takes_them()
    whole = FormantCam(net, STATISTICS, prepared).sequence(range(7, 21))
    monkeypatch.setattr("edge_training.mri_speech.gradcam.AT_ONCE", 2)
    parts = FormantCam(net, STATISTICS, prepared).sequence(range(7, 21))
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-5 * whole.max())


def test_enlarging_is_opencvs_and_each_map_takes_0_to_1() -> None:
    cams = np.random.default_rng(1).random((3, 4, 4)).astype(np.float32)
    cams[2] = 0.0
    large = enlarged(cams, 48, 48)
    for one, cam in zip(large[:2], cams, strict=False):
        theirs = cv2.resize(cam, (48, 48), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(one, (theirs - theirs.min()) / np.ptp(theirs), rtol=0, atol=1e-5)
        assert (one.min(), one.max()) == (0.0, 1.0)
    assert not large[2].any(), "a map that is nothing stays so"


def test_scale_does_not_matter_however_quiet() -> None:
    cams = np.random.default_rng(2).random((1, 4, 4)).astype(np.float32)
    np.testing.assert_allclose(enlarged(cams * 1e-12, 16, 16), enlarged(cams, 16, 16), rtol=0, atol=1e-5)


def test_an_overlay_mixes_frame_and_jet() -> None:
    frame = np.full((2, 2), 100, np.uint8)
    heat = np.array([[0.0, 1.0], [0.5, 0.5]], np.float32)
    mixed = overlay(frame, heat, 0.5)
    assert mixed.dtype == np.uint8
    assert mixed[0, 0, 2] > mixed[0, 0, 0], "blue where nothing is"
    assert mixed[0, 1, 0] > mixed[0, 1, 2], "red where most is"
    np.testing.assert_array_equal(overlay(frame, heat, 0.0), np.full((2, 2, 3), 100))
    np.testing.assert_array_equal(overlay(frame / 255.0, heat, 0.5), mixed)


# ---- the command ------------------------------------------------------------------------------------------


def test_a_video_gives_arrays_pictures_and_a_slow_video(
    checkpoint: Path, video: Path, tmp_path: Path
) -> None:
    out = gradcam(video, checkpoint, tmp_path / "cam", target_frames=[0, 8])
    names = {path.name for path in out.iterdir()}
    ends = ["sequence.npy", "average.npy", "average.png", "slow.mp4"]
    ends += [f"frame{n:04d}{kind}.png" for n in (0, 8) for kind in ("", "_detail")]
    assert names == {"gradcam.json"} | {f"gradcam_{band}_{end}" for band in ("F1", "F2") for end in ends}
    sequence = np.load(out / "gradcam_F1_sequence.npy")
    assert (sequence.shape, sequence.dtype) == ((FRAMES, 48, 48), np.float32)
    assert (sequence.min(), sequence.max()) == (0.0, 1.0)
    np.testing.assert_allclose(np.load(out / "gradcam_F1_average.npy"), sequence.mean(0), rtol=0, atol=1e-6)
    sizes = {"average": (48, 48, 3), "frame0008": (48, 48, 3), "frame0008_detail": (48, 3 * 48, 3)}
    for end, size in sizes.items():
        assert np.asarray(cv2.imread(str(out / f"gradcam_F2_{end}.png"))).shape == size
    slow = cv2.VideoCapture(str(out / "gradcam_F1_slow.mp4"))
    assert slow.get(cv2.CAP_PROP_FPS) == 5
    assert slow.get(cv2.CAP_PROP_FRAME_COUNT) == 3 * FRAMES
    shown = slow.read()[1][:, :, ::-1].astype(float)
    assert np.abs(shown - overlay(np.load(video)[0], sequence[0], 0.6)).mean() < 12, "but for the codec"
    said = json.loads((out / "gradcam.json").read_text())
    assert [(band["first_bin"], band["last_bin"]) for band in said["bands"]] == [(7, 20), (21, 44)]
    with pytest.raises(TargetError, match="cam"):
        gradcam(video, checkpoint, out)
    (out / "gradcam_notes.txt").write_text("mine")
    with pytest.raises(TargetError, match="did not write"):
        gradcam(video, checkpoint, out, bands=["F1:300-900"], overwrite=True)
    (out / "gradcam_notes.txt").unlink()
    gradcam(video, checkpoint, out, bands=["F1:300-900"], overwrite=True)
    assert not list(out.glob("*F2*"))


def test_odd_sides_and_floats_are_shown_too(checkpoint: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "odd.npy", (pictures(33) / 255).astype(np.float32))
    out = gradcam(tmp_path / "odd.npy", checkpoint, tmp_path / "cam", bands=["F1:300-900"])
    assert np.load(out / "gradcam_F1_sequence.npy").shape == (FRAMES, 33, 33)


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        (
            {"bands": ["F1:300-900", "F1:1-2"]},
            ConfigError,
            "--formant-band: got F1, F1, expected .* different",
        ),
        ({"bands": ["F9:900-7000"]}, ConfigError, "--formant-band F9: got 7000 Hz"),
        ({"target_frames": [3, 9]}, ConfigError, "--target-frames: got 9, expected 0 to 8"),
        ({"target_frames": [-1]}, ConfigError, "--target-frames: got -1"),
        ({"device": "tpu"}, ConfigError, "--device: got tpu, expected cpu or cuda"),
        ({"scaler": "none.json"}, InputError, "none.json"),
    ],
)
def test_refusals_leave_nothing(
    checkpoint: Path,
    video: Path,
    tmp_path: Path,
    options: dict[str, Any],
    error: type[EdgeError],
    sentence: str,
) -> None:
    with pytest.raises(error, match=sentence):
        gradcam(video, checkpoint, tmp_path / "cam", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_net_without_mean_and_deviation_is_refused(video: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(MRI_ACOUSTIC_PRESETS["tiny"].to_json()))
    torch.save(tiny().state_dict(), tmp_path / "best.pt")
    with pytest.raises(ConfigError, match=r"scaler: got no mean .*expected --scaler scaler.json"):
        gradcam(video, tmp_path / "best.pt", tmp_path / "cam")
    (tmp_path / "scaler.json").write_text(json.dumps({"mean": MEAN, "std": STD}))
    gradcam(video, tmp_path / "best.pt", tmp_path / "cam", scaler=tmp_path / "scaler.json")


def test_videos_and_weights_that_are_none_are_refused(checkpoint: Path, video: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.zeros((2, 32, 64), np.uint8))
    np.save(tmp_path / "colour.npy", np.arange(2 * 32 * 32 * 3, dtype=np.uint8).reshape(2, 32, 32, 3))
    np.save(tmp_path / "none.npy", np.zeros((0, 32, 32), np.uint8))
    for name in ("wide.npy", "colour.npy", "none.npy", "absent.mp4"):
        with pytest.raises(InputError, match=name):
            gradcam(tmp_path / name, checkpoint, tmp_path / "cam")
    with pytest.raises(CheckpointError, match=r"clip.npy"):
        gradcam(video, video, tmp_path / "cam")
    assert not (tmp_path / "cam").exists()
