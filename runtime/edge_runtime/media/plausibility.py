"""Warnings, each with a cure, for sound that can be processed but is probably not what was meant.

    scale      floats far beyond full scale: scientific programs store 16-bit samples as floats
    offset     a mean far from zero: unsigned samples read as signed ones, or a defect of the recorder
    constant   every sample the same: a microphone that was off
    quiet      nothing that 16 bits would hold: samples divided by their full scale twice
    clipped    much of it at full scale: recorded or amplified too loudly
    one-sided  one of two channels silent: the average is half of the other
    cancelled  channels whose average is far quieter than they are: one is the other with its sign changed

Values that cannot be sound are errors: NaN, infinity, beyond `LARGEST_SAMPLE`.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_runtime.dsp.spectral import LARGEST_SAMPLE, too_large
from edge_runtime.errors import InputError, doubt

LARGEST_PEAK = 8.0  # of float files without a warning; 18 dB above full scale
LARGEST_OFFSET = 0.25  # of full scale
QUIETEST_PEAK = 2**-15  # one step of 16 bits
FULL_SCALE, MOST_AT_FULL_SCALE = (0.999, 1.001), 0.1  # |sample|, and the share of samples there
SILENT = 1e-8  # energy of one channel relative to the other: −80 dB
LEAST_SAMPLES = 800  # the mean of fewer is not meaningful
CANCELLED = 1e-3  # energy of the average relative to that of the channels: −30 dB

Samples = NDArray[np.float32]


class Listener:
    """Averages the channels of a recording block by block, and checks the whole for what is implausible.

    Args:
        channels: of the recording.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels
        self._count = 0
        self._low, self._high, self._sum = math.inf, -math.inf, 0.0
        self._peak = 0.0  # of the channels
        self._before, self._after = 0.0, 0.0  # energy of the channels, and of their average
        self._energies = np.zeros(channels)  # of each channel
        self._loud = 0  # samples at full scale

    def average(self, frames: Samples, out: Samples, start: int) -> None:
        """Mean of the channels (n, channels) → (n,).

        Args:
            frames: a block of the recording.
            out: receives the result.
            start: number of the first frame, for errors.

        Raises:
            InputError: NaN, infinity, or values beyond `LARGEST_SAMPLE`.
        """
        loudness = np.abs(frames)
        bad = ~(loudness <= LARGEST_SAMPLE)  # true for NaN too
        if bad.any():
            frame, channel = (int(index) for index in np.argwhere(bad)[0])
            if np.isfinite(frames[frame, channel]):
                raise too_large(float(frames[frame, channel]), "audio")
            raise InputError(
                "audio",
                got=f"{frames[frame, channel]} at sample {start + frame}",
                expected="finite samples",
                cause="the program that wrote the file divided by zero or overflowed",
            )
        np.mean(frames, axis=1, out=out)
        self._count += len(out)
        self._peak = max(self._peak, float(loudness.max(initial=0.0)))
        self._low = min(self._low, float(out.min(initial=math.inf)))
        self._high = max(self._high, float(out.max(initial=-math.inf)))
        self._sum += float(out.sum(dtype=np.float64))
        self._loud += int(np.count_nonzero((loudness >= FULL_SCALE[0]) & (loudness <= FULL_SCALE[1])))
        if self.channels > 1:
            self._energies += np.einsum("nc,nc->c", frames, frames)
            self._before += float(np.vdot(frames, frames)) / self.channels
            self._after += float(np.vdot(out, out))

    def judge(self, path: str) -> None:
        """Warn about anything implausible in the recording that ``path`` names."""
        mean = self._sum / max(self._count, 1)
        if self._peak > LARGEST_PEAK:
            _doubt(
                path,
                f"samples up to {self._peak:.6g}",
                "full scale ±1",
                "integers stored as floats: divide by their full scale, 32768 for 16 bits",
            )
        elif self.channels > 1 and self._after < CANCELLED * self._before:
            _doubt(
                path,
                f"{self.channels} channels that cancel when they are averaged",
                "channels of one sign",
                "one of them has its sign changed; take only one: ffmpeg -i IN -af 'pan=mono|c0=c0' OUT.wav",
            )
        elif self._count < LEAST_SAMPLES:
            return
        elif self.channels == 2 and 0 < self._energies.max() * SILENT > self._energies.min():
            heard = int(self._energies.argmax())
            _doubt(
                path,
                f"channel {2 - heard} silent",
                "sound in both",
                "their average is half of the other, 6 dB quieter; take only that: "
                f"ffmpeg -i IN -af 'pan=mono|c0=c{heard}' OUT.wav",
            )
        elif self._low == self._high:
            silence = "silence alone" if self._low == 0 else f"{self._low:.4g} in every sample"
            _doubt(path, silence, "sound", "the microphone was off, or the recording was lost")
        elif abs(mean) > LARGEST_OFFSET:
            _doubt(
                path,
                f"samples around {mean:.3g}",
                "samples around 0",
                "unsigned samples read as signed ones, or a defect of the recorder; remove the mean: "
                "ffmpeg -i IN -af highpass=20 OUT.wav",
            )
        elif self._peak < QUIETEST_PEAK:
            _doubt(
                path,
                f"samples up to {self._peak:.3g}",
                "sound louder than the steps of 16 bits",
                "divided by their full scale twice, or the microphone was off; amplify: "
                f"ffmpeg -i IN -af volume={0.5 / self._peak:.3g} -c:a pcm_f32le OUT.wav",
            )
        elif self._loud > MOST_AT_FULL_SCALE * self._count * self.channels:
            _doubt(
                path,
                f"{self._loud / (self._count * self.channels):.0%} of the samples at full scale",
                "a wave that is not cut off",
                "recorded or amplified too loudly; what was cut off is lost: take the recording before that",
            )


def _doubt(path: str, got: str, expected: str, cause: str) -> None:
    doubt(InputError(f"{path}: audio", got=got, expected=expected, cause=cause))
