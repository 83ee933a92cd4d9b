"""A saved Core ML package → the same package in canonical bytes, with our own names and metadata.

coremltools writes the date of the conversion, maps in the order of a random hash and new random item
identifiers on each save. Here the protobuf is serialized deterministically (maps sorted), the date is left
out, and the identifiers come from the contents. The program, the weight file, and the versions of coremltools
and torch are kept.

Layers are renamed after their parameters (`resblocks_3_convs1_0`, where the converter counts `input_61`), so
that a report which names an operation can be understood.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from edge_export.mil.proto import model_class
from edge_runtime.store.targets import sha256_file

AUTHOR = "com.apple.CoreML"  # the folder that the format prescribes
MODEL = f"{AUTHOR}/model.mlmodel"
WEIGHTS = f"{AUTHOR}/weights"
_DATE = "com.github.apple.coremltools.conversion_date"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "edge-export/coreml-package")
_WEIGHT = re.compile(r"(.+)_weight(_to_fp16)?")


def write_canonical(
    saved: Path, package: Path, describe: Callable[[Any], None], renamed: dict[str, str] | None = None
) -> Any:
    """Write `package` from the package that coremltools saved.

    Args:
        saved: the package that coremltools saved; it is not changed.
        package: the folder to write, which must not exist.
        describe: adds descriptions and metadata to the model's protobuf.
        renamed: takes the converter's name of each result that is renamed → its name in the package.

    Returns:
        the protobuf (`CoreML.Specification.Model`) as written.
    """
    model = model_class()()
    model.ParseFromString((saved / "Data" / MODEL).read_bytes())
    model.description.metadata.userDefined.pop(_DATE, None)
    for function in model.mlProgram.functions.values():
        for block in function.block_specializations.values():
            names = _name_layers(block)
            if renamed is not None:
                renamed.update(names)
    describe(model)
    weights = saved / "Data" / WEIGHTS / "weight.bin"
    write_files(package, model, weights if weights.is_file() else None)
    return model


def write_files(package: Path, model: Any, weights: Path | bytes | None) -> None:
    """Write the folder of a package: its model, its weight file, and the manifest that names both.

    Args:
        package: the folder to write, which must not exist.
        model: the protobuf.
        weights: the weight file or its bytes; None for a model without.
    """
    data = package / "Data"
    (data / AUTHOR).mkdir(parents=True)
    (data / MODEL).write_bytes(model.SerializeToString(deterministic=True))
    items = [_item(data / MODEL, MODEL, "CoreML Model Specification")]
    if weights is not None:
        place = data / WEIGHTS / "weight.bin"
        place.parent.mkdir()
        if isinstance(weights, bytes):
            place.write_bytes(weights)
        else:
            shutil.copyfile(weights, place)
        items.append(_item(place, WEIGHTS, "CoreML Model Weights"))
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": dict(items),
        "rootModelIdentifier": items[0][0],
    }
    text = json.dumps(manifest, indent=4, sort_keys=True)
    (package / "Manifest.json").write_text(f"{text}\n", encoding="utf-8")


def _item(file: Path, path: str, description: str) -> tuple[str, dict[str, str]]:
    """(identifier, entry) of an item of the package."""
    identifier = str(uuid.uuid5(_NAMESPACE, f"{path} {sha256_file(file)}"))
    name = path.rpartition("/")[2]
    return identifier, {"author": AUTHOR, "description": description, "name": name, "path": path}


def _name_layers(block: Any) -> dict[str, str]:
    """Give operations with a weight the name of the layer that the weight belongs to; old name → new one."""
    taken = {output.name for operation in block.operations for output in operation.outputs}
    # the block's own inputs and outputs are the model's interface and keep their names
    kept = set(block.outputs)
    names: dict[str, str] = {}
    for operation in block.operations:
        layer = _layer(operation)
        if layer and layer not in taken and len(operation.outputs) == 1:
            old = operation.outputs[0].name
            if old not in kept:
                names[old] = layer
                taken.add(layer)
    for operation in block.operations:
        _rename(operation, names)
    return names


def _layer(operation: Any) -> str:
    """`ups_0` for an operation whose weight is called `ups_0_weight`, "" for others."""
    if "weight" not in operation.inputs:
        return ""
    arguments = operation.inputs["weight"].arguments
    found = _WEIGHT.fullmatch(arguments[0].name) if len(arguments) == 1 else None
    return found[1] if found else ""


def _rename(operation: Any, names: dict[str, str]) -> None:
    for value in (*operation.outputs, *_references(operation)):
        value.name = names.get(value.name, value.name)
    if "name" in operation.attributes:
        label = operation.attributes["name"].immediateValue.tensor.strings.values
        label[:] = [names.get(text, text) for text in label]
    for nested in operation.blocks:
        nested.outputs[:] = [names.get(name, name) for name in nested.outputs]
        for inner in nested.operations:
            _rename(inner, names)


def _references(operation: Any) -> Iterator[Any]:
    """Arguments that refer to a value; those with a literal value have no name."""
    for argument in operation.inputs.values():
        yield from _named(argument.arguments)


def _named(arguments: Iterable[Any]) -> Iterator[Any]:
    for argument in arguments:
        if argument.WhichOneof("binding") == "name":
            yield argument
