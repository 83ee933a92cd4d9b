"""What ``edge-export run image-speech`` writes, for every picture N = 000001 …

N_img.png              the picture, in colours
N_spec.png  N.npy      what is heard: grey, row 0 the highest band; 8 bits, and float32 (256, W) in 0 … 1
N.wav                  the speech, 16 bits
N_spec_colormap.png    with --colormap: the same in colours, from its smallest to its largest value
N_step_0010.png …      with --preview-every: the picture that is expected, as known at that step
prompts.csv            index, image_prompt, audio_prompt
ranking.csv            with --rank: index, seed, clip, clap, score and place among the samples of its pair

The score is the mean of the similarities that were asked for, each in standard deviations among the samples
of its pair.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import ConfigError
from edge_runtime.media.audio import write_wav
from edge_runtime.media.pictures import colour, write_png
from edge_runtime.pipelines.image_speech.batch import Job, plan_jobs
from edge_runtime.pipelines.image_speech.denoising import Call
from edge_runtime.pipelines.image_speech.pipeline import ImageSpeech, ImageSpeechResult

UPDATES = 20  # of the progress line for each picture
_BAR = 20  # characters


def write_result(
    pipeline: ImageSpeech,
    folder: Path,
    image_prompt: tuple[str, ...],
    audio_prompt: tuple[str, ...],
    phoneme_npz: Path | None,
) -> dict[str, Any]:
    """Make every picture and fill the folder; returns the entries for metadata.json."""
    plan = pipeline.plan
    jobs = plan_jobs(
        image_prompt, audio_prompt, phoneme_npz, rows=pipeline.rows, samples=plan.samples, seed=plan.seed
    )
    if pipeline.listens and phoneme_npz is not None and not audio_prompt:
        raise ConfigError(
            "--clap",
            got="embeddings without sentences",
            expected="the sentences of their rows too, as --audio-prompt @FILE",
            cause="CLAP compares the sound with words",
        )
    scores = []
    for job in jobs:
        watch = _Watch(pipeline, folder, job, len(jobs))
        result = pipeline.process(job.image_prompt, job.heard, seed=job.seed, tell=watch)
        write_picture(pipeline, folder, job, result)
        if pipeline.score is not None:
            seen = _rgb(result.picture)
            scores.append(pipeline.score(seen, result.samples, job.image_prompt, job.audio_prompt))
    rows = ((job.name, job.image_prompt, job.audio_prompt) for job in jobs)
    _write_table(folder / "prompts.csv", ("index", "image_prompt", "audio_prompt"), rows)
    if scores:
        _write_ranking(folder / "ranking.csv", jobs, scores)
    return {
        "executed_by": pipeline.executed_by,
        "sample_rate": pipeline.sample_rate,
        "samples": plan.columns * 160,
        "frames": plan.columns,
        "plan": asdict(plan) | {"steps": plan.count} | {f"{n}_start_step": s for n, s in plan.starts.items()},
        "seeds": {job.name: job.seed for job in jobs},
        "noise": "numpy.random.default_rng(seed).standard_normal, as float32",
    }


def write_picture(pipeline: ImageSpeech, folder: Path, job: Job, result: ImageSpeechResult) -> None:
    """The files of one picture."""
    write_png(folder / f"{job.name}_img.png", _rgb(result.picture))
    write_png(folder / f"{job.name}_spec.png", np.rint(result.spectrogram * 255).astype(np.uint8))
    np.save(folder / f"{job.name}.npy", result.spectrogram)
    write_wav(folder / f"{job.name}.wav", result.samples, pipeline.sample_rate)
    if pipeline.plan.colormap is not None:
        lowest, highest = float(result.spectrogram.min()), float(result.spectrogram.max())
        level = (result.spectrogram - lowest) / ((highest - lowest) or 1)
        write_png(folder / f"{job.name}_spec_colormap.png", colour(level, pipeline.plan.colormap))


class _Watch:
    """Tells how far a picture is, and writes its previews."""

    def __init__(self, pipeline: ImageSpeech, folder: Path, job: Job, pictures: int) -> None:
        self._pipeline, self._folder, self._job, self._pictures = pipeline, folder, job, pictures
        self._calls = pipeline.calls
        self._done = 0

    def __call__(self, call: Call, name: str) -> None:
        self._done += 1
        if self._done % max(1, self._calls // UPDATES) == 0 or self._done == self._calls:
            full = _BAR * self._done // self._calls
            bar = "█" * full + "░" * (_BAR - full)
            of = f"picture {self._job.number} of {self._pictures}"
            self._pipeline.progress(f"{of} [{bar}] step {self._done} of {self._calls}")
        every, step = self._pipeline.plan.preview_every, call.number + 1
        if every and step % every == 0 and name != "audio":
            place = self._folder / f"{self._job.name}_step_{step:04d}.png"
            write_png(place, _rgb(self._pipeline.expected(call)))


def _rgb(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(3, H, W) in 0 … 1 → uint8 (H, W, 3)."""
    return np.ascontiguousarray(np.rint(picture * 255).astype(np.uint8).transpose(1, 2, 0))


def _write_table(path: Path, names: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)


def _write_ranking(path: Path, jobs: Sequence[Job], scores: Sequence[Mapping[str, float]]) -> None:
    names = list(scores[0])
    total = np.zeros(len(jobs))
    place = np.zeros(len(jobs), int)
    for pair in range(jobs[-1].pair + 1):
        mine = [number for number, job in enumerate(jobs) if job.pair == pair]
        values = np.array([[scores[number][name] for name in names] for number in mine])
        total[mine] = standardised(values).mean(axis=1)
        place[[mine[number] for number in np.argsort(-total[mine], kind="stable")]] = range(1, len(mine) + 1)
    rows = [
        (job.name, job.seed, *(f"{score[name]:.6f}" for name in names), f"{value:.6f}", number)
        for job, score, value, number in zip(jobs, scores, total, place, strict=True)
    ]
    _write_table(path, ("index", "seed", *names, "score", "place"), rows)


def standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns of (samples, figures) in standard deviations from their means; 0 where all are equal."""
    spread = values.std(axis=0)
    return np.asarray((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1))
