"""The command line: parse, call one function, print. Nothing is decided here.

Heavy modules are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_export.cli.analysis import gradcam
from edge_export.cli.data import data_app
from edge_export.cli.options import (
    Alpha,
    DarkenMask,
    MaxFrames,
    Mode,
    Out,
    Overwrite,
    Scaler,
    Step,
    Window,
)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Speech nets from a PyTorch checkpoint to ONNX and Core ML, proved on every backend.",
    epilog="Exit status: 0 done or within tolerance, 1 a check failed, 2 refused. --debug shows tracebacks.",
)

app.add_typer(data_app, name="data")
app.command()(gradcam)

Bundles = Annotated[
    list[Path] | None, typer.Option("--bundle", help="Bundle of a net; repeat for several, in any order.")
]
Phase = Annotated[
    str | None, typer.Option(help="mel-inversion: fgla, gla, agla, admm; degli with its bundle.")
]
Iterations = Annotated[int | None, typer.Option(help="mel-inversion: of the phase; 64, of degli 10.")]
Updates = Annotated[int | None, typer.Option(help="mel-inversion: of the pseudo-inverse; 50.")]
Momentum = Annotated[float | None, typer.Option(help="mel-inversion: of fgla and agla; 0.99.")]
FrontEnd = Annotated[
    str | None, typer.Option("--preset", help="mel-inversion: the front end, where no bundle says it.")
]
Linear = Annotated[
    bool | None, typer.Option("--linear", help="mel-inversion: the .npy is a linear mel, no logarithm.")
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON too.")]
Tolerance = Annotated[float | None, typer.Option("--tolerance", help="Largest absolute error allowed.")]


@app.command()
def nets() -> None:
    """List the nets, their presets, inputs and outputs."""
    from edge_export.catalog import describe_nets

    print(describe_nets())


@app.command()
def export(
    net: Annotated[str, typer.Argument(help="Name of a net, see `edge-export nets`.")],
    out: Out,
    checkpoint: Annotated[Path | None, typer.Option(help="Weights: .pth, g_00000000, .safetensors.")] = None,
    random: Annotated[int | None, typer.Option(metavar="SEED", help="Random weights from this seed.")] = None,
    preset: Annotated[str | None, typer.Option(help="A named configuration of the net.")] = None,
    config: Annotated[Path | None, typer.Option(help="The net's config.json.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="onnx, coreml; both if not given.")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="fp32, fp16; both if not given.")] = None,
    frames: Annotated[
        list[int] | None, typer.Option(help="Core ML: a number of frames that hifigan admits; repeat.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Turn a checkpoint into a bundle: ONNX, Core ML, manifest, reference arrays."""
    from edge_export import convert
    from edge_export.progress import Progress

    with Progress() as progress:
        bundle = convert.export(
            net,
            out,
            checkpoint=checkpoint,
            random=random,
            preset=preset,
            config=config,
            targets=target or ("onnx", "coreml"),
            precisions=precision or ("fp32", "fp16"),
            frame_buckets=frames,
            overwrite=overwrite,
            progress=progress,
        )
    print(f"{bundle.path}: {bundle.manifest.net} from {bundle.manifest.source.format}")
    for artifact in bundle.manifest.artifacts:
        print(
            f"  {artifact.path:24} {artifact.precision}  {artifact.bytes / 1e6:7.2f} MB  {artifact.version}"
        )


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="The bundle to prove.")],
    tolerance: Tolerance = None,
    backend: Annotated[list[str] | None, typer.Option(help="Prove by this backend only; repeat.")] = None,
    json_file: Json = None,
) -> None:
    """Execute every artifact on every backend of this machine and compare with the PyTorch net."""
    from edge_export.progress import Progress
    from edge_export.proof import verify as parity

    with Progress() as progress:
        result = parity.verify(bundle, tolerance=tolerance, backends=backend, progress=progress)
    print(parity.table(result.rows), parity.notes(result.rows), sep="\n\n")
    _write_json(json_file, result.to_json(), bundle)
    _finish(result.passed, f"{bundle}: {result.summary()}")


