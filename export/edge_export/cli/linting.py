"""`edge-export lint`: before a device sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_export.cli.comparing import Pairs, wishes_of
from edge_export.cli.options import Json
from edge_export.cli.output import finish, write_json


def lint(
    place: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A bundle, an .mlpackage or an .onnx file.")
    ],
    audio: Annotated[Path | None, typer.Option(metavar="FILE", help="Run it on a recording.")] = None,
    inputs: Annotated[Path | None, typer.Option(metavar="FILE.npz", help="Run it on arrays.")] = None,
    random: Annotated[int | None, typer.Option(metavar="N", help="Run it on N random draws.")] = None,
    run: Annotated[bool, typer.Option(help="Check float16's range by running it.")] = True,
    runtime: Annotated[
        list[str] | None, typer.Option(help="ONNX: what this runtime lacks is an error; repeat.")
    ] = None,
    value: Annotated[Pairs, typer.Option(metavar="INPUT=VALUE", help="A value of an input; repeat.")] = None,
    axis: Annotated[
        Pairs, typer.Option(metavar="AXIS=LENGTH", help="Length of an open axis; repeat.")
    ] = None,
    rate: Annotated[int | None, typer.Option(help="Sample rate that the artifact takes, Hz.")] = None,
    windows: Annotated[int, typer.Option(help="How many windows of the recording.")] = 4,
    json_file: Json = None,
) -> None:
    """Look for what costs precision, speed or memory on devices; exit 1 on errors."""
    from edge_export.progress import Progress
    from edge_export.proof.linting import lint as linting

    given = linting.Inputs(inputs, audio, random, wishes_of(value, axis, rate, windows), run)
    with Progress() as progress:
        result = linting.lint(place, inputs=given, runtimes=runtime or (), progress=progress)
    print(linting.report(result))
    write_json(json_file, result.to_json(), place)
    finish(result.passed, f"{place}: {result.summary()}")
