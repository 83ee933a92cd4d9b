"""Mel → magnitude → waveform, with nets or without."""
