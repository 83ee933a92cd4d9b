"""Runs exported speech nets; its signal processing needs only numpy.

The names below are loaded when they are first used: importing the package imports nothing heavy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.former_names import FORMER as _FORMER
from edge_runtime.former_names import install as _install
from edge_runtime.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from edge_runtime.backends import get_backend
    from edge_runtime.compare import Comparison
    from edge_runtime.compare import compare as compare_arrays
    from edge_runtime.dsp.griffin_lim import RealtimeGriffinLim
    from edge_runtime.dsp.mel import PRESETS, MelConfig, MelFrontEnd
    from edge_runtime.dsp.spectral import Stft, StftConfig
    from edge_runtime.errors import (
        BackendError,
        BundleError,
        CheckpointError,
        ConfigError,
        EdgeError,
        InputError,
        TargetError,
    )
    from edge_runtime.media.audio import Audio, WavWriter, read_audio, resample, write_wav
    from edge_runtime.media.video import Video, open_video, read_frames, write_video
    from edge_runtime.pipelines.bundle_net import BundleNet
    from edge_runtime.pipelines.ecog_speech.pipeline import EcogSpeech
    from edge_runtime.pipelines.image_speech.pipeline import ImageSpeech
    from edge_runtime.pipelines.mel_inversion.pipeline import MelInversion
    from edge_runtime.pipelines.mri_speech.pipeline import MriSpeech
    from edge_runtime.pipelines.picture_speech.pipeline import PictureSpeech
    from edge_runtime.pipelines.registry import PIPELINES, get_system
    from edge_runtime.pipelines.talking_head.pipeline import TalkingHead
    from edge_runtime.pipelines.vocoder.pipeline import Vocoder
    from edge_runtime.pipelines.vocoder.streaming import StreamingVocoder
    from edge_runtime.store.bundle import Artifact, Bundle, Manifest, Tensor, open_bundle
    from edge_runtime.version import VERSION

# public name → module, and its name there where that is another one
_HOMES = {
    "Artifact": "store.bundle",
    "Audio": "media.audio",
    "BackendError": "errors",
    "Bundle": "store.bundle",
    "BundleError": "errors",
    "BundleNet": "pipelines.bundle_net",
    "CheckpointError": "errors",
    "Comparison": "compare",
    "ConfigError": "errors",
    "EcogSpeech": "pipelines.ecog_speech.pipeline",
    "EdgeError": "errors",
    "ImageSpeech": "pipelines.image_speech.pipeline",
    "InputError": "errors",
    "Manifest": "store.bundle",
    "MelConfig": "dsp.mel",
    "MelFrontEnd": "dsp.mel",
    "MelInversion": "pipelines.mel_inversion.pipeline",
    "MriSpeech": "pipelines.mri_speech.pipeline",
    "PIPELINES": "pipelines.registry",
    "PRESETS": "dsp.mel",
    "PictureSpeech": "pipelines.picture_speech.pipeline",
    "RealtimeGriffinLim": "dsp.griffin_lim",
    "Stft": "dsp.spectral",
    "StftConfig": "dsp.spectral",
    "TalkingHead": "pipelines.talking_head.pipeline",
    "TargetError": "errors",
    "Tensor": "store.bundle",
    "VERSION": "version",
    "Video": "media.video",
    "StreamingVocoder": "pipelines.vocoder.streaming",
    "Vocoder": "pipelines.vocoder.pipeline",
    "WavWriter": "media.audio",
    "compare_arrays": "compare:compare",
    "get_backend": "backends",
    "get_system": "pipelines.registry",
    "open_bundle": "store.bundle",
    "open_video": "media.video",
    "read_audio": "media.audio",
    "read_frames": "media.video",
    "resample": "media.audio",
    "write_video": "media.video",
    "write_wav": "media.audio",
}

__all__ = [
    "PIPELINES",
    "PRESETS",
    "VERSION",
    "Artifact",
    "Audio",
    "BackendError",
    "Bundle",
    "BundleError",
    "BundleNet",
    "CheckpointError",
    "Comparison",
    "ConfigError",
    "EcogSpeech",
    "EdgeError",
    "ImageSpeech",
    "InputError",
    "Manifest",
    "MelConfig",
    "MelFrontEnd",
    "MelInversion",
    "MriSpeech",
    "PictureSpeech",
    "RealtimeGriffinLim",
    "Stft",
    "StftConfig",
    "StreamingVocoder",
    "TalkingHead",
    "TargetError",
    "Tensor",
    "Video",
    "Vocoder",
    "WavWriter",
    "compare_arrays",
    "get_backend",
    "get_system",
    "open_bundle",
    "open_video",
    "read_audio",
    "read_frames",
    "resample",
    "write_video",
    "write_wav",
]

__getattr__, __dir__ = _lazy_names(__name__, _HOMES)

_install(__name__, _FORMER)
