"""The pipeline without a net, and on real bundles of small nets whose answers the test computes itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests import small_inversions
from tests.small_inversions import BINS, LEVEL, MEL, neighbours

from edge_runtime.dsp.griffin_lim import Algorithm, griffin_lim
from edge_runtime.dsp.magnitude import estimate_magnitude, linear_mel
from edge_runtime.dsp.mel import PRESETS, MelConfig, MelFrontEnd
from edge_runtime.dsp.spectral import Array, Padding, Stft
from edge_runtime.errors import BundleError, ConfigError, InputError, TargetError
from edge_runtime.media.audio import read_audio, write_wav
from edge_runtime.pipelines.mel_inversion.nets import Chunks
from edge_runtime.pipelines.mel_inversion.pipeline import MelInversion
from edge_runtime.pipelines.mel_inversion.system import SYSTEM
from edge_runtime.store.bundle import Geometry
from edge_runtime.store.reading import read_array

SENTENCE = Path(__file__).parents[4] / "export" / "edge_export" / "assets" / "sentence.wav"
SAME = 1e-5  # the kernels of onnxruntime sum in another order for another length


def speech_like(samples: int, rate: int) -> NDArray[np.float32]:
    """Harmonics of a gliding voice in syllables, a little noise between them, at 0.1 of full scale."""
    rng = np.random.default_rng(7)
    time = np.arange(samples) / rate
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * time)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 25))
    syllables = 0.55 - 0.45 * np.cos(2 * np.pi * 3 * time)
    return np.asarray(0.06 * voice * syllables + 0.005 * rng.standard_normal(samples), np.float32)


def lag(truth: Array, made: Array) -> int:
    """Samples by which the envelope of `made` comes late."""
    power = [np.convolve(np.square(x, dtype=np.float64), np.hanning(33), "same") for x in (truth, made)]
    size = 2 * truth.size
    spectra = [np.fft.rfft(x - x.mean(), size) for x in power]
    shifts = np.fft.irfft(spectra[1] * np.conj(spectra[0]), size)
    found = int(np.argmax(shifts))
    return found if found < truth.size else found - size


def level(samples: Array) -> float:
    """dB."""
    return float(20 * np.log10(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))))


# every front end -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", list(PRESETS))
def test_every_front_end_comes_back_as_long_and_as_loud(preset: str) -> None:
    pipeline = MelInversion(preset=preset, iterations=24)
    rate = pipeline.sample_rate
    speech = read_audio(SENTENCE, rate).samples[: 2 * rate + 17] + np.float32(0.003)
    result = pipeline.process(speech)
    assert result.samples.shape == speech.shape
    assert result.samples.dtype == np.float32
    assert result.level_known
    assert abs(level(result.samples) - level(speech)) < 1.5
    assert np.abs(result.samples).max() < 2 * np.abs(speech).max()  # no clicks
    edge = rate // 50
    for part in (slice(None, edge), slice(-edge, None)):
        assert np.abs(result.samples[part]).max() < 1.5 * np.abs(speech).max()
    figures = pipeline.measure(speech, result)
    assert figures["magnitude"] == figures["estimate"]
    assert figures["magnitude"]["spectral_convergence_db"] < -4
    assert figures["result"]["spectral_convergence_db"] < (-8 if rate > 11413 else -5)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_burst_keeps_its_place(preset: str) -> None:
    """Two milliseconds of noise in silence, through each padding convention; from the mel alone."""
    pipeline = MelInversion(preset=preset)
    rate = pipeline.sample_rate
    burst = np.zeros(rate, np.float32)
    place = slice(int(0.43 * rate), int(0.432 * rate))
    burst[place] = 0.5 * np.random.default_rng(3).standard_normal(place.stop - place.start)
    made = pipeline.process(burst).samples
    assert abs(lag(burst, made)) <= pipeline.front_end.hop_length // 12
    assert abs(level(made) - level(burst)) < 2.5


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "mel-inversion-db"])
def test_frames_are_aligned_to_the_sample(preset: str) -> None:
    """With the magnitude itself for a mel, only the phase is unknown: the sign of the signal at most."""
    config = replace(
        PRESETS[preset], n_mels=None, log="none", log_gain=1.0, reference=0.0, top_db=None, scale_from=None,
        clip=False,
    )  # fmt: skip
    pipeline = MelInversion(preset=config, iterations=200)
    rate = pipeline.sample_rate
    time = np.arange(int(0.8 * rate) + 5) / rate
    chirp = 0.4 * np.sin(2 * np.pi * (300 + 1500 * time) * time) * np.exp(-(((time - 0.4) / 0.08) ** 2))
    made = pipeline.process(chirp.astype(np.float32)).samples
    assert lag(chirp, made) == 0
    assert abs(level(made) - level(chirp)) < 0.5


@settings(deadline=None, max_examples=25)
@given(st.sampled_from(sorted(PRESETS)), st.integers(1, 9000))
def test_any_length_comes_back(preset: str, samples: int) -> None:
    pipeline = MelInversion(preset=preset, iterations=1, updates=0)
    audio = speech_like(samples, pipeline.sample_rate)
    if samples < pipeline.front_end.min_samples:
        with pytest.raises(InputError, match=f"got {samples} samples, expected at least"):
            pipeline.process(audio)
        return
    assert pipeline.process(audio).samples.shape == (samples,)


def test_silence_stays_silent() -> None:
    for preset in PRESETS:
        pipeline = MelInversion(preset=preset, iterations=2)
        made = pipeline.process(np.zeros(pipeline.sample_rate // 2, np.float32)).samples
        assert np.abs(made).max() < 1e-4


def test_the_level_that_conditioning_took_away_is_given_back() -> None:
    for preset in ("mel-inversion-db", "auffusion"):
        pipeline = MelInversion(preset=preset, iterations=8)
        speech = speech_like(12000, pipeline.sample_rate)
        quiet = pipeline.process(speech * np.float32(0.01)).samples
        np.testing.assert_allclose(quiet * 100, pipeline.process(speech).samples, atol=2e-3)
        alone = pipeline.invert(pipeline.mel(speech * np.float32(0.01)))
        assert alone.level_known == (preset == "auffusion")
        assert 0.5 < np.abs(alone.samples).max() < 1.5


def test_the_mean_comes_back_too() -> None:
    config = replace(MEL, standardize=True)
    speech = speech_like(8000, 8000) + np.float32(0.25)
    assert MelInversion(preset=config, iterations=4).process(speech).samples.mean() == pytest.approx(
        0.25, abs=0.01
    )


def test_decibels_below_the_maximum_get_the_recordings_level() -> None:
    config = replace(MEL, spectrum_range_db=80.0, log="none")
    pipeline = MelInversion(preset=config, iterations=8)
    speech = speech_like(8000, 8000)
    assert abs(level(pipeline.process(speech).samples) - level(speech)) < 0.1
    alone = pipeline.invert(pipeline.mel(speech))
    assert not alone.level_known
    assert np.abs(alone.samples).max() == pytest.approx(0.95)


def test_ends_without_overlap_are_as_loud_as_the_rest() -> None:
    """Padding "none" sees the first and the last samples through the edge of one window."""
    pipeline = MelInversion(preset="rtmri")
    noise = 0.1 * np.random.default_rng(5).standard_normal(11413).astype(np.float32)
    made = pipeline.process(noise).samples
    for part in (slice(0, 400), slice(400, 1600), slice(-1600, -400), slice(-400, None)):
        assert abs(level(made[part]) - level(noise)) < 6


def test_power_mels_and_pre_emphasis_are_undone() -> None:
    pipeline = MelInversion(preset="rtmri")
    speech = speech_like(11413, 11413)
    plain = np.concatenate([*pipeline.spectrum(speech)], axis=1)
    result = pipeline.process(speech)
    inner = slice(pipeline.frames.before, pipeline.frames.before + plain.shape[1])
    bands = np.array_split(np.arange(plain.shape[0]), 8)
    for band in bands[:6]:
        ratio = np.linalg.norm(result.target[band, inner]) / np.linalg.norm(plain[band])
        assert 0.8 < ratio < 1.3


# the phase step --------------------------------------------------------------------------------------------


def test_the_phase_step_is_griffin_lim() -> None:
    """Where the front end counts frames as Griffin-Lim does, nothing is added to it."""
    speech = speech_like(4000, MEL.sample_rate)
    for phase in get_args(Algorithm):
        pipeline = MelInversion(preset=MEL, phase=phase, iterations=5)
        result = pipeline.process(speech)
        expected = griffin_lim(
            result.magnitude, n_fft=128, hop_length=32, n_iter=5, algorithm=phase, length=4000,
            padding="center-reflect",
        )  # fmt: skip
        np.testing.assert_allclose(result.samples, expected, atol=1e-6)
        assert f"5 iterations of {phase}" in pipeline.executed_by


def test_more_iterations_come_nearer() -> None:
    speech = speech_like(8000, MEL.sample_rate)

    def distance(iterations: int) -> float:
        pipeline = MelInversion(preset=MEL, iterations=iterations)
        result = pipeline.process(speech)
        wanted = result.magnitude
        reached = np.concatenate([*pipeline.spectrum(result.samples)], axis=1)
        return float(np.linalg.norm(reached - wanted) / np.linalg.norm(wanted))

    assert distance(32) < 0.6 * distance(0)


# a net for the magnitude -----------------------------------------------------------------------------------


def smoothed(mel: Array, share: float) -> Array:
    """What the small nets see of a mel; zeros stand beyond its ends."""
    kernel = neighbours(share).astype(np.float64)
    return np.stack([np.convolve(band, kernel, "same") for band in mel])


def test_the_net_gives_the_magnitude(tmp_path: Path) -> None:
    bundle = small_inversions.write_inversion(tmp_path / "net", 0.2)
    pipeline = MelInversion(bundle, iterations=2)
    speech = speech_like(4000, 8000)
    result = pipeline.process(speech)
    mel = MelFrontEnd(MEL)(speech)
    np.testing.assert_array_equal(result.mel, mel)
    expected = estimate_magnitude(np.exp(smoothed(mel, 0.2)), MEL, updates=0)
    np.testing.assert_allclose(result.magnitude, np.maximum(expected, 1e-5), rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(result.estimate, estimate_magnitude(linear_mel(mel, MEL), MEL))
    assert pipeline.sample_rate == 8000
    assert "onnxruntime" in pipeline.executed_by


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 120), st.integers(3, 50))
def test_chunks_of_the_net_equal_one_run(inversion: Path, frames: int, chunk_frames: int) -> None:
    mel = np.random.default_rng(frames).uniform(-6, 0, (MEL.bands, frames)).astype(np.float32)
    whole = MelInversion(inversion, iterations=0, chunk_frames=frames + 3).invert(mel)
    parts = MelInversion(inversion, iterations=0, chunk_frames=chunk_frames).invert(mel)
    np.testing.assert_allclose(parts.magnitude, whole.magnitude, rtol=SAME)


@settings(deadline=None, max_examples=10)
@given(frames=st.integers(2, 120))
def test_length_buckets_change_no_magnitude(inversion: Path, frames: int) -> None:
    mel = np.random.default_rng(frames).uniform(-6, 0, (MEL.bands, frames)).astype(np.float32)
    whole = MelInversion(inversion, iterations=0).invert(mel).magnitude
    pipeline = MelInversion(inversion, iterations=0, chunk_frames=48, length_buckets=True)
    np.testing.assert_allclose(pipeline.invert(mel).magnitude, whole, rtol=SAME)
    assert pipeline.net is not None
    few = Chunks(pipeline.net.net, 2, 48, length_buckets=True)
    lengths = {piece.chunk.stop - piece.chunk.start for piece in few.plan(frames)}
    assert lengths <= ({32, 48} if frames >= 32 else {frames})


@pytest.fixture(scope="module")
def inversion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_inversions.write_inversion(tmp_path_factory.mktemp("bundles") / "net", 0.25)


def test_less_context_would_be_seen(tmp_path: Path, inversion: Path) -> None:
    mel = np.random.default_rng(0).uniform(-6, 0, (MEL.bands, 60)).astype(np.float32)
    short = small_inversions.write_inversion(tmp_path / "short", 0.25, geometry=Geometry(32, 1, 0))
    whole = MelInversion(inversion, iterations=0).invert(mel).magnitude
    parts = MelInversion(short, iterations=0, chunk_frames=20).invert(mel).magnitude
    assert np.abs(parts - whole).max() > 1e-3


def test_fixed_lengths_run_any_recording(tmp_path: Path, inversion: Path) -> None:
    buckets = small_inversions.write_inversion(tmp_path / "buckets", 0.25, only=(12, 20))
    for frames in (5, 12, 31, 77):
        mel = np.random.default_rng(1).uniform(-6, 0, (MEL.bands, frames)).astype(np.float32)
        parts = MelInversion(buckets, iterations=0).invert(mel).magnitude
        whole = MelInversion(inversion, iterations=0).invert(mel).magnitude
        exact = slice(None) if frames >= 12 else slice(None, -1)  # the last frame of a filled-up run differs
        np.testing.assert_allclose(parts[:, exact], whole[:, exact], rtol=SAME)


def test_what_a_short_mel_lacks_is_silence(tmp_path: Path) -> None:
    buckets = small_inversions.write_inversion(tmp_path / "buckets", 0.25, only=(12, 20))
    mel = np.random.default_rng(1).uniform(-6, 0, (MEL.bands, 5)).astype(np.float32)
    beyond = np.pad(mel, ((0, 0), (0, 1)), constant_values=np.log(MEL.floor))
    expected = estimate_magnitude(np.exp(smoothed(beyond, 0.25))[:, :5], MEL, updates=0)
    made = MelInversion(buckets, iterations=0).invert(mel).magnitude
    np.testing.assert_allclose(made, np.maximum(expected, 1e-5), rtol=1e-3, atol=1e-5)


def test_without_a_context_the_net_runs_once(tmp_path: Path) -> None:
    bundle = small_inversions.write_inversion(
        tmp_path / "whole", 0.25, only=(40, 80), geometry=Geometry(None, None, None)
    )
    pipeline = MelInversion(bundle, iterations=0, chunk_frames=10)
    assert pipeline.net is not None
    chunks = Chunks(pipeline.net.net, 2, 10)
    assert [(p.chunk.start, p.chunk.stop) for p in chunks.plan(41)] == [(0, 80)]
    with pytest.raises(InputError, match=r"got 81 frames, expected at most 80 for model\.onnx; .*chunks"):
        pipeline.invert(np.full((MEL.bands, 81), -3, np.float32))


def test_a_net_in_the_db_domain(tmp_path: Path) -> None:
    front_end = replace(MEL, standardize=True, spectrum_range_db=80.0, log="none")
    bundle = small_inversions.write_db_inversion(tmp_path / "db", front_end)
    speech = speech_like(6000, 8000)
    result = MelInversion(bundle, updates=0, iterations=30).process(speech)
    np.testing.assert_allclose(result.magnitude, result.estimate, rtol=1e-3)
    assert result.magnitude.max() <= 1
    assert abs(level(result.samples) - level(speech)) < 0.1


# a net for the phase ---------------------------------------------------------------------------------------


def test_blocks_without_residual_are_griffin_lim(tmp_path: Path) -> None:
    bundle = small_inversions.write_degli(tmp_path / "degli", (0, 0, 0))
    speech = speech_like(4000, 8000)
    made = MelInversion(degli=bundle, preset=MEL, iterations=6).process(speech)
    expected = griffin_lim(
        made.magnitude, n_fft=128, hop_length=32, n_iter=6, algorithm="gla", momentum=0, length=4000
    )
    np.testing.assert_allclose(made.samples, expected, atol=1e-4)


def blocks(
    magnitude: Array,
    kernel: tuple[float, float, float],
    graph: str,
    count: int,
    start: Array | None = None,
) -> Array:
    """Deep Griffin-Lim with the small net, written out for a whole recording in float64."""
    stft = Stft(replace(MEL.stft, padding="center-zero"), "float64")
    wanted = magnitude * LEVEL / np.sqrt(np.mean(magnitude**2))

    def filtered(spectrum: Array) -> Array:
        padded = np.pad(spectrum, ((0, 0), (1, 1)))
        return kernel[0] * padded[:, :-2] + kernel[1] * padded[:, 1:-1] + kernel[2] * padded[:, 2:]

    spectrum = wanted.astype(complex)
    if start is not None:
        spectrum = wanted * np.exp(1j * np.angle(start))
    for _ in range(count):
        if graph == "block":
            spectrum = filtered(spectrum) + (1 + 1j) * (wanted - LEVEL)
        else:
            z = stft.forward(stft.inverse(wanted * np.exp(1j * np.angle(spectrum))))
            spectrum = z - filtered(z)
    return np.asarray(stft.inverse(magnitude * np.exp(1j * np.angle(spectrum))))


@pytest.mark.parametrize("graph", ["net", "block"])
@pytest.mark.parametrize("chunk_frames", [500, 9])
def test_both_graphs_loop_their_block(tmp_path: Path, graph: str, chunk_frames: int) -> None:
    kernel = (0.1, 0.2, -0.15)
    bundle = small_inversions.write_degli(tmp_path / "degli", kernel, graph)
    preset = replace(MEL, padding="center-zero")
    pipeline = MelInversion(degli=bundle, preset=preset, iterations=3, chunk_frames=chunk_frames)
    speech = speech_like(100 * 32, 8000)
    result = pipeline.process(speech)
    expected = blocks(result.magnitude.astype(np.float64), kernel, graph, 3)
    np.testing.assert_allclose(result.samples, expected, atol=2e-4)
    assert pipeline.phase == "degli"


def test_a_transform_of_another_padding_is_met(tmp_path: Path) -> None:
    """A DeGLI whose frames stand as HiFi-GAN's do, on a mel of centred frames, and the other way round."""
    pairs: list[tuple[Padding, Padding]] = [
        ("reflect", "center-reflect"), ("center-reflect", "reflect"), ("none", "reflect"),
    ]  # fmt: skip
    for ours, theirs in pairs:
        bundle = small_inversions.write_degli(
            tmp_path / f"{ours}-{theirs}",
            (0, 0, 0),
            config={
                "graph": "net", "n_fft": 128, "hop_length": 32, "win_length": 128, "padding": theirs,
                "magnitude_rms": 1.0, "sample_rate": MEL.sample_rate,
            },
        )  # fmt: skip
        config = replace(MEL, padding=ours, n_mels=None, log="none")
        pipeline = MelInversion(degli=bundle, preset=config, iterations=150)
        time = np.arange(8001) / 8000
        chirp = 0.4 * np.sin(2 * np.pi * (300 + 900 * time) * time) * np.exp(-(((time - 0.4) / 0.05) ** 2))
        made = pipeline.process(chirp.astype(np.float32)).samples
        assert made.shape == chirp.shape
        assert lag(chirp, made) == 0


