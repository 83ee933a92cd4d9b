"""Mel → waveform: HiFi-GAN and istft-vocoder, their discriminators, data, losses and recipes."""
