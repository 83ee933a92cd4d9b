"""Judges the sound, or the features, of every artifact of a bundle against the PyTorch net's on real speech.

The truth is a stored reference case (`Gate.case`), which `edge-export export --gate` writes where the net has
none. On another recording there is no PyTorch at hand: the truth is then the float32 ONNX file on
onnxruntime, which `verify` compares with PyTorch, and the rows say so.

A Core ML package takes some lengths only. A sentence is cut to the longest that all artifacts take.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_export.catalog import NETS
from edge_export.catalog.gates import Gate
from edge_export.proof.gates.measures import (
    SHORTEST,
    Figures,
    failures,
    feature_figures,
    sound_figures,
)
from edge_export.proof.verify import align
from edge_runtime.backends.artifacts import open_artifact
from edge_runtime.backends.base import Backend
from edge_runtime.compare import json_number
from edge_runtime.dsp.mel import MelConfig, MelFrontEnd
from edge_runtime.dsp.windows import encoder_windows
from edge_runtime.errors import BundleError, ConfigError, EdgeError, InputError
from edge_runtime.media.audio import read_audio
from edge_runtime.store.bundle import Artifact, Bundle, Lengths, Tensor

Array = NDArray[Any]
Arrays = dict[str, Array]

SECONDS = 2.0  # of a sentence that are judged
FROM = 0.3  # s; where the recording begins to be used, if it is long enough
WINDOWS = 16  # of features
SLOW = frozenset({"onnx-reference", "coreai"})  # operator by operator: a sentence takes minutes


@dataclass(frozen=True)
class GateRow:
    """One artifact on one backend: its figures on real speech, and which are beyond their bounds."""

    artifact: str
    backend: str
    precision: str
    passed: bool
    figures: Mapping[str, float | str]
    failures: tuple[str, ...]
    truth: str  # what it was compared with

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        figures = {name: json_number(value) for name, value in self.figures.items()}
        return asdict(self) | {"figures": figures}


def gate_of(net: str) -> Gate | None:
    """The catalogue's gate of a net; None where its output is neither heard nor rendered."""
    return NETS[net].gate if net in NETS else None


def judge_bundle(
    bundle: Bundle,
    places: Iterable[tuple[Backend, str]],
    *,
    audio: str | os.PathLike[str] | None = None,
    progress: Callable[[str], object] = lambda _line: None,
) -> tuple[GateRow, ...]:
    """The rows of every artifact on every backend that is quick enough for a sentence.

    Args:
        bundle: an opened bundle.
        places: backends and their devices.
        audio: a recording; the stored case where None.
        progress: called with one line before each execution.

    Raises:
        ConfigError: the net has no gate, or the bundle no case for it.
        BundleError: no float32 ONNX file to compare with, where a recording is given.
    """
    gate = gate_of(bundle.manifest.net)
    if gate is None:
        gated = ", ".join(name for name, net in NETS.items() if net.gate)
        raise ConfigError(
            "--gate", got=f"the net {bundle.manifest.net}", expected=f"one with a gate: {gated}"
        )
    available = [(backend, device) for backend, device in places if not backend.unavailable(device)]
    inputs, truth, source = _truth(bundle, gate, audio, available)
    rows = []
    for artifact in bundle.manifest.artifacts:
        for backend, device in available:
            if backend.target != artifact.target or backend.name in SLOW:
                continue
            progress(f"{artifact.path} on {backend.name}, the gate of {gate.kind}")
            rows.append(_row(bundle, artifact, backend, device, gate, (inputs, truth, source)))
    return tuple(rows)


def judge_arrays(gate: Gate, truth: Array, made: Array, rate: int) -> tuple[Figures, list[str]]:
    """Figures of an output against the truth's, and those beyond their bounds in words."""
    if truth.shape != made.shape:
        return {}, [f"shape {made.shape} in place of {truth.shape}"]
    if gate.kind == "features":
        figures = feature_figures(truth.reshape(-1, truth.shape[-1]), made.reshape(-1, made.shape[-1]))
    else:
        figures = sound_figures(
            np.asarray(truth, np.float64).reshape(-1),
            np.asarray(made, np.float64).reshape(-1),
            rate,
            names=gate.limits,
        )
    return figures, failures(figures, gate.limits)


