"""WAV and foreign formats against libsndfile and hand-made bytes; every refusal by its sentence."""

from __future__ import annotations

import contextlib
import os
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime.errors import BackendError, ConfigError, EdgeWarning, InputError, TargetError, strictly
from edge_runtime.media.audio import Audio, Subtype, WavWriter, read_audio, write_wav

SPEECH = np.random.default_rng(7).uniform(-0.9, 0.9, 5000).astype(np.float32)
PCM_GUID = bytes.fromhex("0100 0000 0000 1000 8000 00aa 0038 9b71")


def wave_bytes(
    data: bytes,
    *,
    encoding: int = 1,
    channels: int = 1,
    rate: int = 16000,
    bits: int = 16,
    extra: bytes = b"",
) -> bytes:
    """A WAV file by hand. ``extra``: chunks between format and samples."""
    width = channels * bits // 8
    form = struct.pack("<HHIIHH", encoding, channels, rate, rate * width, width, bits)
    chunks = (
        b"fmt " + struct.pack("<I", len(form)) + form + extra + b"data" + struct.pack("<I", len(data)) + data
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# reading ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["WAV", "WAVEX"])  # WAVEX: WAVE_FORMAT_EXTENSIBLE
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_wav_equals_libsndfile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: str, subtype: str, channels: int
) -> None:
    path = tmp_path / "a.wav"
    frames = np.random.default_rng(channels).uniform(-1, 1, (4321, channels))
    soundfile.write(path, frames, 22050, subtype=subtype, format=container)
    expected, rate = soundfile.read(path, dtype="float32", always_2d=True)
    monkeypatch.setitem(sys.modules, "soundfile", None)  # our own reader alone
    audio = read_audio(path)
    assert audio.sample_rate == rate
    assert audio.samples.dtype == np.float32
    np.testing.assert_allclose(audio.samples, expected.mean(axis=1), atol=1e-7, rtol=0)
    if channels == 1:
        np.testing.assert_array_equal(audio.samples, expected[:, 0])


@pytest.mark.parametrize(
    ("format_name", "subtype", "tolerance"),
    [
        ("FLAC", "PCM_16", 2**-15),
        ("AIFF", "PCM_24", 2**-23),
        ("RF64", "PCM_16", 2**-15),
        ("WAV", "PCM_U8", 2**-7),
        ("WAV", "ALAW", 0.04),
        ("WAV", "ULAW", 0.04),
        ("OGG", "VORBIS", 1.5),
        ("MP3", "MPEG_LAYER_III", 1.5),
    ],
)
def test_other_formats_come_through_soundfile(
    tmp_path: Path, format_name: str, subtype: str, tolerance: float
) -> None:
    path = tmp_path / f"a.{format_name.lower()}"
    soundfile.write(path, SPEECH, 16000, format=format_name, subtype=subtype)
    audio = read_audio(path)
    assert audio.sample_rate == 16000
    assert len(audio.samples) == len(SPEECH)
    np.testing.assert_allclose(audio.samples, SPEECH, atol=tolerance)


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", wave_bytes(struct.pack("<4h", 100, 300, -200, 0), channels=2))
    np.testing.assert_array_equal(read_audio(path).samples, np.array([200, -100], np.float32) / 32768)


def test_the_format_is_told_by_the_bytes_not_by_the_name(tmp_path: Path) -> None:
    path = write(tmp_path / "speech.mp3", wave_bytes(b"\x00\x40\x00\xc0"))
    np.testing.assert_array_equal(read_audio(path).samples, [0.5, -0.5])


def test_foreign_chunks_are_passed_over(tmp_path: Path) -> None:
    extra = b"LIST" + struct.pack("<I", 5) + b"hello\0" + b"fact" + struct.pack("<II", 4, 2)
    path = write(tmp_path / "a.wav", wave_bytes(b"\x00\x40\x00\xc0", extra=extra) + b"id3 tail")
    np.testing.assert_array_equal(read_audio(path).samples, [0.5, -0.5])


def test_reading_resamples_on_request(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, np.sin(2 * np.pi * 440 * np.arange(22050) / 22050), 22050, "float32")
    audio = read_audio(path, 16000)
    assert audio.sample_rate == 16000
    assert audio.seconds == 1
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(audio.samples[200:-200], expected[200:-200], atol=1e-3)


