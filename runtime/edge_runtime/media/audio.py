"""Audio files in and out: float32 in [−1, 1], one channel.

WAV (PCM 16/24/32, float 32/64, also as WAVE_FORMAT_EXTENSIBLE) is read here: Python's ``wave`` knows no
floats. Every other format and encoding (FLAC, MP3, Ogg, AIFF, PCM 8, A-law, RF64 …) goes through soundfile
where it is installed.

Integers are divided by 2^(bits−1); channels are averaged. Writing multiplies by the same power of two,
rounds and clips: +1.0 becomes the largest integer instead of wrapping to the smallest, and a PCM 16 file
that was read is written back bit by bit. Both ways work block by block: memory grows with the samples alone.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.dsp.resampling import resample
from edge_runtime.dsp.spectral import LARGEST_SAMPLE, too_large
from edge_runtime.errors import BackendError, ConfigError, EdgeError, InputError
from edge_runtime.store.targets import replace_file

__all__ = ["Audio", "Subtype", "WavWriter", "read_audio", "resample", "write_wav"]

Subtype = Literal["pcm16", "pcm24", "pcm32", "float32"]

BLOCK = 1 << 18  # frames decoded or encoded at a time
RATES = range(1_000, 1_000_001)  # Hz; no recording has another rate, but damaged headers do
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
# the last fourteen bytes of the sub-format of WAVE_FORMAT_EXTENSIBLE; the first two are the format itself
EXTENSIBLE_GUID = bytes.fromhex("0000 0000 1000 8000 00aa 0038 9b71")
# lengths that writers to a pipe leave behind (ffmpeg, sox): the data lasts to the end of the file
UNKNOWN_LENGTHS = (0xFFFFFFFF, 0x7FFFF000)
# first bytes of formats that soundfile reads
FOREIGN = (
    b"fLaC",
    b"OggS",
    b"ID3",
    b"\xff\xfb",
    b"\xff\xf3",
    b"\xff\xf2",
    b"FORM",
    b".snd",
    b"RF64",
    b"RIFX",
    b"caff",
)


@dataclass(frozen=True)
class Audio:
    """One channel of sound."""

    samples: NDArray[np.float32]  # (n,), full scale ±1; float files may exceed it
    sample_rate: int  # Hz

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


def read_audio(path: str | os.PathLike[str], sample_rate: int | None = None) -> Audio:
    """Read a file as one channel, resampled to ``sample_rate`` (Hz) if given.

    Raises:
        InputError: the file is missing, empty, truncated, no audio, without samples, or its header is damaged
            (sample rates: `RATES`); samples are not finite or far beyond full scale.
        BackendError: the format needs soundfile and this machine lacks it.
    """
    path = Path(path)
    try:
        audio = _read(path)
        if sample_rate is None:
            return audio
        return Audio(resample(audio.samples, audio.sample_rate, sample_rate), sample_rate)
    except EdgeError as error:
        raise error.within(str(path)) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(str(path), got=reason, expected="a readable audio file") from error


def _read(path: Path) -> Audio:
    if not path.exists():
        raise InputError("audio file", got="no such file", expected="a WAV, FLAC, MP3 or Ogg file")
    if not path.is_file():
        kind = "a directory" if path.is_dir() else "something that is not a plain file"
        raise InputError("audio file", got=kind, expected="a WAV, FLAC, MP3 or Ogg file")
    with path.open("rb") as file:
        head = file.read(12)
        if not head:
            raise InputError("audio file", got="0 bytes", expected="a WAV, FLAC, MP3 or Ogg file")
        if head[:4] == b"RIFF" and (len(head) < 12 or head[8:] == b"WAVE"):
            wave = _parse_wave(file, size=path.stat().st_size)
            if wave.decode is not None:
                return Audio(_read_wave(file, wave), wave.sample_rate)
            return _read_foreign(path, f"WAV with encoding {wave.encoding}, {wave.bits} bits")
        if head[:4] == b"OggS":
            _check_ogg_end(file)
    return _read_foreign(path, _describe(head))


# WAV -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Wave:
    """What the chunks of a WAV file say."""

    encoding: int  # WAVE_FORMAT_…
    bits: int  # of the container of one sample
    channels: int
    sample_rate: int
    offset: int  # of the first sample, bytes
    frames: int

    @property
    def decode(self) -> Callable[[bytes], NDArray[np.float32]] | None:
        return _DECODERS.get((self.encoding, self.bits))


def _pcm24(raw: bytes) -> NDArray[np.float32]:
    padded = np.zeros((len(raw) // 3, 4), np.uint8)  # shifted up by eight bits: read as PCM 32
    padded[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
    return _pcm32(padded.tobytes())


def _pcm32(raw: bytes) -> NDArray[np.float32]:
    return np.frombuffer(raw, "<i4").astype(np.float32) * np.float32(2**-31)


def _float64(raw: bytes) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # becomes infinite and is refused as such
        return np.frombuffer(raw, "<f8").astype(np.float32)


_DECODERS: dict[tuple[int, int], Callable[[bytes], NDArray[np.float32]]] = {
    (PCM, 16): lambda raw: np.frombuffer(raw, "<i2").astype(np.float32) * np.float32(2**-15),
    (PCM, 24): _pcm24,
    (PCM, 32): _pcm32,
    (FLOAT, 32): lambda raw: np.frombuffer(raw, "<f4").astype(np.float32),
    (FLOAT, 64): _float64,
}


def _truncated(what: str, got: int, expected: int) -> InputError:
    return InputError(what, got=f"{got} bytes", expected=f"{expected}", cause="the file is truncated")


def _parse_wave(file: BinaryIO, size: int) -> _Wave:
    """Walk the chunks up to the samples. ``size``: of the file, bytes."""
    form: tuple[int, ...] | None = None
    position = 12
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        position += 8
        if name == b"data":
            return _locate_samples(form, position, length, size - position)
        if position + length > size:
            raise _truncated(f"WAV chunk {name!r}", size - position, length)
        if name == b"fmt ":
            form = _parse_format(file.read(length))
        position += length + length % 2  # chunks are padded to even lengths
    raise InputError(
        "WAV file",
        got=f"{size} bytes without samples",
        expected="a data chunk",
        cause="the file is truncated",
    )


def _parse_format(chunk: bytes) -> tuple[int, ...]:
    """(encoding, channels, sample rate, bytes of a frame, bits) of a fmt chunk."""
    if len(chunk) < 16:
        raise _truncated("WAV chunk b'fmt '", len(chunk), 16)
    encoding, channels, rate, _, frame_bytes, bits = struct.unpack("<HHIIHH", chunk[:16])
    if encoding == EXTENSIBLE and len(chunk) >= 40 and chunk[26:40] == EXTENSIBLE_GUID:
        encoding = struct.unpack("<H", chunk[24:26])[0]
    return encoding, channels, rate, frame_bytes, bits


def _locate_samples(form: tuple[int, ...] | None, offset: int, length: int, remaining: int) -> _Wave:
    if form is None:
        raise InputError("WAV file", got="samples before any format", expected="a fmt chunk first")
    encoding, channels, rate, frame_bytes, bits = form
    if channels < 1 or rate < 1 or frame_bytes < 1:
        raise InputError(
            "WAV format",
            got=f"{channels} channels at {rate} Hz in frames of {frame_bytes} bytes",
            expected="at least 1 of each",
            cause="the header is damaged",
        )
    _check_rate(rate)
    wave = _Wave(encoding, bits, channels, rate, offset, frames=0)
    if wave.decode is None:
        return wave  # another reader judges the rest
    if frame_bytes != channels * bits // 8:
        raise InputError(
            "WAV format",
            got=f"frames of {frame_bytes} bytes",
            expected=f"{channels} × {bits} bits",
            cause="the header is damaged",
        )
    if length in UNKNOWN_LENGTHS:
        length = remaining - remaining % frame_bytes
    if length > remaining:
        raise _truncated("WAV samples", remaining, length)
    if length < frame_bytes:
        raise _no_samples()
    return _Wave(encoding, bits, channels, rate, offset, length // frame_bytes)


def _check_rate(rate: int) -> None:
    if rate not in RATES:
        raise InputError(
            "sample rate",
            got=f"{rate} Hz",
            expected=f"{RATES[0]} … {RATES[-1]} Hz",
            cause="the header is damaged",
        )


def _no_samples() -> InputError:
    return InputError("audio", got="no samples", expected="at least 1", cause="the recording has zero length")


def _read_wave(file: BinaryIO, wave: _Wave) -> NDArray[np.float32]:
    decode = wave.decode
    assert decode is not None  # chosen by the caller
    samples = np.empty(wave.frames, np.float32)
    file.seek(wave.offset)
    for start in range(0, wave.frames, BLOCK):
        block = samples[start : start + BLOCK]
        raw = file.read(len(block) * wave.channels * wave.bits // 8)
        _average(decode(raw).reshape(len(block), wave.channels), block, start)
    return samples


def _average(frames: NDArray[np.float32], out: NDArray[np.float32], start: int) -> None:
    """Mean of the channels (frames, channels) → (frames,), refusing what is no sound."""
    bad = ~(np.abs(frames) <= LARGEST_SAMPLE)  # true for NaN too
    if bad.any():
        frame, channel = (int(index) for index in np.argwhere(bad)[0])
        if np.isfinite(frames[frame, channel]):
            raise too_large(float(frames[frame, channel]), "audio")
        raise InputError(
            "audio",
            got=f"{frames[frame, channel]} at sample {start + frame}",
            expected="finite samples",
            cause="the program that wrote the file divided by zero or overflowed",
        )
    np.mean(frames, axis=1, out=out)


# everything else -------------------------------------------------------------------------------------------


def _describe(head: bytes) -> str:
    """What the first bytes look like, empty where they are no known audio."""
    magic = next((m for m in FOREIGN if head.startswith(m)), None)
    if magic is None:
        return ""
    return "MP3" if magic[0] == 0xFF or magic == b"ID3" else magic.decode().strip(".")


def _read_foreign(path: Path, format_name: str) -> Audio:
    """Read through soundfile. ``format_name``: what the bytes look like, empty where nothing is known."""
    not_audio = InputError(
        "audio file",
        got=format_name or "bytes that no reader recognises",
        expected="WAV, FLAC, MP3, Ogg or another format of libsndfile",
        cause="the file is damaged, not audio, or of an unsupported encoding",
    )
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the package without its C library
        if not format_name:
            raise not_audio from error
        raise BackendError(
            f"reading {format_name}",
            got="no module named soundfile",
            expected="soundfile",
            cause="pip install 'edge-export[audio]'",
        ) from error
    try:
        with soundfile.SoundFile(path) as file:
            _check_rate(int(file.samplerate))
            return Audio(_drain(file), int(file.samplerate))
    except soundfile.SoundFileError as error:
        raise not_audio from error
    except TypeError as error:  # soundfile takes a file named .raw for headerless samples
        raise not_audio from error


def _check_ogg_end(file: BinaryIO) -> None:
    """Refuse an Ogg file cut at a page: libsndfile takes what is left for the whole."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2 * 65307))  # the longest page, twice: the last one lies in there
    tail = file.read()
    page = tail.rfind(b"OggS")
    if page < 0 or not tail[page + 5 : page + 6] or not tail[page + 5] & 4:  # 4: last page of a stream
        raise InputError(
            "Ogg file",
            got="no last page",
            expected="a stream that ends",
            cause="the file is truncated, or its recording was interrupted",
        )


