"""Where frames stand: those of a front end become frames of the phase step.

See `edge_runtime.pipelines.mel_inversion.pipeline` for the alignment.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_runtime.dsp.long_griffin_lim import Columns
from edge_runtime.dsp.mel import MelConfig
from edge_runtime.dsp.spectral import Array, StftConfig
from edge_runtime.errors import InputError
from edge_runtime.pipelines.mel_inversion.conditioning import without_pre_emphasis


class FrameLayout:
    """How the frames of a front end become frames of the phase step.

    Args:
        front_end: framing of the mel.
        phase: framing of the phase step; None for Griffin-Lim, which takes any but "none".
    """

    def __init__(self, front_end: StftConfig, phase: StftConfig | None) -> None:
        self._config = front_end
        self._hop = front_end.hop_length
        self.phase = phase or (
            replace(front_end, padding="center-zero") if front_end.padding == "none" else front_end
        )
        ahead = _first_centre(front_end) - _first_centre(self.phase)
        self.before = max(0, -(-ahead // self._hop))  # frames mirrored before the first
        self.offset = self.before * self._hop - ahead  # samples before the recording

    def natural_length(self, frames: int) -> int:
        """Samples that so many frames cover, `InputError` if none."""
        config = self._config
        covered = config.n_fft + (frames - 1) * self._hop - 2 * config.pad
        if covered < 1:
            raise InputError("mel", got=f"{frames} frame", expected="at least 2, which enclose samples")
        return covered

    def lay_out(self, magnitude: Columns, length: int, front_end: MelConfig) -> LaidOut:
        """(bins, frames) → the target: pre-emphasis divided out, frames mirrored at both ends until they
        cover ``length`` samples."""
        frames = magnitude.shape[1]
        phase = self.phase
        needed = max(
            1 + (self.offset + length + 2 * phase.pad - phase.n_fft) // self._hop,  # those that cover it all
            1 + -(-phase.min_samples // self._hop),  # those whose audio can be transformed again
        )
        after = max(0, needed - frames - self.before)
        return LaidOut(magnitude, self.before, after, front_end)


class LaidOut:
    """The target of the phase step, computed where it is read: ``laid_out[:, a:b]``."""

    def __init__(self, magnitude: Columns, before: int, after: int, front_end: MelConfig) -> None:
        bins, frames = magnitude.shape
        self.shape = bins, before + frames + after
        self._source = np.pad(
            np.arange(frames), (before, after), mode="symmetric"
        )  # frame → that of magnitude
        self._magnitude, self._front_end = magnitude, front_end

    def __getitem__(self, key: tuple[slice, slice]) -> Array:
        _, columns = key
        wanted = self._source[columns]
        if not wanted.size:
            return np.asarray(self._magnitude[:, :0])
        low, high = int(wanted.min()), int(wanted.max()) + 1
        values = without_pre_emphasis(self._magnitude[:, low:high], self._front_end)
        return np.ascontiguousarray(values[:, wanted - low])


def _first_centre(config: StftConfig) -> int:
    """Sample on which the first frame is centred."""
    return config.n_fft // 2 - config.pad
