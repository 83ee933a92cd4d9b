"""Runs a pipeline, or a front end alone, on a file: what ``edge-export run`` and ``edge-export mel`` do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_export.backends import get_backend
from edge_runtime.audio import read_audio, write_wav
from edge_runtime.bundle import Bundle
from edge_runtime.errors import ConfigError, TargetError
from edge_runtime.files import replace_directory, replace_file
from edge_runtime.mel import PRESETS, MelFrontEnd
from edge_runtime.pipelines import pack
from edge_runtime.pipelines.talking_head import TalkingHead
from edge_runtime.pipelines.vocoder import Vocoder

AnyPath = str | os.PathLike[str]
RESULT = "metadata.json"  # in every result, written last; says what the folder is

PIPELINES: Mapping[str, Callable[..., TalkingHead | Vocoder]] = {
    "talking-head": TalkingHead,
    "vocoder": Vocoder,
}


def check_apart(target: AnyPath, *inputs: AnyPath | Bundle) -> None:
    """Refuse a target that is one of the inputs, or lies inside of one: writing there would damage it.

    Raises:
        TargetError: with the input that would be damaged.
    """
    place = Path(target).resolve()
    for given in inputs:
        path = given.path if isinstance(given, Bundle) else given
        if Path(path).resolve() in (place, *place.parents):
            raise TargetError(str(target), met=f"a place in the input {path}", expected="one outside of it")


def open_pipeline(
    name: str, bundles: Sequence[AnyPath | Bundle], *, backend: str = "onnxruntime", **options: Any
) -> TalkingHead | Vocoder:
    """The pipeline of a name, on any backend of `edge_export.backends`.

    Raises:
        ConfigError: unknown pipeline or backend, or not exactly the bundles that the pipeline needs.
        EdgeError: what the bundle or the backend is refused for.
    """
    if name not in PIPELINES:
        raise ConfigError("PIPELINE", met=repr(name), expected=f"one of {', '.join(PIPELINES)}")
    if len(bundles) != 1:
        raise ConfigError(f"bundles of {name}", met=f"{len(bundles)}", expected="exactly one")
    return PIPELINES[name](bundles[0], backend=get_backend(backend), **options)


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
    (n + 2, 512). vocoder: mel.npy (n_mels, frames) and NAME_generated.wav. Both: metadata.json.

    Args:
        pipeline: "talking-head" (audio → features) or "vocoder" (mel → audio, or audio → mel → audio).
        source: audio file, or for the vocoder a .npy of shape (n_mels, frames).
        bundles: the bundles of the pipeline's nets.
        out: folder to make.
        overwrite: replace an earlier result.
        options: of the pipeline: backend, device, threads, precision, mode, fps …

    Returns:
        The folder.

    Raises:
        EdgeError: whatever pipeline, source, bundles, backend or target are refused for.
    """
    check_apart(out, source, *bundles)
    opened = open_pipeline(pipeline, bundles, **options)
    with replace_directory(out, overwrite=overwrite, ours=_is_result) as folder:
        if isinstance(opened, TalkingHead):
            facts = _run_talking_head(opened, Path(source), folder)
        else:
            facts = _run_vocoder(opened, Path(source), folder)
        assert opened.net is not None  # `open_pipeline` gave it a bundle
        described = {
            "pipeline": pipeline,
            "source": Path(source).name,
            "executed_by": opened.net.detail,
        } | facts
        pack.write_json(folder / RESULT, described)
    return Path(out)


def _run_talking_head(pipeline: TalkingHead, source: Path, folder: Path) -> dict[str, Any]:
    result = pipeline.process_file(source)
    assert result.mel is not None  # only features from elsewhere come without one
    np.save(folder / "mel_spectrogram.npy", result.mel)
    np.save(folder / "audio_features_raw.npy", result.features)
    np.save(folder / "audio_features_padded.npy", result.padded)
    return {"mode": result.mode, "fps": result.fps, "n_frames": result.n_frames}


def _run_vocoder(pipeline: Vocoder, source: Path, folder: Path) -> dict[str, Any]:
    mel, _ = pipeline.read_mel(source)
    with pack.naming(source):
        samples = pipeline.synthesize(mel)
    np.save(folder / "mel.npy", mel)
    write_wav(folder / f"{source.stem}_generated.wav", samples, pipeline.sample_rate)
    return {"sample_rate": pipeline.sample_rate, "samples": samples.size, "frames": mel.shape[1]}


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
        raise ConfigError("--preset", met=repr(preset), expected=f"one of {', '.join(PRESETS)}")
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
    return known and all(entry.suffix in (".npy", ".wav", ".json") for entry in folder.iterdir())
