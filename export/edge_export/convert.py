"""A checkpoint, or random weights from a seed → a bundle, whole or not at all.

The order: read and build, run the PyTorch net on the reference cases (float32, evaluation mode, one thread,
so that sums are the same in each run), write the artifacts, write the manifest last, rename. A process that
is killed leaves no bundle.

The same input gives the same bytes with the same versions of the libraries; a bundle holds no time stamp and
no path, and of the checkpoint only its name and hash.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import numpy as np

from edge_export.catalog import Arrays, Axes, Net, NetConfig, get_net, unknown
from edge_export.catalog.dynamic_axes import Buckets
from edge_export.catalog.fixed_sizes import FixedSizes, fixed_sizes
from edge_export.ports.swift_wrapper import check_target, write_wrapper
from edge_export.proof.bisect.origins import write_for_export
from edge_export.proof.gates.exporting import check_gate, kept, sentence_case
from edge_export.proof.gates.feeding import Wanted
from edge_runtime.backends.base import not_installed
from edge_runtime.errors import CheckpointError, ConfigError, EdgeError
from edge_runtime.store.bundle import (
    HALF_ARITHMETIC,
    Artifact,
    Bundle,
    Form,
    Interface,
    Manifest,
    Precision,
    Source,
    Target,
    carry_files,
    describe_artifact,
    describe_file,
    is_bundle,
    open_bundle,
    write_reference,
)
from edge_runtime.store.targets import published, replace_directory, temporaries_beside
from edge_runtime.version import VERSION

if TYPE_CHECKING:
    from torch import nn

Progress = Callable[[str], object]
PathLike = str | os.PathLike[str]
Name = TypeVar("Name", bound=str)

TARGETS: tuple[Target, ...] = get_args(Target)
DEFAULT_TARGETS: tuple[Target, ...] = ("onnx", "coreml")
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
DEFAULT_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")
# which precisions a target has
_TAKEN: Mapping[Target, tuple[Precision, ...]] = {
    "onnx": ("fp32", "fp16", "int8"),
    "coreml": ("fp32", "fp16", "palette8", "palette6"),
    "coreai": ("fp32", "fp16"),
}
IOS = (16, 18)
_INTERFACES: tuple[Interface, ...] = get_args(Interface)
FORMS: tuple[Form, ...] = ("cpu", "plain")
_SUFFIXES: Mapping[Target, str] = {"onnx": ".onnx", "coreml": ".mlpackage", "coreai": ".aimodel"}
# distribution → module
_LIBRARIES: Mapping[Target, Mapping[str, str]] = {
    "onnx": {"onnx": "onnx"},
    "coreml": {"coremltools": "coremltools"},
    "coreai": {"onnx": "onnx", "coreai-core": "coreai", "coreai-onnx": "coreai_onnx"},
}
SEEDS = 2**63
SEED = "random seed "  # begins the format of a source of random weights


@dataclass(frozen=True)
class _Job:
    """The checked arguments of `export`."""

    net: Net[Any]
    targets: tuple[Target, ...]
    precisions: tuple[Precision, ...]
    io: Interface  # of float16 artifacts
    forms: tuple[Form, ...]  # of ONNX; empty where the precision decides
    axes: Axes  # of Core ML
    frames: tuple[int, ...]  # of Core AI, ascending; empty where the reference cases decide
    external_data: bool  # of ONNX, even where all fits into one file
    ios: int  # oldest system of Core ML packages
    weights: str  # their name in errors: the checkpoint as it was given
    gate: bool
    audio: PathLike | None  # of the gate
    beside: PathLike | None  # the bundle that makes sound of the net's output, for the gate
    progress: Progress


def export(
    net: str | Net[Any],
    out: PathLike,
    *,
    checkpoint: PathLike | None = None,
    random: int | None = None,
    preset: str | None = None,
    config: PathLike | Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    weights: str | None = None,
    lora: PathLike | None = None,
    targets: Sequence[str] = DEFAULT_TARGETS,
    precisions: Sequence[str] = DEFAULT_PRECISIONS,
    io: str = "fp32",
    forms: Sequence[str] | None = None,
    frame_buckets: Sequence[int] | None = None,
    external_data: bool = False,
    ios: int = 16,
    swift: PathLike | None = None,
    gate: bool = False,
    audio: PathLike | None = None,
    beside: PathLike | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Write a bundle.

    Args:
        net: a name in the catalogue, or an entry like those.
        out: the folder to write; refused if it exists.
        checkpoint: weights of any format that `edge_training.weights.reading` reads …
        random: … or the seed of random ones; one of the two, and neither for a net without weights.
        preset: name of one of the net's configs …
        config: … or a config.json, or its entries. Without both: the config.json beside the checkpoint; for
            random weights and nets with one config, the net's first preset.
        changes: entries that override the config's, as {"wiring": "stock"}.
        weights: which set of a checkpoint that has several: "ema", "live", or the name in front of it.
        lora: a file or folder to merge into the weights, for nets that take one.
        targets, precisions: which artifacts; "int8" is ONNX's alone, "palette8" and "palette6" Core ML's.
            Core AI is written where it is named.
        io: "fp16": inputs and outputs of float16 artifacts are float16 too, which spares runtimes the casts.
        forms: of ONNX, for nets that processors run faster in another form than their own: "cpu", "plain",
            or both. Where None, fp32 has both and fp16 is plain. A net with one form has one file, whatever
            is named here.
        frame_buckets: numbers of frames that the Core ML package admits, for nets with such an axis, and
            those of Core AI, which are the longest reference case's where None; one of both must be among
            the targets, and the longest must exceed twice the net's context.
        external_data: put ONNX weights into a file beside the graph; above 2 GiB this is done in any case.
        ios: oldest system that the Core ML package is for, 16 or 18; 18 has attention as one operation.
        swift: a file NAME.swift to write too: a typed wrapper of the bundle for apps.
        gate: store a case of real speech, and write no artifact whose sound, or features for a face, fail the
            catalogue's limits on it (`edge_export.proof.gates`); each that is withheld is a warning.
        audio: the gate's recording; a spoken sentence that ships where None.
        beside: of the gate, where the net's output is no sound: the bundle of the vocoder or synthesizer that
            makes it.
        overwrite: replace an existing bundle, and an existing wrapper.
        progress: called with a line of text before each step.

    Returns:
        The bundle, opened again from the disk and checked.

    Raises:
        ConfigError: an unknown name, or options that contradict each other or the net.
        CheckpointError: weights that are damaged, unsafe or of another net.
        TargetError: `out` exists or cannot be written.
        BackendError: a library is missing.
    """
    entry = get_net(net) if isinstance(net, str) else net
    job = _Job(
        net=entry,
        targets=_chosen("target", targets, TARGETS),
        precisions=precisions_for(targets, precisions),
        io=_io(entry, io, precisions),
        forms=_chosen("form", forms, FORMS) if forms is not None else (),
        axes=_axes(entry, frame_buckets, targets),
        frames=tuple(sorted(set(frame_buckets or ()))),
        external_data=external_data,
        ios=_ios(ios),
        weights=("random" if entry.has_weights else entry.name) if checkpoint is None else str(checkpoint),
        gate=gate,
        audio=audio,
        beside=beside,
        progress=progress or (lambda _: None),
    )
    if gate:
        check_gate(entry.name, audio, beside)
    elif beside is not None:
        raise ConfigError("--with", got=str(beside), expected="--gate beside it")
    if frame_buckets is not None and not {"coreml", "coreai"} & set(job.targets):
        raise ConfigError(
            "frames",
            got="buckets without target coreml or coreai",
            expected="no buckets",
            cause="ONNX takes any length",
        )
    if job.forms and "onnx" not in job.targets:
        raise ConfigError(
            "--form",
            got=f"{', '.join(job.forms)} without target onnx",
            expected="no form",
            cause="Core ML and Core AI have one",
        )
    if preset is not None and preset not in job.net.presets:
        raise unknown(f"preset of {job.net.name}", preset, job.net.presets)
    _check_source(job.net, checkpoint, random, preset, config)
    if lora is not None and (checkpoint is None or job.net.merge is None):
        got = f"a LoRA for {entry.name}" if checkpoint is not None else "a LoRA for random weights"
        raise ConfigError("--lora", got=got, expected="a checkpoint of sd-unet to merge it into")
    if weights is not None and checkpoint is None:
        raise ConfigError("--weights", got=weights, expected="a checkpoint to choose from")
    changes = changes or {}
    _check_libraries(job.targets)
    if swift is not None:
        check_target(swift, overwrite)
    with (
        replace_directory(out, overwrite, ours=is_bundle) as folder,
        temporaries_beside(folder),  # coremltools leaves much in its own when it is killed
        _one_thread(),
    ):
        carried: Mapping[str, Path] = {}
        if checkpoint is not None:
            place = job.net.locate(checkpoint)
            built = _merged(job, lora, *_from_checkpoint(job, place, preset, config, changes, weights))
        elif random is not None:
            built = _from_seed(job, random, *_config(job.net, preset, config, changes))
        else:
            built = _from_config(job, *_config(job.net, preset, config, changes))
        job = replace(job, axes=job.net.axes_of(built[1], job.axes))
        if checkpoint is not None:
            carried = job.net.carried(built[1], place)
        _write(job, folder, *built, carried)
    job.progress(f"checking {published(out)}")
    bundle = open_bundle(out)
    if swift is not None:
        write_wrapper(bundle, swift, overwrite=overwrite)
    return bundle


