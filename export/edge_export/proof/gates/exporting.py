"""The gate of `edge-export export --gate`: stores a spoken sentence, writes nothing that fails on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from edge_export.backends import BACKENDS, get_backend
from edge_export.catalog.gates import Gate
from edge_export.proof.gates import half
from edge_export.proof.gates.feeding import SEEN, Arrays, Wanted, speech_inputs
from edge_export.proof.gates.judging import gate_of, judge_bundle
from edge_export.proof.gates.sounding import AnyBundle, check_companion
from edge_runtime.errors import ConfigError, InputError, doubt
from edge_runtime.store.bundle import Artifact, Bundle, Manifest


def check_gate(
    net: str, audio: str | os.PathLike[str] | None = None, beside: AnyBundle | None = None
) -> Gate:
    """The gate of a net, before any work is done.

    Raises:
        ConfigError: it has none; a recording for a net that hears none; no bundle `beside` for a net whose
            output another net makes sound of, or one for a net without such a need.
        BundleError: one that is damaged, or of a net that makes no sound of this one's.
    """
    gate = gate_of(net)
    if gate is None:
        raise ConfigError("--gate", got=net, expected="a net whose output is sound, or drives a face")
    if audio is not None and gate.feed in SEEN:
        got, expected = f"a recording for {net}", "--gate alone: it is judged on the synthetic speaker"
        raise ConfigError("--audio", got=got, expected=expected)
    check_companion(net, gate, beside)
    return gate


def sentence_case(wanted: Wanted, cases: Mapping[str, Arrays]) -> dict[str, Arrays]:
    """The case that is judged, of a recording or the sentence that ships; none where the net has its own."""
    if wanted.audio is None and wanted.gate.case in cases:
        return {}
    return {wanted.gate.case: speech_inputs(wanted)}


def kept(
    folder: Path,
    manifest: Manifest,
    progress: Callable[[str], object],
    beside: AnyBundle | None = None,
) -> Manifest:
    """The manifest without the artifacts that fail on any backend here; their files are deleted.

    Raises:
        InputError: every artifact fails.
    """
    bundle = Bundle(folder, manifest)
    places = [(get_backend(name), "cpu") for name in BACKENDS]
    failed: dict[str, str] = {}
    for row in judge_bundle(bundle, places, beside=beside, progress=progress):
        if not row.passed:
            failed[row.artifact] = f"{'; '.join(row.failures)} on {row.backend}"
    for artifact in manifest.artifacts:
        if artifact.path not in failed and half.is_judged(bundle, artifact):
            progress(f"{artifact.path}, in float16 arithmetic")
            if reasons := half.executed(bundle, artifact):
                failed[artifact.path] = f"{'; '.join(reasons)} on {half.EXECUTOR}"
    passing = tuple(artifact for artifact in manifest.artifacts if artifact.path not in failed)
    refusals = [
        InputError(
            artifact.path,
            got=failed[artifact.path],
            expected="the gate's limits",
            cause="it is not written; without --gate it would be",
        )
        for artifact in manifest.artifacts
        if artifact.path in failed
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
