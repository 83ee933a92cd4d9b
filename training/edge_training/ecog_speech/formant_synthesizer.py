"""formant-synthesizer: speech parameters → power spectrogram, and a waveform.

    S = L · (α_v · H · M_v + α_u · U · M_u) + N

    H   harmonics of f0, up to 40 and below 7800 Hz, each √2 sin: their power spectrogram
    U   uniform noise of variance 1: its power spectrogram
    M   formants as filters (`formant_masks`), weighted by their amplitudes; six voiced, seven unvoiced
    N   background: `background` (B, F), the recording's noise or what the encoder learned, times the power
        spectrogram of Gaussian noise behind a small net

The output is dB of S, not below the floor, scaled to [−1, …]. Spectrograms are power STFTs of 2F − 1
samples, hop 128, periodic Hann: an odd transform gives exactly a frame a hop. Noise is an input, so that
the same numbers come out everywhere: `noise` uniform in 0 … 1 and `background_noise` Gaussian, (1, 1, 128 T).

Phase. Harmonic k needs sin 2πk Σ f0 / 16000. In float32 the sum of 16384 frequencies reaches 7e6 Hz, whose
last bit is half a hertz. So f0 is split into multiples of 1/64 Hz, whose sums are exact, and a rest below
that; sums are taken within a frame, over 8 frames, over all of them, and multiples of 16000 Hz, whole cycles,
are taken off after each. Then spectrograms agree with float64 to 1e-3 and better, of a range of 2; the sum
as it stands is 0.07 off.

Waveform (`wave`): harmonic k has the amplitude √(L α_v) Σᵢ √(aᵢ Gᵢ(k f0)), interpolated between frames;
noise has the magnitude √(L α_u U M_u) and random phases (`phase`, 0 … 1, (1, F, T)) through the inverse STFT,
times 2. No background.

Keys of published files are kept, unused ones too. Source: `FormantSysth` of neural_speech_decoding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_runtime.errors import ConfigError
from edge_training.ecog_speech.decoders.layers import SLOPE, initialise
from edge_training.ecog_speech.formant_masks import GaussianMasks, LearnedMasks
from edge_training.ecog_speech.parameters import (
    FORMANTS,
    HOP,
    NOISE_FORMANTS,
    SAMPLE_RATE,
    DbScale,
    Parameters,
)
from edge_training.engine.config import JsonConfig, Rule, is_whole
from edge_training.spectral.layers import FixedIstft, FixedStft, SpectralConfig

HARMONICS = 40
LEAST_BINS = 128  # whose transform of 2F − 1 samples has an inverse at the hop
HIGHEST = 7800.0  # Hz; a harmonic there is half as loud, above silent
BACKGROUND = 3e-4
LEAST_POWER = 1e-10
GRID = 64.0  # parts of a hertz whose sums float32 has exactly
WHOLE = 1e-5  # radians from a whole cycle within which K (K + 1) φ is all of the harmonics' sum
GROUP = 8  # frames that are summed before whole cycles are taken off again
DUMMY = (250.0, 250.0, 50.0)  # Hz: largest frequency, largest bandwidth beyond the least one
INPUTS = (
    "f0_hz",
    "loudness",
    "amplitudes",
    "freq_formants_hamon_hz",
    "bandwidth_formants_hamon_hz",
    "amplitude_formants_hamon",
    "freq_formants_noise_hz",
    "bandwidth_formants_noise_hz",
    "amplitude_formants_noise",
)  # of the parameters; then background, noise, background_noise, phase


@dataclass(frozen=True)
class FormantSynthesizerConfig(JsonConfig):
    """What a synthesizer is; ConfigError names the entry."""

    bins: int = 256
    learned_mask: bool = True
    filter_samples: int = 80  # of a prototype
    dummy_formant: bool = False
    background_from_data: bool = True  # else the encoder gives it
    harmonics: int = HARMONICS
    floor_db: float = -50.0
    top_db: float = 22.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dummy_formant and not self.learned_mask:
            raise ConfigError(
                "dummy_formant", got="true with Gaussian masks", expected="learned_mask with it"
            )
        _ = self.scale

    def _rules(self) -> Iterator[Rule]:
        for name, low, high in (("bins", LEAST_BINS, 4096), ("harmonics", 1, 400)):
            whole = is_whole(getattr(self, name), least=low) and getattr(self, name) <= high
            yield name, f"a whole number from {low} to {high}", whole
        samples = self.filter_samples
        even = is_whole(samples, least=4) and samples <= 4096 and samples % 2 == 0
        yield "filter_samples", "an even number from 4 to 4096", even
        for name in ("learned_mask", "dummy_formant", "background_from_data"):
            yield name, "true or false", isinstance(getattr(self, name), bool)

    @property
    def scale(self) -> DbScale:
        """What the spectrogram's −1 and 1 stand for."""
        return DbScale(self.floor_db, self.top_db)

    @property
    def stft(self) -> SpectralConfig:
        """The transform of F bins."""
        n_fft = 2 * self.bins - 1
        return SpectralConfig(n_fft, HOP, n_fft, "center-reflect")