# ---- what was asked for -----------------------------------------------------------------------------------


def _chosen(what: str, names: Sequence[str], known: tuple[Name, ...]) -> tuple[Name, ...]:
    """The given names in the known order; ConfigError for others."""
    if isinstance(names, str):
        names = (names,)
    for name in names:
        if name not in known:
            raise unknown(what, str(name), known)
    if not names:
        raise ConfigError(what, got="none", expected=f"one of {', '.join(known)}")
    return tuple(name for name in known if name in names)


def precisions_for(targets: Sequence[str], precisions: Sequence[str]) -> tuple[Precision, ...]:
    """The given precisions in their order; ConfigError for unknown ones, and for one that no target has."""
    chosen = _chosen("precision", precisions, PRECISIONS)
    for precision in chosen:
        takers = [target for target, taken in _TAKEN.items() if precision in taken]
        if not set(takers) & set(_chosen("target", targets, TARGETS)):
            raise ConfigError("precision", got=precision, expected=f"--target {takers[0]} with it")
    return chosen


def _ios(ios: int) -> int:
    if ios not in IOS:
        raise ConfigError("--ios", got=str(ios), expected=" or ".join(map(str, IOS)))
    return ios


def _io(net: Net[Any], io: str, precisions: Sequence[str]) -> Interface:
    """The type of float16 artifacts' inputs and outputs; ConfigError where there are no such artifacts."""
    (chosen,) = _chosen("--io", io, _INTERFACES)
    if chosen == "fp16" and "fp16" not in precisions:
        raise ConfigError("--io", got="fp16 without precision fp16", expected="fp32")
    if chosen == "fp16" and net.half == "weights":
        raise ConfigError(
            "--io",
            got=f"fp16 for {net.name}",
            expected="fp32",
            cause="only its weights are float16: what it computes with does not fit half precision",
        )
    return chosen


