"""`edge-export nets`, `export` and `verify`: from weights to a proved bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_export.cli.options import (
    TF32,
    CudaGraphs,
    Json,
    Out,
    Overwrite,
    Report,
    Settings,
    Tolerance,
    Weights,
)
from edge_export.cli.output import finish, write_json
from edge_runtime.errors import ConfigError

if TYPE_CHECKING:
    from edge_runtime.store.bundle import Bundle

SYSTEM = "image-speech"
Beside = Annotated[
    Path | None,
    typer.Option("--with", metavar="DIR", help="The gate: a vocoder or synthesizer that makes the sound."),
]


def nets(
    cost: Annotated[bool, typer.Option("--cost", help="FLOP, parameters and bytes of every preset.")] = False,
    net: Annotated[list[str] | None, typer.Option(help="Of this net alone; repeat. With --cost.")] = None,
    json: Json = None,
) -> None:
    """List the nets, their presets, inputs and outputs; with --cost what they cost."""
    if not cost:
        from edge_export.catalog import describe_nets
        from edge_runtime.errors import ConfigError

        if net or json:
            raise ConfigError("--net and --json", got="no --cost", expected="--cost beside them")
        print(describe_nets())
        return
    from edge_export.costs import net_costs, table
    from edge_export.progress import Progress

    with Progress() as progress:
        found = list(net_costs(net or None, progress))
    print(table(found))
    write_json(json, [one.to_json() for one in found])


def export(
    net: Annotated[str, typer.Argument(help="Name of a net, see `edge-export nets`.")],
    out: Out,
    checkpoint: Annotated[Path | None, typer.Option(help="Weights: .pth, g_00000000, .safetensors.")] = None,
    random: Annotated[int | None, typer.Option(metavar="SEED", help="Random weights from this seed.")] = None,
    preset: Annotated[str | None, typer.Option(help="A named configuration of the net.")] = None,
    config: Annotated[Path | None, typer.Option(help="The net's config.json.")] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="onnx, coreml, both if not given; coreai: fixed shapes.")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="fp32, fp16, both if not given; int8: ONNX, weights alone.")
    ] = None,
    palettize: Annotated[
        list[int] | None, typer.Option(help="Core ML: weights of 8 or 6 bits too, by k-means; repeat.")
    ] = None,
    ios: Annotated[int, typer.Option(help="Core ML: oldest system, 16, or 18 with attention built in.")] = 16,
    form: Annotated[
        list[str] | None,
        typer.Option(help="ONNX: cpu, plain (GPUs, other runtimes); fp32 in both, fp16 plain if not given."),
    ] = None,
    io: Annotated[
        str, typer.Option(help="fp16: inputs and outputs of fp16 artifacts are float16 too (iOS 16).")
    ] = "fp32",
    frames: Annotated[
        list[int] | None, typer.Option(help="Core ML, Core AI: a number of frames that is admitted; repeat.")
    ] = None,
    external_data: Annotated[
        bool, typer.Option("--external-data", help="ONNX: weights in a file of their own, as above 2 GiB.")
    ] = False,
    chunks: Annotated[int, typer.Option(help="2: sd-unet in two bundles, for phones.")] = 1,
    settings: Settings = None,
    weights: Weights = None,
    lora: Annotated[Path | None, typer.Option(help="LoRA to merge into sd-unet.")] = None,
    sd: Annotated[
        str | None, typer.Option(help="image-speech: the image model, folder or repository.")
    ] = None,
    auffusion: Annotated[str | None, typer.Option(help="image-speech: the audio model, likewise.")] = None,
    adapter: Annotated[Path | None, typer.Option(help="image-speech: a phoneme_adapter.pt.")] = None,
    swift: Annotated[
        Path | None, typer.Option(metavar="FILE.swift", help="Write a typed Swift wrapper of the bundle too.")
    ] = None,
    gate: Annotated[
        bool, typer.Option("--gate", help="Store a spoken sentence; write no artifact that fails its gate.")
    ] = False,
    audio: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The gate's sentence, in place of the one that ships.")
    ] = None,
    beside: Beside = None,
    overwrite: Overwrite = False,
) -> None:
    """Turn a checkpoint into a bundle: ONNX, Core ML, manifest, reference arrays."""
    from edge_export import convert
    from edge_export.progress import Progress
    from edge_export.train import parse_settings

    precisions = [*(precision or convert.DEFAULT_PRECISIONS), *(f"palette{bits}" for bits in palettize or ())]
    if net == SYSTEM:
        given = {
            "checkpoint": checkpoint,
            "random": random,
            "preset": preset,
            "config": config,
            "swift": swift,
        }
        _export_parts(
            _needed(sd, "--sd"),
            _needed(auffusion, "--auffusion"),
            out,
            unfit={name: value for name, value in given.items() if value is not None},
            lora=lora,
            adapter=adapter,
            settings=parse_settings(settings or []),
            targets=target or convert.DEFAULT_TARGETS,
            precisions=precisions,
            ios=ios,
            overwrite=overwrite,
        )
        return
    for option, value in (("--sd", sd), ("--auffusion", auffusion), ("--adapter", adapter)):
        if value is not None:
            raise ConfigError(option, got=f"{value} for {net}", expected=f"export {SYSTEM} with it")
    options: dict[str, Any] = {
        "checkpoint": checkpoint,
        "random": random,
        "preset": preset,
        "config": config,
        "changes": parse_settings(settings or []),
        "weights": weights,
        "targets": target or convert.DEFAULT_TARGETS,
        "precisions": precisions,
        "lora": lora,
        "ios": ios,
        "forms": form,
        "io": io,
        "frame_buckets": frames,
        "external_data": external_data,
        "swift": swift,
        "gate": gate or audio is not None,
        "audio": audio,
        "beside": beside,
        "overwrite": overwrite,
    }
    with Progress() as progress:
        if chunks != 1:
            from edge_export.convert.chunks import export_chunks

            made = list(export_chunks(net, out, chunks, progress=progress, **options).values())
        else:
            made = [convert.export(net, out, progress=progress, **options)]
    for bundle in made:
        _tell(bundle)


def _needed(value: str | None, option: str) -> str:
    if value is None:
        raise ConfigError(option, got="nothing", expected=f"a model's folder, for export {SYSTEM}")
    return value


def _export_parts(
    sd: str, auffusion: str, out: Path, *, unfit: dict[str, Any], settings: dict[str, Any], **options: Any
) -> None:
    from edge_export.image_speech.bundles import export_image_speech
    from edge_export.progress import Progress

    for name in unfit:
        raise ConfigError(f"--{name}", got=str(unfit[name]), expected=f"no such option of export {SYSTEM}")
    if strange := sorted(settings.keys() - {"height", "width"}):
        raise ConfigError("--set", got=strange[0], expected="height or width, pixels of the picture")
    with Progress() as progress:
        made = export_image_speech(sd, auffusion, out, **settings, **options, progress=progress)
    for bundle in made.values():
        _tell(bundle)


def _tell(bundle: Bundle) -> None:
    """What a bundle was made of, and its artifacts."""
    print(f"{bundle.path}: {bundle.manifest.net} from {bundle.manifest.source.format}")
    for sentence in bundle.manifest.source.said:
        print(f"  {sentence}")
    for artifact in bundle.manifest.artifacts:
        size = f"{artifact.total_bytes / 1e6:7.2f} MB"
        form_told = "" if artifact.form == "any" else f", {artifact.form} form"
        io_told = "" if artifact.io == "fp32" else ", float16 inputs and outputs"
        print(f"  {artifact.path:24} {artifact.precision}  {size}  {artifact.version}{form_told}{io_told}")


def verify(
    bundle: Annotated[Path, typer.Argument(help="The bundle to prove.")],
    tolerance: Tolerance = None,
    backend: Annotated[list[str] | None, typer.Option(help="Prove by this backend only; repeat.")] = None,
    device: Annotated[
        list[str] | None, typer.Option(help="cpu if not given; cuda, gpu …, see doctor; repeat.")
    ] = None,
    tf32: TF32 = False,
    cuda_graphs: CudaGraphs = False,
    gate: Annotated[
        bool, typer.Option("--gate", help="Judge the sound, or a face's features, on real speech too.")
    ] = False,
    audio: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The gate on this recording, not on the stored sentence."),
    ] = None,
    beside: Beside = None,
    judge: Annotated[
        str, typer.Option(help="both; gate: largest errors do not count where the gate judges.")
    ] = "both",
    json_file: Json = None,
    report: Report = None,
    drift: Annotated[
        bool | None,
        typer.Option(help="In the report: the error of every operation, for a few runs more; on by default."),
    ] = None,
) -> None:
    """Execute every artifact on every backend of this machine and compare with the PyTorch net."""
    from edge_export.progress import Progress
    from edge_export.proof import verify as parity

    watching: dict[str, Any] = {}
    if report is None and drift is not None:
        option = "--drift" if drift else "--no-drift"
        raise ConfigError(option, got="no --report", expected="--report FILE.html beside it")
    if report is not None:
        from edge_export.report import page, verification

        page.check_target(report, bundle)
        observer = verification.observer_of(bundle, tolerance)
        watching = {"observe": observer}
    with Progress() as progress:
        result = parity.verify(
            bundle,
            tolerance=tolerance,
            backends=backend,
            devices=device or ("cpu",),
            tf32=tf32,
            cuda_graphs=cuda_graphs,
            gate=gate,
            audio=audio,
            beside=beside,
            judge=judge,
            progress=progress,
            **watching,
        )
        if report is not None:
            verification.write_report(
                report, result, observer, drifting=drift is not False, progress=progress
            )
    print(parity.table(result.rows), parity.notes(result.rows), sep="\n\n")
    if result.gates:
        from edge_export.proof.gates import judging

        print("", judging.table(result.gates), "\n".join(judging.notes(result.gates)), sep="\n")
    write_json(json_file, result.to_json(), bundle)
    finish(result.passed, f"{bundle}: {result.summary()}")
