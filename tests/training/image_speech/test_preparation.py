"""Prompts to pictures: files, what is skipped, what is continued, what is refused."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.errors import ConfigError, InputError, TargetError
from edge_runtime.media.audio import read_audio, write_wav
from edge_runtime.pipelines.image_speech.picture import picture_to_mel
from edge_training.image_speech.preparation import Preparation, Prepared, Source, open_source, prepare
from edge_training.image_speech.prompts import Prompt

RATE = 22050


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings short.wav, and long.wav, too long for a stretch by 2."""
    folder = tmp_path_factory.mktemp("voices")
    noise = np.random.default_rng(0).standard_normal(6 * RATE).astype(np.float32) / 10
    write_wav(folder / "short.wav", noise[:RATE], RATE)
    write_wav(folder / "long.wav", noise, RATE)
    return folder


def speaker(folder: Path, voices: Path, also: str = "") -> str:
    """A command that speaks the recording which is named like the text, and logs the text."""
    log, script = folder / "spoken.log", folder / "speak.sh"
    script.write_text(
        f'echo "$2" >> {shlex.quote(str(log))}\n{also}\ncp {shlex.quote(str(voices))}/"$2".wav "$1"\n'
    )
    return f"sh {shlex.quote(str(script))} {{wav}} {{text}}"


def spoken(folder: Path) -> list[str]:
    return (folder / "spoken.log").read_text().split()


def source(*texts: str) -> Source:
    return Source(tuple(Prompt(f"{n}-{text}", text) for n, text in enumerate(texts)))


def named(*texts: str) -> Source:
    """Names that do not depend on the texts."""
    return Source(tuple(Prompt(str(number), text) for number, text in enumerate(texts)))


def run(folder: Path, command: str, *texts: str, overwrite: bool = False) -> Prepared:
    chosen = Preparation(tts=command)
    return prepare(source(*texts), folder / "out", chosen, workers=1, overwrite=overwrite)


def test_the_manifest_names_pictures_of_what_was_spoken(tmp_path: Path, voices: Path) -> None:
    made = run(tmp_path, speaker(tmp_path, voices), "short", "long", "short")
    out = tmp_path / "out"
    assert made.clips == ("0-short", "2-short")
    assert list(made.skipped) == ["1-long"]
    assert "12.00 s after the stretch by 2" in made.skipped["1-long"]
    with (out / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["audio_prompt"]) for row in rows] == [("0-short", "short"), ("2-short", "short")]
    picture = np.load(out / rows[0]["mel_npy"])
    assert (picture.shape, picture.dtype) == ((256, 1024), np.float32)
    speech = read_audio(out / rows[0]["wav"])
    assert (len(speech.samples), speech.sample_rate) == (163840, 16000)
    # 16 bits of the recording move quiet bands
    mel = MelFrontEnd(PRESETS["auffusion"])(speech.samples)
    np.testing.assert_allclose(picture_to_mel(picture)[:, :190], mel[:, :190], atol=0.02)
    assert json.loads((out / "record.json").read_text())["skipped"] == dict(made.skipped)
    assert not (tmp_path / "out.partial").exists()


def test_files_do_not_depend_on_the_number_of_processes(tmp_path: Path, voices: Path) -> None:
    # without a stretch, as each process would compile librosa's
    spoken = dict.fromkeys(("0-short", "2-short"), voices / "short.wav")
    texts = Source(source("short", "long", "short").prompts, spoken)
    chosen = Preparation(stretch=1.0)
    one, two = (prepare(texts, tmp_path / f"with{n}", chosen, workers=n) for n in (1, 2))
    assert (one.clips, dict(one.skipped)) == (two.clips, dict(two.skipped))
    assert list(two.skipped) == ["1-long"]
    files = [path.relative_to(one.folder) for path in one.folder.rglob("*") if path.is_file()]
    assert len(files) == 2 * 3 + 2
    for file in files:
        assert (two.folder / file).read_bytes() == (one.folder / file).read_bytes(), file
    with pytest.raises(ConfigError, match="workers: got 0"):
        prepare(texts, tmp_path / "none", chosen, workers=0)


