"""The entry of a net in the catalogue."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from numpy.typing import NDArray

from edge_export.catalog.dynamic_axes import Axis, Buckets
from edge_export.catalog.gates import Gate
from edge_runtime.dsp.mel import MelConfig
from edge_runtime.errors import BackendError, ConfigError
from edge_runtime.store.bundle import Geometry, Tensor, Tolerance

if TYPE_CHECKING:
    from torch import nn

    from edge_training.weights.nets import LoadableNet, Settle
    from edge_training.weights.reading import Checkpoint


class NetConfig(Protocol):
    """A net's own frozen dataclass."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for config.json and manifests."""
        ...


# of int8 weights and palettes, where a net has no limits of its own. Apple's floor for its converted nets is
# 35 dB of the peak; of the whole signal that is 22 dB, as the peak of noise is 4.5 times its deviation
QUANTISED = MappingProxyType(
    {"int8": Tolerance(1.0, 30.0), "palette8": Tolerance(1.0, 30.0), "palette6": Tolerance(1.0, 22.0)}
)

Config = Any  # a `NetConfig` of which the caller knows no more
ConfigT = TypeVar("ConfigT", bound=NetConfig)
Axes = Mapping[str, Axis]  # axis name → the lengths that it may have
Arrays = dict[str, NDArray[Any]]  # input name → array


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Trained(Generic[ConfigT]):
    """The code of a net that `edge_training` has, imported when it is first needed: torch takes seconds."""

    name: str

    @property
    def entry(self) -> LoadableNet[ConfigT]:
        """What the loader of weights knows of the net; BackendError where torch is missing."""
        try:
            from edge_training.weights.nets import loadable
        except ImportError as error:
            raise needs_torch(error) from error
        return loadable(self.name)

    def preset(self, name: str) -> ConfigT:
        return self.entry.preset(name)

    def config_from_json(self, entries: Mapping[str, Any]) -> ConfigT:
        return self.entry.config_from_json(entries)

    def build(self, config: ConfigT) -> nn.Module:
        return self.entry.build(config)

    def settle(
        self, config: ConfigT, checkpoint: Checkpoint | None, said: list[str] | None = None
    ) -> ConfigT:
        return self.entry.settle(config, checkpoint, said)


def _settled(config: ConfigT, checkpoint: Checkpoint | None, said: list[str] | None = None) -> ConfigT:  # noqa: ARG001
    from edge_training.weights.nets import note_empty_bands

    note_empty_bands(getattr(config, "mel", None), said)
    return config


