"""Mel → magnitude → waveform, with nets or without."""

from edge_runtime.pipelines.mel_inversion.pipeline import MelInversion, MelInversionResult

__all__ = ["MelInversion", "MelInversionResult"]
