"""Terms of the ECoG stage against their formulas; what each switch changes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.training.ecog_speech.spoken import spoken

from edge_training.ecog_speech.losses.decoder_losses import DecoderLoss, DecoderLossConfig, flooded
from edge_training.ecog_speech.losses.harmonized_loss import HarmonizedLoss
from edge_training.ecog_speech.parameters import SCALE, log_axis

FRAMES = 24
TEACHER = spoken(FRAMES)
DECODED = {
    name: value.flip(2) * (1 if name.startswith("amplitude") else 0.93) for name, value in TEACHER.items()
}
STAGE = torch.cat([torch.zeros(1, 1, 4), torch.ones(1, 1, 20)], 2)
DRAW = torch.Generator().manual_seed(3)
MADE, TRUE = (2 * torch.rand(1, 1, FRAMES, 32, generator=DRAW) - 1 for _ in range(2))


def terms(**changes: object) -> dict[str, float]:
    loss = DecoderLoss(32, SCALE, replace(DecoderLossConfig(), **changes))  # type: ignore[arg-type]
    return {name: float(value) for name, value in loss(MADE, TRUE, DECODED, TEACHER, STAGE).items()}


def test_terms_are_their_formulas() -> None:
    found = terms()
    level_g = (10 * torch.log10(TEACHER["loudness"]) + 70) / 50
    level_e = (10 * torch.log10(DECODED["loudness"]) + 70) / 50
    shares_g, shares_e = TEACHER["amplitudes"], DECODED["amplitudes"]
    voiced, unvoiced = (shares_g[:, row : row + 1] * STAGE * level_g for row in (0, 1))
    power = [10 ** (((x + 1) / 2 * 72.5 - 50) / 10) for x in (shares_g, shares_e)]

    def difference(name: str) -> torch.Tensor:
        return TEACHER[name] - DECODED[name]

    places = log_axis(TEACHER["freq_formants_hamon_hz"]) - log_axis(DECODED["freq_formants_hamon_hz"])
    noise = (log_axis(TEACHER["freq_formants_noise_hz"]) - log_axis(DECODED["freq_formants_noise_hz"]))[:, 6:]
    width = difference("bandwidth_formants_noise_hz")[:, 6:] / 400
    expected = {
        "spectrum": 40 * (MADE - TRUE).abs().mean(),
        "loudness": 150 * (level_g - level_e).square().mean(),
        "pitch": 0.3 * ((difference("f0_hz") / 40).square() * STAGE * level_g).mean(),
        "shares": 540 * ((power[0] - power[1]).abs().mean() + 0.5 * (shares_g - shares_e).abs().mean()),
        "amplitude": 400 * (difference("amplitude_formants_hamon").square() * voiced).mean(),
        "noise_amplitude": 400 * (difference("amplitude_formants_noise").square() * unvoiced).mean(),
        "formants": (1200 * (places.square() * voiced).mean() - 0.01).abs() + 0.01,
        "noise_frequency": (12000 * (noise.square() * unvoiced).mean() - 0.05).abs() + 0.05,
        "noise_bandwidth": (3 * (width.square() * unvoiced).mean() - 0.01).abs() + 0.01,
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), rel=2e-4), name
    assert {"mel", "smooth", "voicing", "ascending"} == set(found) - set(expected)


def test_a_decoder_that_is_its_teacher_has_no_distance() -> None:
    loss = DecoderLoss(32, SCALE, DecoderLossConfig(flooding=False))
    distances = loss.components(TEACHER, TEACHER, STAGE)
    assert max(float(value) for value in distances.values()) < 1e-9


@pytest.mark.parametrize(
    ("switch", "term", "factor"),
    [
        ({"loudness_weight": False}, "pitch", "larger"),
        ({"alpha_weight": False}, "amplitude", "larger"),
        ({"amplitude_weight": True}, "formants", "other"),
        ({"alpha_power": False}, "shares", "smaller"),
        ({"f0_midi": True}, "pitch", "other"),
        ({"amplitude_energy": "db"}, "amplitude", "other"),
        ({"amplitude_energy": "db-of-loudness"}, "amplitude", "other"),
        ({"amplitude_energy": "db-and-plain"}, "amplitude", "larger"),
        ({"consonant_weight": True}, "formants", "other"),
        ({"harmonized_shares": True}, "shares", "smaller"),
    ],
)
def test_switches_change_their_term_alone(switch: dict[str, object], term: str, factor: str) -> None:
    plain, changed = terms(flooding=False), terms(flooding=False, **switch)
    assert changed[term] != pytest.approx(plain[term], rel=1e-3)
    if factor != "other":
        assert (changed[term] > plain[term]) == (factor == "larger")
    for name in ("spectrum", "loudness", "smooth"):
        assert changed[name] == plain[name]


def test_harmonized_shares_are_weighted_with_the_teachers_loudness() -> None:
    level = (10 * torch.log10(TEACHER["loudness"]) + 70) / 50
    alone = HarmonizedLoss()(DECODED["amplitudes"], TEACHER["amplitudes"], STAGE * level)
    assert terms(harmonized_shares=True, loudness_weight=False)["shares"] == pytest.approx(540 * float(alone))


def test_component_regression_has_no_spectra() -> None:
    assert not {"spectrum", "mel"} & set(terms(component_regression=True))
    assert "stoi" in _with_stoi()


def _with_stoi() -> set[str]:
    frames = torch.rand(1, 1, 40, 32), torch.rand(1, 1, 40, 32)
    loss = DecoderLoss(32, SCALE, DecoderLossConfig(use_stoi=True))
    return set(loss(*frames, spoken(40), spoken(40), torch.ones(1, 1, 40)))


def test_flooding_turns_round_at_its_level() -> None:
    values = [float(flooded(torch.tensor(x), 0.5, on=True)) for x in (0.2, 0.5, 0.9)]
    assert values == pytest.approx([0.8, 0.5, 0.9])
