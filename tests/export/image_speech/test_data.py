"""`edge-export data image-speech`: options that belong together, what is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from edge_export.__main__ import main
from edge_export.image_speech.data import write_image_speech_data
from edge_runtime.errors import ConfigError
from edge_runtime.media.audio import write_wav


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """One that fits, with the text and phonemes beside it, and one that does not."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    noise = np.random.default_rng(0).standard_normal(16000 * 12).astype(np.float32) / 10
    for name, samples in (("a", noise[:16000]), ("b", noise)):
        write_wav(folder / f"{name}.wav", samples, 16000)
        (folder / f"{name}.txt").write_text(f"prompt {name}\n")
    (folder / "phones").write_text("a|h ə\nb|ə h\n")
    return folder


def test_what_was_made_and_skipped_is_said(
    recordings: Path, tiny_diffusion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, given = tmp_path / "out", ["--phonemes", str(recordings / "phones")]
    given += ["--plbert", str(tiny_diffusion / "plbert"), "--stretch", "1"]
    assert main(["data", "image-speech", "--out", str(out), "--audio", str(recordings), *given]) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}: 1 prompts, 1 skipped\n"
    assert "skipped b: " in said.err
    assert "12.00 s after the stretch by 1" in said.err
    assert (out / "manifest.csv").read_text().splitlines()[
        1
    ] == "a,prompt a,spectrograms/a.npy,speech/a.wav,h ə"
    with np.load(out / "plbert_sentence_emb.npz") as archive:
        assert archive["emb"].shape == (1, 32)


def test_a_command_that_fails_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = f"{shutil.which('sh')} -c 'echo lost voice >&2; exit 7' {{wav}} {{text}}"
    assert (
        main(["data", "image-speech", "--out", str(tmp_path / "out"), "--count", "1", "--tts", command]) == 2
    )
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith("got exit status 7, expected 0; it said: lost voice")
    )
    assert not list(tmp_path.iterdir())


def test_options_without_the_one_that_they_belong_to_are_refused(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="phonemes and language: got no plbert"):
        write_image_speech_data(tmp_path / "out", audio=recordings, language="de")
    with pytest.raises(ConfigError, match="tts: got beside recordings of --audio"):
        write_image_speech_data(tmp_path / "out", audio=recordings, tts="say {wav} {text}")
