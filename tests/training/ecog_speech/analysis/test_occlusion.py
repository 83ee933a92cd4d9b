"""Silenced electrodes: a decoder that listens to one of them, patches, maps, and how sure they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.recorded_ecog import recorded
from tests.training.ecog_speech.spoken import spoken
from torch import Tensor, nn

from edge_runtime.errors import ConfigError
from edge_training.ecog_speech.analysis import occlusion
from edge_training.ecog_speech.analysis.occlusion import (
    COMPONENTS,
    Occlusion,
    electrode_groups,
    noise_level,
    occlude,
    other_trials,
    real_electrodes,
)
from edge_training.ecog_speech.data import EcogData, EcogSource, Trial
from edge_training.ecog_speech.formant_synthesizer import FormantSynthesizer, FormantSynthesizerConfig

LOUD, PITCH = 5, 10  # electrodes


class Listener(nn.Module):
    """Loudness from one electrode, pitch from another."""

    def forward(self, ecog: Tensor) -> dict[str, Tensor]:
        parameters = spoken(128, len(ecog))
        parameters["loudness"] = 0.01 * (1e-3 + ecog[:, 16:, LOUD].abs()).unsqueeze(1)
        parameters["f0_hz"] = 200 + 20 * ecog[:, 16:, PITCH].unsqueeze(1)
        return parameters


@pytest.fixture(scope="module")
def data() -> EcogData:
    return EcogData(EcogSource(Path("."), test_trials=2), [recorded()])


@pytest.fixture(scope="module")
def synthesizer() -> FormantSynthesizer:
    torch.manual_seed(0)
    return FormantSynthesizer(FormantSynthesizerConfig(bins=128, harmonics=4, filter_samples=8)).eval()


def test_the_map_shows_who_is_listened_to(data: EcogData, synthesizer: FormantSynthesizer) -> None:
    found = occlude(Listener(), synthesizer, data, electrode_groups(16))
    assert set(found.changes) == {"pcc", *COMPONENTS}
    assert int(np.argmax(found.map("loudness"))) == LOUD
    assert int(np.argmax(found.map("f0_hz"))) == PITCH
    assert np.count_nonzero(found.changes["loudness"]) == 1
    assert int(np.argmax(found.map("pcc"))) == LOUD
    assert set(np.flatnonzero(found.changes["spectrogram"])) == {LOUD, PITCH}
    assert not found.changes["amplitude_formants_noise"].any()
    values = np.arange(16.0)
    assert np.array_equal(found.blurred(values), values.reshape(4, 4))  # single electrodes blur nothing
    assert noise_level([found], "pcc") > 0


def test_changes_have_the_units_of_the_component(data: EcogData, synthesizer: FormantSynthesizer) -> None:
    """By hand: 20 Hz for a deviation of the pitch's electrode, weighted by loudness inside the response."""
    found = occlude(Listener(), synthesizer, data, {"pitch": (PITCH,)})
    change = weight = 0.0
    for trial in data.test:
        item = data.aligned_item(trial)
        ecog = item["ecog"][16:].astype(np.float64)
        level = 10 * np.log10(0.01 * (1e-3 + np.abs(ecog[:, LOUD]))) + 70
        heard = item["on_stage"][0] * level * spoken(128, 1)["amplitudes"][0, 0].numpy()
        change += (20 * np.abs(ecog[:, PITCH]) * heard).sum()
        weight += heard.sum()
    assert found.changes["f0_hz"][0] == pytest.approx(change / weight, rel=1e-4)


def test_silence_is_zero_the_electrodes_own_mean_or_another_trial(
    data: EcogData, synthesizer: FormantSynthesizer
) -> None:
    """At its mean, or as in another trial, a steady electrode is not missed; at 0 it is."""
    steady = recorded()
    steady.ecog[:, PITCH] = 3
    constant = EcogData(EcogSource(Path("."), test_trials=2), [steady])
    groups = {"pitch": (PITCH,)}
    at_zero = occlude(Listener(), synthesizer, constant, groups)
    at_mean = occlude(Listener(), synthesizer, constant, groups, silence="mean")
    assert at_zero.changes["f0_hz"][0] == pytest.approx(60, rel=1e-4)
    assert at_mean.changes["f0_hz"][0] == pytest.approx(0, abs=1e-3)
    assert occlude(Listener(), synthesizer, constant, groups, silence="other").changes["f0_hz"][0] == 0
    assert occlude(Listener(), synthesizer, data, groups, silence="other").changes["f0_hz"][0] > 1
    with pytest.raises(ConfigError, match="silence: got 'noise', expected zero or mean or other"):
        occlude(Listener(), synthesizer, data, groups, silence="noise")  # type: ignore[arg-type]


