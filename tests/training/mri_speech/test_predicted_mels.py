"""Predicted mels: the vocoder's scale, whose mean and deviation, modes, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.training.mri_speech.mri_clips import write_clips

from edge_runtime.dsp.mel import PRESETS
from edge_runtime.errors import ConfigError, InputError, TargetError
from edge_training.mri_speech.mri_acoustic import MriAcoustic, MriAcousticConfig
from edge_training.mri_speech.partial import PREDICTED as FOLDER
from edge_training.mri_speech.predicted_mels import Predictor, open_predictor, predicted_mels
from edge_training.mri_speech.preparation import Preparation, prepare
from edge_training.vocoder.data import read_mel

TINY = MriAcousticConfig(image_size=16, backbone="tiny", rnn_hidden=8)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_clips(tmp_path_factory.mktemp("mri"), (11, 14))
    return prepare(root / "videos", root / "wavs", root / "data", Preparation(size=16), workers=1).folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_file(MriAcoustic(TINY).state_dict(), tmp_path / "net.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(TINY.to_json()))
    return tmp_path / "net.safetensors"


def constant(value: float, config: MriAcousticConfig = TINY) -> Predictor:
    return Predictor(config, lambda frames: np.full((len(frames), 64), value, np.float32))


def test_mels_are_what_the_vocoder_reads(data: Path, tmp_path: Path) -> None:
    """A prediction of 0 is the mean mel; of 1, a deviation above it."""
    scaler = json.loads((data / "scaler.json").read_text())
    for value in (0.0, 1.0):
        out = predicted_mels(data, constant(value), tmp_path / f"{value}")
        decibels = np.array(scaler["mean"]) + value * np.array(scaler["std"])
        expected = np.log(np.maximum(10 ** (decibels / 10), 1e-5))
        mel = read_mel(out / "c1.npy", PRESETS["rtmri"])
        assert (mel.shape, mel.dtype) == ((64, 14), np.dtype(np.float32))
        np.testing.assert_allclose(mel, np.repeat(expected[:, None], 14, axis=1), atol=1e-4)


def test_they_lie_in_the_data_by_default(data: Path) -> None:
    said: list[str] = []
    assert predicted_mels(data, constant(0), progress=said.append) == data / FOLDER
    assert said == ["1/2: c0", "2/2: c1"]
    assert sorted(path.name for path in (data / FOLDER).iterdir()) == [
        "c0.npy", "c1.npy", "predicted_mels.json",
    ]  # fmt: skip
    with pytest.raises(TargetError, match="an existing folder"):
        predicted_mels(data, constant(0))
    predicted_mels(data, constant(1), overwrite=True)


def test_the_nets_own_statistics_come_first(data: Path, tmp_path: Path) -> None:
    own = replace(TINY, mel_mean=(-20.0,) * 64, mel_std=(2.0,) * 64)
    mel = np.load(predicted_mels(data, constant(1, own), tmp_path / "own") / "c0.npy")
    np.testing.assert_allclose(mel, np.log(10**-1.8), rtol=1e-5)
    (tmp_path / "scaler.json").write_text(json.dumps({"mean": [-10.0] * 64, "std": [1.0] * 64}))
    given = predicted_mels(data, constant(1, own), tmp_path / "given", scaler=tmp_path / "scaler.json")
    np.testing.assert_allclose(np.load(given / "c0.npy"), np.log(10**-0.9), rtol=1e-5)


def test_a_checkpoint_of_several_sets(tmp_path: Path) -> None:
    state = MriAcoustic(TINY).state_dict()
    other = {key: value + 1 if key == "head.bias" else value for key, value in state.items()}
    torch.save({"model": state, "ema": other}, tmp_path / "both.pth")
    said: list[str] = []
    frames = np.zeros((4, 16, 16), np.float32)
    live, averaged = (
        open_predictor(tmp_path / "both.pth", weights=name, changes=TINY.to_json(), say=said.append).predict(
            frames
        )
        for name in (None, "ema")
    )
    np.testing.assert_allclose(averaged, live + 1, atol=1e-5)
    assert ["live weights of model taken" in said[0], "averaged (EMA) weights of ema taken" in said[1]] == [
        True
    ] * 2
    with pytest.raises(ConfigError, match="both, or options of a checkpoint beside a bundle"):
        open_predictor(bundle=tmp_path, weights="ema")


def test_modes_of_a_checkpoint(data: Path, checkpoint: Path) -> None:
    frames = np.load(data / "samples" / "c0" / "mri.npy")
    full, window = (open_predictor(checkpoint, mode=mode) for mode in ("full", "window"))
    net = MriAcoustic(TINY)
    torch.manual_seed(0)
    net.load_state_dict(MriAcoustic(TINY).state_dict())
    with torch.inference_mode():
        batch = torch.from_numpy(frames)[None]
        expected = net.eval()(batch)[0].numpy(), net.windowed(batch)[0].numpy()
    np.testing.assert_allclose(full.predict(frames), expected[0], atol=1e-6)
    np.testing.assert_allclose(window.predict(frames), expected[1], atol=1e-6)
    assert np.abs(expected[0] - expected[1]).max() > 1e-4


def test_the_configuration_may_be_the_datas(data: Path, checkpoint: Path) -> None:
    (checkpoint.parent / "config.json").unlink()
    entries = json.loads((data / "meta.json").read_text()) | {"backbone": "tiny", "rnn_hidden": 8}
    (checkpoint.parent / "meta.json").write_text(json.dumps(entries))
    config = open_predictor(checkpoint, config=checkpoint.parent / "meta.json").config
    assert (config.image_size, config.mel_mean) == (16, tuple(entries["mean"]))


def test_refusals(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mode: got 'both'"):
        open_predictor(checkpoint, mode="both")
    with pytest.raises(ConfigError, match="checkpoint and bundle: got neither"):
        open_predictor()
    with pytest.raises(ConfigError, match="checkpoint and bundle: got both"):
        open_predictor(checkpoint, tmp_path / "bundle")
    with pytest.raises(ConfigError, match=r"c0: got pictures of 16 × 16 pixels, expected 32 × 32.*--size 32"):
        predicted_mels(data, constant(0, replace(TINY, image_size=32)), tmp_path / "out")
    (tmp_path / "scaler.json").write_text(json.dumps({"mean": [0.0] * 80, "std": [1.0] * 80}))
    with pytest.raises(InputError, match=r"scaler.json: mean: got 80 numbers, expected 64"):
        predicted_mels(data, constant(0), tmp_path / "out", scaler=tmp_path / "scaler.json")
    with pytest.raises(InputError, match=r"meta.json: got no such file"):
        predicted_mels(tmp_path, constant(0), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stem", ["/ABS/x", "../x", "..", "a/b", ""])
def test_nothing_is_written_outside(stem: str, data: Path, tmp_path: Path) -> None:
    meta = json.loads((data / "meta.json").read_text()) | {"stems": [stem.replace("ABS", str(tmp_path))]}
    sample = data / "samples" / "c0"
    planted = tmp_path / "data"
    (planted / "samples").mkdir(parents=True)
    for place in (tmp_path / "x", planted / "x", tmp_path / "data" / "samples" / "a" / "b"):
        place.mkdir(parents=True)
        for kind in ("mri", "mel_db", "mask"):
            (place / f"{kind}.npy").write_bytes((sample / f"{kind}.npy").read_bytes())
    (planted / "meta.json").write_text(json.dumps(meta))
    (planted / "scaler.json").write_bytes((data / "scaler.json").read_bytes())
    with pytest.raises(InputError, match=r"meta\.json: got the name"):
        predicted_mels(planted, constant(0), tmp_path / "out")
    assert not list(tmp_path.rglob("x.npy"))
    assert not (tmp_path / "out").exists()


def test_only_predicted_mels_are_overwritten(data: Path, tmp_path: Path) -> None:
    (tmp_path / "arrays").mkdir()
    np.save(tmp_path / "arrays" / "measurement.npy", np.zeros(3))
    with pytest.raises(TargetError, match="did not write"):
        predicted_mels(data, constant(0), tmp_path / "arrays", overwrite=True)
    out = predicted_mels(data, constant(0), tmp_path / "out")
    np.save(out / "mine.npy", np.zeros(3))
    with pytest.raises(TargetError, match="did not write"):
        predicted_mels(data, constant(0), out, overwrite=True)
    (out / "mine.npy").unlink()
    predicted_mels(data, constant(0), out, overwrite=True)
