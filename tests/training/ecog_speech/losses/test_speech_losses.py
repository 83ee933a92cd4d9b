"""Terms of the speech stage, each against numpy or a case whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch
from tests.training.ecog_speech.spoken import spoken

from edge_training.ecog_speech.losses.speech_losses import (
    SpeechLoss,
    SpeechLossConfig,
    amplitude_order,
    ascending,
    formant_distance,
    smoothness,
    supervision,
    voicing,
)
from edge_training.ecog_speech.parameters import SCALE
from edge_training.ecog_speech.speech_encoder import mel_filters

DRAW = torch.Generator().manual_seed(3)
MADE, TRUE = (2 * torch.rand(1, 1, 40, 32, generator=DRAW) - 1 for _ in range(2))
LABELS = {
    "on_stage": torch.ones(1, 1, 40),
    "on_stage_wider": torch.cat([torch.ones(1, 1, 30), torch.zeros(1, 1, 10)], 2),
    "formants": torch.full((1, 6, 40), 1000.0),
    "pitch": torch.full((1, 1, 40), 210.0),
}
ALL = SpeechLossConfig(
    use_stoi=True,
    formant_supervision=True,
    pitch_supervision=True,
    delta_time=True,
    delta_frequency=True,
    cumulative=True,
)


def test_spectral_terms() -> None:
    parameters = spoken(40)
    terms = SpeechLoss(32, SCALE, ALL)(MADE, TRUE, parameters, LABELS, 0.0)
    power, wanted = (10 ** (((x + 1) / 2 * 72.5 - 50) / 10) for x in (MADE.double(), TRUE.double()))
    expected = 8 * ((power - wanted).abs().mean() + 0.5 * (MADE - TRUE).abs().mean())
    assert float(terms["spectrum"]) == pytest.approx(float(expected), rel=1e-5)
    bank = torch.from_numpy(mel_filters(32))
    mels = [20 * torch.log10((p[0] @ bank.T).clamp(min=1e-10)) / 72.5 for p in (power, wanted)]
    inverse = [440 * 2 ** ((133 * i / 128 - 31) / 24) for i in range(129)]
    width = 7 * torch.tensor(inverse).double().diff() / 440
    assert float(terms["mel"]) == pytest.approx(
        float(4 * (width * (mels[0] - mels[1])).abs().mean()), rel=1e-5
    )
    outside = float((parameters["loudness"] * (1 - LABELS["on_stage_wider"])).mean())
    assert float(terms["silence"]) == pytest.approx(1e6 * outside, rel=1e-5)
    assert {"stoi", "delta_time", "delta_frequency", "cumulative", "formants", "pitch"} <= set(terms)
    assert float(terms["pitch"]) == pytest.approx(
        4e-4 * float((parameters["f0_hz"] - 210).square().mean()), rel=1e-5
    )
    square = (parameters["freq_formants_hamon_hz"][0, :4] - 1000).square().mean(1)
    weighted = 3e-6 * (square.mean() + 6 * square[0] + 3 * square[1] + 1.5 * square[2])
    assert float(terms["formants"]) == pytest.approx(float(weighted), rel=1e-5)


def test_labels_fade_between_epochs_20_and_40() -> None:
    assert [supervision(epoch) for epoch in (0, 20, 30, 40, 90)] == [1, 1, 0.5, 0, 0]


def test_formants_that_are_not_known_teach_nothing() -> None:
    parameters = {"freq_formants_hamon_hz": torch.full((1, 6, 40), 900.0, requires_grad=True)}
    some = LABELS["formants"].clone()
    some[..., :30] = torch.nan
    distance = formant_distance(parameters, LABELS | {"formants": some})
    distance.backward()  # type: ignore[no-untyped-call]
    assert distance.item() == pytest.approx(formant_distance(parameters, LABELS).item() / 4)
    gradient = parameters["freq_formants_hamon_hz"].grad
    assert gradient is not None
    assert not gradient[..., :30].any()
    assert gradient[:, :4, 30:].all()


def test_order_of_amplitudes_counts_in_voiced_sound_alone() -> None:
    parameters = {
        "amplitude_formants_hamon": torch.tensor([[0.1], [0.4], [0.2], [0.1], [0.1], [0.1]])[None],
        "amplitudes": torch.tensor([[0.7], [0.3]])[None],
    }
    assert float(amplitude_order(parameters)) == pytest.approx(0.3 / 3)
    parameters["amplitudes"] = parameters["amplitudes"].flip(1)
    assert float(amplitude_order(parameters)) == 0


def test_hiss_is_unvoiced() -> None:
    rising = torch.linspace(-1, 1, 32).expand(1, 1, 1, 32)
    shares = {"amplitudes": torch.tensor([[0.9], [0.1]])[None]}
    level = torch.zeros(1, 1, 1, 32)
    values = [float(voicing(shares, x)) for x in (rising, -rising, level)]
    assert values == pytest.approx([0.8, 0, 0.4])


def test_steady_parameters_are_smooth_and_formants_ascend() -> None:
    still = {name: value[..., :1].expand(-1, -1, 9) for name, value in spoken(4).items()}
    assert float(smoothness(still, amplitudes=True)) == 0
    assert float(ascending(still)) == 0
    crossed = {"freq_formants_hamon_hz": still["freq_formants_hamon_hz"].flip(1)}
    assert float(ascending(crossed)) > 500
    moved = spoken(4)
    formants = moved["freq_formants_hamon_hz"]
    parts = [1.5 * formants, 2 * moved["f0_hz"], moved["bandwidth_formants_noise_hz"][:, 6:] / 5]
    parts += [moved["freq_formants_noise_hz"][:, 6:] / 5, moved["amplitudes"]]
    steps = [value.diff(dim=2) for value in parts]
    total = steps[0].square().mean() + steps[1].square().mean() + steps[2].abs().mean()
    total = total + steps[3].abs().mean() + 750 * steps[4].abs().mean()
    assert math.isclose(float(smoothness(moved, amplitudes=False)), float(total) / 2000, rel_tol=1e-5)
