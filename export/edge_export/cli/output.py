"""What commands print and write beside their result."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from edge_export.batch import Batch
    from edge_export.inputs import Inputs


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


def tell_passed_by(inputs: Inputs) -> None:
    """Files of a folder that cannot be an input."""
    if inputs.passed_by:
        more = f" and {len(inputs.passed_by) - 1} more" if len(inputs.passed_by) > 1 else ""
        print(f"passed by, as no input: {inputs.passed_by[0]}{more}", file=sys.stderr)


def finish_batch(batch: Batch) -> None:
    """A line for each result and each refusal, and the exit status."""
    for place in batch.done.values():
        count = f"  {sum(path.is_file() for path in place.rglob('*'))} files" if place.is_dir() else ""
        print(f"{place}{count}")
    for refusal in batch.failed.values():
        print(f"failed: {refusal}", file=sys.stderr)
    finish(batch.passed, batch.summary())


def finish(passed: bool, what: str) -> None:
    """The last line and the exit status of a check."""
    print(f"{'PASS' if passed else 'FAIL'}  {what}")
    if not passed:
        raise typer.Exit(1)
