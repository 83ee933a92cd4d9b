"""Net `istft-vocoder`: mel → speech in one graph, with the inverse STFT inside.

    mel (B, n_mels, T)           logarithms as the front end makes them
      │ undone to ln of the bands, pseudo-inverse of the filter bank, ln, pre-emphasis taken back: the prior
    [mel, prior]                 (B, n_mels + bins, T), about −2 … 2
      │ convolution over frames → LayerNorm
      │ blocks × [convolution of each channel alone → LayerNorm → linear → GELU → linear → scale], added
      │ LayerNorm → linear to 3 · bins: a correction of the prior, and a vector (r, i)
    ln magnitude ≤ ceiling, unit phasor (r, i) / √(r² + i² + ε), each (B, bins, T)
      │ inverse STFT: real products with cosines and sines, frames added where they overlap, Σ w² divided out
    audio (B, 1, T · hop)        full scale ±1

Everything runs at the rate of frames, so that a second costs hundredths of what a net costs that upsamples.
The phase is a vector, not an angle: nothing wraps. LayerNorm is over channels; nothing is normed over time,
so that a chunk with its context gives what a whole run gives. No complex types, and no length is computed
with.

Frame t's window begins at sample t · hop − trim, trim = ⌊(n_fft − hop) / 2⌋, as with `reflect` padding; T
frames give T · hop samples for every padding, and `first_sample` says where in a recording they begin.

`look_ahead` frames: null, convolutions are centred; otherwise the first ones have the frames ahead, the
others none. The inverse STFT adds `overlap_ahead` frames, since windows that begin later reach back.

Kaneko and others 2022 (iSTFTNet, arXiv 2203.02395) and Siuzdak 2023 (Vocos, arXiv 2306.00814) made magnitude
and phase so; the prior is Lv and others' (FreeV, arXiv 2406.08196); blocks are ConvNeXt's (arXiv 2201.03545).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_runtime.dsp.mel import PRESETS, MelConfig, filter_bank
from edge_runtime.errors import ConfigError
from edge_training.engine.config import JsonConfig, Rule, is_number, is_whole

PHASOR_FLOOR = 1e-9  # ε: of r² + i², before the root
LEVEL, SPREAD = -5.0, 3.0  # of ln magnitudes of speech, about: features are (x − LEVEL) / SPREAD
NORM_EPSILON = 1e-6
LOUDEST = 12.0  # of ln of a band, beyond any sound within ±1: exp stays finite


@dataclass(frozen=True)
class IstftVocoderConfig(JsonConfig):
    """All numbers of the net. Raises ConfigError that names the entry and the rule."""

    mel: MelConfig = field(default_factory=lambda: PRESETS["hifigan-22k"])
    width: int = 256  # channels
    expansion: int = 3  # of the channels inside a block
    blocks: int = 8
    kernel: int = 7  # frames, odd, of a block's convolution
    embed_kernel: int = 7  # frames, odd, of the first convolution
    look_ahead: int | None = None  # frames of the mel that the spectrum waits for; null: centred
    ceiling: float = 6.0  # of the ln magnitude
    prior: bool = True  # False: the ln magnitude is the net's alone (for comparison)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_front_end(self.mel)
        if self.look_ahead is not None and self.look_ahead > self.most_ahead:
            raise ConfigError(
                "look_ahead",
                got=f"{self.look_ahead} frames",
                expected=f"at most {self.most_ahead}, all that its kernels span",
            )

    def _rules(self) -> Iterator[Rule]:
        for name in ("width", "expansion", "blocks"):
            yield name, "a positive whole number", is_whole(getattr(self, name), least=1)
        for name in ("kernel", "embed_kernel"):
            value = getattr(self, name)
            yield name, "an odd number of frames", is_whole(value, least=1) and value % 2 == 1
        ahead = self.look_ahead
        yield "look_ahead", "a whole number of frames, or null", ahead is None or is_whole(ahead, least=0)
        yield "ceiling", "a number in -10 … 11", is_number(self.ceiling, least=-10, most=11)
        yield "prior", "true or false", isinstance(self.prior, bool)

    # ---- derived

    @property
    def bins(self) -> int:
        return self.mel.stft.bins

    @property
    def hop_length(self) -> int:
        """Samples a frame."""
        return self.mel.hop_length

    @property
    def trim(self) -> int:
        """Samples of the first window that lie before the audio."""
        return (self.mel.n_fft - self.mel.hop_length) // 2

    @property
    def first_sample(self) -> int:
        """Where in a recording the audio of its mel begins: 0 for `reflect` padding."""
        before = {"reflect": self.trim, "none": 0}.get(self.mel.padding, self.mel.n_fft // 2)
        return self.trim - before

    @property
    def most_ahead(self) -> int:
        """Frames ahead that the kernels could have."""
        return self.embed_kernel - 1 + self.blocks * (self.kernel - 1)

    @property
    def ahead(self) -> tuple[int, ...]:
        """Frames ahead of the first convolution and of each block's."""
        kernels = (self.embed_kernel, *(self.kernel,) * self.blocks)
        if self.look_ahead is None:
            return tuple(kernel // 2 for kernel in kernels)
        left, ahead = self.look_ahead, []
        for kernel in kernels:
            ahead.append(min(left, kernel - 1))
            left -= ahead[-1]
        return tuple(ahead)

    @property
    def overlap_behind(self) -> int:
        """Frames before a frame whose windows reach into its samples."""
        _, last = _window_span(self.mel)
        return max(0, (last - 1 - self.trim) // self.hop_length)

    @property
    def overlap_ahead(self) -> int:
        """Frames after a frame whose windows reach back into its samples."""
        first, _ = _window_span(self.mel)
        return max(0, (self.trim + self.hop_length - 1 - first) // self.hop_length)

    @property
    def context_before(self) -> int:
        """Frames before a frame that its samples depend on."""
        return self.most_ahead - sum(self.ahead) + self.overlap_behind

    @property
    def context_after(self) -> int:
        """Frames after a frame that its samples depend on: the latency, in frames."""
        return sum(self.ahead) + self.overlap_ahead

    def multiplications(self) -> int:
        """Of weights, for a frame: convolutions and linear layers, the prior, the inverse STFT's products."""
        mel, width, bins = self.mel.bands, self.width, self.bins
        inputs = mel + (bins if self.prior else 0)
        block = width * self.kernel + 2 * width * width * self.expansion
        net = inputs * width * self.embed_kernel + self.blocks * block + width * 3 * bins
        return net + (mel * bins if self.prior else 0) + _transform_products(self.mel.n_fft)


def _check_front_end(mel: MelConfig) -> None:
    """Refuse front ends whose mels do not say how loud a sound is, or whose windows leave gaps."""
    problems = {
        "log": ("none", "a logarithm") if mel.log == "none" else None,
        "n_mels": ("null", "a number of bands") if mel.n_mels is None else None,
        "standardize": ("true", "false: its mels have no level") if mel.standardize else None,
        "spectrum_range_db": (
            str(mel.spectrum_range_db), "null: its mels have no level"
        ) if mel.spectrum_range_db is not None else None,
        "hop_length": (
            f"{mel.hop_length} of windows of {mel.win_length}", "at most half a window"
        ) if 2 * mel.hop_length > mel.win_length else None,
    }  # fmt: skip
    for name, problem in problems.items():
        if problem is not None:
            raise ConfigError(f"mel: {name}", got=problem[0], expected=problem[1])


def _window_span(mel: MelConfig) -> tuple[int, int]:
    """First and last + 1 sample of a frame where its window is not zero (a periodic Hann's first is)."""
    start = (mel.n_fft - mel.win_length) // 2
    return start + 1, start + mel.win_length


def synthesis_window(mel: MelConfig) -> NDArray[np.float64]:
    """(n_fft,): the periodic Hann window of the front end, centred in its frame."""
    window = np.zeros(mel.n_fft)
    start = (mel.n_fft - mel.win_length) // 2
    angles = 2 * np.pi * np.arange(mel.win_length) / mel.win_length
    window[start : start + mel.win_length] = 0.5 - 0.5 * np.cos(angles)
    return window


# ---- parts ------------------------------------------------------------------------------------------------


class Prior(nn.Module):
    """Logarithms of the front end (B, n_mels, T) → features and ln magnitudes (B, bins, T).

    Features are ln of the bands, halved where the front end has powers, and with `all_bins` the ln
    magnitudes: less LEVEL, over SPREAD.
    """

    pinv: Tensor
    undone: Tensor

    def __init__(self, mel: MelConfig, *, all_bins: bool) -> None:
        super().__init__()
        self.all_bins = all_bins
        self.slope, self.offset = _to_natural(mel)
        self.floor, self.power = mel.floor, mel.power
        angles = 2 * np.pi * np.arange(mel.stft.bins) / mel.n_fft
        # a pole of the inverse filter at 0 Hz would be endless with a coefficient of 1
        filtered = np.abs(1 - mel.pre_emphasis * np.exp(-1j * angles)).clip(1e-3)
        constants = {
            "pinv": np.linalg.pinv(filter_bank(mel)),
            "undone": -np.log(filtered)[:, None],
        }
        for name, values in constants.items():
            self.register_buffer(name, torch.from_numpy(values).float(), persistent=False)
        self.emphasised = mel.pre_emphasis != 0

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """(B, n_mels, T) → features (B, n_mels or n_mels + bins, T) and ln magnitudes (B, bins, T)."""
        natural = mel if (self.slope, self.offset) == (1.0, 0.0) else mel * self.slope + self.offset
        bands = natural.clamp(max=LOUDEST * self.power).exp()
        prior = torch.matmul(self.pinv, bands).clamp(min=self.floor).log()
        if self.power == 2:
            natural, prior = 0.5 * natural, 0.5 * prior
        if self.emphasised:
            prior = prior + self.undone
        levels = torch.cat([natural, prior], 1) if self.all_bins else natural
        return (levels - LEVEL) / SPREAD, prior


def _to_natural(mel: MelConfig) -> tuple[float, float]:
    """Slope and offset from the front end's values to natural logarithms of its bands."""
    slope, offset = 1.0, 0.0
    if mel.scale_from is not None:
        (low, high), (to_low, to_high) = mel.scale_from, mel.scale_to
        slope = (high - low) / (to_high - to_low)
        offset = low - to_low * slope
    unit = (math.log(10) if mel.log == "log10" else 1.0) / mel.log_gain
    return slope * unit, (offset + mel.reference) * unit


class Block(nn.Module):
    """ConvNeXt over frames; (B, T, width) → the same."""

    def __init__(self, width: int, expansion: int, kernel: int, ahead: int, scale: float) -> None:
        super().__init__()
        self.padding = (kernel - 1 - ahead, ahead)
        self.dw = nn.Conv1d(width, width, kernel, groups=width)
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)
        self.gamma = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) → the same shape."""
        y = self.dw(F.pad(x.transpose(1, 2), self.padding)).transpose(1, 2)  # (B, width, T) inside
        y = self.down(F.gelu(self.up(self.norm(y))))
        result: Tensor = x + self.gamma * y
        return result


class Polar(nn.Module):
    """Prior and what the last layer says of it → ln magnitude, and cosine and sine of the phase."""

    def __init__(self, config: IstftVocoderConfig) -> None:
        super().__init__()
        self.ceiling, self.corrects = config.ceiling, config.prior

    def forward(self, prior: Tensor, said: Tensor, r: Tensor, i: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Prior, correction, r and i → ln magnitude, cosine and sine, all (B, bins, T)."""
        magnitude = prior + said if self.corrects else LEVEL + SPREAD * said
        length = torch.rsqrt(r * r + i * i + PHASOR_FLOOR)
        return magnitude.clamp(max=self.ceiling), r * length, i * length


class InverseStft(nn.Module):
    """ln magnitude, cosine and sine (B, bins, T) → audio (B, 1, T · hop), in the sense of least squares."""

    window: Tensor
    weights: Tensor

    def __init__(self, mel: MelConfig, trim: int) -> None:
        super().__init__()
        self.hop, self.trim = mel.hop_length, trim
        self.overlap = -(-mel.n_fft // self.hop)  # windows that may share a sample
        self.spare = self.overlap * self.hop - mel.n_fft  # rows of zeros that make whole hops of a window
        self.tail = self.overlap * self.hop - trim - self.hop  # samples after the last frame's own
        self.transform = Quartered(mel.n_fft) if mel.n_fft % 4 == 0 else Whole(mel.n_fft)
        window = synthesis_window(mel)[:, None]
        weights = np.pad(window**2, ((0, self.spare), (0, 0)))
        for name, values in {"window": window, "weights": weights}.items():
            self.register_buffer(name, torch.from_numpy(values).float(), persistent=False)

    def forward(self, log_magnitude: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """ln magnitude, cosine and sine, (B, bins, T) each → audio (B, 1, T · hop)."""
        magnitude = log_magnitude.exp()
        frames = self.window * self.transform(magnitude * cosine, magnitude * sine)
        if self.spare:
            frames = F.pad(frames, (0, 0, 0, self.spare))
        row = log_magnitude[:, :1]
        # ones by comparison: runtimes in browsers and on phones lack an operator that fills a given shape
        ones = (row == row).to(row.dtype)
        return self.join(frames) / self.join(self.weights * ones)

    def join(self, frames: Tensor) -> Tensor:
        """Windows (B, overlap · hop, T), each a hop after the one before, added: (B, 1, T · hop)."""
        last = self.overlap - 1
        pieces = [
            F.pad(frames[:, k * self.hop : (k + 1) * self.hop], (k, last - k)) for k in range(self.overlap)
        ]
        total = pieces[0]
        for piece in pieces[1:]:
            total = total + piece  # (B, hop, T + last)
        samples = total.transpose(1, 2).flatten(1)[:, None]
        return samples[..., self.trim : -self.tail]


class Whole(nn.Module):
    """Real and imaginary parts (B, bins, T) → one period (B, n_fft, T), as one product; for any n_fft."""

    basis: Tensor

    def __init__(self, n_fft: int) -> None:
        super().__init__()
        cosines, sines = _waves(n_fft, np.arange(n_fft))
        basis = torch.from_numpy(np.concatenate([cosines, -sines], axis=1)).float()
        self.register_buffer("basis", basis, persistent=False)

    def forward(self, real: Tensor, imag: Tensor) -> Tensor:
        """Real and imaginary parts (B, bins, T) → (B, n_fft, T)."""
        return torch.matmul(self.basis, torch.cat([real, imag], 1))


class Quartered(nn.Module):
    """As `Whole`, for multiples of 4, with a quarter of its products and of its constants.

    Cosines are even about half a period, sines odd; of half a period, waves of even bins and of odd ones are
    even or odd about its middle. So a quarter of a period, 0 … n_fft / 4, of the four kinds says all.
    """

    even_cosines: Tensor
    odd_cosines: Tensor
    even_sines: Tensor
    odd_sines: Tensor

    def __init__(self, n_fft: int) -> None:
        super().__init__()
        self.quarter = n_fft // 4
        cosines, sines = _waves(n_fft, np.arange(self.quarter + 1))
        kinds = {
            "even_cosines": cosines[:, 0::2],
            "odd_cosines": cosines[:, 1::2],
            "even_sines": sines[:, 0::2],
            "odd_sines": sines[:, 1::2],
        }
        for name, values in kinds.items():
            tensor = torch.from_numpy(np.ascontiguousarray(values)).float()
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, real: Tensor, imag: Tensor) -> Tensor:
        """Real and imaginary parts (B, bins, T) → (B, n_fft, T)."""
        even, odd = (
            torch.matmul(self.even_cosines, real[:, 0::2]),
            torch.matmul(self.odd_cosines, real[:, 1::2]),
        )
        rising, falling = (
            torch.matmul(self.even_sines, imag[:, 0::2]),
            torch.matmul(self.odd_sines, imag[:, 1::2]),
        )
        near, far = even + odd, even - odd  # cosines at n, and at half a period − n
        near_sines, far_sines = rising + falling, falling - rising
        quarters = (
            near - near_sines,  # 0 … quarter
            (far - far_sines)[:, :-1].flip(1),  # quarter + 1 … half
            (far + far_sines)[:, 1:],  # half + 1 … half + quarter
            (near + near_sines)[:, 1:-1].flip(1),  # to the end
        )
        return torch.cat(quarters, 1)


def _transform_products(n_fft: int) -> int:
    return (n_fft // 2 + 2) * (n_fft // 2 + 1) if n_fft % 4 == 0 else 2 * n_fft * (n_fft // 2 + 1)


def _waves(n_fft: int, samples: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(samples, bins) each: cosine and sine of every bin, whose products with a spectrum are a signal."""
    bins = n_fft // 2 + 1
    # the product in whole numbers, modulo a turn: exact for every length
    angles = 2 * np.pi / n_fft * (samples[:, None] * np.arange(bins) % n_fft)
    share = np.full(bins, 2.0 / n_fft)  # a bin stands for its mirror image too …
    share[0] = 1.0 / n_fft
    if n_fft % 2 == 0:
        share[-1] = 1.0 / n_fft  # … but for 0 and Nyquist
    return share * np.cos(angles), share * np.sin(angles)


# ---- the net ----------------------------------------------------------------------------------------------


class IstftVocoder(nn.Module):
    """mel (B, n_mels, T), T ≥ 1 → audio (B, 1, T · hop)."""

    def __init__(self, config: IstftVocoderConfig) -> None:
        super().__init__()
        self.config = config
        first, *ahead = config.ahead
        inputs = config.mel.bands + (config.bins if config.prior else 0)
        self.prior = Prior(config.mel, all_bins=config.prior)
        self.padding = (config.embed_kernel - 1 - first, first)
        self.embed = nn.Conv1d(inputs, config.width, config.embed_kernel)
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.blocks = nn.ModuleList(
            Block(config.width, config.expansion, config.kernel, frames, 1 / config.blocks)
            for frames in ahead
        )
        self.last = nn.LayerNorm(config.width, eps=NORM_EPSILON)
        self.head = nn.Linear(config.width, 3 * config.bins)
        self.polar = Polar(config)
        self.inverse = InverseStft(config.mel, config.trim)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv1d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def spectrum(self, mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ln magnitude, and cosine and sine of the phase: (B, bins, T) each, of the mel's precision."""
        with torch.autocast(mel.device.type, enabled=False):  # half precision does not carry the prior
            features, prior = self.prior(mel)
        x = self.norm(self.embed(F.pad(features, self.padding)).transpose(1, 2))  # (B, T, width)
        for block in self.blocks:
            x = block(x)
        said = self.head(self.last(x)).transpose(1, 2)  # (B, 3 · bins, T)
        with torch.autocast(mel.device.type, enabled=False):
            if said.dtype != prior.dtype:
                said = said.to(prior.dtype)
            log_magnitude, cosine, sine = self.polar(prior, *said.split(self.config.bins, 1))
        return log_magnitude, cosine, sine

    def audio(self, log_magnitude: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """(B, 1, T · hop) of a spectrum as `spectrum` gives it."""
        with torch.autocast(cosine.device.type, enabled=False):
            audio: Tensor = self.inverse(log_magnitude, cosine, sine)
            return audio

    def forward(self, mel: Tensor) -> Tensor:
        """(B, n_mels, T) → (B, 1, T · hop)."""
        return self.audio(*self.spectrum(mel))


# ---- presets ----------------------------------------------------------------------------------------------


def rtmri_mel() -> MelConfig:
    """What `mri-speech` gives to a vocoder: ln of the pre-emphasised mel power, not below ln 1e-5."""
    return replace(PRESETS["rtmri"], padding="reflect", log="ln", log_gain=1.0, floor=1e-5, top_db=None)


def _presets() -> dict[str, IstftVocoderConfig]:
    return {
        "lj-22k": IstftVocoderConfig(),
        "small-22k": IstftVocoderConfig(width=128, blocks=5, embed_kernel=3),
        # few frames behind too: a chunk is fed with all of them
        "streaming-22k": IstftVocoderConfig(width=192, kernel=3, embed_kernel=5, look_ahead=2),
        "rtmri": IstftVocoderConfig(mel=rtmri_mel(), width=128, blocks=5, embed_kernel=3),
        "auffusion": IstftVocoderConfig(mel=PRESETS["auffusion"], expansion=2, blocks=6),
    }


ISTFT_VOCODER_PRESETS: Mapping[str, IstftVocoderConfig] = MappingProxyType(_presets())
