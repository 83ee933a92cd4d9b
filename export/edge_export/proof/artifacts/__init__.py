"""Opens anything that runs: artifacts of ours, of others, and Python functions.

model.onnx             onnxruntime, or another backend for ONNX
NAME.mlpackage         our executor, or Core ML on a Mac; `NAME.mlpackage#FUNCTION` for one of several
model.tflite           LiteRT, where installed
BUNDLE                 its first artifact that this machine runs
TorchScript, ExportedProgram     with trust alone, see `torch_file`
module:function        a Python function, see `python_callable`
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_export.backends import BACKENDS, get_backend
from edge_export.proof.artifacts.base import Kind, Operation, Port, Runnable, Value, Watch
from edge_runtime.backends.base import Backend
from edge_runtime.errors import BackendError, BundleError, InputError
from edge_runtime.store.bundle import MANIFEST, Artifact, Bundle, open_bundle
from edge_runtime.store.reading import regular_file

__all__ = ["Kind", "Operation", "Port", "Runnable", "Value", "Watch", "bundle_of", "open_runnable"]

EXPECTED = "an .onnx, .mlpackage or .tflite file, a bundle, or module:function"
_OTHERS = {
    ".mlmodelc": ("a compiled Core ML model", "the .mlpackage that it was compiled from"),
    ".mlmodel": ("a Core ML model of the old format", "an .mlpackage: convert with convert_to='mlprogram'"),
    ".aimodel": ("a Core AI asset", "the .onnx of its bundle; edge-export verify runs the asset itself"),
    ".h5": ("a Keras file", "its ONNX or TFLite export"),
    ".keras": ("a Keras file", "its ONNX or TFLite export"),
    ".safetensors": (
        "weights without a program",
        "something that runs: export them, or name module:function",
    ),
}


def open_runnable(
    place: str | Path, *, backends: Sequence[str] = (), trust: bool = False, function: str | None = None
) -> Runnable:
    """Open anything that runs.

    Args:
        place: a path, or ``module:function``.
        backends: names in `edge_export.backends` to run files on, the first one of the file's target.
        trust: load what PyTorch saved, which runs code of the file.
        function: of a Core ML package with several.

    Raises:
        InputError, BundleError, CheckpointError: no such file, or one that is damaged, unsafe or of no use.
        BackendError: what would run it is missing here.
        ConfigError: no such Python function.
    """
    from edge_export.proof.artifacts import python_callable

    text = str(place)
    if not Path(place).exists() and python_callable.NAME.fullmatch(text):
        return python_callable.PythonArtifact(text)
    if "#" in text and not Path(place).exists():
        text, _, function = text.rpartition("#")
    path = Path(text)
    if (path / MANIFEST).is_file():
        return _open_bundle(open_bundle(path), backends)
    return _open_file(path, text, backends, trust, function)


def bundle_of(place: str | Path) -> tuple[Bundle, Artifact | None] | None:
    """The bundle that a path is, or that an artifact lies in; None where it is neither."""
    path = Path(place)
    for folder in (path, path.parent):
        if (folder / MANIFEST).is_file():
            bundle = open_bundle(folder)
            found = [item for item in bundle.manifest.artifacts if folder / item.path == path]
            return (bundle, found[0] if found else None) if folder == path or found else None
    return None


def _open_bundle(bundle: Bundle, backends: Sequence[str]) -> Runnable:
    reasons = []
    for artifact in bundle.manifest.artifacts:
        if artifact.target == "coreai":
            reasons.append(f"{artifact.path}, which only verify and run execute")
            continue
        try:
            return _open_file(
                bundle.path / artifact.path, f"{bundle.path}: {artifact.path}", backends, False, None
            )
        except BackendError as missing:
            reasons.append(str(missing))
    raise BundleError(
        str(bundle.path),
        got="; ".join(reasons) or "no artifact",
        expected="an artifact that this machine runs",
    )


def _open_file(path: Path, what: str, backends: Sequence[str], trust: bool, function: str | None) -> Runnable:
    suffix = path.suffix.lower()
    if suffix == ".mlpackage" or (path / "Manifest.json").is_file():
        from edge_export.proof.artifacts.core_ml import CoreMlArtifact

        backend = _backend("coreml", backends)
        session = backend.open(path) if backend.name == "coreml" and function is None else None
        return CoreMlArtifact(path, what, session, function)
    if suffix in _OTHERS:
        got, expected = _OTHERS[suffix]
        raise InputError(what, got=got, expected=expected)
    regular_file(path, EXPECTED, what=what)
    if suffix == ".onnx":
        from edge_export.proof.artifacts.onnx_file import OnnxArtifact

        return OnnxArtifact(path, what, _backend("onnx", backends))
    if suffix == ".tflite":
        from edge_export.proof.artifacts.tflite import TfliteArtifact

        return TfliteArtifact(path, what)
    from edge_export.proof.artifacts.torch_file import open_saved, recognise

    if saved := recognise(path):
        return open_saved(path, what, saved, trust=trust)
    raise InputError(what, got=f"a file {suffix or 'without a suffix'}", expected=EXPECTED)


def _backend(target: str, wanted: Sequence[str]) -> Backend:
    """The first wanted backend of a target; by default the first that is here, Core ML in our executor."""
    chosen = [get_backend(name) for name in wanted]
    for backend in chosen:
        if backend.target == target:
            if reason := backend.unavailable():
                raise BackendError(
                    f"--backend {backend.name}", got=reason, expected="a backend that this machine has"
                )
            return backend
    reasons = []
    for name in BACKENDS:
        backend = get_backend(name)
        if backend.target == target:
            if not (reason := backend.unavailable()):
                return backend
            reasons.append(f"{name}: {reason}")
    raise BackendError(
        f"running {target}", got="; ".join(reasons), expected="a backend that this machine has"
    )
