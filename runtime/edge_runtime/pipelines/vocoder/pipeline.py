"""Mel → audio with a vocoder net; and audio → mel → audio, which shows how much the net itself loses.

The nets are `istft-vocoder`, `hifigan` and `bigvgan`. Long mels run in chunks, in constant memory. Each
is given the context that the manifest's geometry states, frames of its neighbours before and after it (13
and 13 for HiFi-GAN V1 and V2, 11 for V3: measured, 2.6e-15 in float64), and their output is dropped, so that
the result equals one run over the whole mel, up to the rounding of the net's kernels.

Core ML packages take only a few numbers of frames. Chunks of such lengths are placed inside the recording,
the last one at its end, and nothing is padded: that is exact too. Only a mel that is shorter than the
shortest usable length has to be padded (with silence); its last frames then differ from a run of its own
length, by as many as the context after it.

A GPU prepares its kernels anew for each length. With `length_buckets` chunks have one of a few lengths there
too, placed in the same way; a mel shorter than the shortest runs in its own length, so nothing is inexact.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.backends.base import Backend
from edge_runtime.dsp.mel import MelConfig, MelFrontEnd
from edge_runtime.errors import BundleError, ConfigError, InputError
from edge_runtime.media.audio import Audio, read_audio
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.bundle_net import AnyBundle, BundleNet
from edge_runtime.pipelines.registry import get_system
from edge_runtime.store.mels import check_logarithms, doubt_scale, is_array_file, read_mel

NETS = ("hifigan", "istft-vocoder", "bigvgan")
CHUNK_FRAMES = 512  # frames per run; HiFi-GAN V1 needs about 100 MB for them


@dataclass(frozen=True)
class Chunk:
    """One run of the net over frames ``start`` … ``stop``−1, of which ``first`` … ``last``−1 are kept."""

    start: int
    stop: int
    first: int
    last: int


Context = int | tuple[int, int]
"""Frames on each side that an output frame depends on, or those before and those after."""


def sides(context: Context) -> tuple[int, int]:
    """Frames before and after."""
    return (context, context) if isinstance(context, int) else context


def plan_chunks(frames: int, context: Context, sizes: Sequence[int]) -> Iterator[Chunk]:
    """Plans runs of the allowed ``sizes`` which together give every frame once, each with its context.

    Args:
        frames: of the mel, at least 1.
        context: frames on each side that an output frame depends on, or a pair of those before and after.
        sizes: ascending numbers of frames that the net takes; ``range(1, n + 1)`` where it takes any.

    Raises:
        ConfigError: the longest usable size has no frame left between its two contexts.

    >>> [(c.start, c.stop, c.first, c.last) for c in plan_chunks(10, context=2, sizes=range(1, 9))]
    [(0, 8, 0, 6), (4, 10, 6, 10)]
    """
    before, after = sides(context)
    usable = sizes[: bisect_right(sizes, frames)]
    longest = usable[-1] if usable else 0
    enough = bisect_left(sizes, frames)
    if enough < len(sizes) and (sizes[enough] == frames or longest <= before + after):
        yield Chunk(0, sizes[enough], 0, frames)  # the caller pads the mel to this length
        return
    if longest <= before + after:
        each = f"{before} on each side" if before == after else f"{before} before and {after} after"
        raise ConfigError(
            "frames per run",
            got=f"{longest}",
            expected=f"more than {before + after} (the context is {each})",
            cause="export the net with a longer frame bucket",
        )
    done = 0
    while done < frames:
        start = max(done - before, 0)
        enough = bisect_left(usable, frames - start)
        if enough < len(usable):
            yield Chunk(frames - usable[enough], frames, done, frames)
            return
        stop = start + longest
        yield Chunk(start, stop, done, stop - after)
        done = stop - after


def buckets(shortest: int, longest: int) -> tuple[int, ...]:
    """Powers of two from 32 on and the numbers half way between them, from `shortest` to `longest`, and that.

    >>> buckets(27, 128)
    (32, 48, 64, 96, 128)
    """
    ladder = (size for power in range(5, 31) for size in (2**power, 3 * 2 ** (power - 1)))
    return (*(size for size in ladder if shortest <= size < longest), longest)


class Vocoder:
    """The pipeline.

    Args:
        bundle: of a net in `NETS`, a folder or an open bundle.
        backend, device, threads: what executes the net: a name in `edge_runtime.backends`, or a `Backend`.
        precision: of the artifact, "fp32" or "fp16".
        chunk_frames: most frames per run, where the artifact takes any number; memory grows with it.
        length_buckets: run few lengths (32, 48, 64, 96 … `chunk_frames`), so that a new number of frames
            costs nothing on a GPU; up to twice the work.
        stream: frames of a chunk where `write_result` runs it as a stream, see `streaming`; not if None.
        progress: told what a stream took.

    Raises:
        BundleError: a damaged bundle, or one of another net.
        BackendError: the backend cannot run here.
        ConfigError: chunk_frames is not more than the net's context on both sides.
    """

    def __init__(
        self,
        bundle: AnyBundle,
        *,
        backend: str | Backend = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        chunk_frames: int = CHUNK_FRAMES,
        length_buckets: bool = False,
        stream: int | None = None,
        progress: Callable[[str], object] = lambda _line: None,
    ) -> None:
        self.net = BundleNet(
            bundle,
            NETS,
            takes=(None, None, None),
            gives=(None, 1, None),
            backend=backend,
            device=device,
            threads=threads,
            precision=precision,
        )
        self.threads = threads
        self.chunk, self.progress = stream, progress
        self.hop_length, self.context = _geometry(self.net)
        self.n_mels = _n_mels(self.net)
        admitted = self.net.lengths(2)
        longest = min(chunk_frames, admitted.high or chunk_frames)
        self.sizes: Sequence[int] = admitted.only or range(admitted.low, longest + 1)
        self._any_length = self.sizes
        if not admitted.only and longest <= sum(self.context):
            raise ConfigError(
                "chunk_frames",
                got=str(chunk_frames),
                expected=f"more than {sum(self.context)}, the net's context on both sides",
            )
        if length_buckets and not admitted.only:
            self.sizes = buckets(sum(self.context) + 1, longest)

    def plan(self, frames: int) -> Iterator[Chunk]:
        """The runs for a mel of so many frames."""
        sizes = self.sizes if frames >= self.sizes[0] else self._any_length
        return plan_chunks(frames, self.context, sizes)

    @property
    def front_end(self) -> MelConfig:
        """The front end that makes the net's mel of audio; BundleError where the manifest has none."""
        config = self.net.manifest.front_end
        if config is None:
            raise BundleError(
                str(self.net.bundle.path), got="no front_end", expected="the mel of the net's training"
            )
        return config

    @property
    def sample_rate(self) -> int:
        """Sample rate of the result, Hz."""
        return self.front_end.sample_rate

    def mel(self, audio: ArrayLike) -> NDArray[np.float32]:
        """(samples,) floats at `sample_rate` → the net's mel, (n_mels, frames)."""
        return np.asarray(self._mel(np.asarray(audio), "float32"), np.float32)

    def synthesize(self, mel: ArrayLike) -> NDArray[np.float32]:
        """Audio of a mel.

        Args:
            mel: (n_mels, frames), natural logarithm of magnitudes as `mel` gives them.

        Returns:
            (frames · hop_length,) in [−1, 1].

        Raises:
            InputError: another shape, values that are not finite, or outside the range of such a logarithm.
        """
        values = self.check(np.asarray(mel))
        frames, hop = values.shape[1], self.hop_length
        samples = np.empty(frames * hop, np.float32)
        for chunk in self.plan(frames):
            samples[chunk.first * hop : chunk.last * hop] = self.run_chunk(values[:, chunk.start :], chunk)
        return samples

    def stream(self, mels: Iterable[NDArray[Any]]) -> Iterator[NDArray[np.float32]]:
        """Audio of a mel that arrives in pieces; the whole mel is never held in memory.

        Args:
            mels: (n_mels, k) each, with any k.

        Yields:
            (n,) samples, as soon as enough frames are known; joined they equal `synthesize` of the whole.

        Raises:
            InputError: as `synthesize`; also where there is no frame at all.
        """
        longest, (before, after) = self.sizes[-1], self.context
        kept = np.empty((self.n_mels, 0), np.float32)  # frames that later chunks may need
        first = done = 0  # number of the first frame kept; frames whose audio was given
        for piece in mels:
            kept = np.concatenate([kept, self.check(np.asarray(piece))], axis=1)
            known = first + kept.shape[1]
            if known > longest:
                next(plan_chunks(known, self.context, self.sizes))  # refuses sizes that leave no room
            # while more frames are known than the longest chunk holds, the plan is that of any longer mel
            while known > (start := max(done - before, 0)) + longest:
                chunk = Chunk(start, start + longest, done, start + longest - after)
                yield self.run_chunk(kept[:, start - first :], chunk)
                done = chunk.last
                unused = max(done - before - longest, 0) - first
                kept, first = kept[:, unused:], first + unused
        self.check(kept)
        for chunk in self.plan(first + kept.shape[1]):
            if chunk.last > done:
                yield self.run_chunk(kept[:, chunk.start - first :], chunk)

    def copy_synthesis(self, audio: ArrayLike) -> NDArray[np.float32]:
        """Audio → mel → audio: (samples,) at `sample_rate` → (frames · hop_length,)."""
        return self.synthesize(self.mel(audio))

    def save_reference(
        self, path: str | os.PathLike[str], out: str | os.PathLike[str], *, overwrite: bool = False
    ) -> Path:
        """Write the pack of a file, see `edge_runtime.pipelines.vocoder.pack`; returns ``out``.

        Raises:
            TargetError: ``out`` cannot be written, or exists and is not a pack, or ``overwrite`` is not
                given.
            EdgeError: the file cannot be processed.
        """
        return get_system("vocoder").save_reference(self, out, overwrite=overwrite, source=path)

    def read_mel(
        self, path: str | os.PathLike[str], dtype: str = "float32"
    ) -> tuple[NDArray[Any], Audio | None]:
        """The mel (n_mels, frames) in a file, or the mel of an audio file, in ``dtype``, and its audio.

        Raises:
            InputError: the file cannot be processed; the error names it.
        """
        if is_array_file(path):
            mel = read_mel(path, self.n_mels, self.progress)
            if self.net.manifest.front_end is not None:
                doubt_scale(mel, self.net.manifest.front_end, path)
            return mel, None
        audio = read_audio(path, self.sample_rate)
        with pack.naming(path):
            return self._mel(audio.samples, dtype), audio

    def _mel(self, audio: NDArray[Any], dtype: str) -> NDArray[Any]:
        return MelFrontEnd(self.front_end, dtype, workers=self.threads or 1)(audio)

    def run_chunk(self, mel: NDArray[np.float32], chunk: Chunk) -> NDArray[np.float32]:
        """The samples (n,) that a chunk keeps; ``mel (n_mels, frames)`` begins with its first frame."""
        audio = self._run(mel, chunk.stop - chunk.start)
        hop = self.hop_length
        return audio[(chunk.first - chunk.start) * hop : (chunk.last - chunk.start) * hop]

    def _run(self, mel: NDArray[np.float32], length: int) -> NDArray[np.float32]:
        """(samples,) of the first ``length`` frames; frames beyond the end of the mel are silence."""
        frames = mel[None, :, :length]
        missing = length - frames.shape[2]
        if missing:
            frames = np.pad(frames, ((0, 0), (0, 0), (0, missing)), constant_values=self._silence)
        audio = self.net(frames).reshape(-1)
        if len(audio) != length * self.hop_length:
            raise BundleError(
                str(self.net.bundle.path),
                got=f"{len(audio)} samples for {length} frames",
                expected=f"{length * self.hop_length} (hop {self.hop_length})",
                cause="the hop_length in the manifest is not that of the net",
            )
        return audio

    @property
    def _silence(self) -> float:
        config = self.net.manifest.front_end
        return 0.0 if config is None or config.log == "none" else config.lowest

    def check(self, mel: NDArray[Any]) -> NDArray[np.float32]:
        """The mel (n_mels, frames) as float32; InputError where it cannot be one of this net."""
        if mel.ndim != 2 or mel.shape[0] != self.n_mels or mel.shape[1] == 0:
            raise InputError(
                "mel",
                got=f"shape {mel.shape}",
                expected=f"({self.n_mels}, frames), at least one frame",
                cause=_guess_shape(mel.shape, self.n_mels),
            )
        if mel.dtype.kind != "f":
            raise InputError("mel", got=f"{mel.dtype}", expected="floats")
        check_logarithms(mel, self.net.manifest.front_end)
        return np.asarray(mel, np.float32)


def _guess_shape(shape: tuple[int, ...], n_mels: int) -> str:
    if len(shape) == 2 and shape[1] == n_mels:
        return "transposed: pass mel.T"
    if len(shape) == 3 and shape[0] == 1:
        return "drop the batch axis: pass mel[0]"
    if len(shape) == 2 and shape[1]:
        return "is it the mel of another front end or net?"
    return ""


def _geometry(net: BundleNet) -> tuple[int, tuple[int, int]]:
    """(hop length, frames of context before and after); a vocoder's manifest must state both."""
    geometry = net.manifest.geometry
    if geometry.hop_length is None or geometry.sides is None:
        raise BundleError(
            f"{net.bundle.path}: geometry",
            got=f"hop_length {geometry.hop_length}, context_frames {geometry.context_frames}",
            expected="both",
        )
    return geometry.hop_length, geometry.sides


def _n_mels(net: BundleNet) -> int:
    axis = net.manifest.inputs[0].shape[1]
    if not isinstance(axis, int):
        raise BundleError(
            f"{net.bundle.path}: inputs", got=f"an axis {axis}", expected="a fixed number of mel bands"
        )
    return axis
