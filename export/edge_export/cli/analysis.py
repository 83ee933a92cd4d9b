"""`edge-export gradcam`, `edge-export occlusion`: what a trained net looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_export.cli.options import Out, Overwrite, Settings, Weights
from edge_training.weights.options import SETTINGS_FORM


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
    _list(folder)


def occlusion(
    data: Annotated[Path, typer.Argument(help="Recording of one subject, HDF5; or a folder of them.")],
    checkpoint: Annotated[Path, typer.Option(help="Weights of ecog-decoder.")],
    out: Out,
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="Run of speech-encoder, its weights' folder, or a model_epoch file; the checkpoint's own "
            "folder or file if not given."
        ),
    ] = None,
    patch: Annotated[
        int | None, typer.Option(help="Silence patches of so many electrodes a side; 1 if not given.")
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option(help="NAME=3,4,17: silence these electrodes together; repeat.")
    ] = None,
    silence: Annotated[
        str,
        typer.Option(
            help="What a silenced electrode shows: zero; mean, its own over the trials; or other, what it "
            "showed in another trial."
        ),
    ] = "zero",
    shuffled: Annotated[
        list[Path] | None,
        typer.Option(help="Weights of a decoder trained on shuffled trials, for the noise level; repeat."),
    ] = None,
    every_trial: Annotated[
        bool, typer.Option("--every-trial", help="Those of the training too, not only of the test.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="The decoder's configuration, if not beside it.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar=SETTINGS_FORM,
            help="Which trials are held out, as in training: test_trials, split, word, coarse …; repeat.",
        ),
    ] = None,
    weights: Weights = None,
    overwrite: Overwrite = False,
) -> None:
    """Show which electrodes an ECoG decoder depends on: maps, a table, noise levels."""
    from edge_export.progress import Progress
    from edge_export.run import check_apart
    from edge_training.ecog_speech.analysis import occlusion_maps as analysis
    from edge_training.weights.options import parse_settings

    check_apart(out, data, checkpoint)
    with Progress() as progress:
        folder = analysis.occlusion(
            data,
            checkpoint,
            out,
            teacher=teacher,
            patch=patch,
            regions=region or [],
            silence=silence,
            shuffled=shuffled or [],
            every_trial=every_trial,
            config=config,
            changes=parse_settings(settings or []),
            weights=weights,
            overwrite=overwrite,
            progress=progress,
        )
    _list(folder)


def _list(folder: Path) -> None:
    for path in sorted(folder.iterdir()):
        print(path)
