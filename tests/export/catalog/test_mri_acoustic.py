"""mri-acoustic as artifacts: any number of pictures and clips on every backend; mri2speech's files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from edge_export.backends import get_backend
from edge_export.catalog import NETS
from edge_export.convert import export
from edge_export.examples.video import tract_like
from edge_export.mil.program import Program
from edge_export.proof.verify import table, verify
from edge_runtime.errors import CheckpointError, ConfigError, InputError
from edge_runtime.store.bundle import Bundle, Lengths
from edge_training.mri_speech.mri_acoustic import MRI_ACOUSTIC_PRESETS, MriAcoustic, MriAcousticConfig

NET = NETS["mri-acoustic"]
TINY = MRI_ACOUSTIC_PRESETS["tiny"]
META = {
    "sr": 11413, "n_mels": 64, "n_fft": 2048, "win_length": 2048, "hop_length": 420, "preemph": 0.97,
    "resize_h": 32, "resize_w": 32, "ref_frames": 4, "stems": ["000", "001"],
}  # fmt: skip
SCALER: dict[str, Any] = {
    "mean": [-41.5 - band for band in range(64)],
    "std": [9.0] * 64,
    "count_frames": 108,
}


@pytest.fixture(scope="module")
def net() -> MriAcoustic:
    torch.manual_seed(2)
    net = MriAcoustic(TINY).eval()
    NET.random_start(net)
    return net


@pytest.fixture(scope="module")
def bundle(net: MriAcoustic, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("mri-acoustic")
    torch.save(net.state_dict(), folder / "best.pt")
    return export("mri-acoustic", folder / "bundle", checkpoint=folder / "best.pt", preset="tiny")


def pictures(clips: int, frames: int) -> NDArray[np.float32]:
    return tract_like(clips * frames, 32).reshape(clips, frames, 1, 32, 32)


def test_every_artifact_is_proved(bundle: Bundle) -> None:
    proof = verify(bundle)
    assert proof.passed, table(proof.rows)
    assert {row.backend for row in proof.rows if row.status == "PASS"} >= {
        "onnxruntime",
        "onnx-reference",
        "mil",
    }
    assert bundle.manifest.artifact("coreml").axes == {"batch": Lengths(1, 16), "frames": Lengths(1, 512)}


def test_the_lstm_of_a_half_precision_package_has_half_precision_weights(bundle: Bundle) -> None:
    """It computes in float32, as iOS 16 has no other; its weights are stored as float16 and widened."""
    program = Program.open(bundle.artifact("coreml", "fp16"))
    made = {op.name: op.type for op in program.block.operations}
    (lstm,) = (op for op in program.block.operations if op.type == "lstm")
    casts = [name for name in lstm.reads() if made.get(name) == "constexpr_cast"]
    assert len(casts) >= 4  # of both directions: from the input, and from the state


@pytest.mark.parametrize(
    ("clips", "frames"), [(1, 1), (1, 4), (1, 5), (1, 54), (1, 300), (2, 1), (3, 5), (16, 2)]
)
@pytest.mark.parametrize(
    ("backend", "target"),
    [("onnxruntime", "onnx"), ("openvino", "onnx"), ("onnx-reference", "onnx"), ("mil", "coreml")],
)
def test_any_number_of_pictures_and_clips_equals_pytorch(
    bundle: Bundle, net: MriAcoustic, backend: str, target: str, clips: int, frames: int
) -> None:
    if reason := get_backend(backend).unavailable():
        pytest.skip(reason)
    video = pictures(clips, frames)
    with torch.no_grad():
        truth = net(torch.from_numpy(video)).numpy()
    mel = get_backend(backend).open(bundle.artifact(target, "fp32")).run({"frames": video})["mel"]
    assert mel.shape == (clips, frames, 64)
    np.testing.assert_allclose(mel, truth, rtol=0, atol=2e-5 * np.ptp(truth))


@pytest.mark.parametrize(("backend", "target"), [("onnxruntime", "onnx"), ("mil", "coreml")])
def test_both_directions_of_the_lstm_are_there(bundle: Bundle, backend: str, target: str) -> None:
    """Another first picture changes the second mel frame, another second picture the first."""
    session = get_backend(backend).open(bundle.artifact(target, "fp32"))
    video = pictures(1, 2)
    before = session.run({"frames": video})["mel"]
    for changed, seen in ((0, 1), (1, 0)):
        other = video.copy()
        other[0, changed] = 1 - other[0, changed]
        assert np.abs(session.run({"frames": other})["mel"] - before)[0, seen].max() > 1e-4


def test_the_example_is_an_mri_like_video() -> None:
    video = tract_like(4, 48)
    assert video.shape == (4, 48, 48)
    assert video.dtype == np.float32
    assert video.min() == 0.0
    assert 0.6 < video.max() <= 1.0
    still = np.abs(np.diff(video, axis=0)).mean(0)
    assert still[20:36, 10:34].mean() > 2 * still[:6].mean(), "the tongue moves, the air above does not"


# ---- weights from a seed ----------------------------------------------------------------------------------


def test_random_weights_say_mels_in_the_range_of_real_ones(tmp_path: Path) -> None:
    made = export(
        "mri-acoustic", tmp_path / "b", random=1, preset="tiny", targets=["onnx"], precisions=["fp32"]
    )
    inputs, outputs = made.reference("batch-1-frames-5")
    assert inputs["frames"].shape == (1, 5, 1, 32, 32)
    assert 0.5 < outputs["mel"].std() < 2
    assert made.manifest.config["mel_mean"] is None


# ---- checkpoints of mri2speech -----------------------------------------------------------------------------


def origin_checkpoint(net: MriAcoustic, path: Path) -> Path:
    """A file with the entries of mri2speech's training, optimizer and all."""
    optimizer = torch.optim.AdamW(net.parameters())
    torch.save(
        {
            "epoch": 3,
            "model_state_dict": net.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "scheduler_state_dict": torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer).state_dict(),
            "scaler_state_dict": {"scale": 1024.0, "growth_factor": 1.5},
            "val_loss": 0.4,
            "val_mse": 0.3,
            "train_loss": 0.35,
        },
        path,
    )
    return path


