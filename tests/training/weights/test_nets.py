"""What the loader knows of each net, and that it is what the catalogue knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_export.catalog import NETS as CATALOG
from edge_training.mri_speech.mri_acoustic import MRI_ACOUSTIC_PRESETS
from edge_training.weights.nets import NETS, loadable, settle_scaler
from edge_training.weights.reading import Checkpoint


@pytest.mark.parametrize("name", NETS)
def test_the_catalogue_agrees(name: str) -> None:
    ours, theirs = loadable(name), CATALOG[name]
    assert ours.name == theirs.name
    assert set(theirs.config_files) <= set(ours.config_files)
    assert set(theirs.presets) <= set(ours.presets)
    for preset in theirs.presets:
        config = ours.preset(preset)
        assert config == theirs.preset(preset)
        assert ours.config_from_json(config.to_json()) == config


def test_every_net_with_weights_is_here() -> None:
    assert {name for name, net in CATALOG.items() if net.has_weights} >= set(NETS)


def test_the_scaler_beside_the_weights(tmp_path: Path) -> None:
    config = MRI_ACOUSTIC_PRESETS["tiny"]
    checkpoint = Checkpoint({}, "", "", "w", path=str(tmp_path / "w"))
    said: list[str] = []
    assert settle_scaler(config, checkpoint, said) == config
    bands = [0.5] * config.n_mels
    (tmp_path / "scaler.json").write_text(f'{{"mean": {bands}, "std": {bands}}}')
    assert settle_scaler(config, checkpoint, said).mel_mean == tuple(bands)
    assert said == ["mean and deviation of the mel taken from the scaler.json beside the checkpoint"]
