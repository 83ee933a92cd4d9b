"""The artifacts of a bundle: one net in every target, precision and form that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge_export.catalog.fixed_sizes import FixedSizes
from edge_export.convert.building import Built
from edge_export.convert.request import FORMS, TAKEN, Request
from edge_runtime.store.bundle import (
    HALF_ARITHMETIC,
    Artifact,
    Form,
    Interface,
    Lengths,
    Precision,
    Target,
    describe_artifact,
)

_SUFFIXES: Mapping[Target, str] = {"onnx": ".onnx", "coreml": ".mlpackage", "coreai": ".aimodel"}


@dataclass(frozen=True)
class _Written:
    """What an exporter says of the file that it wrote."""

    version: str  # opset or deployment target
    axes: Mapping[str, Lengths]
    note: str = ""
    data: tuple[str, ...] = ()  # files beside it that belong to it


@dataclass(frozen=True)
class ArtifactWriter:
    """Writes a net's artifacts into the folder of its bundle.

    Attributes:
        modules: of each Core ML package, operation → module of the PyTorch net, once it is written.
    """

    request: Request
    folder: Path
    built: Built
    sizes: FixedSizes | None  # of Core AI; None where it is not among the targets
    modules: dict[str, dict[str, str]] = field(default_factory=dict)

    def write_all(self) -> tuple[Artifact, ...]:
        """Every artifact of the request, in the order of its targets and precisions."""
        return tuple(
            self.write(target, precision, form)
            for target in self.request.targets
            for precision in self.request.precisions
            if precision in TAKEN[target]
            for form in self._forms(target, precision)
        )

    def write(self, target: Target, precision: Precision, form: Form) -> Artifact:
        """Write one and describe it."""
        name = artifact_name(target, precision, form)
        io: Interface = self.request.io if precision == "fp16" else "fp32"
        self.request.progress(f"writing {name}")
        if target == "onnx":
            written = self._onnx(name, precision, form, io)
        elif target == "coreai":
            written = self._core_ai(name, precision, io)
        else:
            written = self._core_ml(name, precision, io)
        return describe_artifact(
            self.folder,
            name,
            target=target,
            precision=precision,
            version=written.version,
            axes=written.axes,
            note=written.note,
            data=written.data,
            float32_parts=self.request.net.float32_parts if precision in HALF_ARITHMETIC else (),
            form=form,
            io=io,
        )

    def _forms(self, target: Target, precision: Precision) -> tuple[Form, ...]:
        """The forms to write: those asked for, of the forms that there are."""
        if target != "onnx":
            return ("any",)
        from edge_export.to_onnx.exporter import forms_of

        there = forms_of(self.built.module, self.request.net)
        wanted = self.request.forms or (FORMS if precision == "fp32" else ("plain",))
        return there if there == ("any",) else tuple(form for form in there if form in wanted)

    def _onnx(self, name: str, precision: Precision, form: Form, io: Interface) -> _Written:
        from edge_export.to_onnx import exporter
        from edge_export.to_onnx.weighted_graph import DATA_SUFFIX

        net, config = self.request.net, self.built.config
        version = exporter.write_onnx(
            self.built.module,
            net,
            config,
            self.folder / name,
            precision,
            form=None if form == "any" else form,
            io=io,
            external_data=self.request.external_data,
        )
        data = tuple(path.name for path in self.folder.glob(f"{name}{DATA_SUFFIX}"))
        return _Written(version, exporter.flexible_axes(net, config), data=data)

    def _core_ml(self, name: str, precision: Precision, io: Interface) -> _Written:
        from edge_export.to_coreml import exporter

        net, config, axes = self.request.net, self.built.config, self.request.axes
        version = exporter.write_coreml(
            self.built.module,
            net,
            config,
            self.folder / name,
            precision,
            axes,
            io=io,
            ios=self.request.ios,
            source_sha256=self.built.source.sha256,
            modules=self.modules.setdefault(name, {}),
        )
        lengths = {name: axis.lengths for name, axis in axes.items()}
        return _Written(version, lengths, exporter.width_note(net, config, axes))

    def _core_ai(self, name: str, precision: Precision, io: Interface) -> _Written:
        from edge_export.to_coreai import exporter

        assert self.sizes is not None
        version = exporter.write_coreai(
            self.built.module,
            self.request.net,
            self.built.config,
            self.folder / name,
            precision,
            self.sizes.functions,
            io=io,
            source_sha256=self.built.source.sha256,
        )
        return _Written(version, self.sizes.lengths, self.sizes.note)


def artifact_name(target: Target, precision: Precision, form: Form) -> str:
    """The artifact's name: what is usual for its target and precision is left out."""
    words: list[str] = [] if precision == "fp32" else [precision]
    if target == "onnx":
        from edge_export.to_onnx.exporter import OWN_FORM

        words += [] if form in ("any", OWN_FORM[precision]) else [form]
    return ".".join(["model", *words]) + _SUFFIXES[target]
