"""`export`: request, net, bundle; renamed into place, opened again and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_export.catalog import Net, get_net
from edge_export.convert.building import build, one_thread
from edge_export.convert.libraries import check_libraries
from edge_export.convert.request import (
    DEFAULT_PRECISIONS,
    DEFAULT_TARGETS,
    Origin,
    PathLike,
    Progress,
    requested,
)
from edge_export.convert.writing import write_bundle
from edge_export.ports.swift_wrapper import check_target, write_wrapper
from edge_runtime.store.bundle import Bundle, is_bundle, open_bundle
from edge_runtime.store.targets import published, replace_directory, temporaries_beside


def export(
    net: str | Net[Any],
    out: PathLike,
    *,
    checkpoint: PathLike | None = None,
    random: int | None = None,
    preset: str | None = None,
    config: PathLike | Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    weights: str | None = None,
    lora: PathLike | None = None,
    targets: Sequence[str] = DEFAULT_TARGETS,
    precisions: Sequence[str] = DEFAULT_PRECISIONS,
    io: str = "fp32",
    forms: Sequence[str] | None = None,
    frame_buckets: Sequence[int] | None = None,
    external_data: bool = False,
    ios: int = 16,
    swift: PathLike | None = None,
    gate: bool = False,
    audio: PathLike | None = None,
    beside: PathLike | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Bundle:
    """Write a bundle.

    Args:
        net: a name in the catalogue, or an entry like those.
        out: the folder to write; refused if it exists.
        checkpoint: weights of any format that `edge_training.weights.reading` reads …
        random: … or the seed of random ones; one of the two, and neither for a net without weights.
        preset: name of one of the net's configs …
        config: … or a config.json, or its entries. Without both: the config.json beside the checkpoint; for
            random weights and nets with one config, the net's first preset.
        changes: entries that override the config's, as {"wiring": "stock"}.
        weights: which set of a checkpoint that has several: "ema", "live", or the name in front of it.
        lora: a file or folder to merge into the weights, for nets that take one.
        targets, precisions: which artifacts; "int8" is ONNX's alone, "palette8" and "palette6" Core ML's.
            Core AI is written where it is named.
        io: "fp16": inputs and outputs of float16 artifacts are float16 too, which spares runtimes the casts.
        forms: of ONNX, for nets that processors run faster in another form than their own: "cpu", "plain",
            or both. Where None, fp32 has both and fp16 is plain. A net with one form has one file, whatever
            is named here.
        frame_buckets: numbers of frames that the Core ML package admits, for nets with such an axis, and
            those of Core AI, which are the longest reference case's where None; one of both must be among
            the targets, and the longest must exceed twice the net's context.
        external_data: put ONNX weights into a file beside the graph; above 2 GiB this is done in any case.
        ios: oldest system that the Core ML package is for, 16 or 18; 18 has attention as one operation.
        swift: a file NAME.swift to write too: a typed wrapper of the bundle for apps.
        gate: store a case of real speech, and write no artifact whose sound, or features for a face, fail the
            catalogue's limits on it (`edge_export.proof.gates`); each that is withheld is a warning.
        audio: the gate's recording; a spoken sentence that ships where None.
        beside: of the gate, where the net's output is no sound: the bundle of the vocoder or synthesizer that
            makes it.
        overwrite: replace an existing bundle, and an existing wrapper.
        progress: called with a line of text before each step.

    Returns:
        The bundle, opened again from the disk and checked.

    Raises:
        ConfigError: an unknown name, or options that contradict each other or the net.
        CheckpointError: weights that are damaged, unsafe or of another net.
        TargetError: `out` exists or cannot be written.
        BackendError: a library is missing.
    """
    request = requested(
        get_net(net) if isinstance(net, str) else net,
        Origin(checkpoint, random, preset, config, changes or {}, weights, lora),
        targets=targets,
        precisions=precisions,
        io=io,
        forms=forms,
        frame_buckets=frame_buckets,
        external_data=external_data,
        ios=ios,
        gate=gate,
        audio=audio,
        beside=beside,
        progress=progress,
    )
    check_libraries(request.targets)
    if swift is not None:
        check_target(swift, overwrite)
    with (
        replace_directory(out, overwrite, ours=is_bundle) as folder,
        temporaries_beside(folder),  # coremltools leaves much in its own when it is killed
        one_thread(),
    ):
        write_bundle(request, folder, build(request))
    request.progress(f"checking {published(out)}")
    bundle = open_bundle(out)
    if swift is not None:
        write_wrapper(bundle, swift, overwrite=overwrite)
    return bundle
