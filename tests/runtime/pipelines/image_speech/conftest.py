"""The parts of small diffusion models, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import small_diffusion


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of bundles named by role: UNets, text encoders, VAE; nobody changes it."""
    return small_diffusion.write_parts(tmp_path_factory.mktemp("small") / "parts")
