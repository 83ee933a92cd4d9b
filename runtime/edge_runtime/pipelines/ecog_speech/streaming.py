"""An ECoG decoder that runs beside an amplifier: frames in, parameters of the same frames out.

No output depends on later input, and together they equal one run over everything up to rounding. It
advances in steps of 4 frames, 32 ms. A resnet of wiring "streaming" is run again over the last frames, those
of its context and the new ones; an lstm or gru of wiring "stateful" over the new ones alone: it remembers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.backends.base import Backend
from edge_runtime.errors import BundleError, InputError, doubt
from edge_runtime.pipelines.bundle_net import AnyBundle
from edge_runtime.pipelines.ecog_speech.grids import LOUDEST
from edge_runtime.pipelines.ecog_speech.nets import PARAMETERS, Arrays, ManyOutputs
from edge_runtime.pipelines.ecog_speech.recordings import PAST
from edge_runtime.store.bundle import Lengths

STEP = 4  # frames


class StreamingDecoder:
    """A decoder on live ECoG. The first 16 frames are its past: parameters begin with the seventeenth frame.

    Args:
        bundle: of `ecog-decoder`, wiring "streaming" (resnet) or "stateful" (lstm, gru).
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
        config = self.net.manifest.config
        self.electrodes = int(config["electrodes"])
        context = self.net.manifest.geometry.context_frames
        self._way: _Context | _Memory
        if config.get("wiring") == "stateful":
            self._way = _Memory(self.net)
        elif context is not None:
            self._way = _Context(self.net, context)
        else:
            raise self._refusal(config)
        self.reset()

    def _refusal(self, config: Mapping[str, Any]) -> BundleError:
        recurrent = config.get("wiring") == "streaming" and config.get("family") in ("lstm", "gru")
        advice = "export its weights with --set 'wiring=\"stateful\"'"
        return BundleError(
            str(self.net.bundle.path),
            got=f"a decoder of wiring {config.get('wiring')!r}, family {config.get('family')!r}",
            expected="wiring 'streaming' of family 'resnet', or 'stateful' of lstm or gru",
            cause=advice if recurrent else "other decoders depend on later input",
        )

    def reset(self) -> None:
        """Forget everything: the next frames begin a new stream."""
        self._waiting = np.empty((0, self.electrodes), np.float32)  # frames that the net has not seen
        self._begun = self._doubted = False
        self._way.reset()

    def push(self, ecog: NDArray[Any]) -> Arrays:
        """The next frames of ECoG.

        Args:
            ecog: (n, E) z-scores at 125 Hz, any n.

        Returns:
            Name → (rows, k): the parameters of k further frames, a multiple of 4, possibly 0.

        Raises:
            InputError: no numbers, another number of electrodes, or values that are not finite; the stream
                goes on as if the call had not been. Values beyond 50 are doubted, once a stream.
        """
        frames = self._checked(ecog)
        self._doubt_scale(frames)
        self._waiting = np.concatenate([self._waiting, frames])
        past = 0 if self._begun else PAST
        new = (len(self._waiting) - past) // STEP * STEP
        if new <= 0:
            return self._nothing()
        frames, self._waiting = np.split(self._waiting, [past + new])
        if not self._begun:
            self._way.begin(frames[:PAST])
            self._begun = True
        said = self._way.step(frames[past:])
        return {name: said[name][0] for name in PARAMETERS}

    def _checked(self, ecog: Any) -> NDArray[np.float32]:
        try:
            given = np.asarray(ecog)
        except ValueError as error:  # rows of different lengths
            raise self._wrong(f"a {type(ecog).__name__} that is no array") from error
        if given.dtype.kind not in "fiu":
            raise self._wrong(f"{type(ecog).__name__} of {given.dtype}")
        if given.ndim != 2 or given.shape[1] != self.electrodes:
            turned = given.ndim == 2 and given.shape[0] == self.electrodes
            raise self._wrong(f"shape {given.shape}", "transposed: push ecog.T" if turned else "")
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite
            values = given.astype(np.float32)
        if not np.isfinite(values).all():
            electrode = int(np.flatnonzero(~np.isfinite(values).all(0))[0])
            raise self._wrong(
                f"NaN or infinite values, first at electrode {electrode}",
                "a lost electrode: push zeros, the mean of z-scores, in its place",
            )
        return values

    def _doubt_scale(self, frames: NDArray[np.float32]) -> None:
        """Once a stream: an artefact must not end a session, and microvolts must not pass for z-scores."""
        largest = float(np.abs(frames).max(initial=0))
        if self._doubted or largest <= LOUDEST:
            return
        cause = "microvolts, or not prepared as the training's recordings were; said once a stream"
        got = f"values up to {largest:.4g}"
        doubt(InputError("ecog", got=got, expected="z-scores, mostly within ±5", cause=cause))
        self._doubted = True

    def _wrong(self, got: str, cause: str = "") -> InputError:
        return InputError(
            "ecog", got=got, expected=f"finite numbers (frames, {self.electrodes})", cause=cause
        )

    def _nothing(self) -> Arrays:
        rows = {tensor.name: tensor.shape[1] for tensor in self.net.manifest.outputs}
        return {name: np.empty((int(rows[name]), 0), np.float32) for name in PARAMETERS}


class _Context:
    """A net that is run again over the frames which its outputs depend on."""

    def __init__(self, net: ManyOutputs, context: int) -> None:
        self.net, self.context = net, context
        self.reset()

    def reset(self) -> None:
        self._seen = np.empty((0, 0), np.float32)

    def begin(self, past: NDArray[np.float32]) -> None:
        self._seen = past

    def step(self, frames: NDArray[np.float32]) -> Arrays:
        """(n, E) → parameters (1, rows, n)."""
        given = np.concatenate([self._seen, frames])
        said = self.net.run({"ecog": given[None]})
        self._seen = given[-(self.context + PAST) :]
        return {name: said[name][:, :, -len(frames) :] for name in PARAMETERS}


class _Memory:
    """A net whose memory goes in and out."""

    def __init__(self, net: ManyOutputs) -> None:
        self.net = net
        self._zero = {
            tensor.name: np.zeros([1 if size == "batch" else int(size) for size in tensor.shape], np.float32)
            for tensor in net.manifest.inputs
            if tensor.name != "ecog"
        }
        self.reset()

    def reset(self) -> None:
        self._memory = dict(self._zero)

    def begin(self, past: NDArray[np.float32]) -> None:
        self.step(past)
        # the window of one run begins here: what is before it counts as zero
        self._memory["history"] = self._zero["history"]

    def step(self, frames: NDArray[np.float32]) -> Arrays:
        """(n, E) → parameters (1, rows, n)."""
        pieces = []
        for piece in self._pieces(frames):
            said = self.net.run({"ecog": piece[None]} | self._memory)
            self._memory = {name: said[f"{name}_after"] for name in self._zero}
            pieces.append(said)
        return {name: np.concatenate([said[name] for said in pieces], 2) for name in PARAMETERS}

    def _pieces(self, frames: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """The frames in pieces that the artifact takes: all at once where any length will do."""
        sizes = self.net.artifact.axes.get("new_frames", Lengths()).only or (len(frames),)
        while len(frames):
            size = max(size for size in sizes if size <= len(frames))
            yield frames[:size]
            frames = frames[size:]
