"""A checkpoint becomes a bundle: whole, the same each time, refused in a sentence where it cannot be."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from tests import small_nets

from edge_export.convert import export
from edge_runtime.backends import get_backend
from edge_runtime.compare import compare
from edge_runtime.errors import BackendError, CheckpointError, ConfigError, EdgeError, TargetError
from edge_runtime.store.bundle import Bundle, Geometry, Lengths, open_bundle
from edge_runtime.store.targets import sha256_tree
from edge_training.vocoder.hifigan import HIFIGAN_PRESETS, HifiGan, HifiGanConfig
from edge_training.weights.reading import origin_state_dict

ONNX_ONLY: dict[str, Any] = {"targets": ["onnx"], "precisions": ["fp32"]}


def stock_config(config: HifiGanConfig) -> dict[str, Any]:
    """A config.json as HiFi-GAN's training leaves it: no entry for the wiring, some for training."""
    entries = config.to_json() | {"resblock": str(config.resblock), "batch_size": 16}
    del entries["wiring"]
    return entries


def checkpoint(folder: Path, config: HifiGanConfig = small_nets.CONFIG, seed: int = 0) -> Path:
    """A training's g_ file with weight norm as jik876/hifi-gan spells it, config.json beside it."""
    torch.manual_seed(seed)
    folder.mkdir(exist_ok=True)
    path = folder / "g_00000007"
    torch.save({"generator": origin_state_dict(HifiGan(config, weight_norm=True))}, path)
    (folder / "config.json").write_text(json.dumps(stock_config(config)))
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Everything, from random weights."""
    out = tmp_path_factory.mktemp("bundle") / "small"
    return export("hifigan", out, random=1, config=small_nets.CONFIG.to_json(), frame_buckets=[24, 16])


def test_a_bundle_has_all_that_was_asked_for(whole: Bundle) -> None:
    manifest = whole.manifest
    assert [(a.path, a.target, a.precision, a.form, a.version) for a in manifest.artifacts] == [
        ("model.onnx", "onnx", "fp32", "cpu", "opset 17, IR 8"),
        ("model.plain.onnx", "onnx", "fp32", "plain", "opset 17, IR 8"),
        ("model.fp16.onnx", "onnx", "fp16", "plain", "opset 17, IR 8"),
        ("model.mlpackage", "coreml", "fp32", "any", "iOS 16, specification 7"),
        ("model.fp16.mlpackage", "coreml", "fp16", "any", "iOS 16, specification 7"),
    ]
    assert manifest.artifact("onnx", device="cpu").path == "model.onnx"
    assert manifest.artifact("onnx", device="cuda").path == "model.plain.onnx"
    assert whole.cases == ("frames-16", "frames-24")
    assert manifest.geometry == Geometry(
        24, small_nets.CONFIG.receptive_field, small_nets.CONFIG.context_frames
    )
    assert HifiGanConfig.from_json(manifest.config) == small_nets.CONFIG
    assert manifest.front_end == small_nets.CONFIG.mel
    assert (manifest.source.file, manifest.source.format) == ("random", "random seed 1")
    assert set(manifest.versions) == {"edge-export", "numpy", "torch", "onnx", "coremltools"}
    for artifact in manifest.artifacts:
        frames = Lengths() if artifact.target == "onnx" else Lengths(16, 24, (16, 24))
        assert artifact.axes["frames"] == frames


def test_the_plain_form_has_the_layers_of_the_net_and_the_cpu_form_other_ones(whole: Bundle) -> None:
    kinds = {
        artifact.path: {
            len(a.ints)
            for n in _nodes(whole, artifact.path, "Conv")
            for a in n.attribute
            if a.name == "dilations"
        }
        for artifact in whole.manifest.artifacts
        if artifact.target == "onnx"
    }
    assert kinds == {"model.onnx": {2}, "model.plain.onnx": {1}, "model.fp16.onnx": {1}}
    _, outputs = whole.reference("frames-16")
    inputs, _ = whole.reference("frames-16")
    for path in kinds:
        got = get_backend("onnxruntime").open(whole.path / path).run(inputs)["audio"]
        assert compare(outputs["audio"], got, tolerance=2e-2).passed


def _nodes(bundle: Bundle, path: str, kind: str) -> list[onnx.NodeProto]:
    return [node for node in onnx.load(bundle.path / path).graph.node if node.op_type == kind]


def test_forms_can_be_chosen(tmp_path: Path) -> None:
    made = export(
        "hifigan",
        tmp_path / "b",
        random=1,
        config=small_nets.CONFIG.to_json(),
        targets=["onnx"],
        forms=["plain"],
    )
    assert [(item.path, item.form) for item in made.manifest.artifacts] == [
        ("model.plain.onnx", "plain"),
        ("model.fp16.onnx", "plain"),
    ]
    assert made.manifest.artifact("onnx", "fp32", "cpu").form == "plain"  # the only one there is
    made = export(
        "hifigan", tmp_path / "c", random=1, config=small_nets.CONFIG.to_json(), targets=["onnx"],
        precisions=["fp16"], forms=["cpu", "plain"],
    )  # fmt: skip
    assert [item.path for item in made.manifest.artifacts] == ["model.fp16.cpu.onnx", "model.fp16.onnx"]


def test_a_net_of_one_form_has_one_file(tmp_path: Path) -> None:
    """Reflecting at the ends leaves no other form; what is asked for is there all the same."""
    made = export("stft", tmp_path / "b", targets=["onnx"], precisions=["fp32"], forms=["cpu", "plain"])
    assert [(item.path, item.form) for item in made.manifest.artifacts] == [("model.onnx", "any")]


def test_forms_belong_to_onnx(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--form: got plain without target onnx, expected no form"):
        export("stft", tmp_path / "b", targets=["coreml"], forms=["plain"])
    with pytest.raises(ConfigError, match="form: got gpu, expected one of cpu, plain"):
        export("stft", tmp_path / "b", forms=["gpu"])


def test_its_reference_arrays_are_the_pytorch_net(whole: Bundle) -> None:
    net = small_nets.small_hifigan(seed=1)
    # the same seed; scaled on the longest case, as the export does
    inputs, outputs = whole.reference("frames-24")
    session = get_backend("onnxruntime").open(whole.artifact("onnx", "fp32"))
    result = compare(outputs["audio"], session.run(inputs)["audio"], tolerance=1e-5)
    assert result.passed, result
    assert net(torch.from_numpy(inputs["mel"])).shape == outputs["audio"].shape


def test_the_same_input_gives_the_same_bytes(whole: Bundle, tmp_path: Path) -> None:
    """In another process, with other threads, another hash seed and another folder."""
    code = (
        "import sys, torch; torch.set_num_threads(2); from edge_export.convert import export;"
        "from tests import small_nets; export('hifigan', sys.argv[1], random=1, frame_buckets=[16, 24],"
        "config=small_nets.CONFIG.to_json())"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "again")],
        env=os.environ | {"PYTHONHASHSEED": "99"},
        check=True,
    )
    assert sha256_tree(tmp_path / "again") == sha256_tree(whole.path)


def test_a_checkpoint_with_its_config_beside_it(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "training")
    lines: list[str] = []
    bundle = export("hifigan", tmp_path / "out", checkpoint=path, progress=lines.append, **ONNX_ONLY)
    assert bundle.manifest.source.file == "g_00000007"
    assert (
        bundle.manifest.source.format
        == "torch zip, level generator, weight norm (weight_g, weight_v), float32"
    )
    assert bundle.manifest.config["wiring"] == "stock"
    assert set(bundle.manifest.versions) == {"edge-export", "numpy", "torch", "onnx"}
    assert set(bundle.manifest.tolerance) == {"fp32"}
    assert lines == [
        "reading g_00000007",
        "reference case frames-32",
        "reference case frames-64",
        "writing model.onnx",
        "writing model.plain.onnx",
        f"checking {tmp_path / 'out'}",
    ]
    torch.manual_seed(0)
    net = HifiGan(small_nets.CONFIG, weight_norm=True).eval()
    inputs, outputs = bundle.reference("frames-32")
    with torch.no_grad():
        truth = net(torch.from_numpy(inputs["mel"])).numpy()
    np.testing.assert_allclose(outputs["audio"], truth, rtol=0, atol=1e-6)
    text = (tmp_path / "out" / "manifest.json").read_text()
    assert str(tmp_path) not in text


SYSTEM = replace(  # the rtMRI system's, on few channels
    HIFIGAN_PRESETS["rtmri-origin"], upsample_initial_channel=16, resblock_kernel_sizes=(3, 5, 7)
)


def test_the_wiring_is_told_by_signs_and_kept_in_the_manifest(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "training", SYSTEM)
    bundle = export("hifigan", tmp_path / "out", checkpoint=path, **ONNX_ONLY)
    assert bundle.manifest.config["wiring"] == "causal-tail"
    taken, fmax, wiring = bundle.manifest.source.said
    assert taken == "configuration config.json beside the weights taken"
    assert fmax.startswith("fmax 8000 Hz taken")
    assert wiring.startswith("wiring causal-tail taken: only conv_pre has no weight norm, and rate and hop")


def test_the_user_decides_where_no_sign_does(tmp_path: Path) -> None:
    """Folded weights of that system: both wirings take them. The averaged set, by the way."""
    path = checkpoint(tmp_path / "training", SYSTEM)
    torch.manual_seed(0)
    torch.save({"model": HifiGan(SYSTEM).state_dict(), "ema": HifiGan(SYSTEM).state_dict()}, path)
    with pytest.raises(ConfigError, match="wiring: got no sign that decides"):
        export("hifigan", tmp_path / "out", checkpoint=path, **ONNX_ONLY)
    chosen: dict[str, Any] = {"changes": {"wiring": "causal-tail"}, "weights": "ema"}
    bundle = export("hifigan", tmp_path / "out", checkpoint=path, **chosen, **ONNX_ONLY)
    assert bundle.manifest.config["wiring"] == "causal-tail"
    assert "averaged (EMA) weights of ema taken; the file holds live ones in model too" in str(
        bundle.manifest.source.said
    )


def test_a_config_file_is_taken_where_it_is_named(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "training")
    config = (path.parent / "config.json").rename(tmp_path / "other.json")
    bundle = export("hifigan", tmp_path / "out", checkpoint=path, config=config, **ONNX_ONLY)
    assert bundle.manifest.config["num_mels"] == 20


def test_the_encoder_needs_no_config(tmp_path: Path) -> None:
    state = {
        key.removeprefix("audio_encoder."): value for key, value in small_nets.encoder().state_dict().items()
    }
    torch.save(state, tmp_path / "audio_visual_encoder.pth")
    (tmp_path / "config.json").write_text("{}")  # another net's
    bundle = export(
        "audio-encoder", tmp_path / "out", checkpoint=tmp_path / "audio_visual_encoder.pth", **ONNX_ONLY
    )
    assert bundle.cases == ("batch-1", "batch-64", "batch-7")
    assert bundle.manifest.front_end is not None
    assert bundle.manifest.front_end.n_mels == 80


# ---- refusals ---------------------------------------------------------------------------------------------

SEED: dict[str, Any] = {"random": 1, **ONNX_ONLY}


@pytest.mark.parametrize(
    ("net", "options", "sentence"),
    [
        ("hifi-gan", SEED, r"net: got hifi-gan, .* is hifigan meant\?"),
        (
            "hifigan",
            SEED | {"preset": "v9"},
            r"preset of hifigan: got v9, expected one of v1, v2, v3, .*; is v\d",
        ),
        (
            "hifigan",
            SEED | {"targets": ["onxx"]},
            r"target: got onxx, expected one of onnx, coreml, coreai; is onnx meant",
        ),
        ("hifigan", SEED | {"precisions": ["fp8"]}, r"precision: got fp8, expected one of fp32, fp16"),
        ("hifigan", SEED | {"targets": []}, r"target: got none, expected one of onnx, coreml, coreai"),
        ("hifigan", ONNX_ONLY, r"weights: got neither a checkpoint nor a seed, .*--checkpoint FILE"),
        ("hifigan", SEED | {"checkpoint": "x"}, r"weights: got a checkpoint and a seed"),
        ("hifigan", SEED | {"random": -1}, r"random: got -1, expected a whole number from 0"),
        ("hifigan", SEED | {"preset": "v1", "config": "c"}, r"got a preset and a config file"),
        (
            "hifigan",
            SEED | {"frame_buckets": [0]},
            r"frames: buckets: got \[0\], expected ascending whole numbers",
        ),
        (
            "hifigan",
            SEED | {"frame_buckets": [64]},
            r"frames: got buckets without target coreml or coreai, expected no buckets; ONNX takes any",
        ),
        (
            "hifigan",
            {"random": 1, "preset": "v3", "frame_buckets": [8, 20]},
            r"frames: got a longest bucket of 20, expected at least 23; with 11 frames of context on each",
        ),
        (
            "hifigan",
            {"random": 1, "preset": "v3", "frame_buckets": [100_000_000]},
            r"frames: buckets: got 100000000, expected at most 16384",
        ),
        (
            "audio-encoder",
            SEED | {"frame_buckets": [8]},
            r"frames: got buckets for audio-encoder, expected no buckets",
        ),
        (
            "audio-encoder",
            SEED | {"preset": "v1"},
            r"preset of audio-encoder: got v1, expected one of talking-head",
        ),
        ("audio-encoder", SEED | {"config": {"features": 256}}, r"features: got 256, expected 512"),
    ],
)
def test_options_are_refused_in_a_sentence(
    tmp_path: Path, net: str, options: Mapping[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        export(net, tmp_path / "out", **options)
    assert not list(tmp_path.iterdir()), "nothing is left"


def test_an_unknown_preset_is_refused_before_anything_begins(tmp_path: Path) -> None:
    lines: list[str] = []
    with pytest.raises(ConfigError, match="preset of hifigan: got v9"):
        export("hifigan", tmp_path / "out", random=1, preset="v9", progress=lines.append)
    assert lines == []


def test_a_checkpoint_without_a_config_says_what_it_looks_like(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "training")
    (path.parent / "config.json").unlink()
    with pytest.raises(
        ConfigError,
        match=r"no config.json beside .*g_00000007, expected --config .*; its shapes say num_mels 20",
    ):
        export("hifigan", tmp_path / "out", checkpoint=path, **ONNX_ONLY)


def test_a_broken_config_names_its_file(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "training")
    entries = stock_config(small_nets.CONFIG) | {"hop_size": 25}
    (path.parent / "config.json").write_text(json.dumps(entries))
    with pytest.raises(
        ConfigError, match=r"config.json: upsample_rates: got 4 × 3 × 2 = 24, .* hop_size, 25"
    ):
        export("hifigan", tmp_path / "out", checkpoint=path, **ONNX_ONLY)


def test_weights_of_another_net_are_named(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "training")
    with pytest.raises(CheckpointError, match=rf"^{path}: got missing .* it looks like hifigan"):
        export("audio-encoder", tmp_path / "out", checkpoint=path, **ONNX_ONLY)
    assert not (tmp_path / "out").exists()


def test_weights_that_overflow_are_refused(tmp_path: Path) -> None:
    net = small_nets.small_hifigan()
    net.conv_pre.weight.mul_(1e30)
    net.conv_post.weight.mul_(1e30)
    net.resblocks[0].load_state_dict({k: v * 1e30 for k, v in net.resblocks[0].state_dict().items()})
    (tmp_path / "config.json").write_text(json.dumps(stock_config(small_nets.CONFIG)))
    torch.save(net.state_dict(), tmp_path / "g.pth")
    with pytest.raises(CheckpointError, match=rf"^{tmp_path}/g.pth: got NaN or infinite audio on speech"):
        export("hifigan", tmp_path / "out", checkpoint=tmp_path / "g.pth", **ONNX_ONLY)


def test_an_existing_target_is_refused_unless_asked(tmp_path: Path) -> None:
    options: dict[str, Any] = {"config": small_nets.CONFIG.to_json(), **SEED}
    export("hifigan", tmp_path / "out", **options)
    with pytest.raises(TargetError, match="an existing folder"):
        export("hifigan", tmp_path / "out", **options)
    assert export(
        "hifigan", tmp_path / "out", overwrite=True, **options | {"random": 2}
    ).manifest.source.format == ("random seed 2")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(TargetError, match="did not write"):
        export("hifigan", tmp_path / "home", overwrite=True, **options)


@pytest.mark.parametrize(
    ("target", "library", "extra"), [("coreml", "coremltools", "export"), ("coreai", "coreai_onnx", "coreai")]
)
def test_a_missing_library_is_a_sentence(
    target: str, library: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == library else True)
    with pytest.raises(BackendError, match=rf"{library} to be .*; pip install 'edge-export\[{extra}\]'"):
        export("hifigan", tmp_path / "out", random=1, targets=[target])


def test_torchs_threads_are_given_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    with pytest.raises(EdgeError):
        export("audio-encoder", tmp_path / "out", checkpoint=tmp_path / "absent.pth")
    assert torch.get_num_threads() == before


# ---- kills ------------------------------------------------------------------------------------------------

# imports once, then a fork per line read: each exports, with an alarm that ends it after the seconds given
# (SIGALRM's default action ends a process at once, as SIGKILL does); 0 is no alarm
SERVER = """
import os, signal, sys, time
from edge_export.to_coreml import exporter as to_coreml
from edge_export.to_onnx import exporter as to_onnx
from edge_export.convert import export
from tests import small_nets

