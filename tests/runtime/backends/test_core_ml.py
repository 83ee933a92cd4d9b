"""Core ML says where it runs; on a Mac it runs."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.backends import core_ml
from edge_runtime.errors import BackendError

DEVICES = ("cpu", "gpu", "ane", "all")
elsewhere = pytest.mark.skipif(sys.platform == "darwin", reason="this is a Mac: Core ML runs here")
on_a_mac = pytest.mark.skipif(sys.platform != "darwin", reason="Core ML runs on macOS only")


@elsewhere
@pytest.mark.parametrize("device", DEVICES)
def test_elsewhere_it_says_that_it_runs_on_macos_only(device: str, tmp_path: Path) -> None:
    clause = f"Core ML runs on macOS only: got {platform.system()}, expected macOS"
    assert core_ml.unavailable(device) == clause
    with pytest.raises(
        BackendError, match=f"coreml on {device}: got .*, expected macOS; Core ML runs on macOS only"
    ):
        core_ml.open(tmp_path, device=device)


def test_devices_are_core_mls_compute_units() -> None:
    coremltools = pytest.importorskip("coremltools", reason="the names are coremltools'")
    assert set(core_ml._UNITS.values()) == {unit.name for unit in coremltools.ComputeUnit}
    assert tuple(core_ml._UNITS) == DEVICES


@on_a_mac
@pytest.mark.parametrize("device", DEVICES)
def test_on_a_mac_it_runs(device: str, tmp_path: Path) -> None:
    coremltools = pytest.importorskip("coremltools", reason="writes the package")
    builder = coremltools.converters.mil.Builder

    @builder.program(input_specs=[builder.TensorSpec(shape=(2, 4))])  # type: ignore[untyped-decorator]
    def program(x: object) -> object:
        return builder.mul(x=x, y=np.float32(3), name="y")

    package = tmp_path / "model.mlpackage"
    coremltools.convert(program, compute_precision=coremltools.precision.FLOAT32).save(str(package))
    session = core_ml.open(package, device=device)
    found = session.run({"x": np.full((2, 4), 2, np.float32)})
    np.testing.assert_allclose(found["y"], 6.0, rtol=1e-3)
    assert "Core ML of macOS" in session.detail


@on_a_mac
def test_on_a_mac_a_damaged_package_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.mlpackage").mkdir()
    with pytest.raises(BackendError, match=r"model\.mlpackage: loading with coreml: got «"):
        core_ml.open(tmp_path / "model.mlpackage")
