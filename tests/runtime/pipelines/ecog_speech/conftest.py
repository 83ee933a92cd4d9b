"""Bundles that the tests of the pipeline share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.recorded_ecog import recorded
from tests.small_ecog import STATEFUL, STREAMING, small_bundle

from edge_runtime.pipelines.ecog_speech.recordings import write_recording
from edge_runtime.store.bundle import Bundle


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("ecog-bundles")
    return {
        "decoder": small_bundle("ecog-decoder", folder / "decoder"),
        "synthesizer": small_bundle("formant-synthesizer", folder / "synthesizer"),
        "streaming": small_bundle("ecog-decoder", folder / "streaming", STREAMING),
        "stateful": small_bundle("ecog-decoder", folder / "stateful", STATEFUL),
    }


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ecog-recording") / "S1.h5"
    write_recording(path, recorded())
    return path
