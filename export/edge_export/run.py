"""Runs a pipeline, or a front end alone, on files: what ``edge-export run`` and ``edge-export mel`` do."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from edge_export.backends import tuned_backend
from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.errors import ConfigError, TargetError
from edge_runtime.media.audio import read_audio
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.declaration import Declaration
from edge_runtime.pipelines.registry import PIPELINES, get_declaration, get_system
from edge_runtime.pipelines.roles import GivenBundles, sort_bundles
from edge_runtime.pipelines.system import Inputs, Pipeline
from edge_runtime.store.bundle import Bundle
from edge_runtime.store.reading import find_object
from edge_runtime.store.targets import replace_directory, replace_file

AnyPath = str | os.PathLike[str]
GivenInputs = AnyPath | Mapping[str, AnyPath | Sequence[str] | None] | None
"""Inputs of a pipeline: declared name → file or text, or texts; or the only input by itself."""
# arguments of pipelines that need more than the runtime (`Declaration.helpers`): name → module and function
HELPERS: Mapping[str, tuple[str, str]] = {"scorer": ("edge_export.image_speech.ranking", "open_scorer")}
RESULT = "metadata.json"  # in every result, written last; marks the folder as a result


def check_apart(target: AnyPath, *inputs: AnyPath | Bundle) -> None:
    """Refuse a target that is one of the inputs, inside of one, or holds one: writing it would damage that.

    Raises:
        TargetError: names the input that would be damaged.
    """
    place = Path(target).resolve()
    for given in inputs:
        path = given.path if isinstance(given, Bundle) else given
        if Path(path).resolve() in (place, *place.parents):
            raise TargetError(
                str(target), got=f"a path inside of the input {path}", expected="a path outside of it"
            )
        if place in Path(path).resolve().parents and place.is_dir():
            raise TargetError(
                str(target), got=f"the folder of the input {path}", expected="a path that can be replaced"
            )


def open_pipeline(
    name: str,
    bundles: GivenBundles,
    *,
    backend: str = "onnxruntime",
    tf32: bool = False,
    cuda_graphs: bool = False,
    progress: Callable[[str], None] | None = None,
    inside: Mapping[str, Callable[[Bundle], object]] | None = None,
    **options: Any,
) -> Pipeline:
    """The pipeline of a name, on any backend of `edge_export.backends`.

    Args:
        name: in `edge_runtime.pipelines.registry.PIPELINES`.
        bundles: one for each of its nets, in any order: their manifests tell which is which; or with roles.
        backend: name of the backend that runs the nets.
        tf32, cuda_graphs: settings of CUDA, see `edge_export.backends.tuned_backend`.
        progress: called with the state of long work, by pipelines that take long.
        inside: for arguments in `Declaration.inside`: function from the role's bundle to the argument.
        options: options that the pipeline declares; None counts as not given.

    Raises:
        ConfigError: unknown pipeline or backend, a bundle too many or too few, an option of another pipeline.
        EdgeError: a bundle, an option or the backend cannot be used.
    """
    declared = get_declaration(name)
    given = {option: value for option, value in options.items() if value is not None}
    _check_options(declared, given)
    system = get_system(name)
    if progress is not None and system.tells_progress:
        given["progress"] = progress
    given |= {name: _helper(name) for name in declared.helpers}
    library = tuned_backend(backend, tf32=tf32, cuda_graphs=cuda_graphs)
    opened = sort_bundles(declared, bundles)
    if inside is not None:
        given |= {argument: inside[argument](opened[role]) for argument, role in declared.inside.items()}
    return system.open(opened, backend=library, **given)


def _helper(name: str) -> Callable[..., Any]:
    """The function of a name in `HELPERS`, whose module is imported when it is called."""

    def call(*arguments: Any, **named: Any) -> Any:
        module, function = HELPERS[name]
        return getattr(import_module(module), function)(*arguments, **named)

    return call


def _check_options(declared: Declaration, options: Mapping[str, Any]) -> None:
    """Refuse an option that the pipeline does not declare, and say which pipelines do."""
    for name, value in options.items():
        option = declared.option(name)
        if option is not None:
            option.check(value)
            continue
        takers = [other for other, each in PIPELINES.items() if each.option(name)]
        raise ConfigError(
            f"--{name.replace('_', '-')}",
            got=f"{value} for {declared.name}",
            expected=f"this option only for {' or '.join(takers)}" if takers else "an option that exists",
        )


def run(
    pipeline: str,
    source: GivenInputs,
    bundles: GivenBundles,
    out: AnyPath,
    *,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Run a pipeline and write its results into the folder ``out``, metadata.json among them.

    The other files are described in ``edge_runtime.pipelines.SYSTEM.result`` of each system.

    Args:
        pipeline: "talking-head" (audio → features), "vocoder" or "mel-inversion" (mel → audio, or audio →
            mel → audio), "mri-speech" (video → audio) …: a name in the registry of pipelines.
        source: the input file; a mapping of the declared names where there are several inputs; None where
            there is none.
        bundles: the bundles of the pipeline's nets, in any order, or by role.
        out: folder to make.
        overwrite: replace an earlier result.
        options: of `open_pipeline` and the pipeline: backend, progress, device, threads, precision, mode …

    Returns:
        The folder.

    Raises:
        EdgeError: the pipeline, source, bundles, backend or target cannot be used.
    """
    inputs = get_declaration(pipeline).name_inputs(source)
    check_apart(out, *_files(inputs), *places(bundles))
    opened = open_pipeline(pipeline, bundles, **options)
    write_result(pipeline, opened, inputs, out, overwrite=overwrite)
    return Path(out)


