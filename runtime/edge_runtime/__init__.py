"""Runs exported speech nets; its signal processing needs numpy alone.

The names below are loaded when they are first used: importing the package imports nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edge_runtime.former_names import FORMER as _FORMER
from edge_runtime.former_names import install as _install

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
    "Audio": "media.audio",
    "read_audio": "media.audio",
    "resample": "media.audio",
    "write_wav": "media.audio",
    "MelConfig": "dsp.mel",
    "MelFrontEnd": "dsp.mel",
    "PRESETS": "dsp.mel",
    "Bundle": "store.bundle",
    "Manifest": "store.bundle",
    "open_bundle": "store.bundle",
    "MelInversion": "pipelines.mel_inversion.pipeline",
    "TalkingHead": "pipelines.talking_head.pipeline",
    "Vocoder": "pipelines.vocoder.pipeline",
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


_install(__name__, _FORMER)
