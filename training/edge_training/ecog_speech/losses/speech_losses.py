"""What the speech encoder and the synthesizer are trained on, term by term.

x the true spectrogram, x̂ the synthesized one, both scaled dB (B, 1, T, F); P(·) power; mel(·) 128 bands.

    spectrum   8 · (mean |P(x̂) − P(x)| + ½ mean |x̂ − x|)
    mel        4 · mean |w · (mel x̂ − mel x)|, w the width of each band
    stoi       10 · STOI⁺ loss, if asked for
    silence    1e6 · mean (loudness outside the response)
    order      30 · mean relu(a₂…₄ − a₁…₃) where voiced sound prevails
    voicing    100 · mean ((α_v − α_u) · e), e 1 where the upper half of the band is louder, ½ at a tie
    smooth     changes in time of formants, pitch, shares and amplitudes
    ascending  mean relu(f_i − f_{i+1})
    formants, pitch   Praat's labels, if asked for; full weight up to epoch 20, none from epoch 40 on

neural_speech_decoding counts `silence` twice by mistake; see `silence_weight`. Source: its `Model`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from edge_training.ecog_speech.losses.stoi import StoiLoss
from edge_training.ecog_speech.parameters import MEL_BANDS, DbScale, from_log_axis
from edge_training.ecog_speech.speech_encoder import MelSpectrogram
from edge_training.engine.config import JsonConfig, Rule, is_number

Terms = dict[str, Tensor]
SUPERVISED, FADED = 20, 40  # epochs


@dataclass(frozen=True)
class SpeechLossConfig(JsonConfig):
    """Which terms, and their weights."""

    use_stoi: bool = False
    formant_supervision: bool = False
    pitch_supervision: bool = False
    silence_weight: float = 1e6
    delta_time: bool = False  # of the spectrogram too: |Δt|, |Δf|, cumulative sums
    delta_frequency: bool = False
    cumulative: bool = False

    def _rules(self) -> Iterator[Rule]:
        yield "silence_weight", "a number, 0 or more", is_number(self.silence_weight, least=0)
        for name in (f.name for f in fields(self) if f.name != "silence_weight"):
            yield name, "true or false", isinstance(getattr(self, name), bool)


class Spectra(nn.Module):
    """Distances of spectrograms that both trainings use."""

    width: Tensor

    def __init__(self, bins: int, scale: DbScale, config: SpeechLossConfig) -> None:
        super().__init__()
        self.scale, self.config = scale, config
        self.mel = MelSpectrogram(bins, scale)
        self.stoi = StoiLoss(bins)
        edges = torch.tensor([from_log_axis(place / MEL_BANDS) for place in range(MEL_BANDS + 1)])
        width = 7 * edges.diff() / 440
        self.register_buffer("width", width.float()[:, None], persistent=False)

    def mels(self, power: Tensor) -> Tensor:
        """(B, 1, T, F) → (B, 128, T)."""
        mel: Tensor = self.mel(power.squeeze(1).transpose(1, 2))
        return mel

    def further(self, made: Tensor, true: Tensor) -> Terms:
        """The optional distances of changes along time and frequency of (B, 1, T, F); scalars."""
        terms: Terms = {}
        difference = made - true
        if self.config.delta_time:
            terms["delta_time"] = difference.diff(dim=2).abs().mean()
        if self.config.delta_frequency:
            terms["delta_frequency"] = difference.diff(dim=3).abs().mean()
        if self.config.cumulative:
            terms["cumulative"] = difference.cumsum(3).abs().mean() / difference.shape[3]
        return terms


class SpeechLoss(nn.Module):
    """(x̂, x, parameters, labels, epoch) → the terms above."""

    def __init__(self, bins: int, scale: DbScale, config: SpeechLossConfig) -> None:
        super().__init__()
        self.config = config
        self.spectra = Spectra(bins, scale, config)

    def forward(
        self,
        made: Tensor,
        true: Tensor,
        parameters: Mapping[str, Tensor],
        labels: Mapping[str, Tensor],
        epoch: float,
    ) -> Terms:
        """`labels`: on_stage and on_stage_wider (B, 1, T), and formants and pitch where they supervise."""
        spectra, config = self.spectra, self.config
        power, wanted = spectra.scale.to_power(made), spectra.scale.to_power(true)
        mel = (spectra.width * (spectra.mels(power) - spectra.mels(wanted))).abs().mean()
        outside = parameters["loudness"] * (1 - labels["on_stage_wider"])
        terms = {
            "spectrum": 8 * ((power - wanted).abs().mean() + 0.5 * (made - true).abs().mean()),
            "mel": 4 * mel,
            "silence": config.silence_weight * outside.mean(),
            "order": 30 * amplitude_order(parameters),
            "voicing": 100 * voicing(parameters, true),
            "smooth": smoothness(parameters, amplitudes=True),
            "ascending": ascending(parameters),
            **spectra.further(made, true),
        }
        if config.use_stoi:
            terms["stoi"] = 10 * spectra.stoi(
                power.squeeze(1), wanted.squeeze(1), labels["on_stage"].squeeze(1)
            )
        weight = supervision(epoch)
        if config.formant_supervision:
            terms["formants"] = 3e-6 * weight * formant_distance(parameters, labels)
        if config.pitch_supervision:
            difference = (parameters["f0_hz"] - labels["pitch"]) * labels["on_stage"] * (labels["pitch"] > 0)
            terms["pitch"] = 4e-4 * weight * difference.square().mean()
        return terms


def supervision(epoch: float) -> float:
    """Weight of the labels at an epoch of 128 crops a trial."""
    return min(1.0, max(0.0, (FADED - epoch) / (FADED - SUPERVISED)))


def amplitude_order(parameters: Mapping[str, Tensor]) -> Tensor:
    """Scalar: how much formants 2 … 4, (B, rows, T), exceed the one before, in voiced sound."""
    amplitude, shares = parameters["amplitude_formants_hamon"], parameters["amplitudes"]
    voiced = (shares[:, :1] > shares[:, 1:]).float()
    return (torch.relu(amplitude[:, 1:4] - amplitude[:, :3]) * voiced).mean()


def voicing(parameters: Mapping[str, Tensor], spectrogram: Tensor) -> Tensor:
    """Scalar: voiced share where the upper half of a spectrogram (B, 1, T, F) is louder: hiss is unvoiced."""
    shares = parameters["amplitudes"]
    half = spectrogram.shape[3] // 2
    upper, lower = spectrogram[..., half:].mean(3), spectrogram[..., :half].mean(3)
    hiss = ((upper - lower).sign() + 1) / 2  # (B, 1, T)
    return ((shares[:, :1] - shares[:, 1:]) * hiss).mean()


def smoothness(parameters: Mapping[str, Tensor], *, amplitudes: bool) -> Tensor:
    """Scalar: weighted changes between frames of (B, rows, T); `amplitudes`: of formants too."""
    width = parameters["bandwidth_formants_noise_hz"][:, -1:]
    noise = parameters["freq_formants_noise_hz"][:, -1:]
    total = (
        _squares(1.5 * parameters["freq_formants_hamon_hz"])
        + _squares(2 * parameters["f0_hz"])
        + _steps(width / 5)
        + _steps(noise / 5)
        + 750 * _steps(parameters["amplitudes"])
    )
    if amplitudes:
        total = total + 1500 * (
            _squares(parameters["amplitude_formants_hamon"])
            + _squares(parameters["amplitude_formants_noise"])
        )
    return total / 2000


def ascending(parameters: Mapping[str, Tensor]) -> Tensor:
    """Scalar: mean of how far formants (B, rows, T) lie below the one before, Hz."""
    return torch.relu(-parameters["freq_formants_hamon_hz"].diff(dim=1)).mean()


def formant_distance(parameters: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> Tensor:
    """Scalar: mean squares of F1 … F4, (B, rows, T), the first three again with 6, 3 and 1.5.

    Labels that are NaN, as where formants were delayed, teach nothing.
    """
    made, true = parameters["freq_formants_hamon_hz"][:, :4], labels["formants"][:, :4]
    difference = torch.where(true.isnan(), 0.0, made - true) * labels["on_stage"]
    square = difference.square().mean((0, 2))
    return square.mean() + 6 * square[0] + 3 * square[1] + 1.5 * square[2]


def _steps(values: Tensor) -> Tensor:
    return values.diff(dim=2).abs().mean()


def _squares(values: Tensor) -> Tensor:
    return values.diff(dim=2).square().mean()
