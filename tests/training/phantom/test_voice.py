"""Sound against the model: formants by linear prediction, pitch by correlation, energy by articulation."""

from __future__ import annotations

from dataclasses import replace

import librosa
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from edge_runtime.errors import ConfigError
from edge_training.phantom import Speaker, Utterance, hold, speak
from edge_training.phantom.movement import RATE, sample
from edge_training.phantom.tract import FORMANT_RATE

LPC_RATE = 11413  # Hz: five resonances below Nyquist


def _measured_formants(audio: NDArray[np.float32]) -> NDArray[np.float64]:
    """Poles of order 12 (Burg) after pre-emphasis, the ones with a bandwidth below 600 Hz."""
    samples = audio.astype(np.float64)
    poles = np.roots(librosa.lpc(samples[1:] - 0.97 * samples[:-1], order=12))
    poles = poles[poles.imag > 0]
    frequency = np.angle(poles) * LPC_RATE / 2 / np.pi
    bandwidth = -np.log(np.abs(poles)) * LPC_RATE / np.pi
    return np.sort(frequency[(bandwidth < 600) & (frequency > 150)])


@pytest.mark.parametrize("vowel", "aiueo")
@pytest.mark.parametrize("speaker", range(4))
def test_formants_measured_in_the_sound_are_those_of_the_tube(vowel: str, speaker: int) -> None:
    # the sliding pitch moves the harmonics over the resonances
    utterance = hold(Speaker.sample(1, speaker), vowel, 1.2, pitch_slide=9.0)
    audio = utterance.audio(LPC_RATE)[int(0.4 * LPC_RATE) : int(1.4 * LPC_RATE)]
    model = utterance.tract.formants[int(0.9 * FORMANT_RATE), :3]
    np.testing.assert_allclose(_measured_formants(audio)[:3], model, rtol=0.10)


