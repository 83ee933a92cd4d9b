"""Canonical packages: bytes, identifiers, names of layers."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from edge_export.mil.proto import model_class
from edge_export.to_coreml.package import MODEL, write_canonical
from edge_runtime.store.targets import sha256_tree

WEIGHTS = b"weights"


def value(name: str) -> dict[str, Any]:
    return {"name": name}


def saved(folder: Path, *, date: str, entries: tuple[str, ...], outputs: tuple[str, ...] = ("y",)) -> Path:
    """What coremltools saves: two layers, one after the other, written in any order of the map."""
    model = model_class()()
    model.specificationVersion = 7
    for key in entries:
        model.description.metadata.userDefined[key] = date if key.endswith("date") else key
    block = model.mlProgram.functions["main"].block_specializations["CoreML6"]
    for kind, name, inputs in [
        ("conv", "input_3", {"x": "mel", "weight": "ups_0_weight_to_fp16"}),
        ("relu", "var_5", {"x": "input_3"}),
        ("linear", "y", {"x": "var_5", "weight": "last_weight"}),
    ]:
        operation = block.operations.add(type=kind)
        operation.outputs.add(name=name)
        operation.attributes["name"].immediateValue.tensor.strings.values.append(name)
        for key, argument in inputs.items():
            operation.inputs[key].arguments.add(name=argument)
    block.outputs.extend(outputs)
    data = folder / "Data"
    (data / MODEL).parent.mkdir(parents=True)
    (data / MODEL).write_bytes(model.SerializeToString())
    (data / "com.apple.CoreML" / "weights").mkdir()
    (data / "com.apple.CoreML" / "weights" / "weight.bin").write_bytes(WEIGHTS)
    return folder


ENTRIES = ("source", "version", "com.github.apple.coremltools.conversion_date")


def described(model: Any) -> None:
    model.description.metadata.author = "somebody"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    write_canonical(saved(tmp_path / "s", date="today", entries=ENTRIES), tmp_path / "p", described)
    return tmp_path / "p"


def test_dates_and_the_order_of_maps_leave_no_trace(tmp_path: Path, package: Path) -> None:
    other = saved(tmp_path / "other", date="tomorrow", entries=ENTRIES[::-1])
    write_canonical(other, tmp_path / "q", described)
    assert sha256_tree(package) == sha256_tree(tmp_path / "q")


def test_identifiers_come_from_the_contents(tmp_path: Path, package: Path) -> None:
    manifest = json.loads((package / "Manifest.json").read_text())
    items = manifest["itemInfoEntries"]
    assert {item["path"] for item in items.values()} == {MODEL, "com.apple.CoreML/weights"}
    assert items[manifest["rootModelIdentifier"]]["path"] == MODEL
    assert all(str(uuid.UUID(identifier)) == identifier for identifier in items)
    source = saved(tmp_path / "other", date="", entries=ENTRIES)
    write_canonical(source, tmp_path / "q", lambda _: None)
    others = json.loads((tmp_path / "q" / "Manifest.json").read_text())["itemInfoEntries"]
    assert len(set(items) & set(others)) == 1, "the weights are the same, the description is not"


def test_layers_are_named_after_their_parameters(package: Path) -> None:
    model = model_class()()
    model.ParseFromString((package / "Data" / MODEL).read_bytes())
    block = model.mlProgram.functions["main"].block_specializations["CoreML6"]
    outputs = [operation.outputs[0].name for operation in block.operations]
    labels = [op.attributes["name"].immediateValue.tensor.strings.values[0] for op in block.operations]
    assert outputs == labels == ["ups_0", "var_5", "y"], "what the model is called from outside stays"
    assert block.operations[1].inputs["x"].arguments[0].name == "ups_0"
    assert dict(model.description.metadata.userDefined) == {"source": "source", "version": "version"}
    assert model.description.metadata.author == "somebody"
