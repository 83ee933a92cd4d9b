"""`edge-export bisect` and `optimise`: where artifacts begin to differ, and by how much they may."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_export.cli.options import Json, Out, Overwrite
from edge_export.cli.output import finish, write_json


def bisect(
    bundle: Annotated[Path, typer.Argument(help="A bundle; or a reference pack, with CANDIDATE.")],
    candidate: Annotated[
        Path | None, typer.Argument(help="With a pack: the same files, from a port or another bundle.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="torch, or onnx-fp32; torch where the weights are at hand.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="The weights that the bundle was made from; not for random ones.")
    ] = None,
    case: Annotated[str | None, typer.Option(help="A reference case; the smallest that fails.")] = None,
    artifact: Annotated[
        list[str] | None, typer.Option(help="As model.fp16.onnx; repeat. All if not given.")
    ] = None,
    limit: Annotated[
        float | None, typer.Option(metavar="DB", help="An operation below this SNR is suspect.")
    ] = None,
    repro: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a bundle of the first culprit alone.")
    ] = None,
    tolerance: Annotated[float, typer.Option(help="With a pack: largest absolute error allowed.")] = 1e-3,
    net: Annotated[
        Path | None, typer.Option("--bundle", metavar="DIR", help="With a pack: its net, to run that stage.")
    ] = None,
    overwrite: Overwrite = False,
    json_file: Json = None,
) -> None:
    """Find the operation, or the stage of a pipeline, with which an artifact leaves the reference."""
    if candidate is not None:
        _bisect_pack(bundle, candidate, tolerance, net, json_file)
        return
    from edge_export.progress import Progress
    from edge_export.proof.bisect.nets import bisect as search
    from edge_export.proof.bisect.report import text
    from edge_export.proof.bisect.repro import write_repro

    with Progress() as progress:
        result = search(
            bundle,
            against=against,
            checkpoint=checkpoint,
            case=case,
            artifacts=artifact,
            limit_db=limit,
            progress=progress,
        )
    print(text(result))
    write_json(json_file, result.to_json(), bundle)
    if repro is not None:
        made = write_repro(bundle, result.worst, repro, overwrite=overwrite)
        print(f"\n{made.path}: the first culprit of {result.worst.artifact} alone; edge-export verify it")
    finish(result.passed, f"{bundle}: {result.summary()}")


def _bisect_pack(
    pack: Path, candidate: Path, tolerance: float, net: Path | None, json_file: Path | None
) -> None:
    from edge_export.proof.bisect.packs import bisect_pack

    result = bisect_pack(pack, candidate, tolerance=tolerance, bundle=net)
    print(result.text())
    write_json(json_file, result.to_json(), pack)
    finish(result.passed, f"{candidate}: {result.summary()}")


def optimise(
    bundle: Annotated[Path, typer.Argument(help="A bundle whose weights are at hand.")],
    out: Out,
    checkpoint: Annotated[
        Path | None, typer.Option(help="The weights that the bundle was made from; not for random ones.")
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="pesq, dnsmos: largest loss; snr, cosine: at least. Repeat."),
    ] = None,
    objective: Annotated[str, typer.Option("--for", help="bytes, or ms on this machine.")] = "bytes",
    target: Annotated[str, typer.Option(help="For bytes: coreml or onnx.")] = "coreml",
    audio: Annotated[Path | None, typer.Option(help="Another spoken sentence to judge on.")] = None,
    overwrite: Overwrite = False,
    json_file: Json = None,
) -> None:
    """Write a bundle whose layers are as coarse as a perceptual budget lets them be."""
    from edge_export.precision.optimise import optimise as search
    from edge_export.progress import Progress

    with Progress() as progress:
        found = search(
            bundle,
            out,
            checkpoint=checkpoint,
            budget=budget or (),
            objective=objective,
            target=target,
            audio=audio,
            overwrite=overwrite,
            progress=progress,
        )
    print(found.text())
    write_json(json_file, found.table, bundle, out)
    artifact = found.bundle.manifest.artifacts[0]
    print(f"\n{found.bundle.path}: {artifact.path}, {artifact.total_bytes / 1e6:.3f} MB, {artifact.note}")
