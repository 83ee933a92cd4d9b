"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option("--out", help="What to write; refused if it exists.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")]

# of mri-speech
Mask = Annotated[
    str, typer.Option(help='lip, tongue, or a polygon: "x,y x,y x,y" on 256x256, JSON, or a .json file.')
]
DarkenMask = Annotated[
    str | None, typer.Option("--mask", help="mri-speech: darken lip, tongue, or a polygon (see `data mask`).")
]
Alpha = Annotated[float | None, typer.Option(help="mri-speech: intensity left by the mask; 0.1.")]
Mode = Annotated[
    str | None, typer.Option(help="mri-speech: full, the whole video at once; window, constant memory.")
]
Window = Annotated[int | None, typer.Option(help="mri-speech: frames of a window; those of the training.")]
Step = Annotated[int | None, typer.Option(help="mri-speech: frames from window to window; 1.")]
Scaler = Annotated[
    Path | None, typer.Option(help="mri-speech: scaler.json of the data, where the bundle holds none.")
]
MaxFrames = Annotated[int | None, typer.Option(help="mri-speech: frames used of the video.")]
