"""Shares of maps on the articulators: known maps, and the command on a small net."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.mri_speech.wandering_spot import TINY, pictures, tiny

from edge_training.mri_speech import regions


def test_regions_hold_what_they_are_named_after() -> None:
    parts = regions.regions()
    assert parts["lips"][120, 25]
    assert parts["tongue"][130, 90]
    assert not parts["tongue"][165, 45]
    assert parts["tongue and jaw"][165, 45], "the mandible"
    assert (parts["tongue and jaw"] >= parts["tongue"]).all()
    assert parts["lips"].mean() == pytest.approx(37 * 73 / 256**2, rel=0.01)


def test_a_map_has_the_share_that_lies_inside() -> None:
    cams = np.zeros((2, 8, 8), np.float32)
    cams[0, 4, 3] = 5.0  # around (112, 144): the tongue
    shares = regions._shares(cams)
    tongue = regions.regions()["tongue"]
    np.testing.assert_allclose(shares.sum(axis=(1, 2)), 1.0)
    assert regions._inside(shares[:1], tongue) > 0.7
    assert regions._inside(shares[1:], tongue) == pytest.approx(tongue.mean()), (
        "nothing is the same everywhere"
    )
    np.testing.assert_allclose(regions._centres(shares), [[111.5, 143.5], [127.5, 127.5]], atol=0.01)


def test_the_command_tells_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY.to_json()))
    torch.save(tiny().state_dict(), tmp_path / "best.pt")
    np.save(tmp_path / "clip.npy", pictures(256))
    given = ["--checkpoint", str(tmp_path / "best.pt"), "--json", str(tmp_path / "f.json")]
    assert regions.main([str(tmp_path / "clip.npy"), *given]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("F1 ")
    assert "lips hidden" in printed
    figures = json.loads((tmp_path / "f.json").read_text())
    assert list(figures) == ["F1", "F2"]
    values = figures["F1"]
    assert 0 <= values["tongue: share"] <= values["tongue and jaw: share"] <= 1
    assert 0 < values["moved, lips hidden"] <= 1
    assert values["power, lip hidden, dB"] != 0.0
    # the control patch is black already: nothing is hidden, nothing moves
    assert values["moved, control hidden"] < 0.01


def test_refusals_are_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert regions.main([str(tmp_path / "a.npy"), "--checkpoint", str(tmp_path / "best.pt")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert told.count("\n") == 1
