"""Recognises the format of a file by its first bytes, because names may be wrong.

The readers decide what can be read; this module names other formats and suggests what to do.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

Kind = Literal["audio", "video", "other"]
HEAD = 512  # bytes that `recognise` needs


@dataclass(frozen=True)
class Format:
    """A format, recognised from the first bytes of a file."""

    name: str  # as in a sentence: "an M4A file (AAC in MP4)"
    kind: Kind  # "video" may hold sound
    by_libsndfile: bool = False


def _audio(name: str, by_libsndfile: bool = False) -> Format:
    return Format(name, "audio", by_libsndfile)


# first bytes → format; the longest that fits is taken
MAGIC: dict[bytes, Format] = {
    b"RIFF": _audio("a RIFF file"),
    b"fLaC": _audio("FLAC", True),
    b"OggS": _audio("Ogg", True),
    b"ID3": _audio("MP3", True),
    b"FORM": _audio("AIFF", True),
    b".snd": _audio("AU", True),
    b"RF64": _audio("RF64", True),
    b"BW64": _audio("BW64", True),
    b"RIFX": _audio("RIFX", True),
    b"riff\x2e\x91\xcf\x11": _audio("Wave64", True),
    b"caff": _audio("CAF", True),
    b"NIST_1A": _audio("NIST SPHERE", True),
    b"#!AMR\n": _audio("AMR"),
    b"#!AMR-WB\n": _audio("AMR-WB"),
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": Format("ASF (WMA, WMV)", "video"),
    b"\x1a\x45\xdf\xa3": Format("WebM or Matroska", "video"),
    b"FLV\x01": Format("Flash video", "video"),
    b"\0\0\x01\xba": Format("MPEG", "video"),
    b"\0\0\x01\xb3": Format("MPEG", "video"),
    b"MAC ": _audio("Monkey's Audio"),
    b"wvpk": _audio("WavPack"),
    b"TTA1": _audio("True Audio"),
    b"DSD ": _audio("DSD"),
    b"FRM8": _audio("DSD"),
    b"\x0b\x77": _audio("AC-3"),
    b"\x7f\xfe\x80\x01": _audio("DTS"),
    b".RMF": Format("RealMedia", "video"),
    b"MThd": Format("MIDI, notes without sound", "other"),
    b"PK\x03\x04": Format("a zip archive", "other"),
    b"PK\x05\x06": Format("an empty zip archive", "other"),
    b"\x1f\x8b": Format("a gzip archive", "other"),
    b"BZh": Format("a bzip2 archive", "other"),
    b"\xfd7zXZ\0": Format("an xz archive", "other"),
    b"\x28\xb5\x2f\xfd": Format("a Zstandard archive", "other"),
    b"7z\xbc\xaf\x27\x1c": Format("a 7-Zip archive", "other"),
    b"Rar!": Format("a RAR archive", "other"),
    b"%PDF": Format("a PDF", "other"),
    b"\x89PNG": Format("a PNG picture", "other"),
    b"\xff\xd8\xff": Format("a JPEG picture", "other"),
    b"GIF8": Format("a GIF picture", "other"),
    b"BM": Format("a BMP picture", "other"),
    b"II*\0": Format("a TIFF picture", "other"),
    b"MM\0*": Format("a TIFF picture", "other"),
    b"\x93NUMPY": Format("a numpy array (.npy)", "other"),
    b"\x89HDF": Format("an HDF5 file", "other"),
    b"MATLAB": Format("a MATLAB file", "other"),
    b"\x7fELF": Format("a program", "other"),
    b"MZ": Format("a program", "other"),
    b"version https://git-lfs": Format("a Git LFS pointer, not the file (git lfs pull)", "other"),
    b"#EXTM3U": Format("a playlist", "other"),
}
# the brand after `ftyp` of an ISO base media file, by its beginning
BRANDS: dict[bytes, Format] = {
    b"M4A": _audio("M4A (AAC or ALAC in MP4)"),
    b"M4B": _audio("M4B, an audio book in MP4"),
    b"qt": Format("QuickTime (MOV)", "video"),
    b"3g": Format("3GP", "video"),
    b"hei": Format("a HEIC picture", "other"),
    b"mif1": Format("a HEIF picture", "other"),
    b"avif": Format("an AVIF picture", "other"),
}


def recognise(head: bytes) -> Format | None:
    """The format of a file by its first `HEAD` bytes; None where nothing fits."""
    if head[4:8] == b"ftyp":
        brand = next((form for name, form in BRANDS.items() if head[8:12].startswith(name)), None)
        return brand or Format("MP4", "video")
    if head[:4] == b"RIFF":
        return {
            b"WAVE": _audio("WAV"),
            b"AVI ": Format("AVI", "video"),
            b"WEBP": Format("a WebP picture", "other"),
        }.get(head[8:12], MAGIC[b"RIFF"])
    if head[:4] == b"\x1a\x45\xdf\xa3":
        webm = b"webm" in head[:64] or b"matroska" not in head[:64]
        return Format("WebM" if webm else "Matroska", "video")
    fits = [magic for magic in MAGIC if head.startswith(magic)]
    return MAGIC[max(fits, key=len)] if fits else _by_pattern(head)


def _by_pattern(head: bytes) -> Format | None:
    """Formats without a fixed magic."""
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # MPEG audio's eleven bits of sync
        layer, version = head[1] & 0x06, head[1] & 0x18
        if layer == 0 and head[1] & 0xF0 == 0xF0:  # the layer that MPEG leaves to ADTS
            return _audio("AAC")
        if layer and version != 0x08:
            return _audio("MP3", True)
    if head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G":
        return Format("an MPEG transport stream", "video")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--")):
        return Format("a web page, not the file that it offers", "other")
    if text.startswith((b"{", b"[")) and b"\0" not in text:
        return Format("JSON", "other")
    return None


def way_out(form: Format | None, name: str) -> str:
    """The cure for a file of that format that should be audio; "" where there is none."""
    if form is None:
        return "the file is damaged, not audio, or of an unsupported encoding"
    if form.kind == "other":
        return "it holds no sound; name the recording itself"
    stem = name.rpartition(".")[0] or name
    return (
        f"convert it: ffmpeg -i {_quoted(name)} {_quoted(stem + '_converted.wav')}; "
        "it is read as it is where PyAV (pip install 'edge-export[media]') or the program ffmpeg is installed"
    )


def _quoted(name: str) -> str:
    """A name as the machine's shell wants it."""
    return subprocess.list2cmdline([name]) if sys.platform == "win32" else shlex.quote(name)
