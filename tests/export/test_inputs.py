"""Which files an argument means; what cannot be meant is refused by name."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from edge_export.inputs import find_inputs, given_inputs
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.media.audio import read_audio, write_wav


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings, a mel, and what lies beside such."""
    place = tmp_path / "rec"
    (place / "more").mkdir(parents=True)
    for name in ("b.wav", "a.bin", "more/c.wav", ".hidden.wav"):
        write_wav(place / name, np.linspace(-0.1, 0.1, 100, dtype=np.float32), 8000)
    np.save(place / "mel.npy", np.zeros((80, 4), np.float32))
    (place / "notes.txt").write_text("hello")
    return place


def names(texts: list[str]) -> list[str]:
    return [path.name for path in find_inputs(texts).files]


def test_one_file_is_one(folder: Path) -> None:
    found = find_inputs([str(folder / "b.wav")])
    assert (found.files, found.several) == ((folder / "b.wav",), False)
    assert find_inputs(["gone.wav"]).files == (Path("gone.wav"),)  # its reader says so


def test_a_folder_is_its_inputs_by_their_bytes(folder: Path) -> None:
    found = find_inputs([str(folder)], ("sound", "array"))
    assert [path.name for path in found.files] == ["a.bin", "b.wav", "mel.npy"]
    assert found.several
    assert [path.name for path in found.passed_by] == ["notes.txt"]
    sound = find_inputs([str(folder)])  # of those that take sound alone
    assert [path.name for path in sound.passed_by] == ["mel.npy", "notes.txt"]
    (folder / "p.png").write_bytes(b"\x89PNG\r\n")
    assert [path.name for path in find_inputs([str(folder)], ("picture",)).files] == ["p.png"]


def test_patterns_and_lists(folder: Path) -> None:
    assert names([f"{folder}/*.wav"]) == ["b.wav"]
    assert names([f"{folder}/**/*.wav"]) == ["b.wav", "c.wav"]
    assert names([str(folder / "b.wav"), f"{folder}/[ab].*", str(folder / "b.wav")]) == ["b.wav", "a.bin"]
    assert find_inputs([f"{folder}/*.wav"]).several
    (folder / "take[1].wav").write_bytes(b"")
    assert names([str(folder / "take[1].wav")]) == ["take[1].wav"]  # a name, not a pattern


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["{}/q*.wav"], "got a pattern that matches no file"),
        (["{}/more/none"], None),
        (["https://example.org/a.wav?x=1"], "got a URL, expected a file; download it first"),
        (["s3://bucket/*.wav"], "got a URL"),
        (["{}/empty"], "got a folder without files"),
        (["{}/texts"], "got a folder with 1 files, none with sound"),
    ],
)
def test_what_means_no_file_is_refused(folder: Path, texts: list[str], words: str | None) -> None:
    (folder / "empty").mkdir()
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").write_text("hello")
    given = [text.format(folder) for text in texts]
    if words is None:
        assert len(find_inputs(given).files) == 1
        return
    with pytest.raises(InputError, match=words):
        find_inputs(given)


@pytest.mark.parametrize("twin", ["more/b.wav", "B.flac", "b.npy"])
def test_results_of_one_name_are_refused(folder: Path, twin: str) -> None:
    with pytest.raises(ConfigError, match=r"whose results would both be called [bB], expected names that"):
        _ = find_inputs([str(folder / "b.wav"), str(folder / twin)]).labelled


def test_arrays_of_one_file_have_results_of_their_own(folder: Path) -> None:
    given = [f"{folder}/m.npz:clean", f"{folder}/m.npz:noisy"]
    assert list(find_inputs(given).labelled) == ["m_clean", "m_noisy"]


class Pipe(io.TextIOWrapper):
    """Standard input with these bytes."""

    def __init__(self, content: bytes, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content))
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"RIFF" + bytes(40), "stdin"),
        (b"\x93NUMPY" + bytes(40), "stdin.npy"),
        (b"\x89HDF" + bytes(3_000_000), "stdin.h5"),
    ],
)
def test_standard_input_is_a_file_for_a_while(
    content: bytes, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(content))
    with given_inputs(["-"]) as inputs:
        (path,) = inputs.files
        assert (path.name, path.read_bytes() == content, inputs.several) == (name, True, False)
    assert not path.exists()


def test_standard_input_is_called_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(b"RIFF" + bytes(4) + b"WAVEfmt "))
    with pytest.raises(InputError, match=r"^standard input: WAV"), given_inputs(["-"]) as inputs:
        read_audio(inputs.files[0])


def test_standard_input_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Pipe(b"", terminal=True))
    with pytest.raises(InputError, match="-: got a terminal"), given_inputs(["-"]):
        pass
    monkeypatch.setattr("sys.stdin", Pipe(b""))
    with pytest.raises(InputError, match="-: got nothing on standard input"), given_inputs(["-"]):
        pass
    with pytest.raises(ConfigError, match="got - beside 1 more"), given_inputs(["-", "-"]):
        pass
    monkeypatch.setattr("edge_export.inputs.LARGEST", 100)
    monkeypatch.setattr("sys.stdin", Pipe(bytes(1000)))
    with pytest.raises(InputError, match="got more than 100 bytes"), given_inputs(["-"]):
        pass
