"""Gates on bundles: rows of verify, and what `export --gate` writes and withholds."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_export import convert
from edge_export.__main__ import main
from edge_export.assets import SENTENCE
from edge_export.catalog import NETS
from edge_export.catalog.gates import Gate
from edge_export.proof import verify as parity
from edge_export.proof.gates import exporting, half, judging, recordings
from edge_export.proof.gates.measures import sound_figures
from edge_runtime.dsp.mel import MelConfig
from edge_runtime.errors import ConfigError, EdgeWarning, InputError
from edge_runtime.media.audio import read_audio, write_wav
from edge_runtime.store.bundle import Bundle, open_bundle, write_reference
from edge_training.vocoder.istft_vocoder import IstftVocoderConfig

MEL = MelConfig(
    sample_rate=8000, n_fft=160, hop_length=40, win_length=160, n_mels=12, padding="reflect", epsilon=1e-9
)
CONFIG = IstftVocoderConfig(mel=MEL, width=8, expansion=2, blocks=1, kernel=3, embed_kernel=3)
QUICK = {"log_mel_db": 0.5, "mr_stft_db": 1.0}


def quick(monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
    """The catalogue's vocoder with limits that numpy judges alone."""
    gate = replace(NETS["istft-vocoder"].gate or Gate("sound", "audio", {}), limits=QUICK | limits)
    table = dict(NETS) | {"istft-vocoder": replace(NETS["istft-vocoder"], gate=gate)}
    monkeypatch.setattr(judging, "NETS", table)


@pytest.fixture(scope="module")
def vocoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small vocoder with random weights as ONNX in both precisions."""
    out = tmp_path_factory.mktemp("gates") / "vocoder"
    convert.export("istft-vocoder", out, random=3, config=CONFIG.to_json(), targets=["onnx"])
    return out


def test_every_artifact_is_judged_on_every_quick_backend(
    vocoder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quick(monkeypatch)
    report = tmp_path / "r.json"
    result = parity.verify(vocoder, backends=["onnxruntime", "onnx-reference"], gate=True)
    assert result.passed
    assert [(row.artifact, row.backend) for row in result.gates] == [
        ("model.onnx", "onnxruntime"),
        ("model.fp16.onnx", "onnxruntime"),
        ("model.fp16.onnx", "float16 range"),
    ]
    assert all(row.truth == "PyTorch, case sentence" for row in result.gates)
    assert [set(row.figures) for row in result.gates] == [set(QUICK), set(QUICK), {"largest", "headroom"}]
    report.write_text(json.dumps(result.to_json()))
    assert "gate: 3 of 3 passed" in result.summary()


def test_another_recording_is_judged_against_the_float32_file(
    vocoder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick(monkeypatch)
    assert main(["verify", str(vocoder), "--backend", "onnxruntime", "--audio", str(SENTENCE)]) == 0
    told = capsys.readouterr().out
    assert "truth: model.onnx on onnxruntime" in told
    assert "log_mel_db" in told
    assert main(["verify", str(vocoder), "--judge", "ear"]) == 2
    assert "--judge: got 'ear', expected both or gate" in capsys.readouterr().err


def test_the_gate_fails_and_passes_where_the_largest_error_does_not(
    vocoder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quick(monkeypatch)
    opened = open_bundle(vocoder)
    copy = tmp_path / "late"

    shutil.copytree(vocoder, copy)
    inputs, outputs = opened.reference("sentence")
    late = np.concatenate([np.zeros((1, 1, 1), np.float32), outputs["audio"][..., :-1]], axis=-1)
    shutil.rmtree(copy / "reference" / "sentence")
    hashes = write_reference(copy, "sentence", inputs | {"audio": late})
    replace(opened.manifest, reference=opened.manifest.reference | {"sentence": hashes}).save(copy)
    both = parity.verify(copy, backends=["onnxruntime"], gate=True)
    assert both.count("FAIL") == 2
    assert all(row.passed for row in both.gates)
    assert not both.passed
    assert parity.verify(copy, backends=["onnxruntime"], gate=True, judge="gate").passed
    quick(monkeypatch, log_mel_db=1e-12)
    assert not parity.verify(vocoder, backends=["onnxruntime"], gate=True, judge="gate").passed


def test_export_writes_no_variant_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch, log_mel_db=1e-4)  # float16 is beyond that, float32 is not
    with pytest.warns(EdgeWarning, match=r"model\.fp16\.onnx: got log_mel_db .* it is not written"):
        bundle = convert.export(
            "istft-vocoder", tmp_path / "v", random=3, config=CONFIG.to_json(), targets=["onnx"], gate=True
        )
    assert [artifact.path for artifact in bundle.manifest.artifacts] == ["model.onnx"]
    assert not (tmp_path / "v" / "model.fp16.onnx").exists()
    quick(monkeypatch, log_mel_db=-1.0)
    with pytest.raises(InputError, match="expected the gate's limits"):
        exporting.kept(bundle.path, bundle.manifest, lambda _line: None)
    assert open_bundle(bundle.path).cases == bundle.cases


def overflowing(path: Path) -> None:
    """Give a file's first float16 convolution weights up to 3e4; the norm behind it takes their size away."""
    model = onnx.load(str(path))
    node = next(each for each in model.graph.node if each.op_type == "Conv")
    constants = {each.name: each for each in model.graph.initializer}
    weights = {name: numpy_helper.to_array(constants[name]) for name in node.input[1:]}
    factor = 3e4 / max(float(np.abs(values).max()) for values in weights.values())
    for name, values in weights.items():
        assert values.dtype == np.float16
        constants[name].CopyFrom(
            numpy_helper.from_array((values.astype(np.float32) * factor).astype(np.float16), name)
        )
    onnx.save(model, str(path))


