"""Transforms against torch.stft, torch.istft, scipy's windows and the sum that defines a DFT."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.dsp import spectral
from edge_runtime.dsp.spectral import Array, ArraySignal, Padding, Stft, StftConfig, hann
from edge_runtime.errors import ConfigError, InputError

PADDINGS: tuple[Padding, ...] = ("none", "center-zero", "center-reflect", "reflect")
CENTRED = StftConfig(64, 16, 64)


def noise(samples: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(-1, 1, samples)


def torch_stft(x: Array, config: StftConfig) -> Array:
    """torch.stft in float64; explicit padding is made by numpy."""
    if config.padding == "reflect":
        x = np.pad(x, config.pad, mode="reflect")
    spectrum: Array = torch.stft(
        torch.from_numpy(x),
        config.n_fft,
        config.hop_length,
        config.win_length,
        torch.hann_window(config.win_length, dtype=torch.float64),
        center=config.padding.startswith("center"),
        pad_mode="constant" if config.padding == "center-zero" else "reflect",
        return_complex=True,
    ).numpy()
    return spectrum


# ---- window and framing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2, 511, 800, 1024])
def test_window_is_the_periodic_hann(length: int) -> None:
    np.testing.assert_allclose(hann(length), scipy.signal.get_window("hann", length), atol=1e-15)


def test_window_is_not_the_symmetric_hann() -> None:
    assert np.abs(hann(800) - np.hanning(800)).max() > 1e-3
    assert hann(800, "float32").dtype == np.float32


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    ("n_fft", "hop", "win"), [(64, 16, 64), (63, 16, 63), (64, 20, 40), (33, 10, 20), (64, 64, 64)]
)
def test_forward_equals_torch(padding: Padding, n_fft: int, hop: int, win: int) -> None:
    config = StftConfig(n_fft, hop, win, padding)
    for samples in (config.min_samples, n_fft, 5 * n_fft + 3):
        x = noise(samples)
        expected = torch_stft(x, config)
        assert expected.shape == (config.bins, config.frames(samples))
        np.testing.assert_allclose(Stft(config, "float64").forward(x), expected, atol=1e-12)


def test_forward_is_the_sum_that_defines_it() -> None:
    x, n = noise(40), np.arange(8)
    kernel = np.exp(-2j * np.pi * np.outer(np.arange(5), n) / 8)
    expected = np.stack([kernel @ (hann(8) * x[start : start + 8]) for start in range(0, 33, 4)], axis=1)
    np.testing.assert_allclose(Stft(StftConfig(8, 4, 8, "none"), "float64").forward(x), expected, atol=1e-13)


@settings(deadline=None)
@given(
    samples=st.integers(1, 400),
    n_fft=st.integers(2, 70),
    hop=st.integers(1, 40),
    padding=st.sampled_from(PADDINGS),
)
def test_frame_count_is_that_of_the_result(samples: int, n_fft: int, hop: int, padding: Padding) -> None:
    config = StftConfig(n_fft, min(hop, n_fft), n_fft, padding)
    if samples < config.min_samples:
        assert config.frames(samples) == 0
        with pytest.raises(
            InputError, match=f"got {samples} samples, expected at least {config.min_samples} "
        ):
            Stft(config).forward(noise(samples))
    else:
        assert Stft(config).forward(noise(samples)).shape == (config.bins, config.frames(samples))
        assert config.frames(samples) >= 1


@pytest.mark.parametrize(("samples", "frames"), [(255, 0), (44100, 172), (44287, 172), (44288, 173)])
def test_explicit_reflection_gives_one_frame_per_hop(samples: int, frames: int) -> None:
    assert StftConfig(1024, 256, 1024, "reflect").frames(samples) == frames


def test_odd_transform_gives_one_frame_per_hop_when_centred() -> None:
    assert [StftConfig(511, 128, 511).frames(128 * n) for n in (10, 128)] == [10, 128]


# ---- inverse ----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    samples=st.integers(200, 600),
    n_fft=st.integers(8, 64),
    divisor=st.sampled_from([2, 3, 4, 5]),
    short_window=st.booleans(),
    padding=st.sampled_from(PADDINGS),
    seed=st.integers(0, 9),
)
def test_inverse_of_forward_is_the_signal(
    samples: int, n_fft: int, divisor: int, short_window: bool, padding: Padding, seed: int
) -> None:
    win = n_fft - n_fft // 4 if short_window else n_fft
    config = StftConfig(n_fft, max(1, win // divisor), win, padding)
    stft, x = Stft(config, "float64"), noise(samples, seed)
    y = stft.inverse(stft.forward(x), length=samples)
    # where no frame reaches, or one with next to no weight, nothing can be known
    edge = n_fft if padding == "none" or short_window else 0
    last = config.hop_length * (config.frames(samples) - 1) + config.n_fft - 2 * config.pad
    known = slice(edge, min(samples, last) - edge)
    np.testing.assert_allclose(y[known], x[known], atol=1e-8)


@pytest.mark.parametrize("win", [64, 48])
@pytest.mark.parametrize("length", [None, 200, 1000])
def test_inverse_of_an_inconsistent_spectrum_equals_torch(win: int, length: int | None) -> None:
    config = StftConfig(64, 16, win)
    generator = np.random.default_rng(1)
    spectrum = generator.normal(size=(33, 20)) + 1j * generator.normal(size=(33, 20))
    expected = torch.istft(
        torch.from_numpy(spectrum),
        64,
        16,
        win,
        torch.hann_window(win, dtype=torch.float64),
        length=200 if length == 200 else None,
    ).numpy()
    y = Stft(config, "float64").inverse(spectrum, length)
    assert y.shape == (length or 304,)
    shared = min(y.size, expected.size)
    np.testing.assert_allclose(y[:shared], expected[:shared], atol=1e-12)
    assert not y[336:].any()  # beyond the last frame


def test_inverse_refuses_a_spectrum_of_another_size() -> None:
    with pytest.raises(
        InputError, match=r"spectrum: got frames × bins of 20 × 32, expected at least one .*33 bins"
    ):
        Stft(CENTRED).inverse(np.zeros((32, 20), np.complex64))
    with pytest.raises(InputError, match="at least one frame"):
        Stft(CENTRED).inverse(np.zeros((33, 0), np.complex64))


@pytest.mark.parametrize(("n_fft", "hop", "win"), [(64, 16, 64), (63, 20, 40), (64, 64, 64)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_on_a_padded_signal_are_forward_and_inverse(n_fft: int, hop: int, win: int, dtype: str) -> None:
    stft = Stft(StftConfig(n_fft, hop, win, "none"), dtype)
    rows = stft.padded_rows(20)
    rows[...] = noise(rows.size).reshape(rows.shape)
    spectrum, workspace = stft.analyze(rows.reshape(-1))[:20], stft.workspace()
    for first, last in ((0, 13), (13, 20)):
        out = np.empty((last - first, stft.config.bins), stft.complex_dtype)
        np.testing.assert_array_equal(
            stft.transform_padded(rows, first, workspace, out), spectrum[first:last]
        )
    made = stft.padded_rows(20)
    for first, last in ((0, 13), (13, 20)):
        stft.add_block(spectrum[first:last], first, workspace, made)
    made *= stft.inverse_weight(20)
    expected = stft.synthesize(spectrum, made.size)
    np.testing.assert_allclose(made.reshape(-1), expected, atol=1e-6 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize(
    ("n_fft", "hop", "win", "covers"),
    [(64, 16, 64, True), (64, 63, 64, True), (64, 64, 64, False), (64, 40, 40, False), (64, 100, 64, False)],
)
def test_windows_that_leave_gaps_are_known(n_fft: int, hop: int, win: int, covers: bool) -> None:
    assert scipy.signal.check_NOLA(scipy.signal.get_window("hann", win), win, win - min(hop, win)) == covers
    assert Stft(StftConfig(n_fft, hop, win)).covers_every_sample == covers


# ---- blocks, workers, buffers -----------------------------------------------------------------------------


@settings(deadline=None)
@given(
    samples=st.integers(64, 3000),
    block=st.integers(1, 12).map(lambda groups: 16 * groups),
    workers=st.integers(1, 3),
    padding=st.sampled_from(PADDINGS),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_blocks_and_workers_do_not_change_a_bit(
    samples: int, block: int, workers: int, padding: Padding, dtype: str
) -> None:
    config, x = replace(CENTRED, padding=padding), noise(samples)
    whole, cut = Stft(config, dtype), Stft(config, dtype, workers)
    cut.block_frames = block
    expected = whole.analyze(x)
    np.testing.assert_array_equal(cut.analyze(x), expected)
    np.testing.assert_array_equal(cut.synthesize(expected), whole.synthesize(expected))


def test_blocks_come_in_order_and_cover_the_signal() -> None:
    stft, x = Stft(CENTRED, "float64"), noise(5000)
    parts = [(start, block.copy()) for start, block in stft.blocks(ArraySignal(x))]
    assert [start for start, _ in parts] == [0, 128, 256]
    np.testing.assert_array_equal(np.concatenate([block for _, block in parts]), stft.analyze(x))


def test_results_are_written_where_asked() -> None:
    stft, x = Stft(CENTRED), noise(500)
    spectrum = np.empty((CENTRED.frames(500), 33), np.complex64)
    samples = np.empty(500, np.float32)
    assert stft.analyze(x, out=spectrum) is spectrum
    assert stft.synthesize(spectrum, 500, out=samples) is samples
    np.testing.assert_allclose(samples, x, atol=1e-5)


def test_input_is_left_alone() -> None:
    x = noise(500)
    x.setflags(write=False)
    stft = Stft(CENTRED, "float64")
    spectrum = stft.forward(x)
    spectrum.setflags(write=False)
    stft.inverse(spectrum)


@pytest.mark.parametrize(("dtype", "wide"), [("float32", np.complex64), ("float64", np.complex128)])
def test_dtypes(dtype: str, wide: type) -> None:
    stft = Stft(CENTRED, dtype)
    spectrum = stft.forward(noise(200).astype(np.float16))
    assert spectrum.dtype == wide
    assert stft.inverse(spectrum).dtype == dtype


# ---- the three ways to an FFT -----------------------------------------------------------------------------


def test_scipy_and_numpy_agree_in_float32() -> None:
    x, with_scipy, with_numpy = noise(3000), Stft(CENTRED), Stft(CENTRED)
    assert with_scipy._fft is not None  # the development environment has scipy
    with_numpy._fft = None
    exact = Stft(CENTRED, "float64").forward(x)
    for stft in (with_scipy, with_numpy):
        np.testing.assert_allclose(stft.forward(x), exact, atol=1e-5)
        np.testing.assert_allclose(stft.inverse(exact.astype(np.complex64), 3000), x, atol=1e-6)


def test_numpy_before_version_2_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    stft, x = Stft(CENTRED, "float64"), noise(3000)
    spectrum = stft.forward(x)
    samples = stft.inverse(spectrum)
    monkeypatch.setattr(spectral, "_NUMPY_FFT_HAS_OUT", False)
    np.testing.assert_array_equal(stft.forward(x), spectrum)
    np.testing.assert_array_equal(stft.inverse(spectrum), samples)


# ---- refusals ---------------------------------------------------------------------------------------------

BROKEN_CONFIGS: tuple[tuple[str, Array | int | float | str, str], ...] = (
    ("n_fft", 0, "n_fft: got 0, expected a whole number of samples, 1 to 131072"),
    ("win_length", 1, "win_length: got 1, expected at least 2 samples; a periodic Hann .* is zero"),
    ("n_fft", 64.0, "n_fft: got 64.0"),
    ("hop_length", -1, "hop_length: got -1"),
    ("win_length", 65, "win_length: got 65 samples, expected at most n_fft = 64"),
    ("padding", "mirror", "padding: got 'mirror', expected none, center-zero"),
)


@pytest.mark.parametrize(("field", "value", "sentence"), BROKEN_CONFIGS)
def test_config_refuses(field: str, value: object, sentence: str) -> None:
    numbers: dict[str, object] = {"n_fft": 64, "hop_length": 16, "win_length": 64, field: value}
    with pytest.raises(ConfigError, match=sentence):
        StftConfig(**numbers)  # type: ignore[arg-type]


def test_config_refuses_reflection_of_less_than_nothing() -> None:
    with pytest.raises(ConfigError, match="expected hop_length <= n_fft"):
        StftConfig(64, 65, 64, "reflect")


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (
            np.zeros((2, 500)),
            r"audio: got an array of shape \(2, 500\), expected one channel, shape \(samples,\)",
        ),
        (
            np.zeros(500, np.int16),
            "audio: got int16 samples, expected floating-point samples.*divide int16 samples by 32768",
        ),
        (np.zeros(500, complex), "audio: got complex128 samples"),
        (np.zeros(0), "audio: got 0 samples, expected at least 33 samples.*the recording is empty"),
        (np.zeros(32), "audio: got 32 samples, expected at least 33 samples.*too short"),
        (np.where(np.arange(99999) == 70001, np.nan, 0.5), "NaN or infinite, the first at index 70001"),
        (np.where(np.arange(500) == 3, -np.inf, 0.5), "NaN or infinite, the first at index 3"),
        (
            np.array([0.0, 3e38, -1.0] * 30, np.float32),
            r"got a sample of 3e\+38, expected .* scale at ±1",
        ),
        (np.full(99, -2147483648.0), r"got a sample of -2\.14748e\+09, .*are these integers"),
    ],
)
def test_signal_refused(x: Array, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Stft(CENTRED).forward(x)


def test_options_refused() -> None:
    with pytest.raises(ConfigError, match="dtype: got 'float16', expected 'float32' or 'float64'"):
        Stft(CENTRED, "float16")
    with pytest.raises(ConfigError, match="workers: got 0"):
        Stft(CENTRED, workers=0)


def test_sixteen_bit_integers_in_floats_are_taken() -> None:
    assert np.isfinite(Stft(CENTRED).forward(np.full(99, -32768.0, np.float32))).all()
