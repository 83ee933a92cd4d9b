"""All the way, through the command line as a user types it: a foreign checkpoint → bundle → proof → audio.

Each command is a process of its own; what it prints and writes is what a user sees.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests import small_nets
from tests.commands import edge_export

from edge_export import demo
from edge_export.assets import SENTENCE
from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.errors import InputError, TargetError
from edge_runtime.media.audio import read_audio
from edge_runtime.store.bundle import open_bundle
from edge_training.vocoder.hifigan import HifiGan
from edge_training.weights.reading import origin_state_dict


def test_a_checkpoint_speaks(tmp_path: Path) -> None:
    torch.manual_seed(0)
    training = tmp_path / "training"
    training.mkdir()
    generator = HifiGan(small_nets.CONFIG, weight_norm=True)
    torch.save({"generator": origin_state_dict(generator)}, training / "g_00000005")
    (training / "config.json").write_text(json.dumps(small_nets.CONFIG.to_json()))

    bundle = tmp_path / "bundle"
    printed = edge_export("export", "hifigan", "--checkpoint", training / "g_00000005", "--out", bundle)
    assert "weight norm (weight_g, weight_v)" in printed
    again = ("export", "hifigan", "--checkpoint", training / "g_00000005", "--out", bundle)
    assert str(bundle) in edge_export(*again, status=2)

    table = edge_export("verify", bundle)
    assert table.splitlines()[-1].startswith("PASS")
    assert "FAIL" not in table

    out, pack = tmp_path / "out", tmp_path / "pack"
    edge_export("run", "vocoder", SENTENCE, "--bundle", bundle, "--out", out)
    audio = read_audio(out / "sentence_generated.wav")
    rate, hop = small_nets.CONFIG.sampling_rate, small_nets.CONFIG.hop_length
    frames = read_audio(SENTENCE, rate).samples.size // hop
    assert (audio.sample_rate, audio.samples.size) == (rate, frames * hop)

    edge_export("reference", "vocoder", SENTENCE, "--bundle", bundle, "--out", pack)
    port = tmp_path / "port"
    port.mkdir()
    for path in pack.glob("*.npy"):
        np.save(port / path.name, np.load(path))
    assert edge_export("check", pack, port).splitlines()[-1].startswith("PASS")
    wav = np.load(port / "wav.npy")
    wav[100] += 0.01
    np.save(port / "wav.npy", wav)
    assert "wav.npy" in edge_export("check", pack, port, status=1)

    content = bytearray((bundle / "model.onnx").read_bytes())
    content[1000] ^= 4
    (bundle / "model.onnx").write_bytes(content)
    assert "model.onnx" in edge_export("run", "vocoder", SENTENCE, "--bundle", bundle, "--out", out, status=2)


def test_the_demo_proves_everything(tmp_path: Path) -> None:
    """As `make demo`."""
    done = demo.demo(tmp_path / "demo")
    assert done.passed
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {n.rstrip("/") for n in demo.WRITTEN}
    proved = {
        (row.net, row.backend, row.precision) for p in done.verifications for row in p.rows if row.comparison
    }
    assert {("hifigan", "mil", "fp16"), ("audio-encoder", "onnxruntime", "fp32")} <= proved
    text = done.table()
    assert "FAIL" not in text
    assert str(tmp_path / "demo" / "port") in text
    with pytest.raises(TargetError, match="demo"):
        demo.demo(tmp_path / "demo")
    asked = np.load(tmp_path / "demo" / "hifigan-22k.npy")
    said = read_audio(tmp_path / "demo" / "vocoder" / "sentence_generated.wav")
    heard = MelFrontEnd(PRESETS["hifigan-22k"])(said.samples)
    figures = json.loads((tmp_path / "demo" / "inverted" / "metrics.json").read_text())
    assert figures["magnitude"]["si_ssdr_db"] > figures["estimate"]["si_ssdr_db"] + 1.5
    # a voice that the weights never heard; other frames of the sentence are alike by 0.2
    assert np.corrcoef(asked.ravel(), heard.ravel())[0, 1] > 0.8


def test_without_a_clone_the_demo_has_random_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "WEIGHTS", tmp_path / "none")
    demo.export_net("hifigan", tmp_path / "hifigan", lambda _line: None)
    source = open_bundle(tmp_path / "hifigan").manifest.source
    assert (source.file, source.format) == ("random", "random seed 0")


def test_a_sentence_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    begun: list[str] = []
    with pytest.raises(InputError, match="no such file"):
        demo.demo(tmp_path / "demo", sentence=tmp_path / "none.wav", progress=begun.append)
    assert begun == []
    assert list(tmp_path.iterdir()) == []
