"""What nets cost: multiplications and additions, parameters, bytes; what ``edge-export nets --cost`` prints.

Operations are those of PyTorch's own counter (`torch.utils.flop_counter`): two for each multiplication with
an addition, in convolutions, matrix products and attention. What is done element by element is not counted.
A net runs once for that, without values («meta» tensors) where its code allows: nets of gigabytes cost no
memory.

The counter sees nothing of PyTorch's recurrent layers on processors. They are counted by their definition,

    2 · gates · units · (inputs + units)    a step, layer and direction; 4 gates of an LSTM, 3 of a GRU

Lengths: one second of what the net's front end hears, or its own fixed sizes, as `Cost.sizes` says; batch 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edge_export.catalog import NETS, Net, get_net
from edge_export.catalog.dynamic_axes import Buckets
from edge_export.catalog.net import needs_torch

if TYPE_CHECKING:
    from torch import Tensor, nn

SECOND_OF_SAMPLES = 16_000  # of nets that take a waveform
FRAMES = 100  # of nets without a front end
RECURRENT_GATES = {"LSTM": 4, "GRU": 3}


@dataclass(frozen=True)
class Cost:
    """The cost of one run of a net."""

    net: str
    preset: str
    sizes: str  # lengths of its axes, as «86 frames (1 s)»; "" where all are fixed
    flop: int  # for these lengths
    parameters: int
    fp32_bytes: int  # of its weights and stored constants
    fp16_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Plain values, as ``--json`` writes them."""
        return asdict(self)


def net_costs(
    names: Iterable[str] | None = None, progress: Callable[[str], None] | None = None
) -> Iterator[Cost]:
    """The cost of every preset of the nets of these names, all by default.

    Args:
        names: of nets.
        progress: called with each net and preset before it is counted.

    Raises:
        ConfigError: no such net.
        BackendError: a library that building it needs is missing.

    >>> [(cost.preset, cost.parameters) for cost in net_costs(["audio-encoder"])]
    [('talking-head', 2812672)]
    """
    for net in [get_net(name) for name in names] if names is not None else NETS.values():
        for preset in net.presets:
            if progress is not None:
                progress(f"{net.name} {preset}")
            yield cost_of(net, preset)


def cost_of(net: Net[Any], preset: str) -> Cost:
    """The cost of a net's preset; errors as `net_costs`."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise needs_torch(error) from error
    config = net.preset(preset)
    lengths = _lengths(net, config)
    try:
        module, flop = _counted(net, config, lengths, "meta")
    except RuntimeError:  # code that makes tensors of values, which are on the processor
        module, flop = _counted(net, config, lengths, "cpu")
    stored = [*module.parameters(), *module.buffers()]
    return Cost(
        net.name,
        preset,
        _said(net, config, lengths),
        flop,
        sum(parameter.numel() for parameter in module.parameters()),
        *(sum(_bytes(tensor, floating) for tensor in stored) for floating in (4, 2)),
    )


def _bytes(tensor: Tensor, floating: int) -> int:
    return tensor.numel() * (floating if tensor.is_floating_point() else tensor.element_size())


def _lengths(net: Net[Any], config: Any) -> dict[str, int]:
    """Length of every named axis of the inputs."""
    axes = net.axes_of(config, net.coreml_axes)
    found = {}
    for name in dict.fromkeys(axis for tensor in net.inputs(config) for axis in tensor.shape):
        if not isinstance(name, str):
            continue
        axis = axes.get(name)
        if name == "batch":
            found[name] = 1
        elif name == "samples":
            found[name] = SECOND_OF_SAMPLES
        elif name == "frames":
            found[name] = max(_frames_a_second(net, config) or FRAMES, net.shortest(config))
        else:
            found[name] = axis.sizes[0] if isinstance(axis, Buckets) else FRAMES
    return found


def _frames_a_second(net: Net[Any], config: Any) -> int | None:
    front_end = net.front_end(config)
    return None if front_end is None else round(front_end.sample_rate / front_end.hop_length)


def _said(net: Net[Any], config: Any, lengths: Mapping[str, int]) -> str:
    """Lengths as words: «86 frames (1 s)», «height 32»."""
    sizes = []
    for name, length in lengths.items():
        if name in ("frames", "samples"):
            second = name == "samples" or length == _frames_a_second(net, config)
            sizes.append(f"{length} {name}" + (" (1 s)" if second else ""))
        elif name != "batch":
            sizes.append(f"{name} {length}")
    return ", ".join(sizes)


def _counted(net: Net[Any], config: Any, lengths: Mapping[str, int], device: str) -> tuple[nn.Module, int]:
    """The module, and the operations of one run on a device."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device(device) if device == "meta" else nullcontext():
        module = net.build(config).eval()
        inputs = [
            torch.zeros(
                [lengths[axis] if isinstance(axis, str) else axis for axis in tensor.shape],
                dtype=getattr(torch, tensor.dtype),
            )
            for tensor in net.inputs(config)
        ]
        # the counter knows attention by its matrix products
        with (
            torch.no_grad(),
            sdpa_kernel(SDPBackend.MATH),
            _recurrent_layers(module) as recurrent,
            FlopCounterMode(display=False) as counter,
        ):
            module(*inputs)
    return module, int(counter.get_total_flops()) + sum(recurrent)