def _axes(net: Net[Any], frame_buckets: Sequence[int] | None, targets: Sequence[str]) -> Axes:
    """The axes of Core ML; Core AI, if alone, takes numbers of frames for every net that has such an axis."""
    if frame_buckets is None:
        return net.coreml_axes
    try:
        buckets = Buckets(tuple(sorted(set(frame_buckets))))
    except ConfigError as error:
        raise error.within("frames") from error
    if "coreai" in targets and "coreml" not in targets:
        return net.coreml_axes
    if not isinstance(net.coreml_axes.get("frames"), Buckets):
        raise ConfigError(
            "frames",
            got=f"buckets for {net.name}",
            expected="no buckets",
            cause=f"its axes are {', '.join(f'{name} ({axis})' for name, axis in net.coreml_axes.items())}",
        )
    return {**net.coreml_axes, "frames": buckets}


def _check_source(
    net: Net[Any],
    checkpoint: PathLike | None,
    random: int | None,
    preset: str | None,
    config: PathLike | Mapping[str, Any] | None,
) -> None:
    if not net.has_weights:
        if checkpoint is not None or random is not None:
            got = "a checkpoint" if checkpoint is not None else "a seed"
            raise ConfigError("weights", got=got, expected=f"neither, {net.name} has no weights")
    elif (checkpoint is None) == (random is None):
        got = "neither a checkpoint nor a seed" if checkpoint is None else "a checkpoint and a seed"
        raise ConfigError("weights", got=got, expected="one of --checkpoint FILE and --random SEED")
    if random is not None and (isinstance(random, bool) or not 0 <= random < SEEDS):
        raise ConfigError("random", got=repr(random), expected="a whole number from 0 to 2^63 - 1")
    if preset is not None and config is not None:
        raise ConfigError(
            "configuration", got="a preset and a config file", expected="one of --preset and --config"
        )