@pytest.mark.filterwarnings("ignore:.*silence alone")
def test_long_files_need_no_more_than_their_samples(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", wave_bytes(bytes(12_000_000), channels=2, bits=24))
    tracemalloc.start()
    try:
        samples = read_audio(path).samples
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # a block of stereo frames, raw and decoded, beyond the 8 MB of samples; all of them would be 28 MB
    assert peak < samples.nbytes + 12e6


def test_audio_says_its_length() -> None:
    assert Audio(np.zeros(8000, np.float32), 16000).seconds == 0.5


# refusals --------------------------------------------------------------------------------------------------

REFUSED = {
    "empty": (b"", "got 0 bytes"),
    "only a head": (wave_bytes(b"\0\0")[:12], "12 bytes without samples.*truncated"),
    "cut in the head": (b"RIFF\0\0", "6 bytes without samples.*truncated"),
    "cut in the format": (wave_bytes(b"\0\0")[:30], "chunk b'fmt '.*10 bytes, expected 16.*truncated"),
    "short format": (b"RIFF\0\0\0\0WAVEfmt \x04\0\0\0abcd", "got 4 bytes, expected 16"),
    "no format": (b"RIFF\0\0\0\0WAVEdata\x02\0\0\0ab", "samples before any format"),
    "zero length": (wave_bytes(b""), "got no samples, expected at least 1"),
    "no channels": (wave_bytes(b"\0\0", channels=0), "0 channels"),
    "rate zero": (wave_bytes(b"\0\0", rate=0), "1 channels at 0 Hz"),
    "rate of 1 Hz": (
        wave_bytes(b"\0\0", rate=1),
        "sample rate: got 1 Hz, expected 1000 … 1000000 Hz; the header is damaged",
    ),
    "rate of 2 GHz": (wave_bytes(b"\0\0", rate=2**31 - 1), "sample rate: got 2147483647 Hz"),
    "foreign rate": (wave_bytes(bytes(64), encoding=6, bits=8, rate=999), "sample rate: got 999 Hz"),
    "text": (b"hello world, this is no audio at all", "bytes that no reader recognises.*not audio"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG picture.*it holds no sound"),
    "unknown encoding": (
        wave_bytes(bytes(64), encoding=0x4321, bits=8),
        "WAV with encoding 17185, 8 bits.*unsupported",
    ),
    "garbage behind a magic": (
        b"fLaC" + bytes(range(200)),
        "FLAC that libsndfile cannot read, expected WAV, FLAC.*damaged",
    ),
    "NaN": (wave_bytes(np.array([0, np.nan], np.float32).tobytes(), encoding=3, bits=32), "nan at sample 1"),
    "infinity": (
        wave_bytes(np.array([0, 0, -np.inf], np.float32).tobytes(), encoding=3, bits=32),
        "-inf at sample 2",
    ),
    "beyond float32": (
        wave_bytes(np.array([1e300], np.float64).tobytes(), encoding=3, bits=64),
        "inf at sample 0",
    ),
    "far beyond full scale": (
        wave_bytes(np.array([0, 0.5, -3e38], np.float32).tobytes(), encoding=3, bits=32),
        r"got a sample of -3e\+38, expected samples with full scale at ±1; are these integers",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_damaged_files_are_refused_with_their_name(tmp_path: Path, case: str) -> None:
    content, sentence = REFUSED[case]
    path = write(tmp_path / "bad.wav", content)
    with pytest.raises(InputError, match=rf"bad\.wav: .*{sentence}"):
        read_audio(path)


def test_frames_that_contradict_the_format_are_refused(tmp_path: Path) -> None:
    content = wave_bytes(bytes(8)).replace(struct.pack("<HH", 2, 16), struct.pack("<HH", 7, 16))
    with pytest.raises(InputError, match="frames of 7 bytes, expected 1 × 16 bits; the header is damaged"):
        read_audio(write(tmp_path / "a.wav", content))


def test_extensible_with_a_foreign_guid_is_not_taken_for_pcm(tmp_path: Path) -> None:
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, 16000, 32000, 2, 16, 22, 16, 4)
    for guid, good in ((PCM_GUID, True), (PCM_GUID[:15] + b"\0", False)):
        chunks = b"fmt " + struct.pack("<I", 40) + form + guid + b"data" + struct.pack("<I", 2) + b"\x00\x40"
        path = write(tmp_path / "a.wav", b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
        if good:
            np.testing.assert_array_equal(read_audio(path).samples, [0.5])
        else:
            with pytest.raises(InputError, match="encoding 65534"):
                read_audio(path)


@pytest.mark.parametrize("format_name", ["FLAC", "MP3", "OGG"])
def test_truncated_foreign_files_are_refused(tmp_path: Path, format_name: str) -> None:
    whole = tmp_path / "whole"
    soundfile.write(whole, np.tile(SPEECH, 8), 16000, format=format_name)
    content = whole.read_bytes()
    path = write(tmp_path / f"cut.{format_name.lower()}", content[: len(content) // 2])
    with pytest.raises(InputError, match=r"cut\.[a-z0-9]+: .*(truncated|damaged|zero length)"):
        read_audio(path)


def test_flac_without_a_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, SPEECH, 16000)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the 36 bits of STREAMINFO that count the samples
    content[22:26] = bytes(4)
    with pytest.raises(InputError, match=r"got no length.*streamed to a pipe"):
        read_audio(write(path, bytes(content)))


def test_foreign_files_of_no_samples_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.aiff"
    soundfile.write(path, np.zeros(0), 16000)
    with pytest.raises(InputError, match="no samples"):
        read_audio(path)


def test_foreign_files_of_impossible_rates_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.aiff", SPEECH, 7)
    with pytest.raises(InputError, match=r"a\.aiff: sample rate: got 7 Hz.*header is damaged"):
        read_audio(tmp_path / "a.aiff")


@pytest.mark.parametrize("rate", [1_000, 1_000_000])
def test_the_lowest_and_highest_rates_are_read(tmp_path: Path, rate: int) -> None:
    assert read_audio(write(tmp_path / "a.wav", wave_bytes(b"\0\0", rate=rate))).sample_rate == rate


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.wav: .*got no such file"):
        read_audio(tmp_path / "gone.wav")
    with pytest.raises(InputError, match="got a folder"):
        read_audio(tmp_path)
    with pytest.raises(InputError, match="got a device"):
        read_audio("/dev/null")


def test_headerless_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not audio"):
        read_audio(write(tmp_path / "a.raw", bytes(100)))


def test_without_soundfile_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setattr("edge_runtime.media.containers.available", lambda: False)
    for head, name in (
        (b"fLaC", "FLAC"),
        (b"ID3\x04", "MP3"),
        (b"\xff\xfb\x90", "MP3"),
        (b"OggS\0\4", "Ogg"),
    ):
        path = write(tmp_path / "a.bin", head + bytes(64))
        with pytest.raises(BackendError, match=rf"reading {name}: .*pip install 'edge-export\[audio\]'"):
            read_audio(path)
    path = write(tmp_path / "a.wav", wave_bytes(bytes(64), encoding=2, bits=8))
    with pytest.raises(BackendError, match="WAV with encoding 2, 8 bits: got no module named soundfile"):
        read_audio(path)
    with pytest.raises(InputError, match="not audio"):
        read_audio(write(tmp_path / "a.txt", b"hello world, hello"))


@pytest.mark.parametrize("claimed", [1 << 20, (1 << 36) - 1])
def test_a_flac_header_that_claims_too_many_samples_is_refused(tmp_path: Path, claimed: int) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, SPEECH, 16000)
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | claimed >> 32
    content[22:26] = (claimed & 0xFFFFFFFF).to_bytes(4, "big")
    with pytest.raises(InputError, match=r"a\.flac: audio.*(truncated|damaged)"):
        read_audio(write(path, bytes(content)))


def test_decoders_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "a.mp3", np.tile(SPEECH, 20), 16000)
    content = bytearray((tmp_path / "a.mp3").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    with contextlib.suppress(InputError):
        read_audio(write(tmp_path / "a.mp3", bytes(content)))
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems take UTF-8 names alone")
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_names_that_are_no_text_are_read(tmp_path: Path, suffix: str) -> None:
    soundfile.write(tmp_path / f"a.{suffix}", SPEECH, 16000)
    name = os.fsdecode(b"caf\xe9." + suffix.encode())
    path = (tmp_path / f"a.{suffix}").rename(tmp_path / name)
    assert len(read_audio(path).samples) == 5000
    path.write_bytes(b"nothing")
    with pytest.raises(InputError) as refusal:
        read_audio(path)
    assert rf"/caf\xe9.{suffix}: " in str(refusal.value)


# any bytes -------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_no_damage_to_a_wav_file_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(
        wave_bytes(np.array([0.1] * 20, np.float32).tobytes(), encoding=3, bits=32, channels=2)
    )
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, 50))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    path = write(tmp_path_factory.getbasetemp() / "fuzzed.wav", bytes(content))
    with contextlib.suppress(InputError), strictly():  # any other exception is what this test looks for
        samples = read_audio(path).samples
        assert len(samples) > 0
        assert np.isfinite(samples).all()


# writing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subtype", "libsndfile"),
    [("pcm16", "PCM_16"), ("pcm24", "PCM_24"), ("pcm32", "PCM_32"), ("float32", "FLOAT")],
)
@pytest.mark.parametrize("samples", [1, 999, 5000])
def test_written_files_are_read_by_libsndfile(
    tmp_path: Path, subtype: Subtype, libsndfile: str, samples: int
) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, SPEECH[:samples], 11413, subtype)
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (11413, 1, libsndfile, samples)
    step = {"pcm16": 2**-15, "pcm24": 2**-23, "pcm32": 2**-31, "float32": 0}[subtype]
    theirs = soundfile.read(path, dtype="float64")[0]
    np.testing.assert_allclose(theirs, SPEECH[:samples].astype(np.float64), atol=step / 2, rtol=0)
    assert path.stat().st_size % 2 == 0
    assert struct.unpack("<I", path.read_bytes()[4:8])[0] == path.stat().st_size - 8


