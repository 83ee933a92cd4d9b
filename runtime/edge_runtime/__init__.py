"""Runs exported speech nets; its signal processing needs numpy alone.

The names below are loaded when they are first used: importing the package imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge_runtime.dsp.mel import PRESETS, MelConfig, MelFrontEnd
    from edge_runtime.errors import EdgeError
    from edge_runtime.media.audio import Audio, read_audio, resample, write_wav
    from edge_runtime.pipelines.mel_inversion.pipeline import MelInversion
    from edge_runtime.pipelines.talking_head.pipeline import TalkingHead
    from edge_runtime.pipelines.vocoder.pipeline import Vocoder
    from edge_runtime.store.bundle import Bundle, Manifest, open_bundle

# public name → module
_HOMES = {
    "EdgeError": "errors",
    "Audio": "audio",
    "read_audio": "audio",
    "resample": "audio",
    "write_wav": "audio",
    "MelConfig": "mel",
    "MelFrontEnd": "mel",
    "PRESETS": "mel",
    "Bundle": "bundle",
    "Manifest": "bundle",
    "open_bundle": "bundle",
    "MelInversion": "pipelines.mel_inversion",
    "TalkingHead": "pipelines.talking_head",
    "Vocoder": "pipelines.vocoder",
}

__all__ = [
    "PRESETS",
    "Audio",
    "Bundle",
    "EdgeError",
    "Manifest",
    "MelConfig",
    "MelFrontEnd",
    "MelInversion",
    "TalkingHead",
    "Vocoder",
    "open_bundle",
    "read_audio",
    "resample",
    "write_wav",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
