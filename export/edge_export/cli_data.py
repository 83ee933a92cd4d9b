"""`edge-export data …`: what writes or changes training data."""

from __future__ import annotations

from typing import Annotated

import typer

from edge_export.cli_options import Out, Overwrite

data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Write training data.")


@data_app.command()
def phantom(
    out: Out,
    utterances: Annotated[int, typer.Option(help="How many, of each system.")] = 40,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    system: Annotated[list[str] | None, typer.Option(help="mri, sync, ecog, wavs; all if not given.")] = None,
    speakers: Annotated[int | None, typer.Option(help="Speakers, taking turns.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write paired data of a synthetic speaker, in each system's own layout."""
    from edge_export.progress import Progress
    from edge_training.phantom import SYSTEMS, write_corpus

    systems = system or SYSTEMS
    with Progress(steps=utterances * len(systems)) as progress:
        folder = write_corpus(
            out, utterances, seed, systems=systems, speakers=speakers, overwrite=overwrite, progress=progress
        )
    print(f"{folder}: {utterances} utterances each of {', '.join(systems)}")