@app.command()
def run(
    pipeline: Annotated[str, typer.Argument(help="talking-head, vocoder, mel-inversion or mri-speech.")],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", help="Audio; or a mel .npy (vocoder, mel-inversion); video, .npy (mri-speech)."
        ),
    ],
    out: Out,
    bundle: Bundles = None,
    backend: Annotated[str, typer.Option(help="What executes the net.")] = "onnxruntime",
    device: Annotated[str, typer.Option(help="cpu, cuda; coreml also gpu, ane, all.")] = "cpu",
    precision: Annotated[str, typer.Option(help="fp32 or fp16 artifact.")] = "fp32",
    phase: Phase = None,
    iterations: Iterations = None,
    updates: Updates = None,
    momentum: Momentum = None,
    preset: FrontEnd = None,
    linear: Linear = None,
    mode: Mode = None,
    window: Window = None,
    step: Step = None,
    mask: DarkenMask = None,
    alpha: Alpha = None,
    scaler: Scaler = None,
    max_frames: MaxFrames = None,
    overwrite: Overwrite = False,
) -> None:
    """Run a pipeline on a file."""
    from edge_export.progress import Progress
    from edge_export.run import run as run_pipeline

    options: dict[str, Any] = {"backend": backend, "device": device, "precision": precision, "phase": phase}
    options |= {"iterations": iterations, "updates": updates, "momentum": momentum}
    options |= {"preset": preset, "linear": linear}
    options |= {"mode": mode, "window": window, "step": step, "mask": mask, "alpha": alpha}
    options |= {"scaler": scaler, "max_frames": max_frames}
    with Progress() as progress:
        folder = run_pipeline(
            pipeline, source, bundle or [], out, overwrite=overwrite, progress=progress, **options
        )
    _list_files(folder)


@app.command()
def mel(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="Audio file.")],
    preset: Annotated[str, typer.Option(help="Name of a front end.")],
    out: Out,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    overwrite: Overwrite = False,
) -> None:
    """Write the mel spectrogram of an audio file as .npy, (n_mels, frames)."""
    from edge_export.run import mel as write_mel

    shape = write_mel(source, preset, out, dtype=dtype, overwrite=overwrite)
    print(f"{out}: {preset}, {dtype}, (n_mels, frames) = {shape}")


@app.command()
def reference(
    pipeline: Annotated[str, typer.Argument(help="talking-head, vocoder, mel-inversion or mri-speech.")],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT", help="Audio; or a mel .npy (vocoder, mel-inversion); video, .npy (mri-speech)."
        ),
    ],
    out: Out,
    bundle: Bundles = None,
    phase: Phase = None,
    iterations: Iterations = None,
    updates: Updates = None,
    momentum: Momentum = None,
    preset: FrontEnd = None,
    linear: Linear = None,
    mode: Mode = None,
    window: Window = None,
    step: Step = None,
    mask: DarkenMask = None,
    alpha: Alpha = None,
    scaler: Scaler = None,
    max_frames: MaxFrames = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the reference pack: every stage as .npy, for developers of a port."""
    from edge_export.progress import Progress
    from edge_export.proof.reference import write_reference

    options: dict[str, Any] = {"phase": phase, "iterations": iterations, "updates": updates}
    options |= {"momentum": momentum, "preset": preset, "linear": linear}
    options |= {"mode": mode, "window": window, "step": step, "mask": mask, "alpha": alpha}
    options |= {"scaler": scaler, "max_frames": max_frames}
    with Progress() as progress:
        folder = write_reference(
            pipeline, source, bundle or [], out, overwrite=overwrite, progress=progress, **options
        )
    _list_files(folder)


@app.command()
def check(
    reference_dir: Annotated[Path, typer.Argument(help="The reference pack.")],
    candidate_dir: Annotated[Path, typer.Argument(help="The same files, from a port.")],
    tolerance: Annotated[float, typer.Option(help="Largest absolute error allowed.")] = 1e-3,
    json_file: Json = None,
) -> None:
    """Compare a port's arrays with a reference pack."""
    from edge_export.proof.reference import check_reference

    report = check_reference(reference_dir, candidate_dir, tolerance=tolerance)
    print(report.table())
    _write_json(json_file, report.to_json(), reference_dir)
    _finish(report.passed, f"{candidate_dir}: {report.summary()}")


