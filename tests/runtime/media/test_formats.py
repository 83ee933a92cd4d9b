"""Formats are told by their bytes, and the sentence names the way out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge_runtime.errors import InputError
from edge_runtime.media.audio import read_audio
from edge_runtime.media.formats import recognise, way_out

HEADS: dict[bytes, str] = {
    b"\0\0\0\x1cftypM4A \0\0\0\0": "M4A",
    b"\0\0\0\x20ftypisom\0\0\2\0": "MP4",
    b"\0\0\0\x20ftypmp42\0\0\2\0": "MP4",
    b"\0\0\0\x14ftypqt  ": "QuickTime",
    b"\0\0\0\x14ftyp3gp4": "3GP",
    b"\xff\xf1\x50\x80": "AAC",
    b"\xff\xf9\x50\x80": "AAC",
    b"\xff\xfb\x90\x64": "MP3",
    b"\xff\xfa\x90\x64": "MP3",
    b"\xff\xe3\x90\x64": "MP3",
    b"ID3\4\0\0": "MP3",
    b"\x1a\x45\xdf\xa3\x9fB\x86\x81\1B\x82\x84webm": "WebM",
    b"\x1a\x45\xdf\xa3\x9fB\x86\x81\1B\x82\x88matroska": "Matroska",
    b"#!AMR\n<": "AMR",
    b"#!AMR-WB\n<": "AMR-WB",
    b"caff\0\1": "CAF",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9": "ASF",
    b"RIFF\0\0\0\0AVI LIST": "AVI",
    b"OggS\0\2": "Ogg",
    b"<!DOCTYPE html><html>": "a web page",
    b"\xef\xbb\xbf\n<html lang=en>": "a web page",
    b'{"error": "not found"}': "JSON",
    b"PK\x03\x04\x14": "a zip archive",
    b"\x93NUMPY\1\0": "a numpy array",
    b"version https://git-lfs.github.com/spec/v1": "a Git LFS pointer",
    b"G" + bytes(187) + b"G" + bytes(187) + b"G": "an MPEG transport stream",
}
UNREAD = (
    "M4A",
    "MP4",
    "QuickTime",
    "3GP",
    "AAC",
    "WebM",
    "Matroska",
    "ASF (WMA, WMV)",
    "AVI",
)


@pytest.mark.parametrize("head", HEADS)
def test_a_format_is_told_by_its_bytes(head: bytes) -> None:
    form = recognise(head)
    assert form is not None
    assert form.name.startswith(HEADS[head])


@pytest.mark.parametrize("head", [b"", b"hello world", b"\0" * 20, b"\xff\x00", b"\xff\xff\xff\xff"])
def test_what_is_unknown_is_not_guessed(head: bytes) -> None:
    form = recognise(head)
    assert form is None or form.name == "MP3"


@pytest.mark.parametrize("head", [head for head, name in HEADS.items() if name in UNREAD])
@pytest.mark.parametrize("installed", [True, False])
def test_recordings_that_nobody_here_reads_name_format_and_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes, installed: bool
) -> None:
    if installed:
        pytest.importorskip("av")
    else:
        monkeypatch.setattr("edge_runtime.media.containers.find_spec", lambda _: None)
        monkeypatch.setattr("edge_runtime.media.ffmpeg.available", lambda: False)
    path = tmp_path / "my memo.wav"
    path.write_bytes(head + bytes(3000))
    with pytest.raises(InputError, match=r"ffmpeg -i 'my memo\.wav' 'my memo_converted\.wav'") as refusal:
        read_audio(path)
    assert HEADS[head] in refusal.value.got
    assert re.search(r"edge-export\[media\].* or the program ffmpeg", str(refusal.value))


def test_what_holds_no_sound_is_not_for_ffmpeg(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"<!doctype html>" + bytes(100))
    with pytest.raises(InputError, match="got a web page, not the file that it offers") as refusal:
        read_audio(tmp_path / "a.wav")
    assert "ffmpeg" not in str(refusal.value)
    assert "not audio" in way_out(None, "x")


def test_the_command_is_quoted_for_the_machines_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    form = recognise(b"\0\0\0\x1cftypM4A \0\0\0\0")
    assert "ffmpeg -i 'my memo.m4a' 'my memo_converted.wav'" in way_out(form, "my memo.m4a")
    monkeypatch.setattr("sys.platform", "win32")
    assert 'ffmpeg -i "my memo.m4a" "my memo_converted.wav"' in way_out(form, "my memo.m4a")
