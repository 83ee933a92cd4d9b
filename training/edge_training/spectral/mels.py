"""Mel spectrograms in torch: differentiable, on any device, for whole batches.

The values of `edge_runtime.dsp.mel.MelFrontEnd`, for the front ends that vocoders use: pre-emphasis, explicit
reflect padding or none, magnitude with epsilon or power, a filter bank, a logarithm with a floor. Window and
banks are made once and stay on the module's device. One short-time transform serves several banks over the
same frames (input mel to 8 kHz and loss mel to Nyquist, say): the transform is the expensive part.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_runtime.dsp.mel import MelConfig, filter_bank
from edge_runtime.errors import ConfigError


class TorchMel(nn.Module):
    """Samples (…, N) float → one log-mel (…, n_mels, frames) for each of `configs`.

    Args:
        configs: front ends that differ only in their bank (`n_mels`, `fmin`, `fmax`, …).

    Raises:
        ConfigError: configurations that this class cannot compute, or whose transforms differ.
    """

    def __init__(self, *configs: MelConfig) -> None:
        super().__init__()
        self.configs = configs
        for config in configs:
            _check_supported(config)
            if _transform(config) != _transform(configs[0]):
                raise ConfigError(
                    "mel configurations",
                    got="different transforms",
                    expected="configurations that differ only in their filter banks",
                )
        first = configs[0]
        window = torch.hann_window(first.win_length, periodic=True, dtype=torch.float64).float()
        self.register_buffer("window", window, persistent=False)
        for index, config in enumerate(configs):
            bank = torch.from_numpy(filter_bank(config)).float()
            self.register_buffer(f"bank{index}", bank, persistent=False)

    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        """(…, samples) → one (…, n_mels, frames) for each configuration."""
        with torch.autocast(samples.device.type, enabled=False):  # half precision has no range for a power
            spectrum = self.spectrum(samples.float())
            bands = [self.get_buffer(f"bank{index}") @ spectrum for index in range(len(self.configs))]
            return tuple(
                torch.log(band.clamp(min=config.floor))
                for band, config in zip(bands, self.configs, strict=True)
            )

    def spectrum(self, samples: Tensor) -> Tensor:
        """Magnitude or power, (…, samples) → (…, bins, frames)."""
        config = self.configs[0]
        flat = samples.reshape(-1, samples.shape[-1])
        if config.pre_emphasis:
            flat = torch.cat([flat[:, :1], flat[:, 1:] - config.pre_emphasis * flat[:, :-1]], 1)
        if config.padding == "reflect":
            pad = (config.n_fft - config.hop_length) // 2
            flat = F.pad(flat.unsqueeze(1), (pad, pad), mode="reflect").squeeze(1)
        transform = torch.stft(
            flat,
            config.n_fft,
            config.hop_length,
            config.win_length,
            cast(Tensor, self.window),
            center=config.padding == "center-reflect",
            pad_mode="reflect",
            return_complex=True,
        )
        power = transform.real.square() + transform.imag.square()
        spectrum = power if config.power == 2 else torch.sqrt(power + config.epsilon)
        return spectrum.reshape(*samples.shape[:-1], *spectrum.shape[-2:])


def _transform(config: MelConfig) -> MelConfig:
    """The configuration with its bank's entries at their defaults: equal for equal transforms."""
    return replace(config, n_mels=1, fmin=0.0, fmax=None, mel_scale="slaney", area_norm=True)


def _check_supported(config: MelConfig) -> None:
    """ConfigError for whatever this class would compute differently from the runtime's front end."""
    neutral = {
        "standardize": False, "peak": None, "spectrum_range_db": None,
        "bin_spacing": "fft", "log": "ln", "log_gain": 1.0, "reference": 0.0, "top_db": None,
        "scale_from": None, "clip": False,
    }  # fmt: skip
    changed = [name for name, value in neutral.items() if getattr(config, name) != value]
    if config.padding == "center-zero":
        changed.append("padding")
    if config.n_mels is None:
        changed.append("n_mels")
    if changed:
        raise ConfigError(
            "mel configuration",
            got=", ".join(f"{name} {getattr(config, name)!r}" for name in changed),
            expected="only pre-emphasis, a spectrum, a bank and a natural logarithm",
            cause="training cannot compute this front end; write its mels to files with edge_runtime",
        )


def log_floor(config: MelConfig) -> float:
    """Logarithm of the floor: the value of every band in silence."""
    return math.log(config.floor)
