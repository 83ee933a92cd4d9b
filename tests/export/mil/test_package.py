"""Opening packages, and refusing what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.export.mil.handmade import op, save, write

from edge_export.mil.package import read_model
from edge_export.mil.proto import model_class
from edge_runtime.errors import BundleError


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write(tmp_path / "p.mlpackage", [op("relu", {"x": "x"}, "y")], {"x": (2,)}, ["y"])


def test_reads_the_model_that_the_manifest_names(package: Path) -> None:
    model, folder = read_model(package)
    assert model.mlProgram.functions["main"].opset == "CoreML6"
    assert folder == package / "Data" / "com.apple.CoreML"


def test_refuses_an_absent_package(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"got nothing there, expected an \.mlpackage folder"):
        read_model(tmp_path / "none.mlpackage")


def test_refuses_a_package_without_a_manifest(package: Path) -> None:
    (package / "Manifest.json").unlink()
    with pytest.raises(BundleError, match=r"Manifest.json: got no such file.*copied only in part"):
        read_model(package)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"itemInfoEntries": {}, "rootModelIdentifier": "1"}'])
def test_refuses_a_damaged_manifest(package: Path, text: str) -> None:
    (package / "Manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"Manifest.json: got .*, expected the manifest of an .mlpackage"):
        read_model(package)


def test_refuses_a_manifest_that_leaves_the_package(package: Path) -> None:
    entries = {"1": {"path": "../../../secret"}}
    (package / "Manifest.json").write_text(
        json.dumps({"rootModelIdentifier": "1", "itemInfoEntries": entries})
    )
    with pytest.raises(BundleError, match="expected a file of the package"):
        read_model(package)


def test_refuses_a_package_without_its_model(package: Path) -> None:
    (package / "Data" / "com.apple.CoreML" / "model.mlmodel").unlink()
    with pytest.raises(BundleError, match=r"model\.mlmodel: got no such file"):
        read_model(package)


def test_refuses_a_truncated_model(package: Path) -> None:
    path = package / "Data" / "com.apple.CoreML" / "model.mlmodel"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BundleError, match="got bytes that are not a Core ML model"):
        read_model(package)


def test_refuses_another_kind_of_model(tmp_path: Path) -> None:
    model = model_class()()
    model.neuralNetwork.SetInParent()
    with pytest.raises(BundleError, match="got a model of kind neuralNetwork, expected an ML Program"):
        read_model(save(tmp_path / "p.mlpackage", model))
