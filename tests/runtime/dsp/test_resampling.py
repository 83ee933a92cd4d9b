"""Both ways of resampling against closed-form tones; the numpy filter's promise measured."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.dsp import resampling
from edge_runtime.dsp.resampling import resample
from edge_runtime.errors import BackendError, InputError

RATES = [(44100, 16000), (48000, 16000), (22050, 16000), (16000, 22050), (8000, 16000), (11413, 16000)]
EDGE = 400  # samples at each end where the tone's sudden beginning is heard


def tone(hertz: float, rate: int, samples: int) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(samples) / rate)


def decibels(x: np.ndarray) -> float:
    return float(20 * np.log10(np.abs(x).max()))


@pytest.mark.parametrize(("from_rate", "to_rate"), [r for r in RATES if r[0] > r[1]])
@pytest.mark.parametrize("relative", [1.0, 1.05, 1.3])
def test_stop_band_holds_90_db(from_rate: int, to_rate: int, relative: float) -> None:
    hertz = relative * to_rate / 2
    y = resample(tone(hertz, from_rate, 2 * from_rate), from_rate, to_rate, method="polyphase")
    assert decibels(y[EDGE:-EDGE]) < -90


@pytest.mark.parametrize(("from_rate", "to_rate"), RATES)
@pytest.mark.parametrize("relative", [0.01, 0.5, 0.9])
def test_pass_band_keeps_tones_in_place(from_rate: int, to_rate: int, relative: float) -> None:
    hertz = relative * min(from_rate, to_rate) / 2
    y = resample(tone(hertz, from_rate, from_rate), from_rate, to_rate, method="polyphase")
    expected = tone(hertz, to_rate, len(y))
    assert decibels((y - expected)[EDGE:-EDGE]) < -80  # amplitude within 0.001 dB, and no delay


@pytest.mark.parametrize(("from_rate", "to_rate"), [(8000, 16000), (11413, 16000), (16000, 22050)])
def test_frequency_response_of_every_phase_together(from_rate: int, to_rate: int) -> None:
    """The prototype is what an impulse per phase shows; above the lower Nyquist it must be gone."""
    divisor = int(np.gcd(from_rate, to_rate))
    up, down = to_rate // divisor, from_rate // divisor
    phases = resampling._filters(np.arange(up), up, down)
    # tap k of phase p stands (k − taps//2 + 1) − p/up after the output: interleave into one filter at rate up
    prototype = phases[::-1].T.reshape(-1).astype(np.float64) / up
    bins = 1 << int(np.ceil(np.log2(len(prototype) * 4)))
    response = 20 * np.log10(np.abs(np.fft.rfft(prototype, bins)) + 1e-12)
    relative = np.arange(len(response)) * 2 * up / bins / min(1, up / down)  # 1 = the lower Nyquist
    assert response[relative >= 1].max() < -90
    assert np.abs(response[relative <= 0.9]).max() < 0.001


@settings(deadline=None)
@given(
    st.integers(0, 3000),
    st.sampled_from([8000, 11413, 16000, 22050, 44100]),
    st.sampled_from([8000, 16000, 24000]),
)
def test_both_ways_give_the_documented_length(samples: int, from_rate: int, to_rate: int) -> None:
    x = np.ones(samples, np.float32)
    expected = -(-samples * to_rate // from_rate)
    for method in ("soxr", "polyphase"):
        y = resample(x, from_rate, to_rate, method=method)
        assert y.shape == (expected,)
        assert y.dtype == np.float32


def test_both_ways_agree_on_band_limited_sound() -> None:
    x = sum(tone(hertz, 44100, 44100) / 4 for hertz in (110, 1234.5, 3000, 5500))
    ours, theirs = (resample(x, 44100, 16000, method=m) for m in ("polyphase", "soxr"))
    assert decibels((ours - theirs)[EDGE:-EDGE]) < -60  # soxr HQ itself is 20 bits but not linear to the last


@settings(deadline=None)
@given(st.integers(1, 4000), st.sampled_from(RATES[:5]), st.integers(1, 3000))
def test_the_block_size_changes_nothing(samples: int, rates: tuple[int, int], block: int) -> None:
    x = np.random.default_rng(samples).uniform(-1, 1, samples).astype(np.float32)
    whole = resample(x, *rates, method="polyphase")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resampling, "BLOCK", block)
        chunked = resample(x, *rates, method="polyphase")
    # float32 sums of 130 products in another order
    np.testing.assert_allclose(chunked, whole, atol=1e-5, rtol=0)


def test_a_constant_stays_one() -> None:
    y = resample(np.ones(20_000), 44100, 16000, method="polyphase")
    np.testing.assert_allclose(y[EDGE:-EDGE], 1, atol=1e-6)


def test_equal_rates_change_nothing() -> None:
    x = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    np.testing.assert_array_equal(resample(x, 16000, 16000), x)


def test_without_soxr_the_filter_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).standard_normal(1000)
    monkeypatch.setitem(sys.modules, "soxr", None)
    np.testing.assert_array_equal(resample(x, 22050, 16000), resample(x, 22050, 16000, method="polyphase"))
    with pytest.raises(BackendError, match=r"no module named soxr.*pip install 'edge-export\[audio\]'"):
        resample(x, 22050, 16000, method="soxr")


@pytest.mark.parametrize("rates", [(0, 16000), (16000, -1), (16000.5, 16000), (float("nan"), 16000)])
def test_impossible_rates_are_refused(rates: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"_rate: got .* expected a whole number of Hz"):
        resample(np.zeros(10), *rates)


def test_two_channels_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(10, 2\)"):
        resample(np.zeros((10, 2)), 44100, 16000)


def test_rates_that_need_huge_filters_are_refused_at_once() -> None:
    with pytest.raises(InputError, match=r"999983 Hz, to become 16000 Hz, without soxr.*export\[audio"):
        resample(np.zeros(999_983), 999_983, 16_000, method="polyphase")
    assert len(resample(np.zeros(1000), 999_983, 16_000)) == 17  # soxr takes them
    assert len(resample(np.zeros(1000), 192_000, 11_413, method="polyphase")) == 60
