"""Silenced electrodes: a decoder that listens to one of them, patches, maps, files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.recorded_ecog import recorded
from tests.training.ecog_speech.spoken import spoken
from torch import Tensor, nn

from edge_runtime.errors import ConfigError
from edge_training.ecog_speech.data import EcogData, EcogSource
from edge_training.ecog_speech.formant_synthesizer import FormantSynthesizer, FormantSynthesizerConfig
from edge_training.ecog_speech.occlusion import (
    COMPONENTS,
    electrode_groups,
    heat_map,
    noise_level,
    occlude,
    write_occlusion,
)

LOUD, PITCH = 5, 10  # electrodes


class Listener(nn.Module):
    """Loudness from one electrode, pitch from another."""

    def forward(self, ecog: Tensor) -> dict[str, Tensor]:
        parameters = spoken(128, len(ecog))
        parameters["loudness"] = 0.01 * (1e-3 + ecog[:, 16:, LOUD].abs()).unsqueeze(1)
        parameters["f0_hz"] = 200 + 20 * ecog[:, 16:, PITCH].unsqueeze(1)
        return parameters


@pytest.fixture(scope="module")
def data() -> EcogData:
    return EcogData(EcogSource(Path("."), test_trials=2), [recorded()])


@pytest.fixture(scope="module")
def synthesizer() -> FormantSynthesizer:
    torch.manual_seed(0)
    return FormantSynthesizer(FormantSynthesizerConfig(bins=128, harmonics=4, filter_samples=8)).eval()


def test_the_map_shows_who_is_listened_to(
    data: EcogData, synthesizer: FormantSynthesizer, tmp_path: Path
) -> None:
    found = occlude(Listener(), synthesizer, data, electrode_groups(16))
    assert set(found.changes) == {"pcc", *COMPONENTS}
    assert int(np.argmax(found.map("loudness"))) == LOUD
    assert int(np.argmax(found.map("f0_hz"))) == PITCH
    assert np.count_nonzero(found.changes["loudness"]) == 1
    assert int(np.argmax(found.map("pcc"))) == LOUD
    assert not found.changes["amplitude_formants_noise"].any()
    values = np.arange(16.0)
    assert np.array_equal(found.blurred(values), values.reshape(4, 4))  # single electrodes blur nothing
    folder = write_occlusion(tmp_path / "maps", found, noise=dict.fromkeys(found.changes, 0.1))
    assert np.array_equal(np.load(folder / "loudness.npy"), found.map("loudness"))
    rows = list(csv.reader((folder / "occlusion.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 1 + 16 + 1
    assert rows[1 + LOUD][0] == "1-1"
    assert (folder / "pcc.png").is_file()
    assert noise_level([found], "pcc") > 0


def test_patches_and_regions(data: EcogData, synthesizer: FormantSynthesizer) -> None:
    assert len(electrode_groups(16, 2)) == 9
    assert electrode_groups(16, 2)["0-0"] == (0, 1, 4, 5)
    assert len(electrode_groups(225)) == 128
    found = occlude(Listener(), synthesizer, data, {"upper": range(8), "lower": range(8, 16)}, trials=1)
    assert found.changes["loudness"][0] > found.changes["loudness"][1] == 0
    assert found.map("loudness").shape == (4, 4)


def test_cells_without_an_electrode_are_grey() -> None:
    picture = heat_map(np.array([[0.0, np.nan], [1.0, 0.5]]))
    assert picture.shape == (48, 48, 3)
    assert (picture[:24, 24:] == 128).all()


def test_electrodes_that_are_none_are_refused(data: EcogData, synthesizer: FormantSynthesizer) -> None:
    with pytest.raises(ConfigError, match=r"electrodes: got 16, 99, expected 0 … 15"):
        occlude(Listener(), synthesizer, data, {"a": (1, 16, 99)})
    with pytest.raises(ConfigError, match=r"patch: got 5, expected 1 … 4"):
        electrode_groups(16, 5)
