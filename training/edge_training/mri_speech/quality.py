"""How well a trained MriAcoustic predicts mels of clips that it was not trained on, beside the mean mel.

    python -m edge_training.mri_speech.quality --weights RUN/checkpoints/best/mri-acoustic.safetensors \\
        --data DIR

DIR is what `edge-export data mri` wrote; its validation clips are judged, each in one pass (mode full) or as
the mean of overlapping windows. Per clip, and in the mean over clips:

    correlation   Pearson's, of log-mel over time, band by band, mean over bands. A band that is constant in
                  the recording has none and is left out; one that is constant in the prediction counts as 0
    mse           mean (prediction − recording)², dB²
    baseline      the same error of the data's mean mel
    gain          10 log10 (baseline / mse), dB

twice: `db` of the mel that the net was trained on, `vocoder` of the natural logarithm of power not below
1e-5 that the vocoder is given (its mse in ln²). `pooled` takes all frames of all clips as one.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_training.mri_speech.data import MriData, MriSource
from edge_training.mri_speech.predicted_mels import Predictor, open_predictor
from edge_training.mri_speech.preparation import vocoder_mel
from edge_training.weights.options import add_options, given_options

FIGURES = ("correlation", "mse", "baseline", "gain")
LEAST = 1e-12  # smallest error in a gain

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Mels:
    """Mels of one clip, (T, n_mels): the recording's and the net's; and the data's mean mel."""

    truth: F64
    predicted: F64
    mean: F64  # (n_mels,)


@dataclass(frozen=True)
class MriQuality:
    """Figures of one net."""

    clips: Mapping[str, Mapping[str, float]]  # clip → figure → value, of the dB mel
    db: Mapping[str, float]  # mean over clips
    vocoder: Mapping[str, float]
    pooled: Mapping[str, float]  # of the dB mel
    bands: tuple[float, ...]  # correlation of each band, mean over clips

    def to_json(self) -> dict[str, Any]:
        return {
            "clips": self.clips,
            "db": self.db,
            "vocoder": self.vocoder,
            "pooled": self.pooled,
            "bands": list(self.bands),
        }


def judge(predictor: Predictor, data: MriData) -> MriQuality:
    """Figures of a net on the validation clips of its data.

    Raises:
        InputError: there are no validation clips.
    """
    if not data.validation_names:
        raise InputError(str(data.source.folder), got="no validation clips", expected="at least one")
    found = {}
    for index, name in enumerate(data.validation_names):
        item = data.validation_item(index)
        predicted = predictor.predict(item["frames"])
        truth, estimate = (
            np.asarray(mel * data.std + data.mean, np.float64) for mel in (item["mel"], predicted)
        )
        found[name] = Mels(truth, estimate, data.mean.astype(np.float64))
    given = {name: _as_given(mels) for name, mels in found.items()}
    clips = {name: figures(mels) for name, mels in found.items()}
    return MriQuality(
        clips=clips,
        db=_mean(clips),
        vocoder=_mean({name: figures(mels) for name, mels in given.items()}),
        pooled=figures(_pooled(list(found.values()))),
        bands=tuple(np.nanmean([correlations(mels) for mels in found.values()], axis=0)),
    )


def correlations(mels: Mels) -> F64:
    """(n_mels,) over time; NaN where the recording is constant, 0 where only the prediction is."""
    theirs, ours = (mel - mel.mean(axis=0) for mel in (mels.truth, mels.predicted))
    norms = np.square(theirs).sum(0) * np.square(ours).sum(0)
    found = (theirs * ours).sum(0) / np.sqrt(np.where(norms > 0, norms, 1))
    return np.where(np.ptp(mels.truth, axis=0) > 0, found, np.nan)


def figures(mels: Mels) -> dict[str, float]:
    """`FIGURES` of one clip, whose mels are (T, n_mels)."""
    mse = float(np.square(mels.predicted - mels.truth).mean())
    baseline = float(np.square(mels.mean - mels.truth).mean())
    return {
        "correlation": float(np.nanmean(correlations(mels))),
        "mse": mse,
        "baseline": baseline,
        "gain": _gain(baseline, mse),
    }


def _gain(baseline: float, mse: float) -> float:
    return 10 * float(np.log10(max(baseline, LEAST) / max(mse, LEAST)))


def _as_given(mels: Mels) -> Mels:
    """The mels as the vocoder's input."""
    truth, predicted = (vocoder_mel(mel).T.astype(np.float64) for mel in (mels.truth, mels.predicted))
    return Mels(truth, predicted, vocoder_mel(mels.mean[None])[:, 0].astype(np.float64))


def _pooled(mels: Sequence[Mels]) -> Mels:
    return Mels(
        np.concatenate([clip.truth for clip in mels]),
        np.concatenate([clip.predicted for clip in mels]),
        mels[0].mean,
    )


def _mean(clips: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Over clips; the gain is that of the mean errors."""
    mean = {name: float(np.mean([clip[name] for clip in clips.values()])) for name in FIGURES}
    return mean | {"gain": _gain(mean["baseline"], mean["mse"])}


def table(quality: MriQuality) -> str:
    """The figures as plain text."""
    rows = [*quality.clips.items(), ("mean, dB", quality.db), ("mean, vocoder's ln", quality.vocoder)]
    rows.append(("pooled, dB", quality.pooled))
    lines = [f"{'':20}" + "".join(f"{figure:>13}" for figure in FIGURES)]
    lines += [f"{name:20}" + "".join(f"{values[f]:13.3f}" for f in FIGURES) for name, values in rows]
    low = int(np.argmin(quality.bands))
    lines.append(f"lowest correlation of a band: {quality.bands[low]:.3f}, band {low}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: prints the table."""
    parser = argparse.ArgumentParser(description="Figures of a trained MriAcoustic on held-out clips.")
    parser.add_argument("--checkpoint", type=Path, required=True, help="weights of mri-acoustic")
    add_options(parser)
    parser.add_argument(
        "--config", type=Path, help="of the net; config.json beside the checkpoint if not given"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that `edge-export data mri` wrote")
    parser.add_argument("--mode", choices=("full", "window"), default="full")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    predictor = open_predictor(given.checkpoint, config=given.config, mode=given.mode, **given_options(given))
    net = predictor.config
    quality = judge(predictor, MriData(MriSource(given.data, net.image_size, net.n_mels)))
    print(table(quality))
    if given.json is not None:
        given.json.write_text(json.dumps(quality.to_json(), indent=2) + "\n")


if __name__ == "__main__":
    main()