def test_what_overflows_in_float16_is_withheld_and_the_operation_named(
    vocoder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    quick(monkeypatch)
    copy = tmp_path / "large"
    shutil.copytree(vocoder, copy)
    bundle = Bundle(copy, open_bundle(vocoder).manifest)
    half_artifact = next(a for a in bundle.manifest.artifacts if a.precision == "fp16")
    assert half.executed(bundle, half_artifact) == []
    overflowing(copy / "model.fp16.onnx")
    (told,) = half.executed(bundle, half_artifact)
    assert "in float16 arithmetic, audio: " in told
    assert "; it begins at Conv in embed" in told
    with pytest.warns(EdgeWarning, match=r"fp16-overflow at Conv /embed.*on float16 range"):
        manifest = exporting.kept(copy, bundle.manifest, lambda _line: None)
    assert [artifact.path for artifact in manifest.artifacts] == ["model.onnx"]


def test_nets_whose_output_is_no_sound_ask_for_the_one_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--with: got nothing, expected --with DIR, a bundle of hifigan or"):
        convert.export("mri-acoustic", tmp_path / "m", random=1, preset="tiny", gate=True)
    with pytest.raises(ConfigError, match="expected --gate beside it"):
        convert.export("mri-acoustic", tmp_path / "m", random=1, preset="tiny", beside=tmp_path)
    with pytest.raises(ConfigError, match="--audio: got a recording for mri-acoustic, expected --gate alone"):
        convert.export("mri-acoustic", tmp_path / "m", random=1, gate=True, audio=SENTENCE, beside=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_has_no_gate_or_no_sentence_is_refused(small_hifigan: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--gate: got stft, expected a net whose output is sound"):
        convert.export("stft", tmp_path / "s", gate=True)
    with pytest.raises(ConfigError, match=r"a bundle without the case sentence.* --audio, or export again"):
        parity.verify(small_hifigan, backends=["onnxruntime"], gate=True)
    with pytest.raises(
        InputError, match=r"got .* s, expected .* s of speech, in a length that the net takes"
    ):
        parity.verify(small_hifigan, backends=["onnxruntime"], audio=SENTENCE)  # it takes 24 frames at most


def test_recordings_of_pipelines_are_judged_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recordings, "sound_figures", lambda t, m, rate: sound_figures(t, m, rate, QUICK))
    speech = read_audio(SENTENCE).samples
    hiss = np.random.default_rng(0).uniform(-0.01, 0.01, speech.size).astype(np.float32)
    for name, samples in {
        "a": speech,
        "same": -speech,
        "hiss": speech + hiss,
        "cut": speech[: -speech.size // 9],
    }.items():
        write_wav(tmp_path / f"{name}.wav", samples, 22050, subtype="float32")
    status = {
        name: main(["compare", str(tmp_path / "a.wav"), str(tmp_path / f"{name}.wav")])
        for name in ("same", "hiss", "cut")
    }
    assert status == {"same": 0, "hiss": 1, "cut": 1}
    told = capsys.readouterr().out
    assert "truth: " in told
    assert "s against" in told


def test_every_gate_names_an_output_and_known_figures() -> None:
    known = {
        "log_mel_db",
        "mr_stft_db",
        "convergence",
        "pesq",
        "stoi",
        "dnsmos_loss",
        "cosine",
        "scale_error",
    }
    gated = {name: net.gate for name, net in NETS.items() if net.gate}
    heard = {"hifigan", "istft-vocoder", "formant-synthesizer", "mel-inversion", "degli", "mri-acoustic"}
    assert heard | {"audio-encoder", "ecog-decoder", "speech-encoder"} <= set(gated)
    for name, gate in gated.items():
        net = NETS[name]
        assert gate.output in {tensor.name for tensor in net.outputs(net.preset(net.presets[0]))}
        assert set(gate.limits) <= known
        assert all(math.isfinite(bound) for bound in gate.limits.values())