@app.command()
def bench(
    bundle: Annotated[list[Path] | None, typer.Argument(help="Bundles to time.")] = None,
    against: Annotated[list[str] | None, typer.Option(help="torch, librosa; both if not given.")] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Threads; 1 and 2 if not given.")] = None,
    json_file: Json = None,
) -> None:
    """Time front ends and nets against their peers, as ratios in one run."""
    from dataclasses import asdict

    from edge_export import bench as timing
    from edge_export.progress import Progress

    with Progress() as progress:
        rows = timing.bench(
            bundle or [], against=against or timing.PEERS, threads=threads or (1, 2), progress=progress
        )
    print(timing.table(rows))
    _write_json(json_file, [asdict(row) for row in rows], *bundle or [])


@app.command()
def train(
    net: Annotated[str, typer.Argument(help="Name of a net that has a recipe.")],
    data: Annotated[Path, typer.Option(help="Folder of training data.")],
    out: Annotated[Path, typer.Option("--out", help="RUN: logs, checkpoints, plots, the net as it stands.")],
    config: Annotated[Path | None, typer.Option(help="A published config.json, or another run's.")] = None,
    preset: Annotated[str | None, typer.Option(help="A named configuration.")] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps of the whole run.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the newest checkpoint.")] = False,
    devices: Annotated[str, typer.Option(help="Processes here; auto for all accelerators.")] = "auto",
    nodes: Annotated[int, typer.Option(help="Machines, under torchrun or SLURM.")] = 1,
    precision: Annotated[str, typer.Option(help="32-true, 16-mixed or bf16-mixed.")] = "32-true",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="An entry of the configuration, as JSON; repeat."),
    ] = None,
    export_to: Annotated[
        Path | None, typer.Option("--export", help="Then export to this bundle and verify it.")
    ] = None,
) -> None:
    """Train a net; resumes exactly; ends with export and verify where --export names a bundle."""
    from edge_export.train import parse_settings, train_and_export

    number = int(devices) if devices.isdigit() else devices
    options = parse_settings(settings or [])
    options |= {"steps": steps, "resume": resume, "devices": number, "nodes": nodes, "precision": precision}
    result, proof = train_and_export(net, data, out, export_to, config=config, preset=preset, **options)
    print(f"{out}: {result.steps} steps, weights in {result.weights}")
    if proof is not None:
        from edge_export.proof import verify as parity

        print(parity.table(proof.rows))
        _finish(proof.passed, f"{export_to}: {proof.summary()}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")] = Path("demo"),
    sentence: Annotated[Path | None, typer.Option(help="Another spoken sentence.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Do everything once on a spoken sentence: export, prove, run, write the reference pack."""
    from edge_export import demo as demonstration
    from edge_export.progress import Progress

    with Progress() as progress:
        done = demonstration.demo(
            out, sentence=sentence or demonstration.SENTENCE, overwrite=overwrite, progress=progress
        )
    print(done.table())
    _finish(done.passed, f"demo in {out}")


@app.command()
def doctor() -> None:
    """Say what this machine can do: libraries, backends, cores."""
    from edge_export.doctor import doctor as examine
    from edge_export.proof.verify import align

    print(align([(finding.subject, finding.purpose, finding.state) for finding in examine()]))


def _list_files(folder: Path) -> None:
    """The files of a result, folders with many of one kind summed up in one line."""
    for directory in [folder, *sorted(p for p in folder.rglob("*") if p.is_dir())]:
        files = sorted(p for p in directory.iterdir() if p.is_file())
        if len(files) > 12:
            print(f"{directory}/  {len(files)} files, {files[0].name} … {files[-1].name}")
            continue
        for path in files:
            print(f"{path}  {path.stat().st_size} bytes")


def _write_json(path: Path | None, value: Any, *inputs: Path) -> None:
    """``--json``: anywhere but inside of what was examined."""
    if path is None:
        return
    from edge_export.run import check_apart
    from edge_runtime.store.targets import replace_file

    check_apart(path, *inputs)
    with replace_file(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _finish(passed: bool, what: str) -> None:
    """The last line and the exit status of a check."""
    print(f"{'PASS' if passed else 'FAIL'}  {what}")
    if not passed:
        raise typer.Exit(1)
