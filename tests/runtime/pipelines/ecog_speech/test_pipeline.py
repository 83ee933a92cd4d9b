"""From ECoG to speech with tiny nets: stages, windows, options, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.recorded_ecog import STARTS, recorded
from tests.small_ecog import BINS, DECODER, SYNTHESIZER, small_bundle

from edge_runtime.errors import BundleError, ConfigError, EdgeWarning, InputError
from edge_runtime.pipelines.ecog_speech import EcogSpeech
from edge_runtime.pipelines.ecog_speech.pipeline import parse_bad
from edge_runtime.pipelines.ecog_speech.recordings import write_recording
from edge_runtime.store.bundle import Bundle

Bundles = dict[str, Bundle]


def pipeline(bundles: Bundles, **options: Any) -> EcogSpeech:
    return EcogSpeech(bundles["decoder"], bundles["synthesizer"], **options)


def ecog(frames: int, electrodes: int = 16) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((frames, electrodes)).astype(np.float32)


def test_a_trial_is_a_window_that_begins_before_its_word(bundles: Bundles, recording: Path) -> None:
    result, found = pipeline(bundles, trial=2).process_file(recording)
    assert found is not None
    first = STARTS[2] - 32
    assert np.array_equal(result.ecog, recorded().ecog[first - 16 : first + 128])
    assert result.parameters["f0_hz"].shape == (1, 128)
    assert result.spectrogram.shape == (128, BINS)
    assert -1 <= result.spectrogram.min() <= result.spectrogram.max() <= 1
    assert result.wave is not None
    assert result.fgla is not None
    assert result.wave.shape == result.fgla.shape == (16384,)


def test_the_reference_of_the_bundle_is_what_it_says(bundles: Bundles) -> None:
    inputs, outputs = bundles["decoder"].reference("waves")
    said = pipeline(bundles).decode(inputs["ecog"][0])
    for name, true in outputs.items():
        assert np.allclose(said[name], true[0], rtol=1e-4, atol=1e-5), name


def test_long_arrays_are_decoded_window_by_window(bundles: Bundles) -> None:
    speech = pipeline(bundles, phase="wave")
    values = ecog(16 + 300)
    long = speech.process(values)
    assert long.fgla is None
    assert long.spectrogram.shape == (300, BINS)
    for first in (0, 128, 172):  # the last window ends with the array
        window = speech.decode(values[first : first + 144])
        stop = 172 if first == 128 else first + 128
        kept = window["f0_hz"][:, : stop - first]
        assert np.allclose(long.parameters["f0_hz"][:, first:stop], kept, rtol=1e-5)


def test_the_seed_decides_the_noise(bundles: Bundles) -> None:
    one, same, other = (pipeline(bundles, seed=seed, phase="wave").process(ecog(144)) for seed in (1, 1, 2))
    assert np.array_equal(one.wave, same.wave)  # type: ignore[arg-type]
    assert not np.array_equal(one.wave, other.wave)  # type: ignore[arg-type]


def test_griffin_lim_gives_back_a_spectrogram(bundles: Bundles) -> None:
    speech = pipeline(bundles)
    tone = np.full((60, BINS), -1, np.float32)
    tone[:, 20] = 0.5
    samples = speech.from_spectrogram(tone)
    assert samples.shape == (60 * 128,)
    spectrum = np.abs(np.fft.rfft(samples[2000:6096]))
    assert abs(float(np.argmax(spectrum)) / 4096 * 255 - 20) < 0.6
    assert not speech.from_spectrogram(np.full((20, BINS), -1, np.float32)).any()


def test_bad_electrodes_are_silenced(bundles: Bundles, tmp_path: Path) -> None:
    values = ecog(144)
    values[3, 5] = np.nan
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(InputError, match=r"x\.npy: ecog: got NaN or infinite values in electrode 5"):
        pipeline(bundles).read(tmp_path / "x.npy")
    read, _ = pipeline(bundles, bad="5").read(tmp_path / "x.npy")
    assert not read[:, 5].any()
    assert parse_bad("3, 17,") == (3, 17)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"phase": "gla"}, "--phase: got 'gla', expected both, wave, fgla"),
        ({"trial": -1}, "--trial: got -1, expected a whole number, 0 or more"),
        ({"bad": "left"}, "--bad: got 'left', expected numbers of electrodes"),
    ],
)
def test_options_that_are_impossible_are_refused(
    bundles: Bundles, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        pipeline(bundles, **options)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            ecog(100),
            r"got float32 of shape \(100, 16\), expected real numbers \(frames, electrodes\), at least 144",
        ),
        (ecog(16, 300), "transposed: pass ecog.T"),
        (ecog(16, 16), r"got float32 of shape \(16, 16\), expected real numbers"),
        (ecog(300)[None], r"got float32 of shape \(1, 300, 16\)"),
        (ecog(144).astype(complex), "got complex128 of .*absolute value"),
        (ecog(144) > 0, "got bool of shape"),
        (np.where(ecog(144) < 9, np.inf, 0), "got NaN or infinite values in electrodes 0, 1"),
        (ecog(144, 9), "got 9 electrodes, expected the 16 electrodes of the decoder"),
        (ecog(144) * 1e4, "got values up to .*, expected z-scores"),
    ],
)
def test_arrays_that_are_no_ecog_are_refused(bundles: Bundles, values: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        pipeline(bundles).process(values)


def test_trials_and_files_that_do_not_fit_are_refused(
    bundles: Bundles, recording: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"--trial: got 4, expected 0 … 3: S1 has no more"):
        pipeline(bundles, trial=4).read(recording)
    np.save(tmp_path / "x.npy", ecog(144))
    with pytest.raises(ConfigError, match=r"--trial: got 1 for an array, expected a recording"):
        pipeline(bundles, trial=1).read(tmp_path / "x.npy")
    write_recording(tmp_path / "S2.h5", recorded("S2", bins=64))
    with pytest.raises(InputError, match=r"S2\.h5: wave_re_spec_alldataset: got 64 bins, expected 128"):
        pipeline(bundles).process_file(tmp_path / "S2.h5")
    write_recording(tmp_path / "S3.h5", recorded("S3", electrodes=25))
    with pytest.raises(InputError, match=r"S3\.h5: ecog: got 25 electrodes, expected the 16"):
        pipeline(bundles).process_file(tmp_path / "S3.h5")
    with pytest.raises(ConfigError, match="bad: got 16, expected numbers from 0 to 15"):
        pipeline(bundles, bad="3,16").process_file(recording)
    with pytest.raises(ConfigError, match="grid: got coarse and extended, expected one of them"):
        pipeline(bundles, coarse=True, extended=True).process_file(recording)


def test_arrays_are_refused_by_name(bundles: Bundles, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for values, sentence in (
        (ecog(16, 300), r"x\.npy: ecog: got float32 of shape \(16, 300\).*transposed: pass ecog\.T"),
        (ecog(128, 400), r"shape \(128, 400\).*transposed"),  # a hybrid grid
        (ecog(300) * 80, r"x\.npy: ecog: got values up to .*expected z-scores.*in volts or µV"),
        (ecog(300, 128), r"x\.npy: ecog: got 225 electrodes, expected the 16.*--coarse takes the first 64"),
        ((100 * ecog(300)).astype(np.int16), "x.npy: ecog: got values up to"),
    ):
        np.save(path, values)
        with pytest.raises(InputError, match=sentence):
            pipeline(bundles).process_file(path)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (4 + np.abs(ecog(144)), r"got values of 4 … .*, none below 0, expected z-scores around 0"),
        (1e-5 * ecog(144), "got values within ±.*, expected z-scores.*in volts or µV"),
        (0 * ecog(144), "got values within ±0, expected z-scores"),
    ],
)
def test_amplitudes_are_doubted(bundles: Bundles, values: Any, sentence: str) -> None:
    with pytest.warns(EdgeWarning, match=sentence):
        pipeline(bundles, phase="wave").process(values)


def test_electrodes_of_another_scale_can_be_silenced(bundles: Bundles, tmp_path: Path) -> None:
    values = ecog(144)
    values[:, 7] *= 1e4
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(InputError, match=r"in electrodes 7, expected z-scores.*silence them with --bad 7"):
        pipeline(bundles).process_file(tmp_path / "x.npy")
    pipeline(bundles, bad="7", phase="wave").process_file(tmp_path / "x.npy")


def test_a_decoder_of_the_coarse_grid_reads_a_hybrid_recording(bundles: Bundles, tmp_path: Path) -> None:
    coarse = small_bundle("ecog-decoder", tmp_path / "coarse", DECODER | {"electrodes": 64})
    write_recording(tmp_path / "S1.h5", recorded(electrodes=128))
    with pytest.raises(InputError, match=r"got 225 electrodes.*--coarse takes the first 64"):
        EcogSpeech(coarse, bundles["synthesizer"]).read(tmp_path / "S1.h5")
    read, _ = EcogSpeech(coarse, bundles["synthesizer"], coarse=True).read(tmp_path / "S1.h5")
    assert np.array_equal(read, recorded(electrodes=128).ecog[72:216, :64])


def test_bundles_that_do_not_fit_are_refused(bundles: Bundles, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="net: got ecog-decoder, expected formant-synthesizer"):
        EcogSpeech(bundles["decoder"], bundles["decoder"])
    other = small_bundle("formant-synthesizer", tmp_path / "b", SYNTHESIZER | {"bins": 160})
    with pytest.raises(BundleError, match="got a synthesizer of 160 bins, expected 128"):
        EcogSpeech(bundles["decoder"], other)
