"""What an ECoG decoder is trained on, term by term: the encoder's parameters are the teacher's.

g the teacher (the frozen encoder on the true speech), e the decoder; os 1 inside the response;
L_g, L_e loudness on a scale of dB, (10 log₁₀ L + 70) / 50; w_v = α_v,g · os · L_g, w_u = α_u,g · os · L_g.

    spectrum    40 · mean |x̂ − x|, and mel 40 · mean |mel x̂ − mel x|; stoi 10 · STOI⁺ loss
    loudness    150 · mean (L_g − L_e)²
    pitch       0.3 · mean ((Δf0 / 40)² · os · L_g)
    shares      540 · (mean |P(α_g) − P(α_e)| + ½ mean |α_g − α_e|)
    amplitude   400 · mean (Δa² · w_v), noise_amplitude 400 · mean (Δa_n² · w_u)
    formants    1200 · mean (Δm(f)² · w_v), flooded at 0.01; m is `parameters.log_axis`
    noise_frequency  12000 · mean (Δm(f_n)² · w_u), flooded at 0.05
    noise_bandwidth  3 · mean ((Δbw_n / 400)² · w_u), flooded at 0.01
    smooth, voicing (× 0.1 of the speech stage's), ascending     as in `speech_losses`, of the decoder alone

neural_speech_decoding applies the map from scaled dB to power to the shares, P(α), whose term dominates;
`alpha_power` switches it off. `harmonized_shares` takes 540 · GHM-R of α, weighted by os · L_g, in place of
both distances, as its first version did (`harmonized_loss`). A flooded loss l at b is |l − b| + b: below b
it grows again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from edge_training.ecog_speech.losses.harmonized_loss import HarmonizedLoss
from edge_training.ecog_speech.losses.speech_losses import (
    Spectra,
    SpeechLossConfig,
    Terms,
    ascending,
    smoothness,
    voicing,
)
from edge_training.ecog_speech.parameters import DbScale, log_axis
from edge_training.engine.config import JsonConfig, Rule

AmplitudeEnergy = Literal["plain", "db-of-loudness", "db", "db-and-plain"]
DB_RANGE = (-70.0, 50.0)  # of loudness and amplitudes on a scale of dB: offset and span


@dataclass(frozen=True)
class DecoderLossConfig(JsonConfig):
    """Which terms, and how they are weighted; the defaults are those of neural_speech_decoding."""

    loudness_weight: bool = True  # weights with the teacher's loudness: --ld_loss_weight
    alpha_weight: bool = True  # … and its shares: --alpha_loss_weight
    consonant_weight: bool = False  # formants × 100 where the teacher is unvoiced: --consonant_loss_weight
    amplitude_weight: bool = False  # frequencies × the teacher's amplitude in dB: --amp_formant_loss_weight
    component_regression: bool = False  # no spectrum, mel and stoi: --component_regression
    amplitude_energy: AmplitudeEnergy = "plain"  # --amp_energy 0 … 3
    f0_midi: bool = False  # pitch in quarters of semitones: --f0_midi
    alpha_power: bool = True
    harmonized_shares: bool = False  # GHM-R in place of both distances of the shares
    flooding: bool = True
    use_stoi: bool = False
    delta_time: bool = False
    delta_frequency: bool = False
    cumulative: bool = False

    def _rules(self) -> Iterator[Rule]:
        choices = get_args(AmplitudeEnergy)
        yield "amplitude_energy", " or ".join(choices), self.amplitude_energy in choices
        for name in (f.name for f in fields(self) if f.name != "amplitude_energy"):
            yield name, "true or false", isinstance(getattr(self, name), bool)


def on_db(power: Tensor, least: float = 1e-10) -> Tensor:
    """(10 log₁₀ + 70) / 50 of a power (B, rows, T), not limited."""
    offset, span = DB_RANGE
    return (torch.log(power.clamp(min=least)) * (10 / math.log(10)) - offset) / span


def on_db_above(power: Tensor) -> Tensor:
    """As `on_db`, (B, rows, T), but at least 0."""
    return on_db(power).clamp(min=0)


def flooded(loss: Tensor, level: float, *, on: bool) -> Tensor:
    """|loss − level| + level, a scalar."""
    return (loss - level).abs() + level if on else loss


class DecoderLoss(nn.Module):
    """(x̂, x, decoder's parameters, teacher's parameters, on_stage) → the terms above."""

    def __init__(self, bins: int, scale: DbScale, config: DecoderLossConfig) -> None:
        super().__init__()
        self.config = config
        further = SpeechLossConfig(
            delta_time=config.delta_time, delta_frequency=config.delta_frequency, cumulative=config.cumulative
        )
        self.spectra = Spectra(bins, scale, further)
        self.harmonized = HarmonizedLoss() if config.harmonized_shares else None

    def forward(
        self,
        made: Tensor,
        true: Tensor,
        decoded: Mapping[str, Tensor],
        teacher: Mapping[str, Tensor],
        on_stage: Tensor,
    ) -> Terms:
        """Spectrograms (B, 1, T, F), parameters (B, rows, T), on_stage (B, 1, T) → scalars by name."""
        terms = {} if self.config.component_regression else self._spectra(made, true, on_stage)
        return terms | self.components(decoded, teacher, on_stage) | self._own(decoded, true)

    def _spectra(self, made: Tensor, true: Tensor, on_stage: Tensor) -> Terms:
        spectra = self.spectra
        power, wanted = spectra.scale.to_power(made), spectra.scale.to_power(true)
        terms = {
            "spectrum": 40 * (made - true).abs().mean(),
            "mel": 40 * (spectra.mels(power) - spectra.mels(wanted)).abs().mean(),
            **{name: 40 * value for name, value in spectra.further(made, true).items()},
        }
        if self.config.use_stoi:
            terms["stoi"] = 10 * spectra.stoi(power.squeeze(1), wanted.squeeze(1), on_stage.squeeze(1))
        return terms

    def components(
        self, decoded: Mapping[str, Tensor], teacher: Mapping[str, Tensor], on_stage: Tensor
    ) -> Terms:
        """Distances of the parameters only, (B, rows, T) by name; on_stage (B, 1, T). Scalars by name."""
        config = self.config
        loudness = on_db_above(teacher["loudness"])
        heard = on_stage * (loudness if config.loudness_weight else torch.ones_like(loudness))
        shares = teacher["amplitudes"]
        voiced, unvoiced = (
            heard * (shares[:, row : row + 1] if config.alpha_weight else 1.0) for row in (0, 1)
        )
        if config.consonant_weight:
            consonant = 100 * ((shares[:, 1:] - 0.5).sign() + 1) / 2
            voiced = voiced * consonant
        return {
            "loudness": 150 * (loudness - on_db(decoded["loudness"])).square().mean(),
            "pitch": 0.3 * (self._pitch(decoded, teacher).square() * heard).mean(),
            "shares": 540 * self._shares(decoded["amplitudes"], shares, on_stage * loudness),
            "amplitude": 400 * self._amplitude(decoded, teacher, "hamon", voiced),
            "noise_amplitude": 400 * self._amplitude(decoded, teacher, "noise", unvoiced),
            **self._frequencies(decoded, teacher, voiced, unvoiced),
        }

    def _pitch(self, decoded: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
        made, true = decoded["f0_hz"], teacher["f0_hz"]
        return 12 * torch.log2(made / true) / 4 if self.config.f0_midi else (made - true) / 40

    def _shares(self, made: Tensor, true: Tensor, heard: Tensor) -> Tensor:
        if self.harmonized is not None:
            harmonized: Tensor = self.harmonized(made, true, heard)
            return harmonized
        plain = 0.5 * (made - true).abs().mean()
        if not self.config.alpha_power:
            return plain
        to_power = self.spectra.scale.to_power
        return (to_power(true) - to_power(made)).abs().mean() + plain

    def _amplitude(
        self, decoded: Mapping[str, Tensor], teacher: Mapping[str, Tensor], kind: str, weight: Tensor
    ) -> Tensor:
        made, true = (values[f"amplitude_formants_{kind}"] for values in (decoded, teacher))
        energy = self.config.amplitude_energy
        plain = ((made - true).square() * weight).mean()
        if energy == "plain":
            return plain
        if energy == "db-of-loudness":
            made, true = made * decoded["loudness"], true * teacher["loudness"]
        level = ((on_db_above(made) - on_db_above(true)).square() * weight).mean()
        return level + plain if energy == "db-and-plain" else level

    def _frequencies(
        self, decoded: Mapping[str, Tensor], teacher: Mapping[str, Tensor], voiced: Tensor, unvoiced: Tensor
    ) -> Terms:
        on = self.config.flooding
        if self.config.amplitude_weight:
            voiced = voiced * on_db_above(teacher["amplitude_formants_hamon"])
            unvoiced = unvoiced * on_db_above(teacher["amplitude_formants_noise"][:, -1:])
        formants = _places(decoded, "freq_formants_hamon_hz") - _places(teacher, "freq_formants_hamon_hz")
        noise = (_places(decoded, "freq_formants_noise_hz") - _places(teacher, "freq_formants_noise_hz"))[
            :, -1:
        ]
        width = (decoded["bandwidth_formants_noise_hz"] - teacher["bandwidth_formants_noise_hz"])[
            :, -1:
        ] / 400
        return {
            "formants": flooded(1200 * (formants.square() * voiced).mean(), 0.01, on=on),
            "noise_frequency": flooded(12000 * (noise.square() * unvoiced).mean(), 0.05, on=on),
            "noise_bandwidth": flooded(3 * (width.square() * unvoiced).mean(), 0.01, on=on),
        }

    def _own(self, decoded: Mapping[str, Tensor], true: Tensor) -> Terms:
        return {
            "smooth": smoothness(decoded, amplitudes=False),
            "voicing": 10 * voicing(decoded, true),
            "ascending": ascending(decoded),
        }


def _places(parameters: Mapping[str, Tensor], name: str) -> Tensor:
    return log_axis(parameters[name]).clamp(min=0)
