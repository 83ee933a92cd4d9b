"""Nets of several inputs; nets of one are tested with their pipelines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import small_inversions
from tests.small_inversions import BINS

from edge_runtime.errors import BundleError
from edge_runtime.pipelines.bundle_net import BundleNet, Shape
from edge_runtime.store.bundle import Lengths

PLANES: Shape = (None, 2, BINS, None)
TAKES = {"x": PLANES, "y": PLANES, "z": PLANES, "magnitude": (None, BINS, None)}


def opened(bundle: Path, takes: dict[str, Shape]) -> BundleNet:
    return BundleNet(
        bundle, "degli", takes=takes, gives=PLANES,
        backend="onnxruntime", device="cpu", threads=1, precision="fp32",
    )  # fmt: skip


def test_inputs_go_by_name(tmp_path: Path) -> None:
    net = opened(small_inversions.write_degli(tmp_path / "degli", (0.0, 2.0, 0.0)), TAKES)
    rng = np.random.default_rng(0)
    x, y, z = rng.normal(size=(3, 1, 2, BINS, 7))
    residual = net.run({"magnitude": np.abs(x[:, 0]), "z": z, "x": x, "y": y})
    np.testing.assert_allclose(residual, 2 * z, rtol=1e-6)
    assert residual.dtype == np.float32
    assert net.lengths(3) == Lengths()


@pytest.mark.parametrize(
    "takes",
    [
        {"x": PLANES, "y": PLANES, "z": PLANES},
        TAKES | {"z": (None, 2, BINS + 1, None)},
        {"spectrum": PLANES, "magnitude": (None, BINS, None)},
    ],
)
def test_other_names_and_axes_are_refused(tmp_path: Path, takes: dict[str, Shape]) -> None:
    bundle = small_inversions.write_degli(tmp_path / "degli", (0.0, 0.0, 0.0))
    first = next(iter(takes))
    with pytest.raises(
        BundleError, match=rf"degli: inputs: got x \('batch', 2, 65, .*expected {first} \(any"
    ):
        opened(bundle, takes)
