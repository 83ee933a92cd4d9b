"""Core AI assets: the same numbers as PyTorch in coreai-core's executor, fixed shapes, the same bytes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from tests import small_nets

from edge_export.convert import export
from edge_export.proof import verify as parity
from edge_export.to_coreai import exporter
from edge_runtime.backends import core_ai
from edge_runtime.errors import BackendError, ConfigError
from edge_runtime.pipelines.vocoder.pipeline import Vocoder
from edge_runtime.store.bundle import Lengths, open_bundle
from edge_runtime.store.targets import sha256_tree

CONFIG = small_nets.CONFIG.to_json()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("coreai") / "bundle"
    export("hifigan", out, random=0, config=CONFIG, targets=["coreai"], frame_buckets=[32, 40])
    return out


def test_every_case_of_its_lengths_passes_in_both_precisions(bundle: Path) -> None:
    result = parity.verify(bundle)
    assert result.passed
    assert {(row.backend, row.precision, row.case) for row in result.rows if row.comparison} == {
        ("coreai", bits, case) for bits in ("fp32", "fp16") for case in ("frames-32", "frames-40")
    }
    exact = [row.comparison.max_abs for row in result.rows if row.comparison and row.precision == "fp32"]
    assert max(exact) < 1e-5
    assert "coreai-core" in parity.notes(result.rows)


def test_the_manifest_says_which_lengths_there_are(bundle: Path) -> None:
    artifacts = open_bundle(bundle).manifest.artifacts
    assert [item.path for item in artifacts] == ["model.aimodel", "model.fp16.aimodel"]
    for item in artifacts:
        assert item.axes == {"batch": Lengths(1, 1, (1,)), "frames": Lengths(32, 40, (32, 40))}
        assert item.version.startswith("iOS 27, asset ")
        assert item.note == "fixed shapes: batch 1, frames 32 or 40"
    assert artifacts[1].bytes < artifacts[0].bytes


def test_the_asset_describes_itself_and_holds_no_date(bundle: Path) -> None:
    told = json.loads((bundle / "model.aimodel" / exporter.METADATA).read_text())
    assert told["author"] == "edge-export"
    assert told["creatorDefinedMetadata"]["edge_export.net"] == "hifigan"
    assert not {key for key in told if "date" in key.lower()}


def test_a_pipeline_runs_on_it_and_other_lengths_are_a_sentence(bundle: Path) -> None:
    """Chunks of these lengths equal one run over all frames, within the executor's rounding."""
    mel = next(iter(open_bundle(bundle).reference("frames-40")[0].values()))[0]
    long = np.concatenate([mel, mel[:, ::-1]], axis=1)
    pipeline = Vocoder(bundle, backend=core_ai)
    assert pipeline.sizes == (32, 40)
    assert pipeline.synthesize(long).shape == (long.shape[1] * 24,)
    session = core_ai.open(bundle / "model.aimodel")
    sentence = r"got mel \(1, 20, 7\), expected mel \(1, 20, 32\) or mel \(1, 20, 40\); the shapes of an"
    with pytest.raises(BackendError, match=sentence):
        session.run({"mel": mel[None, :, :7]})


def test_another_process_writes_the_same_bytes(bundle: Path, tmp_path: Path) -> None:
    again = (
        "import sys, json; from edge_export.convert import export; "
        "export('hifigan', sys.argv[1], random=0, config=json.loads(sys.argv[2]), targets=['coreai'],"
        " precisions=['fp32'], frame_buckets=[32, 40])"
    )
    subprocess.run([sys.executable, "-c", again, str(tmp_path / "b"), json.dumps(CONFIG)], check=True)
    assert sha256_tree(tmp_path / "b" / "model.aimodel") == sha256_tree(bundle / "model.aimodel")


def test_a_damaged_asset_ends_its_own_process_alone(bundle: Path, tmp_path: Path) -> None:
    asset = Path(shutil.copytree(bundle / "model.aimodel", tmp_path / "model.aimodel"))
    code = (asset / exporter.PROGRAM).read_bytes()
    (asset / exporter.PROGRAM).write_bytes(code[: len(code) // 2])
    with pytest.raises(BackendError, match=r"model\.aimodel: loading with coreai: got "):
        core_ai.open(asset)


def test_an_operation_that_the_converter_lacks_is_named() -> None:
    def value(name: str, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    node = helper.make_node("Det", ["x"], ["y"])
    graph = helper.make_graph([node], "small", [value("x", ["n", 3, 3])], [value("y", ["n"])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    told = "--target coreai: got small, which has Det, expected another target; coreai-onnx .* has no such"
    with pytest.raises(ConfigError, match=told):
        exporter._converted(model, {"main": {"x": (2, 3, 3)}}, "small")
