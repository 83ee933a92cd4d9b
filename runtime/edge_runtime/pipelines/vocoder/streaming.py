"""Speech from a mel that arrives a few frames at a time, with the smallest delay that the net allows.

The net is run repeatedly over the same number of frames: a chunk, and on both sides of it the context that
the bundle's geometry states; only the chunk's audio is kept. So the audio equals that of one run over
everything, every sample is given once, and memory does not grow. The price is the context: (before + chunk +
after) / chunk times the work of one run over everything, which is why nets for streams have little context
before a frame.

The audio is the same to the last bit however the frames are divided between calls of `push`.

Artifacts that take only a few lengths (Core ML's buckets) run in the shortest that is longer than both
contexts; the chunk is then the rest of it, and the first audio is given when that many frames are known. Runs
at the end, and streams shorter than that length, are planned by `plan_chunks`.
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
        chunk: frames whose audio is made in one run; larger chunks need less work for a second of audio, but
            increase the delay.
        options: of `Vocoder`: backend, device, threads, precision.

    Raises:
        ConfigError: a chunk that is not a positive whole number, or too long for the artifact's lengths.
        BundleError, BackendError: as `Vocoder`.

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
        self._kept = np.empty((self.vocoder.n_mels, 0), np.float32)  # frames that later runs may need
        self._first = self._done = 0  # number of the first frame kept; frames whose audio was given

    @property
    def latency(self) -> int:
        """Delay of the audio behind the mel, in samples: the context after a frame, times the hop.

        The time until a chunk is full is added to it, and half a window if the mel is made of live audio.
        """
        return self._after * self.vocoder.hop_length

    @property
    def sample_rate(self) -> int:
        """Sample rate of the audio, Hz."""
        return self.vocoder.sample_rate

    def push(self, mel: ArrayLike) -> NDArray[np.float32]:
        """Take frames (n_mels, k), any k, and return the audio (samples,) that they complete, perhaps none.

        Raises:
            InputError: another number of bands, no frame, values that are not finite or of another scale; the
                stream is then unchanged.
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
        """The remaining audio (samples,), as at the end of a mel; the next push begins a new stream."""
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
        """Drop frames that no later run needs; a last run of a fixed length reaches further back."""
        reach = self._before + (self._longest if self._only else 0)
        unused = max(0, self._done - reach - self._first)
        self._kept, self._first = self._kept[:, unused:], self._first + unused


def _joined(pieces: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(pieces) if pieces else np.empty(0, np.float32)