def _check_libraries(targets: tuple[Target, ...]) -> None:
    needed = {"torch": "export"}
    for target in targets:
        needed |= dict.fromkeys(_LIBRARIES[target].values(), "coreai" if target == "coreai" else "export")
    for module, extra in needed.items():
        if importlib.util.find_spec(module) is None:
            raise not_installed("exporting", module, module, extra)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Runs torch on one thread: with several, the rounding of sums depends on their number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# ---- the PyTorch net --------------------------------------------------------------------------------------

_Built = tuple["nn.Module", NetConfig, Source]


def _from_checkpoint(
    job: _Job,
    path: Path,
    preset: str | None,
    config: PathLike | Mapping[str, Any] | None,
    changes: Mapping[str, Any],
    weights: str | None,
) -> _Built:
    from edge_training.weights.loading import config_of, finish, open_for

    job.progress(f"reading {path.name}")
    checkpoint, entry = open_for(path, job.net.loadable, weights)
    said = list(checkpoint.said)
    settings = config_of(entry, checkpoint, said, config, preset=preset, changes=changes)
    settings = entry.settle(settings, checkpoint, said)
    _check_context(job, settings)  # before the weights are read
    loaded = finish(entry, settings, checkpoint, said)
    source = Source(checkpoint.file, checkpoint.sha256, checkpoint.format, loaded.said)
    return loaded.module, settings, source


def _merged(
    job: _Job, lora: PathLike | None, module: nn.Module, settings: NetConfig, source: Source
) -> _Built:
    """The net with a LoRA merged into it; its hash is then that of the weights as they are exported."""
    from edge_export.examples.random_weights import weights_sha256

    if lora is None or job.net.merge is None:
        return module, settings, source
    job.progress(f"merging {Path(lora).name}")
    said = job.net.merge(module, lora)
    return module, settings, replace(source, sha256=weights_sha256(module), said=(*source.said, said))


def _from_seed(job: _Job, seed: int, settings: NetConfig, said: list[str]) -> _Built:
    from edge_export.examples.random_weights import weights_sha256

    job.progress(f"random weights from seed {seed}")
    _check_context(job, settings)
    module = _random(job.net, job.axes, seed, settings)
    return module, settings, Source("random", weights_sha256(module), f"{SEED}{seed}", tuple(said))


def _random(net: Net[Any], axes: Axes, seed: int, settings: NetConfig) -> nn.Module:
    """The net with weights from a seed, scaled on the last reference case."""
    import torch

    from edge_export.examples.random_weights import random_module

    *_, case = net.cases(settings, axes).values()
    example = tuple(torch.from_numpy(case[tensor.name]) for tensor in net.inputs(settings))

    def start() -> nn.Module:
        module = net.build(settings)
        net.random_start(module)
        return module

    rms, mean = net.range_of_random(settings)
    return random_module(start, seed, example, rms=rms, mean=mean)


def module_of(manifest: Manifest, checkpoint: PathLike | None = None) -> nn.Module:
    """The PyTorch net that a bundle was exported from, in evaluation mode.

    Args:
        manifest: of the bundle.
        checkpoint: its weights; needed unless they are random, or the net has none.

    Raises:
        CheckpointError: weights that are not those of the bundle; also random ones that this version of
            torch, or this package, draws otherwise.
    """
    net, source = get_net(manifest.net), manifest.source
    settings = net.config_from_json(manifest.config)
    with _one_thread():
        if checkpoint is not None:
            return _checked_module(net, settings, source, Path(checkpoint))
        if not source.format.startswith(SEED):
            return net.build(settings).eval()
        from edge_export.examples.random_weights import weights_sha256

        module = _random(net, _case_axes(net, manifest), int(source.format.removeprefix(SEED)), settings)
    if weights_sha256(module) != source.sha256:
        raise CheckpointError(
            source.format,
            got="other weights than when the bundle was exported",
            expected=f"weights with SHA-256 {source.sha256[:12]}…",
            cause="another version of torch or of edge-export draws others: export the net again",
        )
    return module


