"""Checkpoints are whole files in order, and are read without running code."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from edge_runtime.errors import CheckpointError
from edge_training.engine.module import WeightsFile
from edge_training.engine.run_checkpoints import (
    Checkpoints,
    WholeCheckpoints,
    _link,
    checkpoint_steps,
    write_json,
)


def test_steps_are_in_order_and_strangers_are_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for name in (
        "step-00000020.ckpt",
        "step-00000003.ckpt",
        "step-100000000.ckpt",
        "best.ckpt",
        "step-x.ckpt",
    ):
        (folder / name).touch()
    assert list(checkpoint_steps(tmp_path)) == [3, 20, 100_000_000]
    assert checkpoint_steps(tmp_path / "nowhere") == {}


def test_a_checkpoint_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, saving = tmp_path / "x.ckpt", WholeCheckpoints()
    saving.save_checkpoint({"a": torch.ones(2)}, path)

    def broken(saved: Any, place: Path) -> None:
        Path(place).write_bytes(b"half")
        raise KeyboardInterrupt(saved)

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(KeyboardInterrupt):
        saving.save_checkpoint({"a": torch.zeros(2)}, path)
    assert torch.equal(saving.load_checkpoint(path)["a"], torch.ones(2))
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.ckpt"]


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm-done",)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": Harmful()}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"x.ckpt: got bytes that cannot be read"):
        WholeCheckpoints().load_checkpoint(tmp_path / "x.ckpt")
    assert not Path("harm-done").exists()


def test_json_is_sorted_and_ends_in_a_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": 1, "a": [2]})
    assert (tmp_path / "x.json").read_text() == '{\n  "a": [\n    2\n  ],\n  "b": 1\n}\n'


def test_the_best_checkpoint_is_a_copy_where_hard_links_do_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_source: Path, _target: Path) -> None:
        raise PermissionError(errno.EPERM, "exFAT and some network file systems say so")

    monkeypatch.setattr(os, "link", refused)
    (tmp_path / "step.ckpt").write_bytes(b"weights")
    _link(tmp_path / "step.ckpt", tmp_path / "best.ckpt")
    assert (tmp_path / "best.ckpt").read_bytes() == b"weights"


class TwoFiles:
    """The part of a module that plain files are written from: a net, its adapter and a teacher."""

    weights_file = "net.safetensors"

    class config:  # noqa: N801
        @staticmethod
        def net_json() -> dict[str, Any]:
            return {"width": 3}

    def weights(self) -> dict[str, torch.Tensor]:
        return {"weight": torch.ones(2, 3).T}

    def further_weights(self) -> dict[str, WeightsFile]:
        adapter = WeightsFile({"down": torch.zeros(1)}, {"rank": 1})
        return {"adapter.safetensors": adapter, "teacher.safetensors": WeightsFile({"up": torch.ones(1)})}

    def origin_files(self) -> dict[str, Any]:
        return {}


def test_further_weights_lie_beside_the_nets(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    (folder / "best").mkdir(parents=True)
    callback = Checkpoints(tmp_path)
    callback._write_plain(TwoFiles(), best=True)  # type: ignore[arg-type]
    for place in (folder, folder / "best"):
        names = {path.name for path in place.iterdir() if path.is_file()}
        assert names == {
            *("net.safetensors", "config.json", "adapter.safetensors", "adapter.json"),
            "teacher.safetensors",
        }
        torch.testing.assert_close(load_file(place / "net.safetensors")["weight"], torch.ones(3, 2))
        torch.testing.assert_close(load_file(place / "adapter.safetensors")["down"], torch.zeros(1))
        assert json.loads((place / "adapter.json").read_text()) == {"rank": 1}
