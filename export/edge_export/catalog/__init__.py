"""The nets that can be exported, one entry each: how to build it, its inputs and outputs, its tolerance.

A net is added with one file `edge_training/<system>/<net>.py`, one file here, and one line of `NETS`. Nothing
here imports torch until a net is built or its config read: listing the nets is quick and works without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from edge_export.catalog import (
    audio_encoder,
    bigvgan,
    clip_text,
    degli,
    ecog_decoder,
    formant_synthesizer,
    hifigan,
    istft_vocoder,
    mel_inversion,
    mri_acoustic,
    phoneme_adapter,
    sd_unet,
    sd_vae,
    spectral,
    speech_encoder,
)
from edge_export.catalog.net import Arrays, Axes, Config, ConfigT, Net, NetConfig, unknown

__all__ = [
    "NETS",
    "NEURAL_ENGINE_WIDTH",
    "Arrays",
    "Axes",
    "Config",
    "ConfigT",
    "Net",
    "NetConfig",
    "describe_nets",
    "get_net",
    "unknown",
]

# the widest tensor of the Neural Engine; wider ones run on the GPU or the CPU
NEURAL_ENGINE_WIDTH = 16384

NETS: Mapping[str, Net[Any]] = MappingProxyType(
    {
        net.name: net
        for net in (
            audio_encoder.NET,
            hifigan.NET,
            istft_vocoder.NET,
            bigvgan.NET,
            mel_inversion.NET,
            degli.NET,
            spectral.STFT,
            spectral.ISTFT,
            mri_acoustic.NET,
            ecog_decoder.NET,
            speech_encoder.NET,
            formant_synthesizer.NET,
            sd_unet.NET,
            sd_vae.ENCODER,
            sd_vae.DECODER,
            clip_text.NET,
            phoneme_adapter.NET,
        )
    }
)


def get_net(name: str) -> Net[Any]:
    """The entry of a net; for an unknown name a ConfigError that suggests the nearest one.

    >>> get_net("hifigan").signature
    'mel (batch, n_mels, frames) -> audio (batch, 1, samples)'
    >>> get_net("hifigun")
    Traceback (most recent call last):
    edge_runtime.errors.ConfigError: net: got hifigun, expected one of ...; is hifigan meant?
    """
    if name not in NETS:
        raise unknown("net", name, NETS)
    return NETS[name]


def describe_nets() -> str:
    """The catalogue as text: name, what it is, inputs and outputs, presets."""
    paragraphs = (
        f"{net.name}\n  {net.summary}\n  {net.signature}\n  presets: {', '.join(net.presets)}"
        for net in NETS.values()
    )
    return "\n".join(paragraphs)
