"""The command line: parse, call one function, print. Nothing is decided here.

Heavy modules are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

from typing import Annotated

import typer

from edge_export.cli.analysis import gradcam, occlusion
from edge_export.cli.bundles import export, nets, verify
from edge_export.cli.comparing import compare
from edge_export.cli.data import data_app
from edge_export.cli.examining import bisect, optimise
from edge_export.cli.linting import lint
from edge_export.cli.measuring import bench, check, demo, doctor, mel
from edge_export.cli.options import EVERYWHERE
from edge_export.cli.pipelines import reference_app, run_app
from edge_export.cli.training import train
from edge_runtime.version import VERSION

app = typer.Typer(
    add_completion=True,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Speech nets from a PyTorch checkpoint to ONNX and Core ML, proved on every backend.",
    epilog=f"Exit status: 0 done or within tolerance, 1 a check failed, 2 refused. {EVERYWHERE}",
)

for _command in (
    nets, export, verify, compare, bisect, lint, optimise, mel, check, bench, train, demo, doctor, gradcam,
    occlusion,
):  # fmt: skip
    app.command(epilog=EVERYWHERE)(_command)
app.add_typer(run_app, name="run")
app.add_typer(reference_app, name="reference")
app.add_typer(data_app, name="data")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"edge-export {VERSION}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Speech nets from a PyTorch checkpoint to ONNX and Core ML, proved on every backend."""
