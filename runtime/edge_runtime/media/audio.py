"""Audio files in and out: float32 in [−1, 1], one channel.

WAV (PCM 8/16/24/32, float 32/64, A-law, µ-law, also as WAVE_FORMAT_EXTENSIBLE) is read here
(`edge_runtime.media.wav`), because Python's ``wave`` has no floats. Other formats and encodings (FLAC, MP3,
Ogg, AIFF, RF64 …) are read by soundfile where it is installed, and formats that soundfile lacks (M4A, AAC,
WebM, AMR, WMA, the sound of a video) by PyAV or the program ffmpeg (`edge_runtime.media.containers`). The
contents decide, never the file's name.

Integers are divided by 2^(bits−1); channels are averaged. Writing multiplies by the same power of two,
rounds and clips: +1.0 becomes the largest integer instead of wrapping to the smallest, and a PCM 16 file
that was read is written back bit by bit. Both ways work block by block: memory grows only with the samples.

There is a warning for sound that is probably not what was meant (`edge_runtime.media.plausibility`).
"""

from __future__ import annotations

import os
import struct
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.dsp.resampling import resample
from edge_runtime.errors import BackendError, ConfigError, EdgeError, InputError, doubt
from edge_runtime.media import containers, formats
from edge_runtime.media.plausibility import Listener
from edge_runtime.media.wav import FLOAT, PCM, Wave, check_rate, doubt_encoding, no_samples, parse_wave
from edge_runtime.store.reading import open_regular
from edge_runtime.store.targets import replace_file

__all__ = ["Audio", "Subtype", "WavWriter", "read_audio", "resample", "write_wav"]

Subtype = Literal["pcm16", "pcm24", "pcm32", "float32"]

BLOCK = 1 << 18  # frames decoded or encoded at a time
EXPECTED = "a WAV, FLAC, MP3 or Ogg file"


@dataclass(frozen=True)
class Audio:
    """One channel of sound."""

    samples: NDArray[np.float32]  # (n,), full scale ±1; float files may exceed it
    sample_rate: int  # Hz

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


