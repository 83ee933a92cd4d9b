"""Small configs of the nets that work on spectra, for tests: 33 bins, 12 mels, a few channels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

from edge_runtime.dsp.mel import MelConfig
from edge_training.mel_inversion.degli import DegliConfig
from edge_training.mel_inversion.pinv_conv_skip import MelInversionConfig, Variant
from edge_training.spectral.layers import SpectralConfig

MEL = MelConfig(sample_rate=8000, n_fft=64, hop_length=16, win_length=64, n_mels=12)
MEL_DB = replace(MEL, standardize=True, spectrum_range_db=80.0, log="none")
CHANNELS = (4, 6, 8)
ORIGINS: tuple[Variant, ...] = tuple(name for name in get_args(Variant) if name != "light")

INVERSION = MelInversionConfig(mel=MEL, channels=CHANNELS)
INVERSION_DB = MelInversionConfig(domain="db", mel=MEL_DB, channels=CHANNELS)
DEGLI = DegliConfig(channels=4, sample_rate=8000, n_fft=64, hop_length=16, win_length=64, magnitude_rms=4.9)
DEGLI_NET = replace(DEGLI, graph="net")
SPECTRAL = SpectralConfig(64, 16, 64)

CONFIGS: dict[str, tuple[Any, ...]] = {
    "mel-inversion": (INVERSION, INVERSION_DB, replace(INVERSION_DB, normalization="min-max")),
    "degli": (DEGLI, DEGLI_NET),
    "stft": (SPECTRAL,),
    "istft": (SPECTRAL,),
}