def _case_axes(net: Net[Any], manifest: Manifest) -> Axes:
    """The axes that the bundle's reference cases were made with: buckets may have been asked for."""
    for artifact in manifest.artifacts:
        frames = artifact.axes.get("frames")
        if artifact.target == "coreml" and frames is not None and frames.only:
            return {**net.coreml_axes, "frames": Buckets(frames.only)}
    return net.coreml_axes


def _checked_module(net: Net[Any], settings: NetConfig, source: Source, path: Path) -> nn.Module:
    from edge_training.weights.loading import finish, open_for

    checkpoint, entry = open_for(path, net.loadable)
    if checkpoint.sha256 != source.sha256:
        raise CheckpointError(
            str(path),
            got=f"SHA-256 {checkpoint.sha256[:12]}…",
            expected=f"{source.sha256[:12]}… of {source.file}",
            cause="the bundle was made from another file",
        )
    return finish(entry, settings, checkpoint, []).module  # type: ignore[no-any-return]


def _from_config(job: _Job, settings: NetConfig, said: list[str]) -> _Built:
    from edge_export.examples.random_weights import weights_sha256

    module = job.net.build(settings).eval()
    return module, settings, Source("none", weights_sha256(module), "no weights", tuple(said))


def _config(
    net: Net[Any], preset: str | None, config: PathLike | Mapping[str, Any] | None, changes: Mapping[str, Any]
) -> tuple[NetConfig, list[str]]:
    """The net's config from wherever it is given, completed by what only the checkpoint's keys tell."""
    from edge_training.weights.configs import read_config

    said: list[str] = []
    if config is not None:
        entries = config if isinstance(config, Mapping) else read_config(config)
        try:
            settings = net.loadable.read_entries(entries, said, changes=changes)
        except EdgeError as error:
            raise error if isinstance(config, Mapping) else error.within(str(config)) from error
    else:
        settings = net.preset(preset or net.presets[0])
        settings = net.config_from_json({**settings.to_json(), **changes}) if changes else settings
    return net.settle(settings, None, said), said


def _check_context(job: _Job, config: NetConfig) -> None:
    """ConfigError if the longest bucket is all context: no pipeline could use it."""
    frames, context = job.axes.get("frames"), job.net.geometry(config).context_frames
    if "coreml" in job.targets and isinstance(frames, Buckets):
        longest = frames.sizes[-1]
    elif job.frames:
        longest = job.frames[-1]
    else:
        return
    if context is not None and longest <= 2 * context:
        raise ConfigError(
            "frames",
            got=f"a longest bucket of {longest}",
            expected=f"at least {2 * context + 1}",
            cause=f"with {context} frames of context on each side nothing of a chunk would be left",
        )


# ---- the bundle -------------------------------------------------------------------------------------------


def _write(
    job: _Job, folder: Path, module: nn.Module, config: NetConfig, source: Source, carried: Mapping[str, Path]
) -> None:
    net = job.net
    reference = {}
    cases = net.cases(config, job.axes)
    sizes = fixed_sizes(net, config, job.axes, job.frames) if "coreai" in job.targets else None
    cases |= sizes.cases if sizes else {}
    if job.gate:
        lengths = {name: axis.lengths for name, axis in job.axes.items() if "coreml" in job.targets}
        gate = check_gate(net.name, job.audio, job.beside)
        wanted = Wanted(net.inputs(config), net.front_end(config), config.to_json(), lengths, gate, job.audio)
        cases |= sentence_case(wanted, cases)
    for name, inputs in cases.items():
        job.progress(f"reference case {name}")
        reference[name] = write_reference(folder, name, inputs | _outputs(job, module, config, inputs))
    modules: dict[str, dict[str, str]] = {}  # of the operations of Core ML packages
    artifacts = [
        _write_artifact(job, folder, module, config, source, target, precision, form, modules, sizes)
        for target in job.targets
        for precision in job.precisions
        if precision in _TAKEN[target]
        for form in _forms(job, module, target, precision)
    ]
    manifest = Manifest(
        net=net.name,
        config=config.to_json(),
        front_end=net.front_end(config),
        inputs=net.inputs(config),
        outputs=net.outputs(config),
        artifacts=tuple(artifacts),
        source=source,
        tolerance={precision: net.allowed(config, precision) for precision in job.precisions},
        geometry=net.geometry(config),
        versions=_versions(job.targets),
        reference=reference,
    )
    if job.gate:
        manifest = kept(folder, manifest, job.progress, job.beside)
    shortest = min(net.cases(config, job.axes).values(), key=_size)
    origins = write_for_export(folder, net, module, manifest, shortest, modules)
    files = (describe_file(folder, origins), *carry_files(folder, carried))
    replace(manifest, files=files).save(folder)


