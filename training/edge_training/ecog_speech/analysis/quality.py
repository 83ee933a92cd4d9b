"""How well a trained decoder speaks on the test trials.

`python -m edge_export.quality.ecog_speech` prints the table.

PCC       correlation of spectrograms, all values of a trial's 128 frames; the mean over trials
beyond    the same after subtracting the average word (the mean of training trials, aligned by their onsets):
          the information on this trial; a decoder without information is near 0
STOI⁺     of the waveforms, from the parameters against the recording
MCD       mel cepstral distortion in dB
f0, formants, loudness    mean errors against the encoder's parameters: Hz, Hz (F1 … F4), dB, in voiced frames
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edge_runtime.pipelines.ecog_speech.measures import correlation, mel_cepstral_distortion, stoi_plus
from edge_runtime.pipelines.ecog_speech.recordings import window_start
from edge_training.ecog_speech.data import EcogData, batch_of
from edge_training.ecog_speech.decoders.ecog_decoder import decode
from edge_training.ecog_speech.formant_synthesizer import INPUTS, FormantSynthesizer, draw_noise
from edge_training.ecog_speech.parameters import FRAMES
from edge_training.ecog_speech.speech_encoder import SpeechEncoder

VOICED = 0.5  # share from which a frame counts as voiced


@dataclass(frozen=True)
class Figures:
    """Means over trials."""

    trials: int
    pcc: float
    beyond: float
    stoi_plus: float
    mcd_db: float
    f0_hz: float
    formants_hz: float
    loudness_db: float


@torch.no_grad()
def measure(
    decoder: nn.Module, encoder: SpeechEncoder, synthesizer: FormantSynthesizer, data: EcogData, seed: int = 0
) -> dict[str, Figures]:
    """Task → figures of its test trials, and those of all under "all"."""
    average = average_word(data)
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    for clip, trial in enumerate(data.test):
        batch = batch_of([data.validation_item(clip)])
        item = {name: torch.from_numpy(v) for name, v in batch.items() if isinstance(v, np.ndarray)}
        row = _trial(decoder, encoder, synthesizer, item, average, seed)
        tasks = data.recordings[trial.subject].tasks
        for name in {"all", tasks[trial.number] if tasks else "all"}:
            rows[name].append(row)
    return {
        name: Figures(len(group), **{key: _mean([row[key] for row in group]) for key in group[0]})
        for name, group in sorted(rows.items())
    }


def _mean(values: Sequence[float]) -> float:
    """Of those that are numbers; nan where none is."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def average_word(data: EcogData) -> NDArray[np.float32]:
    """(128, F): the mean of the training trials' spectrograms, each from 32 frames before its onset."""
    cut = []
    for trial in data.train:
        recording = data.recordings[trial.subject]
        first = window_start(trial.start, recording.frames)
        cut.append(recording.spectrogram[first : first + FRAMES])
    return np.asarray(np.mean(cut, axis=0), np.float32)


def _trial(
    decoder: nn.Module,
    encoder: SpeechEncoder,
    synthesizer: FormantSynthesizer,
    item: Mapping[str, torch.Tensor],
    average: NDArray[np.float32],
    seed: int,
) -> dict[str, float]:
    decoded = decode(decoder, item["ecog"])
    teacher = encoder.parameters_of(item["spectrogram"], item["gender"])
    noise = draw_noise(FRAMES, data_bins(item), torch.Generator().manual_seed(seed))
    made, wave = synthesizer(*(decoded[name] for name in INPUTS), item["noisesample"], *noise)
    x, y = (value[0, 0].numpy() for value in (made.clamp(max=1), item["spectrogram"]))
    scale = encoder.config.scale
    power = [scale.to_power(torch.from_numpy(value)).numpy() for value in (x, y)]
    heard = (item["on_stage"] * (teacher["amplitudes"][:, :1] > VOICED))[0, 0].bool().numpy()

    def error(name: str, rows: int) -> float:
        difference = (decoded[name] - teacher[name]).abs()[0, :rows].numpy()[:, heard]
        return float(difference.mean()) if heard.any() else float("nan")

    level = [10 * torch.log10(value["loudness"].clamp(min=1e-10)) for value in (decoded, teacher)]
    return {
        "pcc": correlation(x, y),
        "beyond": correlation(x - average, y - average),
        "stoi_plus": stoi_plus(wave[0, 0].numpy(), item["wave"][0, 0].numpy()),
        "mcd_db": mel_cepstral_distortion(*power),
        "f0_hz": error("f0_hz", 1),
        "formants_hz": error("freq_formants_hamon_hz", 4),
        "loudness_db": float((level[0] - level[1]).abs()[0, 0].numpy()[heard].mean())
        if heard.any()
        else float("nan"),
    }


def data_bins(item: Mapping[str, torch.Tensor]) -> int:
    """F of an item's spectrogram (1, 128, F)."""
    return int(item["spectrogram"].shape[-1])


def table(figures: Mapping[str, Figures]) -> str:
    """The figures as text, a task a row."""
    heads = ("trials", "PCC", "beyond", "STOI+", "MCD dB", "f0 Hz", "F1-4 Hz", "loud dB")
    digits = (0, 3, 3, 3, 2, 1, 1, 2)
    lines = [f"{'task':10}" + "".join(f"{head:>9}" for head in heads)]
    for name, row in figures.items():
        values = zip(asdict(row).values(), digits, strict=True)
        lines.append(f"{name:10}" + "".join(f"{value:9.{places}f}" for value, places in values))
    return "\n".join(lines)
