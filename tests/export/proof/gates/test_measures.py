"""The gate against the largest error: what each catches and what each wrongly fails (pains 7, 12, 16)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_export.assets import SENTENCE
from edge_export.catalog import NETS
from edge_export.catalog.gates import FACE, SPEECH, Gate
from edge_export.proof.gates import measures
from edge_export.proof.gates.judging import judge_arrays
from edge_runtime.compare import compare
from edge_runtime.dsp.spectral import Stft, StftConfig
from edge_runtime.errors import InputError
from edge_runtime.media.audio import read_audio

Array = NDArray[Any]
RATE = 22050
QUICK = Gate("sound", "audio", {name: SPEECH[name] for name in ("log_mel_db", "mr_stft_db", "convergence")})
WHOLE = Gate("sound", "audio", {name: bound for name, bound in SPEECH.items() if name != "dnsmos_loss"})
HALF = NETS["istft-vocoder"].tolerance["fp16"]


@pytest.fixture(scope="module")
def speech() -> Array:
    """The sentence that ships, scaled to a peak of 0.95."""
    samples: Array = read_audio(SENTENCE, RATE).samples.astype(np.float64)
    return np.asarray(0.95 * samples / np.abs(samples).max())


def phases_of_another_hop(speech: Array, hop: int, wrong: int, above: float) -> Array:
    """Resynthesis whose phases advance by `wrong` samples a frame instead of `hop`, above some Hz."""
    stft = Stft(
        StftConfig(n_fft=1024, hop_length=hop, win_length=1024, padding="center-reflect"), dtype="float64"
    )
    spectrum = stft.forward(speech)
    bins, frames = spectrum.shape
    turn = np.exp(2j * np.pi * np.outer(np.arange(bins) / 1024, np.arange(frames) * (wrong - hop)))
    high = np.arange(bins)[:, None] * RATE / 1024 > above
    return np.asarray(stft.inverse(np.where(high, spectrum * turn, spectrum), length=speech.size))


def test_equal_sounds_are_equal(speech: Array) -> None:
    figures = measures.sound_figures(
        speech, speech, RATE, ("log_mel_db", "mr_stft_db", "convergence", "stoi")
    )
    assert figures == {"log_mel_db": 0, "mr_stft_db": 0, "convergence": 0, "stoi": pytest.approx(1)}


def test_the_figures_are_those_of_their_definitions(speech: Array) -> None:
    half = measures.sound_figures(speech, speech / 2, RATE, ("log_mel_db", "mr_stft_db", "convergence"))
    assert half["convergence"] == pytest.approx(0.5)
    loud = np.abs(np.fft.rfft(np.random.default_rng(0).normal(0, 0.1, 8192)))  # nothing near the floor
    noise = np.fft.irfft(np.exp(1j * np.random.default_rng(1).uniform(0, 6, loud.size)) * 50)
    figures = measures.sound_figures(noise, noise / 2, RATE, ("log_mel_db", "mr_stft_db"))
    assert figures["log_mel_db"] == pytest.approx(20 * np.log10(2), abs=0.1)
    assert figures["mr_stft_db"] == pytest.approx(20 * np.log10(2), abs=0.1)


def test_hiss_as_of_int8_passes_both_tolerances_and_fails_the_gate(speech: Array) -> None:
    """Rounding of int8 is white and does not follow the speech: in pauses it is all that is heard."""
    hiss = np.random.default_rng(0).uniform(-1, 1, speech.size)
    level = np.linalg.norm(speech) / np.linalg.norm(hiss) * 10 ** (-(HALF.min_snr_db + 1) / 20)
    hissing = speech + level * hiss
    plain = compare(speech, hissing, tolerance=HALF.max_abs, min_snr_db=HALF.min_snr_db)
    assert plain.passed, plain.reason
    _, failed = judge_arrays(QUICK, speech, hissing, RATE)
    assert any(words.startswith("log_mel_db") for words in failed)
    assert any(words.startswith("mr_stft_db") for words in failed)


def test_phases_of_a_wrong_hop_pass_the_largest_error_and_fail_the_gate(speech: Array) -> None:
    quiet = speech / 20
    wrong = phases_of_another_hop(quiet, 256, 200, above=1500)
    assert compare(quiet, wrong, tolerance=HALF.max_abs).passed
    _, failed = judge_arrays(QUICK, quiet, wrong, RATE)
    assert failed
    right = phases_of_another_hop(quiet, 256, 256, above=1500)
    assert judge_arrays(QUICK, quiet, right, RATE)[1] == []


@pytest.mark.parametrize("change", ["three samples late", "turned upside down", "a little louder"])
def test_what_nobody_hears_fails_the_largest_error_and_passes_the_gate(speech: Array, change: str) -> None:
    made = {
        "three samples late": np.concatenate([np.zeros(3), speech[:-3]]),
        "turned upside down": -speech,
        "a little louder": speech * 1.02,
    }[change]
    if change == "a little louder":
        assert not compare(speech, made, tolerance=1e-3).passed
    else:
        assert not compare(speech, made, tolerance=HALF.max_abs, min_snr_db=HALF.min_snr_db).passed
    gate = WHOLE if change == "three samples late" else QUICK
    assert judge_arrays(gate, speech, made, RATE)[1] == []


def test_what_is_not_finite_or_of_another_length_fails(speech: Array) -> None:
    broken = speech.copy()
    broken[5] = np.nan
    assert len(judge_arrays(QUICK, speech, broken, RATE)[1]) == 3
    assert "in place of" in judge_arrays(QUICK, speech, speech[:-1], RATE)[1][0]
    with pytest.raises(InputError, match="expected two sounds of one length, at least 4096 samples"):
        measures.sound_figures(speech[:100], speech[:100], RATE)


def test_features_of_a_face_are_judged_by_direction_and_size() -> None:
    gate = Gate("features", "features", FACE)
    features = np.random.default_rng(0).uniform(0, 0.05, (6, 512))
    tolerance = NETS["audio-encoder"].tolerance["fp16"].max_abs
    larger = 1.5 * features
    assert compare(features, larger, tolerance=tolerance).passed
    assert judge_arrays(gate, features, larger, 0)[1] == ["scale_error 0.5 is above 0.01"]
    one_window = features.copy()
    one_window[3] = features[3, ::-1]
    assert compare(features, one_window, tolerance=tolerance).passed
    (words,) = judge_arrays(gate, features, one_window, 0)[1]
    assert words.startswith("cosine 0.7")
    assert judge_arrays(gate, features, features + 1e-5, 0)[1] == []
    assert judge_arrays(gate, features, np.full_like(features, np.nan), 0)[1]


def test_a_missing_library_is_told_and_is_no_failure(monkeypatch: pytest.MonkeyPatch, speech: Array) -> None:
    monkeypatch.setitem(__import__("sys").modules, "speechmos", None)
    figures = measures.sound_figures(speech, speech, RATE, ("dnsmos_loss",))
    assert "pip install 'edge-export[quality]'" in str(figures["dnsmos_loss"])
    assert measures.failures(figures, SPEECH) == []