def test_the_level_of_the_recording_does_not_matter_to_the_blocks(tmp_path: Path) -> None:
    bundle = small_inversions.write_degli(tmp_path / "degli", (0.1, 0.3, 0.1), "block")
    pipeline = MelInversion(degli=bundle, preset=MEL, iterations=2)
    target = pipeline.process(speech_like(4000, 8000)).target
    quiet = pipeline.reconstruct(target * np.float32(0.01), 4000)
    np.testing.assert_allclose(quiet * 100, pipeline.reconstruct(target, 4000), atol=1e-4)


# files -----------------------------------------------------------------------------------------------------


def test_mels_in_files_are_log_or_linear(tmp_path: Path) -> None:
    speech = speech_like(8000, 22050)
    pipeline = MelInversion(preset="hifigan-22k", iterations=2)
    mel = pipeline.mel(speech)
    np.save(tmp_path / "log.npy", mel)
    np.save(tmp_path / "linear.npy", np.exp(mel))
    log, audio = pipeline.process_file(tmp_path / "log.npy")
    assert audio is None
    assert log.samples.shape == (31 * 256,)
    linear, _ = MelInversion(preset="hifigan-22k", iterations=2, linear=True).process_file(
        tmp_path / "linear.npy"
    )
    np.testing.assert_allclose(linear.mel, mel, atol=1e-5)
    np.testing.assert_allclose(linear.samples, log.samples, atol=1e-4)
    write_wav(tmp_path / "speech.wav", speech, 22050)
    result, audio = pipeline.process_file(tmp_path / "speech.wav")
    assert audio is not None
    assert result.samples.shape == (8000,)