@pytest.mark.parametrize(("subtype", "bits"), [("pcm16", 16), ("pcm24", 24), ("pcm32", 32)])
def test_full_scale_clips_and_never_wraps(tmp_path: Path, subtype: Subtype, bits: int) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, np.array([1.0, -1.0, 7.0, -7.0, 0.0]), 16000, subtype)
    integers = soundfile.read(path, dtype="int32")[0] >> (32 - bits)
    top = 2 ** (bits - 1)
    assert integers.tolist() == [top - 1, -top, top - 1, -top, 0]


@settings(deadline=None)
@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=50))
def test_pcm16_survives_reading_and_writing(
    tmp_path_factory: pytest.TempPathFactory, values: list[int]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    data = np.array(values, "<i2").tobytes()
    source = write(folder / "in.wav", wave_bytes(data))
    write_wav(folder / "out.wav", read_audio(source).samples, 16000)
    assert (folder / "out.wav").read_bytes() == source.read_bytes()


def test_floats_beyond_full_scale_stay_in_float_files(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write_wav(path, np.array([3.5, -2.25]), 16000, "float32")
    np.testing.assert_array_equal(read_audio(path).samples, [3.5, -2.25])


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (np.zeros((5, 2)), r"shape \(5, 2\), expected one channel"),
        (np.zeros(0), r"shape \(0,\)"),
        (np.array([0.0, np.nan]), "NaN or infinity"),
        (np.array([1, 2, 3]), "int64, expected floats"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, samples: np.ndarray, sentence: str) -> None:
    with pytest.raises(InputError, match=rf"a\.wav: samples: got {sentence}"):
        write_wav(tmp_path / "a.wav", samples, 16000)
    assert list(tmp_path.iterdir()) == []


def test_options_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got 'mp3', expected pcm16 or pcm24"):
        write_wav(tmp_path / "a.wav", SPEECH, 16000, "mp3")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="sample_rate: got 0"):
        write_wav(tmp_path / "a.wav", SPEECH, 0)
    with pytest.raises(TargetError, match=r"a\.wav: got an existing file"):
        write_wav(write(tmp_path / "a.wav", b"precious"), SPEECH, 16000, overwrite=False)
    assert (tmp_path / "a.wav").read_bytes() == b"precious"


@given(pieces=st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_a_file_that_grows_is_the_file_that_is_written_at_once(
    pieces: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("wav")
    samples = np.random.default_rng(0).uniform(-1.1, 1.1, sum(pieces)).astype(np.float32)
    with WavWriter(folder / "pieces.wav", 11413) as file:
        start = 0
        for length in pieces:
            file.write(samples[start : start + length])
            start += length
    write_wav(folder / "whole.wav", samples, 11413)
    assert file.count == len(samples)
    assert (folder / "pieces.wav").read_bytes() == (folder / "whole.wav").read_bytes()


def test_a_growing_file_refuses_what_is_no_sound(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"a\.wav: samples: got NaN or infinity"),
        WavWriter(tmp_path / "a.wav", 8000) as file,
    ):
        file.write(np.array([np.nan]))
    with pytest.raises(InputError):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("format_name", ["AIFF", "AU", "W64"])
def test_what_ends_before_its_header_says_is_said(tmp_path: Path, format_name: str) -> None:
    sound = np.sin(np.arange(4000) / 9) * 0.3
    soundfile.write(tmp_path / "whole", sound, 16000, format=format_name, subtype="PCM_16")
    read_audio(tmp_path / "whole")
    (tmp_path / "cut").write_bytes((tmp_path / "whole").read_bytes()[:-2000])
    with pytest.warns(EdgeWarning, match="cut: audio header: got .* as it says; what is there was read"):
        assert len(read_audio(tmp_path / "cut").samples) == 3000