FORMANT_SYNTHESIZER_PRESETS: Mapping[str, FormantSynthesizerConfig] = MappingProxyType(
    {
        "learned-256": FormantSynthesizerConfig(),
        "learned-512": FormantSynthesizerConfig(bins=512),
        "gaussian-256": FormantSynthesizerConfig(learned_mask=False),
        "gaussian-512": FormantSynthesizerConfig(bins=512, learned_mask=False),
        "dummy-256": FormantSynthesizerConfig(dummy_formant=True),
        "background-256": FormantSynthesizerConfig(background_from_data=False),
    }
)


class FormantSynthesizer(nn.Module):
    """The tensors of `INPUTS`, background, noise, background_noise, phase → spectrogram, wave.

    background (B, F), noise and background_noise (1, 1, 128 T), phase (1, F, T); spectrogram (B, 1, T, F) in
    scaled dB, wave (B, 1, 128 T).
    """

    orders: Tensor
    window: Tensor

    def __init__(self, config: FormantSynthesizerConfig) -> None:
        super().__init__()
        self.config = config
        self._build_dead()
        if config.background_from_data:
            self.bgnoise_amp = nn.Parameter(torch.ones(1))
        else:
            self.bgnoise_dist = nn.Parameter(torch.ones(1, 1, 1, config.bins))  # unused
        self.bgnoise_mapping2 = _sample_net()
        nyquist = SAMPLE_RATE / 2
        self.formant_masks: GaussianMasks | LearnedMasks
        if config.learned_mask:
            self.formant_masks = LearnedMasks(config.bins, nyquist, config.filter_samples)
        else:
            self.formant_masks = GaussianMasks(config.bins, nyquist)
        if config.dummy_formant:
            self.dummy_f, self.dummy_w = (nn.Parameter(torch.ones(1, 1, 1, 1)) for _ in range(2))
            self.dummy_a = nn.Parameter(-torch.ones(1, 1, 1, 1))
            self.formant_masks_dummy = LearnedMasks(config.bins, nyquist, config.filter_samples, dummy=True)
        self.stft = FixedStft(config.stft)
        self.istft = FixedIstft(config.stft, self.stft.kernel)
        self.register_buffer("window", torch.hann_window(config.stft.n_fft), persistent=False)
        self.as_graph = False
        orders = torch.arange(1, config.harmonics + 1, dtype=torch.float32)
        self.register_buffer("orders", orders.reshape(1, -1, 1), persistent=False)
        initialise(self)

    def _build_dead(self) -> None:
        """Parameters of published files that are never used."""
        self.timbre = nn.Parameter(torch.ones(1, 1, 64))
        self.timbre_parameter = nn.Parameter(torch.zeros(2))
        self.wave_noise_amplifier = nn.Parameter(torch.ones(1))
        self.wave_hamon_amplifier = nn.Parameter(torch.ones(1))
        self.timbre_mapping = nn.Sequential(
            nn.Conv1d(1, 128, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv1d(128, 128, 1),
            nn.LeakyReLU(SLOPE),
            nn.Conv1d(128, 2, 1),
        )
        self.bgnoise_mapping = nn.Sequential(nn.Conv2d(2, 2, (1, 5), bias=False))
        self.noise_mapping = nn.Sequential(nn.Conv2d(2, 2, (1, 5), bias=False))
        self.noise_mapping2 = _sample_net()

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """The tensors in the class's order → spectrogram (B, 1, T, F) and wave."""
        parameters = dict(zip(INPUTS, tensors, strict=False))
        background, noise, background_noise, phase = tensors[len(INPUTS) :]
        parts = self._sources(parameters, noise)
        spectrogram = self._scaled(parameters, parts, background, background_noise)
        return spectrogram, self._wave(parameters, parts, phase)

    def spectrogram(
        self, parameters: Mapping[str, Tensor], background: Tensor, noise: Tensor, background_noise: Tensor
    ) -> Tensor:
        """(B, 1, T, F): only the spectrogram, for training."""
        pitch, cycles = self._cycles(parameters)
        buzz = harmonic_sum(cycles, pitch, self.config.harmonics).squeeze(1)
        parts = self._powers(parameters, buzz, noise)
        return self._scaled(parameters, parts, background, background_noise, quick=True)

    # ---- sources

    def _sources(self, parameters: Mapping[str, Tensor], noise: Tensor) -> Parameters:
        """Harmonics (B, harmonics, 128 T), and what `_powers` makes of their sum."""
        pitch, cycles = self._cycles(parameters)
        turns = self.orders * cycles
        if self.as_graph:
            turns = turns - turns.floor()  # small angles alone: not every device has a sine for large ones
        harmonics = torch.sin((2 * math.pi) * turns) * self._gate(pitch)
        return {"harmonics": harmonics, **self._powers(parameters, harmonics.sum(1), noise)}

    def _cycles(self, parameters: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Pitch in Hz and cycles since the start at each sample, (B, 1, 128 T)."""
        pitch = _between_frames(parameters["f0_hz"])
        missing = 0 if self.as_graph else -parameters["f0_hz"].shape[-1] % GROUP
        return pitch, wrapped_cycles(pitch, missing)

    def _powers(self, parameters: Mapping[str, Tensor], buzz: Tensor, noise: Tensor) -> Parameters:
        """Powers (B, T, F) of both sources, and their filters; `buzz` (B, 128 T): all harmonics."""
        voiced = math.sqrt(2) * buzz
        unvoiced = (math.sqrt(3) * (2 * noise - 1)).squeeze(1)
        frequency, width = _voiced_rows(parameters, "freq"), _voiced_rows(parameters, "bandwidth")
        masks = self.formant_masks(frequency, width, NOISE_FORMANTS)
        mask = _weighted(parameters["amplitude_formants_hamon"], masks[:, :FORMANTS])
        if self.config.dummy_formant:
            mask = mask + self._dummy(None)
        return {
            "voiced_power": self._power(voiced),
            "noise_power": self._power(unvoiced),
            "voiced_mask": mask,
            "noise_mask": _weighted(parameters["amplitude_formants_noise"], masks),
        }

    def _gate(self, pitch: Tensor) -> Tensor:
        """1 below the highest frequency, ½ at it, 0 above: (B, harmonics, samples)."""
        with torch.no_grad():
            frequency = self.orders * pitch.detach()
            if self.as_graph:
                return ((HIGHEST - frequency).sign() + 1) / 2
            return torch.heaviside(HIGHEST - frequency, frequency.new_full((), 0.5))

    def _power(self, signal: Tensor) -> Tensor:
        """Power spectrogram, (B, samples) → (B, T, F): by FFT in training, as a convolution in graphs."""
        if self.as_graph:
            spectrum: Tensor = self.stft(signal)  # (B, 2, F, T)
            return spectrum.square().sum(1).transpose(1, 2)
        n_fft = self.config.stft.n_fft
        window = self.window.to(signal.dtype)
        transformed = torch.stft(signal, n_fft, HOP, window=window, pad_mode="reflect", return_complex=True)
        return torch.view_as_real(transformed).square().sum(-1).transpose(1, 2)

    def fold(self) -> None:
        """Compute the transform as a convolution, for exporters."""
        self.as_graph = True

    def _dummy(self, hz: Tensor | None) -> Tensor:
        """The further, constant formant of voiced sound: at the bins, or at other frequencies."""
        highest, widest, narrowest = DUMMY
        frequency = highest * torch.sigmoid(self.dummy_f)[0]
        width = widest * torch.sigmoid(self.dummy_w)[0] + narrowest
        masks = self.formant_masks_dummy
        shape = masks(frequency, width, 1) if hz is None else masks.at(hz, frequency, width, 1)
        return torch.sigmoid(self.dummy_a)[0] * shape.squeeze(1)

    # ---- spectrogram

    def _scaled(
        self,
        parameters: Mapping[str, Tensor],
        parts: Parameters,
        background: Tensor,
        background_noise: Tensor,
        *,
        quick: bool = False,
    ) -> Tensor:
        loudness = parameters["loudness"].transpose(1, 2)  # (B, T, 1)
        shares = parameters["amplitudes"].transpose(1, 2)
        voiced = shares[..., :1] * parts["voiced_power"] * parts["voiced_mask"]
        unvoiced = shares[..., 1:] * parts["noise_power"] * parts["noise_mask"]
        power = loudness * (voiced + unvoiced) + self._background(background, background_noise, quick=quick)
        scaled = self.config.scale.to_scaled(power, LEAST_POWER)
        return scaled.clamp(min=-1).unsqueeze(1)

    def _background(self, background: Tensor, noise: Tensor, *, quick: bool) -> Tensor:
        hidden = noise
        for layer in self.bgnoise_mapping2:
            apply = partial(_product, layer) if quick and isinstance(layer, nn.Conv1d) else layer
            hidden = apply(hidden)
        shaped = self._power(hidden.squeeze(1))
        gain = F.softplus(self.bgnoise_amp) if self.config.background_from_data else 1.0
        return BACKGROUND * gain * background.unsqueeze(1) * shaped

    # ---- waveform

    def _wave(self, parameters: Mapping[str, Tensor], parts: Parameters, phase: Tensor) -> Tensor:
        loudness, shares = parameters["loudness"], parameters["amplitudes"]
        envelope = self._envelopes(parameters)  # (B, harmonics, T)
        level = torch.sqrt(loudness * shares[:, :1])
        amplitude = math.sqrt(2) * _between_frames(envelope) * _between_frames(level)
        voiced = (amplitude * parts["harmonics"]).sum(1, keepdim=True)
        power = parts["noise_power"] * parts["noise_mask"]
        magnitude = torch.sqrt(loudness * shares[:, 1:] * power.transpose(1, 2))  # (B, F, T)
        angle = (2 * math.pi) * phase
        spectrum = torch.stack([magnitude * torch.cos(angle), magnitude * torch.sin(angle)], 1)
        noise = 2 * self.istft(spectrum)
        # an odd transform ends a sample behind the middle of the last frame
        return voiced + F.pad(noise, (0, HOP - 1)).unsqueeze(1)

    def _envelopes(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Σᵢ √(aᵢ Gᵢ) at the harmonics' frequencies."""
        hz = (self.orders * parameters["f0_hz"]).transpose(1, 2).unsqueeze(1)  # (B, 1, T, harmonics)
        masks = self.formant_masks.at(
            hz, parameters["freq_formants_hamon_hz"], parameters["bandwidth_formants_hamon_hz"], FORMANTS
        )
        weighted = parameters["amplitude_formants_hamon"].unsqueeze(-1) * masks
        envelope = torch.sqrt(weighted.clamp(min=0)).sum(1)
        if self.config.dummy_formant:
            envelope = envelope + torch.sqrt(self._dummy(hz).clamp(min=0))
        return envelope.transpose(1, 2)


def _voiced_rows(parameters: Mapping[str, Tensor], kind: str) -> Tensor:
    """The voiced formants' rows and, behind them, that of the noise filter: (B, 7, T)."""
    noise = parameters[f"{kind}_formants_noise_hz"][:, FORMANTS:]
    return torch.cat([parameters[f"{kind}_formants_hamon_hz"], noise], 1)


def _product(layer: nn.Conv1d, x: Tensor) -> Tensor:
    """A convolution of one tap as a product of matrices: quicker where the input has one channel."""
    y = layer.weight.squeeze(-1) @ x
    return y if layer.bias is None else y + layer.bias[:, None]


def _weighted(amplitudes: Tensor, masks: Tensor) -> Tensor:
    """Σ over rows: (B, rows, T) and (B, rows, T, F) → (B, T, F)."""
    return (amplitudes.unsqueeze(-1) * masks).sum(1)


def _between_frames(values: Tensor) -> Tensor:
    """Linear interpolation from frames to samples, (B, C, T) → (B, C, 128 T).

    A frame's value stands in its middle; before the first middle and behind the last it is held.
    """
    padded = torch.cat([values[..., :1], values, values[..., -1:]], -1)
    before, after = padded[..., :-1], padded[..., 1:]  # (B, C, T + 1): gap g lies between frames g − 1 and g
    place = (torch.arange(HOP, dtype=values.dtype, device=values.device) + 0.5) / HOP
    # as a base and a difference: a constant stays itself to the last bit
    steps = before.unsqueeze(-1) + (after - before).unsqueeze(-1) * place
    return steps.flatten(2)[..., HOP // 2 : -HOP // 2]


def wrapped_cycles(pitch: Tensor, missing: int = 0) -> Tensor:
    """Cycles since the start, less whole ones, near 0 … 1: (B, 1, 128 T) Hz → the same shape.

    `missing` frames make T a multiple of 8.
    """
    grid = torch.round(pitch.detach() * GRID) / GRID
    rest = pitch - grid  # carries the gradient
    inner = _sums(_split(grid, HOP))  # (B, 1, T, 128)
    within = _sums(_off(_split(F.pad(inner[..., -1], (0, missing)), GROUP)))  # (B, 1, groups, 8)
    before = F.pad(_sums(_off(within[..., -1]))[..., :-1], (1, 0))  # (B, 1, groups): of the groups before
    start = _off(F.pad(within[..., :-1], (1, 0)) + before.unsqueeze(-1)).flatten(2)
    if missing:
        start = start[..., :-missing]
    exact = _off(inner + start.unsqueeze(-1)).flatten(2)
    return (exact + torch.cumsum(rest, -1)) / SAMPLE_RATE


def harmonic_sum(cycles: Tensor, pitch: Tensor, harmonics: int) -> Tensor:
    """Σ sin 2πkc over the harmonics k = 1 … K that are not above `HIGHEST`: (B, 1, samples) → the same shape.

    In closed form, sin Kφ · sin (K + 1)φ / sin φ with φ = πc: two sines where the sum takes K. Products keep
    their precision near whole cycles, where the difference of cosines loses it. Pitch in Hz.
    """
    phi = math.pi * (cycles - torch.round(cycles.detach()))  # −π/2 … π/2: exact where the quotient is 0 / 0
    with torch.no_grad():
        count = torch.floor(HIGHEST / pitch.detach()).clamp(max=harmonics)
        near = phi.abs() < WHOLE
    away = torch.where(near, math.pi / 2, phi)
    quotient = torch.sin(count * away) * torch.sin((count + 1) * away) / torch.sin(away)
    return torch.where(near, count * (count + 1) * phi, quotient)


def _split(values: Tensor, size: int) -> Tensor:
    """(…, n · size) → (…, n, size)."""
    parts: Tensor = values.unflatten(-1, (-1, size))  # type: ignore[no-untyped-call]
    return parts


def _sums(values: Tensor) -> Tensor:
    return torch.cumsum(values, -1)


def _off(hertz: Tensor) -> Tensor:
    """Without whole cycles: multiples of the sample rate."""
    return hertz - torch.floor(hertz / SAMPLE_RATE) * SAMPLE_RATE


def _sample_net() -> nn.Sequential:
    """A net on single samples: 1 → 128 → 128 → 1."""
    return nn.Sequential(
        nn.Conv1d(1, 128, 1),
        nn.LeakyReLU(SLOPE),
        nn.Conv1d(128, 128, 1),
        nn.LeakyReLU(SLOPE),
        nn.Conv1d(128, 1, 1, bias=False),
    )


def draw_noise(
    frames: int, bins: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """noise and background_noise, (1, 1, 128 T) each, and phase (1, F, T), for T frames and F bins."""
    samples = frames * HOP
    uniform = torch.rand(1, 1, samples, generator=generator)
    normal = torch.randn(1, 1, samples, generator=generator)
    return uniform, normal, torch.rand(1, bins, frames, generator=generator)


__all__ = [
    "FORMANTS",
    "FORMANT_SYNTHESIZER_PRESETS",
    "INPUTS",
    "FormantSynthesizer",
    "FormantSynthesizerConfig",
    "draw_noise",
    "harmonic_sum",
    "wrapped_cycles",
]
