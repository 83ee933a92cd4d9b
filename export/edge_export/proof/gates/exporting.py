"""The gate of `edge-export export --gate`: stores a spoken sentence, writes nothing that fails on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from edge_export.assets import SENTENCE
from edge_export.backends import BACKENDS, get_backend
from edge_export.catalog.gates import Gate
from edge_export.proof.gates.judging import Arrays, gate_of, judge_bundle, speech_inputs
from edge_runtime.dsp.mel import MelConfig
from edge_runtime.errors import ConfigError, InputError, doubt
from edge_runtime.store.bundle import Artifact, Bundle, Lengths, Manifest, Tensor


def check_gate(net: str) -> Gate:
    """The gate of a net; ConfigError where it has none."""
    gate = gate_of(net)
    if gate is None:
        raise ConfigError("--gate", got=net, expected="a net whose output is sound, or drives a face")
    return gate


def sentence_case(
    gate: Gate,
    tensors: tuple[Tensor, ...],
    front_end: MelConfig | None,
    lengths: Mapping[str, Lengths],
    cases: Mapping[str, Arrays],
    audio: str | os.PathLike[str] | None,
) -> dict[str, Arrays]:
    """The case that is judged, of a recording or the sentence that ships; none where the net has its own."""
    if audio is None and gate.case in cases:
        return {}
    return {gate.case: speech_inputs(tensors, front_end, lengths, gate, audio or SENTENCE)}


def kept(folder: Path, manifest: Manifest, progress: Callable[[str], object]) -> Manifest:
    """The manifest without the artifacts that fail on any backend here; their files are deleted.

    Raises:
        InputError: every artifact fails.
    """
    places = [(get_backend(name), "cpu") for name in BACKENDS]
    rows = judge_bundle(Bundle(folder, manifest), places, progress=progress)
    failed = {row.artifact: row for row in rows if not row.passed}
    passing = tuple(artifact for artifact in manifest.artifacts if artifact.path not in failed)
    refusals = [
        InputError(
            f"{name}",
            got=f"{'; '.join(row.failures)} on {row.backend}",
            expected="the gate's limits",
            cause="it is not written; without --gate it would be",
        )
        for name, row in failed.items()
    ]
    if not passing and refusals:
        raise refusals[0]
    for artifact, refusal in zip((a for a in manifest.artifacts if a.path in failed), refusals, strict=True):
        doubt(refusal)
        _delete(folder, artifact)
    return replace(manifest, artifacts=passing)


def _delete(folder: Path, artifact: Artifact) -> None:
    for name in artifact.paths:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
