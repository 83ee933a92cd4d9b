"""A bundle of only the culprit: its operations, its weights, the inputs that the reference has there.

`edge-export verify DIR` fails on it, in milliseconds and without the net; it is what a bug report needs. The
inputs are named input_0, input_1 …, the output is result; types are those of the artifact, but in Core ML
packages, whose interface is float32.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_export.proof.bisect.culprits import Finding
from edge_export.proof.bisect.nets import ArtifactSearch
from edge_export.proof.bisect.values import RESULT, Array, Cut, cast_like
from edge_export.run import check_apart
from edge_runtime.errors import ConfigError
from edge_runtime.store.bundle import (
    Artifact,
    Bundle,
    Geometry,
    Manifest,
    Source,
    Tensor,
    Tolerance,
    describe_artifact,
    is_bundle,
    open_bundle,
    write_reference,
)
from edge_runtime.store.targets import replace_directory

CASE = "culprit"
CLOSER_DB = 10.0  # than the culprit's own error, where the net's tolerance would not see it


def write_repro(
    bundle: str | os.PathLike[str] | Bundle,
    found: ArtifactSearch,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> Bundle:
    """Write the bundle of an artifact's first culprit.

    Args:
        bundle: that the artifact belongs to.
        found: what `bisect` found in it.
        out: the folder to write.
        overwrite: replace an earlier bundle.

    Raises:
        ConfigError: there is no culprit.
        TargetError: `out` exists, or lies in the bundle.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    culprit = found.found.culprit
    if culprit is None:
        raise ConfigError("--repro", got="no culprit", expected="an artifact with one")
    check_apart(out, opened)
    (artifact,) = (each for each in opened.manifest.artifacts if each.path == found.artifact)
    arrays = _boundary(found, culprit)
    cut = Cut({name: f"input_{number}" for number, name in enumerate(arrays)}, culprit.step.name)
    with replace_directory(out, overwrite, ours=is_bundle) as folder:
        _fill(folder, opened, artifact, found, culprit, cut, arrays)
    return open_bundle(out)


def _boundary(found: ArtifactSearch, culprit: Finding) -> dict[str, Array]:
    """Tensors that the culprit's operations read → the reference's values, in the artifact's types."""
    inside = {step.name for step in culprit.segment}
    names = dict.fromkeys(name for step in culprit.segment for name in step.reads if name not in inside)
    pairs, recorded = found.found.pairs, found.found.recorded
    return {
        name: cast_like(pairs[name].array, recorded[name])
        if name in pairs
        else np.asarray(found.inputs[name])
        for name in names
    }


def _fill(
    folder: Path,
    bundle: Bundle,
    artifact: Artifact,
    found: ArtifactSearch,
    culprit: Finding,
    cut: Cut,
    arrays: Mapping[str, Array],
) -> None:
    expected = cast_like(found.found.pairs[cut.result].array, found.found.recorded[cut.result])
    path = folder / artifact.path
    if artifact.target == "onnx":
        from edge_export.proof.bisect.onnx_graph import write_cut
    else:
        from edge_export.proof.bisect.mil_cut import write_cut
    write_cut(bundle.path / artifact.path, path, cut, arrays, expected)
    case = {cut.inputs[name]: array for name, array in arrays.items()} | {RESULT: expected}
    manifest = bundle.manifest
    place = f"{culprit.main.place}, {culprit.line}" if culprit.line else culprit.main.place
    Manifest(
        net=manifest.net,
        config=manifest.config,
        front_end=None,
        inputs=tuple(
            _tensor(cut.inputs[name], array, f"{name} of {artifact.path}") for name, array in arrays.items()
        ),
        outputs=(_tensor(RESULT, expected, f"{cut.result} of {artifact.path}: {place}"),),
        artifacts=(
            describe_artifact(
                folder,
                artifact.path,
                target=artifact.target,
                precision=artifact.precision,
                version=artifact.version,
                axes={},
                form=artifact.form,
                note=f"cut out of {artifact.path}, SHA-256 {artifact.sha256[:12]}…",
            ),
        ),
        source=Source(manifest.source.file, manifest.source.sha256, manifest.source.format),
        tolerance={artifact.precision: _tolerance(manifest.tolerance[artifact.precision], culprit)},
        geometry=Geometry(None, None, None),
        versions=manifest.versions,
        reference={CASE: write_reference(folder, CASE, case)},
    ).save(folder)


def _tolerance(allowed: Tolerance, culprit: Finding) -> Tolerance:
    """The net's, or closer: an error that only later operations magnify would pass."""
    if not math.isfinite(culprit.introduced_db):
        return allowed
    return replace(allowed, min_snr_db=max(allowed.min_snr_db, round(culprit.introduced_db + CLOSER_DB, 1)))


def _tensor(name: str, array: Array, meaning: str) -> Tensor:
    return Tensor(name, str(array.dtype), tuple(array.shape), meaning, "as inside of the net")