def speech_inputs(
    tensors: Sequence[Tensor],
    front_end: MelConfig | None,
    lengths: Mapping[str, Lengths],
    gate: Gate,
    audio: str | os.PathLike[str],
) -> Arrays:
    """A recording as the only input of a net: its mel, or its windows for the features of a face.

    Args:
        tensors: the net's inputs.
        front_end: makes its mel.
        lengths: those that all artifacts take, by axis.
        gate: says whether the net takes a mel or windows of one.
        audio: the recording.

    Raises:
        ConfigError: a net that takes something else than a mel.
        InputError: a recording that is too short.
    """
    if len(tensors) != 1 or front_end is None:
        names = ", ".join(tensor.name for tensor in tensors)
        raise ConfigError(
            "--audio", got=f"a net that takes {names}", expected="one that takes the mel of sound"
        )
    (tensor,) = tensors
    sound = read_audio(audio, front_end.sample_rate)
    if gate.kind == "features":
        windows = encoder_windows(np.asarray(MelFrontEnd(front_end)(sound.samples), np.float32))
        count = min(WINDOWS, len(windows), lengths.get("batch", Lengths()).high or WINDOWS)
        chosen = windows[np.linspace(0, len(windows) - 1, count).astype(int)]  # (n, 16, 80)
        return {tensor.name: np.ascontiguousarray(chosen.transpose(0, 2, 1)[:, None], np.float32)}
    wanted = int(SECONDS * front_end.sample_rate) // front_end.hop_length
    skipped = int(FROM * front_end.sample_rate)
    samples = sound.samples[skipped:] if len(sound.samples) > 2 * skipped else sound.samples
    mel = np.asarray(MelFrontEnd(front_end)(samples), np.float32)
    frames = longest(lengths.get("frames", Lengths()), min(wanted, mel.shape[1]))
    if frames is None or frames * front_end.hop_length < SHORTEST:
        raise InputError(
            str(audio),
            got=f"{sound.seconds:.2f} s",
            expected=f"{SHORTEST / front_end.sample_rate:.2f} s of speech, in a length that the net takes",
        )
    return {tensor.name: np.ascontiguousarray(mel[None, :, :frames])}


def longest(lengths: Lengths, most: int) -> int | None:
    """The longest admitted length of at most `most`.

    >>> longest(Lengths(32, 128, (32, 64, 128)), 100)
    64
    """
    if lengths.only:
        return max((length for length in lengths.only if length <= most), default=None)
    allowed = most if lengths.high is None else min(most, lengths.high)
    return allowed if allowed >= lengths.low else None


def admitted(artifacts: Sequence[Artifact]) -> dict[str, Lengths]:
    """The narrowest lengths of each axis among artifacts: those of Core ML packages, where there are any.

    Those of Core AI, whose executor is among the slow ones, do not count.
    """
    found: dict[str, Lengths] = {}
    for artifact in (each for each in artifacts if each.target != "coreai"):
        for axis, lengths in artifact.axes.items():
            if axis not in found or lengths.only or (lengths.high is not None and found[axis].high is None):
                found[axis] = lengths
    return found


def sample_rate_of(front_end: MelConfig | None, config: Mapping[str, Any]) -> int:
    """Hz of the sound that a net makes."""
    rate = front_end.sample_rate if front_end else config.get("sample_rate", 16000)
    return int(rate)


def _truth(
    bundle: Bundle, gate: Gate, audio: str | os.PathLike[str] | None, places: Sequence[tuple[Backend, str]]
) -> tuple[Arrays, Array, str]:
    """Inputs, the output to compare with, and where that comes from."""
    if audio is None:
        if gate.case not in bundle.cases:
            raise ConfigError(
                "--gate",
                got=f"a bundle without the case {gate.case}",
                expected="a stored case of real speech",
                cause="give a recording with --audio, or export again with --gate",
            )
        inputs, outputs = bundle.reference(gate.case)
        return inputs, outputs[gate.output], f"PyTorch, case {gate.case}"
    manifest = bundle.manifest
    inputs = speech_inputs(manifest.inputs, manifest.front_end, admitted(manifest.artifacts), gate, audio)
    for backend, device in places:
        if backend.name == "onnxruntime":
            artifact = manifest.artifact("onnx", "fp32")
            outputs = open_artifact(bundle, artifact, backend, device=device).run(inputs)
            return inputs, outputs[gate.output], f"{artifact.path} on onnxruntime"
    raise BundleError(
        str(bundle.path), got="no onnxruntime here", expected="it, to run the float32 ONNX file"
    )


def _row(
    bundle: Bundle,
    artifact: Artifact,
    backend: Backend,
    device: str,
    gate: Gate,
    given: tuple[Arrays, Array, str],
) -> GateRow:
    inputs, truth, source = given
    what = (
        artifact.path,
        backend.name if device == "cpu" else f"{backend.name} {device}",
        artifact.precision,
    )
    try:
        made = open_artifact(bundle, artifact, backend, device=device).run(inputs)[gate.output]
        rate = sample_rate_of(bundle.manifest.front_end, bundle.manifest.config)
        figures, failed = judge_arrays(gate, truth, made, rate)
    except EdgeError as failure:
        return GateRow(*what, False, {}, (str(failure),), source)
    return GateRow(*what, not failed, figures, tuple(failed), source)


def table(rows: Sequence[GateRow]) -> str:
    """The rows as text, a column a figure."""
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    lines = [("artifact", "backend", *names, "")]
    for row in rows:
        verdict = "PASS" if row.passed else f"FAIL: {'; '.join(row.failures)}"
        lines.append((row.artifact, row.backend, *(_cell(row.figures.get(name)) for name in names), verdict))
    return align(lines) if rows else ""


def notes(rows: Sequence[GateRow]) -> Iterator[str]:
    """What was compared with, and why figures are missing, a line each."""
    yield from dict.fromkeys(f"truth: {row.truth}" for row in rows)
    missing = ((name, value) for row in rows for name, value in row.figures.items() if isinstance(value, str))
    yield from dict.fromkeys(f"{name}: {value}" for name, value in missing)


def _cell(value: float | str | None) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-"
