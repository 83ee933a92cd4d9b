"""Measures of Grad-CAM's maps: their share on the articulators, and the effect of hiding the lips.

    python -m edge_training.mri_speech.regions --checkpoint WEIGHTS VIDEO …

For each band and region, means over the pictures of all videos in which the net predicts the band within
20 dB of its loudest picture (a map of silence says nothing):

    area      the region's part of the picture, which is the share that a constant map has
    share     the part of the map that lies in the region
    masked    the share when the lips are hidden from the net (mask `lip`, alpha 0)
    moved     mean over pictures of half the sum of |map − map with hidden lips|, both scaled to sum 1:
              0 nothing moved, 1 everything did
    centre    distance that the map's centre of mass moves, pixels of 256
    control   both again for a patch as large as the lips, hidden at the back of the head
    power     change of the band's predicted power when the lips, or the tongue, are hidden, dB

`untrained` gives the shares of the same net with initial weights: the effect of the architecture alone.
Regions are polygons on 256 × 256 pixels: those of the masks, and the jaw with the tongue's floor below them.
They fit the synthetic speaker and videos that are cropped like mri2speech's.

These are properties of one net on some videos, not statements about how people speak.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_runtime.errors import EdgeError
from edge_runtime.media.masks import POLYGONS, Polygon, apply_mask, fill_polygon, mask_weights
from edge_runtime.media.video import prepare_frames
from edge_training.mri_speech.gradcam import (
    DEFAULT_BANDS,
    FormantCam,
    Maps,
    enlarged,
    formant_bins,
    net_statistics,
    parse_band,
    read_clip,
)
from edge_training.mri_speech.mri_acoustic import MriAcoustic
from edge_training.mri_speech.predicted_mels import load_net
from edge_training.weights.options import add_options, given_options

JAW = Polygon(((30, 152), (47.6, 155), (133.4, 172.2), (122, 200), (60, 206), (30, 194)))
REGIONS: Mapping[str, tuple[Polygon, ...]] = MappingProxyType(
    {
        "lips": (POLYGONS["lip"],),
        "tongue": (POLYGONS["tongue"],),
        "tongue and jaw": (POLYGONS["tongue"], JAW),
    }
)
HIDDEN = {
    "lip": POLYGONS["lip"],
    "tongue": POLYGONS["tongue"],
    "control": Polygon(((205, 84), (240, 84), (240, 156), (205, 156))),
}
LOUD_DB = 20.0  # below the loudest picture of a video
SIZE = 256  # pixels of a side of the maps

Figures = dict[str, dict[str, float]]  # band → name of a figure → value


def regions() -> dict[str, NDArray[np.bool_]]:
    """The regions as masks (256, 256), by name."""
    return {
        name: np.any([fill_polygon(part.scaled(SIZE, SIZE), SIZE, SIZE) for part in parts], axis=0)
        for name, parts in REGIONS.items()
    }


def measure(
    checkpoint: str | Path,
    videos: Iterable[str | Path],
    *,
    bands: Sequence[str] = DEFAULT_BANDS,
    config: str | Path | None = None,
    scaler: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
    weights: str | None = None,
) -> Figures:
    """The figures of a net on some videos; raises as `gradcam` does."""
    net = load_net(checkpoint, config, changes=changes, weights=weights)
    torch.manual_seed(0)
    initial = MriAcoustic(net.config)
    statistics = net_statistics(net, scaler)
    bins = {band.name: formant_bins(band, net.config.mel) for band in map(parse_band, bands)}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in bins}
    for video in videos:
        clip = read_clip(video, net)
        masked = {name: _prepared(net, clip.frames, area) for name, area in HIDDEN.items()}
        trained, untrained, *hidden = (
            FormantCam(model, statistics, frames)
            for model, frames in (
                (net, clip.prepared),
                (initial, clip.prepared),
                *((net, masked[name]) for name in HIDDEN),
            )
        )
        for name, places in bins.items():
            found[name].append(_figures(trained, untrained, dict(zip(HIDDEN, hidden, strict=True)), places))
    return {name: _means(rows) for name, rows in found.items()}


def _prepared(net: MriAcoustic, frames: NDArray[Any], hidden: Polygon) -> NDArray[np.float32]:
    """A video as the net's input, with a part of the picture hidden."""
    height, width = frames.shape[1:]
    weights = mask_weights(hidden, height, width, alpha=0.0)
    return prepare_frames(apply_mask(frames, weights), net.config.image_size, net.config.frame_scaling)


