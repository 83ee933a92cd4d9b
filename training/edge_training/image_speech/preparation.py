"""Training data of image-speech: prompts → speech → pictures, and the manifest that training reads.

    OUT/manifest.csv                id, audio_prompt, mel_npy, wav, phonemes; paths relative to it
    OUT/spectrograms/ID.npy         the picture, (256, 1024) float32 in 0 … 1, row 0 the highest band
    OUT/pictures/ID.png             the same with 8 bits, to look at
    OUT/speech/ID.wav               what the picture shows: 163 840 samples, 16 kHz, peak 0.95
    OUT/plbert_sentence_emb.npz     with a PL-BERT folder: emb (N, D) by rows of the manifest, model_id, ckpt,
                                    lang, and id
    OUT/record.json                 settings, clips, and why prompts were skipped

A prompt whose speech does not fit into 10.24 s is skipped and reported; nothing is cut. A command that fails
ends the call with its own words. Work happens in `OUT.partial` beside OUT, which a later call with the same
settings continues; OUT itself appears when everything is complete.

The seed's mel (of the power, HTK scale) is not made: vocoder and UNet were trained on the magnitude's Slaney
mel, and on the other both would see a picture of another brightness.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_runtime.dsp.mel import MelFrontEnd
from edge_runtime.errors import ConfigError, EdgeError, InputError
from edge_runtime.media.audio import read_audio, write_wav
from edge_runtime.media.pictures import write_png
from edge_runtime.pipelines.image_speech.picture import FRONT_END, SAMPLE_RATE, mel_to_picture
from edge_runtime.store.ownership import plain_name
from edge_runtime.store.reading import read_text
from edge_runtime.store.targets import replace_directory, replace_file
from edge_training.image_speech.partial import (
    CLIPS,
    EMBEDDINGS,
    MANIFEST,
    PLACES,
    PLAN,
    RECORD,
    RECORD_FORMAT,
    SPECTROGRAMS,
    SPEECH,
    Plan,
    Signature,
    is_prepared,
    partial_folder,
)
from edge_training.image_speech.prompts import Prompt, draw_prompts, read_prompts
from edge_training.image_speech.speech import DEFAULT_COMMAND, SpeechCommand, check_stretch, fitted
from edge_training.worker_processes import check_workers, finished

if TYPE_CHECKING:
    from edge_training.image_speech.plbert import Embedder

AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".m4a", ".aac")
COUNT, WORDS = 50, 9  # prompts, and words of one
COLUMNS = ("id", "audio_prompt", "mel_npy", "wav", "phonemes")

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """The settings of `prepare`. Raises ConfigError for a stretch that makes no speech."""

    tts: str = DEFAULT_COMMAND  # template of the command; not used where recordings are given
    stretch: float = 2.0  # times as long

    def __post_init__(self) -> None:
        check_stretch(self.stretch)


@dataclass(frozen=True)
class Source:
    """What is spoken and by whom."""

    prompts: tuple[Prompt, ...]
    recordings: Mapping[str, Path] | None = None  # by name of the prompt; None: the command speaks


@dataclass(frozen=True)
class Prepared:
    """The result of `prepare`."""

    folder: Path
    clips: tuple[str, ...]
    skipped: Mapping[str, str]  # name → why
    notes: tuple[str, ...] = ()


def open_source(
    prompts: str | os.PathLike[str] | None = None,
    audio: str | os.PathLike[str] | None = None,
    *,
    count: int | None = None,
    words: int | None = None,
    seed: int | None = None,
    word_list: str | os.PathLike[str] | None = None,
) -> Source:
    """The prompts of a file, or drawn ones; with the recordings of a folder, or to be spoken.

    Args:
        prompts: file of `read_prompts`; None: drawn ones, or with ``audio`` the texts ID.txt beside the
            recordings.
        audio: folder of recordings ID.wav (.flac .mp3 .ogg .m4a .aac), ID a prompt's.
        count, words, seed, word_list: of `draw_prompts`, 50 prompts of 9 words if not given.

    Raises:
        ConfigError: numbers of drawn prompts where there are others.
        InputError: files that cannot be read, no recording with a prompt.
    """
    drawing = {"count": count, "words": words, "seed": seed, "word_list": word_list}
    asked = [name for name, value in drawing.items() if value is not None]
    if asked and (prompts is not None or audio is not None):
        raise ConfigError(asked[0], got="beside prompts or recordings that are given", expected="one of them")
    if audio is None:
        if prompts is not None:
            return Source(tuple(read_prompts(prompts)))
        return Source(
            tuple(
                draw_prompts(
                    COUNT if count is None else count, WORDS if words is None else words, seed or 0, word_list
                )
            )
        )
    recordings = _recordings(Path(audio))
    if prompts is not None:
        texts = read_prompts(prompts)
        expected = f"recordings named as the prompts, {texts[0].name}.wav"
    else:
        beside = {name: path.with_suffix(".txt") for name, path in recordings.items()}
        texts = [
            Prompt(name, " ".join(read_text(path).split())) for name, path in beside.items() if path.is_file()
        ]
        expected = "a text ID.txt beside a recording ID.wav, or prompts as ID|prompt with --prompts"
    if not any(prompt.name in recordings for prompt in texts):
        got = f"{len(recordings)} recordings and {len(texts)} prompts without a common name"
        raise InputError(str(audio), got=got, expected=expected)
    return Source(tuple(texts), recordings)


def _recordings(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise InputError(str(folder), got=got, expected=f"a folder of {', '.join(AUDIO_SUFFIXES)}")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file():
            name = plain_name(path.stem, f"a recording in {folder}")
            if name in found:
                raise InputError(
                    str(path), got=f"a second recording {name}", expected="one, as " + found[name].name
                )
            found[name] = path
    return found


def prepare(
    source: Source,
    out: str | os.PathLike[str],
    preparation: Preparation | None = None,
    *,
    embedder: Embedder | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    progress: Say | None = None,
) -> Prepared:
    """Prepare all prompts into the folder ``out``; files as above.

    Args:
        source: of `open_source`.
        preparation: command and stretch.
        embedder: makes the embeddings; None: there are none.
        workers: processes; None: one for each processor. The files are the same.
        overwrite: replace an earlier result of this function.
        progress: called with a line of text for each prompt.

    Raises:
        ConfigError, BackendError: a command that is no template, or is not installed; fewer than one worker.
        InputError: the command failed, or no prompt is left (with the first one's reason).
        TargetError: ``out`` exists or cannot be written.
    """
    processes = check_workers(workers)
    chosen, target = preparation or Preparation(), Path(out)
    command = SpeechCommand(chosen.tts) if source.recordings is None else None
    with replace_directory(target, overwrite, ours=is_prepared) as fresh:
        plan = Plan(_settings(chosen, command), {p.name: _signature(p, source) for p in source.prompts})
        run = _Run(source, chosen, command, processes, progress or (lambda _: None))
        place = target.resolve().with_name(f"{target.resolve().name}.partial")
        with partial_folder(place, plan):
            _write_json(place / PLAN, plan.to_json())
            try:
                done, skipped = run.clips(place)
            finally:
                # a first prompt that fails leaves nothing to go on from
                if not any((place / CLIPS).glob("*/")):
                    shutil.rmtree(place)
            if not done:
                raise _nothing_left(skipped)
            spoken = embedder.write(fresh / EMBEDDINGS, done) if embedder is not None else None
            _finish(place, fresh, done, spoken.phonemes if spoken else [""] * len(done))
            reasons = {name: str(refusal) for name, refusal in skipped.items()}
            record = {"format": RECORD_FORMAT, "settings": plan.settings, "skipped": reasons}
            _write_json(fresh / RECORD, record | {"clips": [prompt.name for prompt in done]})
            shutil.rmtree(place)
    return Prepared(target, tuple(p.name for p in done), reasons, spoken.notes if spoken else ())


def _settings(chosen: Preparation, command: SpeechCommand | None) -> dict[str, object]:
    settings = {"stretch": chosen.stretch}
    return settings | ({"tts": command.template} if command is not None else {})


def _signature(prompt: Prompt, source: Source) -> Signature:
    """Text, and size and time of the recording, to recognise those of an earlier call."""
    path = (source.recordings or {}).get(prompt.name)
    if path is None:
        return [prompt.text]
    file = path.stat()
    return [prompt.text, file.st_size, file.st_mtime_ns]


def _nothing_left(skipped: Mapping[str, InputError]) -> InputError:
    """The first prompt's refusal, which says that the others were refused too."""
    first = next(iter(skipped.values()))
    others = f"and none of the other {len(skipped) - 1} prompts can be used" if len(skipped) > 1 else ""
    cause = "; ".join(text for text in (first.cause, others) if text)
    return InputError(first.what, got=first.got, expected=first.expected, cause=cause)


@dataclass(frozen=True)
class _Run:
    """One call of `prepare`."""

    source: Source
    preparation: Preparation
    command: SpeechCommand | None
    workers: int
    say: Say

    def clips(self, place: Path) -> tuple[list[Prompt], dict[str, InputError]]:
        """Write the clips that are missing; the prompts that have one, and the refusals of the others."""
        prompts = {prompt.name: prompt for prompt in self.source.prompts}
        earlier = [name for name in prompts if (place / CLIPS / name).is_dir()]
        for number, name in enumerate(earlier, 1):
            self.say(f"{number}/{len(prompts)}: {name} of an earlier call")
        task = partial(_write_clip, chosen=self.preparation, command=self.command, place=place)
        recordings = self.source.recordings or {}
        jobs = [(n, (prompt, recordings.get(n))) for n, prompt in prompts.items() if n not in earlier]
        refused: dict[str, InputError] = {}
        for number, (name, result) in enumerate(finished(task, jobs, self.workers), len(earlier) + 1):
            self.say(f"{number}/{len(prompts)}: {name} {prompts[name].text}")
            try:
                result()
            except _Unusable as unusable:
                refused[name] = unusable.refusal
                self.say(f"skipped {name}: {unusable.refusal}")
        done = [prompt for name, prompt in prompts.items() if name not in refused]
        return done, {name: refused[name] for name in prompts if name in refused}


def _write_clip(
    job: tuple[Prompt, Path | None], chosen: Preparation, command: SpeechCommand | None, place: Path
) -> None:
    """Write one clip's folder, whole or not at all."""
    prompt, recording = job
    with replace_directory(place / CLIPS / prompt.name) as fresh:
        spoken = _spoken(prompt, recording, command, fresh / "spoken.wav")
        where = prompt.name if command is not None else str(spoken)
        try:
            speech = fitted(read_audio(spoken, SAMPLE_RATE).samples, chosen.stretch)
        except InputError as refusal:
            raise _Unusable(refusal.within(where)) from refusal
        if command is not None:
            spoken.unlink()
        picture = mel_to_picture(MelFrontEnd(FRONT_END)(speech))
        write_wav(fresh / "speech.wav", speech, SAMPLE_RATE)
        np.save(fresh / "picture.npy", picture)
        write_png(fresh / "picture.png", np.rint(picture * 255).astype(np.uint8))


def _spoken(prompt: Prompt, recording: Path | None, command: SpeechCommand | None, wav: Path) -> Path:
    """The recording of a prompt: one that is there, or spoken now."""
    if command is None:
        if recording is None:
            refusal = InputError(f"prompt {prompt.name}", got="no recording", expected="one of that name")
            raise _Unusable(refusal)
        return recording
    try:
        command.speak(prompt.text, wav)
    except EdgeError as error:
        raise error.within(f"prompt {prompt.name}") from error
    return wav


class _Unusable(Exception):  # noqa: N818 - carries a refusal past those that end the call
    """One prompt cannot be used; the others are not affected."""

    def __init__(self, refusal: InputError) -> None:
        super().__init__(refusal)
        self.refusal = refusal


def _finish(place: Path, fresh: Path, done: Sequence[Prompt], phonemes: Sequence[str]) -> None:
    """Move the clips into folders of a kind, and write the manifest."""
    for folder, _ in PLACES.values():
        (fresh / folder).mkdir()
    for prompt in done:
        for file, (folder, suffix) in PLACES.items():
            (place / CLIPS / prompt.name / file).rename(fresh / folder / (prompt.name + suffix))
    rows = [
        (p.name, p.text, f"{SPECTROGRAMS}/{p.name}.npy", f"{SPEECH}/{p.name}.wav", spoken)
        for p, spoken in zip(done, phonemes, strict=True)
    ]
    with (fresh / MANIFEST).open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def _write_json(path: Path, value: object) -> None:
    with replace_file(path) as fresh:
        fresh.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
