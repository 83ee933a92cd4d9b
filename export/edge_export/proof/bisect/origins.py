"""Where the operations of a bundle's artifacts come from: module and line of Python, written at export.

`model.origins.json`, sealed by the manifest (`Manifest.files`):

    {"format": "edge-origins/1",
     "modules": ["", "conv_pre", …],
     "lines": ["edge_training/vocoder/hifigan.py:151", …],
     "artifacts": {"model.mlpackage": {"conv_pre": [1, 0], …}, …}}

For every floating-point result of an artifact: which module, which line; −1 where no line is known. The bytes
of artifacts do not change by it, and the same net gives the same file. Older bundles have none: the modules
of ONNX nodes are in their names, and lines come from the PyTorch net where it is at hand.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_export.proof.bisect.kinds import COPIES
from edge_export.proof.bisect.values import Recording, Step
from edge_runtime.errors import BundleError
from edge_runtime.store.bundle import Artifact, Bundle, Manifest
from edge_runtime.store.reading import read_object

if TYPE_CHECKING:
    from torch import nn

    from edge_export.catalog import Net
    from edge_export.proof.bisect.values import Array

FILE = "model.origins.json"
FORMAT = "edge-origins/1"


@dataclass(frozen=True)
class Origins:
    """Of one artifact: result of an operation → module, and → line; empty where nothing is known."""

    modules: Mapping[str, str] = field(default_factory=dict)
    lines: Mapping[str, str] = field(default_factory=dict)


def for_processors(artifact: Artifact) -> bool:
    """Whether an artifact has the form for processors; bundles without forms had it in float32 alone."""
    if artifact.form == "any":
        return (artifact.target, artifact.precision) == ("onnx", "fp32")
    return artifact.form == "cpu"


def exported_form(net: Net[Any], module: nn.Module, artifact: Artifact) -> nn.Module:
    """The module that an artifact was traced from: folded, and arranged for processors where it is so."""
    from edge_export.tracing.norm_folding import folded

    plain = folded(module)
    return net.onnx_form(plain) if for_processors(artifact) else plain


def write_for_export(
    folder: Path,
    net: Net[Any],
    module: nn.Module,
    manifest: Manifest,
    inputs: Mapping[str, Array],
    modules: Mapping[str, Mapping[str, str]],
) -> str:
    """Write the file for the artifacts that an export wrote; returns its name.

    Args:
        folder: of the bundle that is being written.
        net, module: the catalogue's entry and the net with its weights.
        manifest: with inputs, outputs and artifacts.
        inputs: of a short case, by name.
        modules: path of a Core ML package → result of an operation → module.
    """
    from edge_export.proof.bisect.mil_graph import MilGraph
    from edge_export.proof.bisect.onnx_graph import OnnxGraph
    from edge_export.proof.bisect.torch_truth import record

    outputs = tuple(tensor.name for tensor in manifest.outputs)
    recordings: dict[bool, Recording] = {}
    found = {}
    for artifact in manifest.artifacts:
        if artifact.target == "coreai":
            continue  # its operations have no names
        arranged = for_processors(artifact)
        if arranged not in recordings:
            form = exported_form(net, module, artifact)
            recordings[arranged] = record(form, inputs, outputs, arrays=False)
        path = folder / artifact.path
        if artifact.target == "onnx":
            traced = OnnxGraph(path, "onnxruntime", weights=False).steps
            steps = with_paths(traced, recordings[arranged])
        else:
            steps = MilGraph(path, modules.get(artifact.path)).steps
        found[artifact.path] = trace(steps, recordings[arranged])
    return write_origins(folder, found)


def with_paths(steps: Sequence[Step], recording: Recording) -> tuple[Step, ...]:
    """Steps of an ONNX file whose modules have the paths of the net, where the exporter shortened them."""
    return tuple(replace(step, path=recording.scopes.get(step.path, step.path)) for step in steps)


def trace(steps: Sequence[Step], recording: Recording) -> dict[str, tuple[str, str]]:
    """Result → (module, line): operations of one kind in one module pair in their order.

    An operation that has no partner takes the line of the one before it in its module, or the first.
    """
    by_kind: dict[tuple[str, str], list[str]] = defaultdict(list)
    by_path: dict[str, list[str]] = defaultdict(list)
    for value in recording.values:
        if value.kind != COPIES:
            by_kind[value.path, value.kind].append(value.line)
        by_path[value.path].append(value.line)
    groups: dict[tuple[str, str], list[Step]] = defaultdict(list)
    for step in steps:
        groups[step.path, step.kind].append(step)
    lines: dict[str, str] = {}
    for key, group in groups.items():
        if len(group) == len(by_kind.get(key, ())):
            lines |= {step.name: line for step, line in zip(group, by_kind[key], strict=True)}
    latest: dict[str, str] = {}
    for step in steps:
        known = lines.get(step.name) or latest.get(step.path) or next(iter(by_path.get(step.path, ())), "")
        latest[step.path] = lines[step.name] = known
    return {step.name: (step.path, lines[step.name]) for step in steps}


def write_origins(folder: Path, artifacts: Mapping[str, Mapping[str, tuple[str, str]]]) -> str:
    """Write the file into a bundle's folder; returns its name."""
    modules = sorted({module for found in artifacts.values() for module, _ in found.values()})
    lines = sorted({line for found in artifacts.values() for _, line in found.values() if line})
    places = {module: number for number, module in enumerate(modules)}
    numbers = {line: number for number, line in enumerate(lines)} | {"": -1}
    content = {
        "format": FORMAT,
        "modules": modules,
        "lines": lines,
        "artifacts": {
            path: {name: [places[module], numbers[line]] for name, (module, line) in found.items()}
            for path, found in artifacts.items()
        },
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    (folder / FILE).write_text(f"{text}\n", encoding="utf-8")
    return FILE


def read_origins(bundle: Bundle, artifact: str) -> Origins:
    """Of an artifact; nothing for bundles that have no such file.

    Raises:
        BundleError: the file is there and is another one.
    """
    if FILE not in {file.path for file in bundle.manifest.files}:
        return Origins()
    place = bundle.path / FILE
    content: dict[str, Any] = read_object(place, "the origins of operations", BundleError)
    if content.get("format") != FORMAT:
        raise BundleError(str(place), got=f"format {content.get('format')}", expected=FORMAT)
    try:
        modules, lines = content["modules"], [*content["lines"], ""]
        found = content["artifacts"].get(artifact, {})
        return Origins(
            {name: str(modules[place]) for name, (place, _) in found.items()},
            {name: str(lines[line]) for name, (_, line) in found.items()},
        )
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise BundleError(
            str(place), got=f"«{error}»", expected="modules, lines and artifacts", cause="it was edited"
        ) from error
