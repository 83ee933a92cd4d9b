"""What commands print and write beside their result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer


def list_files(folder: Path) -> None:
    """The files of a result, folders with many of one kind summed up in one line."""
    for directory in [folder, *sorted(p for p in folder.rglob("*") if p.is_dir())]:
        files = sorted(p for p in directory.iterdir() if p.is_file())
        if len(files) > 12:
            print(f"{directory}/  {len(files)} files, {files[0].name} … {files[-1].name}")
            continue
        for path in files:
            print(f"{path}  {path.stat().st_size} bytes")


def write_json(path: Path | None, value: Any, *inputs: Path) -> None:
    """Write the file of ``--json``, anywhere except inside of the examined inputs."""
    if path is None:
        return
    from edge_export.run import check_apart
    from edge_runtime.store.targets import replace_file

    check_apart(path, *inputs)
    with replace_file(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def finish(passed: bool, what: str) -> None:
    """The last line and the exit status of a check."""
    print(f"{'PASS' if passed else 'FAIL'}  {what}")
    if not passed:
        raise typer.Exit(1)
