"""The folder in which `data image-speech` works, ``OUT.partial``: locked, resumable, never somebody else's.

    plan.json     what is being made: format, settings, and each clip's text and source
    clips/ID/     clips that are done: speech.wav, picture.npy, picture.png

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
from edge_runtime.pipelines.image_speech.data_folder import PICTURES as PICTURES
from edge_runtime.pipelines.image_speech.data_folder import RECORD as RECORD
from edge_runtime.pipelines.image_speech.data_folder import RECORD_FORMAT as RECORD_FORMAT
from edge_runtime.pipelines.image_speech.data_folder import SPECTROGRAMS as SPECTROGRAMS
from edge_runtime.store.ownership import holds_only, is_plain
from edge_runtime.store.reading import find_object
from edge_runtime.store.targets import locked_folder

PLAN, CLIPS = "plan.json", "clips"
MANIFEST, EMBEDDINGS = "manifest.csv", "plbert_sentence_emb.npz"
SPEECH = "speech"
PLAN_FORMAT = "edge-image-speech-plan/1"
# file of a clip → where it goes in the end, and its suffix
PLACES = {
    "speech.wav": (SPEECH, ".wav"),
    "picture.npy": (SPECTROGRAMS, ".npy"),
    "picture.png": (PICTURES, ".png"),
}

Signature = list[Any]  # the text of a clip, and its recording's size and time


@dataclass(frozen=True)
class Plan:
    """The contents of plan.json."""

    settings: Mapping[str, Any]
    clips: Mapping[str, Signature]

    def to_json(self) -> dict[str, Any]:
        return {"format": PLAN_FORMAT, "settings": dict(self.settings), "clips": dict(self.clips)}


@contextmanager
def partial_folder(place: Path, plan: Plan) -> Iterator[Path]:
    """The locked folder, with what is still right of an earlier call in it; the caller writes the plan.

    Raises:
        TargetError: the folder is not ours, or another call works in it.
    """
    with locked_folder(place):
        # a call may have been killed before its plan stood there: then nothing but its hidden folder is left
        empty = holds_only(place, lambda _: False)
        earlier = Plan({}, {}) if empty else _earlier(place)
        same = {
            name
            for name, signature in plan.clips.items()
            if earlier.settings == plan.settings and earlier.clips.get(name) == signature
        }
        clips = place / CLIPS
        for clip in list(clips.iterdir()) if clips.is_dir() else []:
            if clip.name not in same:
                shutil.rmtree(clip)
        yield place


def _earlier(place: Path) -> Plan:
    """The plan of the call that left the folder; refuses a folder of anything else."""
    found = find_object(place / PLAN)
    settings, clips = found.get("settings"), found.get("clips")
    ours = found.get("format") == PLAN_FORMAT and isinstance(settings, dict) and isinstance(clips, dict)
    if not ours or not holds_only(place, lambda name: _in_progress(name, clips or {})):
        raise TargetError(
            str(place),
            got="a folder of something else",
            expected="a name that is free while the data are prepared",
            cause="choose another --out, or move the folder away",
        )
    return Plan(settings or {}, clips or {})


def _in_progress(name: str, clips: Collection[str]) -> bool:
    match name.split("/"):
        case [file]:
            return file == PLAN
        case [folder, clip, file]:
            return folder == CLIPS and clip in clips and file in PLACES
    return False


def is_prepared(folder: Path) -> bool:
    """Whether a folder holds a result of `data image-speech` and nothing else: replacing it loses nothing."""
    record = find_object(folder / RECORD)
    clips = record.get("clips")
    if record.get("format") != RECORD_FORMAT or not isinstance(clips, list):
        return False
    names = {name for name in clips if isinstance(name, str) and is_plain(name)}
    return holds_only(folder, lambda name: _belongs(name, names))


def _belongs(name: str, clips: Collection[str]) -> bool:
    """Whether a relative path is one that the command writes for these clips."""
    match name.split("/"):
        case [file]:
            return file in (RECORD, MANIFEST, EMBEDDINGS)
        case [folder, file]:
            return any(
                folder == place and file.endswith(suffix) and file.removesuffix(suffix) in clips
                for place, suffix in PLACES.values()
            )
    return False