@pytest.mark.parametrize(
    ("mel", "linear", "sentence"),
    [
        (np.zeros((64, 9)), False, r"mel\.npy: mel: got shape \(64, 9\), expected \(80, frames\)"),
        (np.zeros((9, 80)), False, "transposed"),
        (np.zeros((2, 80, 9)), False, r"shape \(2, 80, 9\)"),
        (np.zeros((80, 0)), False, "at least one frame"),
        (np.full((80, 9), np.nan), False, "NaN or infinite"),
        (np.full((80, 9), -60.0), False, "another logarithm .decibels for ln"),
        (np.full((80, 9), "a"), False, "values of type <U1"),
        (np.geomspace(1e-5, 3, 720).reshape(80, 9), False, r"look like a linear mel: pass linear \(--linear"),
        (np.full((80, 9), -3.0), True, r"negative values, -3 … -3.*leave out linear \(--linear\)"),
        (
            np.linspace(-0.01, 4, 720).reshape(80, 9),
            True,
            "fall slightly below 0: set such values to 0 first",
        ),
        (np.full((80, 9), np.inf), True, "NaN or infinite"),
        (np.full((3, 80, 9), -3.0), True, r"shape \(3, 80, 9\)"),
    ],
)
def test_wrong_mels_are_refused_with_a_guess(
    tmp_path: Path, mel: NDArray[Any], linear: bool, sentence: str
) -> None:
    np.save(tmp_path / "mel.npy", mel)
    pipeline = MelInversion(preset="hifigan-22k", linear=linear)
    with pytest.raises(InputError, match=sentence):
        pipeline.process_file(tmp_path / "mel.npy")
    with pytest.raises(InputError, match=sentence):
        SYSTEM.save_reference(pipeline, tmp_path / "pack", source=tmp_path / "mel.npy")
    assert not (tmp_path / "pack").exists()


