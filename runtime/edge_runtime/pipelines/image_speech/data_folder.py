"""Names in the folder that `edge-export data image-speech` writes, as far as a single picture is concerned.

OUT/record.json            what is in it: format, settings, clips
OUT/pictures/ID.png        pictures of 8 bits
OUT/spectrograms/ID.npy    the same as float32
"""

from __future__ import annotations

from pathlib import Path

from edge_runtime.store.reading import find_object

RECORD, RECORD_FORMAT = "record.json", "edge-image-speech-data/1"
PICTURES, SPECTROGRAMS = "pictures", "spectrograms"
SUFFIXES = {PICTURES: ".png", SPECTROGRAMS: ".npy"}


def names_picture(path: Path) -> bool:
    """Whether record.json one folder up lists a file as one of its pictures, row 0 the highest band."""
    place = path.resolve()
    if SUFFIXES.get(place.parent.name) != place.suffix:
        return False
    record = find_object(place.parent.parent / RECORD)
    clips = record.get("clips")
    return record.get("format") == RECORD_FORMAT and isinstance(clips, list) and place.stem in clips
