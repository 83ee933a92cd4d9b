"""mel-inversion as artifacts: each variant, domain and normalisation, and any number of frames."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.small_spectral_nets import INVERSION, INVERSION_DB, ORIGINS

from edge_export.backends import get_backend
from edge_export.catalog import NETS
from edge_export.convert import export
from edge_export.examples.random_weights import random_module
from edge_export.proof.verify import table, verify
from edge_export.to_coreml.exporter import write_coreml
from edge_export.to_onnx.exporter import write_onnx
from edge_runtime.errors import CheckpointError, ConfigError
from edge_runtime.store.bundle import Bundle, Lengths
from edge_training.mel_inversion.pinv_conv_skip import MelInversionConfig, build_mel_inversion

NET = NETS["mel-inversion"]
MIN_MAX = replace(INVERSION_DB, normalization="min-max")


def module(config: MelInversionConfig) -> torch.nn.Module:
    """The net that `export` makes of seed 1."""
    *_, case = NET.cases(config, NET.coreml_axes).values()
    example = (torch.from_numpy(case["mel"]),)
    rms, mean = NET.range_of_random(config)
    return random_module(lambda: NET.build(config), 1, example, rms=rms, mean=mean).requires_grad_(False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export("mel-inversion", tmp_path_factory.mktemp("b") / "b", random=1, config=INVERSION.to_json())


def test_every_artifact_is_proved(whole: Bundle) -> None:
    manifest = whole.manifest
    assert MelInversionConfig.from_json(manifest.config) == INVERSION
    assert manifest.front_end == INVERSION.mel
    assert manifest.artifact("coreml").axes["frames"] == Lengths(8, 4096)
    assert manifest.artifact("onnx").axes["frames"] == Lengths()
    assert (manifest.geometry.receptive_field, manifest.geometry.context_frames) == (15, 7)
    proof = verify(whole, backends=["onnxruntime", "onnx-reference", "mil"])
    assert proof.passed, table(proof.rows)


def test_the_random_weights_speak_in_the_range_of_real_ones(whole: Bundle) -> None:
    """Not all floor, not all loud: within 1e-5 … full scale, with some deviation."""
    _, outputs = whole.reference("frames-21")
    magnitude = outputs["log_magnitude"]
    assert -8 < magnitude.mean() < 0
    assert 1 < magnitude.std() < 6
    assert np.mean(magnitude <= np.log(1e-5) + 1e-3) < 0.2


@pytest.mark.parametrize(
    ("variant", "config"),
    [*itertools.product(ORIGINS, (INVERSION, INVERSION_DB, MIN_MAX)), ("light", INVERSION)],
    ids=lambda value: value if isinstance(value, str) else f"{value.domain}-{value.normalization}",
)
def test_variants_in_every_domain(variant: Any, config: MelInversionConfig, tmp_path: Path) -> None:
    """ONNX at lengths that it was not traced at."""
    config = replace(config, variant=variant)
    net = module(config)
    write_onnx(net, NET, config, tmp_path / "model.onnx", "fp32")
    session = get_backend("onnxruntime").open(tmp_path / "model.onnx")
    (case, *_) = NET.cases(config, NET.coreml_axes).values()
    for frames in (1, 8, 15, 40):
        mel = np.resize(case["mel"], (2, 12, frames))
        (got,) = session.run({"mel": mel}).values()
        expected = net(torch.from_numpy(mel)).numpy()
        assert got.shape == (2, 33, frames)
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-3 * NET.unit(config))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    "config",
    [replace(INVERSION, variant="unet"), replace(INVERSION, variant="light"), MIN_MAX],
    ids=["unet", "light", "min-max"],
)
def test_core_ml_takes_every_length(config: MelInversionConfig, precision: Any, tmp_path: Path) -> None:
    """2051: a converter that computes lengths in float16 is wrong from 2049 frames on."""
    net = module(config)
    write_coreml(net, NET, config, tmp_path / "model.mlpackage", precision)
    session = get_backend("mil").open(tmp_path / "model.mlpackage")
    (case, *_) = NET.cases(config, NET.coreml_axes).values()
    for frames in (8, 9, 31, *((2051,) if config.variant == "unet" else ())):
        mel = np.resize(case["mel"], (1, 12, frames))
        (got,) = session.run({"mel": mel}).values()
        expected = net(torch.from_numpy(mel)).numpy()
        assert got.shape == expected.shape
        error = np.sqrt(np.mean((got - expected) ** 2)) / expected.std()
        assert error < (1e-4 if precision == "fp32" else 0.05)


def test_an_origins_checkpoint_becomes_a_bundle(tmp_path: Path) -> None:
    """State dict as mel-speech-reconstruction saves it, `best_weights`, here under a DataParallel prefix."""
    torch.manual_seed(0)
    state = build_mel_inversion(MIN_MAX).state_dict()
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "best_weights")
    bundle = export(
        "mel-inversion",
        tmp_path / "out",
        checkpoint=tmp_path / "best_weights",
        config=MIN_MAX.to_json(),
        targets=["onnx"],
        precisions=["fp32"],
    )
    assert bundle.manifest.source.format == "torch zip, prefix module., float32"
    assert bundle.manifest.config["normalization"] == "min-max"
    assert bundle.manifest.outputs[0].name == "magnitude_db"
    assert bundle.manifest.geometry.context_frames is None


def test_other_channels_and_missing_configs_are_refused(tmp_path: Path) -> None:
    torch.save(build_mel_inversion(MIN_MAX).state_dict(), tmp_path / "best_weights")
    options: dict[str, Any] = {"checkpoint": tmp_path / "best_weights", "targets": ["onnx"]}
    with pytest.raises(
        ConfigError, match=r"no config.json .*; its shapes say variant pinv-conv-skip; channels 4, 6, 8"
    ):
        export("mel-inversion", tmp_path / "out", **options)
    with pytest.raises(CheckpointError, match=r"wrong shape convblocks.0.conv.weight .*channels 4, 6, 8"):
        export("mel-inversion", tmp_path / "out", preset="origin", **options)
    assert not (tmp_path / "out").exists()
