"""`edge-export gradcam`: what a trained net looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_export.cli.options import Out, Overwrite, Settings, Weights


def gradcam(
    video: Annotated[Path, typer.Argument(help="Grey video, or .npy frames (T, H, W).")],
    checkpoint: Annotated[Path, typer.Option(help="Weights of mri-acoustic.")],
    out: Out,
    more: Annotated[list[int] | None, typer.Argument(hidden=True)] = None,
    formant_band: Annotated[
        list[str] | None, typer.Option(help="NAME:LOW-HIGH in Hz; repeat. F1:300-900 and F2:900-2500.")
    ] = None,
    target_frames: Annotated[
        list[int] | None, typer.Option(help="Numbers of frames, as 60 90 120, to show one by one.")
    ] = None,
    legacy_bins: Annotated[
        bool, typer.Option("--legacy-bins", help="mri2speech's mel bands: the HTK scale to 8 kHz.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="The net's configuration, if not beside it.")] = None,
    scaler: Annotated[Path | None, typer.Option(help="Mean and deviation, if the net has none.")] = None,
    fps: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="Of .npy frames, as 25 or 30000/1001; the mel's if not given."),
    ] = None,
    settings: Settings = None,
    weights: Weights = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    overwrite: Overwrite = False,
) -> None:
    """Show which parts of a video make formant bands of the predicted mel loud."""
    from edge_export.progress import Progress
    from edge_export.run import check_apart
    from edge_runtime.media.frame_rate import parse_rate
    from edge_training.mri_speech import gradcam as analysis
    from edge_training.weights.options import parse_settings

    check_apart(out, video)
    with Progress() as progress:
        folder = analysis.gradcam(
            video,
            checkpoint,
            out,
            bands=formant_band or analysis.DEFAULT_BANDS,
            # a list option takes one number; those that follow it arrive as arguments
            target_frames=[*(target_frames or []), *(more or [])],
            legacy_bins=legacy_bins,
            config=config,
            scaler=scaler,
            changes=parse_settings(settings or []),
            weights=weights,
            fps=None if fps is None else parse_rate(fps),
            device=device,
            overwrite=overwrite,
            progress=progress,
        )
    for path in sorted(folder.iterdir()):
        print(path)
