"""Mel → waveform."""

from typing import TYPE_CHECKING

from edge_runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from edge_runtime.pipelines.vocoder.pipeline import Vocoder

__all__ = ["Vocoder"]

__getattr__, __dir__ = lazy_names(__name__, {"Vocoder": "pipeline"})
