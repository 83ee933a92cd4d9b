"""Speech from the tract: a source-filter synthesizer whose every control follows from the articulation.

    aerodynamics   the lungs' pressure falls at two orifices in series, the glottis and whatever is open above
                   it (mouth and nose in parallel); the larger share falls at the smaller (Stevens, 1998)
    voice          a Rosenberg pulse's derivative with a low-passed spectrum, as a sum of harmonics below
                   Nyquist; its strength is the pressure at the glottis ^1.5, while the folds are close
    aspiration     noise at the glottis
    filter         a cascade of resonators (Klatt, 1980): the tube's six resonances, a nasal pole and zero,
                   and the fixed resonances of a neutral tube from there to 11 kHz
    radiation      what the narrowest opening lets out, plus the nose
    frication      noise ∝ pressure^1.5 · area^0.5 at the constriction, shaped by the cavity before it

Plosives, bursts, fricatives and nasals are not events here: they follow from openings and pressures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter, sosfilt

from edge_runtime.errors import ConfigError
from edge_training.phantom.lexicon import SPEECH_PRESSURE
from edge_training.phantom.movement import RATE, Movement, sample
from edge_training.phantom.speaker import Speaker
from edge_training.phantom.tract import FORMANT_RATE, FORMANTS, SPEED_OF_SOUND, VocalTract, bandwidths

HIGHEST_RESONANCE = 11000.0  # Hz: beyond, a tract is no tube and speech has little to say
FILTER_RATE = 250  # Hz: how often the filters change
RATES = (8000, 48000)  # Hz, lowest and highest
BAND = (0.40, 0.48)  # of the sample rate: resonances fade out between these, so that none sits on Nyquist
TABLE = 1024  # phases of one glottal cycle
LOWEST_PITCH = 50.0  # Hz
# levels against a voice of 1
ASPIRATION, FRICATION, NASAL, WALLS = 0.035, 4.0, 0.3, 0.04
EXPANSION = 0.25  # of the lungs' pressure
INAUDIBLE = 1e-5
ROOM_NOISE = 3e-4  # full scale, of the recording
VOICE_LEVEL = 0.055  # full scale, of the source: peaks stay near one half


@dataclass(frozen=True)
class Sources:
    """Controls of the synthesizer at `movement.RATE`, (samples,) each."""

    pitch: NDArray[np.float64]  # Hz, also where no voice is
    voice: NDArray[np.float64]  # 1 is a normal vowel
    aspiration: NDArray[np.float64]
    frication: NDArray[np.float64]
    radiation: NDArray[np.float64]  # gain of mouth and nose
    nasality: NDArray[np.float64]  # 0 … 1
    front_resonance: NDArray[np.float64]  # Hz, of the cavity before the constriction


def control(speaker: Speaker, movement: Movement, tract: VocalTract) -> Sources:
    """Pressures, flows and what they excite."""
    glottis = movement["glottis"]
    mouth = tract.constriction
    outlet = mouth + tract.port
    lungs = np.maximum(movement["pressure"], 0.0) / SPEECH_PRESSURE
    above = lungs * glottis**2 / (glottis**2 + outlet**2)  # share that falls above the glottis
    adducted = np.clip((0.16 - glottis) / 0.08, 0.0, 1.0)
    # walls that give way keep the folds going for a while behind a closure
    across = np.maximum(lungs - above, EXPANSION * lungs * adducted)
    front = (1.0 - tract.constriction_place) * tract.length + 0.4
    return Sources(
        pitch=np.maximum(speaker.pitch * 2.0 ** (movement["pitch"] / 12.0), LOWEST_PITCH),
        voice=across**1.5 * adducted,
        aspiration=across**1.5 * np.sqrt(glottis / 0.05) * ASPIRATION * speaker.breathiness,
        frication=above**1.5 * np.sqrt(mouth) * FRICATION,
        radiation=np.maximum(mouth / (mouth + 0.06), NASAL * tract.port) + WALLS,
        nasality=np.clip(movement["velum"], 0.0, 1.0),
        front_resonance=SPEED_OF_SOUND / 4.0 / front,
    )


def synthesize(
    speaker: Speaker,
    sources: Sources,
    tract: VocalTract,
    sample_rate: int,
    samples: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Audio, (samples,) in ±1.

    Raises:
        ConfigError: a sample rate outside of `RATES`.
    """
    if not RATES[0] <= sample_rate <= RATES[1] or sample_rate % 1:
        raise ConfigError(
            "sample_rate", got=f"{sample_rate} Hz", expected=f"a whole number of Hz, {RATES[0]} … {RATES[1]}"
        )
    times = np.arange(samples) / sample_rate
    # the same power per Hz at every rate
    noise = np.sqrt(sample_rate / 16000.0) * rng.standard_normal((2, samples), np.float32)
    excitation = _at(sources.voice, times) * _pulses(speaker, sources.pitch, times, sample_rate)
    # noise rides on the pulses where the folds vibrate
    excitation += _at(sources.aspiration, times) * noise[0]
    spoken = _through_tract(excitation, sources, tract, speaker, sample_rate)
    spoken *= _at(sources.radiation, times)
    hiss = lfilter([1.0, -0.9], [1.0], noise[1]) * _at(sources.frication, times)
    spoken += _through_front_cavity(hiss, sources, sample_rate)
    spoken += ROOM_NOISE / VOICE_LEVEL * rng.standard_normal(samples, np.float32)
    audio: NDArray[np.float32] = (np.tanh(VOICE_LEVEL * spoken)).astype(np.float32)
    return audio


