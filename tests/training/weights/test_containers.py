"""Containers: told by content, bounded by their own size, never waited for."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.small_weights import save, save_legacy

from edge_runtime.errors import CheckpointError
from edge_training.weights.containers import open_weights
from edge_training.weights.pickles import Stored
from edge_training.weights.reading import load_checkpoint, read_checkpoint, read_saved

SHARED = torch.arange(24, dtype=torch.float64)
STATE: Mapping[str, torch.Tensor] = {
    "plain.weight": torch.linspace(-1, 1, 6).reshape(2, 3),
    "view.weight": SHARED[4:16].reshape(3, 4).t(),  # a part of a storage, by columns
    "again.weight": SHARED[:5],
    "whole.weight": torch.tensor(3, dtype=torch.int64),
    "half.weight": torch.ones(3, dtype=torch.bfloat16),
    "none.weight": torch.empty(0, 4),
    "flag.weight": torch.tensor([True, False]),
}


def save_pickle(path: Path, saved: object) -> Path:
    path.write_bytes(pickle.dumps(saved))  # each storage as a little file of its own
    return path


def save_deflated(path: Path, saved: object) -> Path:
    """As people pack files again."""
    plain = zipfile.ZipFile(save(path.with_name("plain"), saved))
    with plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    return path


def save_nemo(path: Path, saved: object, mode: str = "w") -> Path:
    save(path.with_name("model_weights.ckpt"), saved)
    path.with_name("model_config.yaml").write_text("generator: {resblock: 1}\n")
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name in ("model_config.yaml", "model_weights.ckpt"):
            archive.add(path.with_name(name), f"./{name}")
    return path


CONTAINERS: Mapping[str, Callable[[Path, object], Path]] = {
    "torch zip": save,
    "torch legacy pickle": save_legacy,
    "pickle": save_pickle,
    "torch zip, deflated": save_deflated,
    "archive, torch zip": save_nemo,
    "archive, torch zip, gzipped": lambda path, saved: save_nemo(path, saved, "w:gz"),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_tensors(tmp_path: Path, container: str) -> None:
    saved = read_saved(CONTAINERS[container](tmp_path / "weights", {"model": dict(STATE), "epoch": 3}))
    assert isinstance(saved, dict)
    assert saved["epoch"] == 3
    for key, tensor in STATE.items():
        assert saved["model"][key].dtype == tensor.dtype
        assert torch.equal(saved["model"][key], tensor)


def test_the_configuration_inside_an_archive_is_kept(tmp_path: Path) -> None:
    opened = open_weights(save_nemo(tmp_path / "tts.nemo", dict(STATE)))
    assert opened.config == {"model_config.yaml": "generator: {resblock: 1}\n"}
    assert opened.container == "archive, torch zip"


# ---- several files ----------------------------------------------------------------------------------------


def shards(folder: Path, places: Mapping[str, str] | None = None) -> Path:
    names = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    save_file({"conv.weight": torch.ones(2, 3)}, folder / names[0])
    save_file({"conv.bias": torch.zeros(2)}, folder / names[1])
    index = folder / "model.safetensors.index.json"
    found = {"conv.weight": names[0], "conv.bias": names[1]} if places is None else places
    index.write_text(json.dumps({"metadata": {"total_size": 32}, "weight_map": found}))
    return index


def test_an_index_gathers_its_files(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(shards(tmp_path))
    assert checkpoint.format == "2 files of safetensors, float32"
    assert {key: tuple(t.shape) for key, t in checkpoint.state.items()} == {
        "conv.weight": (2, 3),
        "conv.bias": (2,),
    }
    before = checkpoint.sha256
    save_file({"conv.bias": torch.ones(2)}, tmp_path / "model-00002-of-00002.safetensors")
    assert read_checkpoint(tmp_path / "model.safetensors.index.json").sha256 != before


@pytest.mark.parametrize(
    ("places", "sentence"),
    [
        ({"conv.weight": "../secret.safetensors"}, "an index of files elsewhere"),
        ({"conv.weight": "/etc/passwd"}, "an index of files elsewhere"),
        ({"conv.weight": "model.safetensors.index.json"}, "an index in an index"),
        (
            {"conv.weight": "model-00003-of-00003.safetensors"},
            "model-00003-of-00003.safetensors: .*no such file",
        ),
        ({"lost.weight": "model-00001-of-00002.safetensors"}, "seeks lost.weight in model-00001"),
        ({"conv.weight": 3}, "an index without weight_map"),
        ({}, "no weights at all"),
    ],
)
def test_an_index_leads_nowhere_else(tmp_path: Path, places: Any, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        read_checkpoint(shards(tmp_path, places))


# ---- bounds -----------------------------------------------------------------------------------------------


def deflated_zeros(path: Path) -> Path:
    """100 MB of zeros in 100 kB."""
    plain = zipfile.ZipFile(save(path.with_name("plain"), {"a.weight": torch.zeros(2)}))
    with plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in plain.namelist():
            packed.writestr(name, bytes(10**8) if name.endswith("data/0") else plain.read(name))
    return path


def gzipped_zeros(path: Path) -> Path:
    path.write_bytes(gzip.compress(bytes(10**8), 1))
    return path


def expanded(path: Path) -> Path:
    return save(path, {"a.weight": torch.zeros(1).expand(30000, 30000)})


def sharing(path: Path) -> Path:
    """A thousand tensors of one storage of 400 kB."""
    whole = torch.zeros(100_000)
    return save(path, {f"a{n}.weight": whole for n in range(1000)})


def itself(path: Path) -> Path:
    state: dict[str, Any] = {"epoch": 3}
    state["state_dict"] = state
    return save(path, state)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (deflated_zeros, "bytes that unpack to 1000"),
        (gzipped_zeros, "bytes that unpack to far more"),
        (expanded, "a tensor whose 900000000 values are 1 of the file, repeated"),
        (sharing, "bytes whose tensors unfold to 400000000"),
        (itself, "entry 'epoch': got type int"),
    ],
)
def test_what_would_unfold_is_refused(tmp_path: Path, make: Callable[[Path], Path], sentence: str) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        read_checkpoint(make(tmp_path / "weights.pth"))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "a nested tensor"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "a quantised tensor"),
        (lambda: torch.tensor(1.0), "wrong shape 0.weight of shape"),
        (lambda: torch.ones(3).expand(2, 3), "wrong shape 0.weight"),
    ],
    ids=["nested", "quantised", "0-d", "expanded"],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_of_other_kinds(tmp_path: Path, make: Callable[[], torch.Tensor], sentence: str) -> None:
    path = save(tmp_path / "weights.pth", {"0.weight": make(), "0.bias": torch.ones(2)})
    with pytest.raises(CheckpointError, match=sentence):
        load_checkpoint(torch.nn.Sequential(torch.nn.Conv1d(3, 2, 1)), read_checkpoint(path), net="net")


@pytest.mark.parametrize("place", ["pipe", "/dev/zero", "/dev/null"])
def test_only_regular_files_are_opened(tmp_path: Path, place: str) -> None:
    path = tmp_path / place  # an absolute one stays itself
    if place == "pipe":
        os.mkfifo(path)
    with pytest.raises(CheckpointError, match=r"checkpoint: got a (pipe|device), expected a readable file"):
        read_checkpoint(path)


def test_big_endian_machines(tmp_path: Path) -> None:
    plain = zipfile.ZipFile(save(tmp_path / "plain", {"a.weight": torch.ones(2)}))
    with plain, zipfile.ZipFile(tmp_path / "weights", "w") as packed:
        for name in plain.namelist():
            packed.writestr(name, b"big" if name.endswith("byteorder") else plain.read(name))
    with pytest.raises(CheckpointError, match="big-endian"):
        read_checkpoint(tmp_path / "weights")


def test_a_closed_file_after_the_last_tensor(tmp_path: Path) -> None:
    opened = open_weights(save(tmp_path / "weights", {"a.weight": torch.ones(2)}))
    descriptors = set(os.listdir("/proc/self/fd"))
    assert isinstance(opened.saved, dict)
    tensor: Stored = opened.saved["a.weight"]
    del opened
    assert torch.equal(tensor.read(), torch.ones(2))
    del tensor
    assert len(set(os.listdir("/proc/self/fd"))) < len(descriptors)


def test_a_compressed_file_that_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "g.pt.gz"
    path.write_bytes(gzip.compress(save(tmp_path / "g.pt", dict(STATE)).read_bytes()))
    opened = open_weights(path)
    assert opened.container == "gzip, torch zip"
    saved: Any = opened.saved
    assert torch.equal(saved["view.weight"].read(), STATE["view.weight"])


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (b"\x08\x07\x12\x07pytorch\x1a", "an ONNX file"),
        (b"GGUF\x03", "a GGUF file"),
        (b"\x1c\0\0\0TFL3", "Lite"),
    ],
)
def test_what_weights_were_exported_to(tmp_path: Path, content: bytes, form: str) -> None:
    (tmp_path / "file").write_bytes(content + bytes(99))
    with pytest.raises(CheckpointError, match=f"{form}.*made from a checkpoint"):
        open_weights(tmp_path / "file")


def test_an_archive_without_weights(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("readme"), io.BytesIO(b""))
    with pytest.raises(CheckpointError, match="a tar archive without weights"):
        read_checkpoint(tmp_path / "a.tar")
