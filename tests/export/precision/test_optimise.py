"""`edge-export optimise` from end to end on tiny nets (pain 7): mixes, budgets, what is written, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests import small_nets

from edge_export.__main__ import main
from edge_export.assets import SENTENCE
from edge_export.convert import export, module_of
from edge_export.precision.optimise import PICTURE, optimise
from edge_export.precision.quality import Budget, Quality
from edge_export.precision.rounding import Rounded
from edge_export.precision.search import Mix, pareto
from edge_export.proof.bisect.nets import bisect
from edge_export.proof.bisect.values import snr_db
from edge_export.proof.verify import verify
from edge_export.tracing.norm_folding import folded
from edge_runtime.errors import ConfigError
from edge_runtime.media.audio import read_audio, write_wav
from edge_runtime.store.bundle import MANIFEST, open_bundle

TINY = replace(
    small_nets.CONFIG,
    resblock=2,
    upsample_rates=(4,),
    upsample_kernel_sizes=(8,),
    upsample_initial_channel=32,
    resblock_kernel_sizes=(3,),
    resblock_dilation_sizes=((1, 3),),
    n_fft=64,
    hop_size=4,
    win_size=64,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tiny") / "bundle"
    export("hifigan", out, random=1, config=TINY.to_json(), targets=["onnx"], precisions=["fp32"])
    return out


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quarter of a second of the sentence."""
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    samples = read_audio(SENTENCE, TINY.sampling_rate).samples[8000:10000]
    write_wav(path, samples, TINY.sampling_rate)
    return path


def test_a_small_package_keeps_its_budget(tiny: Path, speech: Path, tmp_path: Path) -> None:
    found = optimise(tiny, tmp_path / "small", budget=Budget(snr=25.0), audio=speech)
    bundle = found.bundle
    (artifact,) = bundle.manifest.artifacts
    assert (artifact.target, artifact.precision) == ("coreml", "fp16")
    stated = bundle.manifest.optimised
    assert stated is not None
    assert stated["executed"]["snr"] >= 25.0
    (chosen,) = (point for point in stated["points"] if point["chosen"])
    (halves,) = (point for point in stated["points"] if point["name"] == "all float16")
    assert chosen["fits"]
    assert chosen["bytes"] < 0.55 * halves["bytes"]
    assert abs(stated["executed"]["snr"] - chosen["snr"]) < 2.0, "what was judged is what was written"
    assert set(stated["formats"].values()) & {"int8", "palette8", "palette6", "palette4"}
    assert verify(bundle).passed
    assert (bundle.path / PICTURE).read_bytes().startswith(b"\x89PNG")
    (search,) = bisect(bundle).searches
    assert search.found.findings[0].step.path, "operations of the new package have their modules"
    assert all(point["fits"] == (point["snr"] >= 25.0) for point in stated["points"])


def test_an_onnx_file_of_small_weights(
    tiny: Path, speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budget = [word for text in ("pesq=none", "dnsmos=none", "snr=30") for word in ("--budget", text)]
    out = tmp_path / "small"
    files = ["--audio", str(speech), "--out", str(out), "--json", str(tmp_path / "table.json")]
    assert main(["optimise", str(tiny), "--target", "onnx", *files, *budget]) == 0
    told = capsys.readouterr().out
    assert "→" in told
    assert "model.onnx" in told
    bundle = open_bundle(out)
    assert json.loads((tmp_path / "table.json").read_text()) == bundle.manifest.optimised
    (artifact,) = bundle.manifest.artifacts
    assert artifact.note.startswith("weights of layers: ")
    assert artifact.total_bytes < open_bundle(tiny).manifest.artifact("onnx", "fp32", "gpu").total_bytes / 2
    failed = [row for row in verify(bundle).rows if row.status == "FAIL"]
    assert failed == []
    (search,) = bisect(bundle, artifacts=["model.onnx"]).searches
    assert search.found.output_db > 25


def test_milliseconds_are_of_this_machine(tiny: Path, speech: Path, tmp_path: Path) -> None:
    found = optimise(tiny, tmp_path / "fast", budget=Budget(snr=40.0), objective="ms", audio=speech)
    stated = found.table
    fitting = [point for point in stated["points"] if point["fits"]]
    (chosen,) = (point for point in stated["points"] if point["chosen"])
    assert chosen["ms"] == min(point["ms"] for point in fitting)
    assert {point["name"].partition(" on ")[2] for point in stated["points"]} >= {"onnxruntime"}
    assert found.bundle.manifest.artifacts[0].note.startswith("fastest within the budget here: ")
    assert "ms" in found.text()


def test_rounding_leaves_the_net_alone_and_islands_too(tiny: Path) -> None:
    bundle = open_bundle(tiny)
    module = folded(module_of(bundle.manifest))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    inputs, expected = bundle.reference(bundle.cases[0])
    plain = Rounded(module, ("audio",), None)
    assert np.array_equal(plain.run(inputs, {})["audio"], expected["audio"])
    halves = Rounded(module, ("audio",), ())
    rough = halves.run(inputs, dict.fromkeys(halves.layers, "float16"))["audio"]
    assert 40 < snr_db(expected["audio"], rough) < 90
    coarse = halves.run(inputs, dict.fromkeys(halves.layers, "palette4"))["audio"]
    assert snr_db(expected["audio"], coarse) < 30
    everywhere = ("", *(name for name, _ in module.named_children()))
    assert np.array_equal(Rounded(module, ("audio",), everywhere).run(inputs, {})["audio"], expected["audio"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())


def test_pareto() -> None:
    mixes = [Mix(str(b), {}, b, Quality(s, 1.0), fits=True) for b, s in ((9, 50), (5, 30), (6, 20), (3, 10))]
    assert [mix.bytes for mix in pareto(mixes)] == [9, 5, 3]


def test_what_is_refused(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="--for: got watts, expected bytes or ms"):
        optimise(tiny, out, objective="watts")
    with pytest.raises(ConfigError, match="--target: got tflite, expected coreml or onnx"):
        optimise(tiny, out, target="tflite")
    with pytest.raises(ConfigError, match="--budget: got mos=1, expected NAME=VALUE, a name of pesq, dnsmos"):
        optimise(tiny, out, budget=["mos=1"])
    with pytest.raises(ConfigError, match="--budget: got snr=x, expected snr= and a number, or none"):
        optimise(tiny, out, budget=["snr=x"])
    with pytest.raises(ConfigError, match="--budget: got pesq=-1, expected pesq= and a finite number"):
        optimise(tiny, out, budget=["pesq=-1"])
    with pytest.raises(ConfigError, match=r"--budget: got snr=200, .*not even the finest formats keep it"):
        optimise(tiny, out, budget=Budget(snr=200.0), target="coreml")
    assert not out.exists()
    manifest = json.loads((tiny / MANIFEST).read_text())
    assert manifest["optimised"] is None
