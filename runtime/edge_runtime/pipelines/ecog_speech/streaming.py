"""An ECoG decoder that runs beside an amplifier: frames in, parameters of the same frames out.

For bundles of the causal wiring "streaming": no output depends on later input. The net is run again over the
last frames, those of its context and the new ones; the output equals one run over everything up to rounding.
It advances in steps of 4 frames, 32 ms.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.backends.base import Backend
from edge_runtime.errors import BundleError, InputError
from edge_runtime.pipelines.bundle_net import AnyBundle
from edge_runtime.pipelines.ecog_speech.nets import PARAMETERS, Arrays, ManyOutputs
from edge_runtime.pipelines.ecog_speech.recordings import PAST

STEP = 4  # frames


class StreamingDecoder:
    """A decoder on live ECoG. The first 16 frames are its past: parameters begin with the seventeenth frame.

    Args:
        bundle: of `ecog-decoder`, wiring "streaming".
        backend, device, threads, precision: what runs the net, see `edge_runtime.backends`.

    Raises:
        BundleError: a bundle of another net, or of a decoder that depends on later or on all earlier input.
    """

    def __init__(
        self,
        bundle: AnyBundle,
        *,
        backend: str | Backend = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
    ) -> None:
        self.net = ManyOutputs(
            bundle,
            "ecog-decoder",
            PARAMETERS,
            backend=backend,
            device=device,
            threads=threads,
            precision=precision,
        )
        context = self.net.manifest.geometry.context_frames
        config = self.net.manifest.config
        if context is None:
            raise BundleError(
                str(self.net.bundle.path),
                got=f"a decoder of wiring {config.get('wiring')!r}, family {config.get('family')!r}",
                expected="wiring 'streaming' of family 'resnet'",
                cause="other decoders depend on later input, or on the whole past",
            )
        self.context = context
        self.electrodes = int(config["electrodes"])
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frames begin a new stream."""
        self._kept = np.empty((0, self.electrodes), np.float32)
        self._first = self._done = 0  # number of the first frame kept; frames of parameters given

    def push(self, ecog: NDArray[Any]) -> Arrays:
        """The next frames of ECoG.

        Args:
            ecog: (n, E) z-scores at 125 Hz, any n.

        Returns:
            Name → (rows, k): the parameters of k further frames, a multiple of 4, possibly 0.

        Raises:
            InputError: another number of electrodes, or values that are not finite.
        """
        values = np.asarray(ecog, np.float32)
        if values.ndim != 2 or values.shape[1] != self.electrodes or not np.isfinite(values).all():
            raise InputError(
                "ecog", got=f"shape {values.shape}", expected=f"finite numbers (frames, {self.electrodes})"
            )
        self._kept = np.concatenate([self._kept, values])
        known = (
            (self._first + len(self._kept) - PAST) // STEP * STEP
        )  # frames whose parameters can be computed
        if known <= self._done:
            return self._nothing()
        start = max(self._done - self.context, 0)
        self._kept = self._kept[start - self._first :]
        self._first = start
        said = self.net.run({"ecog": self._kept[None, : known - start + PAST]})
        skip, self._done = self._done - start, known
        return {name: said[name][0, :, skip:] for name in PARAMETERS}

    def _nothing(self) -> Arrays:
        rows = {tensor.name: tensor.shape[1] for tensor in self.net.manifest.outputs}
        return {name: np.empty((int(rows[name]), 0), np.float32) for name in PARAMETERS}
