"""verify: what passes, what fails, what is absent, and what is refused before anything runs."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests import small_nets

from edge_export.backends import BACKENDS, get_backend
from edge_export.convert import export
from edge_export.proof import verify as parity
from edge_runtime.compare import compare
from edge_runtime.errors import BackendError, BundleError, ConfigError
from edge_runtime.store.bundle import describe_artifact, open_bundle, write_reference


@pytest.fixture
def copy(small_hifigan: Path, tmp_path: Path) -> Path:
    """A bundle that a test may spoil."""
    return Path(shutil.copytree(small_hifigan, tmp_path / "bundle"))


def rewrite_reference(bundle: Path, case: str, change: float) -> None:
    """Add to one sample of a stored output, and seal the bundle again."""
    opened = open_bundle(bundle)
    inputs, outputs = opened.reference(case)
    outputs["audio"][0, 0, 7] += change
    shutil.rmtree(bundle / "reference" / case)
    hashes = write_reference(bundle, case, inputs | outputs)
    replace(opened.manifest, reference=opened.manifest.reference | {case: hashes}).save(bundle)


def test_every_artifact_passes_on_every_backend_that_is_here(small_hifigan: Path) -> None:
    result = parity.verify(small_hifigan)
    assert result.passed
    ran = {(row.backend, row.precision, row.case) for row in result.rows if row.status == "PASS"}
    cases = open_bundle(small_hifigan).cases
    assert len(cases) == 2
    here = ("onnxruntime", "openvino", "onnx-reference", "mil")
    proved = {(name, bits, case) for name in here for bits in ("fp32", "fp16") for case in cases}
    assert ran == proved | {("onnxruntime", "fp32", "geometry")}
    for row in result.rows:
        if row.comparison and row.precision == "fp32":
            assert row.comparison.max_abs < 1e-5


def test_the_executor_says_what_it_saw(small_hifigan: Path) -> None:
    row = parity.verify(small_hifigan, backends=["mil"]).rows[0]
    assert "largest magnitude" in row.detail
    assert "CoreML6" in row.detail


def test_an_absent_backend_is_listed_and_not_counted(small_hifigan: Path) -> None:
    result = parity.verify(small_hifigan)
    absent = [row for row in result.rows if row.status == "absent"]
    if get_backend("coreml").unavailable():
        assert {row.backend for row in absent} == {"coreml"}
        assert "not on this machine: coreml" in result.summary()
    only_absent = parity.Verification("b", tuple(absent))
    assert not only_absent.passed


def test_an_artifact_that_nothing_could_execute_is_not_proved(
    small_hifigan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(get_backend("mil"), "unavailable", lambda device="cpu": f"not on this {device}")
    result = parity.verify(small_hifigan)
    if not get_backend("coreml").unavailable():
        pytest.skip("Core ML itself executes the packages on a Mac")
    assert result.count("FAIL") == 0
    assert not result.passed
    assert result.unproved == ("model.mlpackage", "model.fp16.mlpackage")
    assert "not proved: model.mlpackage, model.fp16.mlpackage" in result.summary()


def test_notes_say_what_ran_and_what_the_executor_saw(small_hifigan: Path) -> None:
    notes = parity.notes(parity.verify(small_hifigan, backends=["onnxruntime", "mil"]).rows).splitlines()
    assert [line.split()[1:3] for line in notes] == [
        ["onnxruntime", "fp32"],
        ["onnxruntime", "fp32"],
        ["onnxruntime", "fp16"],
        ["mil", "fp32"],
        ["mil", "fp16"],
    ]
    assert "CPUExecutionProvider" in notes[0]
    assert [line.split()[3] for line in notes[:3]] == ["cpu", "plain", "plain"]
    assert "largest magnitude" in notes[4]


def row(magnitude: float | None, detail: str, case: str) -> parity.Row:
    figures = compare(np.zeros(2), np.zeros(2), tolerance=1.0, min_snr_db=0.0)
    return parity.Row("n", "a", "mil", "fp32", "PASS", detail, case, "y", figures, 0.1, magnitude)


def test_notes_show_the_largest_magnitude_and_not_the_longest_sentence() -> None:
    rows = [row(12.14, "magnitude 12.14 at conv_pre", "a"), row(15.3, "magnitude 15.3 at x", "b")]
    assert "15.3 at x" in parity.notes(rows)
    rows += [row(9.876, "magnitude 9.876 at a very long name", "c"), row(900.0, "900 at y", "d")]
    assert "900 at y" in parity.notes(rows)
    rows += [row(math.inf, "overflow", "e")]
    assert parity.notes(rows).endswith("overflow")


def test_the_rows_of_the_executor_hold_its_largest_magnitude(small_hifigan: Path) -> None:
    rows = parity.verify(small_hifigan, backends=["onnxruntime", "mil"]).rows
    seen = [row for row in rows if row.backend == "mil" and row.comparison]
    assert all(f"largest magnitude {row.largest_magnitude:.4g} at" in row.detail for row in seen)
    single = [row for row in seen if row.precision == "fp32"]
    largest = max(row.largest_magnitude or 0 for row in single)
    assert f"magnitude {largest:.4g} at" in parity.notes(single)
    assert all(row.largest_magnitude is None for row in rows if row.backend == "onnxruntime")


def test_one_wrong_sample_fails_every_row_of_its_case(copy: Path) -> None:
    first, second = open_bundle(copy).cases
    rewrite_reference(copy, first, 2e-3)
    result = parity.verify(copy, backends=["onnxruntime", "mil"])
    assert not result.passed
    verdicts = {(row.precision, row.case): row.status for row in result.rows}
    assert verdicts["fp32", first] == "FAIL"
    assert verdicts["fp32", second] == "PASS"
    failed = next(row for row in result.rows if row.status == "FAIL")
    assert failed.comparison is not None
    assert 1.9e-3 < failed.comparison.max_abs < 2.1e-3
    assert "above the tolerance 0.001" in failed.detail


def test_the_tolerance_can_be_set(copy: Path) -> None:
    rewrite_reference(copy, open_bundle(copy).cases[0], 2e-6)
    assert parity.verify(copy, backends=["onnxruntime"]).passed
    strict = parity.verify(copy, backends=["onnxruntime"], tolerance=1e-8)
    assert not strict.passed
    assert strict.count("FAIL") >= 1


def test_an_artifact_that_cannot_be_opened_is_a_failed_row(copy: Path) -> None:
    opened = open_bundle(copy)
    model = onnx.load(copy / "model.onnx")
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, copy / "model.onnx")
    old = opened.manifest.artifact("onnx", "fp32")
    new = describe_artifact(
        copy, "model.onnx", target="onnx", precision="fp32", version=old.version, axes=old.axes
    )
    artifacts = tuple(new if item == old else item for item in opened.manifest.artifacts)
    replace(opened.manifest, artifacts=artifacts).save(copy)
    result = parity.verify(copy, backends=["onnxruntime"])
    broken = [row for row in result.rows if row.artifact == "model.onnx"]
    assert [row.status for row in broken] == ["FAIL"]
    assert "NoSuchOperator" in broken[0].detail
    assert not result.passed


def test_a_damaged_bundle_is_refused_before_anything_runs(copy: Path) -> None:
    path = copy / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    ran: list[str] = []
    with pytest.raises(BundleError, match=r"model\.onnx"):
        parity.verify(copy, progress=ran.append)
    assert ran == []


def test_every_form_is_a_row_and_says_its_name(small_hifigan: Path) -> None:
    result = parity.verify(small_hifigan, backends=["onnxruntime"])
    proved = {(row.artifact, row.form) for row in result.rows if row.comparison}
    assert proved == {("model.onnx", "cpu"), ("model.plain.onnx", "plain"), ("model.fp16.onnx", "plain")}
    assert "onnxruntime  fp32 plain" in parity.table(result.rows)


def test_a_device_is_known_and_there_or_refused(small_hifigan: Path) -> None:
    with pytest.raises(ConfigError, match="--device: got 'tpu', expected one of all, ane, coreml, cpu, cuda"):
        parity.verify(small_hifigan, devices=["tpu"])
    if get_backend("onnxruntime").unavailable("cuda"):
        with pytest.raises(BackendError, match=r"--device cuda: got .*onnxruntime-gpu"):
            parity.verify(small_hifigan, devices=["cpu", "cuda"])
    with pytest.raises(ConfigError, match="--tf32: got devices cpu, expected --device cuda"):
        parity.verify(small_hifigan, tf32=True)
    with pytest.raises(ConfigError, match="--device: got 'cuda', expected one of cpu"):
        parity.verify(small_hifigan, backends=["mil"], devices=["cuda"])


def test_devices_are_rows_beside_each_other(small_hifigan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On two devices: OpenVINO's processor under a second name, as no other device is everywhere."""
    backend = get_backend("openvino")
    monkeypatch.setattr(backend, "devices", ("cpu", "gpu"))
    monkeypatch.setattr(backend, "_DEVICES", {"cpu": "CPU", "gpu": "CPU"})
    rows = parity.verify(small_hifigan, backends=["openvino"], devices=["cpu", "gpu"]).rows
    assert {(row.device, row.artifact) for row in rows if row.comparison} == {
        (device, path)
        for device in ("cpu", "gpu")
        for path in ("model.onnx", "model.plain.onnx", "model.fp16.onnx")
    }
    assert "openvino gpu  fp32 plain" in parity.table(rows)
    assert rows[0].to_json()["device"] == "cpu"


