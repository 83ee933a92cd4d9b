"""WAV files: position and format of their samples, also where the header is wrong.

Recorders that crash, programs that write to a pipe and converters leave sizes that are zero, placeholders or
simply wrong. The size of the data chunk is trusted where the file confirms it: where the chunk ends at the
end of the file, at a chain of chunks that ends there, or at the end that RIFF states. Everywhere else the
samples are taken to last to the end of the file, with a warning (`edge_runtime.errors.doubt`). So is a second
data chunk doubted, which the format does not have, or a second file behind the first: their samples are not
read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError, doubt

PCM, FLOAT, A_LAW, MU_LAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
# the last fourteen bytes of the sub-format of WAVE_FORMAT_EXTENSIBLE; the first two are the format itself
EXTENSIBLE_GUID = bytes.fromhex("0000 0000 1000 8000 00aa 0038 9b71")
RATES = range(1_000, 1_000_001)  # Hz; only damaged headers have other rates
MOST_CHANNELS = 1024
PLACEHOLDER = 0xFFFFFFFF  # of a size that another chunk states, or nobody
CHUNKS = 10_000  # more than any file has; a chain of empty ones would be walked for ever

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Wave:
    """What the chunks of a WAV file state and the file confirms."""

    encoding: int  # WAVE_FORMAT_…
    bits: int  # of the container of one sample
    channels: int
    sample_rate: int
    offset: int  # of the first sample, bytes
    frames: int

    @property
    def decode(self) -> Callable[[bytes], Samples] | None:
        """Function from bytes to float32 (n,), full scale ±1; None where another reader is needed."""
        return _DECODERS.get((self.encoding, self.bits))


def parse_wave(path: str, file: BinaryIO, size: int) -> Wave:
    """Walk the chunks up to the samples.

    Args:
        path: named in warnings.
        file: begins with RIFF, RF64 or BW64, and WAVE.
        size: of the file, bytes.

    Raises:
        InputError: no samples, no format, an impossible format, or truncated before the samples.
    """
    form: tuple[int, ...] | None = None
    file.seek(4)
    riff_end = 8 + int.from_bytes(file.read(4), "little")
    position, long_data = 12, PLACEHOLDER
    for _ in range(CHUNKS):
        if position + 8 > size:
            break
        name, length = _chunk(file, position)
        position += 8
        if name == b"ds64" and length >= 16 and position + 16 <= size:  # of RF64 and BW64: sizes of 64 bits
            riff_length, long_data = struct.unpack("<QQ", file.read(16))
            riff_end = 8 + riff_length
        if name == b"data":
            length = long_data if length == PLACEHOLDER else length
            return _locate_samples(path, file, form, _Extent(position, length, size, riff_end))
        if position + length > size:
            raise truncated(f"WAV chunk {name!r}", size - position, length)
        if name == b"fmt ":
            form = _parse_format(file.read(min(length, 1024)))
        position = _after(file, position + length, size)
    raise InputError(
        "WAV file",
        got=f"{size} bytes without samples",
        expected="a data chunk",
        cause="the file is truncated",
    )


def check_rate(rate: int) -> None:
    """InputError for a sample rate that no recording has."""
    if rate not in RATES:
        raise InputError(
            "sample rate",
            got=f"{rate} Hz",
            expected=f"{RATES[0]} … {RATES[-1]} Hz",
            cause="the header is damaged",
        )


def no_samples() -> InputError:
    return InputError("audio", got="no samples", expected="at least 1", cause="the recording has zero length")


def truncated(what: str, got: int, expected: int) -> InputError:
    return InputError(what, got=f"{got} bytes", expected=f"{expected}", cause="the file is truncated")


# chunks ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Extent:
    """Of the data chunk."""

    offset: int  # of the first sample
    length: int  # bytes, as its header says
    size: int  # of the file
    riff_end: int  # of the whole, as RIFF says

    @property
    def remaining(self) -> int:
        return self.size - self.offset


def _chunk(file: BinaryIO, position: int) -> tuple[bytes, int]:
    file.seek(position)
    name, length = struct.unpack("<4sI", file.read(8))
    return name, length


def _is_chunk(file: BinaryIO, position: int, size: int) -> bool:
    """Whether a chunk seems to begin here: a readable name, and a length that the file has."""
    if position + 8 > size:
        return False
    name, length = _chunk(file, position)
    readable = all(0x20 <= byte < 0x7F for byte in name)
    return readable and (position + 8 + length <= size or name == b"data")


def _after(file: BinaryIO, end: int, size: int) -> int:
    """Where the next chunk begins: chunks are padded to even lengths, and some programs forget it."""
    padded = end + end % 2
    if padded != end and not _is_chunk(file, padded, size) and _is_chunk(file, end, size):
        return end
    return padded


def _is_borne_out(file: BinaryIO, extent: _Extent) -> bool:
    """Whether the samples end where the header says; see the module's rule."""
    end = extent.offset + extent.length
    if end > extent.size:
        return False
    if extent.size - end <= 1:  # a byte of padding
        return True
    if extent.length and extent.riff_end in (end, end + end % 2):
        return True
    position = _after(file, end, extent.size)
    for _ in range(CHUNKS):
        if extent.size - position < 8:
            return extent.length > 0 or position == extent.size
        if not _is_chunk(file, position, extent.size):
            return False
        _, length = _chunk(file, position)
        position = _after(file, position + 8 + length, extent.size)
    return False