def write_result(
    name: str, opened: Pipeline, inputs: Inputs, out: AnyPath, *, overwrite: bool = False
) -> None:
    """Run an open pipeline of that name and write the folder ``out``; raises EdgeErrors as `run` does."""
    with replace_directory(out, overwrite=overwrite, ours=is_result) as folder:
        facts = opened.write_result(folder, inputs)
        pack.write_json(folder / RESULT, {"pipeline": name} | _source(inputs) | facts)


def _files(inputs: Inputs) -> list[Path]:
    return [value for value in inputs.values() if isinstance(value, Path)]


def places(bundles: GivenBundles) -> list[AnyPath | Bundle]:
    """The folders, or open bundles, without their roles."""
    given = bundles.values() if isinstance(bundles, Mapping) else bundles
    return [each[1] if isinstance(each, tuple) else each for each in given]


def _source(inputs: Inputs) -> dict[str, Any]:
    """Inputs for metadata.json: names of files without their folders; texts unchanged."""
    names = {
        name: value.name if isinstance(value, Path) else value for name, value in inputs.items() if value
    }
    return {"source": next(iter(names.values())) if len(inputs) == 1 else names} if names else {}


def mel(
    source: AnyPath, preset: str, out: AnyPath, *, dtype: str = "float32", overwrite: bool = False
) -> tuple[int, ...]:
    """Write the mel spectrogram of an audio file as .npy, (n_mels, frames); returns that shape.

    The audio is averaged to one channel and resampled to the preset's rate.

    Raises:
        ConfigError: unknown preset or dtype.
        InputError: the file is not audio, or too short for one frame.
        TargetError: ``out`` exists and ``overwrite`` is not given.
    """
    if preset not in PRESETS:
        raise ConfigError("--preset", got=repr(preset), expected=f"one of {', '.join(PRESETS)}")
    check_apart(out, source)
    front_end = MelFrontEnd(PRESETS[preset], dtype)
    audio = read_audio(source, PRESETS[preset].sample_rate)
    with pack.naming(source):
        spectrogram = front_end(audio.samples)
    with replace_file(out, overwrite=overwrite) as temporary, temporary.open("wb") as stream:
        np.save(stream, spectrogram)
    return spectrogram.shape


def is_result(folder: Path) -> bool:
    """Whether a folder holds the result of an earlier run and nothing else."""
    if not folder.is_dir():
        return False
    known = find_object(folder / RESULT).get("pipeline") in [*PIPELINES]
    return known and all(
        entry.suffix in (".npy", ".npz", ".wav", ".json", ".png", ".csv") for entry in folder.iterdir()
    )
