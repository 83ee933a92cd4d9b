"""Opens an artifact of a bundle on a backend, so that arrays have the manifest's types for every target.

ONNX files have the types that the manifest states. Core ML packages have only float32 and int32 at their
interfaces (`bundle.DTYPES`): float16, int64 and bool are converted on the way in and back. Core AI has no
int64. float32 is converted where an artifact takes and gives float16 (`Artifact.io`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edge_runtime.backends.base import Array, Backend, Session
from edge_runtime.errors import InputError
from edge_runtime.store.bundle import DTYPES, Artifact, Bundle, Target, Tensor

# target → the manifest's types → those at its interfaces, where they differ
_STORED: Mapping[Target, Mapping[str, str]] = {"onnx": {}, "coreml": DTYPES, "coreai": {"int64": "int32"}}


class TypedSession:
    """A session whose arrays are converted between the manifest's types and those of the target.

    Args:
        inner: the backend's own session.
        inputs, outputs: as the manifest states them.
        stored: the manifest's types → those of the target, where they differ.
    """

    def __init__(
        self,
        inner: Session,
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        stored: Mapping[str, str] = DTYPES,
    ) -> None:
        self.inner = inner
        self._stored = stored
        self._inputs = {tensor.name: tensor.dtype for tensor in inputs}
        self._outputs = {tensor.name: tensor.dtype for tensor in outputs}

    @property
    def detail(self) -> str:
        """The backend's own description: library, device, threads."""
        return self.inner.detail

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays (batch, …) by name in and out, in the manifest's types.

        Raises:
            InputError: whole numbers beyond int32, floats beyond float16, where the target has only these.
            BackendError: as the backend raises it.
        """
        given = {name: self._narrowed(name, np.asarray(array)) for name, array in inputs.items()}
        results = self.inner.run(given)
        return {
            name: np.asarray(array).astype(self._outputs.get(name, array.dtype), copy=False)
            for name, array in results.items()
        }

    def _narrowed(self, name: str, array: Array) -> Array:
        """The array in the type that the target takes."""
        stored = np.dtype(self._stored.get(str(array.dtype), str(array.dtype)))
        if stored.itemsize < array.dtype.itemsize and array.size:
            limits = np.iinfo(stored) if stored.kind == "i" else np.finfo(stored)
            if array.min() < limits.min or array.max() > limits.max:
                raise InputError(
                    name,
                    got=f"values from {array.min()} to {array.max()}",
                    expected=f"{limits.min} to {limits.max}",
                    cause=f"this artifact takes {8 * stored.itemsize} bits",
                )
        return array.astype(stored, copy=False)


def open_artifact(
    bundle: Bundle, artifact: Artifact, backend: Backend, *, device: str = "cpu", threads: int | None = None
) -> Session:
    """Load an artifact on a backend.

    Raises:
        BackendError: the backend is unavailable, or its library refuses the artifact.
    """
    session = backend.open(bundle.path / artifact.path, device=device, threads=threads)
    inputs, outputs = bundle.manifest.inputs, bundle.manifest.outputs
    stored = dict(_STORED[artifact.target])
    if artifact.io == "fp16":
        stored |= dict.fromkeys(("float32", "float16"), "float16")
    if all(stored.get(tensor.dtype, tensor.dtype) == tensor.dtype for tensor in (*inputs, *outputs)):
        return session
    return TypedSession(session, inputs, outputs, stored)


def in_words(session: Session, artifact: Artifact, device: str) -> str:
    """What runs, for results and tables: the session's own description and the artifact's form."""
    if artifact.form == "any":
        return session.detail
    words = f"{session.detail}, {artifact.form} form"
    if artifact.form == "cpu" and device != "cpu":
        words += " (a plain one would be faster here: edge-export export … --form plain)"
    return words