_SECOND = {b"data": "data chunk", b"RIFF": "WAV file behind the first"}


def _doubt_second(path: str, file: BinaryIO, extent: _Extent) -> None:
    """Say where there are samples in another data chunk, or another file, too."""
    position = _after(file, extent.offset + extent.length, extent.size)
    for _ in range(CHUNKS):
        if not _is_chunk(file, position, extent.size):
            return
        name, length = _chunk(file, position)
        if name in _SECOND:
            doubt(
                InputError(
                    f"{path}: WAV file",
                    got=f"a second {_SECOND[name]}, of {length} bytes",
                    expected="one",
                    cause=f"the first {extent.length} bytes of samples were read; if two recordings were "
                    "joined, write them again with the program that joined them",
                )
            )
            return
        position = _after(file, position + 8 + length, extent.size)


def _parse_format(chunk: bytes) -> tuple[int, ...]:
    """(encoding, channels, sample rate, bytes of a frame, bits) of a fmt chunk."""
    if len(chunk) < 16:
        raise truncated("WAV chunk b'fmt '", len(chunk), 16)
    encoding, channels, rate, _, frame_bytes, bits = struct.unpack("<HHIIHH", chunk[:16])
    if encoding == EXTENSIBLE and len(chunk) >= 40 and chunk[26:40] == EXTENSIBLE_GUID:
        encoding = struct.unpack("<H", chunk[24:26])[0]
    return encoding, channels, rate, frame_bytes, bits


