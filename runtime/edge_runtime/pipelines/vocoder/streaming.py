"""Speech from a mel that comes a few frames at a time, as soon as the net allows.

The net is run again and again over the same number of frames: a chunk, and the context that the bundle's
geometry states on both sides of it, of which only the chunk's audio is kept. So the audio is that of one run
over everything, every sample comes once, and memory does not grow. What it costs is the context: (before +
chunk + after) / chunk as much work as one run over everything, which is why nets for streams look few frames
back.

How frames are cut into pushes changes nothing, not even a bit: runs begin and end at the same frames.

Artifacts that take a few lengths alone (Core ML's buckets) run in the shortest that leaves something between
its two contexts; the chunk is then what it leaves, and the first audio comes when that many frames are there.
Runs at the very end, and streams shorter than that length, are planned as `plan_chunks` does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.errors import ConfigError
from edge_runtime.pipelines.bundle_net import AnyBundle
from edge_runtime.pipelines.vocoder.pipeline import Chunk, Vocoder, plan_chunks

CHUNK = 4  # frames


class StreamingVocoder:
    """A vocoder net on a live mel.

    Args:
        bundle: of `istft-vocoder` or `hifigan`, a folder or an open bundle; or a `Vocoder` that is open
            already.
        chunk: frames whose audio is made in one run; more cost less work for a second of audio, and wait
            longer.
        options: of `Vocoder`: backend, device, threads, precision.

    Raises:
        ConfigError: a chunk that is no positive whole number, or that the artifact's lengths leave no room
        for. BundleError, BackendError: as `Vocoder`.

    >>> vocoder = StreamingVocoder("bundle", chunk=4)       # doctest: +SKIP
    >>> for frames in source:                                # doctest: +SKIP
    ...     play(vocoder.push(frames))
    >>> play(vocoder.flush())                                # doctest: +SKIP
    """

    def __init__(self, bundle: AnyBundle | Vocoder, *, chunk: int = CHUNK, **options: Any) -> None:
        if not isinstance(chunk, int) or isinstance(chunk, bool) or chunk < 1:
            raise ConfigError("chunk", got=repr(chunk), expected="a whole number of frames, at least 1")
        self.vocoder = bundle if isinstance(bundle, Vocoder) else Vocoder(bundle, **options)
        admitted = self.vocoder.net.lengths(2)
        self._before, self._after = self.vocoder.context
        around = self._before + self._after
        self._only = admitted.only
        if admitted.only:
            fitting = [size for size in admitted.only if size > around]
            if not fitting:
                next(plan_chunks(admitted.only[-1] + 1, self.vocoder.context, admitted.only))  # refuses them
            self._longest, chunk = fitting[0], fitting[0] - around
            self._sizes = tuple(size for size in admitted.only if size <= self._longest)
        else:
            self._longest = around + chunk
            if admitted.high is not None and self._longest > admitted.high:
                raise ConfigError(
                    "chunk",
                    got=f"{chunk} frames, with their context {self._longest}",
                    expected=f"at most {admitted.high - around}: the artifact takes {admitted.high} at once",
                )
        self.chunk = chunk
        self._kept = np.empty((self.vocoder.n_mels, 0), np.float32)  # frames that runs to come may need
        self._first = self._done = 0  # number of the first frame kept; frames whose audio was given

    @property
    def latency(self) -> int:
        """Samples that the audio lags behind the mel: the context after a frame, times the hop.

        The time that a chunk takes to fill comes on top of it, and in the mel of audio the half window.
        """
        return self._after * self.vocoder.hop_length

    @property
    def sample_rate(self) -> int:
        """Of the audio, Hz."""
        return self.vocoder.sample_rate

    def push(self, mel: ArrayLike) -> NDArray[np.float32]:
        """Take frames (n_mels, k), any k, and return the audio (samples,) that they complete, perhaps none.

        Raises:
            InputError: another number of bands, no frame, values that are not finite or of another scale. The
            stream
                stays as it was.
        """
        values = self.vocoder.check(np.asarray(mel))
        self._kept = np.concatenate([self._kept, values], axis=1)
        known = self._first + self._kept.shape[1]
        pieces = []
        while (run := self._next_run(known)) is not None:
            pieces.append(self._audio(run))
            self._forget()
        return _joined(pieces)

    def flush(self) -> NDArray[np.float32]:
        """The audio of the frames that are left, as at the end of a mel; then the stream begins anew."""
        known = self._first + self._kept.shape[1]
        pieces = []
        if self._only:
            if known > self._done:
                plan = plan_chunks(known, self.vocoder.context, self._sizes)
                pieces = [self._audio(run) for run in plan if run.last > self._done]
        elif known > self._done:
            pieces = [self._audio(Chunk(max(0, self._done - self._before), known, self._done, known))]
        self._reset()
        return _joined(pieces)

    def _reset(self) -> None:
        self._kept = self._kept[:, :0]
        self._first = self._done = 0

    def _next_run(self, known: int) -> Chunk | None:
        """The next run that the known frames allow, whatever comes after them."""
        start = max(0, self._done - self._before)
        if self._only:
            stop = start + self._longest
            return Chunk(start, stop, self._done, stop - self._after) if known > stop else None
        stop = self._done + self.chunk + self._after
        return Chunk(start, stop, self._done, self._done + self.chunk) if known >= stop else None

    def _audio(self, run: Chunk) -> NDArray[np.float32]:
        audio = self.vocoder.run_chunk(self._kept[:, run.start - self._first :], run)
        skipped = (max(run.first, self._done) - run.first) * self.vocoder.hop_length
        self._done = run.last
        return audio[skipped:]

    def _forget(self) -> None:
        """Drop frames that no run needs any more: a last run of a fixed length reaches further back."""
        reach = self._before + (self._longest if self._only else 0)
        unused = max(0, self._done - reach - self._first)
        self._kept, self._first = self._kept[:, unused:], self._first + unused


def _joined(pieces: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(pieces) if pieces else np.empty(0, np.float32)
