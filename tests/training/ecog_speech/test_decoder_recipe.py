"""Both stages, a few steps each: what they leave, what may be set, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.training.ecog_speech.ecog_run import DECODER, train_decoder, train_pair, write_subject

from edge_runtime.errors import CheckpointError, ConfigError
from edge_training.ecog_speech.decoder_recipe import PRESETS, EcogDecoderFit
from edge_training.ecog_speech.decoders.ecog_decoder import EcogDecoderConfig, build_decoder
from edge_training.ecog_speech.encoder_recipe import PRESETS as ENCODER_PRESETS
from edge_training.ecog_speech.encoder_recipe import SpeechEncoderFit
from edge_training.ecog_speech.teacher import open_teacher
from edge_training.engine.trainer import TrainResult
from edge_training.weights.reading import load_checkpoint, read_checkpoint


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_subject(tmp_path_factory.mktemp("ecog") / "data")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, data: Path) -> TrainResult:
    return train_pair(tmp_path_factory.mktemp("ecog") / "pair", data, formant_supervision=True, use_stoi=True)


def test_the_first_stage_leaves_both_nets(pair: TrainResult) -> None:
    folder = pair.run / "checkpoints"
    assert pair.weights == folder / "speech-encoder.safetensors"
    assert json.loads((folder / "config.json").read_text())["bins"] == 128
    assert json.loads((folder / "formant-synthesizer.json").read_text())["harmonics"] == 4
    encoder, synthesizer = open_teacher(pair.run, bins=128, female=True)
    assert not any(p.requires_grad for p in (*encoder.parameters(), *synthesizer.parameters()))
    assert 0 < pair.metrics["validation/distance"] < 2
    assert pair.metrics["loss/stoi"] > -10


def test_the_origins_file_teaches_and_holds_averages(pair: TrainResult) -> None:
    (published,) = (pair.run / "checkpoints").glob("model_epoch*.pth")
    encoder, _ = open_teacher(published, bins=128, female=True)
    averaged = load_file(pair.weights)
    # live weights are taken, and the averages can be asked for
    assert not torch.equal(encoder.conv1_mel.weight, averaged["conv1_mel.weight"])
    asked = read_checkpoint(published, "speech-encoder", "ema")
    assert torch.equal(asked.state["conv1_mel.weight"], averaged["conv1_mel.weight"])
    (said,) = asked.said
    assert said.startswith("averaged (EMA) weights of models.encoder_s taken")


def test_the_second_stage_leaves_a_decoder(tmp_path: Path, data: Path, pair: TrainResult) -> None:
    result = train_decoder(tmp_path / "run", data, pair.run, r_drop=0.1, component_regression=True)
    entries = json.loads((tmp_path / "run" / "checkpoints" / "config.json").read_text())
    config = EcogDecoderConfig.from_json(entries)
    assert config.bins == 128
    load_checkpoint(build_decoder(config), read_checkpoint(result.weights), net="ecog-decoder")
    assert {"loss/r_drop", "loss/formants", "validation/pcc"} <= set(result.metrics)
    (published,) = (tmp_path / "run" / "checkpoints").glob("model_epoch*.pth")
    assert "ecog_decoder_s" in read_checkpoint(published, "ecog-decoder").said[0]


def test_a_run_that_was_stopped_ends_in_the_same_weights(
    tmp_path: Path, data: Path, pair: TrainResult
) -> None:
    settings: dict[str, Any] = {
        "family": "gru",
        "schedule": "cosine",
        "warm_up_steps": 1,
        "checkpoint_every": 1,
        "harmonized_shares": True,  # its counts are part of what goes on
    }
    whole = train_decoder(tmp_path / "parts", data, pair.run, **settings)
    first = load_file(whole.weights)
    last = tmp_path / "parts" / "checkpoints" / "step-00000002.ckpt"
    last.unlink()
    from edge_training.engine.trainer import train

    again = train("ecog-decoder", data, tmp_path / "parts", resume=True, progress=False, devices=1)
    second = load_file(again.weights)
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"electrodes": 64}, "electrodes: got 64, expected the 16 electrodes of the data"),
        ({"teacher": None}, "teacher: got none, expected the run"),
        ({"split": "word"}, "word: got None, expected a word where split is 'word'"),
        ({"learning_rates": 1}, "entry 'learning_rates'.*is 'learning_rate' meant"),
    ],
)
def test_what_contradicts_itself_is_refused(
    tmp_path: Path, data: Path, pair: TrainResult, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        train_decoder(tmp_path / "run", data, pair.run, **settings)


def test_a_teacher_that_is_none_is_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(CheckpointError, match=r"got no speech-encoder\.safetensors"):
        train_decoder(tmp_path / "run", data, tmp_path)


def test_presets_survive_json() -> None:
    for decoder in PRESETS.values():
        assert EcogDecoderFit.from_json(json.loads(json.dumps(decoder.to_json()))) == decoder
    for encoder in ENCODER_PRESETS.values():
        assert SpeechEncoderFit.from_json(json.loads(json.dumps(encoder.to_json()))) == encoder
    assert EcogDecoderFit.from_json(DECODER).net.units == 6
