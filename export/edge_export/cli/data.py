"""`edge-export data …`: what writes or changes training data."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_export.cli.declared import option_parameter, parameter, parsed, with_signature
from edge_export.cli.options import EVERYWHERE, Mask, Out, Overwrite, Resumed, Settings, Weights
from edge_training.mri_speech.options import PREPARATION

Workers = Annotated[int | None, typer.Option("--workers", help="Processes; one a processor if not given.")]

data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Write training data.")


@data_app.command(epilog=EVERYWHERE)
def phantom(
    out: Out,
    utterances: Annotated[int, typer.Option(help="How many, of each system.")] = 40,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    system: Annotated[list[str] | None, typer.Option(help="mri, sync, ecog, wavs; all if not given.")] = None,
    speakers: Annotated[int | None, typer.Option(help="Speakers, taking turns.")] = None,
    density: Annotated[str, typer.Option(help="Electrodes of ecog: LD, 8 x 8; HB, 128 on 15 x 15.")] = "LD",
    overwrite: Overwrite = False,
) -> None:
    """Write paired data of a synthetic speaker, in each system's own layout."""
    from edge_export.progress import Progress
    from edge_training.phantom import SYSTEMS, write_corpus

    systems = system or SYSTEMS
    with Progress(steps=utterances * len(systems)) as progress:
        folder = write_corpus(
            out,
            utterances,
            seed,
            systems=systems,
            speakers=speakers,
            density=density,
            overwrite=overwrite,
            progress=progress,
        )
    print(f"{folder}: {utterances} utterances each of {', '.join(systems)}")


@data_app.command(epilog=EVERYWHERE)
def ecog(
    source: Annotated[Path, typer.Argument(help="Raw recording: .npz, .h5, .edf, .bdf or .vhdr.")],
    out: Annotated[Path, typer.Option("--out", help="The subject's file, .h5.")],
    bins: Annotated[int, typer.Option(help="Of the spectrogram: 256, or 512 (customary for men).")] = 256,
    male: Annotated[bool, typer.Option("--male", help="The speaker is a man.")] = False,
    bad: Annotated[str, typer.Option(help="Electrodes to silence, counted from 0, as 3,17.")] = "",
    quarter_turns: Annotated[int, typer.Option(help="Counter-clockwise turns of a hybrid grid.")] = 0,
    envelope: Annotated[
        bool,
        typer.Option("--envelope", help="An .edf, .bdf or .vhdr holds the envelope at 512 Hz."),
    ] = False,
) -> None:
    """Prepare a raw ECoG recording with audio for training."""
    from edge_runtime.pipelines.ecog_speech.pipeline import parse_bad
    from edge_training.ecog_speech.preparation import EcogPreparation, prepare_ecog

    preparation = EcogPreparation(
        bins=bins, female=not male, bad=parse_bad(bad), quarter_turns=quarter_turns, envelope=envelope
    )
    made = prepare_ecog(source, out, preparation)
    labels = "" if made.pitch is not None else ", no pitch and formants: pip install praat-parselmouth"
    print(f"{out}: {len(made.starts)} trials, {made.frames} frames, {made.ecog.shape[1]} electrodes{labels}")


def _mri(*, videos: Path, wavs: Path, out: Path, workers: int | None, overwrite: bool, **given: Any) -> None:
    from edge_export.progress import Progress
    from edge_training.mri_speech.preparation import Preparation, find_clips, prepare

    preparation = Preparation(**parsed(PREPARATION, given))
    clips, _ = find_clips(videos, wavs)
    with Progress(steps=len(clips)) as progress:
        made = prepare(
            videos, wavs, out, preparation, workers=workers, overwrite=overwrite, progress=progress
        )
    for note in made.notes:
        print(f"warning: {note}", file=sys.stderr)
    for name, reason in made.skipped.items():
        print(f"skipped {name}: {reason}", file=sys.stderr)
    skipped = f", {len(made.skipped)} skipped" if made.skipped else ""
    print(f"{made.folder}: {len(made.clips)} clips, {made.frames} frames{skipped}")


data_app.command(
    "mri",
    help="Prepare rtMRI videos and recordings for training; goes on where it was stopped.",
    epilog=EVERYWHERE,
)(
    with_signature(
        _mri,
        [
            parameter(
                "videos", Annotated[Path, typer.Option(help="Folder of videos, ID.mp4 or frames ID.npy.")]
            ),
            parameter("wavs", Annotated[Path, typer.Option(help="Folder of recordings, ID.wav.")]),
            parameter("out", Resumed),
            *map(option_parameter, PREPARATION),
            parameter("workers", Workers, None),
            parameter("overwrite", Overwrite, False),
        ],
    )
)


