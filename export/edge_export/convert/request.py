"""What `export` was asked for: its arguments, checked before any work is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

from edge_export.catalog import Axes, Net, unknown
from edge_export.catalog.dynamic_axes import Buckets
from edge_export.catalog.gates import Gate
from edge_export.proof.gates.exporting import check_gate
from edge_runtime.errors import ConfigError
from edge_runtime.store.bundle import Form, Interface, Precision, Target

Progress = Callable[[str], object]
PathLike = str | os.PathLike[str]
Name = TypeVar("Name", bound=str)

TARGETS: tuple[Target, ...] = get_args(Target)
DEFAULT_TARGETS: tuple[Target, ...] = ("onnx", "coreml")
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
DEFAULT_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")
# which precisions a target has
TAKEN: Mapping[Target, tuple[Precision, ...]] = {
    "onnx": ("fp32", "fp16", "int8"),
    "coreml": ("fp32", "fp16", "palette8", "palette6"),
    "coreai": ("fp32", "fp16"),
}
IOS = (16, 18)
FORMS: tuple[Form, ...] = ("cpu", "plain")
_INTERFACES: tuple[Interface, ...] = get_args(Interface)
SEEDS = 2**63


@dataclass(frozen=True)
class Origin:
    """Where the net comes from; see `edge_export.convert.export` for each."""

    checkpoint: PathLike | None = None
    random: int | None = None
    preset: str | None = None
    config: PathLike | Mapping[str, Any] | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    lora: PathLike | None = None

    def check(self, net: Net[Any]) -> None:
        """ConfigError for what contradicts itself or the net."""
        if self.preset is not None and self.preset not in net.presets:
            raise unknown(f"preset of {net.name}", self.preset, net.presets)
        self._check_weights(net)
        if self.preset is not None and self.config is not None:
            raise ConfigError(
                "configuration", got="a preset and a config file", expected="one of --preset and --config"
            )
        if self.lora is not None and (self.checkpoint is None or net.merge is None):
            got = f"a LoRA for {net.name}" if self.checkpoint is not None else "a LoRA for random weights"
            raise ConfigError("--lora", got=got, expected="a checkpoint of sd-unet to merge it into")
        if self.weights is not None and self.checkpoint is None:
            raise ConfigError("--weights", got=self.weights, expected="a checkpoint to choose from")

    def _check_weights(self, net: Net[Any]) -> None:
        checkpoint, random = self.checkpoint, self.random
        if not net.has_weights:
            if checkpoint is not None or random is not None:
                got = "a checkpoint" if checkpoint is not None else "a seed"
                raise ConfigError("weights", got=got, expected=f"neither, {net.name} has no weights")
        elif (checkpoint is None) == (random is None):
            got = "neither a checkpoint nor a seed" if checkpoint is None else "a checkpoint and a seed"
            raise ConfigError("weights", got=got, expected="one of --checkpoint FILE and --random SEED")
        if random is not None and (isinstance(random, bool) or not 0 <= random < SEEDS):
            raise ConfigError("random", got=repr(random), expected="a whole number from 0 to 2^63 - 1")


@dataclass(frozen=True)
class Request:
    """The checked arguments of `edge_export.convert.export`."""

    net: Net[Any]
    origin: Origin
    targets: tuple[Target, ...]
    precisions: tuple[Precision, ...]
    io: Interface  # of float16 artifacts
    forms: tuple[Form, ...]  # of ONNX; empty where the precision decides
    axes: Axes  # of Core ML
    frames: tuple[int, ...]  # of Core AI, ascending; empty where the reference cases decide
    external_data: bool  # of ONNX, even where all fits into one file
    ios: int  # oldest system of Core ML packages
    gate: Gate | None  # that no artifact may fail; None where none was asked for
    audio: PathLike | None  # of the gate
    beside: PathLike | None  # the bundle that makes sound of the net's output, for the gate
    progress: Progress

    @property
    def weights(self) -> str:
        """Their name in errors, as they were given."""
        if self.origin.checkpoint is not None:
            return str(self.origin.checkpoint)
        return self.net.name if self.origin.random is None else f"--random {self.origin.random}"


def requested(
    net: Net[Any],
    origin: Origin,
    *,
    targets: Sequence[str],
    precisions: Sequence[str],
    io: str,
    forms: Sequence[str] | None,
    frame_buckets: Sequence[int] | None,
    external_data: bool,
    ios: int,
    gate: bool,
    audio: PathLike | None,
    beside: PathLike | None,
    progress: Progress | None,
) -> Request:
    """The arguments of `edge_export.convert.export`, checked.

    Raises:
        ConfigError: an unknown name, or options that contradict each other or the net.
        BundleError: `beside` is damaged, or makes no sound of this net's output.
    """
    request = Request(
        net=net,
        origin=origin,
        targets=_chosen("target", targets, TARGETS),
        precisions=precisions_for(targets, precisions),
        io=_io(net, io, precisions),
        forms=_chosen("form", forms, FORMS) if forms is not None else (),
        axes=_axes(net, frame_buckets, targets),
        frames=tuple(sorted(set(frame_buckets or ()))),
        external_data=external_data,
        ios=_ios(ios),
        gate=check_gate(net.name, audio, beside) if gate else None,
        audio=audio,
        beside=beside,
        progress=progress or (lambda _: None),
    )
    if not gate and beside is not None:
        raise ConfigError("--with", got=str(beside), expected="--gate beside it")
    _check_takers(request)
    origin.check(net)
    return request


def _check_takers(request: Request) -> None:
    """ConfigError for what none of the targets has."""
    if request.frames and not {"coreml", "coreai"} & set(request.targets):
        raise ConfigError(
            "frames",
            got="buckets without target coreml or coreai",
            expected="no buckets",
            cause="ONNX takes any length",
        )
    if request.forms and "onnx" not in request.targets:
        raise ConfigError(
            "--form",
            got=f"{', '.join(request.forms)} without target onnx",
            expected="no form",
            cause="Core ML and Core AI have one",
        )


def _chosen(what: str, names: Sequence[str], known: tuple[Name, ...]) -> tuple[Name, ...]:
    """The given names in the known order; ConfigError for others."""
    if isinstance(names, str):
        names = (names,)
    for name in names:
        if name not in known:
            raise unknown(what, str(name), known)
    if not names:
        raise ConfigError(what, got="none", expected=f"one of {', '.join(known)}")
    return tuple(name for name in known if name in names)


def precisions_for(targets: Sequence[str], precisions: Sequence[str]) -> tuple[Precision, ...]:
    """The given precisions in their order; ConfigError for unknown ones, and for one that no target has."""
    wanted = _chosen("precision", precisions, PRECISIONS)
    for precision in wanted:
        takers = [target for target, taken in TAKEN.items() if precision in taken]
        if not set(takers) & set(_chosen("target", targets, TARGETS)):
            raise ConfigError("precision", got=precision, expected=f"--target {takers[0]} with it")
    return wanted


def _ios(ios: int) -> int:
    if ios not in IOS:
        raise ConfigError("--ios", got=str(ios), expected=" or ".join(map(str, IOS)))
    return ios


def _io(net: Net[Any], io: str, precisions: Sequence[str]) -> Interface:
    """The type of float16 artifacts' inputs and outputs; ConfigError where there are no such artifacts."""
    (kind,) = _chosen("--io", io, _INTERFACES)
    if kind == "fp16" and "fp16" not in precisions:
        raise ConfigError("--io", got="fp16 without precision fp16", expected="fp32")
    if kind == "fp16" and net.half == "weights":
        raise ConfigError(
            "--io",
            got=f"fp16 for {net.name}",
            expected="fp32",
            cause="only its weights are float16: what it computes with does not fit half precision",
        )
    return kind


def _axes(net: Net[Any], frame_buckets: Sequence[int] | None, targets: Sequence[str]) -> Axes:
    """The axes of Core ML; Core AI, if alone, takes numbers of frames for every net that has such an axis."""
    if frame_buckets is None:
        return net.coreml_axes
    try:
        buckets = Buckets(tuple(sorted(set(frame_buckets))))
    except ConfigError as error:
        raise error.within("frames") from error
    if "coreai" in targets and "coreml" not in targets:
        return net.coreml_axes
    if not isinstance(net.coreml_axes.get("frames"), Buckets):
        raise ConfigError(
            "frames",
            got=f"buckets for {net.name}",
            expected="no buckets",
            cause=f"its axes are {', '.join(f'{name} ({axis})' for name, axis in net.coreml_axes.items())}",
        )
    return {**net.coreml_axes, "frames": buckets}
