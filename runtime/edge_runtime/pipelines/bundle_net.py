"""A net opened from its bundle on a backend: the building block of the pipelines."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.backends import get_backend
from edge_runtime.backends.artifacts import in_words, open_artifact
from edge_runtime.backends.base import Backend
from edge_runtime.errors import BundleError
from edge_runtime.store.bundle import Bundle, Lengths, Tensor, open_bundle

AnyBundle = str | os.PathLike[str] | Bundle
Shape = Sequence[int | None]  # None where any length will do
Shapes = Shape | Mapping[str, Shape]  # of the only tensor, or of each by name


class BundleNet:
    """The artifact of a bundle, ready to run.

    Args:
        bundle: a folder, or a bundle that is open already.
        net: the name that its manifest must carry, or several of them.
        takes: shape of its input, or of each of its inputs by name; None stands for any length.
        gives: shape of its output, or of each of its outputs by name.
        backend, device, threads: a name in `edge_runtime.backends`, or a `Backend`; see there.
        precision: "fp32" or "fp16".

    Raises:
        BundleError: damaged, of another net, of other shapes, or without an artifact for this backend and
            precision.
        BackendError: the backend cannot run here.
    """

    def __init__(
        self,
        bundle: AnyBundle,
        net: str | Sequence[str],
        *,
        takes: Shapes,
        gives: Shapes,
        backend: str | Backend,
        device: str,
        threads: int | None,
        precision: str,
    ) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        self.manifest = self.bundle.manifest
        try:
            self._check(net, takes, gives)
        except BundleError as error:
            raise error.within(str(self.bundle.path)) from error
        library = get_backend(backend) if isinstance(backend, str) else backend
        self.backend = library.name
        self.precision = precision
        self.bundle.artifact(library.target, precision)  # refuses by the bundle's name
        self.artifact = self.manifest.artifact(library.target, precision, device)
        self._device = device
        self._session = open_artifact(self.bundle, self.artifact, library, device=device, threads=threads)
        self._dtypes = {tensor.name: tensor.dtype for tensor in self.manifest.inputs}
        self._input = self.manifest.inputs[0].name
        self._output = self.manifest.outputs[0].name

    @property
    def detail(self) -> str:
        """Library, device, threads, and the artifact's form where there are several."""
        return in_words(self._session, self.artifact, self._device)

    def lengths(self, axis: int) -> Lengths:
        """Which lengths the artifact takes on an axis of its (first) input."""
        size = self.manifest.inputs[0].shape[axis]
        if isinstance(size, int):
            return Lengths(size, size, (size,))
        return self.artifact.axes.get(size, Lengths())

    def __call__(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Run a net of one input once: (batch, …) → (batch, …), in the shapes of its manifest."""
        return self.run({self._input: values})

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Run a net of one output once: arrays (batch, …) by input name → the output (batch, …)."""
        return np.asarray(self.run_all(arrays)[self._output], np.float32)

    def run_all(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the net once: arrays (batch, …) by name, all inputs → all outputs, in the manifest's types."""
        inputs = {
            name: np.ascontiguousarray(values, self._dtypes.get(name)) for name, values in arrays.items()
        }
        return self._session.run(inputs)

    def _check(self, net: str | Sequence[str], takes: Shapes, gives: Shapes) -> None:
        nets = (net,) if isinstance(net, str) else tuple(net)
        if self.manifest.net not in nets:
            raise BundleError(
                "net", got=self.manifest.net, expected=" or ".join(nets), cause="is it the right bundle?"
            )
        for what, tensors, wanted in (
            ("inputs", self.manifest.inputs, takes),
            ("outputs", self.manifest.outputs, gives),
        ):
            if not _match(tensors, wanted):
                got = ", ".join(f"{tensor.name} {tensor.shape}" for tensor in tensors)
                raise BundleError(what, got=got or "none", expected=_listed(wanted))


def _match(tensors: Sequence[Tensor], wanted: Shapes) -> bool:
    """Whether tensors have the shapes that are wanted, and the names where those are given."""
    if not isinstance(wanted, Mapping):
        return len(tensors) == 1 and _fits(tensors[0], wanted)
    return {tensor.name for tensor in tensors} == set(wanted) and all(
        _fits(tensor, wanted[tensor.name]) for tensor in tensors
    )


def _listed(wanted: Shapes) -> str:
    if isinstance(wanted, Mapping):
        return ", ".join(f"{name} {_axes(shape)}" for name, shape in wanted.items())
    return f"one of shape {_axes(wanted)}"


def _axes(shape: Shape) -> str:
    return f"({', '.join('any' if axis is None else str(axis) for axis in shape)})"


def _fits(tensor: Tensor, axes: Shape) -> bool:
    """Whether every axis that is fixed in both has the same length; a named axis takes any length."""
    return len(tensor.shape) == len(axes) and all(
        wanted is None or isinstance(axis, str) or axis == wanted
        for axis, wanted in zip(tensor.shape, axes, strict=True)
    )