@contextmanager
def _recurrent_layers(module: nn.Module) -> Iterator[list[int]]:
    """Within the block recurrent layers give zeros, and their operations are added to the list."""
    from torch import nn

    found: list[int] = []
    layers: list[Any] = [layer for layer in module.modules() if isinstance(layer, nn.LSTM | nn.GRU)]
    for layer in layers:
        # an instance's own attribute goes before its class's
        layer.forward = _Zeros(layer, found)
    try:
        yield found
    finally:
        for layer in layers:
            del layer.forward


class _Zeros:
    """Stands for a recurrent layer's forward: outputs of its shapes."""

    def __init__(self, layer: Any, found: list[int]) -> None:
        self.layer, self.found = layer, found

    def __call__(self, x: Tensor, state: object = None) -> tuple[Tensor, object]:  # noqa: ARG002 - as the layer's
        """(batch, time, inputs), or (time, batch, inputs) as the layer has it, → outputs and last state."""
        layer = self.layer
        units, ways = int(layer.hidden_size), 2 if layer.bidirectional else 1
        gates = RECURRENT_GATES[_kind(layer)]
        steps = x.shape[0] * x.shape[1]
        inputs = int(layer.input_size)
        for _ in range(layer.num_layers):
            self.found.append(ways * steps * 2 * gates * units * (inputs + units))
            inputs = ways * units
        batch = x.shape[0] if layer.batch_first else x.shape[1]
        last = x.new_zeros(ways * layer.num_layers, batch, units)
        return x.new_zeros(*x.shape[:2], ways * units), (last, last) if _kind(layer) == "LSTM" else last


def _kind(layer: Any) -> str:
    from torch import nn

    return "LSTM" if isinstance(layer, nn.LSTM) else "GRU"


def table(costs: Sequence[Cost]) -> str:
    """Costs as text, one line each."""
    rows = [("net", "preset", "parameters", "fp32", "fp16", "FLOP", "for")]
    rows += [
        (
            cost.net,
            cost.preset,
            f"{cost.parameters:,}".replace(",", " "),
            _scaled(cost.fp32_bytes, "B"),
            _scaled(cost.fp16_bytes, "B"),
            _scaled(cost.flop, ""),
            cost.sizes,
        )
        for cost in costs
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    right = (2, 3, 4, 5)
    return "\n".join(
        "  ".join(
            text.rjust(width) if column in right else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _scaled(value: int, unit: str) -> str:
    """Three digits with a decimal prefix: 803 G."""
    size, prefix = float(value), ""
    for prefix in ("", "k", "M", "G", "T"):  # noqa: B007 - the last one is used
        if size < 999.5:
            break
        size /= 1000
    return f"{size:.3g} {prefix}{unit}".rstrip()