def _drain(file: Any) -> NDArray[np.float32]:
    """All samples of an open ``soundfile.SoundFile``, averaged over channels."""
    count = int(file.frames)
    if count == 0:
        raise _no_samples()
    if count > np.iinfo(np.int64).max // 8:
        raise InputError(
            "audio header",
            got="no length",
            expected="the number of samples",
            cause="it was streamed to a pipe; copy it with ffmpeg or sox into a file",
        )
    samples = np.empty(count, np.float32)
    for start in range(0, count, BLOCK):
        block = samples[start : start + BLOCK]
        frames = file.read(len(block), dtype="float32", always_2d=True)
        if len(frames) < len(block):
            raise InputError(
                "audio",
                got=f"{start + len(frames)} samples",
                expected=f"{count}",
                cause="the file is truncated",
            )
        _average(frames, block, start)
    return samples


# writing ---------------------------------------------------------------------------------------------------

_BYTES: dict[Subtype, int] = {"pcm16": 2, "pcm24": 3, "pcm32": 4, "float32": 4}


def write_wav(
    path: str | os.PathLike[str],
    samples: ArrayLike,
    sample_rate: int,
    subtype: Subtype = "pcm16",
    *,
    overwrite: bool = True,
) -> None:
    """Write one channel as WAV; the file is there whole or not at all.

    Args:
        path: of the file to make.
        samples: (n,), full scale ±1. PCM clips what exceeds it; float32 keeps it.
        sample_rate: Hz.
        subtype: how a sample is stored.
        overwrite: replace a file that is there.

    Raises:
        InputError: samples that are not (n,), empty, NaN or infinite, or too many for a WAV file (4 GiB).
        ConfigError: an unknown subtype or a sample rate below 1 Hz.
        TargetError: the file exists or cannot be written.
    """
    if subtype not in _BYTES:
        raise ConfigError("subtype", got=f"{subtype!r}", expected=" or ".join(_BYTES))
    if not 1 <= sample_rate < 1 << 30 or sample_rate != int(sample_rate):
        raise ConfigError("sample_rate", got=f"{sample_rate}", expected="a whole number of Hz, at least 1")
    x = np.asarray(samples)
    try:
        _check_writable(x, subtype)
    except InputError as error:
        raise error.within(str(path)) from error
    with replace_file(Path(path), overwrite=overwrite) as temporary, open(temporary, "wb") as file:
        file.write(_wave_header(len(x), int(sample_rate), subtype))
        for start in range(0, len(x), BLOCK):
            file.write(_encode(x[start : start + BLOCK], subtype))
        if len(x) * _BYTES[subtype] % 2:
            file.write(b"\0")