def _at(track: NDArray[Any], times: NDArray[Any]) -> NDArray[Any]:
    read: NDArray[Any] = np.interp(times, np.arange(len(track)) / RATE, track)
    return read


# sources ---------------------------------------------------------------------------------------------------


def _pulses(speaker: Speaker, pitch: NDArray[Any], times: NDArray[Any], sample_rate: int) -> NDArray[Any]:
    """Derivative of the glottal flow, without harmonics beyond Nyquist."""
    phase = np.concatenate([[0.0], np.cumsum(pitch[:-1]) / RATE])
    cycles = _at(phase, times)
    harmonics = (0.48 * sample_rate / _at(pitch, times)).astype(np.intp)
    fewest, most = int(harmonics.min()), int(harmonics.max())
    table = _wave_tables(speaker, pitch.mean(), fewest, most)
    place = ((cycles % 1.0) * TABLE).astype(np.intp)
    pulses: NDArray[Any] = table[harmonics - fewest, place]
    return pulses


def _wave_tables(speaker: Speaker, pitch: float, fewest: int, most: int) -> NDArray[np.float32]:
    """One cycle of the pulse per number of harmonics, ``fewest`` … ``most``: (tables, TABLE)."""
    spectrum = np.fft.rfft(_rosenberg(speaker.open_quotient))[: most + 1]
    order = np.arange(most + 1)
    spectrum = spectrum * (2j * np.pi * order)  # the derivative radiates
    spectrum = spectrum / np.hypot(1.0, order * pitch / speaker.tilt)
    spectrum /= np.abs(spectrum[1])
    phase = 2.0 * np.pi * np.outer(order[1:], np.arange(TABLE) / TABLE)
    partials = np.real(spectrum[1:, None] * np.exp(1j * phase))
    table: NDArray[np.float32] = np.cumsum(partials, axis=0)[fewest - 1 :].astype(np.float32)
    return table


def _rosenberg(open_quotient: float) -> NDArray[np.float64]:
    """One cycle of glottal flow (Rosenberg, 1971): rises for two thirds of the open phase, then falls."""
    points = 8192
    phase = np.arange(points) / points
    rise, fall = open_quotient * 2.0 / 3.0, open_quotient / 3.0
    flow = np.where(
        phase < rise,
        0.5 * (1.0 - np.cos(np.pi * phase / rise)),
        np.cos(0.5 * np.pi * np.minimum((phase - rise) / fall, 1.0)),
    )
    cycle: NDArray[np.float64] = np.maximum(flow, 0.0)
    return cycle


# filters ---------------------------------------------------------------------------------------------------


