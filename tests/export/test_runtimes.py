"""runtimes: what loads an artifact, what refuses it, and what is not there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tests import small_bundles

from edge_export import runtimes
from edge_export.convert import export
from edge_export.runtimes import Trial, table, try_runtimes
from edge_runtime.errors import BundleError, ConfigError


def test_an_artifact_runs_on_what_is_here_and_says_what_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = export("istft", tmp_path / "bundle", targets=["onnx"], precisions=["fp32"])
    rows_file = tmp_path / "rows.json"
    chosen = ["--runtime", "onnxruntime", "--runtime", "tract", "--python", sys.executable]
    runtimes.main([str(bundle.path), *chosen, "--json", str(rows_file)])
    rows = {row["runtime"]: row for row in json.loads(rows_file.read_text())}
    assert rows["onnxruntime"]["verdict"] == "runs"
    assert rows["onnxruntime"]["max_abs"] < 1e-4
    assert rows["onnxruntime"]["detail"].startswith("onnxruntime ")
    assert rows["tract"]["verdict"] == "absent"
    assert "No module named 'tract'" in rows["tract"]["detail"]
    assert "nodes" in rows["Core ML provider"]["verdict"]
    text = capsys.readouterr().out
    assert text.splitlines()[0].split() == [
        "net",
        "artifact",
        "onnxruntime",
        "tract",
        "Core",
        "ML",
        "provider",
    ]


def test_the_table_shows_errors_and_reasons() -> None:
    rows = [
        Trial("n", "model.onnx", "fp32", "mnn", "runs", 1.5e-6, "MNN 3"),
        Trial("n", "model.onnx", "fp32", "ncnn", "refused", None, "no layers for Where"),
        Trial("n", "model.onnx", "fp32", "tract", "wrong", 0.5, "tract 0"),
    ]
    text = table(rows)
    assert "1.5e-06  refused  wrong: 5.0e-01" in text
    assert "no layers for Where" in text


def test_what_cannot_be_tried_is_refused(tmp_path: Path) -> None:
    bundle = small_bundles.write_vocoder(tmp_path / "bundle")
    with pytest.raises(BundleError, match="bundle: got no reference cases, expected one"):
        try_runtimes([bundle])
    with pytest.raises(ConfigError, match="--runtime: got tensorflow, expected some of onnxruntime"):
        try_runtimes([tmp_path], ["tensorflow"])
