"""`edge-export bisect BUNDLE`: which operation of which artifact leaves the reference first.

The reference is the PyTorch net, where its weights are at hand (`checkpoint=`, or a seed that the manifest
names), prepared as the artifact was: folded, and in the form that was traced. Elsewhere it is the bundle's
own ONNX artifact in float32 on onnxruntime. What the reference gives is compared with the outputs stored in
the bundle too: where folding or the form already differ, that is the answer.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edge_export.proof.bisect.culprits import Finding, Search, outputs_db, search
from edge_export.proof.bisect.mil_graph import MilGraph
from edge_export.proof.bisect.origins import exported_form, read_origins
from edge_export.proof.bisect.values import Array, Graph, Recording, Value, snr_db
from edge_runtime.compare import json_number
from edge_runtime.errors import BundleError, ConfigError
from edge_runtime.store.bundle import Artifact, Bundle, open_bundle

if TYPE_CHECKING:
    from torch import nn

Against = Literal["torch", "onnx-fp32"]
AGAINST: tuple[Against, ...] = ("torch", "onnx-fp32")
LIMITS_DB: Mapping[str, float] = {"fp32": 80.0}  # at most; other precisions: what the manifest demands
WORST = 10  # introducers that are told


@dataclass(frozen=True)
class ArtifactSearch:
    """One artifact on one case."""

    artifact: str
    precision: str
    executed: str  # artifact and backend
    against: str
    case: str
    tolerance_db: float  # of the manifest, for the net's output
    found: Search
    reference_db: float  # the reference's output against the stored one
    inputs: Mapping[str, Array]

    @property
    def sound(self) -> bool:
        """Whether the reference gives what is stored: else folding, or the exported form, is the culprit."""
        return self.reference_db >= self.tolerance_db

    @property
    def passed(self) -> bool:
        """Whether output and reference keep the manifest's ratio, and no operation is suspect."""
        return self.sound and self.found.output_db >= self.tolerance_db and self.found.culprit is None

    def to_json(self) -> dict[str, Any]:
        """Plain values: the culprit and the worst introducers."""
        worst = [_finding_json(finding) for finding in self.found.worst[:WORST]]
        return {
            "artifact": self.artifact,
            "executed": self.executed,
            "against": self.against,
            "case": self.case,
            "passed": self.passed,
            "output_snr_db": json_number(self.found.output_db),
            "reference_snr_db": json_number(self.reference_db),
            "limit_snr_db": self.found.limit_db,
            "paired": len(self.found.findings),
            "operations": self.found.steps,
            "culprit": _finding_json(self.found.culprit) if self.found.culprit else None,
            "worst": worst,
        }


@dataclass(frozen=True)
class Bisection:
    """What `bisect` found in a bundle."""

    bundle: str
    searches: tuple[ArtifactSearch, ...]

    @property
    def passed(self) -> bool:
        """Whether no artifact has a culprit and all outputs keep their tolerance."""
        return all(each.passed for each in self.searches)

    @property
    def worst(self) -> ArtifactSearch:
        """The artifact with the first culprit; without one, that of the worst output."""
        return next((each for each in self.searches if each.found.culprit), None) or min(
            self.searches, key=lambda each: (each.sound, each.found.output_db)
        )

    def summary(self) -> str:
        """Which artifacts have a culprit, in a line."""
        culprits = [
            f"{each.artifact}: {each.found.culprit.main.place}"
            for each in self.searches
            if each.found.culprit
        ]
        culprits += [
            f"{each.artifact}: what is exported differs from the net"
            for each in self.searches
            if not each.sound
        ]
        return "; ".join(culprits) or f"no culprit in {', '.join(each.artifact for each in self.searches)}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "bundle": self.bundle,
            "passed": self.passed,
            "artifacts": [each.to_json() for each in self.searches],
        }