def _locate_samples(path: str, file: BinaryIO, form: tuple[int, ...] | None, extent: _Extent) -> Wave:
    if form is None:
        raise InputError("WAV file", got="samples before any format", expected="a fmt chunk first")
    encoding, channels, rate, frame_bytes, bits = form
    if not (1 <= channels <= MOST_CHANNELS and rate >= 1 and frame_bytes >= 1):
        raise InputError(
            "WAV format",
            got=f"{channels} channels at {rate} Hz in frames of {frame_bytes} bytes",
            expected=f"1 to {MOST_CHANNELS} channels, and at least 1 of each",
            cause="the header is damaged",
        )
    check_rate(rate)
    wave = Wave(encoding, bits, channels, rate, extent.offset, frames=0)
    if wave.decode is None:
        return wave  # another reader judges the rest
    if frame_bytes != channels * bits // 8:
        raise InputError(
            "WAV format",
            got=f"frames of {frame_bytes} bytes",
            expected=f"{channels} × {bits} bits",
            cause="the header is damaged",
        )
    length = _length(path, file, extent, frame_bytes)
    return Wave(encoding, bits, channels, rate, extent.offset, length // frame_bytes)


def _length(path: str, file: BinaryIO, extent: _Extent, frame_bytes: int) -> int:
    """Bytes of samples, whole frames; says what of the header was not believed."""
    if _is_borne_out(file, extent):
        length = extent.length
        _doubt_second(path, file, extent)
    else:
        length = extent.remaining
        if length >= frame_bytes:
            doubt(
                InputError(
                    f"{path}: WAV header",
                    got=f"{extent.length} bytes of samples, where {length} are left",
                    expected="the size of the samples",
                    cause="samples were read to the end of the file; its recorder was interrupted or wrote "
                    "to a pipe, or the file is truncated",
                )
            )
    if length < frame_bytes:
        raise no_samples()
    if length % frame_bytes:
        doubt(
            InputError(
                f"{path}: WAV samples",
                got=f"an end in the middle of a sample, {length % frame_bytes} of {frame_bytes} bytes",
                expected="whole samples",
                cause="the last bytes were left out; the file is truncated",
            )
        )
    return length - length % frame_bytes


# encodings that the header gets wrong ----------------------------------------------------------------------

_LEAST = 800  # samples that an encoding can be doubted of
_NOISE = 1.0  # energy of the differences of neighbours relative to their own; 2 of white noise, speech 0.2
_SMOOTHER = 0.25  # of that, in the other byte order


def doubt_encoding(path: str, wave: Wave, raw: bytes) -> None:
    """Warn where samples are noise as the header has them, and sound if they are read in another way.

    Args:
        path: named in the warning.
        wave: the header.
        raw: the first samples.
    """
    other = ""
    if wave.frames < _LEAST:
        return
    if (wave.encoding, wave.bits) == (PCM, 16) and _is_swapped(raw):
        other = "of the other byte order"
    elif (wave.encoding, wave.bits) == (PCM, 32) and _are_floats(raw):
        other = "floats, not integers"
    elif (wave.encoding, wave.bits) == (FLOAT, 32) and _are_integers(raw):
        other = "integers, not floats"
    if other:
        doubt(
            InputError(
                f"{path}: WAV samples",
                got=f"samples that look {other}",
                expected="what the header says",
                cause="the header is wrong; write the file again with the program that made it",
            )
        )


def _roughness(samples: Samples) -> float:
    energy = float(np.vdot(samples, samples))
    steps = np.diff(samples)
    return float(np.vdot(steps, steps)) / energy if energy else 0.0


def _is_swapped(raw: bytes) -> bool:
    little, big = (np.frombuffer(raw, kind).astype(np.float32) for kind in ("<i2", ">i2"))
    return (
        len(little) > 1 and _roughness(little) > _NOISE and _roughness(big) < _SMOOTHER * _roughness(little)
    )


def _are_floats(raw: bytes) -> bool:
    """Integers of sound have, as floats, exponents of all sizes; floats of sound as integers do not."""
    values = np.abs(np.frombuffer(raw, "<f4"))
    values = values[values != 0]
    with np.errstate(invalid="ignore"):
        return bool(len(values) and np.mean((values > 1e-7) & (values < 8)) > 0.99)


def _are_integers(raw: bytes) -> bool:
    integers = np.frombuffer(raw, "<i4").astype(np.float32)
    with np.errstate(invalid="ignore"):
        wild = np.mean(~(np.abs(np.frombuffer(raw, "<f4")) < 1e6))
    return bool(len(integers) > 1 and wild > 0.1 and _roughness(integers) < _NOISE)


# samples ---------------------------------------------------------------------------------------------------


def _pcm24(raw: bytes) -> Samples:
    padded = np.zeros((len(raw) // 3, 4), np.uint8)  # shifted up by eight bits: read as PCM 32
    padded[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
    return _pcm32(padded.tobytes())


def _pcm32(raw: bytes) -> Samples:
    return np.frombuffer(raw, "<i4").astype(np.float32) * np.float32(2**-31)


def _float64(raw: bytes) -> Samples:
    with np.errstate(over="ignore"):  # becomes infinite and is refused as such
        return np.frombuffer(raw, "<f8").astype(np.float32)


def _a_law() -> Samples:
    """The 256 values of G.711's A-law, full scale ±1."""
    code = np.arange(256) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, code & 15
    level = np.where(exponent, (mantissa * 16 + 0x108) << np.maximum(exponent - 1, 0), mantissa * 16 + 8)
    return np.asarray(np.where(code & 0x80, level, -level) / 32768, np.float32)


def _mu_law() -> Samples:
    """The 256 values of G.711's µ-law, full scale ±1."""
    code = ~np.arange(256)
    level = ((((code & 15) << 3) + 0x84) << ((code >> 4) & 7)) - 0x84
    return np.asarray(np.where(code & 0x80, -level, level) / 32768, np.float32)


_A_LAW, _MU_LAW = _a_law(), _mu_law()
_DECODERS: dict[tuple[int, int], Callable[[bytes], Samples]] = {
    (PCM, 8): lambda raw: (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) * np.float32(2**-7),
    (PCM, 16): lambda raw: np.frombuffer(raw, "<i2").astype(np.float32) * np.float32(2**-15),
    (PCM, 24): _pcm24,
    (PCM, 32): _pcm32,
    (FLOAT, 32): lambda raw: np.frombuffer(raw, "<f4").astype(np.float32),
    (FLOAT, 64): _float64,
    (A_LAW, 8): lambda raw: _A_LAW[np.frombuffer(raw, np.uint8)],
    (MU_LAW, 8): lambda raw: _MU_LAW[np.frombuffer(raw, np.uint8)],
}
