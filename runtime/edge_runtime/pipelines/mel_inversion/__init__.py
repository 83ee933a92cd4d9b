"""Mel → magnitude → waveform, with nets or without."""

from typing import TYPE_CHECKING

from edge_runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from edge_runtime.pipelines.mel_inversion.pipeline import MelInversion, MelInversionResult

__all__ = ["MelInversion", "MelInversionResult"]

__getattr__, __dir__ = lazy_names(__name__, {"MelInversion": "pipeline", "MelInversionResult": "pipeline"})
