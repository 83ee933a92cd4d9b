"""Runs a pipeline, or a front end alone, on a file: what ``edge-export run`` and ``edge-export mel`` do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from edge_export.backends import get_backend
from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.errors import BundleError, ConfigError, TargetError
from edge_runtime.media.audio import read_audio, write_wav
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.mel_inversion.pipeline import MelInversion
from edge_runtime.pipelines.mel_inversion.result import write_mel_inversion
from edge_runtime.pipelines.mri_speech.pipeline import MriSpeech
from edge_runtime.pipelines.talking_head.pipeline import TalkingHead
from edge_runtime.pipelines.vocoder.pipeline import Vocoder
from edge_runtime.store.bundle import Bundle, open_bundle
from edge_runtime.store.targets import replace_directory, replace_file

AnyPath = str | os.PathLike[str]
RESULT = "metadata.json"  # in every result, written last; says what the folder is


@dataclass(frozen=True)
class Pipeline:
    """One pipeline of the command line."""

    # its class: takes the bundles by the names in `nets`, the options by name, and has `save_reference`
    build: Callable[..., Any]
    # the net in a bundle's manifest → the argument of `build` that takes the bundle
    nets: Mapping[str, str]
    # (pipeline, source, folder) → writes the result into the folder, gives what metadata.json says of it
    write: Callable[[Any, Path, Path], dict[str, Any]]
    optional: tuple[str, ...] = ()  # nets that it can do without


def check_apart(target: AnyPath, *inputs: AnyPath | Bundle) -> None:
    """Refuse a target that is one of the inputs, or lies inside of one: writing there would damage it.

    Raises:
        TargetError: with the input that would be damaged.
    """
    place = Path(target).resolve()
    for given in inputs:
        path = given.path if isinstance(given, Bundle) else given
        if Path(path).resolve() in (place, *place.parents):
            raise TargetError(str(target), got=f"a place in the input {path}", expected="one outside of it")


def open_pipeline(
    name: str,
    bundles: Sequence[AnyPath | Bundle],
    *,
    backend: str = "onnxruntime",
    progress: Callable[[str], None] | None = None,
    **options: Any,
) -> Any:
    """The pipeline of a name, on any backend of `edge_export.backends`.

    Args:
        name: in `PIPELINES`.
        bundles: one for each of its nets, in any order: their manifests tell which is which.
        backend: what executes the nets.
        progress: is told how far long work is, by the pipelines that take long.
        options: of the pipeline's class; None counts as not given.

    Raises:
        ConfigError: unknown pipeline or backend, a bundle too many or too few, an option of another pipeline.
        EdgeError: what a bundle, an option or the backend is refused for.
    """
    if name not in PIPELINES:
        raise ConfigError("PIPELINE", got=repr(name), expected=f"one of {', '.join(PIPELINES)}")
    pipeline = PIPELINES[name]
    given = {option: value for option, value in options.items() if value is not None}
    _check_options(name, given)
    if progress is not None and "progress" in _options(pipeline):
        given["progress"] = progress
    library = get_backend(backend)
    return pipeline.build(**_sort_bundles(name, bundles), backend=library, **given)


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse an option that the pipeline's class does not take, and say which pipelines do."""
    for option, value in options.items():
        takers = [other for other, pipeline in PIPELINES.items() if option in _options(pipeline)]
        if name not in takers:
            raise ConfigError(
                f"--{option.replace('_', '-')}",
                got=f"{value} for {name}",
                expected=f"it for {' or '.join(takers)} alone" if takers else "an option that exists",
            )


def _options(pipeline: Pipeline) -> set[str]:
    return set(signature(pipeline.build).parameters) - {*pipeline.nets.values(), "backend"}


def _sort_bundles(name: str, bundles: Sequence[AnyPath | Bundle]) -> dict[str, Bundle]:
    """Argument of the pipeline's class → the bundle whose manifest names the net for it."""
    pipeline = PIPELINES[name]
    wanted = "exactly one" if len(pipeline.nets) == 1 else f"one each of {', '.join(pipeline.nets)}"
    if len(bundles) > len(pipeline.nets):
        raise ConfigError(f"bundles of {name}", got=f"{len(bundles)}", expected=wanted)
    sorted_bundles: dict[str, Bundle] = {}
    for given in bundles:
        bundle = given if isinstance(given, Bundle) else open_bundle(given)
        net = bundle.manifest.net
        if net not in pipeline.nets:
            raise BundleError(
                f"{bundle.path}: net",
                got=net,
                expected=" or ".join(pipeline.nets),
                cause="is it the right bundle?",
            )
        if pipeline.nets[net] in sorted_bundles:
            raise ConfigError(f"bundles of {name}", got=f"two of {net}", expected=wanted)
        sorted_bundles[pipeline.nets[net]] = bundle
    for net, argument in pipeline.nets.items():
        if argument not in sorted_bundles and net not in pipeline.optional:
            raise ConfigError(
                f"bundles of {name}", got=f"none of {net}", expected=wanted, cause="--bundle DIR names it"
            )
    return sorted_bundles