for line in sys.stdin:
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        signal.setitimer(signal.ITIMER_REAL, float(line))
        config = small_nets.BLOCKS_2.to_json()
        export("hifigan", sys.argv[1], random=1, frame_buckets=[4, 21], config=config, precisions=["fp16"])
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, time.monotonic() - started, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="forks and alarms as POSIX has them")
def test_killed_at_random_moments_the_bundle_is_absent_or_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, str(target)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        orders, reports = server.stdin, server.stdout
        assert orders is not None
        assert reports is not None

        def run(seconds: float) -> tuple[int, float]:
            print(seconds, file=orders, flush=True)
            ended, took = reports.readline().split()
            return int(ended), float(took)

        _, whole = run(0)
        open_bundle(target).path.rename(tmp_path / "first")
        dice = random.Random(7)
        killed = 0
        for share in [dice.uniform(0.05, 0.95) for _ in range(7)]:
            ended, _ = run(whole * share)
            killed += ended == signal.SIGALRM
            if target.exists():
                open_bundle(target).path.rename(tmp_path / f"bundle-{share}")
        assert killed >= 5, "most were killed on the way"
        assert run(0)[0] == 0
        orders.close()
    assert sha256_tree(open_bundle(target).path) == sha256_tree(tmp_path / "first")
    left = [path.name for path in tmp_path.iterdir() if not path.name.startswith(("first", "bundle-", "out"))]
    assert left == [], "the next write clears away what killed ones left"