def test_a_mel_of_an_unnamed_front_end_is_refused(tmp_path: Path, inversion: Path) -> None:
    np.save(tmp_path / "mel.npy", np.full((MEL.bands, 9), -3.0))
    with pytest.raises(ConfigError, match="--preset: got no front end for a mel in a file, expected the one"):
        MelInversion().process_file(tmp_path / "mel.npy")
    MelInversion(inversion, iterations=0).process_file(tmp_path / "mel.npy")


def test_one_frame_is_enough_where_it_covers_samples() -> None:
    pipeline = MelInversion(preset="hifigan-22k", iterations=2)
    samples = pipeline.invert(np.full((80, 1), -3.0)).samples
    assert samples.shape == (256,)
    assert [block.shape for block in pipeline.spectrum(samples)] == [(513, 1)]


def test_one_frame_between_no_samples_is_refused() -> None:
    with pytest.raises(InputError, match="mel: got 1 frame, expected at least 2"):
        MelInversion(preset=MEL).invert(np.full((MEL.bands, 1), -3.0))


# refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"preset": "hifigan"}, "preset: got 'hifigan', expected one of talking-head"),
        ({"preset": 22050}, "preset: got 22050, expected one of talking-head"),
        ({"phase": "pghi"}, "phase: got 'pghi', expected one of gla, fgla, agla, admm, degli"),
        ({"phase": "degli"}, "phase: got degli without a bundle of that net, expected its bundle"),
        ({"iterations": -1}, "iterations: got -1, expected a whole number, at least 0"),
        ({"updates": -1}, "updates: got -1, expected a whole number, at least 0"),
        ({"momentum": 2.0}, "momentum: got 2.0, expected a number from 0 to below 2"),
        ({"momentum": -0.1}, "momentum: got -0.1"),
        ({"momentum": float("nan")}, "momentum: got nan"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        MelInversion(**options)


def test_front_ends_that_leave_gaps_are_refused() -> None:
    for hop in (128, 200):
        with pytest.raises(ConfigError, match=f"hop_length: got {hop}"):
            MelInversion(preset=replace(MEL, hop_length=hop, padding="center-zero"))


def test_options_that_contradict_a_bundle_are_refused(tmp_path: Path, inversion: Path) -> None:
    degli = small_inversions.write_degli(tmp_path / "degli", (0, 0, 0))
    with pytest.raises(
        ConfigError, match="phase: got fgla with a bundle of the net degli, expected phase degli"
    ):
        MelInversion(degli=degli, preset=MEL, phase="fgla")
    with pytest.raises(ConfigError, match="preset: got hifigan-22k with a bundle of the net mel-inversion"):
        MelInversion(inversion, preset="hifigan-22k")
    with pytest.raises(
        ConfigError,
        match="degli: got DeGLI with n_fft 128, hop 32, window 128 at 8000 Hz, expected n_fft 1024",
    ):
        MelInversion(degli=degli, preset="hifigan-22k")
    with pytest.raises(ConfigError, match=r"window 128 at 8000 Hz, expected .* window 128 at 16000 Hz"):
        MelInversion(degli=degli, preset=replace(MEL, sample_rate=16000))
    with pytest.raises(ConfigError, match="chunk_frames: got 2, expected more than 2"):
        MelInversion(inversion, chunk_frames=2)
    assert MelInversion(inversion, preset=MEL).front_end == MEL


def test_bundles_of_other_nets_are_refused(tmp_path: Path, inversion: Path) -> None:
    degli = small_inversions.write_degli(tmp_path / "degli", (0, 0, 0))
    with pytest.raises(BundleError, match="degli: net: got degli, expected mel-inversion"):
        MelInversion(degli)
    with pytest.raises(BundleError, match="net: got mel-inversion, expected degli"):
        MelInversion(degli=inversion)
    silent = small_inversions.write_inversion(tmp_path / "silent", front_end=MEL, config={"domain": "power"})
    with pytest.raises(BundleError, match="silent: config: got domain 'power'"):
        MelInversion(silent)
    with pytest.raises(BundleError, match=r"net: artifacts: got onnx fp32, expected onnx fp16"):
        MelInversion(inversion, precision="fp16")
    bare = small_inversions.write_degli(tmp_path / "bare", (0, 0, 0), config={"graph": "net"})
    with pytest.raises(BundleError, match="bare: config: got no hop_length, magnitude_rms, n_fft"):
        MelInversion(degli=bare, preset=MEL)


# the reference pack ----------------------------------------------------------------------------------------

STAGES = ["mel", "linear_mel", "estimate", "magnitude", "target", "phase_start", "wav"]


def test_the_pack_holds_every_stage(tmp_path: Path, inversion: Path) -> None:
    write_wav(tmp_path / "a.wav", speech_like(4001, 8000), 8000)
    pipeline = MelInversion(inversion, iterations=20)
    out = SYSTEM.save_reference(pipeline, tmp_path / "pack", source=tmp_path / "a.wav")
    arrays = {path.stem: read_array(path) for path in out.glob("*.npy")}
    snapshots = [f"conditioned_wav_{count:03d}" for count in (0, 1, 2, 3, 8, 16)]
    assert sorted(arrays) == sorted(STAGES + snapshots)
    samples = read_audio(out / "reference_audio.wav").samples
    np.testing.assert_array_equal(arrays["mel"], MelFrontEnd(MEL, "float64")(samples))
    np.testing.assert_allclose(arrays["linear_mel"], np.exp(arrays["mel"]))
    assert arrays["estimate"].dtype == np.float64
    assert arrays["magnitude"].shape == (BINS, arrays["mel"].shape[1])
    np.testing.assert_allclose(np.hypot(*arrays["phase_start"]), arrays["target"], rtol=1e-6)
    np.testing.assert_allclose(arrays["wav"], arrays["conditioned_wav_016"], atol=1e-6)
    assert arrays["wav"].shape == samples.shape
    heard = read_audio(out / "prediction.wav").samples
    np.testing.assert_allclose(heard, pipeline.process(samples).samples, atol=0.05)
    instructions = json.loads((out / "VALIDATION_INSTRUCTIONS.json").read_text())
    assert set(instructions["files"]) == {p.name for p in out.iterdir()} - {"VALIDATION_INSTRUCTIONS.json"}
    assert "{" not in "".join(instructions["steps"])
    metadata = json.loads((out / "metadata.json").read_text())
    assert MelConfig.from_json(metadata["front_end"]) == MEL
    assert metadata["shapes"]["wav"] == [4001]


@pytest.mark.parametrize(
    ("preset", "phase"),
    [("hifigan-22k", "fgla"), ("talking-head", "agla"), ("rtmri", "gla"), ("mel-inversion-db", "admm")],
)
def test_a_port_in_float32_passes(tmp_path: Path, preset: str, phase: Algorithm) -> None:
    """What the instructions ask for, computed in float32 from the pack's own files."""
    pipeline = MelInversion(preset=preset, phase=phase, iterations=16)
    pack = SYSTEM.save_reference(pipeline, tmp_path / "pack", source=SENTENCE)
    arrays = {path.stem: read_array(path).astype(np.float32) for path in pack.glob("*.npy")}
    metadata = json.loads((pack / "metadata.json").read_text())
    front_end = MelConfig.from_json(metadata["front_end"])
    estimate = estimate_magnitude(arrays["linear_mel"], front_end, metadata["updates"])
    np.testing.assert_allclose(estimate, arrays["estimate"], rtol=0, atol=1e-3)
    re, im = arrays["phase_start"]
    for count in (0, 3, 16):
        made = griffin_lim(
            arrays["target"], n_fft=front_end.n_fft, hop_length=front_end.hop_length,
            win_length=front_end.win_length, n_iter=count, algorithm=phase, init=re + 1j * im,
            padding="center-zero" if front_end.padding == "none" else front_end.padding,
            length=metadata["samples_before_the_recording"] + metadata["samples"],
        )[metadata["samples_before_the_recording"] :]  # fmt: skip
        np.testing.assert_allclose(made, arrays[f"conditioned_wav_{count:03d}"], rtol=0, atol=1e-3)
    assert abs(level(arrays["wav"]) - level(read_audio(pack / "reference_audio.wav").samples)) < 1.5


@pytest.mark.parametrize("graph", ["net", "block"])
def test_the_pack_of_blocks_starts_from_its_phases(tmp_path: Path, graph: str) -> None:
    degli = small_inversions.write_degli(tmp_path / "degli", (0.1, 0.2, -0.15), graph)
    preset = replace(MEL, padding="center-zero")
    np.save(tmp_path / "mel.npy", np.random.default_rng(0).uniform(-6, 0, (MEL.bands, 30)))
    pack = SYSTEM.save_reference(
        MelInversion(degli=degli, preset=preset), tmp_path / "pack", source=tmp_path / "mel.npy"
    )
    arrays = {path.stem: read_array(path) for path in pack.glob("*.npy")}
    re, im = arrays["phase_start"]
    expected = blocks(arrays["target"], (0.1, 0.2, -0.15), graph, 3, re + 1j * im)
    np.testing.assert_allclose(arrays["conditioned_wav_003"], expected, atol=1e-4)
    assert "conditioned_wav_010" in arrays
    assert "conditioned_wav_016" not in arrays


def test_the_pack_of_a_mel_holds_no_audio(tmp_path: Path) -> None:
    degli = small_inversions.write_degli(tmp_path / "degli", (0.1, 0, 0))
    np.save(tmp_path / "mel.npy", np.random.default_rng(0).uniform(-6, 0, (MEL.bands, 30)))
    pipeline = MelInversion(degli=degli, preset=MEL, iterations=1)
    out = SYSTEM.save_reference(pipeline, tmp_path / "pack", source=tmp_path / "mel.npy")
    assert not (out / "reference_audio.wav").exists()
    assert (out / "conditioned_wav_001.npy").exists()
    provenance = json.loads((out / "VALIDATION_INSTRUCTIONS.json").read_text())["provenance"]
    assert [net["net"] for net in provenance["nets"]] == ["degli"]
    with pytest.raises(TargetError, match="got an existing folder"):
        SYSTEM.save_reference(pipeline, out, source=tmp_path / "mel.npy")
    pipeline.save_reference(tmp_path / "mel.npy", out, overwrite=True)


@pytest.mark.parametrize(("phase", "momentum"), [("gla", 0.5), ("admm", 0.99)])
def test_momentum_is_for_who_has_it(phase: str, momentum: float) -> None:
    with pytest.raises(ConfigError, match=f"--momentum: got {momentum} beside phase {phase}"):
        MelInversion(preset="mel-inversion", phase=phase, momentum=momentum)
    assert MelInversion(preset="mel-inversion", momentum=0.5).momentum == 0.5


def test_linear_is_for_mels_in_files() -> None:
    with pytest.raises(ConfigError, match=r"--linear: got an audio file, .*sentence\.wav"):
        MelInversion(preset="mel-inversion", linear=True).process_file(SENTENCE)
