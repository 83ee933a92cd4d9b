"""`edge-export train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_export.cli.options import Settings, Weights
from edge_export.cli.output import finish


def train(
    net: Annotated[str, typer.Argument(help="Name of a net that has a recipe.")],
    data: Annotated[Path, typer.Option(help="Folder of training data, or a manifest.")],
    out: Annotated[Path, typer.Option("--out", help="RUN: logs, checkpoints, plots, current weights.")],
    config: Annotated[Path | None, typer.Option(help="A published config.json, or another run's.")] = None,
    preset: Annotated[str | None, typer.Option(help="A named configuration.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps of the whole run.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    devices: Annotated[str, typer.Option(help="Processes here; auto for all accelerators.")] = "auto",
    nodes: Annotated[int, typer.Option(help="Machines, under torchrun or SLURM.")] = 1,
    precision: Annotated[str, typer.Option(help="32-true, 16-mixed or bf16-mixed.")] = "32-true",
    auffusion: Annotated[
        str | None, typer.Option(help="Of image-speech: the audio model's folder, or its repository.")
    ] = None,
    settings: Settings = None,
    weights: Weights = None,
    export_to: Annotated[
        Path | None, typer.Option("--export", help="Then export to this bundle and verify it.")
    ] = None,
) -> None:
    """Train a net; resumes exactly; ends with export and verify where --export names a bundle."""
    from edge_export.train import parse_settings, train_and_export

    number = int(devices) if devices.isascii() and devices.isdigit() else devices
    options = parse_settings(settings or [])
    if auffusion is not None:
        options["auffusion"] = auffusion
    options |= {"steps": steps, "resume": resume, "devices": number, "nodes": nodes, "precision": precision}
    if weights is not None:
        options["start_weights"] = weights
    result, proof = train_and_export(net, data, out, export_to, config=config, preset=preset, **options)
    print(f"{out}: {result.steps} steps, weights in {result.weights}")
    if proof is not None:
        from edge_export.proof import verify as parity

        print(parity.table(proof.rows))
        finish(proof.passed, f"{export_to}: {proof.summary()}")