def test_an_interrupted_call_is_continued(tmp_path: Path, voices: Path) -> None:
    # breaks once, at the third prompt
    broken = 'if [ $(wc -l < "${0%/*}/spoken.log") = 3 ]; then echo lost >&2; exit 1; fi'
    command = speaker(tmp_path, voices, broken)
    with pytest.raises(InputError, match=r"prompt 2-short: .*it said: lost"):
        run(tmp_path, command, "short", "short", "short")
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "out.partial").is_dir()
    run(tmp_path, command, "short", "short", "short")
    assert len(spoken(tmp_path)) == 4, "the first two prompts were not spoken again"
    once = sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*"))
    assert len(once) == 3 * 3 + 3 + 2


@pytest.mark.parametrize(("stretch", "again"), [(2.0, ["other"]), (1.0, ["short", "other"])])
def test_other_texts_or_settings_begin_anew(
    tmp_path: Path, voices: Path, stretch: float, again: list[str]
) -> None:
    """The first prompt has the text of the call before, the second another."""
    shutil.copytree(voices, tmp_path / "voices")
    shutil.copy(voices / "short.wav", tmp_path / "voices" / "other.wav")
    command = speaker(tmp_path, tmp_path / "voices", 'test "$2" != lost || exit 1')
    with pytest.raises(InputError, match="exit status 1"):
        prepare(named("short", "short", "lost"), tmp_path / "out", Preparation(tts=command), workers=1)
    texts = named("short", "other")
    made = prepare(texts, tmp_path / "out", Preparation(tts=command, stretch=stretch), workers=1)
    assert spoken(tmp_path) == ["short", "short", "lost", *again]
    assert made.clips == ("0", "1")


def test_nothing_stays_where_the_first_prompt_fails(tmp_path: Path, voices: Path) -> None:
    with pytest.raises(InputError, match="exit status"):
        run(tmp_path, speaker(tmp_path, voices, "exit 1"), "short")
    with pytest.raises(InputError, match=r"--stretch 1\.7; and none of the other 1 prompts"):
        run(tmp_path, speaker(tmp_path, voices), "long", "long")
    assert {path.name for path in tmp_path.iterdir()} == {"speak.sh", "spoken.log"}


def test_only_our_own_folders_are_replaced(tmp_path: Path, voices: Path) -> None:
    command = speaker(tmp_path, voices)
    run(tmp_path, command, "short")
    with pytest.raises(TargetError, match="an existing folder"):
        run(tmp_path, command, "short")
    run(tmp_path, command, "short", "short", overwrite=True)
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(TargetError, match="files that edge-export did not write"):
        run(tmp_path, command, "short", overwrite=True)
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "thesis.txt").write_text("mine")
    with pytest.raises(TargetError, match="a folder of something else"):
        run(tmp_path, command, "short")
    assert (tmp_path / "out.partial" / "thesis.txt").read_text() == "mine"


def test_recordings_stand_in_for_the_command(tmp_path: Path, voices: Path) -> None:
    (tmp_path / "prompts").write_text("short|a word\nlong|nothing\nlost|gone\n")
    made = prepare(open_source(tmp_path / "prompts", voices), tmp_path / "out", workers=1)
    assert made.clips == ("short",)
    assert "12.00 s" in made.skipped["long"]
    assert "no recording" in made.skipped["lost"]
    with (tmp_path / "out" / "manifest.csv").open(newline="") as file:
        assert next(iter(csv.DictReader(file)))["audio_prompt"] == "a word"


def test_texts_may_lie_beside_the_recordings(tmp_path: Path, voices: Path) -> None:
    shutil.copy(voices / "short.wav", tmp_path)
    with pytest.raises(InputError, match=r"1 recordings and 0 prompts.*ID\.txt"):
        open_source(audio=tmp_path)
    (tmp_path / "short.txt").write_text("a word\n")
    found = open_source(audio=tmp_path)
    assert found.prompts == (Prompt("short", "a word"),)


def test_sources_that_contradict_each_other_are_refused(tmp_path: Path, voices: Path) -> None:
    (tmp_path / "prompts").write_text("hello\n")
    with pytest.raises(ConfigError, match="count: got beside prompts or recordings"):
        open_source(tmp_path / "prompts", count=3)
    with pytest.raises(InputError, match="without a common name, expected recordings named as the prompts"):
        open_source(tmp_path / "prompts", voices)
    with pytest.raises(InputError, match="no such folder"):
        open_source(audio=tmp_path / "nowhere")
    shutil.copy(voices / "short.wav", tmp_path / "a.wav")
    shutil.copy(voices / "short.wav", tmp_path / "a.flac")
    with pytest.raises(InputError, match="a second recording a"):
        open_source(audio=tmp_path)
    assert len(open_source(count=3).prompts) == 3
