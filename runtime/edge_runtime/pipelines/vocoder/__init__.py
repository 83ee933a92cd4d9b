"""Mel → waveform."""

from edge_runtime.pipelines.vocoder.pipeline import Vocoder

__all__ = ["Vocoder"]
