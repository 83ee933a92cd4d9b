"""Several inputs with one ``--out``: a result each, below one folder.

    OUT/NAME/          what the command leaves of one file, named after it (`edge_runtime.store.arrays.label`)
    OUT/results.json   NAME → the file, and why it has no result if it has none

Whatever can be known beforehand is refused before anything is written: two files of one name, an OUT that
holds other things. A file that cannot be processed is said and passed by.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_export.inputs import Inputs
from edge_export.run import check_apart, is_result, mel, open_pipeline, places, write_result
from edge_runtime.errors import EdgeError, InputError, TargetError
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.registry import get_declaration
from edge_runtime.pipelines.roles import GivenBundles
from edge_runtime.store.reading import find_object
from edge_runtime.store.targets import locked_folder, replace_file

AnyPath = str | os.PathLike[str]
RECORD, FORMAT = "results.json", "edge-results/1"
# what damaged files make Python and numpy raise where no reader foresees it
FAILURES = (OSError, MemoryError, RecursionError, OverflowError, UnicodeError)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Batch:
    """What a call did with several files."""

    out: Path
    done: Mapping[str, Path]  # name → result
    failed: Mapping[str, str] = field(default_factory=dict)  # name → why

    @property
    def passed(self) -> bool:
        """Whether every file has its result."""
        return not self.failed

    def summary(self) -> str:
        """One line."""
        return f"{self.out}: {len(self.done)} of {len(self.done) + len(self.failed)} files done"


def run_all(
    pipeline: str,
    inputs: Inputs,
    bundles: GivenBundles,
    out: AnyPath,
    *,
    overwrite: bool = False,
    progress: Say = lambda _: None,
    **options: Any,
) -> Batch:
    """Run a pipeline, opened once, on each file; arguments as of `edge_export.run.run`.

    Args:
        inputs: of `edge_export.inputs.find_inputs`.
        out: folder to make; with ``overwrite`` earlier results of the same names in it are replaced, and
            others stay.
        progress: called with a line before each file, and by the pipeline.

    Raises:
        TargetError: ``out`` exists, holds other things, or cannot be written.
        EdgeError: names that collide; the pipeline, its bundles or options cannot be used.
    """
    labelled = inputs.labelled
    declared = get_declaration(pipeline)
    for name, file in labelled.items():
        check_apart(Path(out, name), file, *places(bundles))
    opened = open_pipeline(pipeline, bundles, progress=progress, **options)

    def work(file: Path, place: Path) -> None:
        write_result(pipeline, opened, declared.name_inputs(file), place, overwrite=overwrite)

    return _each(labelled, Path(out), work, lambda name: name, is_result, progress, overwrite=overwrite)


def mel_all(
    inputs: Inputs,
    preset: str,
    out: AnyPath,
    *,
    dtype: str = "float32",
    overwrite: bool = False,
    progress: Say = lambda _: None,
) -> Batch:
    """Write the mel of each file as ``out/NAME.npy``; see `edge_export.run.mel` and `run_all`."""

    def work(file: Path, place: Path) -> None:
        mel(file, preset, place, dtype=dtype, overwrite=overwrite)

    def named(name: str) -> str:
        return f"{name}.npy"

    return _each(
        inputs.labelled, Path(out), work, named, lambda path: path.suffix == ".npy", progress,
        overwrite=overwrite,
    )  # fmt: skip


def _each(
    labelled: Mapping[str, Path],
    out: Path,
    work: Callable[[Path, Path], None],
    named: Callable[[str], str],
    ours: Callable[[Path], bool],
    progress: Say,
    *,
    overwrite: bool,
) -> Batch:
    _check_target(out, ours, overwrite=overwrite)
    done: dict[str, Path] = {}
    failed: dict[str, str] = {}
    with locked_folder(out):
        for number, (name, file) in enumerate(labelled.items(), 1):
            progress(f"{number}/{len(labelled)}: {file}")
            try:
                work(file, out / named(name))
            except EdgeError as refusal:
                failed[name] = str(refusal)
            except FAILURES as failure:
                said = str(failure) or type(failure).__name__
                failed[name] = str(InputError(str(file), got=said, expected="a file that can be processed"))
            else:
                done[name] = out / named(name)
            _write_record(out, labelled, failed, list(labelled)[:number])
    return Batch(out, done, failed)


def _check_target(out: Path, ours: Callable[[Path], bool], *, overwrite: bool) -> None:
    """Refuse a folder with anything but earlier results, and any that is there without ``overwrite``."""
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise TargetError(str(out), got="a file", expected="a folder, or a path that does not exist yet")
    entries = [entry for entry in out.iterdir() if entry.name != ".DS_Store"]
    if not entries:
        return
    if not overwrite:
        raise TargetError(
            str(out),
            got="an existing folder",
            expected="a path that does not exist yet",
            cause="overwrite=True (--overwrite) replaces the results in it that have the same names",
        )
    known = find_object(out / RECORD).get("format") == FORMAT
    strange = [entry.name for entry in entries if entry.name != RECORD and not ours(entry)]
    if not known or strange:
        what = f"such as {strange[0]}" if strange else f"without {RECORD}"
        raise TargetError(
            str(out),
            got=f"a folder with files that edge-export did not write, {what}",
            expected="the folder of earlier results, or a path that does not exist yet",
            cause="nothing was deleted; choose another path",
        )


def _write_record(
    out: Path, labelled: Mapping[str, Path], failed: Mapping[str, str], tried: list[str]
) -> None:
    """After each file, so that a call that is killed leaves the truth."""
    before = find_object(out / RECORD).get("results")
    results = before if isinstance(before, dict) else {}
    for name in tried:
        results[name] = {"source": labelled[name].name, "failed": failed.get(name)}
    with replace_file(out / RECORD) as fresh:
        pack.write_json(fresh, {"format": FORMAT, "results": results})
