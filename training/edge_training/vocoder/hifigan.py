"""HiFi-GAN generator: mel spectrogram → waveform (Kong, Kim, Bae 2020, arXiv 2010.05646).

    input   (B, num_mels, T) float32       natural-log magnitude mel of `config.mel`
    output  (B, 1, T · hop_length) float32 samples in −1…1 at `config.sampling_rate`

conv_pre (kernel 7) → per stage: leaky ReLU 0.1 → transposed convolution (rate u, kernel k, channels halved) →
mean of the residual blocks → at last: leaky ReLU **0.01** → conv_post (kernel 7) → tanh.
Residual block 1: x += conv2(leaky(conv1(leaky(x)))) for each dilation; block 2: x += conv(leaky(x)).

Transposed convolution, output exactly u times as long: k − u even: padding (k − u)/2. k − u odd: Auffusion's
rule, padding (k − u)//2 + 1 with output padding 1, only on request (`odd_kernels`), because jik876/hifi-gan
gives one sample too many there.

Two wirings of the same weights:
    stock        jik876/hifi-gan's: every convolution centred; weight norm on all of them
    causal-tail  mri2speech's: residual blocks look back only; conv_pre and conv_post look ahead only
                 (6 zeros on the right); conv_pre has no weight norm

Parameters are named `conv_pre`, `ups.{i}`, `resblocks.{i·blocks + j}.convs1.{d}`, `.convs2.{d}` (block 1) or
`.convs.{d}` (block 2), `conv_post`. Initial weights are torch's defaults, as in effect in jik876/hifi-gan.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from math import prod
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from edge_runtime.dsp.mel import PRESETS, MelConfig
from edge_runtime.errors import ConfigError
from edge_training.engine.config import JsonConfig

Wiring = Literal["stock", "causal-tail"]
OddKernels = Literal["refuse", "output-padding"]
PaddingMode = Literal["zeros", "reflect"]

END_KERNEL = 7  # of conv_pre and conv_post
SLOPE = 0.1
LAST_SLOPE = 0.01  # before conv_post: torch's default, and what every published checkpoint was trained with
CONVOLUTIONS = MappingProxyType({1: 3, 2: 2})  # residual block type → dilations that it uses
# far above every published config (512 channels, 4 stages, 256 samples a hop); larger numbers are typing
# errors that would exhaust the memory
MOST_CHANNELS = 8192
MOST_WEIGHTS = 2**29  # 2 GB as float32
MOST_ENTRIES = 16  # stages, or residual blocks of a stage
LARGEST: Mapping[str, int] = MappingProxyType(
    {
        "upsample_initial_channel": MOST_CHANNELS,
        "num_mels": 1024,
        "n_fft": 65536,
        "hop_size": 16384,
        "win_size": 65536,
        "sampling_rate": 384_000,
        "upsample_rates": 1024,
        "upsample_kernel_sizes": 1024,
        "resblock_kernel_sizes": 1024,
        "resblock_dilation_sizes": 1024,
    }
)
# entries of jik876/hifi-gan's and mri2speech's config.json that the net does not depend on
TRAINING_ENTRIES = frozenset(
    {"num_gpus", "batch_size", "learning_rate", "adam_b1", "adam_b2", "lr_decay", "seed", "num_workers"}
    | {"num_freq", "dist_config", "input_mels_dir"}
)


@dataclass(frozen=True)
class HifiGanConfig(JsonConfig):
    """A `config.json` of jik876/hifi-gan, entry for entry, without the entries that only training reads.

    Raises:
        ConfigError: impossible or contradicting entries; the error names the entry, the value and the rule.

    >>> HIFIGAN_PRESETS["v1"].hop_length, HIFIGAN_PRESETS["v1"].context_frames
    (256, 13)
    """

    ignored: ClassVar[Collection[str]] = TRAINING_ENTRIES

    resblock: int  # type of residual block, 1 or 2
    upsample_rates: tuple[int, ...]
    upsample_kernel_sizes: tuple[int, ...]
    upsample_initial_channel: int
    resblock_kernel_sizes: tuple[int, ...]
    resblock_dilation_sizes: tuple[tuple[int, ...], ...]
    num_mels: int
    n_fft: int  # samples
    hop_size: int  # samples
    win_size: int  # samples
    sampling_rate: int  # Hz
    fmin: float  # Hz
    fmax: float | None  # Hz; None: half the sampling rate
    fmax_for_loss: float | None = None  # Hz, of the mel inside the training loss
    segment_size: int | None = None  # samples of one training crop
    wiring: Wiring | None = None  # None: as the checkpoint's keys say, stock where they do not say
    odd_kernels: OddKernels = "refuse"
    fmax_above_nyquist: bool = False  # accept an fmax whose upper bands are empty, as rtMRI checkpoints have
    # of checkpoints from other toolkits, see `edge_training.vocoder.dialects`
    padding_mode: PaddingMode = "zeros"  # around the input of every convolution of stride 1
    input_mean: tuple[float, ...] | None = None  # of each band of the mel: the net sees (mel - mean) / scale
    input_scale: tuple[float, ...] | None = None
    front_end: MelConfig | None = None  # None: HiFi-GAN's own
    front_end_known: bool = True  # False: nobody says how the mels of its training were made

    def __post_init__(self) -> None:
        _check_types(self)
        _check_sizes(self)
        _check_stages(self)
        _check_blocks(self)
        _check_weights(self)
        _check_mel(self)
        _check_input(self)
        _ = self.mel  # checks the framing

    @property
    def hop_length(self) -> int:
        """Samples out for each mel frame in."""
        return self.hop_size

    @property
    def mel(self) -> MelConfig:
        """The front end, unless it is another toolkit's: explicit reflect padding, magnitude, Slaney filters,
        natural logarithm floored at 1e-5."""
        if isinstance(self.front_end, MelConfig):
            return self.front_end
        return replace(
            PRESETS["hifigan-22k"],
            sample_rate=self.sampling_rate,
            n_fft=self.n_fft,
            hop_length=self.hop_size,
            win_length=self.win_size,
            n_mels=self.num_mels,
            fmin=self.fmin,
            fmax=self.fmax,
            fmax_above_nyquist=self.fmax_above_nyquist,
        )

    @property
    def known_front_end(self) -> MelConfig | None:
        """The front end; None where it is unknown how the mels of the net's training were made."""
        return self.mel if self.front_end_known else None

    @property
    def context(self) -> tuple[int, int]:
        """Mel frames before and after a frame that its samples depend on, computed from the layers."""
        return _context(self)

    @property
    def context_frames(self) -> int:
        """Frames to add on each side of a chunk, and to drop again, for the samples of one whole pass."""
        return max(self.context)

    @property
    def shortest(self) -> int:
        """Fewest mel frames that the net takes: what it reflects must be shorter than the signal there."""
        if self.padding_mode == "zeros":
            return 1
        end, block = END_KERNEL // 2, _widest_reflection(self)
        lengths = [prod(self.upsample_rates[: stage + 1]) for stage in range(len(self.upsample_rates))]
        return max(end + 1, *(-(-(block + 1) // length) for length in lengths))

    @property
    def receptive_field(self) -> int:
        """Number of mel frames that the samples of one frame depend on, itself included."""
        back, ahead = self.context
        return back + 1 + ahead

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> Self:
        """A config from a `config.json`: training entries are left out, unknown ones refused."""
        known = [field.name for field in fields(cls)]
        for key in entries:
            if key not in known and key not in TRAINING_ENTRIES:
                raise _unknown_entry(key, (*known, *TRAINING_ENTRIES))
        values = dict(entries)
        if values.get("resblock") in ("1", "2"):  # stock configs spell it as a string
            values["resblock"] = int(values["resblock"])
        if values.get("fmin", 0.0) is None:  # null is librosa's 0, as ParallelWaveGAN writes it
            values["fmin"] = 0.0
        for name in _FREQUENCIES & values.keys():  # and frequencies as whole numbers
            if isinstance(values[name], int) and not isinstance(values[name], bool):
                values[name] = float(values[name])
        if values.get("fmax_above_nyquist", False) is False and _above_nyquist(values):
            values["fmax_above_nyquist"] = True  # as the rtMRI system's own config.json has it
        return super().from_json(values)


def _above_nyquist(values: Mapping[str, Any]) -> bool:
    rate: Any = values.get("sampling_rate")
    tops: list[Any] = [values.get(name) for name in ("fmax", "fmax_for_loss")]
    return _whole(rate) and any(_frequency(top) and top > rate / 2 for top in tops)


_FREQUENCIES = frozenset({"fmin", "fmax", "fmax_for_loss"})


def _unknown_entry(key: str, known: tuple[str, ...]) -> ConfigError:
    near = difflib.get_close_matches(key, known, n=1)
    cause = (
        f"is {near[0]!r} meant?"
        if near
        else "is this another net than HiFi-GAN? Delete the entry if only training reads it"
    )
    return ConfigError(f"entry {key!r}", got="an unknown entry", expected="HiFi-GAN's entries", cause=cause)


def _tupled(value: Any) -> Any:
    return tuple(_tupled(item) for item in value) if isinstance(value, list | tuple) else value


def _listed(value: Any) -> Any:
    return [_listed(item) for item in value] if isinstance(value, tuple) else value


# ---- rules ------------------------------------------------------------------------------------------------


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _wholes(value: object) -> bool:
    return isinstance(value, tuple) and len(value) > 0 and all(map(_whole, value))


def _frequency(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


_TYPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(
        ("upsample_initial_channel", "num_mels", "n_fft", "hop_size", "win_size", "sampling_rate"),
        (_whole, "a positive whole number"),
    ),
    **dict.fromkeys(
        ("upsample_rates", "upsample_kernel_sizes", "resblock_kernel_sizes"),
        (_wholes, "a list of positive whole numbers"),
    ),
    "resblock": (lambda value: _whole(value) and value in CONVOLUTIONS, "1 or 2"),
    "resblock_dilation_sizes": (
        lambda value: isinstance(value, tuple) and len(value) > 0 and all(map(_wholes, value)),
        "a list of lists of positive whole numbers",
    ),
    "fmin": (_frequency, "a frequency in Hz, 0 or more"),
    "fmax": (lambda value: value is None or _frequency(value), "a frequency in Hz, or null for Nyquist"),
    "fmax_for_loss": (
        lambda value: value is None or _frequency(value),
        "a frequency in Hz, or null for Nyquist",
    ),
    "segment_size": (lambda value: value is None or _whole(value), "a positive whole number of samples"),
    "wiring": (lambda value: value in (None, "stock", "causal-tail"), "'stock' or 'causal-tail'"),
    "odd_kernels": (lambda value: value in ("refuse", "output-padding"), "'refuse' or 'output-padding'"),
    "fmax_above_nyquist": (lambda value: isinstance(value, bool), "true or false"),
    "padding_mode": (lambda value: value in ("zeros", "reflect"), "'zeros' or 'reflect'"),
    "front_end": (
        lambda value: value is None or isinstance(value, MelConfig),
        "the entries of a mel front end, or null for HiFi-GAN's own",
    ),
    "front_end_known": (lambda value: isinstance(value, bool), "true or false"),
}


def _check_types(config: HifiGanConfig) -> None:
    for name, (holds, expected) in _TYPES.items():
        value = getattr(config, name)
        if not holds(value):
            raise ConfigError(name, got=repr(_listed(value)), expected=expected)


def _check_sizes(config: HifiGanConfig) -> None:
    for name, largest in LARGEST.items():
        value = getattr(config, name)
        rows = value if isinstance(value, tuple) else (value,)
        if len(rows) > MOST_ENTRIES:
            raise ConfigError(name, got=f"{len(rows)} entries", expected=f"at most {MOST_ENTRIES}")
        got = max(max(row) if isinstance(row, tuple) else row for row in rows)
        if got > largest:
            raise ConfigError(
                name, got=str(got), expected=f"at most {largest}", cause="no such net fits into memory"
            )


def _check_stages(config: HifiGanConfig) -> None:
    """Lengths, product of rates, kernels against rates, channels."""
    rates, kernels = config.upsample_rates, config.upsample_kernel_sizes
    if len(rates) != len(kernels):
        raise ConfigError(
            "upsample_kernel_sizes",
            got=f"{len(kernels)} kernels",
            expected=f"{len(rates)}, one for each rate",
        )
    if prod(rates) != config.hop_size:
        raise ConfigError(
            "upsample_rates",
            got=f"{_times(rates)} = {prod(rates)}",
            expected=f"a product equal to hop_size, {config.hop_size}",
            cause="each mel frame must give one hop of samples",
        )
    for stage, (rate, kernel) in enumerate(zip(rates, kernels, strict=True)):
        _check_kernel(stage, rate, kernel, config.odd_kernels)
    channels, halvings = config.upsample_initial_channel, 2 ** len(rates)
    if channels % halvings:
        raise ConfigError(
            "upsample_initial_channel",
            got=str(channels),
            expected=f"a multiple of {halvings}",
            cause=f"each of the {len(rates)} stages halves the channels",
        )


def _check_kernel(stage: int, rate: int, kernel: int, odd_kernels: OddKernels) -> None:
    what, got = f"upsample_kernel_sizes[{stage}]", f"kernel {kernel} with rate {rate}"
    if kernel < rate:
        raise ConfigError(what, got=got, expected="a kernel not smaller than its rate")
    if (kernel - rate) % 2 == 0:
        return
    if odd_kernels == "refuse":
        raise ConfigError(
            what,
            got=f"{got}: k − u = {kernel - rate}, odd",
            expected="an even difference",
            cause="stock code emits one extra sample in this stage, so the output exceeds frames × hop; "
            'checkpoints of Auffusion, which pads such kernels exactly, need "odd_kernels": "output-padding"',
        )
    if rate == 1:
        raise ConfigError(
            what, got=got, expected="an odd kernel", cause="output padding needs a rate above 1"
        )


def _check_blocks(config: HifiGanConfig) -> None:
    kernels, dilations = config.resblock_kernel_sizes, config.resblock_dilation_sizes
    if len(kernels) != len(dilations):
        raise ConfigError(
            "resblock_dilation_sizes",
            got=f"{len(dilations)} lists",
            expected=f"{len(kernels)}, one for each of resblock_kernel_sizes",
        )
    for kernel in kernels:
        if kernel % 2 == 0:
            raise ConfigError(
                "resblock_kernel_sizes",
                got=str(kernel),
                expected="odd kernels",
                cause="an even kernel has no centre, so the block could not add its input",
            )
    needed = CONVOLUTIONS[config.resblock]
    for row in dilations:
        if len(row) != needed:
            raise ConfigError(
                "resblock_dilation_sizes",
                got=str(list(row)),
                expected=f"{needed} dilations in each list",
                cause=f"residual block {config.resblock} has {needed} of them; stock code ignores any more",
            )


def _check_weights(config: HifiGanConfig) -> None:
    channels = config.upsample_initial_channel
    weights = config.num_mels * channels * END_KERNEL
    for kernel in config.upsample_kernel_sizes:
        weights += channels * (channels // 2) * kernel
        channels //= 2
        block_taps = sum(
            size * len(row) * (2 if config.resblock == 1 else 1)
            for size, row in zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
        )
        weights += channels * channels * block_taps
    if weights > MOST_WEIGHTS:
        raise ConfigError(
            "upsample_initial_channel",
            got=f"{config.upsample_initial_channel}, with these kernels {weights} weights",
            expected=f"at most {MOST_WEIGHTS} weights",
            cause="no such net fits into memory",
        )


def _check_mel(config: HifiGanConfig) -> None:
    nyquist = config.sampling_rate / 2
    if config.n_fft < config.win_size:
        raise ConfigError(
            "n_fft", got=str(config.n_fft), expected=f"at least win_size, {config.win_size} samples"
        )
    if config.n_fft < config.hop_size:
        raise ConfigError(
            "n_fft", got=str(config.n_fft), expected=f"at least hop_size, {config.hop_size} samples"
        )
    for name in ("fmax", "fmax_for_loss"):
        top: float | None = getattr(config, name)
        if top is not None and top > nyquist and not config.fmax_above_nyquist:
            raise ConfigError(
                name,
                got=f"{top:g} Hz",
                expected=f"at most half of sampling_rate, {nyquist:g} Hz, or null for exactly that",
                cause="mel bands above it are always empty; a checkpoint that was trained that way (such as "
                'mri2speech\'s) needs "fmax_above_nyquist": true',
            )
    top = nyquist if config.fmax is None else config.fmax
    if config.fmin >= top:
        raise ConfigError("fmin", got=f"{config.fmin:g} Hz", expected=f"less than fmax, {top:g} Hz")
    if config.segment_size is not None and config.segment_size % config.hop_size:
        raise ConfigError(
            "segment_size",
            got=str(config.segment_size),
            expected=f"a multiple of hop_size, {config.hop_size}",
            cause="a training crop is a whole number of mel frames",
        )


def _check_input(config: HifiGanConfig) -> None:
    """Statistics of all bands or none; a front end of the same frames and bands; reflection on both sides."""
    for name in ("input_mean", "input_scale"):
        values = getattr(config, name)
        if values is None:
            continue
        numbers = isinstance(values, tuple) and all(
            isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < float("inf") for v in values
        )
        if not numbers or len(values) != config.num_mels or (name == "input_scale" and 0 in values):
            raise ConfigError(
                name,
                got=f"{len(values)} values" if isinstance(values, tuple) else repr(values),
                expected=f"{config.num_mels} finite numbers, one for each band, scales not zero",
            )
    if (config.input_mean is None) != (config.input_scale is None):
        raise ConfigError("input_mean", got="one of input_mean and input_scale", expected="both or neither")
    if config.padding_mode == "reflect" and config.wiring == "causal-tail":
        raise ConfigError("padding_mode", got="'reflect' with wiring causal-tail", expected="'zeros'")
    front_end = config.front_end
    if isinstance(front_end, MelConfig):
        got = (front_end.sample_rate, front_end.hop_length, front_end.n_mels)
        if got != (config.sampling_rate, config.hop_size, config.num_mels):
            raise ConfigError(
                "front_end",
                got="{} Hz, hop {}, {} bands".format(*got),
                expected=f"{config.sampling_rate} Hz, hop {config.hop_size}, {config.num_mels} bands",
            )


def _times(numbers: tuple[int, ...]) -> str:
    return " × ".join(map(str, numbers))


# ---- geometry ---------------------------------------------------------------------------------------------


class Padding(NamedTuple):
    """Zeros around the input of a convolution of stride 1, on its own time grid."""

    left: int
    right: int


def _padding(config: HifiGanConfig, kernel: int, dilation: int, *, end: bool) -> Padding:
    """Zeros that keep the length; `end`: conv_pre and conv_post."""
    reach = (kernel - 1) * dilation
    if config.wiring != "causal-tail":
        return Padding(reach // 2, reach // 2)
    return Padding(0, reach) if end else Padding(reach, 0)


def _up_padding(rate: int, kernel: int) -> tuple[int, int]:
    """(padding, output padding) of a transposed convolution whose output is rate times as long."""
    difference = kernel - rate
    return (difference // 2, 0) if difference % 2 == 0 else (difference // 2 + 1, 1)


def _block_reach(config: HifiGanConfig) -> Padding:
    """Samples that the widest residual block of a stage looks back and ahead."""
    reaches = []
    for kernel, dilations in zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True):
        chain = [
            d for dilation in dilations for d in ((dilation, 1) if config.resblock == 1 else (dilation,))
        ]
        pads = [_padding(config, kernel, dilation, end=False) for dilation in chain]
        reaches.append(Padding(sum(pad.left for pad in pads), sum(pad.right for pad in pads)))
    return Padding(max(reach.left for reach in reaches), max(reach.right for reach in reaches))


def _widest_reflection(config: HifiGanConfig) -> int:
    """Samples that a convolution of the residual blocks reflects at one end."""
    return max(
        (kernel - 1) * dilation // 2
        for kernel, row in zip(config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True)
        for dilation in row
    )


def _context(config: HifiGanConfig) -> tuple[int, int]:
    """Follows the samples of frame 0 back through the layers to the frames that they depend on."""
    end, block = _padding(config, END_KERNEL, 1, end=True), _block_reach(config)
    first, last = 0 - end.left, config.hop_size - 1 + end.right
    for rate, kernel in reversed(list(zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True))):
        first, last = first - block.left, last + block.right
        padding, _ = _up_padding(rate, kernel)
        # sample n sums the inputs i with 0 <= n + padding − i·rate < kernel
        first, last = -((kernel - 1 - padding - first) // rate), (last + padding) // rate
    return end.left - first, last + end.right


# ---- net --------------------------------------------------------------------------------------------------


class AsymmetricConv1d(nn.Conv1d):
    """A Conv1d of stride 1 with `pad` = (left, right) zeros of its own; the causal-tail wiring's layers."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int, pad: Padding) -> None:
        super().__init__(inputs, outputs, kernel, dilation=dilation)
        self.pad = pad

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, N) → (B, outputs, N')."""
        return super().forward(F.pad(x, self.pad))


def _convolution(
    inputs: int, outputs: int, kernel: int, dilation: int, pad: Padding, mode: PaddingMode
) -> nn.Conv1d:
    """A convolution that keeps the length, before weight norm; a plain Conv1d where its padding is even."""
    if pad.left == pad.right:
        return nn.Conv1d(inputs, outputs, kernel, dilation=dilation, padding=pad.left, padding_mode=mode)
    return AsymmetricConv1d(inputs, outputs, kernel, dilation, pad)


class Standardise(nn.Module):
    """(mel - mean) / scale for each band, where the configuration has them; (B, num_mels, T), same shape."""

    mean: Tensor
    scale: Tensor

    def __init__(self, config: HifiGanConfig) -> None:
        super().__init__()
        self.given = config.input_mean is not None
        for name, values in (("mean", config.input_mean), ("scale", config.input_scale)):
            column = None if values is None else torch.tensor(values)[:, None]
            self.register_buffer(name, column, persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, num_mels, T) → the same shape."""
        return (mel - self.mean) / self.scale if self.given else mel


class ResBlock1(nn.Module):
    """Pairs of a dilated and a plain convolution, each pair around its input; (B, C, N) → (B, C, N)."""

    def __init__(self, config: HifiGanConfig, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()

        def convolution(dilation: int) -> nn.Conv1d:
            pad = _padding(config, kernel, dilation, end=False)
            return _convolution(channels, channels, kernel, dilation, pad, config.padding_mode)

        self.convs1 = nn.ModuleList(convolution(dilation) for dilation in dilations)
        self.convs2 = nn.ModuleList(convolution(1) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N) → the same shape."""
        for dilated, plain in zip(self.convs1, self.convs2, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, SLOPE)), SLOPE))
        return x


class ResBlock2(nn.Module):
    """Dilated convolutions, each around its input; (B, C, N) → (B, C, N)."""

    def __init__(self, config: HifiGanConfig, channels: int, kernel: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            _convolution(
                channels, channels, kernel, d, _padding(config, kernel, d, end=False), config.padding_mode
            )
            for d in dilations
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, N) → the same shape."""
        for convolution in self.convs:
            x = x + convolution(F.leaky_relu(x, SLOPE))
        return x


class HifiGan(nn.Module):
    """mel (B, num_mels, T) → samples (B, 1, T · hop_length).

    Args:
        config: `wiring=None` is built as "stock".
        weight_norm: keep weights as magnitude and direction (torch's parametrization), for training; without
            it each layer has its plain `weight`, which inference and export need.

    >>> import torch
    >>> net = HifiGan(HIFIGAN_PRESETS["v3"]).eval()
    >>> net(torch.zeros(1, 80, 4)).shape
    torch.Size([1, 1, 1024])
    """

    def __init__(self, config: HifiGanConfig, *, weight_norm: bool = False) -> None:
        super().__init__()
        self.config = config
        channels = config.upsample_initial_channel
        pad = _padding(config, END_KERNEL, 1, end=True)
        block = ResBlock1 if config.resblock == 1 else ResBlock2
        self.blocks = len(config.resblock_kernel_sizes)
        self.conv_pre = _convolution(config.num_mels, channels, END_KERNEL, 1, pad, config.padding_mode)
        self.ups = nn.ModuleList()
        self.resblocks = nn.ModuleList()
        for rate, kernel in zip(config.upsample_rates, config.upsample_kernel_sizes, strict=True):
            padding, extra = _up_padding(rate, kernel)
            self.ups.append(nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding, extra))
            channels //= 2
            for size, dilations in zip(
                config.resblock_kernel_sizes, config.resblock_dilation_sizes, strict=True
            ):
                self.resblocks.append(block(config, channels, size, dilations))
        self.conv_post = _convolution(channels, 1, END_KERNEL, 1, pad, config.padding_mode)
        self.standardise = Standardise(config)
        if weight_norm:
            for layer in self._normed_layers():
                parametrizations.weight_norm(layer)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, num_mels, T) → (B, 1, T · hop_length)."""
        x: Tensor = self.conv_pre(self.standardise(mel))
        for stage, up in enumerate(self.ups):
            x = self._mean_of_blocks(stage, up(F.leaky_relu(x, SLOPE)))
        x = self.conv_post(F.leaky_relu(x, LAST_SLOPE))
        return x.tanh()

    def _mean_of_blocks(self, stage: int, x: Tensor) -> Tensor:
        first = stage * self.blocks
        total: Tensor = self.resblocks[first](x)
        for block in range(first + 1, first + self.blocks):
            total = total + self.resblocks[block](x)
        return total / self.blocks

    def fold(self) -> Self:
        """Fold weight norm into plain weights, in place; does nothing where that is done already."""
        for layer in self._normed_layers():
            if parametrize.is_parametrized(layer):
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        return self

    def _normed_layers(self) -> list[nn.Module]:
        """The layers that have weight norm in jik876/hifi-gan, or mri2speech for its wiring."""
        layers = [m for m in self.modules() if isinstance(m, nn.Conv1d | nn.ConvTranspose1d)]
        return [m for m in layers if m is not self.conv_pre or self.config.wiring != "causal-tail"]


# ---- presets ----------------------------------------------------------------------------------------------

_LJ_SPEECH: Mapping[str, Any] = {  # 22 050 Hz, 80 mels, 8 kHz
    "num_mels": 80,
    "n_fft": 1024,
    "hop_size": 256,
    "win_size": 1024,
    "sampling_rate": 22050,
    "fmin": 0.0,
    "fmax": 8000.0,
    "segment_size": 8192,
}
_BLOCKS_1: Mapping[str, Any] = {
    "resblock": 1,
    "resblock_kernel_sizes": (3, 7, 11),
    "resblock_dilation_sizes": ((1, 3, 5),) * 3,
}
_RATES_256: Mapping[str, Any] = {"upsample_rates": (8, 8, 2, 2), "upsample_kernel_sizes": (16, 16, 4, 4)}
_RTMRI: Mapping[str, Any] = {  # real-time MRI corpus: 11 413 Hz, hop 420 = one video frame of 36.8 ms
    **_BLOCKS_1,
    "upsample_rates": (10, 7, 3, 2),
    "upsample_kernel_sizes": (20, 15, 7, 4),
    "upsample_initial_channel": 512,
    "num_mels": 64,
    "n_fft": 2048,
    "hop_size": 420,
    "win_size": 2048,
    "sampling_rate": 11413,
    "fmin": 0.0,
    "segment_size": 8400,
}

HIFIGAN_PRESETS: Mapping[str, HifiGanConfig] = MappingProxyType(
    {
        "v1": HifiGanConfig(**_LJ_SPEECH, **_BLOCKS_1, **_RATES_256, upsample_initial_channel=512),
        "v2": HifiGanConfig(**_LJ_SPEECH, **_BLOCKS_1, **_RATES_256, upsample_initial_channel=128),
        "v3": HifiGanConfig(
            **_LJ_SPEECH,
            resblock=2,
            upsample_rates=(8, 8, 4),
            upsample_kernel_sizes=(16, 16, 8),
            upsample_initial_channel=256,
            resblock_kernel_sizes=(3, 5, 7),
            resblock_dilation_sizes=((1, 2), (2, 6), (3, 12)),
        ),
        # stock wiring and a filter bank that ends at Nyquist: what to train for 11 413 Hz
        "rtmri": HifiGanConfig(**_RTMRI, fmax=None, wiring="stock"),
        # mri2speech's own checkpoints: 6 of their 64 filters lie above Nyquist and are empty
        "rtmri-origin": HifiGanConfig(**_RTMRI, fmax=8000.0, wiring="causal-tail", fmax_above_nyquist=True),
    }
)
