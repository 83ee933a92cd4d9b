"""`edge-export bisect BUNDLE`: sound bundles, culprits, their proof, refusals, and bundles of a culprit."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests import planted_faults
from tests.planted_faults import FAULTS, Planted

from edge_export.__main__ import main
from edge_export.proof.bisect import nets
from edge_export.proof.bisect.nets import bisect
from edge_export.proof.bisect.origins import FILE, read_origins
from edge_export.proof.bisect.report import text
from edge_export.proof.bisect.repro import write_repro
from edge_export.proof.verify import verify
from edge_runtime.errors import BundleError, CheckpointError, ConfigError, TargetError
from edge_runtime.store.bundle import MANIFEST, open_bundle, write_reference

EXPORT = Path(nets.__file__).parents[3]


@pytest.fixture(scope="module", autouse=True)
def shared(small_hifigan: Path) -> Iterator[None]:
    planted_faults.GIVEN["hifigan"] = small_hifigan
    yield
    planted_faults.GIVEN.clear()


@pytest.fixture(scope="module")
def padded(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return FAULTS["wrong pad of one convolution"](tmp_path_factory.mktemp("padded"))


@pytest.fixture(scope="module")
def transposed(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return FAULTS["transposed weight"](tmp_path_factory.mktemp("transposed"))


def test_a_sound_bundle_has_no_culprit_in_any_artifact(small_hifigan: Path) -> None:
    result = bisect(small_hifigan)
    assert result.passed
    assert [each.artifact for each in result.searches] == [
        "model.onnx", "model.plain.onnx", "model.fp16.onnx", "model.mlpackage", "model.fp16.mlpackage",
    ]  # fmt: skip
    for each in result.searches:
        assert each.against == "the PyTorch net in float32"
        assert len(each.found.findings) >= 0.95 * each.found.steps, "hardly anything is left unpaired"
        assert each.reference_db == math.inf
    assert "no operation is below" in text(result)


def test_every_operation_knows_its_module_and_line(small_hifigan: Path) -> None:
    bundle = open_bundle(small_hifigan)
    for artifact in bundle.manifest.artifacts:
        origins = read_origins(bundle, artifact.path)
        assert "resblocks.3.convs2.1" in origins.modules.values() or artifact.path == "model.onnx"
        places = [line.rpartition(":") for line in origins.lines.values()]
        assert all(places), artifact.path
        for file, _, number in places:
            packages = [EXPORT, EXPORT.parent / "training"]
            (source,) = (place / file for place in packages if (place / file).is_file())
            assert int(number) <= len(source.read_text(encoding="utf-8").splitlines())


def test_introduced_and_propagated_are_told_apart(transposed: Planted) -> None:
    (found,) = bisect(transposed.place, artifacts=["model.mlpackage"]).searches
    findings = {finding.step.name: finding for finding in found.found.findings}
    culprit = findings["resblocks_2_convs2_1"]
    assert culprit.introduced_db < 10 < 100 < culprit.propagated_db
    after = findings["conv_post"]
    assert after.propagated_db < 20 < 100 < after.introduced_db
    assert found.found.culprit is not None
    assert found.found.culprit.repaired_db is not None
    assert found.found.culprit.repaired_db > 100 > found.found.output_db
    # residual connections lead around it, but what they carry does not differ
    assert found.found.culprit.dominated == found.found.differing > 10


def test_without_torch_the_float32_file_is_the_reference(transposed: Planted) -> None:
    vocoder = planted_faults.vocoder()
    found = bisect(vocoder, against="onnx-fp32", artifacts=["model.onnx"]).searches[0]
    assert found.found.output_db == math.inf, "the reference against itself"
    (pair,) = bisect(transposed.place, against="onnx-fp32", artifacts=["model.mlpackage"]).searches
    assert pair.found.culprit is not None, "the two forms of HiFi-GAN share little, but not the fault"


def test_a_bundle_without_the_side_file_is_searched_too(padded: Planted, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(padded.place, older)
    (older / FILE).unlink()
    replace(open_bundle(padded.place).manifest, files=()).save(older)
    (found,) = bisect(older, artifacts=["model.onnx"]).searches
    assert found.found.culprit is not None
    assert found.found.culprit.main.path == "stages.1.blocks.1.chains.0.1"
    assert found.found.culprit.line.startswith("edge_export/to_onnx/cpu_form/")


@pytest.mark.parametrize(
    "fault", ["wrong pad of one convolution", "transposed weight", "GRU reset order", "wrong clamp"]
)
def test_the_culprit_alone_is_a_bundle_that_verify_fails(fault: str, tmp_path: Path) -> None:
    planted = FAULTS[fault](tmp_path)
    result = bisect(planted.place, artifacts=[planted.artifact])
    bundle = write_repro(planted.place, result.worst, tmp_path / "repro")
    size = sum(artifact.total_bytes for artifact in bundle.manifest.artifacts)
    assert size < sum(artifact.total_bytes for artifact in open_bundle(planted.place).manifest.artifacts) / 2
    rows = [row for row in verify(bundle).rows if row.comparison]
    assert rows
    assert {row.status for row in rows} == {"FAIL"}
    assert rows[0].comparison is not None
    assert rows[0].comparison.snr_db == pytest.approx(result.worst.found.culprit.introduced_db, abs=0.1)  # type: ignore[union-attr]
    with pytest.raises(TargetError, match="inside of the input"):
        write_repro(planted.place, result.worst, planted.place / "repro")


def test_the_command_names_it_and_exits_1(
    padded: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "bisect",
        str(padded.place),
        "--artifact",
        "model.onnx",
        "--json",
        str(tmp_path / "found.json"),
    ]
    assert main([*command, "--repro", str(tmp_path / "repro")]) == 1
    out = capsys.readouterr().out
    assert "first culprit: Conv in stages.1.blocks.1.chains.0.1" in out
    assert f"FAIL  {padded.place}: model.onnx: Conv in stages.1.blocks.1.chains.0.1" in out
    assert '"module": "stages.1.blocks.1.chains.0.1"' in (tmp_path / "found.json").read_text()
    assert (tmp_path / "repro" / MANIFEST).is_file()


def test_a_fold_that_changes_the_net_is_told(padded: Planted, tmp_path: Path) -> None:
    """The reference is folded, as the artifact is, so that both would agree on a wrong fold."""
    place = tmp_path / "folded"
    shutil.copytree(padded.place, place)
    bundle = open_bundle(place)
    reference = {}
    for case in bundle.cases:
        inputs, outputs = bundle.reference(case)
        shutil.rmtree(place / "reference" / case)
        wrong = {name: array * 1.01 for name, array in outputs.items()}
        reference[case] = write_reference(place, case, inputs | wrong)
    replace(bundle.manifest, reference=reference).save(place)
    result = bisect(place, artifacts=["model.plain.onnx"])
    assert not result.passed
    assert result.searches[0].found.culprit is None
    assert "the reference itself is at 40." in text(result)
    assert result.summary() == "model.plain.onnx: what is exported differs from the net"


def test_what_is_refused(small_hifigan: Path, padded: Planted, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--against: got tensorflow, expected torch or onnx-fp32"):
        bisect(small_hifigan, against="tensorflow")
    with pytest.raises(ConfigError, match=r"--case: got nine, expected one of frames-16, frames-24"):
        bisect(small_hifigan, case="nine")
    with pytest.raises(ConfigError, match=r"--artifact: got model.tflite, expected one of model.onnx, "):
        bisect(small_hifigan, artifacts=["model.tflite"])
    with pytest.raises(ConfigError, match="--limit: got nan, expected a number in dB"):
        bisect(small_hifigan, limit_db=math.nan)
    other = tmp_path / "other.pt"
    other.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"other\.pt"):
        bisect(small_hifigan, checkpoint=other)
    only = planted_faults.vocoder()
    with pytest.raises(
        ConfigError, match=r"--against onnx-fp32: got a bundle of only model.onnx, .*checkpoint"
    ):
        bisect(only, against="onnx-fp32")
    sound = bisect(small_hifigan, artifacts=["model.onnx"])
    with pytest.raises(ConfigError, match="--repro: got no culprit"):
        write_repro(small_hifigan, sound.worst, tmp_path / "repro")
    empty = tmp_path / "empty"
    shutil.copytree(padded.place, empty, ignore=shutil.ignore_patterns("reference"))
    replace(open_bundle(padded.place).manifest, reference={}).save(empty)
    with pytest.raises(BundleError, match="no reference case"):
        bisect(empty)


def test_random_weights_that_this_machine_draws_otherwise_are_refused(
    padded: Planted, tmp_path: Path
) -> None:
    place = tmp_path / "drawn"
    shutil.copytree(padded.place, place)
    manifest = open_bundle(place).manifest
    replace(manifest, source=replace(manifest.source, sha256="0" * 64)).save(place)
    with pytest.raises(
        CheckpointError, match=r"random seed 1: got other weights than when .*export the net again"
    ):
        bisect(place)