def exported(checkpoint: Path, out: Path, **options: Any) -> Bundle:
    return export(
        "mri-acoustic", out, checkpoint=checkpoint, targets=["onnx"], precisions=["fp32"], **options
    )


def test_meta_and_scaler_beside_the_origins_checkpoint_are_found(net: MriAcoustic, tmp_path: Path) -> None:
    checkpoint = origin_checkpoint(net, tmp_path / "mri_acoustic_model.pt")
    (tmp_path / "meta.json").write_text(
        json.dumps(META | {"backbone": "tiny", "rnn_hidden": TINY.rnn_hidden})
    )
    (tmp_path / "scaler.json").write_text(json.dumps(SCALER))
    made = exported(checkpoint, tmp_path / "bundle")
    config = MriAcousticConfig.from_json(made.manifest.config)
    assert config.layout == "legacy"
    assert config.mel_mean == tuple(SCALER["mean"])
    assert config.mel_std == tuple(SCALER["std"])
    assert made.manifest.front_end == config.mel
    assert "model_state_dict" in made.manifest.source.format
    inputs, outputs = made.reference("batch-2-frames-3")
    with torch.no_grad():
        np.testing.assert_array_equal(net(torch.from_numpy(inputs["frames"])).numpy(), outputs["mel"])


def test_a_config_json_goes_before_meta_json(net: MriAcoustic, tmp_path: Path) -> None:
    config = replace(TINY, mel_mean=(-30.0,) * 64, mel_std=(8.0,) * 64)
    (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
    (tmp_path / "meta.json").write_text(json.dumps(META))
    (tmp_path / "scaler.json").write_text(json.dumps(SCALER))
    torch.save({f"module.{key}": tensor for key, tensor in net.state_dict().items()}, tmp_path / "best.pt")
    made = exported(tmp_path / "best.pt", tmp_path / "bundle")
    assert MriAcousticConfig.from_json(made.manifest.config) == config, "its own mean, not the scaler's"


def test_a_preset_stands_for_a_config_that_is_not_there(net: MriAcoustic, tmp_path: Path) -> None:
    checkpoint = origin_checkpoint(net, tmp_path / "best.pt")
    with pytest.raises(
        ConfigError, match=r"no config.json or meta.json beside .*best.pt, expected --config FILE"
    ):
        exported(checkpoint, tmp_path / "bundle")
    (tmp_path / "scaler.json").write_text(json.dumps(SCALER))
    made = exported(checkpoint, tmp_path / "bundle", preset="tiny")
    assert made.manifest.config["mel_mean"] == SCALER["mean"]


def test_a_scaler_of_another_mel_size_is_refused(net: MriAcoustic, tmp_path: Path) -> None:
    checkpoint = origin_checkpoint(net, tmp_path / "best.pt")
    (tmp_path / "scaler.json").write_text(json.dumps({"mean": [0.0] * 80, "std": [1.0] * 80}))
    with pytest.raises(InputError, match=r"scaler.json: mean: got 80 numbers, expected 64, one a mel band"):
        exported(checkpoint, tmp_path / "bundle", preset="tiny")
    assert not (tmp_path / "bundle").exists()


def test_weights_of_another_size_name_the_tensor(net: MriAcoustic, tmp_path: Path) -> None:
    checkpoint = origin_checkpoint(net, tmp_path / "best.pt")
    with pytest.raises(
        CheckpointError,
        match=r"best.pt: got missing .*expected the 540 tensors of .*say backbone tiny; rnn_hidden 12",
    ):
        exported(checkpoint, tmp_path / "bundle", preset="b2")