@data_app.command("image-speech", epilog=EVERYWHERE)
def image_speech(
    out: Resumed,
    prompts: Annotated[Path | None, typer.Option(help="One prompt a line, or ID|prompt.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Folder of recordings ID.wav, spoken already.")] = None,
    count: Annotated[int | None, typer.Option(help="Prompts to draw; 50 if not given.")] = None,
    words: Annotated[int | None, typer.Option(help="Words of a drawn prompt; 9 if not given.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the drawing.")] = None,
    word_list: Annotated[Path | None, typer.Option(help="One word a line, in place of ours.")] = None,
    tts: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Speaks: espeak-ng -w {wav} {text} if not given.")
    ] = None,
    stretch: Annotated[float, typer.Option(help="Times as long as spoken, at the same pitch.")] = 2.0,
    plbert: Annotated[Path | None, typer.Option(help="PL-BERT's folder, for phoneme embeddings.")] = None,
    phonemes: Annotated[Path | None, typer.Option(help="Lines of phonemes, in place of espeak-ng's.")] = None,
    language: Annotated[str | None, typer.Option(help="Of espeak-ng's phonemes; en-us if not given.")] = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
) -> None:
    """Prompts to speech to pictures, with the manifest that training reads; goes on where it was stopped."""
    from edge_export.image_speech.data import write_image_speech_data

    made = write_image_speech_data(
        out,
        prompts=prompts,
        audio=audio,
        count=count,
        words=words,
        seed=seed,
        word_list=word_list,
        tts=tts,
        stretch=stretch,
        plbert=plbert,
        phonemes=phonemes,
        language=language,
        workers=workers,
        overwrite=overwrite,
    )
    for note in made.notes:
        print(f"warning: {note}", file=sys.stderr)
    for name, reason in made.skipped.items():
        print(f"skipped {name}: {reason}", file=sys.stderr)
    skipped = f", {len(made.skipped)} skipped" if made.skipped else ""
    print(f"{made.folder}: {len(made.clips)} prompts{skipped}")


@data_app.command("predicted-mels", epilog=EVERYWHERE)
def predict(
    data: Annotated[Path, typer.Option(help="Folder that `data mri` wrote.")],
    checkpoint: Annotated[Path | None, typer.Option(help="Weights of mri-acoustic.")] = None,
    config: Annotated[Path | None, typer.Option(help="Its configuration, if not beside it.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="A bundle of it, in place of a checkpoint.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder; mels_ft_log_normalized in DATA if not given.")
    ] = None,
    scaler: Annotated[Path | None, typer.Option(help="In place of the net's own mean and std.")] = None,
    mode: Annotated[str, typer.Option(help="full, or window: overlapping windows averaged.")] = "full",
    backend: Annotated[str, typer.Option(help="Of a bundle.")] = "onnxruntime",
    settings: Settings = None,
    weights: Weights = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the mels that the acoustic model predicts, to fine-tune the vocoder on them."""
    from edge_export.progress import Progress
    from edge_training.mri_speech.data import read_meta
    from edge_training.mri_speech.predicted_mels import open_predictor, predicted_mels
    from edge_training.weights.options import parse_settings

    changes = parse_settings(settings or [])
    with Progress(steps=len(read_meta(data)["stems"])) as progress:
        predictor = open_predictor(
            checkpoint, bundle, config=config, mode=mode, backend=backend, changes=changes, weights=weights,
            say=progress,
        )  # fmt: skip
        folder = predicted_mels(data, predictor, out, scaler=scaler, overwrite=overwrite, progress=progress)
    print(f"{folder}: {len(list(folder.glob('*.npy')))} mels")


@data_app.command("tiny-diffusion", epilog=EVERYWHERE)
def tiny_diffusion(
    out: Out,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write tiny random models in the folders of Stable Diffusion, Auffusion and PL-BERT."""
    from edge_training.image_speech.tiny import write_tiny_diffusion

    folder = write_tiny_diffusion(out, seed, overwrite=overwrite)
    print(f"{folder}: sd, auffusion and plbert, random weights; they show the way and make noise")


@data_app.command(epilog=EVERYWHERE)
def mask(
    video: Annotated[Path, typer.Argument(help="Grey video, or .npy frames.")],
    out: Annotated[Path, typer.Option("--out", help="Video .mp4 .mov .avi .mkv, or .npy frames.")],
    mask: Mask,
    alpha: Annotated[float, typer.Option(help="Intensity that remains: 0 hides, 1 is no mask.")] = 0.1,
    blur: Annotated[int, typer.Option(help="Pixels of the Gaussian at the mask's edge.")] = 11,
    lossless: Annotated[bool, typer.Option("--lossless", help="FFV1; without it MPEG-4.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Darken an articulator, or any polygon, in a video."""
    from edge_export.run import check_apart
    from edge_runtime.media.masks import mask_video, parse_mask

    polygon = parse_mask(mask)
    check_apart(out, video)
    frames = mask_video(video, out, polygon, alpha=alpha, blur=blur, lossless=lossless, overwrite=overwrite)
    print(f"{out}: {frames} frames, {mask} at {alpha:g}")