class WavWriter(AbstractContextManager["WavWriter"]):
    """A WAV file, PCM 16, that grows block by block: ``with WavWriter(path, rate) as file: file.write(x)``.

    The header is written at the end; a file that an exception left has none.

    Args:
        path: of the file to make.
        sample_rate: Hz.
    """

    def __init__(self, path: str | os.PathLike[str], sample_rate: int) -> None:
        self.path = path
        self.sample_rate = sample_rate
        self.count = 0  # samples written
        self._file = open(path, "wb")  # noqa: SIM115  closed by __exit__
        self._file.write(bytes(len(_wave_header(0, sample_rate, "pcm16"))))

    def write(self, samples: NDArray[Any]) -> None:
        """Append (n,) floats, full scale ±1; InputError as `write_wav`."""
        try:
            _check_writable(samples, "pcm16")
            _check_size(self.count + len(samples), "pcm16")
        except InputError as error:
            raise error.within(str(self.path)) from error
        self._file.write(_encode(samples, "pcm16"))
        self.count += len(samples)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._file.seek(0)
                self._file.write(_wave_header(self.count, self.sample_rate, "pcm16"))


def _check_writable(x: NDArray[Any], subtype: Subtype) -> None:
    if x.ndim != 1 or len(x) == 0:
        raise InputError(
            "samples", got=f"shape {x.shape}", expected="one channel of shape (n,), n at least 1"
        )
    if not np.issubdtype(x.dtype, np.floating):
        raise InputError(
            "samples",
            got=f"{x.dtype}",
            expected="floats in [-1, 1]",
            cause="divide integers by their full scale",
        )
    _check_size(len(x), subtype)
    for start in range(0, len(x), BLOCK):
        if not np.isfinite(x[start : start + BLOCK]).all():
            raise InputError("samples", got="NaN or infinity", expected="finite samples")


