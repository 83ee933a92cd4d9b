"""The two nets of mel inversion, opened from their bundles and run over whole recordings.

    MagnitudeNet    mel (n_mels, frames)           → magnitude (bins, frames)    net `mel-inversion`
    PhaseNet        magnitude (bins, frames)       → samples                     net `degli`, repeated

Both run in chunks of frames, each with ``context_frames`` of its neighbours, whose output is dropped; where
the bundle states no context, they run once over the whole recording.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp.long_griffin_lim import SEARCHED, Columns
from edge_runtime.dsp.mel import MelConfig
from edge_runtime.dsp.spectral import Array, Stft, StftConfig
from edge_runtime.errors import BundleError, ConfigError, InputError
from edge_runtime.pipelines.bundle_net import AnyBundle, BundleNet, Shape
from edge_runtime.pipelines.vocoder.pipeline import Chunk, buckets, plan_chunks
from edge_runtime.store.bundle import Bundle, open_bundle

NET, PHASE_NET = "mel-inversion", "degli"
LONG_FRAMES = 2048  # of a chunk that goes through all blocks; four times its neighbours if they are more
_DEGLI_ENTRIES = {"graph", "magnitude_rms", "sample_rate", "n_fft", "hop_length", "win_length", "padding"}


class MagnitudeNet:
    """The net `mel-inversion`: mel as its front end gives it (n_mels, frames) → magnitude (bins, frames)."""

    def __init__(
        self,
        bundle: AnyBundle,
        chunk_frames: int,
        options: Mapping[str, Any],
        *,
        length_buckets: bool = False,
    ) -> None:
        self.net = BundleNet(bundle, NET, takes=(None, None, None), gives=(None, None, None), **options)
        front_end = self.net.manifest.front_end
        if front_end is None:
            raise BundleError(
                str(self.net.bundle.path), got="no front_end", expected="the mel of the net's training"
            )
        self.front_end: MelConfig = front_end
        self.domain = domain_of(self.net.bundle)
        self._chunks = Chunks(self.net, 2, chunk_frames, length_buckets=length_buckets)

    def __call__(self, mel: Array, silence: float, into: Any) -> None:
        """Mel (n_mels, frames) → magnitude (bins, frames), written into ``into``.

        For domain "db" it is relative to its largest value.

        ``silence`` is the value of a band in silence; it pads a mel shorter than the net takes.
        """
        for piece in self._chunks.plan(mel.shape[1]):
            output = self.net(piece.cut(mel, silence)[None])[0][:, piece.inside]
            into[:, piece.kept] = magnitude_of(np.asarray(output, np.float32), self.domain, self.front_end)


def magnitude_of(output: Array, domain: str, front_end: MelConfig) -> NDArray[np.float32]:
    """The net's answer (bins, frames) → the magnitude; of domain "db" relative to its largest value."""
    if domain == "log":
        return np.asarray(np.exp(output), np.float32)
    range_db = front_end.spectrum_range_db or 0.0
    return np.asarray(10 ** ((np.minimum(output, 1) - 1) * (range_db / 20)), np.float32)


def domain_of(bundle: Bundle) -> str:
    """ "log" or "db": the unit of the net's answer; BundleError where the front end is for the other."""
    domain, front_end = bundle.manifest.config.get("domain"), bundle.manifest.front_end
    range_db = front_end.spectrum_range_db if front_end else None
    if domain not in ("log", "db") or (domain == "db") != (range_db is not None):
        raise BundleError(
            f"{bundle.path}: config",
            got=f"domain {domain!r}, front end with spectrum_range_db {range_db}",
            expected="domain 'db' if the front end has spectrum_range_db, else 'log'",
        )
    return str(domain)


