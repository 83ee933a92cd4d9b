"""A net of several outputs, opened from its bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.backends import get_backend
from edge_runtime.backends.artifacts import in_words, open_artifact
from edge_runtime.backends.base import Backend
from edge_runtime.errors import BundleError
from edge_runtime.pipelines.bundle_net import AnyBundle
from edge_runtime.store.bundle import Bundle, open_bundle

Arrays = dict[str, NDArray[np.float32]]
PARAMETERS = (
    "f0_hz",
    "loudness",
    "amplitudes",
    "freq_formants_hamon_hz",
    "bandwidth_formants_hamon_hz",
    "amplitude_formants_hamon",
    "freq_formants_noise_hz",
    "bandwidth_formants_noise_hz",
    "amplitude_formants_noise",
)  # what a decoder says and the synthesizer reads


def audible(said: Mapping[str, NDArray[Any]]) -> Arrays:
    """A decoder's answer as the synthesizer takes it: no loudness below 0, one of which spoils it all.

    OpenVINO's softplus gives -1.9e-6 where it should give 2e-9, and the synthesizer takes a logarithm.
    """
    return {
        name: np.maximum(values, np.float32(0)) if name == "loudness" else values
        for name, values in said.items()
    }


class ManyOutputs:
    """The artifact of a bundle, ready to run: arrays by name in and out.

    Raises:
        BundleError: damaged, of another net, or without an output or an artifact that is needed.
        BackendError: the backend cannot run here.
    """

    def __init__(
        self,
        bundle: AnyBundle,
        net: str,
        outputs: tuple[str, ...],
        *,
        backend: str | Backend,
        device: str,
        threads: int | None,
        precision: str,
    ) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        self.manifest = self.bundle.manifest
        place = str(self.bundle.path)
        if self.manifest.net != net:
            raise BundleError(
                f"{place}: net", got=self.manifest.net, expected=net, cause="is it the right bundle?"
            )
        given = [tensor.name for tensor in self.manifest.outputs]
        if missing := [name for name in outputs if name not in given]:
            raise BundleError(
                f"{place}: outputs", got=f"no {', '.join(missing)}", expected=", ".join(outputs)
            )
        library = get_backend(backend) if isinstance(backend, str) else backend
        self.precision = precision
        self.inputs = {tensor.name: tensor.shape for tensor in self.manifest.inputs}
        self.bundle.artifact(library.target, precision)  # refuses by the bundle's name
        self.artifact = self.manifest.artifact(library.target, precision, device)
        self._device = device
        self._session = open_artifact(self.bundle, self.artifact, library, device=device, threads=threads)

    @property
    def detail(self) -> str:
        """Library, device, threads, and the artifact's form where there are several."""
        return in_words(self._session, self.artifact, self._device)

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
        """Run the net once: input name → array (batch, …), output name → array (batch, …)."""
        given = {name: np.ascontiguousarray(values, np.float32) for name, values in arrays.items()}
        return {name: np.asarray(values, np.float32) for name, values in self._session.run(given).items()}