def bisect(
    bundle: str | os.PathLike[str] | Bundle,
    *,
    against: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    case: str | None = None,
    artifacts: Sequence[str] | None = None,
    limit_db: float | None = None,
    progress: Callable[[str], None] = lambda _line: None,
) -> Bisection:
    """Find the operation with which each artifact of a bundle leaves the reference.

    Args:
        bundle: folder, or an opened bundle.
        against: "torch" or "onnx-fp32"; torch where the weights are at hand if None.
        checkpoint: the weights that the bundle was made from, for "torch"; bundles of random weights or of
            nets without weights need none.
        case: a reference case; if None the smallest whose output is beyond the manifest's tolerance, or the
            smallest.
        artifacts: names in the bundle; all but the reference itself if None.
        limit_db: signal-to-noise ratio below which an operation is suspect; for float32 80 dB, else what the
            manifest demands of the output.
        progress: called with one line before each artifact.

    Raises:
        BundleError: damaged, or without the artifact, the case or an fp32 ONNX artifact to compare with.
        CheckpointError: weights that are not those of the bundle.
        ConfigError: names that do not exist, or a limit that is no number.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    truth = _chosen_truth(opened, against, checkpoint)
    if limit_db is not None and not math.isfinite(limit_db):
        raise ConfigError("--limit", got=str(limit_db), expected="a number in dB")
    cases = _cases(opened, case)
    chosen = _artifacts(opened, artifacts, truth)
    module = _module(opened, checkpoint) if truth == "torch" else None
    searches = []
    for artifact in chosen:
        progress(f"{artifact.path} against {truth}")
        searches.append(_searched(opened, artifact, cases, module, limit_db))
    return Bisection(str(opened.path), tuple(searches))


# ---- what was asked for -----------------------------------------------------------------------------------


def _chosen_truth(bundle: Bundle, against: str | None, checkpoint: str | os.PathLike[str] | None) -> Against:
    if against is not None and against not in AGAINST:
        raise ConfigError("--against", got=against, expected=" or ".join(AGAINST))
    source = bundle.manifest.source
    has_weights = (
        checkpoint is not None or source.format == "no weights" or source.format.startswith("random seed ")
    )
    if against == "torch" and not has_weights:
        raise ConfigError(
            "--against torch",
            got="no weights",
            expected=f"--checkpoint {source.file}, which the bundle was made from",
        )
    if against is None:
        return "torch" if has_weights else "onnx-fp32"
    return "torch" if against == "torch" else "onnx-fp32"


def _cases(bundle: Bundle, case: str | None) -> list[str]:
    """The case that was asked for, or all, the smallest first."""
    if not bundle.cases:
        raise BundleError(str(bundle.path), got="no reference case", expected="inputs to run the net on")
    if case is None:
        return sorted(bundle.cases, key=lambda name: sum(a.size for a in bundle.reference(name)[0].values()))
    if case not in bundle.cases:
        raise ConfigError("--case", got=case, expected=f"one of {', '.join(bundle.cases)}")
    return [case]


def _artifacts(bundle: Bundle, names: Sequence[str] | None, truth: Against) -> list[Artifact]:
    # the inside of Core AI assets is not read
    known = {artifact.path: artifact for artifact in bundle.manifest.artifacts if artifact.target != "coreai"}
    fitting = [a for a in known.values() if (a.target, a.precision) == ("onnx", "fp32")]
    reference = [bundle.manifest.artifact("onnx", "fp32", device="gpu").path] if fitting else []
    if truth == "onnx-fp32" and not reference:
        raise BundleError(
            f"{bundle.path}: artifacts",
            got=", ".join(known),
            expected="an ONNX artifact in fp32 to compare with",
            cause="give --checkpoint to compare with PyTorch",
        )
    if names:
        if wrong := [name for name in names if name not in known]:
            raise ConfigError("--artifact", got=wrong[0], expected=f"one of {', '.join(known)}")
        return [known[name] for name in names]
    found = [a for path, a in known.items() if truth == "torch" or path not in reference]
    if not found:
        raise ConfigError(
            "--against onnx-fp32",
            got=f"a bundle of only {', '.join(known)}",
            expected="another artifact to compare with it",
            cause="give --checkpoint to compare with PyTorch",
        )
    return found


def _module(bundle: Bundle, checkpoint: str | os.PathLike[str] | None) -> nn.Module:
    """The PyTorch net of a bundle; its weights must be those that the manifest names."""
    from edge_export.convert import module_of

    return module_of(bundle.manifest, checkpoint)


# ---- one artifact -----------------------------------------------------------------------------------------


def _searched(
    bundle: Bundle, artifact: Artifact, cases: list[str], module: nn.Module | None, limit_db: float | None
) -> ArtifactSearch:
    allowed = bundle.manifest.tolerance[artifact.precision].min_snr_db
    limit = min(allowed, LIMITS_DB.get(artifact.precision, math.inf)) if limit_db is None else limit_db
    graph = open_graph(bundle, artifact)
    case = _failing(bundle, graph, cases, allowed)
    inputs, expected = bundle.reference(case)
    if module is not None:
        truth = _torch_truth(bundle, artifact, module, inputs)
    else:
        truth = _onnx_truth(bundle, inputs)
    reference_db = min(snr_db(expected[name], array) for name, array in truth.outputs.items())
    found = search(graph, inputs, truth, limit)
    return ArtifactSearch(
        artifact.path,
        artifact.precision,
        graph.what,
        truth.what,
        case,
        allowed,
        found,
        reference_db,
        inputs,
    )


def _failing(bundle: Bundle, graph: Graph, cases: list[str], allowed_db: float) -> str:
    """The first case whose output is beyond the tolerance; without one, or with only one, the first."""
    for case in cases if len(cases) > 1 else []:
        inputs, expected = bundle.reference(case)
        if outputs_db(graph.run(inputs), expected) < allowed_db:
            return case
    return cases[0]


def open_graph(bundle: Bundle, artifact: Artifact) -> Graph:
    """An artifact with all its tensors visible, on what rounds as the file says."""
    origins = read_origins(bundle, artifact.path)
    place = bundle.path / artifact.path
    if artifact.target == "coreml":
        return MilGraph(place, origins.modules, origins.lines)
    from edge_export.proof.bisect.onnx_graph import OnnxGraph

    # onnxruntime computes most of float16 in float32 on CPUs
    backend = "onnxruntime" if artifact.precision == "fp32" else "onnx-reference"
    return OnnxGraph(place, backend, origins.modules, origins.lines)


def _torch_truth(
    bundle: Bundle, artifact: Artifact, module: nn.Module, inputs: Mapping[str, Array]
) -> Recording:
    from edge_export.catalog import get_net
    from edge_export.proof.bisect.torch_truth import record

    form = exported_form(get_net(bundle.manifest.net), module, artifact)
    return record(form, inputs, tuple(tensor.name for tensor in bundle.manifest.outputs))


def _onnx_truth(bundle: Bundle, inputs: Mapping[str, Array]) -> Recording:
    """The recording of the fp32 ONNX artifact, of the net's own layers where there is such a form."""
    graph = open_graph(bundle, bundle.manifest.artifact("onnx", "fp32", device="gpu"))
    values = graph.run(inputs)
    steps = [step for step in graph.steps if step.name in values]
    names = [tensor.name for tensor in bundle.manifest.outputs]
    return Recording(
        f"{graph.what}, float32",
        [Value(s.path, s.kind, values[s.name], s.line, f"{s.operation} {s.name}") for s in steps],
        outputs={name: values[name] for name in names},
    )


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "operation": finding.main.operation,
        "result": finding.step.name,
        "module": finding.main.path,
        "line": finding.line,
        "reference": finding.reference,
        "introduced_snr_db": json_number(finding.introduced_db),
        "propagated_snr_db": json_number(finding.propagated_db),
        "total_snr_db": json_number(finding.total_db),
        "introduced_max_abs": json_number(finding.introduced_max),
        "dominated": finding.dominated,
        "output_snr_db_when_replaced": None
        if finding.repaired_db is None
        else json_number(finding.repaired_db),
        "segment": [f"{step.operation} {step.name}" for step in finding.segment],
    }
