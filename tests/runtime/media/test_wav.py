"""Where the samples of a WAV file lie, whatever its header says."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edge_runtime.errors import EdgeWarning, InputError, strictly
from edge_runtime.media.audio import read_audio
from edge_runtime.media.wav import Wave, doubt_encoding

VALUES = np.random.default_rng(3).integers(-20000, 20000, 1200).astype("<i2")
PCM = VALUES.tobytes()
TRUTH = VALUES / np.float32(32768)


def wav(size: int, riff: int, tail: bytes = b"", between: bytes = b"", data: bytes = PCM) -> bytes:
    form = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)
    head = b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + struct.pack("<I", 16) + form + between
    return head + b"data" + struct.pack("<I", size) + data + tail


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def read(path: Path, content: bytes) -> tuple[np.ndarray, list[str]]:
    """(samples, doubts)."""
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EdgeWarning)
        samples = read_audio(path).samples
    return samples, [str(warning.message) for warning in caught]


N = len(PCM)
LIES = {
    "zero, as an interrupted recorder leaves it": (0, 0),
    "zero, with a RIFF size": (0, 36 + N),
    "ffmpeg to a pipe": (0xFFFFFFFF, 0xFFFFFFFF),
    "sox to a pipe": (0x7FFFF000, 0x7FFFF024),
    "streamed speech synthesis": (0x7FFFFFFF, 0x7FFFFFFF),
    "two thousand million": (2_000_000_000, 2_000_000_036),
    "negative": (0x80000000, 0x80000024),
    "all ones but the head": (0xFFFFFFDB, 0xFFFFFFFF),
    "the file's size": (N + 44, 36 + N),
    "twice the length": (2 * N, 36 + 2 * N),
    "one sample too many": (N + 2, 38 + N),
    "a recorder that crashed after its last update": (N // 2, 0),
    "the same, RIFF not updated": (N // 4, 36),
    "one": (1, 0),
}


@pytest.mark.parametrize("case", LIES)
def test_samples_last_to_the_end_where_the_size_is_not_borne_out(tmp_path: Path, case: str) -> None:
    samples, doubts = read(tmp_path / "a.wav", wav(*LIES[case]))
    np.testing.assert_array_equal(samples, TRUTH)
    assert len(doubts) == 1
    assert f"a.wav: WAV header: got {LIES[case][0]} bytes of samples, where {N} are left" in doubts[0]
    with pytest.raises(InputError) as refusal, strictly():
        read_audio(tmp_path / "a.wav")
    assert refusal.value.what == f"{tmp_path / 'a.wav'}: WAV header"


SECOND = chunk(b"LIST", b"INFOhello") + chunk(b"data", PCM[:10])


@pytest.mark.parametrize(
    ("tail", "riff"),
    [(SECOND, N + 80), (SECOND, 0), (SECOND[-18:], N + 54)],
    ids=["LIST between", "no RIFF size", "at once"],
)
def test_a_second_data_chunk_is_doubted(tmp_path: Path, tail: bytes, riff: int) -> None:
    samples, doubts = read(tmp_path / "a.wav", wav(N, riff, tail))
    np.testing.assert_array_equal(samples, TRUTH)
    (said,) = doubts
    assert f"a.wav: WAV file: got a second data chunk, of 10 bytes, expected one; the first {N} bytes" in said
    with pytest.raises(InputError, match="got a second data chunk"), strictly():
        read_audio(tmp_path / "a.wav")


def test_a_second_file_behind_the_first_is_doubted(tmp_path: Path) -> None:
    samples, doubts = read(tmp_path / "a.wav", wav(N, 36 + N, wav(N, 36 + N)))
    np.testing.assert_array_equal(samples, TRUTH)
    assert [f"got a second WAV file behind the first, of {36 + N} bytes" in said for said in doubts] == [True]


TRUTHS = {
    "plain": wav(N, 36 + N),
    "no RIFF size": wav(N, 0),
    "a byte of padding": wav(N, 36 + N, b"\0"),
    "chunks behind": wav(N, 36 + N, chunk(b"LIST", b"INFOhello") + chunk(b"id3 ", b"abcd")),
    "chunks behind, no RIFF size": wav(N, 0, chunk(b"LIST", b"INFOhello") + chunk(b"id3 ", b"abcd")),
    "an odd chunk without its padding": wav(N, 36 + N, between=b"LIST" + struct.pack("<I", 5) + b"hello"),
    "an odd chunk with it": wav(N, 36 + N, between=chunk(b"LIST", b"hello")),
    "rest that is no chunk, behind what RIFF states": wav(N, 36 + N, b"\xff" * 40),
    "a few bytes behind": wav(N, 0, b"id3 ta"),
}


@pytest.mark.parametrize("case", TRUTHS)
def test_sizes_that_the_file_bears_out_are_believed(tmp_path: Path, case: str) -> None:
    samples, doubts = read(tmp_path / "a.wav", TRUTHS[case])
    np.testing.assert_array_equal(samples, TRUTH)
    assert doubts == []


def test_odd_samples_without_padding_end_at_the_next_chunk(tmp_path: Path) -> None:
    form = struct.pack("<HHIIHH", 1, 1, 16000, 16000, 1, 8)
    data = bytes(range(1, 256))
    for padding in (b"", b"\0"):
        body = b"WAVE" + chunk(b"fmt ", form) + b"data" + struct.pack("<I", 255) + data + padding
        content = b"RIFF" + struct.pack("<I", 0) + body + chunk(b"LIST", b"INFO")
        samples, doubts = read(tmp_path / "a.wav", content)
        np.testing.assert_array_equal(samples, (np.arange(1, 256) - 128) / 128)
        assert doubts == []


def test_an_empty_data_chunk_is_empty(tmp_path: Path) -> None:
    for tail in (b"", chunk(b"LIST", b"INFO")):
        (tmp_path / "a.wav").write_bytes(wav(0, 36, tail, data=b""))
        with pytest.raises(InputError, match="got no samples"):
            read_audio(tmp_path / "a.wav")


def test_an_end_within_a_sample_is_said(tmp_path: Path) -> None:
    samples, doubts = read(tmp_path / "a.wav", wav(0xFFFFFFFF, 0, b"\x77"))
    np.testing.assert_array_equal(samples, TRUTH)
    assert "got an end in the middle of a sample, 1 of 2 bytes" in doubts[1]


def test_a_chain_of_empty_chunks_ends(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 20_000)
    with pytest.raises(InputError, match="without samples"):
        read_audio(tmp_path / "a.wav")


@pytest.mark.parametrize("subtype", ["PCM_U8", "ULAW", "ALAW"])
@pytest.mark.parametrize("channels", [1, 2])
def test_eight_bits_equal_libsndfile(tmp_path: Path, subtype: str, channels: int) -> None:
    path = tmp_path / "a.wav"
    wave = np.sin(np.outer(np.arange(4000) ** 1.2, np.arange(1, channels + 1)) / 90) * 0.99
    soundfile.write(path, wave, 16000, subtype=subtype)
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(1)
    np.testing.assert_allclose(read_audio(path).samples, expected, atol=1e-7)


def rf64(data: int, magic: bytes = b"RF64", riff: int = 0) -> bytes:
    sizes = chunk(b"ds64", struct.pack("<QQQI", riff, data, 0, 0))
    form = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16))
    return magic + b"\xff" * 4 + b"WAVE" + sizes + form + b"data" + b"\xff" * 4 + PCM


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
def test_sizes_of_64_bits(tmp_path: Path, magic: bytes) -> None:
    whole, _ = read(tmp_path / "a.wav", wav(len(PCM), 36 + len(PCM)))
    samples, said = read(tmp_path / "x.wav", rf64(len(PCM), magic))
    np.testing.assert_array_equal(samples, whole)
    assert not said
    for size in (0, 2**63, 2 * len(PCM)):
        samples, said = read(tmp_path / "y.wav", rf64(size, magic))
        np.testing.assert_array_equal(samples, whole)
        assert f"got {size} bytes of samples" in said[0]


SOUND = (0.4 * np.sin(np.arange(4000) / 9)).astype("<f4")
INTEGERS = np.rint(SOUND * 2.0**31).astype("<i4")


@pytest.mark.parametrize(
    ("encoding", "bits", "samples", "words"),
    [
        (1, 16, np.rint(SOUND * 32767).astype(">i2"), "of the other byte order"),
        (1, 32, SOUND, "floats, not integers"),
        (3, 32, INTEGERS, "integers, not floats"),
        (1, 16, np.rint(SOUND * 32767).astype("<i2"), ""),
        (1, 32, INTEGERS, ""),
        (3, 32, SOUND, ""),
        (1, 16, np.random.default_rng(0).integers(-9000, 9000, 4000).astype("<i2"), ""),  # noise is noise
        (1, 32, np.zeros(4000, "<i4"), ""),
    ],
)
def test_encodings_that_the_header_gets_wrong(
    encoding: int, bits: int, samples: np.ndarray, words: str
) -> None:
    wave = Wave(encoding, bits, 1, 16000, 44, len(samples))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        doubt_encoding("x.wav", wave, samples.tobytes())
    assert [f"samples that look {words}" in str(one.message) for one in caught] == ([True] if words else [])