def _through_tract(
    excitation: NDArray[Any], sources: Sources, tract: VocalTract, speaker: Speaker, sample_rate: int
) -> NDArray[Any]:
    """The cascade; its coefficients change `FILTER_RATE` times a second."""
    constriction = tract.constriction[:: RATE // FILTER_RATE]
    times = np.arange(len(constriction)) / FILTER_RATE
    formants = sample(tract.formants, FORMANT_RATE, times)
    # friction in a narrow passage damps; without it a closing mouth would ring
    widths = bandwidths(formants) * (1.0 + 0.06 / (constriction + 0.02))[:, None]
    moving = _resonators(formants, widths, sample_rate)
    fixed = (2.0 * np.arange(FORMANTS, 3 * FORMANTS) + 1.0) * SPEED_OF_SOUND / 4.0 / speaker.tract_length
    fixed = fixed[fixed < min(BAND[1] * sample_rate, HIGHEST_RESONANCE)]
    still = np.broadcast_to(_resonators(fixed, bandwidths(fixed), sample_rate), (len(moving), len(fixed), 6))
    # high resonances amplify treble by up to 60 dB and low ones take it away again: in turns, so that what
    # the changing coefficients add to a large signal never becomes audible
    order = np.argsort([*range(FORMANTS), *(place + 0.5 for place in range(len(fixed)))], kind="stable")
    sections = np.ascontiguousarray(np.concatenate([moving, still], axis=1)[:, order])
    excitation = _through_nose(excitation, sources.nasality, sample_rate)
    return _filter_in_steps(sections, excitation, sample_rate)


def _through_nose(signal: NDArray[Any], nasality: NDArray[Any], sample_rate: int) -> NDArray[Any]:
    """A pole at 270 Hz and a zero that leaves it as the port opens (Klatt, 1980)."""
    width = 100.0  # Hz
    pole = _resonators(270.0, width, sample_rate)
    signal = lfilter(pole[:1], pole[3:], signal)
    taps = _resonators(270.0 + 230.0 * nasality, width, sample_rate)[:, 3:]
    taps /= taps.sum(axis=1, keepdims=True)
    times = np.arange(len(signal)) / sample_rate
    passed: NDArray[Any] = _at(taps[:, 0], times) * signal
    passed[1:] += _at(taps[:, 1], times[1:]) * signal[:-1]
    passed[2:] += _at(taps[:, 2], times[2:]) * signal[:-2]
    return passed


def _resonators(
    frequency: float | NDArray[Any], bandwidth: float | NDArray[Any], sample_rate: int
) -> NDArray[np.float64]:
    """Second-order sections (…, 6) with gain 1 at 0 Hz; they fade to nothing towards Nyquist."""
    radius = np.exp(-np.pi * bandwidth / sample_rate)
    present = np.clip((BAND[1] - frequency / sample_rate) / (BAND[1] - BAND[0]), 0.0, 1.0)
    sections = np.zeros((*np.shape(frequency), 6))
    sections[..., 3] = 1.0
    sections[..., 4] = -2.0 * present * radius * np.cos(2.0 * np.pi * frequency / sample_rate)
    sections[..., 5] = present * radius**2
    sections[..., 0] = sections[..., 3:].sum(axis=-1)
    return sections


def _through_front_cavity(hiss: NDArray[Any], sources: Sources, sample_rate: int) -> NDArray[Any]:
    """Noise through the resonance of the cavity before the constriction, as far as the band goes."""
    frequency = np.minimum(sources.front_resonance[:: RATE // FILTER_RATE], min(8000.0, 0.42 * sample_rate))
    section = _resonators(frequency, 0.15 * frequency + 200.0, sample_rate)
    # gain 1 at the resonance rather than at 0 Hz, so that place does not decide loudness
    section[:, 0] = (1.0 - section[:, 5]) * np.sqrt(
        np.maximum(1.0 - section[:, 4] ** 2 / (4.0 * section[:, 5]), 0.01)
    )
    return _filter_in_steps(section[:, None], hiss, sample_rate)


def _filter_in_steps(sections: NDArray[Any], signal: NDArray[Any], sample_rate: int) -> NDArray[Any]:
    """Filter with sections (steps, count, 6), each step beginning at its number / `FILTER_RATE`."""
    edges = np.round(np.arange(len(sections) + 1) * sample_rate / FILTER_RATE).astype(int)
    scale, mixed = _handover(sections)
    audible = np.maximum.reduceat(np.abs(signal), np.minimum(edges[:-1], len(signal) - 1)) > INAUDIBLE
    filtered = np.zeros(len(signal))
    state = np.zeros((sections.shape[1], 2))
    for step in range(len(sections)):
        start, stop = edges[step], min(edges[step + 1], len(signal))
        if start >= stop:
            break
        if not (audible[step] or np.abs(state).max() > INAUDIBLE):
            state[:] = 0.0
            continue
        state *= scale[step]
        state[:, 0] += mixed[step] * state[:, 1]
        filtered[start:stop], state = sosfilt(sections[step], signal[start:stop], zi=state)
    return filtered


def _handover(sections: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """How the states of the transposed direct form follow a change of coefficients.

    Direct form I keeps the last two outputs, so that a slow signal passes a changing resonator of gain 1 at
    0 Hz unchanged. The transposed states, left as they are, would make a step of it every time: a buzz at
    `FILTER_RATE` in each transition.
    """
    first, second = sections[..., 4], sections[..., 5]
    old = np.where(second[:-1] > 1e-9, second[:-1], 1.0)  # a section that is switched off has no state
    scale, mixed = np.ones((*second.shape, 1)), np.zeros_like(second)
    scale[1:, :, 0] = second[1:] / old
    # of the second state after it was scaled
    new = np.where(second[1:] > 1e-9, second[1:], 1.0)
    mixed[1:] = (first[1:] - first[:-1] * scale[1:, :, 0]) / new
    return scale, mixed


def loudness(sources: Sources) -> NDArray[np.float64]:
    """Rough envelope of the sound, (samples,) at `movement.RATE`: 1 is a normal vowel."""
    spoken = (sources.voice + sources.aspiration) * sources.radiation
    envelope: NDArray[np.float64] = np.hypot(spoken, 3.0 * sources.frication)
    return envelope
