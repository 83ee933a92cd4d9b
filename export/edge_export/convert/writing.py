"""What a bundle consists of, written in the order in which its parts need each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_export.catalog import Arrays
from edge_export.catalog.fixed_sizes import fixed_sizes
from edge_export.convert.artifacts import ArtifactWriter
from edge_export.convert.building import Built
from edge_export.convert.libraries import versions
from edge_export.convert.request import Request
from edge_export.proof.bisect.origins import write_for_export
from edge_export.proof.gates.exporting import kept, sentence_case
from edge_export.proof.gates.feeding import Wanted
from edge_runtime.errors import CheckpointError
from edge_runtime.store.bundle import Manifest, carry_files, describe_file, write_reference


def write_bundle(request: Request, folder: Path, built: Built) -> None:
    """Fill an empty folder: reference cases, artifacts, origins of their operations, the manifest last.

    Raises:
        CheckpointError: the net answers with NaN or infinity.
        InputError: every artifact fails the gate, or its recording is too short.
    """
    net, config = request.net, built.config
    request = replace(request, axes=net.axes_of(config, request.axes))
    own = net.cases(config, request.axes)
    sizes = fixed_sizes(net, config, request.axes, request.frames) if "coreai" in request.targets else None
    cases = own | (sizes.cases if sizes else {})
    cases |= _spoken_case(request, built, cases)
    reference = {}
    for name, inputs in cases.items():
        request.progress(f"reference case {name}")
        reference[name] = write_reference(folder, name, inputs | _outputs(request, built, inputs))
    writer = ArtifactWriter(request, folder, built, sizes)
    manifest = Manifest(
        net=net.name,
        config=config.to_json(),
        front_end=net.front_end(config),
        inputs=net.inputs(config),
        outputs=net.outputs(config),
        artifacts=writer.write_all(),
        source=built.source,
        tolerance={precision: net.allowed(config, precision) for precision in request.precisions},
        geometry=net.geometry(config),
        versions=versions(request.targets),
        reference=reference,
    )
    if request.gate is not None:
        manifest = kept(folder, manifest, request.progress, request.beside)
    shortest = min(own.values(), key=_size)
    origins = write_for_export(folder, net, built.module, manifest, shortest, writer.modules)
    files = (describe_file(folder, origins), *carry_files(folder, built.carried))
    replace(manifest, files=files).save(folder)


def _spoken_case(request: Request, built: Built, cases: dict[str, Arrays]) -> dict[str, Arrays]:
    """The case that the gate judges, where one was asked for and the net has none of its own."""
    if request.gate is None:
        return {}
    net, config = request.net, built.config
    lengths = {name: axis.lengths for name, axis in request.axes.items() if "coreml" in request.targets}
    wanted = Wanted(
        net.inputs(config), net.front_end(config), config.to_json(), lengths, request.gate, request.audio
    )
    return sentence_case(wanted, cases)


def _size(inputs: Arrays) -> int:
    return sum(array.size for array in inputs.values())


def _outputs(request: Request, built: Built, inputs: Arrays) -> Arrays:
    """The PyTorch net's outputs for a case."""
    import torch

    net, config = request.net, built.config
    with torch.inference_mode():
        values = built.module(*(torch.from_numpy(inputs[tensor.name]) for tensor in net.inputs(config)))
    tensors = values if isinstance(values, tuple) else (values,)
    arrays = {spec.name: tensor.numpy() for spec, tensor in zip(net.outputs(config), tensors, strict=True)}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise CheckpointError(
                request.weights,
                got=f"NaN or infinite {name} on speech",
                expected="finite values",
                cause="training diverged, or these weights belong to another configuration",
            )
    return arrays