@pytest.mark.parametrize("rate", [11413, 16000, 22050])
def test_pitch_measured_is_the_pitch_labelled(rate: int, utterances: list[Utterance]) -> None:
    for utterance in utterances[:2]:
        audio, tracks = utterance.audio(rate), utterance.tracks
        errors = []
        for frame in np.flatnonzero(tracks.pitch)[::3]:
            middle = int((frame + 0.5) / FORMANT_RATE * rate)
            piece = audio[middle - rate // 40 : middle + rate // 40].astype(float)
            lags = np.correlate(piece, piece, "full")[len(piece) - 1 :]
            low, high = int(rate / 300), int(rate / 70)
            found = rate / (low + lags[low:high].argmax())
            errors.append(abs(np.log2(found / tracks.pitch[frame])))
        assert np.median(errors) < 0.03


def _energy(utterance: Utterance, rate: int = 16000) -> NDArray[np.float64]:
    """dB of 8 ms around each sample of the trajectories."""
    audio = utterance.audio(rate).astype(np.float64)
    power = np.convolve(audio**2, np.ones(rate // 125) / (rate // 125), mode="same")
    times = utterance.movement.times
    level: NDArray[np.float64] = 10 * np.log10(
        np.maximum(np.interp(times, np.arange(len(power)) / rate, power), 1e-12)
    )
    return level


def _runs(mask: NDArray[np.bool_]) -> list[slice]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [slice(start, stop) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


@pytest.mark.parametrize("speaker", range(4))
def test_lips_are_closed_exactly_where_a_plosive_is_silent(speaker: int) -> None:
    """p and b: at least 38 dB below the vowels while the lips touch; the vowels between are loud.

    Less would hide a fault: weak voice behind a closure and what the closure lets out are 20 dB each.
    """
    utterance = speak(Speaker.sample(2, speaker), 2, 0, ("papabapo", "bopape"))
    energy, lips = _energy(utterance), utterance.movement["lips"]
    phones: dict[str, list[slice]] = {kind: [] for kind in ("vowel", "plosive", "silence")}
    for phone, kind in zip(utterance.score.phones, utterance.score.kinds, strict=True):
        phones[kind].append(slice(int(phone.start * RATE), int(phone.end * RATE)))
    vowels = np.median([energy[place].max() for place in phones["vowel"]])
    assert all(energy[place].max() > vowels - 10.0 for place in phones["vowel"])
    assert all((lips[place.start + 10 : place.stop - 10] > 0.2).all() for place in phones["vowel"])

    closures = [run for run in _runs(lips <= 0.0) if run.stop < phones["silence"][-1].start]
    assert len(closures) == len(phones["plosive"])  # the first one begins in the silence before
    for closure in closures:
        inner = energy[closure.start + 4 : closure.stop - 4]  # ± 8 ms: the window of the energy
        assert len(inner) > 10
        assert inner.max() < vowels - 38.0


def _centroid(utterance: Utterance, symbol: str, rate: int = 22050) -> float:
    """Centre of gravity of the spectrum (Hz) in the middle of a phone."""
    phone = next(phone for phone in utterance.score.phones if phone.label == symbol)
    middle = int((phone.start + phone.end) / 2 * rate)
    piece = utterance.audio(rate)[middle - 256 : middle + 256] * np.hanning(512)
    power = np.abs(np.fft.rfft(piece)) ** 2
    return float(np.sum(np.fft.rfftfreq(512, 1 / rate) * power) / power.sum())


def test_fricatives_are_as_high_as_their_front_cavity_is_short() -> None:
    utterance = speak(Speaker.sample(3), 3, 0, ("sashaha",))
    s, sh, vowel = (_centroid(utterance, symbol) for symbol in ("s", "sh", "a"))
    assert s > 1.25 * sh > 2.0 * vowel
    assert 3500 < s < 8000
    assert 2000 < sh < 4500


@pytest.mark.parametrize("speaker", range(2))
@pytest.mark.parametrize(
    ("plosive", "band", "since", "until"),
    [
        ("p", (3000, 7900), -0.002, 0.006),
        ("t", (3000, 7900), -0.002, 0.006),
        ("k", (800, 2600), 0.002, 0.012),  # a longer cavity before it, and a tongue that leaves slowly
    ],
)
def test_plosives_burst_when_they_open(
    plosive: str, band: tuple[int, int], since: float, until: float, speaker: int
) -> None:
    """Noise in the first milliseconds, long before the voice; without frication 10 dB at most are left."""
    utterance = speak(Speaker.sample(3, speaker), 3, 0, (f"a{plosive}a{plosive}a",))
    rate = 16000
    passed = sosfilt(butter(4, band, "band", fs=rate, output="sos"), utterance.audio(rate).astype(float))

    def level(start: float, end: float) -> float:
        return float(10 * np.log10(np.mean(passed[int(start * rate) : int(end * rate)] ** 2)))

    for phone in (phone for phone in utterance.score.phones if phone.label == plosive):
        first = int(phone.start * RATE)
        shut = np.flatnonzero(utterance.tract.constriction[first : int(phone.end * RATE) + 20] == 0.0)
        release = (first + shut[-1]) / RATE
        assert level(release + since, release + until) > level(release - 0.02, release - 0.008) + 18.0


def test_nasals_murmur_through_closed_lips() -> None:
    utterance = speak(Speaker.sample(3), 3, 0, ("mapama",))
    energy = _energy(utterance)

    def level(symbol: str) -> float:
        phones = [p for p in utterance.score.phones[2:] if p.label == symbol]
        return float(np.mean([energy[int((p.start + p.end) / 2 * RATE)] for p in phones]))

    assert level("p") + 10.0 < level("m") < level("a") - 5.0


@pytest.mark.parametrize("rate", [8000, 11413, 22050, 44100])
def test_every_rate_is_the_same_speech(rate: int) -> None:
    utterance = speak(Speaker.sample(4, 1), 4, 0, ("kinmo", "saru"))
    reference, other = utterance.audio(16000), utterance.audio(rate)
    assert len(other) == round(utterance.duration * rate)
    envelopes = []
    for audio, at in ((reference, 16000), (other, rate)):
        power = np.convolve(audio.astype(float) ** 2, np.ones(at // 50) / (at // 50), mode="same")
        envelopes.append(sample(power, at, np.arange(0.1, utterance.duration - 0.1, 0.01)))
    assert np.corrcoef(*np.log(np.array(envelopes) + 1e-6))[0, 1] > 0.95


def test_nothing_clips_and_nothing_is_lost(utterances: list[Utterance]) -> None:
    for utterance in utterances:
        audio = utterance.audio(22050)
        assert 0.1 < np.abs(audio).max() < 0.95
        assert 1e-4 < np.abs(audio[:2000]).max() < 5e-3  # the room
        assert abs(audio.mean()) < 1e-3


def test_a_moving_filter_adds_no_buzz() -> None:
    """A constant through resonators that sweep stays a constant: gain 1 at 0 Hz is kept in every step."""
    from edge_training.phantom.voice import FILTER_RATE, _filter_in_steps, _resonators

    frequency = np.linspace(400.0, 2500.0, FILTER_RATE)[:, None] * np.array([1.0, 1.7, 2.4])
    sections = _resonators(frequency, np.full_like(frequency, 80.0), 16000)
    settled = _filter_in_steps(sections, np.ones(16000), 16000)[4000:]
    np.testing.assert_allclose(settled, 1.0, atol=1e-6)


def test_breath_and_pitch_are_the_speakers() -> None:
    voice = Speaker.sample(5)
    low, high = (hold(replace(voice, pitch=pitch), "a", 0.4).tracks.pitch.max() for pitch in (100.0, 200.0))
    assert high == pytest.approx(2 * low, rel=1e-3)


@pytest.mark.parametrize("rate", [0, -1, 4000, 96000, 16000.5])
def test_impossible_rates_are_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"sample_rate: got .* Hz, expected a whole number of Hz"):
        hold(Speaker.sample(0), "a").audio(rate)  # type: ignore[arg-type]
