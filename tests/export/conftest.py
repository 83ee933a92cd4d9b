"""Bundles that several test modules share, exported once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import small_nets

from edge_export.convert import export


@pytest.fixture(scope="session")
def small_hifigan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small HiFi-GAN in both targets and precisions, random weights."""
    out = tmp_path_factory.mktemp("shared") / "hifigan"
    export("hifigan", out, random=1, config=small_nets.CONFIG.to_json(), frame_buckets=[16, 24])
    return out


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The AudioEncoder in both targets, fp32, random weights."""
    out = tmp_path_factory.mktemp("shared") / "audio-encoder"
    export("audio-encoder", out, random=1, precisions=["fp32"])
    return out