def test_a_negative_tolerance_is_refused(small_hifigan: Path) -> None:
    with pytest.raises(ConfigError, match="--tolerance: got -1, expected a finite number"):
        parity.verify(small_hifigan, tolerance=-1)
    for nonsense in (float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=f"--tolerance: got {nonsense}"):
            parity.verify(small_hifigan, tolerance=nonsense)


def test_an_unknown_backend_is_refused(small_hifigan: Path) -> None:
    with pytest.raises(BackendError, match="--backend: got 'onnx', expected one of onnxruntime"):
        parity.verify(small_hifigan, backends=["onnx"])


@pytest.mark.skipif(not get_backend("coreml").unavailable(), reason="this machine has Core ML")
def test_a_backend_asked_for_by_name_must_be_here(small_hifigan: Path) -> None:
    with pytest.raises(BackendError, match=r"--backend coreml: got .*; Core ML runs on macOS only"):
        parity.verify(small_hifigan, backends=["coreml"])


def test_a_backend_without_artifacts_is_refused(tmp_path: Path) -> None:
    config = small_nets.CONFIG.to_json()
    bundle = export("hifigan", tmp_path / "b", random=1, config=config, targets=["onnx"], precisions=["fp32"])
    words = "--backend mil: got a bundle with only onnx, expected coreml artifacts; .*export --target coreml "
    with pytest.raises(ConfigError, match=words):
        parity.verify(bundle, backends=["mil"])