@dataclass(frozen=True)
class Net(Generic[ConfigT]):
    """Everything that is needed to export a net.

    Args:
        name: as on the command line and in manifests.
        summary: one line.
        signature: its inputs and outputs with their axes, the same for every config.
        presets: names of its configs, the first for random weights by default.
        preset: name → config.
        config_from_json: JSON entries → config; raises a ConfigError that names the broken rule.
        build: config → module in its initial state (torch).
        inputs, outputs: config → tensors with shapes, meanings and units.
        front_end: config → the front end that makes its mel of audio, None where it has no mel.
        geometry: config → hop, receptive field, context.
        tolerance: precision → the errors that every backend must stay within.
        cases: (config, Core ML axes) → case name → inputs, for the reference arrays.
        coreml_axes: named axis → the lengths that it may have in Core ML; ONNX takes any length.
        random_rms: root mean square of the last layer's output with random weights, about that of real ones.
        random_range: config → its deviation and mean instead, where configs differ or the mean is not 0.
        random_start: changes an initial module, before its random weights are scaled, where training leaves
            something that no initial state has and that precision depends upon.
        unit: config → factor from the tolerance's largest error to the outputs' unit.
        shortest: config → fewest frames that the net takes.
        has_weights: False where the config alone determines the net and no checkpoint is needed.
        config_files: names of the config file beside a checkpoint; the first one that exists is used.
        settle: (config, checkpoint, said) → config with what only the checkpoint's keys, or files beside it,
            tell; what was taken and why is added to `said`.
        onnx_form: module → an equal one that onnxruntime runs faster on processors, for float32.
        float32_parts: names of the module's children that stay float32 in float16 artifacts: what was
            measured to need it.
        gate: what its sound must keep for ears, or its features for a face; None for other outputs.
        justified: rule of `edge-export lint` → why this net breaks it all the same.
        locate: a checkpoint as it was given, a model's folder say → the file of weights.
        axes_of: (config, Core ML axes) → those axes, where sizes of the config decide.
        steps: config → named axis → the number that ONNX takes multiples of.
        carried: (config, file of weights) → name in the bundle → file that goes with the net.
        weights_of: the net whose weights it has, where that is another one.
        merge: (module, file of a LoRA) → what was merged, a sentence; changes the module. None: takes none.
        half: what float16 artifacts round: weights and every operation, or only the weights of layers, where
            the net computes values that do not fit half precision.
    """

    name: str
    summary: str
    signature: str
    presets: tuple[str, ...]
    preset: Callable[[str], ConfigT]
    config_from_json: Callable[[Mapping[str, Any]], ConfigT]
    build: Callable[[ConfigT], nn.Module]
    inputs: Callable[[ConfigT], tuple[Tensor, ...]]
    outputs: Callable[[ConfigT], tuple[Tensor, ...]]
    front_end: Callable[[ConfigT], MelConfig | None]
    geometry: Callable[[ConfigT], Geometry]
    tolerance: Mapping[str, Tolerance]
    cases: Callable[[ConfigT, Axes], dict[str, Arrays]]
    coreml_axes: Axes
    random_rms: float = 1.0
    random_range: Callable[[ConfigT], tuple[float, float]] | None = None
    random_start: Callable[[nn.Module], object] = field(default=_same)
    unit: Callable[[ConfigT], float] = field(default=lambda _: 1.0)
    shortest: Callable[[ConfigT], int] = field(default=lambda _: 1)
    has_weights: bool = True
    config_files: tuple[str, ...] = ("config.json",)
    settle: Settle[ConfigT] = field(default=_settled)
    onnx_form: Callable[[nn.Module], nn.Module] = field(default=_same)
    float32_parts: tuple[str, ...] = ()
    half: Literal["arithmetic", "weights"] = "arithmetic"
    gate: Gate | None = None
    justified: Mapping[str, str] = field(default_factory=dict)
    locate: Callable[[str | os.PathLike[str]], Path] = field(default=Path)
    axes_of: Callable[[ConfigT, Axes], Axes] = field(default=lambda _, axes: axes)
    steps: Callable[[ConfigT], Mapping[str, int]] = field(default=lambda _: {})
    weights_of: str = ""
    merge: Callable[[nn.Module, str | os.PathLike[str]], str] | None = None
    carried: Callable[[ConfigT, Path], Mapping[str, Path]] = field(default=lambda *_: {})

    @property
    def loadable(self) -> LoadableNet[ConfigT]:
        """What the loader of weights knows of it; where that is nothing, these fields."""
        from edge_training.weights.nets import NETS, LoadableNet, loadable

        if self.weights_of:
            return replace(loadable(self.weights_of), build=self.build)
        if self.name in NETS:
            return loadable(self.name)
        return LoadableNet(
            self.name,
            self.presets,
            self.preset,
            self.config_from_json,
            self.build,
            self.config_files,
            self.settle,
        )

    def range_of_random(self, config: ConfigT) -> tuple[float, float]:
        """Deviation and mean of what the last layer gives where weights are random."""
        return self.random_range(config) if self.random_range else (self.random_rms, 0.0)

    def allowed(self, config: ConfigT, precision: str) -> Tolerance:
        """What every backend must keep with this config."""
        tolerance = self.tolerance.get(precision) or QUANTISED[precision]
        return replace(tolerance, max_abs=tolerance.max_abs * self.unit(config))


def sizes_of(axis: Axis, first: int, second: int) -> tuple[int, ...]:
    """Two lengths of an axis for reference cases: the smallest buckets, or those given in a span."""
    if isinstance(axis, Buckets):
        return axis.sizes[:2]
    return tuple(sorted({max(axis.low, first), max(axis.low, second)}))


_SCALES = {"none": "", "ln": "natural logarithm", "log10": "common logarithm"}


def describe_unit(mel: MelConfig) -> str:
    """What 1 of a mel means, for the unit of an input."""
    words = f"{_SCALES[mel.log]} of the mel {'power' if mel.power == 2 else 'magnitude'}, floor {mel.floor:g}"
    if (mel.log_gain, mel.reference) != (1.0, 0.0):
        words += f", times {mel.log_gain:g}, less {mel.reference:g}"
    if mel.scale_from is not None:
        words += (
            f", {mel.scale_from[0]:g} … {mel.scale_from[1]:g} onto {mel.scale_to[0]:g} … {mel.scale_to[1]:g}"
        )
    return words


def unknown(what: str, got: str, known: Mapping[str, object] | tuple[str, ...]) -> ConfigError:
    """The error for an unknown name, with the one that was probably meant."""
    near = difflib.get_close_matches(got, list(known), n=1, cutoff=0.5)
    cause = f"is {near[0]} meant?" if near else ""
    return ConfigError(what, got=got, expected=f"one of {', '.join(known)}", cause=cause)


def needs_torch(error: ImportError) -> BackendError:
    return BackendError(
        "building a net",
        got=f"no module named {error.name}",
        expected="torch",
        cause="pip install 'edge-export[export]'",
    )
