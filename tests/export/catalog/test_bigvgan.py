"""bigvgan from the catalogue to proved artifacts, and through the vocoder pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge_export.assets import SENTENCE
from edge_export.convert import export
from edge_export.proof.verify import verify
from edge_export.run import run
from edge_runtime.media.audio import read_audio
from edge_runtime.pipelines.vocoder.pipeline import Vocoder
from edge_runtime.store.bundle import open_bundle
from edge_training.vocoder.bigvgan import BigVgan, BigVganConfig


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bigvgan") / "bundle"
    export("bigvgan", out, random=3, preset="tiny", frame_buckets=[32], precisions=["fp32"])
    return out


def test_every_artifact_is_proved_and_so_is_the_geometry(bundle: Path) -> None:
    result = verify(bundle)
    assert result.passed, [row for row in result.rows if row.status == "FAIL"]
    worst = max(row.comparison.max_abs for row in result.rows if row.comparison and row.precision == "fp32")
    assert worst < 1e-5


def test_half_precision_is_proved(tmp_path: Path) -> None:
    export("bigvgan", tmp_path / "b", random=3, preset="tiny", targets=["onnx"], precisions=["fp16"])
    assert verify(tmp_path / "b", backends=["onnxruntime"]).passed


def test_the_pipeline_runs_it_in_chunks(bundle: Path, tmp_path: Path) -> None:
    whole, chunked = Vocoder(bundle), Vocoder(bundle, chunk_frames=40)
    mel = whole.mel(read_audio(SENTENCE, 8000).samples[:6000])
    np.testing.assert_allclose(chunked.synthesize(mel), whole.synthesize(mel), atol=2e-6)
    out = run("vocoder", SENTENCE, [bundle], tmp_path / "out")
    assert read_audio(out / "sentence_generated.wav").sample_rate == 8000


def test_the_manifest_rebuilds_the_net(bundle: Path) -> None:
    manifest = open_bundle(bundle).manifest
    config = BigVganConfig.from_json(manifest.config)
    assert manifest.front_end == config.mel
    assert BigVgan(config).eval()(torch.zeros(1, 8, 3)).shape == (1, 1, 48)
