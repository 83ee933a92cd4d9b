"""`edge-export mel`, `check`, `bench`, `demo` and `doctor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_export.cli.options import SEVERAL, TF32, CudaGraphs, Json, Out, Overwrite, Report
from edge_export.cli.output import finish, finish_batch, tell_passed_by, write_json


def mel(
    source: Annotated[list[str], typer.Argument(metavar="INPUT...", help=f"Audio file.{SEVERAL}")],
    preset: Annotated[str, typer.Option(help="Name of a front end.")],
    out: Out,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    overwrite: Overwrite = False,
) -> None:
    """Write the mel spectrogram of an audio file as .npy, (n_mels, frames)."""
    from edge_export.batch import mel_all
    from edge_export.inputs import given_inputs
    from edge_export.progress import Progress
    from edge_export.run import mel as write_mel

    with given_inputs(source) as inputs:
        tell_passed_by(inputs)
        if inputs.several:
            with Progress(steps=len(inputs.files)) as progress:
                made = mel_all(inputs, preset, out, dtype=dtype, overwrite=overwrite, progress=progress)
            finish_batch(made)
            return
        shape = write_mel(inputs.files[0], preset, out, dtype=dtype, overwrite=overwrite)
    print(f"{out}: {preset}, {dtype}, (n_mels, frames) = {shape}")


def check(
    reference_dir: Annotated[Path, typer.Argument(help="The reference pack.")],
    candidate_dir: Annotated[Path, typer.Argument(help="The same files, from a port.")],
    tolerance: Annotated[float, typer.Option(help="Largest absolute error allowed.")] = 1e-3,
    json_file: Json = None,
    report: Report = None,
) -> None:
    """Compare a port's arrays with a reference pack."""
    from edge_export.proof.reference import check_reference
    from edge_export.report.page import check_target

    check_target(report, reference_dir, candidate_dir)
    result = check_reference(reference_dir, candidate_dir, tolerance=tolerance)
    print(result.table())
    write_json(json_file, result.to_json(), reference_dir)
    if report is not None:
        from edge_export.report.checking import write_report

        write_report(report, result)
    finish(result.passed, f"{candidate_dir}: {result.summary()}")


def bench(
    bundle: Annotated[list[Path] | None, typer.Argument(help="Bundles to time.")] = None,
    against: Annotated[list[str] | None, typer.Option(help="torch, librosa; both if not given.")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Threads; 1 and 2 if not given.")] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="For nets: cpu if not given; cuda, see doctor; repeat.")
    ] = None,
    precision: Annotated[str, typer.Option(help="Of the nets' artifacts: fp32, fp16.")] = "fp32",
    tf32: TF32 = False,
    cuda_graphs: CudaGraphs = False,
    json_file: Json = None,
    report: Report = None,
) -> None:
    """Time front ends and nets against their peers, as ratios in one run."""
    from dataclasses import asdict

    from edge_export import bench as timing
    from edge_export.progress import Progress
    from edge_export.report.page import check_target

    check_target(report, *bundle or [])
    with Progress() as progress:
        rows = timing.bench(
            bundle or [],
            against=against or timing.PEERS,
            threads=threads or (1, 2),
            devices=device or ("cpu",),
            precision=precision,
            tf32=tf32,
            cuda_graphs=cuda_graphs,
            progress=progress,
        )
    print(timing.table(rows))
    write_json(json_file, [asdict(row) for row in rows], *bundle or [])
    if report is not None:
        from edge_export.report.timings import write_report

        write_report(report, rows)


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("demo"),
    sentence: Annotated[Path | None, typer.Option(help="Another spoken sentence.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Do everything once on a spoken sentence: export, prove, run, write the reference pack."""
    from edge_export import demo as demonstration
    from edge_export.assets import SENTENCE
    from edge_export.progress import Progress

    with Progress() as progress:
        done = demonstration.demo(out, sentence=sentence or SENTENCE, overwrite=overwrite, progress=progress)
    print(done.table())
    finish(done.passed, f"demo in {out}")


def doctor() -> None:
    """Say what this machine can do: libraries, backends, cores."""
    from edge_export.doctor import doctor as examine
    from edge_export.proof.verify import align

    print(align([(finding.subject, finding.purpose, finding.state) for finding in examine()]))