def _figures(
    trained: FormantCam, untrained: FormantCam, hidden: Mapping[str, FormantCam], bins: range
) -> dict[str, float]:
    power = trained.power(bins)
    loud = power >= power.max() * 10 ** (-LOUD_DB / 10)
    seen, start, without, control = (
        _shares(cam.sequence(bins)[loud]) for cam in (trained, untrained, hidden["lip"], hidden["control"])
    )
    figures: dict[str, float] = {}
    for name, region in regions().items():
        figures |= {
            f"{name}: area": float(region.mean()),
            f"{name}: share": _inside(seen, region),
            f"{name}: untrained": _inside(start, region),
            f"{name}: masked": _inside(without, region),
        }
    for name, other in (("lips", without), ("control", control)):
        figures[f"moved, {name} hidden"] = float(np.abs(seen - other).sum(axis=(1, 2)).mean() / 2)
        centres = _centres(seen) - _centres(other)
        figures[f"centre moved, {name} hidden, px"] = float(np.linalg.norm(centres, axis=1).mean())
    for name, cam in hidden.items():
        change = cam.power(bins).mean() / power.mean()
        figures[f"power, {name} hidden, dB"] = float(10 * np.log10(change))
    return figures


def _shares(cams: Maps) -> NDArray[np.float64]:
    """Maps (T, 256, 256), each scaled to sum 1; a map of zeros becomes constant."""
    maps = enlarged(cams, SIZE, SIZE).astype(np.float64)
    sums = maps.sum(axis=(1, 2), keepdims=True)
    return np.where(sums > 0, maps / np.where(sums > 0, sums, 1), 1 / SIZE**2)


def _inside(shares: NDArray[np.float64], region: NDArray[np.bool_]) -> float:
    return float(shares[:, region].sum(axis=1).mean())


def _centres(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, 2) pixels: x, y."""
    places = np.arange(SIZE)
    return np.stack([shares.sum(axis=1) @ places, shares.sum(axis=2) @ places], axis=1)


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def table(figures: Figures) -> str:
    """The figures as text."""
    lines = []
    for band, values in figures.items():
        lines.append(f"{band:18}{'area':>8}{'share':>8}{'ratio':>8}{'untrained':>11}{'lips hidden':>13}")
        for name in REGIONS:
            area, share, initial, masked = (
                values[f"{name}: {what}"] for what in ("area", "share", "untrained", "masked")
            )
            lines.append(
                f"  {name:16}{area:8.3f}{share:8.3f}{share / area:8.2f}{initial:11.3f}{masked:13.3f}"
            )
        lines += [f"  {name}: {value:.3f}" for name, value in values.items() if ":" not in name]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns 2 after printing one sentence for a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m edge_training.mri_speech.regions", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--checkpoint", type=Path, required=True, help="weights of mri-acoustic")
    parser.add_argument("--config", type=Path, help="the net's configuration, if not beside it")
    parser.add_argument("--scaler", type=Path, help="mean and deviation, if the net has none")
    parser.add_argument("--formant-band", action="append", help="NAME:LOW-HIGH in Hz; repeat")
    parser.add_argument("--json", type=Path, help="write the figures as JSON too")
    add_options(parser)
    given = parser.parse_args(arguments)
    try:
        figures = measure(
            given.checkpoint,
            given.videos,
            bands=given.formant_band or DEFAULT_BANDS,
            config=given.config,
            scaler=given.scaler,
            **given_options(given),
        )
    except EdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(table(figures))
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
