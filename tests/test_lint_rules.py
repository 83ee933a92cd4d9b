"""The bans of the layout hold everywhere: a nested configuration replaces the root's table."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {"runtime": "edge_runtime", "training": "edge_training", "export": "edge_export"}
ABOVE = {"runtime": ("edge_training", "edge_export", "torch"), "training": ("edge_export",), "export": ()}


def complaints(tmp_path: Path, folder: str, statement: str) -> str:
    """What ruff says of a module with this import, in a tree with the project's configuration."""
    for name in ("pyproject.toml", "runtime/ruff.toml", "training/ruff.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    module = tmp_path / folder / FOLDERS[folder] / "module.py"
    module.parent.mkdir(parents=True)
    module.write_text(f'"""A module."""\n\n\ndef f() -> None:\n    import {statement}  # noqa: F401\n')
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID251", str(module)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("inner", FOLDERS)
def test_folders_are_no_packages(tmp_path: Path, folder: str, inner: str) -> None:
    assert "TID251" in complaints(tmp_path, folder, f"{inner}.{FOLDERS[inner]}")


@pytest.mark.parametrize(("folder", "package"), [(f, p) for f, packages in ABOVE.items() for p in packages])
def test_nothing_is_imported_against_the_arrows(tmp_path: Path, folder: str, package: str) -> None:
    assert "TID251" in complaints(tmp_path, folder, package)


def test_what_lies_below_may_be_imported(tmp_path: Path) -> None:
    assert "All checks passed" in complaints(tmp_path, "export", "edge_training, edge_runtime, torch")
