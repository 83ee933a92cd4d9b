"""Judges the sound, or the features, of every artifact of a bundle against the PyTorch net's on real speech.

The truth is a stored reference case (`Gate.case`), which `edge-export export --gate` writes where the net has
none. On another recording there is no PyTorch at hand: the truth is then the float32 ONNX file on
onnxruntime, which `verify` compares with PyTorch, and the rows say so.

Where a net's output is no sound, the rest of its pipeline makes sound of the truth and of what an artifact
gave (`sounding`). A Core ML package takes some lengths only: a sentence is cut to the longest that all
artifacts take. Of float16 artifacts the range is judged too (`half`).
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
from edge_export.proof.gates import half
from edge_export.proof.gates.feeding import SEEN, Wanted, admitted, check_heard, speech_inputs
from edge_export.proof.gates.measures import Figures, failures, feature_figures, sound_figures
from edge_export.proof.gates.sounding import AnyBundle, Sounding, sounding
from edge_export.proof.verify import align
from edge_runtime.backends.artifacts import open_artifact
from edge_runtime.backends.base import Backend
from edge_runtime.compare import json_number
from edge_runtime.errors import BundleError, ConfigError, EdgeError
from edge_runtime.store.bundle import Artifact, Bundle

Array = NDArray[Any]
Arrays = dict[str, Array]

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


def check_judged(
    bundle: Bundle, audio: str | os.PathLike[str] | None, beside: AnyBundle | None
) -> tuple[Gate, Sounding]:
    """The gate of a bundle, and what makes its sound; what `judge_bundle` refuses, before anything runs."""
    gate = gate_of(bundle.manifest.net)
    if gate is None:
        gated = ", ".join(name for name, net in NETS.items() if net.gate)
        raise ConfigError(
            "--gate", got=f"the net {bundle.manifest.net}", expected=f"one with a gate: {gated}"
        )
    check_heard(bundle.manifest.inputs, gate, audio)
    if audio is None and gate.case not in bundle.cases:
        raise ConfigError(
            "--gate",
            got=f"a bundle without the case {gate.case}",
            expected="a stored case of real speech",
            cause="export again with --gate"
            if gate.feed in SEEN
            else "give a recording with --audio, or export again with --gate",
        )
    return gate, sounding(bundle, gate, beside)


def judge_bundle(
    bundle: Bundle,
    places: Iterable[tuple[Backend, str]],
    *,
    audio: str | os.PathLike[str] | None = None,
    beside: AnyBundle | None = None,
    progress: Callable[[str], object] = lambda _line: None,
) -> tuple[GateRow, ...]:
    """The rows of every artifact on every backend that is quick enough for a sentence.

    Args:
        bundle: an opened bundle.
        places: backends and their devices.
        audio: a recording; the stored case where None.
        beside: the bundle that makes sound of the net's output, for a gate that needs one.
        progress: called with one line before each execution.

    Raises:
        ConfigError: the net has no gate, the bundle no case for it, or no bundle `beside` is given for it.
        BundleError: no float32 ONNX file to compare with, where a recording is given; a bundle `beside` that
            does not fit.
    """
    gate, stage = check_judged(bundle, audio, beside)
    available = [(backend, device) for backend, device in places if not backend.unavailable(device)]
    judged = _Judged(gate, stage, *_truth(bundle, gate, audio, available))
    rows = []
    for artifact in bundle.manifest.artifacts:
        for backend, device in available:
            if backend.target != artifact.target or backend.name in SLOW:
                continue
            progress(f"{artifact.path} on {backend.name}, the gate of {gate.kind}")
            rows.append(_row(bundle, artifact, backend, device, judged))
        if half.is_judged(bundle, artifact) and any(backend.name == half.RUNS for backend, _ in available):
            progress(f"{artifact.path}, the range of float16")
            rows.append(_range_row(bundle, artifact, judged))
    return tuple(rows)


@dataclass(frozen=True)
class _Judged:
    """What artifacts are judged on: inputs, the truth's outputs, and where those come from."""

    gate: Gate
    stage: Sounding
    inputs: Arrays
    outputs: Arrays
    source: str

    @property
    def told(self) -> str:
        return f"{self.source}, heard through {self.stage.told}" if self.stage.told else self.source

    def figures(self, outputs: Mapping[str, Array]) -> tuple[Figures, list[str]]:
        """Figures of an artifact's outputs, and those beyond their bounds."""
        truth = self.stage.sound(self.inputs, self.outputs)
        return judge_arrays(self.gate, truth, self.stage.sound(self.inputs, outputs), self.stage.rate)


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


def _truth(
    bundle: Bundle, gate: Gate, audio: str | os.PathLike[str] | None, places: Sequence[tuple[Backend, str]]
) -> tuple[Arrays, Arrays, str]:
    """Inputs, the outputs to compare with, and where those come from."""
    if audio is None:
        return *bundle.reference(gate.case), f"PyTorch, case {gate.case}"
    manifest = bundle.manifest
    lengths = admitted(manifest.artifacts)
    inputs = speech_inputs(Wanted(manifest.inputs, manifest.front_end, manifest.config, lengths, gate, audio))
    for backend, device in places:
        if backend.name == "onnxruntime":
            artifact = manifest.artifact("onnx", "fp32")
            outputs = open_artifact(bundle, artifact, backend, device=device).run(inputs)
            return inputs, outputs, f"{artifact.path} on onnxruntime"
    raise BundleError(
        str(bundle.path), got="no onnxruntime here", expected="it, to run the float32 ONNX file"
    )


def _row(bundle: Bundle, artifact: Artifact, backend: Backend, device: str, judged: _Judged) -> GateRow:
    what = (
        artifact.path,
        backend.name if device == "cpu" else f"{backend.name} {device}",
        artifact.precision,
    )
    try:
        session = open_artifact(bundle, artifact, backend, device=device)
        figures, failed = judged.figures(session.run(judged.inputs))
    except EdgeError as failure:
        return GateRow(*what, False, {}, (str(failure),), judged.told)
    if half.is_judged(bundle, artifact, target="coreml"):
        failed += half.overflow_of(session)
    return GateRow(*what, not failed, figures, tuple(failed), judged.told)


def _range_row(bundle: Bundle, artifact: Artifact, judged: _Judged) -> GateRow:
    what = artifact.path, half.RANGE, artifact.precision
    try:
        figures, failed = half.range_of(bundle.path / artifact.path, judged.inputs)
    except EdgeError as failure:
        return GateRow(*what, False, {}, (str(failure),), judged.told)
    return GateRow(*what, not failed, figures, tuple(failed), judged.told)


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
