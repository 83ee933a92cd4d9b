"""1-D convolutions as 2-D ones, on signals in one phase or two; in two, with fewer multiplications.

A signal is a tuple of phases, (x,) or (even, odd) samples; each (B, C, rows, N / phases), zero outside. In
two phases a convolution with odd dilation is the fast FIR algorithm (Mou, Duhamel 1991; Parhi, VLSI Digital
Signal Processing Systems, chapter 9): with h₀, h₁ the even and odd taps, and u, v, z samples that lie one
dilation apart in turn,

    y(n)     = h₀ u + h₁ v = h₀ (u − v) + (h₀ + h₁) v
    y(n + d) = h₀ v + h₁ z = h₁ (z − v) + (h₀ + h₁) v

three half-length convolutions at half rate instead of four (17 taps instead of 22 for a kernel of 11). It
adds only differences of neighbours, so its rounding is that of the direct form. With even dilation the phases
do not interact.

Kernels are (1, k); padding is that of the layer given, on either side. h₀ + h₁ is computed in the graph,
where runtimes fold it when they load it, so that a file holds each weight once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Signal = tuple[Tensor, ...]

# below, the additions and copies cost more than the multiplications saved
FAST_CHANNELS = 64
FAST_KERNEL = 5


class Taps(NamedTuple):
    """Weights (out, in, 1, number) of taps that lie `dilation` apart in their phase."""

    weight: Tensor
    number: int
    dilation: int


class Convolution(nn.Module):
    """A Conv1d of stride 1 that keeps the length, on a signal in `phases` phases (1 or 2)."""

    def __init__(self, layer: nn.Conv1d, phases: int) -> None:
        super().__init__()
        assert layer.groups == 1
        assert layer.bias is not None
        self.left = _left(layer)
        self.dilation = layer.dilation[0]
        self.bias = layer.bias
        weight = layer.weight.unsqueeze(2)  # (out, in, 1, k)
        self.taps = weight.shape[-1]
        self.split = phases == 2 and self.dilation % 2 == 1 and self.taps > 1
        # counted here: while a module is traced, a shape is not a number
        self.even_taps, self.odd_taps = (self.taps + 1) // 2, self.taps // 2
        self.channels = int(weight.shape[1])
        self.fast = min(weight.shape[:2]) >= FAST_CHANNELS and self.taps >= FAST_KERNEL
        if self.split:
            self.even = nn.Parameter(weight[..., 0::2].contiguous())
            self.odd = nn.Parameter(weight[..., 1::2].contiguous())
        else:
            self.weight = nn.Parameter(weight)

    def forward(self, x: Signal) -> Signal:
        """Phases (B, inputs, rows, N) → phases (B, outputs, rows, N)."""
        if not self.split:
            return tuple(self._within_phases(x, phase) for phase in range(len(x)))
        return self._fast(x) if self.fast else tuple(self._direct(x, phase) for phase in (0, 1))

    def _within_phases(self, x: Signal, phase: int) -> Tensor:
        """One phase, or an even dilation: the taps stay in the phase where the first one falls."""
        source, offset = _at(phase - self.left, len(x))
        taps = Taps(self.weight, self.taps, max(self.dilation // len(x), 1))
        return _correlate(x[source], taps, self.bias, offset)

    def _direct(self, x: Signal, phase: int) -> Tensor:
        even, odd = self._halves()
        first, offset = _at(phase - self.left, 2)
        y = _correlate(x[first], even, self.bias, offset)
        second, offset = _at(phase - self.left + self.dilation, 2)
        return y + _correlate(x[second], odd, None, offset)

    def _halves(self) -> tuple[Taps, Taps]:
        return (
            Taps(self.even, self.even_taps, self.dilation),
            Taps(self.odd, self.odd_taps, self.dilation),
        )

    def _fast(self, x: Signal) -> Signal:
        (a, at_u), (b, at_v) = _at(-self.left, 2), _at(self.dilation - self.left, 2)
        before, after = at_v - at_u, at_u + self.dilation - at_v  # of v: how far u lies back, and z ahead
        shift = self.dilation // 2  # y(n + d) of an even n is the odd phase, so much later
        channels = self.channels
        u_v = _moved(x[a], channels, left=before) + _moved(x[b], channels, gain=-1, right=before)
        z_v = _moved(x[a], channels, right=after) + _moved(x[b], channels, gain=-1, left=after)
        even, odd = self._halves()
        both = Taps(
            even.weight + _padded(odd.weight, 0, even.number - odd.number), even.number, even.dilation
        )
        common = _correlate(x[b], both, None, at_v, first=-shift)  # on -shift … N
        # u_v lies on 0 … N + before, z_v on -after … N
        y_even = _correlate(u_v, even, self.bias, at_v, end=before)
        y_odd = _correlate(z_v, odd, self.bias, at_v, start=-after, first=-shift, last=-shift)
        return (
            y_even + _moved(common, channels, left=-shift),
            y_odd + _moved(common, channels, right=-shift),
        )


class Cut(NamedTuple):
    """Samples to remove at both ends of a full transposed convolution; negative numbers are zeros to add."""

    before: int
    after: int


class Upsampling(nn.Module):
    """A ConvTranspose1d whose output is `rate` times as long, from one number of phases to another.

    Output phase q takes from input phase a the taps m with rate·a + m − padding ≡ q.
    """

    def __init__(self, layer: nn.ConvTranspose1d, inputs: int, outputs: int) -> None:
        super().__init__()
        rate, padding = layer.stride[0], layer.padding[0]
        assert isinstance(padding, int)
        assert layer.groups == 1
        assert layer.dilation == (1,)
        assert rate * inputs % outputs == 0
        self.bias = layer.bias
        self.stride = rate * inputs // outputs
        self.cuts: list[list[Cut]] = []
        self.weights = nn.ParameterList()
        weight = layer.weight.unsqueeze(2)  # (in, out, 1, k)
        for q in range(outputs):
            row: list[Cut] = []
            for a in range(inputs):
                first = (q + padding - rate * a) % outputs
                offset = (rate * a + first - padding - q) // outputs
                taps = weight[..., first::outputs]
                # a positive offset becomes zeros before the taps: no operator has negative padding; and a
                # kernel of 1 has no tap for one of the phases
                taps = F.pad(taps, (max(offset, 0), int(not taps.numel())))
                self.weights.append(nn.Parameter(taps.contiguous()))
                before = max(-offset, 0)
                row.append(Cut(before, taps.shape[-1] - self.stride - before))
            self.cuts.append(row)

    def forward(self, x: Signal) -> Signal:
        """Phases (B, inputs, rows, N) → phases (B, outputs, rows, N')."""
        phases = []
        weights = iter(self.weights)
        for row in self.cuts:
            parts = [
                _upsample(part, next(weights), None if a else self.bias, self.stride, cut)
                for a, (part, cut) in enumerate(zip(x, row, strict=True))
            ]
            phases.append(parts[0] if len(parts) == 1 else parts[0] + parts[1])
        return tuple(phases)


def leaky(x: Signal, slope: float) -> Signal:
    """Leaky ReLU of each phase (B, C, rows, N)."""
    return tuple(F.leaky_relu(phase, slope) for phase in x)


def blocked_leaky(x: Signal, slope: float, channels: int) -> Signal:
    """`leaky` of (B, C, rows, N) as a depthwise convolution, within the blocked kernels; see `_moved`."""
    moved = [_Moved.apply(phase, channels, 1.0, 0, 0) for phase in x]  # type: ignore[no-untyped-call]
    return tuple(F.leaky_relu(phase, slope) for phase in moved)


def add(x: Signal, y: Signal) -> Signal:
    """Sum of two signals, phase by phase, (B, C, rows, N) each."""
    return tuple(a + b for a, b in zip(x, y, strict=True))


def _left(layer: nn.Conv1d) -> int:
    """Zeros before the signal; as many as after it, unless the layer has a `pad` of its own."""
    pad: tuple[int, int] | None = getattr(layer, "pad", None)
    if pad is not None:
        return pad[0]
    assert not isinstance(layer.padding, str)
    return layer.padding[0]


def _at(sample: int, phases: int) -> tuple[int, int]:
    """(phase, position in it) of a sample."""
    return sample % phases, sample // phases


def _correlate(
    x: Tensor,
    taps: Taps,
    bias: Tensor | None,
    offset: int,
    *,
    start: int = 0,
    end: int = 0,
    first: int = 0,
    last: int = 0,
) -> Tensor:
    """Σ taps[i] · x[w + offset + i · dilation] for w on first … N + last, from x on start … N + end."""
    reach = (taps.number - 1) * taps.dilation
    left, right = start - first - offset, last + offset + reach - end
    pad = (max(left, 0), max(right, 0))
    y: Tensor = _Correlation.apply(x, taps.weight, bias, pad, taps.dilation)  # type: ignore[no-untyped-call]
    if min(left, right) >= 0:
        return y
    # layers padded on one side alone, as causal ones are, reach no further than this
    return y[..., max(-left, 0) : right if right < 0 else None]


def _upsample(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, cut: Cut) -> Tensor:
    """Transposed convolution, stride times as long as x."""
    y: Tensor = _Transposed.apply(x, weight, bias, stride, cut)  # type: ignore[no-untyped-call]
    return y


def _moved(x: Tensor, channels: int, *, gain: float = 1.0, left: int = 0, right: int = 0) -> Tensor:
    """gain · x with zeros added on the left and right, or with samples cut off where they are negative.

    As a depthwise convolution: that is an operation of the blocked kernels, which run it on all threads and
    add its result to the next operand on the way, while Pad, Slice, Sub and LeakyRelu would have the signal
    reordered before and after.
    """
    if gain == 1 and not left and not right:
        return x
    y: Tensor = _Moved.apply(x, channels, gain, left, right)  # type: ignore[no-untyped-call]
    return y


def _padded(x: Tensor, left: int, right: int) -> Tensor:
    if not left and not right:
        return x
    y: Tensor = _ZeroPad.apply(x, left, right)  # type: ignore[no-untyped-call]
    return y


# torch exports F.pad as a dozen nodes of shape arithmetic and has no uneven padding of convolutions, so these
# classes define their ONNX form themselves.


class _Correlation(torch.autograd.Function):
    @staticmethod
    def forward(
        _ctx: object, x: Tensor, weight: Tensor, bias: Tensor | None, pad: tuple[int, int], dilation: int
    ) -> Tensor:
        return F.conv2d(F.pad(x, pad), weight, bias, dilation=(1, dilation))

    @staticmethod
    def symbolic(g: Any, x: Any, weight: Any, bias: Any, pad: tuple[int, int], dilation: int) -> Any:
        tensors = (x, weight) if bias is None else (x, weight, bias)
        return g.op("Conv", *tensors, dilations_i=[1, dilation], pads_i=[0, pad[0], 0, pad[1]])


class _Transposed(torch.autograd.Function):
    @staticmethod
    def forward(
        _ctx: object, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, cut: Cut
    ) -> Tensor:
        y = F.conv_transpose2d(x, weight, bias, (1, stride), output_padding=(0, max(-cut.after, 0)))
        return y[..., cut.before : -cut.after if cut.after > 0 else None]

    @staticmethod
    def symbolic(g: Any, x: Any, weight: Any, bias: Any, stride: int, cut: Cut) -> Any:
        return g.op(
            "ConvTranspose",
            *((x, weight) if bias is None else (x, weight, bias)),
            strides_i=[1, stride],
            pads_i=[0, cut.before, 0, max(cut.after, 0)],
            output_padding_i=[0, max(-cut.after, 0)],
        )


class _Moved(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: object, x: Tensor, _channels: int, gain: float, left: int, right: int) -> Tensor:
        return gain * F.pad(x, (left, right))

    @staticmethod
    def symbolic(g: Any, x: Any, channels: int, gain: float, left: int, right: int) -> Any:
        first, last = max(-left, 0), max(-right, 0)
        weight = torch.zeros(channels, 1, 1, first + 1 + last)
        weight[..., first] = gain
        tensor = g.op("Constant", value_t=weight)
        return g.op("Conv", x, tensor, group_i=channels, pads_i=[0, max(left, 0), 0, max(right, 0)])


class _ZeroPad(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: object, x: Tensor, left: int, right: int) -> Tensor:
        return F.pad(x, (left, right))

    @staticmethod
    def symbolic(g: Any, x: Any, left: int, right: int) -> Any:
        pads = g.op("Constant", value_t=torch.tensor([0, 0, 0, left, 0, 0, 0, right]))
        return g.op("Pad", x, pads)
