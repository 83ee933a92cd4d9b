"""Mel → waveform: HiFi-GAN, its discriminators, data, losses and recipe."""
