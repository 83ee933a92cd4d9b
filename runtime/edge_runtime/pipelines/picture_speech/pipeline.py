"""A picture → its log-mel → speech; and a recording → its picture → speech again.

    file               → reading         picture (256, T) in 0 … 1, row 0 the highest band
    another picture    → imprint         pressed into it, where one is given
    picture            → picture_to_mel  ln 1e-5 … ln 200, row 0 the lowest band
    mel                → sound           a vocoder, or Griffin-Lim without any model: (160 · T,) samples

A recording that goes this way loses what the mel does not hold; `edge_export.quality.picture` measures it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.backends.base import Backend
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.pipelines.bundle_net import AnyBundle
from edge_runtime.pipelines.image_speech.imprint import STRENGTH, check_strength, imprint, resized
from edge_runtime.pipelines.image_speech.picture import FRONT_END, picture_to_mel
from edge_runtime.pipelines.image_speech.sound import Speaker
from edge_runtime.pipelines.picture_speech.orientation import Orientation
from edge_runtime.pipelines.picture_speech.reading import Picture, read_grey, read_picture

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class PictureSpeechResult:
    """Every stage of T columns."""

    picture: Floats  # (256, T), 0 … 1, row 0 the highest band; with what was imprinted
    mel: Floats  # (256, T), natural logarithm, row 0 the lowest band
    samples: Floats  # (160 T,)


class PictureSpeech:
    """The pipeline.

    Args:
        vocoder: bundle of `hifigan` or `istft-vocoder` for the mel `auffusion`; Griffin-Lim if None.
        orientation: what row 0 of picture files is, "high-first" or "low-first"; recognised if None.
        iterations: of Griffin-Lim; 64 if None.
        imprint: picture of any size, which is pressed into each spectrogram.
        strength: of that, 0 … 1.
        backend, device, threads, precision: what executes the vocoder, see `edge_runtime.backends`.
        progress: told how a file was read.

    Raises:
        ConfigError: impossible options.
        InputError: the picture to imprint cannot be read.
        BundleError: a damaged bundle, or a vocoder of another front end.
        BackendError: the backend cannot run here.

    >>> grey = np.linspace(1, 0, 256, dtype=np.float32)[:, None].repeat(64, axis=1)
    >>> PictureSpeech(iterations=2).process(grey).samples.shape
    (10240,)
    """

    def __init__(
        self,
        vocoder: AnyBundle | None = None,
        *,
        orientation: Orientation | None = None,
        iterations: int | None = None,
        imprint: str | os.PathLike[str] | None = None,
        strength: float = STRENGTH,
        backend: str | Backend = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        progress: Callable[[str], object] = lambda _line: None,
    ) -> None:
        if vocoder is not None and iterations is not None:
            raise ConfigError(
                "--iterations", got=f"{iterations} beside a vocoder", expected="it for Griffin-Lim alone"
            )
        execution: dict[str, Any] = {
            "backend": backend, "device": device, "threads": threads, "precision": precision,
        }  # fmt: skip
        self.progress = progress
        self.orientation, self.strength = orientation, check_strength(strength)
        self.imprinted = None if imprint is None else Path(imprint)
        self._grey = None if self.imprinted is None else read_grey(self.imprinted)
        self.speaker = Speaker(vocoder, execution, iterations=iterations)

    @property
    def sample_rate(self) -> int:
        """Sample rate of the result, Hz."""
        return self.speaker.sample_rate

    def read(self, path: str | os.PathLike[str]) -> Picture:
        """The picture of a file; see `edge_runtime.pipelines.picture_speech.reading`."""
        return read_picture(path, self.orientation, self.progress)

    def process(self, picture: ArrayLike) -> PictureSpeechResult:
        """Speech of a picture (256, T) in 0 … 1, row 0 the highest band.

        Raises:
            InputError: another shape, values outside of 0 … 1, or too few columns for the sound.
        """
        values = np.asarray(picture)
        fewest = 1 + FRONT_END.n_fft // FRONT_END.hop_length
        if values.ndim == 2 and values.shape[1] < fewest:
            raise InputError(
                "picture", got=f"{values.shape[1]} columns", expected=f"at least {fewest}, of 10 ms each"
            )
        if self._grey is not None and values.ndim == 2:
            values = imprint(values, resized(self._grey, *values.shape), self.strength)
        mel = picture_to_mel(values)
        return PictureSpeechResult(np.asarray(values, np.float32), mel, self.speaker(mel))