def test_rows_are_plain_json(small_hifigan: Path) -> None:
    result = parity.verify(small_hifigan, backends=["onnxruntime"])
    plain = json.loads(json.dumps(result.to_json()))
    assert plain["passed"] is True
    assert plain["rows"][0]["backend"] == "onnxruntime"
    assert plain["rows"][0]["comparison"]["max_abs"] < 1e-3


def test_the_table_has_a_line_a_row(small_hifigan: Path) -> None:
    rows = parity.verify(small_hifigan, backends=["onnxruntime"]).rows
    lines = parity.table(rows).splitlines()
    assert len(lines) == len(rows) + 1
    assert lines[0].split()[:4] == ["net", "backend", "precision", "case"]
    *cases, geometry = lines[1:]
    assert all(line.endswith("PASS") for line in cases)
    assert "PASS: " in geometry  # what was measured


def test_of_several_outputs_the_worst_is_named() -> None:
    """A decoder has fourteen: a line each would say nothing of which."""
    truth = np.sin(np.arange(64.0))

    def rows(status: parity.Status, **errors: float) -> list[parity.Row]:
        what = partial(parity.Row, "ecog-decoder", "model.onnx", "onnxruntime", "fp32")
        return [
            what(status if error > 0.1 else "PASS", "told", "waves", name, compare(truth, truth + error))
            for name, error in errors.items()
        ]

    one = rows("PASS", f0_hz=1e-6, loudness=1e-4, amplitudes=1e-5)
    head, line = parity.table(one).splitlines()
    assert "worst output" in head
    assert "loudness, of 3" in line
    assert line.endswith("PASS")
    _, line, other = parity.table([*one, *rows("FAIL", f0_hz=1.0, loudness=0.01)]).splitlines()
    assert "loudness, of 3" in line
    assert "f0_hz, of 2" in other
    assert other.endswith("FAIL: told; 1 of 2 outputs fail")


@pytest.mark.parametrize(
    ("value", "text"),
    [(5.22e-6, "5.3e-06"), (5.3e-6, "5.3e-06"), (9.99e-4, "1.0e-03"), (0.0, "0"), (np.inf, "inf")],
)
def test_a_tolerance_is_rounded_so_that_it_still_passes(value: float, text: str) -> None:
    assert parity.rounded_up(value) == text
    assert float(text) >= value


def test_every_backend_has_the_name_it_is_listed_under() -> None:
    for name in BACKENDS:
        assert get_backend(name).name == name
