"""Nets told apart by their keys: those of published files, and shapes that give a config away."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.small_spectral_nets import DEGLI, INVERSION
from torch import Tensor

from edge_training.mel_inversion.degli import DEGLI_PRESETS, Degli, DegliConfig
from edge_training.mel_inversion.pinv_conv_skip import build_mel_inversion
from edge_training.mri_speech.mri_acoustic import MRI_ACOUSTIC_PRESETS, MriAcoustic
from edge_training.vocoder.hifigan import HIFIGAN_PRESETS, HifiGan, HifiGanConfig
from edge_training.weights.recognition import hifigan_preset, recognise, resemblance

KEYS = Path(__file__).parents[2] / "data" / "keys"


def stored_keys(name: str) -> list[str]:
    return list(json.loads((KEYS / f"{name}.json").read_text()))


def folded(config: HifiGanConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        return HifiGan(config).state_dict()


@pytest.mark.parametrize(
    ("name", "net"),
    [
        ("audio_encoder", "audio-encoder"),
        ("hifigan_v1", "hifigan"),
        ("hifigan_v3", "hifigan"),
        ("hifigan_rtmri-origin", "hifigan"),
        ("hifigan_discriminators", "hifigan-discriminators"),
    ],
)
def test_whole_key_files(name: str, net: str) -> None:
    assert recognise(stored_keys(name)) == net


@pytest.mark.parametrize(
    ("keys", "net"),
    [
        ([f"{i}.conv_block.0.weight" for i in range(13)], "audio-encoder"),
        ([f"{i}.conv_block.0.weight" for i in range(14)], "wav2lip-syncnet"),
        (
            [
                f"{tower}.{i}.conv_block.0.weight"
                for tower in ("face_encoder", "audio_encoder")
                for i in range(14)
            ],
            "wav2lip-syncnet",
        ),
        (
            ["face_encoder_blocks.0.0.conv_block.0.weight", "face_decoder_blocks.0.0.conv_block.0.weight"],
            "wav2lip-generator",
        ),
        (["discriminators.0.convs.0.bias", "discriminators.0.conv_post.bias"], "hifigan-discriminators"),
        (["cnn.backbone.conv_stem.weight", "rnn.lstm.weight_ih_l0", "head.weight"], "mri-acoustic"),
        (["degliblock.convdnn.aigcc.0.conv_re.weight"], "degli"),
        (["convblocks.0.conv.weight", "convblocks.0.bn.weight"], "mel-inversion"),
        (["unet.down.0.0.conv.weight", "unet.out.0.weight"], "mel-inversion"),
        (["place", "gather.weight", "blocks.0.spread.weight"], "mel-inversion"),
        (["from_ecog.from_ecog.weight", "prediction_head.fundementals.weight"], "ecog-decoder"),
        (["swin_transformer.norm.weight", "prediction_head.fundementals.weight"], "ecog-decoder"),
        (["conv_fundementals.weight", "conv_loudness.weight", "conv1.weight"], "speech-encoder"),
        (["bgnoise_mapping.weight", "timbre"], "formant-synthesizer"),
        (["layer.weight"], None),
        ([f"{i}.conv_block.0.weight" for i in range(12)], None),
        ([], None),
    ],
)
def test_keys(keys: list[str], net: str | None) -> None:
    assert recognise(keys) == net


@pytest.mark.parametrize("name", ["v1", "v2", "v3", "rtmri"])
def test_shapes_of_a_preset(name: str) -> None:
    state = folded(HIFIGAN_PRESETS[name])
    assert hifigan_preset(state) == name
    assert resemblance(state, "hifigan") == f"its shapes are those of preset {name}"


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("pinv-conv-skip", "its shapes say variant pinv-conv-skip; channels 4, 6, 8"),
        ("pinv-conv", "its shapes say variant pinv-conv or pinv-conv-res; channels 4, 6, 8"),
        ("pinv-conv-res", "its shapes say variant pinv-conv or pinv-conv-res; channels 4, 6, 8"),
        (
            "pinv-conv-skip-no-bottleneck",
            "its shapes say variant pinv-conv-skip-no-bottleneck; channels 4, 6, 8",
        ),
        ("unet", "its shapes say variant unet or pinv-unet; channels 4, 6, 8"),
        ("light", "its keys say variant light"),
    ],
)
def test_shapes_of_mel_inversion(variant: Any, said: str) -> None:
    state = build_mel_inversion(replace(INVERSION, variant=variant)).state_dict()
    assert recognise(state) == "mel-inversion"
    assert resemblance(state, "mel-inversion") == said


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (DEGLI_PRESETS["origin"], "its shapes are those of preset origin"),
        (DEGLI_PRESETS["small"], "its shapes are those of preset small"),
        (DEGLI, "its shapes say channels 4; kernel 5, 3"),
    ],
)
def test_shapes_of_degli(config: DegliConfig, said: str) -> None:
    state = Degli(config).state_dict()
    assert recognise(state) == "degli"
    assert resemblance(state, "degli") == said
    assert resemblance(state, "mel-inversion") == "it looks like degli"


@pytest.mark.parametrize("preset", ["b2", "phantom", "tiny"])
def test_shapes_of_mri_acoustic(preset: str) -> None:
    config = MRI_ACOUSTIC_PRESETS[preset]
    state = MriAcoustic(config).state_dict()
    assert recognise(state) == "mri-acoustic"
    said = f"its shapes say backbone {preset}; rnn_hidden {config.rnn_hidden}; n_mels 64"
    assert resemblance(state, "mri-acoustic") == said
    del state["cnn.backbone.bn1.weight"]
    assert "backbone" not in resemblance(state, "mri-acoustic")


def test_shapes_of_no_preset_say_what_they_can() -> None:
    state = folded(replace(HIFIGAN_PRESETS["v1"], num_mels=100, upsample_initial_channel=256))
    assert hifigan_preset(state) is None
    assert resemblance(state, "hifigan") == (
        "its shapes say num_mels 100; upsample_initial_channel 256; "
        "upsample_kernel_sizes 16, 16, 4, 4; resblock 1"
    )


def test_resemblance_is_silent_about_what_it_does_not_know() -> None:
    assert resemblance({"layer.weight": torch.zeros(1)}, "hifigan") == ""
    assert resemblance({f"{i}.conv_block.0.weight": torch.zeros(1) for i in range(13)}, "audio-encoder") == ""