def _check_size(samples: int, subtype: Subtype) -> None:
    if samples * _BYTES[subtype] > 0xFFFFFFFF - 64:
        raise InputError("samples", got=f"{samples}", expected="less than 4 GiB, the limit of WAV")


def _wave_header(frames: int, sample_rate: int, subtype: Subtype) -> bytes:
    width = _BYTES[subtype]
    data = frames * width
    is_float = subtype == "float32"
    form = struct.pack(
        "<HHIIHH", FLOAT if is_float else PCM, 1, sample_rate, sample_rate * width, width, 8 * width
    )
    extra = b""
    if is_float:  # the standard asks for an extension size and a fact chunk where the encoding is not PCM
        form += struct.pack("<H", 0)
        extra = struct.pack("<4sII", b"fact", 4, frames)
    chunks = struct.pack("<4sI", b"fmt ", len(form)) + form + extra + struct.pack("<4sI", b"data", data)
    return struct.pack("<4sI4s", b"RIFF", 4 + len(chunks) + data + data % 2, b"WAVE") + chunks


def _encode(x: NDArray[Any], subtype: Subtype) -> bytes:
    if subtype == "float32":
        return x.astype("<f4").tobytes()
    width = _BYTES[subtype]
    full_scale = 2.0 ** (8 * width - 1)
    integers = np.clip(np.rint(x.astype(np.float64) * full_scale), -full_scale, full_scale - 1).astype("<i4")
    if width == 3:
        return integers.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return integers.astype(f"<i{width}").tobytes()
