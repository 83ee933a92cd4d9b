"""Recordings for mel inversion: any folder, any higher rate; variation, whole validation clips, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.dsp.resampling import resample
from edge_runtime.errors import InputError
from edge_runtime.media.audio import write_wav
from edge_training.mel_inversion.data import LEVEL_DB, STRETCH, InversionData, InversionSource

RATE = 8000


def tone(hertz: float, seconds: float, rate: int = RATE) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    t = np.arange(int(seconds * rate)) / rate
    return (0.25 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


@pytest.fixture
def source(tmp_path: Path) -> InversionSource:
    place = tmp_path / "clips"
    place.mkdir()
    for clip, seconds in enumerate([0.5, 0.6, 0.05, 0.7]):
        write_wav(place / f"clip{clip}.wav", tone(500, seconds), RATE, "float32")
    return InversionSource(place, RATE, segment=1024, shortest=64, validation_clips=1)


def loudest(samples: np.ndarray[tuple[int], np.dtype[np.float32]]) -> float:
    """Hz of the strongest bin."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 16384))
    return float(np.argmax(spectrum)) * RATE / 16384


def test_segments_without_variation_are_pieces(source: InversionSource) -> None:
    data = InversionData(replace(source, vary=False))
    assert (data.names, data.validation_names) == (("clip0", "clip1", "clip2"), ("clip3",))
    whole = tone(500, 0.5)
    windows = np.lib.stride_tricks.sliding_window_view(whole, 1024)
    for seed in range(5):
        item = data.item(0, np.random.default_rng(seed))
        assert item["name"] == "clip0"
        assert np.abs(windows - item["wav"]).max(axis=1).min() < 1e-6
    short = data.item(2, np.random.default_rng(0))["wav"]
    np.testing.assert_allclose(short[:400], tone(500, 0.05), atol=1e-6)
    assert not short[400:].any()


def test_variation_moves_pitch_and_level_and_time(source: InversionSource) -> None:
    data = InversionData(source)
    items = [data.item(0, np.random.default_rng(seed))["wav"] for seed in range(60)]
    assert all(item.shape == (1024,) and item.dtype == np.float32 for item in items)
    pitches = np.array([loudest(item) for item in items]) / 500
    assert pitches.min() < 0.87
    assert pitches.max() > 1.15
    assert np.all((pitches > 0.99 / STRETCH) & (pitches < 1.01 * STRETCH))
    levels = 20 * np.log10(np.array([np.abs(item).max() for item in items]) / 0.25)
    assert levels.min() < -8
    assert levels.max() > 3
    assert np.all((levels > LEVEL_DB[0] - 0.3) & (levels < LEVEL_DB[1] + 0.3))


def test_half_of_the_varied_items_run_backwards(source: InversionSource) -> None:
    """A sweep rises in the one and falls in the other."""
    t = np.arange(4000) / RATE
    sweep = (0.3 * np.sin(2 * np.pi * (300 * t + 1000 * t**2))).astype(np.float32)
    write_wav(source.folder / "clip0.wav", sweep, RATE, "float32")
    data = InversionData(source)
    items = [data.item(0, np.random.default_rng(seed))["wav"] for seed in range(60)]
    rising = [loudest(item[512:]) > loudest(item[:512]) for item in items]
    assert 0.3 < np.mean(rising) < 0.7


def test_an_item_is_a_function_of_its_draw(source: InversionSource) -> None:
    first, again = (InversionData(source).item(1, np.random.default_rng(7))["wav"] for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_validation_clips_are_whole_and_untouched(source: InversionSource) -> None:
    item = InversionData(source).validation_item(0)
    assert item["name"] == "clip3"
    np.testing.assert_allclose(item["wav"], tone(500, 0.7), atol=1e-6)


def test_higher_rates_are_resampled(source: InversionSource) -> None:
    high = tone(500, 0.7, 22050)
    write_wav(source.folder / "clip3.wav", high, 22050, "float32")
    read = InversionData(source).validation_item(0)["wav"]
    np.testing.assert_allclose(read, resample(high, 22050, RATE), atol=1e-6)


def test_refusals_name_the_file(source: InversionSource) -> None:
    write_wav(source.folder / "clip1.wav", tone(500, 0.5, 6000), 6000)
    with pytest.raises(InputError, match=r"clip1.wav: got 6000 Hz, expected at least 8000 Hz"):
        InversionData(source)
    write_wav(source.folder / "clip1.wav", tone(500, 0.005), RATE)
    with pytest.raises(InputError, match=r"clip1.wav: got 40 samples at 8000 Hz, expected at least 64"):
        InversionData(source)
    with pytest.raises(InputError, match="no recordings"):
        InversionData(replace(source, folder=source.folder.parent))