def read_audio(path: str | os.PathLike[str], sample_rate: int | None = None) -> Audio:
    """Read a file as one channel (samples,), full scale ±1, resampled to ``sample_rate`` (Hz) if given.

    Raises:
        InputError: the file is missing, empty, truncated, not audio, without samples, or has a damaged header
            (sample rates: `RATES`); samples are not finite or far beyond full scale.
        BackendError: the format needs soundfile, which is not installed.
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
    with open_regular(path, EXPECTED, what="audio file") as file:
        head = file.read(formats.HEAD)
        if not head:
            raise InputError("audio file", got="0 bytes", expected=EXPECTED)
        if head[:4] in (b"RIFF", b"RF64", b"BW64") and (len(head) < 12 or head[8:12] == b"WAVE"):
            wave = parse_wave(str(path), file, os.fstat(file.fileno()).st_size)
            if wave.decode is not None:
                return Audio(_read_wave(path, file, wave), wave.sample_rate)
            encoding = formats.Format(f"WAV with encoding {wave.encoding}, {wave.bits} bits", "audio", True)
            return _read_foreign(path, file, encoding)
        if head[:4] == b"OggS":
            _check_ogg_end(file)
        _doubt_end(path, head, os.fstat(file.fileno()).st_size)
        return _read_foreign(path, file, formats.recognise(head))


def _read_wave(path: Path, file: BinaryIO, wave: Wave) -> NDArray[np.float32]:
    decode = wave.decode
    assert decode is not None  # chosen by the caller
    samples = np.empty(wave.frames, np.float32)
    listener = Listener(wave.channels)
    file.seek(wave.offset)
    for start in range(0, wave.frames, BLOCK):
        block = samples[start : start + BLOCK]
        raw = file.read(len(block) * wave.channels * wave.bits // 8)
        if start == 0 and wave.channels == 1:
            doubt_encoding(str(path), wave, raw)
        listener.average(decode(raw).reshape(len(block), wave.channels), block, start)
    listener.judge(str(path))
    return samples


# everything else -------------------------------------------------------------------------------------------


def _read_foreign(path: Path, file: BinaryIO, form: formats.Format | None) -> Audio:
    """Read through soundfile, or PyAV. ``form``: what the bytes look like, None where nothing is known."""
    if form is not None and not form.by_libsndfile:
        return _read_container(path, file, form)
    not_audio = InputError(
        "audio file",
        got=f"{form.name} that libsndfile cannot read" if form else "bytes that no reader recognises",
        expected="WAV, FLAC, MP3, Ogg or another format of libsndfile",
        cause=formats.way_out(None, path.name),
    )
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the package without its C library
        if form is None:
            raise not_audio from error
        if containers.available():
            return _read_container(path, file, form)
        raise BackendError(
            f"reading {form.name}",
            got="no module named soundfile",
            expected="soundfile",
            cause="pip install 'edge-export[audio]'; PyAV or the program ffmpeg read it too",
        ) from error
    os.lseek(file.fileno(), 0, os.SEEK_SET)  # it reads past Python's buffer
    try:
        # its MP3 decoders print their own messages; ours is one sentence
        with containers.silent_stderr(), soundfile.SoundFile(file.fileno(), closefd=False) as sound:
            check_rate(int(sound.samplerate))
            samples, listener, rate = *_drain(sound), int(sound.samplerate)
    except soundfile.SoundFileError as error:
        if form is not None and containers.available():  # an encoding or a form that ffmpeg may know
            with suppress(InputError):
                return _read_container(path, file, form)
        raise not_audio from error
    listener.judge(str(path))
    return Audio(samples, rate)


def _read_container(path: Path, file: BinaryIO, form: formats.Format) -> Audio:
    """The sound of a format that libsndfile cannot read."""
    if form.kind == "other" or not containers.available():
        raise InputError(
            "audio file",
            got=form.name,
            expected="WAV, FLAC, MP3, Ogg or another format of libsndfile",
            cause=formats.way_out(form, path.name),
        )
    samples, rate, channels = containers.read_sound(path, file, form.name, formats.way_out(form, path.name))
    check_rate(rate)
    mixed = np.empty(len(samples), np.float32)
    listener = Listener(channels)
    for start in range(0, len(samples), BLOCK):
        listener.average(samples[start : start + BLOCK], mixed[start : start + BLOCK], start)
    listener.judge(str(path))
    return Audio(mixed, rate)


def _doubt_end(path: Path, head: bytes, size: int) -> None:
    """Warn where an AIFF, AU or Wave64 file ends before its header says; libsndfile takes what is there."""
    stated = 0
    if head[:4] == b"FORM":
        stated = 8 + int.from_bytes(head[4:8], "big")
    elif head[:4] == b".snd" and head[8:12] != b"\xff" * 4:
        stated = int.from_bytes(head[4:8], "big") + int.from_bytes(head[8:12], "big")
    elif head[:4] == b"riff":
        stated = int.from_bytes(head[16:24], "little")
    if stated > size + 1:  # a byte of padding
        doubt(
            InputError(
                f"{path}: audio header",
                got=f"{size} bytes",
                expected=f"{stated}, as it says",
                cause="what is there was read; the file is truncated, or its recorder was interrupted",
            )
        )


def _check_ogg_end(file: BinaryIO) -> None:
    """Refuse an Ogg file that was cut between pages: libsndfile would take the rest for the whole."""
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


def _drain(sound: Any) -> tuple[NDArray[np.float32], Listener]:
    """All samples of an open ``soundfile.SoundFile``, averaged over channels, and their listener."""
    count = int(sound.frames)
    if count == 0:
        raise no_samples()
    if count > np.iinfo(np.int64).max // 8:
        raise InputError(
            "audio header",
            got="no length",
            expected="the number of samples",
            cause="it was streamed to a pipe; copy it with ffmpeg or sox into a file",
        )
    try:
        samples = np.empty(count, np.float32)
    except MemoryError as error:
        raise InputError(
            "audio header",
            got=f"{count} samples",
            expected="no more than the memory holds",
            cause="the header is damaged",
        ) from error
    listener = Listener(sound.channels)
    for start in range(0, count, BLOCK):
        block = samples[start : start + BLOCK]
        frames = sound.read(len(block), dtype="float32", always_2d=True)
        if len(frames) < len(block):
            raise InputError(
                "audio",
                got=f"{start + len(frames)} samples",
                expected=f"{count}",
                cause="the file is truncated",
            )
        listener.average(frames, block, start)
    return samples, listener


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
    """Write one channel as WAV, whole or not at all.

    Args:
        path: of the file to make.
        samples: (n,), full scale ±1. PCM clips samples beyond it; float32 keeps them.
        sample_rate: Hz.
        subtype: how a sample is stored.
        overwrite: replace an existing file.

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

    The header is written at the end; a file that an exception left unfinished has none.

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