def run(
    pipeline: str,
    source: AnyPath,
    bundles: Sequence[AnyPath | Bundle],
    out: AnyPath,
    *,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Run a pipeline on one file and write its results into the folder ``out``.

    talking-head: mel_spectrogram.npy (80, T), audio_features_raw.npy (n, 512), audio_features_padded.npy
    (n + 2, 512). vocoder: mel.npy (n_mels, frames) and NAME_generated.wav. mel-inversion: see
    `edge_runtime.pipelines.mel_inversion.result`. mri-speech: see `MriSpeech.write_result`. All:
    metadata.json.

    Args:
        pipeline: "talking-head" (audio → features), "vocoder" or "mel-inversion" (mel → audio, or audio →
            mel → audio), "mri-speech" (video → audio).
        source: audio file; for "vocoder" and "mel-inversion" also a .npy of shape (n_mels, frames); for
            "mri-speech" a video, or .npy of shape (T, H, W).
        bundles: the bundles of the pipeline's nets.
        out: folder to make.
        overwrite: replace an earlier result.
        options: of `open_pipeline` and the pipeline: backend, progress, device, threads, precision, mode …

    Returns:
        The folder.

    Raises:
        EdgeError: whatever pipeline, source, bundles, backend or target are refused for.
    """
    check_apart(out, source, *bundles)
    opened = open_pipeline(pipeline, bundles, **options)
    with replace_directory(out, overwrite=overwrite, ours=_is_result) as folder:
        facts = PIPELINES[pipeline].write(opened, Path(source), folder)
        pack.write_json(folder / RESULT, {"pipeline": pipeline, "source": Path(source).name} | facts)
    return Path(out)


def _write_talking_head(pipeline: TalkingHead, source: Path, folder: Path) -> dict[str, Any]:
    result = pipeline.process_file(source)
    assert result.mel is not None  # only features from elsewhere come without one
    assert pipeline.net is not None
    np.save(folder / "mel_spectrogram.npy", result.mel)
    np.save(folder / "audio_features_raw.npy", result.features)
    np.save(folder / "audio_features_padded.npy", result.padded)
    return {
        "executed_by": pipeline.net.detail,
        "mode": result.mode,
        "fps": result.fps,
        "n_frames": result.n_frames,
    }


def _write_vocoder(pipeline: Vocoder, source: Path, folder: Path) -> dict[str, Any]:
    mel, _ = pipeline.read_mel(source)
    with pack.naming(source):
        samples = pipeline.synthesize(mel)
    np.save(folder / "mel.npy", mel)
    write_wav(folder / f"{source.stem}_generated.wav", samples, pipeline.sample_rate)
    return {
        "executed_by": pipeline.net.detail,
        "sample_rate": pipeline.sample_rate,
        "samples": samples.size,
        "frames": mel.shape[1],
    }


PIPELINES: Mapping[str, Pipeline] = {
    "talking-head": Pipeline(TalkingHead, {"audio-encoder": "bundle"}, _write_talking_head),
    "vocoder": Pipeline(Vocoder, {"hifigan": "bundle"}, _write_vocoder),
    "mel-inversion": Pipeline(
        MelInversion,
        {"mel-inversion": "bundle", "degli": "degli"},
        write_mel_inversion,
        optional=("mel-inversion", "degli"),
    ),
    "mri-speech": Pipeline(
        MriSpeech, {"mri-acoustic": "acoustic", "hifigan": "vocoder"}, MriSpeech.write_result
    ),
}


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


def _is_result(folder: Path) -> bool:
    """Whether a folder holds the result of an earlier run, and nothing that a run would not write."""
    try:
        known = json.loads((folder / RESULT).read_text(encoding="utf-8"))["pipeline"] in PIPELINES
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return known and all(entry.suffix in (".npy", ".wav", ".json", ".png") for entry in folder.iterdir())
