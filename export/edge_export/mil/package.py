"""Opening a saved `.mlpackage`: Manifest.json → model file → description and program.

NAME.mlpackage/Manifest.json                    names the root item
               Data/com.apple.CoreML/model.mlmodel          protobuf `CoreML.Specification.Model`
               Data/com.apple.CoreML/weights/weight.bin     see `blob`
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_export.mil.proto import model_class
from edge_runtime.errors import BundleError
from edge_runtime.store.reading import read_bytes, read_object


def read_model(package: Path) -> tuple[Any, Path]:
    """The model's protobuf and the folder that weight files are relative to.

    BundleError where the package is missing, damaged, or holds another kind of model than an ML Program.
    """
    path = _model_file(package)
    model = model_class()()
    try:
        model.ParseFromString(read_bytes(path, refusal=BundleError, largest=_LARGEST_MODEL))
    except BundleError:
        raise
    except Exception as error:  # protobuf's DecodeError has no common base that is cheap to import
        raise BundleError(
            path.name, got="bytes that are not a Core ML model", expected="a protobuf", cause=_CAUSE
        ) from error
    kind = model.WhichOneof("Type")
    if kind != "mlProgram":
        raise BundleError(
            path.name,
            got=f"a model of kind {kind or 'nothing'}",
            expected="an ML Program (mlProgram)",
            cause="convert it with convert_to='mlprogram'" if kind else _CAUSE,
        )
    return model, path.parent


_LARGEST_MODEL = 1 << 31  # bytes of a protobuf; weights lie in files beside it
_CAUSE = "the package is damaged or was copied only in part"


def _model_file(package: Path) -> Path:
    if not package.is_dir():
        got = "a file" if package.exists() else "nothing there"
        raise BundleError(package.name, got=got, expected="an .mlpackage folder")
    try:
        manifest = read_object(package / "Manifest.json", "the manifest of an .mlpackage", BundleError)
        entry = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]
        path: Path = package / "Data" / entry["path"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(
            "Manifest.json", got=_reason(error), expected="the manifest of an .mlpackage", cause=_CAUSE
        ) from error
    if not path.resolve().is_relative_to(package.resolve()):
        raise BundleError("Manifest.json", got=f"the path {entry['path']}", expected="a file of the package")
    if not path.is_file():
        raise BundleError(
            entry["path"], got="no such file", expected="the model of this package", cause=_CAUSE
        )
    return path


def _reason(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return "no such file"
        case KeyError():
            return f"no entry {error}"
        case _:
            return f"{type(error).__name__}: {error}"
