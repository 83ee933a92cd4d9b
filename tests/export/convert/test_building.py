"""What a configuration rules out is refused before weights are read or drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import small_bundles, small_mri

from edge_export.catalog import NETS
from edge_export.convert import export
from edge_runtime.errors import BundleError


@pytest.mark.parametrize(
    ("statistics", "sentence"),
    [
        ({}, r"^--random 0: got no mel_mean and mel_std, expected .* --config FILE with both$"),
        (
            {"mel_mean": [-40.0] * 64, "mel_std": [9.0] * 64},
            r"v: sample rate: got 1000, expected 11413",
        ),
    ],
)
def test_a_net_that_nothing_makes_sound_of_is_refused_at_once(
    tmp_path: Path, statistics: dict[str, list[float]], sentence: str
) -> None:
    vocoder = small_bundles.write_vocoder(tmp_path / "v", front_end=small_mri.FRONT_END)
    config = NETS["mri-acoustic"].preset("tiny").to_json() | statistics
    said: list[str] = []
    with pytest.raises(BundleError, match=sentence):
        export(
            "mri-acoustic", tmp_path / "out", random=0, config=config, gate=True, beside=vocoder,
            progress=said.append,
        )  # fmt: skip
    assert said == ["random weights from seed 0"]
    assert not (tmp_path / "out").exists()