def _size(inputs: Arrays) -> int:
    return sum(array.size for array in inputs.values())


def _outputs(job: _Job, module: nn.Module, config: NetConfig, inputs: Arrays) -> Arrays:
    """The PyTorch net's outputs for a case."""
    import torch

    net = job.net

    with torch.inference_mode():
        values = module(*(torch.from_numpy(inputs[tensor.name]) for tensor in net.inputs(config)))
    tensors = values if isinstance(values, tuple) else (values,)
    arrays = {spec.name: tensor.numpy() for spec, tensor in zip(net.outputs(config), tensors, strict=True)}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise CheckpointError(
                job.weights,
                got=f"NaN or infinite {name} on speech",
                expected="finite values",
                cause="training diverged, or these weights belong to another configuration",
            )
    return arrays


def _forms(job: _Job, module: nn.Module, target: Target, precision: Precision) -> tuple[Form, ...]:
    """The forms to write: those asked for, of the forms that there are."""
    if target != "onnx":
        return ("any",)
    from edge_export.to_onnx.exporter import forms_of

    there = forms_of(module, job.net)
    wanted = job.forms or (FORMS if precision == "fp32" else ("plain",))
    return there if there == ("any",) else tuple(form for form in there if form in wanted)


def _write_artifact(
    job: _Job,
    folder: Path,
    module: nn.Module,
    config: NetConfig,
    source: Source,
    target: Target,
    precision: Precision,
    form: Form,
    modules: dict[str, dict[str, str]],
    sizes: FixedSizes | None,
) -> Artifact:
    name = _name(target, precision, form)
    io: Interface = job.io if precision == "fp16" else "fp32"
    job.progress(f"writing {name}")
    data: tuple[str, ...] = ()
    if target == "onnx":
        from edge_export.to_onnx import exporter as to_onnx
        from edge_export.to_onnx.weighted_graph import DATA_SUFFIX

        version = to_onnx.write_onnx(
            module,
            job.net,
            config,
            folder / name,
            precision,
            form=None if form == "any" else form,
            io=io,
            external_data=job.external_data,
        )
        data = tuple(path.name for path in folder.glob(f"{name}{DATA_SUFFIX}"))
        axes, note = to_onnx.flexible_axes(job.net, config), ""
    elif target == "coreai":
        from edge_export.to_coreai import exporter as to_coreai

        assert sizes is not None
        version = to_coreai.write_coreai(
            module,
            job.net,
            config,
            folder / name,
            precision,
            sizes.functions,
            io=io,
            source_sha256=source.sha256,
        )
        axes, note = sizes.lengths, sizes.note
    else:
        from edge_export.to_coreml import exporter as to_coreml

        version = to_coreml.write_coreml(
            module,
            job.net,
            config,
            folder / name,
            precision,
            job.axes,
            io=io,
            ios=job.ios,
            source_sha256=source.sha256,
            modules=modules.setdefault(name, {}),
        )
        axes = {name: axis.lengths for name, axis in job.axes.items()}
        note = to_coreml.width_note(job.net, config, job.axes)
    parts = job.net.float32_parts if precision in HALF_ARITHMETIC else ()
    return describe_artifact(
        folder,
        name,
        target=target,
        precision=precision,
        version=version,
        axes=axes,
        note=note,
        data=data,
        float32_parts=parts,
        form=form,
        io=io,
    )


def _name(target: Target, precision: Precision, form: Form) -> str:
    """The artifact's name: what is usual for its target and precision is left out."""
    words: list[str] = [] if precision == "fp32" else [precision]
    if target == "onnx":
        from edge_export.to_onnx.exporter import OWN_FORM

        words += [] if form in ("any", OWN_FORM[precision]) else [form]
    return ".".join(["model", *words]) + _SUFFIXES[target]


def _versions(targets: tuple[Target, ...]) -> dict[str, str]:
    libraries = ("numpy", "torch", *(name for target in targets for name in _LIBRARIES[target]))
    return {"edge-export": VERSION} | {library: importlib.metadata.version(library) for library in libraries}