def test_other_trials_are_the_subjects_own_and_others() -> None:
    trials = [Trial(number % 2, number, 0, 9, "word") for number in range(11)]
    others = other_trials(trials, 3)
    assert sorted(other.number for other in others) == list(range(11))
    for trial, other in zip(trials, others, strict=True):
        assert trial.subject == other.subject
        assert trial.number != other.number
    assert others != other_trials(trials, 4)
    with pytest.raises(ConfigError, match="trials: got one of a subject, expected two"):
        other_trials(trials[:2], 0)


def test_trials_in_pieces_are_the_same(
    data: EcogData, synthesizer: FormantSynthesizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [*data.train, *data.test]
    whole = occlude(Listener(), synthesizer, data, {"a": (LOUD,)}, trials=trials)
    monkeypatch.setattr(occlusion, "AT_ONCE", 3)
    told: list[str] = []
    pieces = occlude(Listener(), synthesizer, data, {"a": (LOUD,)}, trials=trials, progress=told.append)
    assert told == ["trials 1 to 3 of 4", "trials 4 to 4 of 4"]
    assert pieces.pcc == pytest.approx(whole.pcc)
    for name, values in whole.changes.items():
        assert pieces.changes[name] == pytest.approx(values, abs=1e-6), name


def test_patches_and_regions(data: EcogData, synthesizer: FormantSynthesizer) -> None:
    assert len(electrode_groups(16, 2)) == 9
    assert electrode_groups(16, 2)["0-0"] == (0, 1, 4, 5)
    assert len(electrode_groups(225)) == len(real_electrodes(225)) == 128
    upper_and_lower = {"upper": range(8), "lower": range(8, 16)}
    found = occlude(Listener(), synthesizer, data, upper_and_lower, trials=data.test[:1])
    assert found.changes["loudness"][0] > found.changes["loudness"][1] == 0
    assert found.map("loudness").shape == (4, 4)


def test_reliability_is_that_of_the_whole() -> None:
    """Of a true map of deviation 1 and noise of deviation 3 a trial, ten trials: 1 / (1 + 9 / 10)."""
    draw = np.random.default_rng(3)
    true, noise = draw.standard_normal((2500, 1)), draw.standard_normal((2500, 10))
    groups = {str(number): (number,) for number in range(2500)}
    weights = {"pcc": np.full(10, 2.0)}
    found = Occlusion(groups, {"pcc": 2 * (true + 3 * noise)}, weights, 0.8, 2500)
    assert found.reliability("pcc") == pytest.approx(1 / 1.9, abs=0.03)
    flat = Occlusion(groups, {"pcc": np.zeros((2500, 10))}, weights, 0.8, 2500)
    assert np.isnan(flat.reliability("pcc"))
    assert np.isnan(
        Occlusion({"a": (0,)}, {"pcc": np.ones((1, 1))}, {"pcc": np.ones(1)}, 0, 16).reliability("pcc")
    )


def test_electrodes_that_are_none_are_refused(data: EcogData, synthesizer: FormantSynthesizer) -> None:
    with pytest.raises(ConfigError, match=r"electrodes: got 16, 99, expected 0 … 15"):
        occlude(Listener(), synthesizer, data, {"a": (1, 16, 99)})
    with pytest.raises(ConfigError, match=r"electrodes: got none, expected 0 … 15"):
        occlude(Listener(), synthesizer, data, {"a": ()})
    with pytest.raises(ConfigError, match="trials: got none, expected one at least"):
        occlude(Listener(), synthesizer, data, {"a": (1,)}, trials=[])
    with pytest.raises(ConfigError, match=r"patch: got 5, expected 1 … 4"):
        electrode_groups(16, 5)
