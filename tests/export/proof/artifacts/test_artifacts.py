"""Opening anything that runs: what is taken, what is refused, and that no file is executed unasked."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_export.proof.artifacts import bundle_of, open_runnable
from edge_runtime.errors import BundleError, CheckpointError, ConfigError, EdgeError, InputError
from edge_runtime.store.bundle import open_bundle


def doubled(mel: Any) -> Any:
    """A function of a user, found by name."""
    return 2 * mel


class Doubling(torch.nn.Module):
    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        return torch.relu(mel) * 2.0


MODULE = Doubling()


@pytest.fixture
def mel() -> dict[str, np.ndarray[Any, Any]]:
    return {"mel": np.linspace(-1, 1, 12, dtype=np.float32).reshape(1, 3, 4)}


def test_every_artifact_of_a_bundle_runs_and_lists_its_operations(small_hifigan: Path) -> None:
    bundle = open_bundle(small_hifigan)
    inputs, outputs = bundle.reference(bundle.cases[0])
    for name in ("model.onnx", "model.mlpackage"):
        artifact = open_runnable(small_hifigan / name)
        assert [port.name for port in artifact.inputs] == ["mel"]
        assert artifact.inputs[0].admits(inputs["mel"].shape)
        assert np.abs(artifact.run(inputs)["audio"] - outputs["audio"]).max() < 1e-4
        assert len({operation.name for operation in artifact.operations}) == len(artifact.operations)
        assert {"Conv", "conv"} & {operation.type for operation in artifact.operations}


@pytest.mark.parametrize("name", ["model.onnx", "model.fp16.onnx", "model.mlpackage", "model.fp16.mlpackage"])
def test_every_operation_is_watched_with_values_of_its_declared_shapes(
    small_hifigan: Path, name: str
) -> None:
    bundle = open_bundle(small_hifigan)
    artifact = open_runnable(small_hifigan / name)
    seen: list[str] = []

    def look(operation: Any, results: Any) -> None:
        seen.append(operation.name)
        for value, result in zip(operation.outputs, results, strict=True):
            declared = value.shape or result.shape
            assert all(
                not isinstance(axis, int) or axis == n for axis, n in zip(declared, result.shape, strict=True)
            )

    artifact.watch(bundle.reference(bundle.cases[0])[0], look)
    assert seen == [operation.name for operation in artifact.operations]


def test_a_bundle_runs_as_its_first_artifact(small_hifigan: Path) -> None:
    assert open_runnable(small_hifigan).what == f"{small_hifigan}: model.onnx"
    assert "OpenVINO" in open_runnable(small_hifigan, backends=["openvino"]).detail
    found = bundle_of(small_hifigan / "model.fp16.onnx")
    assert found is not None
    assert found[1] is not None
    assert found[1].precision == "fp16"
    assert bundle_of(small_hifigan / "manifest.json") is None


def test_functions_and_modules_of_python(mel: dict[str, Any]) -> None:
    for name in ("doubled", "MODULE"):
        artifact = open_runnable(f"{__name__}:{name}")
        assert [port.name for port in artifact.inputs] == ["mel"]
    assert np.array_equal(artifact.run(mel)["output_0"], 2 * np.maximum(mel["mel"], 0))


def test_what_python_cannot_find_or_call(mel: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="no module named no_such_module, expected module:function"):
        open_runnable("no_such_module:f")
    with pytest.raises(ConfigError, match="got no missing in json"):
        open_runnable("json:missing")
    with pytest.raises(ConfigError, match="got a str, expected something that can be called"):
        open_runnable("json:__name__")
    with pytest.raises(InputError, match=r"json:dumps: got «.*» when it ran"):
        open_runnable("json:dumps").run({"obj": mel["mel"]})


def test_programs_of_torch_run_only_when_trusted(tmp_path: Path, mel: dict[str, Any]) -> None:
    example = (torch.zeros(1, 3, 4),)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(MODULE, example).save(str(tmp_path / "script.pt"))  # type: ignore[no-untyped-call]
        torch.export.save(torch.export.export(MODULE, example), tmp_path / "exported.pt2")
    with pytest.raises(
        CheckpointError, match=r"TorchScript, a program that may read and write files.*--trust"
    ):
        open_runnable(tmp_path / "script.pt")
    with pytest.raises(CheckpointError, match=r"ExportedProgram, whose loading runs pickled code.*--trust"):
        open_runnable(tmp_path / "exported.pt2")
    for name in ("script.pt", "exported.pt2"):
        artifact = open_runnable(tmp_path / name, trust=True)
        (result,) = artifact.run(mel).values()
        assert np.array_equal(result, 2 * np.maximum(mel["mel"], 0))
        assert any("relu" in operation.type for operation in artifact.operations)
        assert any("test_artifacts.py" in operation.source for operation in artifact.operations)
    shown: list[str] = []
    artifact.watch(mel, lambda operation, _: shown.append(operation.type))
    assert shown == ["aten.relu.default", "aten.mul.Tensor"]


class Trap:
    """A pickle that makes a folder when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_recognising_a_file_opens_no_pickle(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    for entry in ("m/models/model.json", "m/constants.pkl", "m/other"):
        archive = tmp_path / "trap.pt2"
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr("m/data.pkl", pickle.dumps(Trap(sprung)))
            file.writestr(entry, json.dumps({}))
        with pytest.raises(CheckpointError):
            open_runnable(archive)
    assert not sprung.exists()


def test_an_exported_program_can_run_code_which_is_why_it_is_refused(tmp_path: Path) -> None:
    """The trap is sprung by torch.export.load itself: where torch closes that door, --trust may go."""
    sprung, whole, trap = tmp_path / "sprung", tmp_path / "whole.pt2", tmp_path / "trap.pt2"
    torch.export.save(torch.export.export(MODULE, (torch.zeros(1, 3, 4),)), whole)
    poison = io.BytesIO()
    torch.save((Trap(sprung),), poison)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(trap, "w") as new:
        for entry in old.infolist():
            inputs = "sample_inputs" in entry.filename
            new.writestr(entry.filename, poison.getvalue() if inputs else old.read(entry))
    with pytest.raises(CheckpointError, match="--trust"):
        open_runnable(trap)
    assert not sprung.exists()
    with warnings.catch_warnings(), contextlib.suppress(CheckpointError):
        warnings.simplefilter("ignore")
        open_runnable(trap, trust=True)
    assert sprung.exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("absent.onnx", None, "no such file"),
        ("text.onnx", b"hello", "bytes that are not an ONNX model"),
        ("weights.safetensors", b"", "weights without a program"),
        ("model.mlmodel", b"", "old format"),
        ("notes.txt", b"hello", "a file .txt, expected an .onnx, .mlpackage or .tflite file"),
        ("cut.pt", b"PK\x03\x04 no more", "a damaged archive"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(EdgeError, match=said):
        open_runnable(tmp_path / name)


def test_a_backend_that_is_not_here_is_named(small_hifigan: Path) -> None:
    with pytest.raises(EdgeError, match="--backend coreml"):
        open_runnable(small_hifigan / "model.mlpackage", backends=["coreml"])


def test_a_package_that_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "x.mlpackage").mkdir()
    with pytest.raises(BundleError, match=r"x\.mlpackage: Manifest\.json: got"):
        open_runnable(tmp_path / "x.mlpackage")