class PhaseNet:
    """The net `degli`: blocks that improve the phase of a spectrum, all with the same weights.

    The magnitude is scaled to the level that the net was trained at; only the phase is taken from the blocks.
    """

    def __init__(
        self,
        bundle: AnyBundle,
        front_end: MelConfig,
        chunk_frames: int,
        options: Mapping[str, Any],
        *,
        length_buckets: bool = False,
    ) -> None:
        opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        config = _degli_config(opened)
        self.graph = str(config["graph"])
        self.level = float(config["magnitude_rms"])  # root mean square
        self.stft = Stft(_degli_framing(config, front_end, opened))
        both: Shape = (None, 2, front_end.stft.bins, None)
        spectra = ("spectrum",) if self.graph == "block" else ("x", "y", "z")
        takes = dict.fromkeys(spectra, both) | {"magnitude": (None, front_end.stft.bins, None)}
        self.net = BundleNet(opened, PHASE_NET, takes=takes, gives=both, **options)
        self._chunks = Chunks(self.net, 3, chunk_frames, length_buckets=length_buckets)
        self.long_frames = LONG_FRAMES

    def __call__(self, magnitude: Columns, blocks: int, length: int, start: Array | None = None) -> Array:
        """Magnitude (bins, frames) → samples (length,), after ``blocks`` blocks.

        Where the net states its context, a long magnitude is processed in chunks, each with all neighbours
        that its frames depend on. ``start``, complex (bins, frames), is the spectrum to begin with; by
        default it has zero phase.
        """
        gain = self._gain(magnitude)
        config = self.stft.config
        out = np.zeros(length, self.stft.dtype)
        for chunk in self._long_chunks(magnitude.shape[1], blocks):
            values = np.asarray(magnitude[:, chunk.start : chunk.stop])
            wanted = np.multiply(values, gain, dtype=np.float64).astype(np.float32)
            first = wanted
            if start is not None:
                first = np.multiply(start[:, chunk.start : chunk.stop], gain, dtype=np.complex128)
            spectrum = first.astype(np.complex64)
            for _ in range(blocks):
                spectrum = self.block(spectrum, wanted)
            # sample 0 of the chunk stands here; of all that it gives the kept frames' hops are taken
            place = chunk.start * config.hop_length
            begin = max(0, chunk.first * config.hop_length - config.pad) if chunk.first else 0
            end = chunk.last * config.hop_length - config.pad if chunk.last < magnitude.shape[1] else length
            end = max(begin, min(end, length))
            samples = self.stft.inverse(_with_magnitude(spectrum, values), end - place)
            out[begin:end] = samples[begin - place :]
        return out

    def _gain(self, magnitude: Columns) -> float:
        """Brings the magnitude to the level that the net was trained at."""
        squares, frames = 0.0, magnitude.shape[1]
        for start in range(0, frames, SEARCHED):
            squares += float(np.sum(np.square(magnitude[:, start : start + SEARCHED], dtype=np.float64)))
        loudness = float(np.sqrt(squares / (magnitude.shape[0] * frames)))
        return self.level / loudness if loudness else 1.0

    def _long_chunks(self, frames: int, blocks: int) -> Iterator[Chunk]:
        """Every frame once; the whole at once where a frame depends on all."""
        context = self.net.manifest.geometry.context_frames
        if context is None:
            yield Chunk(0, frames, 0, frames)
            return
        overlap = -(-self.stft.config.n_fft // self.stft.config.hop_length) - 1
        reach = blocks * (context + overlap) + 3 * overlap + 1
        size = max(self.long_frames, 4 * reach)
        for first in range(0, frames, size):
            last = min(first + size, frames)
            yield Chunk(max(0, first - reach), min(last + reach, frames), first, last)

    def block(self, spectrum: Array, magnitude: Array) -> Array:
        """One block: complex spectrum and magnitude, both (bins, frames) → the next spectrum."""
        if self.graph == "block":
            return self._run({"spectrum": spectrum}, magnitude)
        y = _with_magnitude(spectrum, magnitude)
        z = self.stft.forward(self.stft.inverse(y))
        return z - self._run({"x": spectrum, "y": y, "z": z}, magnitude)

    def _run(self, spectra: Mapping[str, Array], magnitude: Array) -> Array:
        result = np.empty(magnitude.shape, np.complex64)
        for piece in self._chunks.plan(magnitude.shape[1]):
            arrays = {name: planes(piece.cut(values, 0.0))[None] for name, values in spectra.items()}
            arrays["magnitude"] = piece.cut(magnitude, 0.0)[None]
            re, im = self.net.run(arrays)[0][..., piece.inside]
            result[:, piece.kept] = re + 1j * im
        return result


def _degli_config(bundle: Bundle) -> Mapping[str, Any]:
    """The manifest's `config`, which must say which part of a block the pipeline computes itself."""
    config = bundle.manifest.config
    if bundle.manifest.net != PHASE_NET:
        raise BundleError(
            f"{bundle.path}: net",
            got=bundle.manifest.net,
            expected=PHASE_NET,
            cause="is it the right bundle?",
        )
    if missing := sorted(_DEGLI_ENTRIES - config.keys()):
        raise BundleError(
            f"{bundle.path}: config",
            got=f"no {', '.join(missing)}",
            expected=", ".join(sorted(_DEGLI_ENTRIES)),
        )
    if config["graph"] not in ("block", "net"):
        raise BundleError(f"{bundle.path}: config", got=f"graph {config['graph']!r}", expected="block or net")
    return config


def _degli_framing(config: Mapping[str, Any], front_end: MelConfig, bundle: Bundle) -> StftConfig:
    """Framing of the block's transform, which must be that of the mel; the padding may differ.

    At another sample rate the shapes would fit, but the net was trained on the phases of other frequencies.
    """
    framing = StftConfig(
        config["n_fft"], config["hop_length"], config["win_length"], padding=config["padding"]
    )
    wanted = replace(framing, padding=front_end.padding) == front_end.stft
    if not wanted or config["sample_rate"] != front_end.sample_rate:
        raise ConfigError(
            str(bundle.path),
            got=f"DeGLI with {framing_text(framing)} at {config['sample_rate']} Hz",
            expected=f"{framing_text(front_end.stft)} at {front_end.sample_rate} Hz, as in the front end",
            cause="choose another front end, or a DeGLI that was trained with this framing",
        )
    return framing


def framing_text(config: StftConfig) -> str:
    """The framing in words, for sentences."""
    return f"n_fft {config.n_fft}, hop {config.hop_length}, window {config.win_length}"


def _with_magnitude(spectrum: Array, magnitude: Array) -> Array:
    """P_A: the phase of a spectrum with another magnitude; 0 where the spectrum is 0."""
    size = np.abs(spectrum)
    factor = np.divide(magnitude, size, out=np.zeros_like(size), where=size > 0)
    return np.asarray(spectrum * factor)


def planes(spectrum: Array) -> Array:
    """(bins, frames) complex → (2, bins, frames) real, imaginary."""
    return np.stack([spectrum.real, spectrum.imag])


class Chunks:
    """The runs of a net over the frames of a recording.

    Args:
        net: its manifest states the context; no context means that a frame depends on the whole recording.
        axis: of the (first) input on which frames are counted.
        chunk_frames: most frames per run.
        length_buckets: run few lengths, as `edge_runtime.pipelines.vocoder.pipeline.buckets`; a recording
            shorter than the shortest runs in its own, and so does a net whose frames depend on all.
    """

    def __init__(self, net: BundleNet, axis: int, chunk_frames: int, *, length_buckets: bool = False) -> None:
        self._net = net
        self._context = net.manifest.geometry.context_frames
        admitted = net.lengths(axis)
        self._only, self._low, self._high = admitted.only, admitted.low, admitted.high
        self._longest = min(chunk_frames, admitted.high or chunk_frames)
        if not self._only and self._context is not None and self._longest <= 2 * self._context:
            raise ConfigError(
                "chunk_frames",
                got=str(chunk_frames),
                expected=f"more than {2 * self._context}, twice the net's context",
            )

        self._buckets: Sequence[int] = ()
        if length_buckets and not self._only and self._context is not None:
            self._buckets = buckets(max(self._low, 2 * self._context + 1), self._longest)

    def plan(self, frames: int) -> Iterator[Piece]:
        """The runs, which together give every frame once, each with its context."""
        if self._context is not None:
            sizes: Sequence[int] = self._only or range(self._low, self._longest + 1)
            if self._buckets and frames >= self._buckets[0]:
                sizes = self._buckets
            return map(Piece, plan_chunks(frames, self._context, sizes))
        return iter([Piece(Chunk(0, self._whole(frames), 0, frames))])

    def _whole(self, frames: int) -> int:
        """The length of one run over the whole recording."""
        if self._high is not None and frames > self._high:
            raise InputError(
                "mel",
                got=f"{frames} frames",
                expected=f"at most {self._high} for {self._net.artifact.path}",
                cause="its frames depend on the whole recording, so it cannot run in chunks",
            )
        return min((size for size in self._only if size >= frames), default=max(frames, self._low))


@dataclass(frozen=True)
class Piece:
    """One run of a net."""

    chunk: Chunk

    @property
    def kept(self) -> slice:
        """The frames of the recording that this run gives."""
        return slice(self.chunk.first, self.chunk.last)

    @property
    def inside(self) -> slice:
        """The same, counted from its own first frame."""
        return slice(self.chunk.first - self.chunk.start, self.chunk.last - self.chunk.start)

    def cut(self, values: Array, silence: float) -> Array:
        """(…, frames) of the recording → the frames that the run takes, padded with silence where needed."""
        part = values[..., self.chunk.start : self.chunk.stop]
        missing = self.chunk.stop - self.chunk.start - part.shape[-1]
        if not missing:
            return part
        return np.pad(part, [(0, 0)] * (part.ndim - 1) + [(0, missing)], constant_values=silence)
