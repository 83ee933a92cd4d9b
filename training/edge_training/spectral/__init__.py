"""STFT, inverse STFT and mel spectrograms as torch layers."""
