"""Keys and sizes of the published decoders, presets, and configurations that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from edge_runtime.errors import ConfigError
from edge_training.ecog_speech.decoders.ecog_decoder import (
    ECOG_DECODER_PRESETS,
    EcogDecoder,
    EcogDecoderConfig,
    build_decoder,
    decode,
)
from edge_training.ecog_speech.parameters import PARAMETERS, ROWS

KEYS = json.loads((Path(__file__).parents[3] / "data" / "keys" / "ecog_speech.json").read_text())
PUBLISHED = {
    "resnet": "resnet",
    "resnet_hb": "resnet-hb",
    "resnet_causal": "resnet-causal",
    "resnet_anticausal": "resnet-anticausal",
    "rnn": "lstm",
    "rnn_causal": "lstm-causal",
    "rnn_hb": "lstm-hb",
    "swin": "swin",
    "swin_hb": "swin-hb",
    "swin_causal": "swin-causal",
}


@pytest.mark.parametrize(("published", "preset"), PUBLISHED.items())
def test_keys_and_shapes_are_the_origins(published: str, preset: str) -> None:
    with torch.device("meta"):
        net = build_decoder(ECOG_DECODER_PRESETS[preset])
    assert {key: list(value.shape) for key, value in net.state_dict().items()} == KEYS[published]


def test_resnet_has_as_many_parameters_as_published() -> None:
    with torch.device("meta"):
        net = build_decoder(ECOG_DECODER_PRESETS["resnet"])
    assert sum(parameter.numel() for parameter in net.parameters()) == 4_798_398


def test_the_recurrent_class_has_smaller_defaults() -> None:
    config = EcogDecoderConfig(family="lstm", layers=3, units=128, classes=64)
    with torch.device("meta"):
        net = build_decoder(config)
    assert {key: list(value.shape) for key, value in net.state_dict().items()} == KEYS["rnn_ctor_default"]


def test_the_exported_net_gives_the_parameters_in_their_order() -> None:
    torch.manual_seed(0)
    net = EcogDecoder(EcogDecoderConfig(family="gru", electrodes=9, layers=1, units=4, classes=5)).eval()
    ecog = torch.randn(2, 144, 9)
    *values, common = net(ecog)
    named = decode(net.net, ecog)
    assert [tuple(value.shape) for value in values] == [(2, ROWS[name], 128) for name in PARAMETERS]
    assert common.shape == (2, 5, 128)
    for name, value in zip(PARAMETERS, values, strict=True):
        assert torch.equal(value, named[name])


def test_presets_survive_json() -> None:
    for config in ECOG_DECODER_PRESETS.values():
        assert EcogDecoderConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert {"resnet-hb-streaming", "gru", "swin-hb-causal", "lstm-streaming"} <= set(ECOG_DECODER_PRESETS)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"electrodes": 128}, "electrodes: got 128, expected a square from 9 to 256"),
        ({"electrodes": 4}, "electrodes: got 4, expected a square"),
        ({"electrodes": 9}, "electrodes: got 9, expected 16 and more for resnet"),
        ({"anticausal": True}, "anticausal: got True, expected false, or causal with it"),
        ({"wiring": "streaming"}, "causal: got False, expected true where the wiring is streaming"),
        ({"family": "cnn"}, "family: got 'cnn', expected resnet or lstm or gru or swin"),
        ({"channels": 0}, "channels: got 0, expected a whole number from 1 to 256, or null"),
        ({"channels": 4, "family": "gru"}, "channels: got 4, expected null for gru: it has units"),
        ({"channels": 24, "family": "swin"}, "channels: got 24, expected a multiple of 16 for swin"),
        (
            {"learned_doubling": True},
            "learned_doubling: got True, expected false for resnet: it is an entry of swin",
        ),
        ({"drop_rate": 1}, "drop_rate: got 1, expected a number, 0 or more and less than 1, or null"),
        ({"drop_rate": 0.1, "family": "lstm"}, "drop_rate: got 0.1, expected null for lstm: it has dropout"),
        ({"units": 0}, "units: got 0, expected a whole number from 1 to 4096"),
        ({"dropout": 1.0}, r"dropout: got 1.0, expected a number in 0 … 1"),
        (
            {"family": "lstm", "causal": True, "anticausal": True},
            "anticausal: got True, expected false but for resnet",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        EcogDecoderConfig(**changes)  # type: ignore[arg-type]


def test_unknown_entries_are_refused() -> None:
    with pytest.raises(ConfigError, match="entry 'grid': got an unknown entry"):
        EcogDecoderConfig.from_json({"grid": 8})
