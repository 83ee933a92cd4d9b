"""Nets, checkpoints and their training, in PyTorch.

The names below are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.former_names import install as _install
from edge_runtime.lazy_names import lazy_names as _lazy_names
from edge_runtime.store.tensor_reader import register_tensors as _register_tensors
from edge_training.former_names import FORMER as _FORMER
from edge_training.weights.tensor_files import read_tensors as _read_tensors

if TYPE_CHECKING:
    from edge_training.ecog_speech.decoders.ecog_decoder import EcogDecoder, EcogDecoderConfig
    from edge_training.ecog_speech.formant_synthesizer import FormantSynthesizer, FormantSynthesizerConfig
    from edge_training.ecog_speech.speech_encoder import SpeechEncoder, SpeechEncoderConfig
    from edge_training.engine.config import FitConfig, JsonConfig
    from edge_training.engine.module import RECIPES, FitModule, Recipe
    from edge_training.engine.trainer import TrainResult, train
    from edge_training.mel_inversion.degli import Degli, DegliConfig
    from edge_training.mel_inversion.pinv_conv_skip import MelInversionConfig, build_mel_inversion
    from edge_training.mri_speech.gradcam import gradcam
    from edge_training.mri_speech.mri_acoustic import MriAcoustic, MriAcousticConfig
    from edge_training.mri_speech.preparation import Preparation, prepare
    from edge_training.phantom import write_corpus
    from edge_training.talking_head.audio_encoder import AudioEncoder, AudioEncoderConfig
    from edge_training.talking_head.syncnet_face import SyncNetFace
    from edge_training.vocoder.hifigan import HifiGan, HifiGanConfig
    from edge_training.vocoder.istft_vocoder import IstftVocoder, IstftVocoderConfig
    from edge_training.weights.loading import LoadedNet, load_net
    from edge_training.weights.reading import Checkpoint, load_checkpoint, read_checkpoint

# public name → module, and its name there where that is another one
_HOMES = {
    "EcogDecoder": "ecog_speech.decoders.ecog_decoder",
    "EcogDecoderConfig": "ecog_speech.decoders.ecog_decoder",
    "FormantSynthesizer": "ecog_speech.formant_synthesizer",
    "FormantSynthesizerConfig": "ecog_speech.formant_synthesizer",
    "SpeechEncoder": "ecog_speech.speech_encoder",
    "SpeechEncoderConfig": "ecog_speech.speech_encoder",
    "AudioEncoder": "talking_head.audio_encoder",
    "AudioEncoderConfig": "talking_head.audio_encoder",
    "Checkpoint": "weights.reading",
    "Degli": "mel_inversion.degli",
    "DegliConfig": "mel_inversion.degli",
    "FitConfig": "engine.config",
    "FitModule": "engine.module",
    "HifiGan": "vocoder.hifigan",
    "HifiGanConfig": "vocoder.hifigan",
    "IstftVocoder": "vocoder.istft_vocoder",
    "IstftVocoderConfig": "vocoder.istft_vocoder",
    "JsonConfig": "engine.config",
    "LoadedNet": "weights.loading",
    "MelInversionConfig": "mel_inversion.pinv_conv_skip",
    "MriAcoustic": "mri_speech.mri_acoustic",
    "MriAcousticConfig": "mri_speech.mri_acoustic",
    "Preparation": "mri_speech.preparation",
    "RECIPES": "engine.module",
    "Recipe": "engine.module",
    "SyncNetFace": "talking_head.syncnet_face",
    "TrainResult": "engine.trainer",
    "build_mel_inversion": "mel_inversion.pinv_conv_skip",
    "gradcam": "mri_speech.gradcam",
    "load_checkpoint": "weights.reading",
    "load_net": "weights.loading",
    "prepare": "mri_speech.preparation",
    "read_checkpoint": "weights.reading",
    "train": "engine.trainer",
    "write_corpus": "phantom",
}

__all__ = [
    "RECIPES",
    "AudioEncoder",
    "AudioEncoderConfig",
    "Checkpoint",
    "Degli",
    "DegliConfig",
    "EcogDecoder",
    "EcogDecoderConfig",
    "FitConfig",
    "FitModule",
    "FormantSynthesizer",
    "FormantSynthesizerConfig",
    "HifiGan",
    "HifiGanConfig",
    "IstftVocoder",
    "IstftVocoderConfig",
    "JsonConfig",
    "LoadedNet",
    "MelInversionConfig",
    "MriAcoustic",
    "MriAcousticConfig",
    "Preparation",
    "Recipe",
    "SpeechEncoder",
    "SpeechEncoderConfig",
    "SyncNetFace",
    "TrainResult",
    "build_mel_inversion",
    "gradcam",
    "load_checkpoint",
    "load_net",
    "prepare",
    "read_checkpoint",
    "train",
    "write_corpus",
]

__getattr__, __dir__ = _lazy_names(__name__, _HOMES)

_install(__name__, _FORMER)

_register_tensors(_read_tensors)
