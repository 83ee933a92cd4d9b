"""The stated context is measured: too little is told, and so is another hop."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import small_bundles
from tests.small_bundles import HOP

from edge_export.proof import verify as parity
from edge_export.proof.geometry import measure_reach
from edge_runtime.backends import get_backend
from edge_runtime.store.bundle import Geometry, open_bundle, write_reference

REACH = (4, 4)  # frames before and after of the small vocoder, measured below


def vocoder(folder: Path, only: tuple[int, ...] = (), **geometry: Any) -> Path:
    """The small vocoder with a reference case, and another geometry than its own."""
    stated = replace(
        Geometry(HOP, None, max(REACH), context_before=REACH[0], context_after=REACH[1]), **geometry
    )
    bundle = small_bundles.write_vocoder(folder, only=only, geometry=stated)
    manifest = open_bundle(bundle).manifest
    mel = np.random.default_rng(1).normal(-3, 2, (1, 5, 20)).astype(np.float32)
    session = get_backend("onnxruntime").open(bundle / "model.onnx")
    case = {"mel": mel, "wav": session.run({"mel": mel})["wav"]}
    hashes = write_reference(bundle, "one", case)
    replace(manifest, reference={"one": hashes}).save(bundle)
    return bundle


def geometry_row(bundle: Path) -> parity.Row:
    return parity.verify(bundle, backends=["onnxruntime"]).rows[-1]


def test_what_is_stated_is_confirmed(tmp_path: Path) -> None:
    row = geometry_row(vocoder(tmp_path / "b"))
    assert (row.case, row.status, row.output) == ("geometry", "PASS", "wav")
    assert row.detail == "4 frames before and 4 after have an influence, 4 and 4 are stated"
    assert "PASS: 4 frames before" in parity.table([row])


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (3, 4, "4 frames before and 4 after have an influence, but 3 and 4 are stated: chunks would differ"),
        (4, 3, "but 4 and 3 are stated"),
    ],
)
def test_too_little_context_fails_the_bundle(tmp_path: Path, before: int, after: int, sentence: str) -> None:
    bundle = vocoder(tmp_path / "b", context_before=before, context_after=after)
    result = parity.verify(bundle, backends=["onnxruntime"])
    assert not result.passed
    assert sentence in result.rows[-1].detail


def test_more_context_than_needed_is_told(tmp_path: Path) -> None:
    row = geometry_row(vocoder(tmp_path / "b", context_before=7, context_after=9, context_frames=9))
    assert row.status == "PASS"
    assert row.detail == "4 frames before and 4 after have an influence, 7 and 9 are stated"


def test_a_context_of_both_sides_alone_is_checked_too(tmp_path: Path) -> None:
    row = geometry_row(vocoder(tmp_path / "b", context_before=None, context_after=None, context_frames=3))
    assert row.status == "FAIL"
    assert "but 3 and 3 are stated" in row.detail


def test_another_hop_is_told(tmp_path: Path) -> None:
    row = geometry_row(vocoder(tmp_path / "b", hop_length=5))
    assert row.status == "FAIL"
    assert row.detail == "64 samples of 16 frames, the manifest says 5 a frame"


def test_fixed_lengths_are_used_where_one_is_long_enough(tmp_path: Path) -> None:
    assert geometry_row(vocoder(tmp_path / "long", only=(8, 40))).status == "PASS"
    opened = open_bundle(vocoder(tmp_path / "short", only=(8, 12)))
    artifact = opened.manifest.artifacts[0]
    session = get_backend("onnxruntime").open(opened.path / artifact.path)
    assert measure_reach(opened, artifact, session) is None


def test_nothing_stated_nothing_checked(tmp_path: Path) -> None:
    bundle = vocoder(tmp_path / "b", context_before=None, context_after=None, context_frames=None)
    assert [row.case for row in parity.verify(bundle, backends=["onnxruntime"]).rows] == ["one"]


def test_a_resealed_manifest_is_found_out(small_hifigan: Path, tmp_path: Path) -> None:
    """A real net: its own geometry passes, and half of it does not."""
    bundle = Path(shutil.copytree(small_hifigan, tmp_path / "bundle"))
    assert geometry_row(bundle).status == "PASS"
    manifest = open_bundle(bundle).manifest
    context = manifest.geometry.context_frames
    assert context is not None
    replace(manifest, geometry=replace(manifest.geometry, context_frames=context // 2)).save(bundle)
    assert geometry_row(bundle).status == "FAIL"
