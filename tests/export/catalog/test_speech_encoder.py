"""speech-encoder as artifacts."""

from __future__ import annotations

from pathlib import Path

from tests.small_ecog import small_bundle

from edge_export.proof.verify import table, verify


def test_every_artifact_is_proved(tmp_path: Path) -> None:
    bundle = small_bundle("speech-encoder", tmp_path / "b", targets=("onnx", "coreml"), precisions=("fp32",))
    manifest = bundle.manifest
    assert [tensor.shape for tensor in manifest.inputs] == [("batch", 1, 128, 128), ("batch", 1)]
    assert [tensor.name for tensor in manifest.outputs][-2:] == ["noisebg", "spec_smooth"]
    assert manifest.front_end is not None
    assert manifest.front_end.n_fft == 255
    assert set(bundle.cases) == {"female", "male"}
    proof = verify(bundle, backends=["onnxruntime", "mil"])
    assert proof.passed, table(proof.rows)
