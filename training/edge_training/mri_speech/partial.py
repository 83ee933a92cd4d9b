"""The folder in which `data mri` works, ``OUT.partial``: locked, resumable, and never somebody else's.

    plan.json      what is being made: format, settings, and the clips with sizes and times of their files
    samples/ID     clips that are done
    wavs/ID.wav    their recordings
    …              of a call that was killed while it finished: what stands in OUT at the end

A folder of that name is continued if plan.json is ours and says what is in it; it is refused otherwise, as is
one that another call works in. What is deleted there are files that were found in it, never paths that the
plan names.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_runtime.errors import TargetError
from edge_runtime.store.ownership import holds_only, is_plain
from edge_runtime.store.reading import find_object
from edge_runtime.store.targets import locked_folder

# names below the folder that is made; the last two only while it is
SAMPLES, LISTS, WAVS, PLAN = "samples", "hifigan_filelists", "wavs", "plan.json"
PREDICTED = "mels_ft_log_normalized"  # which `data predicted-mels` adds
PREDICTED_RECORD = "predicted_mels.json"
FORMAT = "edge-mri-plan/1"

Signature = list[int]  # of the two files of a clip


@dataclass(frozen=True)
class Plan:
    """The contents of plan.json."""

    settings: Mapping[str, Any]
    clips: Mapping[str, Signature]

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, "settings": dict(self.settings), "clips": dict(self.clips)}


@contextmanager
def partial_folder(place: Path, plan: Plan) -> Iterator[Path]:
    """The locked folder, with what is still right of an earlier call in it; the caller writes the plan.

    Raises:
        TargetError: the folder is not ours, or another call works in it.
    """
    with locked_folder(place):
        # a call may have been killed before its plan stood there: then nothing but its hidden folder is left
        empty = holds_only(place, lambda _: False)
        _tidy(place, Plan({}, {}) if empty else _earlier(place), plan)
        yield place


def _earlier(place: Path) -> Plan:
    """The plan of the call that left the folder; refuses a folder of anything else."""
    plan = read_plan(place)
    if plan is None or not holds_only(place, lambda name: name == PLAN or belongs(name, plan.clips)):
        raise TargetError(
            str(place),
            got="a folder of something else",
            expected="a name that is free while the data are prepared",
            cause="choose another --out, or move the folder away",
        )
    return plan


def read_plan(place: Path) -> Plan | None:
    """The plan in a folder; None where there is none of ours."""
    found = find_object(place / PLAN)
    settings, clips = found.get("settings"), found.get("clips")
    if found.get("format") != FORMAT or not isinstance(settings, dict) or not isinstance(clips, dict):
        return None
    return Plan(settings, clips) if all(map(is_plain, clips)) else None


def _tidy(place: Path, earlier: Plan, plan: Plan) -> None:
    """Delete what the new plan does not need."""
    same = {
        name
        for name, signature in plan.clips.items()
        if earlier.settings == plan.settings and earlier.clips.get(name) == signature
    }
    for entry in list(place.iterdir()):
        if entry.name == SAMPLES:
            for sample in entry.iterdir():
                if sample.name not in same:
                    shutil.rmtree(sample)
        elif entry.name == WAVS:
            for recording in entry.iterdir():
                if recording.stem not in same:
                    recording.unlink() if recording.is_file() else shutil.rmtree(recording)
        elif entry.name != PLAN:  # of a call that ended while it finished
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def is_prepared(folder: Path) -> bool:
    """Whether a folder holds a result of `data mri` and nothing else: replacing it loses nothing."""
    meta = find_object(folder / "meta.json")
    stems = meta.get("stems")
    if not {"sr", "hop_length", "ref_frames"} <= meta.keys() or not isinstance(stems, list):
        return False
    names = {stem for stem in stems if isinstance(stem, str)}
    return holds_only(folder, lambda name: belongs(name, names))


def belongs(name: str, clips: Collection[str]) -> bool:
    """Whether a relative path is one that `data mri` or `data predicted-mels` writes for these clips."""
    match name.split("/"):
        case [file]:
            return file in ("scaler.json", "meta.json")
        case ["samples", clip, file]:
            return clip in clips and file in ("mri.npy", "mel_db.npy", "mask.npy")
        case ["mels_gt_log", file]:
            return _of(file, ".npy", clips)
        case ["mels_ft_log_normalized", file]:
            return file == PREDICTED_RECORD or _of(file, ".npy", clips)
        case ["wavs", file] | ["hifigan_filelists", "wavs", file]:
            return _of(file, ".wav", clips)
        case ["hifigan_filelists", file]:
            return file in ("training.txt", "validation.txt")
        case [pairs, file]:
            return _is_pairs(pairs) and _of(file, ".npz", clips)
        case [pairs, clip, file]:
            whole = pairs.removesuffix("_npy")
            return (
                pairs != whole
                and _is_pairs(whole)
                and clip in clips
                and file in ("mri.npy", "mel.npy", "mask.npy")
            )
    return False


def _of(file: str, suffix: str, clips: Collection[str]) -> bool:
    return file.endswith(suffix) and file.removesuffix(suffix) in clips


def _is_pairs(folder: str) -> bool:
    return folder.startswith("pairs_ref") and folder.removeprefix("pairs_ref").isdecimal()
