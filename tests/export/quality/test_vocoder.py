"""The table of vocoders: figures of what is known, products counted by hand, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests import small_bundles

from edge_export.assets import SENTENCE
from edge_export.convert import export
from edge_export.quality import vocoder as vocoder_quality
from edge_export.quality.vocoder import count, main, measure_time, open_way, table
from edge_runtime.dsp.mel import PRESETS
from edge_runtime.errors import ConfigError
from edge_runtime.media.audio import read_audio, write_wav
from edge_runtime.store.bundle import open_bundle
from edge_training.vocoder.istft_vocoder import IstftVocoder, IstftVocoderConfig

MEL = PRESETS["hifigan-22k"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    samples = read_audio(SENTENCE, MEL.sample_rate).samples[: int(1.5 * MEL.sample_rate)]
    write_wav(folder / "a.wav", samples, MEL.sample_rate)
    return folder


def test_products_are_those_of_the_layers(tmp_path: Path) -> None:
    """The small vocoder: 5 → 8 channels of 5, transposed 8 → 4 of 8, 4 → 1 of 7 at four samples a frame."""
    parameters, products = count(open_bundle(small_bundles.write_vocoder(tmp_path / "b")))
    assert parameters == 8 * 5 * 5 + 8 + 8 * 4 * 8 + 4 + 4 * 7 + 1
    assert products == 8 * 5 * 5 + 8 * 4 * 8 + 4 * (4 * 7)


def test_products_of_the_net_are_what_its_config_says(tmp_path: Path) -> None:
    mel = replace(MEL, n_fft=128, win_length=128, hop_length=32, n_mels=8)
    config = IstftVocoderConfig(mel=mel, width=8, expansion=2, blocks=1, kernel=3, embed_kernel=3)
    out = tmp_path / "b"
    export("istft-vocoder", out, random=1, config=config.to_json(), targets=["onnx"], precisions=["fp32"])
    parameters, products = count(open_bundle(out))
    assert products == config.multiplications()
    weights = sum(p.numel() for p in IstftVocoder(config).parameters())
    assert weights <= parameters < weights + 40  # a few constants
    way = open_way("tiny", out)
    assert way.multiplications == products * mel.sample_rate / 32
    row = measure_time(way, SENTENCE)
    assert row.real_time_factor is not None
    assert row.figures == dict.fromkeys(vocoder_quality.FIGURES)
    line = table([row]).splitlines()[1]
    assert line.startswith("tiny  -")


def test_what_makes_no_speech_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = small_bundles.write_encoder(tmp_path / "b")
    with pytest.raises(
        ConfigError, match="got audio-encoder, expected hifigan, istft-vocoder, bigvgan or mel"
    ):
        open_way("x", encoder)
    assert main(["--data", str(tmp_path), "--bundle", "nothing"]) == 2
    assert "--bundle: got nothing, expected NAME=DIR" in capsys.readouterr().err
    assert main(["--data", str(tmp_path)]) == 2
    assert "no recordings" in capsys.readouterr().err


def test_the_command_prints_and_writes(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pesq")
    pytest.importorskip("speechmos")
    out = tmp_path / "table.json"
    assert main(["--data", str(clips), "--json", str(out), "--out", str(tmp_path / "made")]) == 0
    recording, griffin_lim = json.loads(out.read_text())
    assert [row["name"] for row in (recording, griffin_lim)] == ["recording", "Fast Griffin-Lim 32"]
    ours, theirs = griffin_lim["figures"], recording["figures"]
    assert (theirs["mel"], theirs["stoi"]) == (0, 1)
    assert 0 < ours["mel"] < 0.5
    assert 2 < ours["pesq"] < 4.64
    assert 0.9 < ours["stoi"] < 1
    assert 1 < ours["dnsmos"] <= theirs["dnsmos"] + 0.2 < 5.2
    assert griffin_lim["real_time_factor"] > 0
    assert capsys.readouterr().out.splitlines()[1].startswith("recording")
    assert (tmp_path / "made" / "a_Fast-Griffin-Lim-32.wav").is_file()
