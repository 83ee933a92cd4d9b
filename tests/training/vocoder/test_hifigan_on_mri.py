"""The rtMRI vocoder fine-tuned on predicted and true mels, as `data mri` leaves them: both wirings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.mri_speech.mri_run import prepare_clips

from edge_runtime.media.audio import read_audio
from edge_training.engine.trainer import TrainResult, train
from edge_training.mri_speech.mri_acoustic import MriAcousticConfig
from edge_training.mri_speech.partial import LISTS
from edge_training.mri_speech.predicted_mels import Predictor, predicted_mels
from edge_training.vocoder.hifigan import HifiGan
from edge_training.vocoder.hifigan_recipe import PRESETS, HifiGanFit, open_data
from edge_training.weights.reading import load_checkpoint, read_checkpoint

# the system's rates, its other sizes cut down
SMALL: dict[str, Any] = {
    "upsample_initial_channel": 16, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 5]],
    "segment_size": 2100, "batch_size": 2, "steps": 2, "log_every": 1, "validate_every": 2,
    "checkpoint_every": 2, "msd": {"scales": 1, "channels": [4, 8], "kernels": [15, 5], "strides": [1, 4],
                                   "groups": [1, 4]},
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared clips with mels of an acoustic model that always predicts the mean."""
    folder = prepare_clips(tmp_path_factory.mktemp("mri"))
    mean = Predictor(MriAcousticConfig(image_size=16), lambda frames: np.zeros((len(frames), 64), np.float32))
    predicted_mels(folder, mean)
    return folder


def configured(data: Path, preset: str) -> dict[str, Any]:
    mpd = {"periods": [2, 3], "channels": [4, 8], "padding": PRESETS[preset].mpd.padding}
    folders = {"mels_dir": "mels_ft_log_normalized", "extra_mels_dir": "mels_gt_log"}
    mels = {name: str(data / folder) for name, folder in folders.items()}
    return PRESETS[preset].to_json() | SMALL | mels | {"mpd": mpd}


def fine_tune(data: Path, out: Path, preset: str, **settings: Any) -> TrainResult:
    torch.set_num_threads(1)
    config = configured(data, preset) | settings
    return train("hifigan", data / LISTS, out, config=config, progress=False)


def test_items_mix_predicted_and_true_mels(data: Path) -> None:
    """Four of five have the true one; validation has the predicted one."""
    config = HifiGanFit.from_json(configured(data, "rtmri-origin"))
    source = open_data(config, data / LISTS)
    assert (len(source.names), len(source.validation_names)) == (4, 1)
    predicted = np.load(data / "mels_ft_log_normalized" / "c0.npy")[:, :1]  # constant over time
    items = [source.item(number % 4, np.random.default_rng(number)) for number in range(300)]
    true = sum(not np.allclose(item["mel"], predicted) for item in items) / len(items)
    assert true == pytest.approx(0.8, abs=0.06)
    assert all(item["wav"].shape == (2100,) and item["mel"].shape == (64, 5) for item in items)
    assert np.allclose(source.validation_item(0)["mel"], predicted)


def test_recordings_have_the_level_of_the_mels(data: Path) -> None:
    """mri2speech fine-tunes on wavs that are not divided by the corpus's peak, while its mels were."""
    peaks = [np.abs(read_audio(path).samples).max() for path in (data / LISTS / "wavs").iterdir()]
    assert max(peaks) == pytest.approx(1, abs=1e-4)


# its published fmax, 8000 Hz, is above half of 11 413 Hz
@pytest.mark.filterwarnings("ignore:fmax. got 6 of 64 mel bands empty")
@pytest.mark.parametrize("preset", ["rtmri", "rtmri-origin"])
def test_both_wirings_are_fine_tuned_and_loaded(preset: str, data: Path, tmp_path: Path) -> None:
    result = fine_tune(data, tmp_path / "first", preset)
    assert np.isfinite(result.metrics["validation/mel"])
    config = HifiGanFit.from_json(configured(data, preset)).net
    generator = HifiGan(config).eval()
    load_checkpoint(generator, read_checkpoint(result.weights), net="hifigan")
    mel = torch.from_numpy(np.load(data / "mels_gt_log" / "c1.npy"))[None]
    with torch.inference_mode():
        assert generator(mel).shape == (1, 1, 11 * 420)
    # and another run goes on from the pair of files
    pair = tmp_path / "first" / "checkpoints" / "g_00000002"
    assert fine_tune(data, tmp_path / "second", preset, start_from=str(pair), steps=1).steps == 1
