"""Which net a state dict belongs to, told from its keys and shapes; for sentences and for defaults.

Keys are prefix-free, as `read_checkpoint` gives them. What is recognised is what users confuse: the nets of
this project and their relatives in the origin systems (Wav2Lip, HiFi-GAN).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import cache
from types import MappingProxyType

import torch
from torch import Tensor

from edge_training.nets.hifigan import HIFIGAN_PRESETS, HifiGan, HifiGanConfig

# net → expressions that must each match the beginning of some key; the first row that holds is the answer
_PATTERNS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "hifigan-discriminators": (r"((mpd|msd)\.)?discriminators\.\d+\.(convs\.\d+|conv_post)\.",),
        "wav2lip-generator": (r"face_decoder_blocks\.",),
        "wav2lip-syncnet": (r"(audio_encoder\.)?13\.conv_block\.0\.",),
        "audio-encoder": (r"(audio_encoder\.)?0\.conv_block\.0\.", r"(audio_encoder\.)?12\.conv_block\.0\."),
        "hifigan": (r"conv_pre\.", r"ups\.0\.", r"resblocks\.0\."),
        "mri-acoustic": (r"cnn\.backbone\.", r"rnn\.lstm\."),
        "degli": (r"degliblock\.",),
        "mel-inversion": (r"convblocks\.\d+\.conv\.",),
        "ecog-decoder": (r"(from_ecog|swin_transformer|base_model)\.", r"prediction_head"),
        "speech-encoder": (r"conv_fundementals", r"conv_loudness"),  # the origin's spelling
        "formant-synthesizer": (r"bgnoise_mapping",),
    }
)

_DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "hifigan-discriminators": "HiFi-GAN's discriminators (a do_ file); the generator lies in the g_ file",
        "wav2lip-generator": "a Wav2Lip generator",
        "wav2lip-syncnet": "Wav2Lip's SyncNet (lipsync_expert), whose audio branch has 14 blocks, not 13; "
        "the audio_encoder of a Wav2Lip generator would fit",
    }
)


def recognise(state: Collection[str]) -> str | None:
    """Name of the net that a state dict (or its keys alone) looks like, None for one never seen."""
    for net, patterns in _PATTERNS.items():
        if all(any(re.match(pattern, key) for key in state) for pattern in patterns):
            return net
    return None


def resemblance(state: Mapping[str, Tensor], net: str) -> str:
    """A clause on what weights that do not fit `net` look like, "" where there is nothing to say."""
    found = recognise(state)
    if found is None:
        return ""
    if found != net:
        return f"it looks like {_DESCRIPTIONS.get(found, found)}"
    return _hifigan_shapes(state) if net == "hifigan" else ""


def hifigan_preset(state: Mapping[str, Tensor]) -> str | None:
    """Name of the first preset whose folded keys and shapes are these (wirings share them)."""
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    return next((name for name, config in HIFIGAN_PRESETS.items() if _shapes(config) == shapes), None)


@cache
def _shapes(config: HifiGanConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):  # shapes alone, no memory
        return {key: tuple(tensor.shape) for key, tensor in HifiGan(config).state_dict().items()}


def _hifigan_shapes(state: Mapping[str, Tensor]) -> str:
    """The config entries that the shapes of a HiFi-GAN give away."""
    preset = hifigan_preset(state)
    if preset is not None:
        return f"its shapes are those of preset {preset}"
    clauses = []
    first = state.get("conv_pre.weight")
    if first is not None and first.ndim == 3:
        clauses += [f"num_mels {first.shape[1]}", f"upsample_initial_channel {first.shape[0]}"]
    ups = [state[key] for key in sorted(state) if re.fullmatch(r"ups\.\d+\.weight", key)]
    if ups and all(up.ndim == 3 for up in ups):
        clauses.append(f"upsample_kernel_sizes {', '.join(str(up.shape[2]) for up in ups)}")
    clauses.append(f"resblock {1 if any('.convs1.' in key for key in state) else 2}")
    return f"its shapes say {'; '.join(clauses)}"
