"""The folder of a run during a training: locked, cleaned, and removed where the training left no result.

What remains of a training that failed or was stopped depends on its checkpoints: if there is one to continue
from, the run stays and the error says so; otherwise everything that this call wrote is removed.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_runtime.errors import EdgeError
from edge_runtime.store.targets import as_refusal, locked_folder, sweep
from edge_training.engine.run_checkpoints import FOLDER, checkpoint_steps

# below RUN, as `edge_training.engine.trainer` says
WRITTEN = ("config.json", "metrics.csv", "tensorboard", "plots", FOLDER)
CURE = "continue from step {step} with --resume"


@contextmanager
def in_run_folder(run: Path, *, fresh: bool) -> Iterator[None]:
    """Lock a run's folder during the block; ``fresh``: it was empty before.

    Raises:
        TargetError: another training is using the folder, or it cannot be written.
        EdgeError: that of the block, with a note on how to continue.
    """
    missing = [folder for folder in (run, *run.parents) if not folder.exists()]
    with locked_folder(run.resolve()):
        for folder in (run, run / "plots", run / FOLDER, run / FOLDER / "best"):
            sweep(folder)
        try:
            yield
        except BaseException as error:
            step = max(checkpoint_steps(run), default=None)
            if step is None and fresh:
                _discard(run, missing)
            told = _told(run, error, step)
            if told is error:
                raise
            raise told from error


def _discard(run: Path, missing: list[Path]) -> None:
    """Remove what this call wrote, and the folders that it made."""
    for name in WRITTEN:
        place = run / name
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
        else:
            place.unlink(missing_ok=True)
    for folder in missing:
        with suppress(OSError):
            folder.rmdir()


def _told(run: Path, error: BaseException, step: int | None) -> BaseException:
    """The same error, with how to go on; a full disk as a refusal."""
    refusal: BaseException | None = as_refusal(run, error) if isinstance(error, OSError) else None
    refusal = refusal or error
    if step is None:
        return refusal
    if isinstance(refusal, KeyboardInterrupt):
        print(f"{run}: {CURE.format(step=step)}", file=sys.stderr)
    if not isinstance(refusal, EdgeError) or "--resume" in refusal.cause:
        return refusal
    cause = "; ".join(filter(None, (refusal.cause, CURE.format(step=step))))
    return type(refusal)(refusal.what, got=refusal.got, expected=refusal.expected, cause=cause)
