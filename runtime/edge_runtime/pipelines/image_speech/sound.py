"""A mel of front end `auffusion` → sound: with a vocoder, or without any model.

    mel (256, T)   natural logarithm, row 0 the lowest band
    samples        (160 · T,) float32 at 16 kHz, quieter where the vocoder's peak is above 0.98

The vocoder is a bundle of `hifigan` or `istft-vocoder` for that front end. Without one, the magnitude is the
pseudo-inverse's estimate and the phase Fast Griffin-Lim's (`edge_runtime.pipelines.mel_inversion`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.dsp.mel import MelConfig
from edge_runtime.errors import BundleError
from edge_runtime.pipelines.bundle_net import AnyBundle
from edge_runtime.pipelines.image_speech.picture import FRONT_END
from edge_runtime.pipelines.mel_inversion.pipeline import MelInversion
from edge_runtime.pipelines.vocoder.pipeline import Vocoder

LOUDEST = 0.98  # full scale 1
_OF_THE_RECORDING = frozenset({"peak", "fmax", "fmax_above_nyquist", "epsilon"})  # fmax: see `_differences`


class Speaker:
    """Makes sound of mels.

    Args:
        vocoder: a bundle, or None for Griffin-Lim.
        iterations: of Griffin-Lim; 64 if None.
        execution: backend, device, threads and precision, as for every pipeline.

    Raises:
        BundleError: a damaged bundle, or a vocoder of another front end.
        BackendError: the backend cannot run here.
        ConfigError: an impossible number of iterations.
    """

    sample_rate = FRONT_END.sample_rate  # Hz

    def __init__(
        self, vocoder: AnyBundle | None, execution: Mapping[str, Any], *, iterations: int | None = None
    ) -> None:
        self.vocoder = None if vocoder is None else _open(vocoder, execution)
        self._without = MelInversion(preset="auffusion", iterations=iterations, threads=execution["threads"])

    @property
    def detail(self) -> str:
        """What computes the sound, in words."""
        if self.vocoder is not None:
            return f"{self.vocoder.net.manifest.net}, {self.vocoder.net.detail}"
        return f"pseudo-inverse and {self._without.iterations} iterations of Fast Griffin-Lim, numpy"

    def __call__(self, mel: ArrayLike) -> NDArray[np.float32]:
        """Samples (160 · T,) of a mel (256, T).

        Raises:
            InputError: another shape, or values that are no such mel.
        """
        values = np.asarray(mel, np.float32)
        if self.vocoder is None:
            samples = self._without.invert(values).samples
        else:
            samples = self.vocoder.synthesize(values)
        largest = float(np.abs(samples).max())
        return samples if largest <= LOUDEST else np.asarray(samples * (LOUDEST / largest), np.float32)


def _open(bundle: AnyBundle, execution: Mapping[str, Any]) -> Vocoder:
    vocoder = Vocoder(bundle, **execution)
    if wrong := _differences(vocoder.front_end):
        raise BundleError(
            f"{vocoder.net.bundle.path}: front_end",
            got=", ".join(f"{name} {getattr(vocoder.front_end, name)}" for name in wrong),
            expected=", ".join(f"{name} {getattr(FRONT_END, name)}" for name in wrong),
            cause="take a vocoder of the preset auffusion, or none: Griffin-Lim needs no bundle",
        )
    return vocoder


def _differences(config: MelConfig) -> list[str]:
    """Fields in which a mel differs from those of the pictures; how recordings are scaled does not count."""
    names = [field.name for field in fields(config) if field.name not in _OF_THE_RECORDING]
    found = [name for name in names if getattr(config, name) != getattr(FRONT_END, name)]
    return found if config.upper_edge == FRONT_END.upper_edge else [*found, "upper_edge"]
