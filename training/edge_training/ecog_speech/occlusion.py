"""Which electrodes a decoder depends on: silence some of them and measure what changes.

For every electrode, every k × k patch, or every named region: its input is set to 0, the mean of z-scores,
in all 144 frames of every test item; the synthesizer's noise stays the same. Reported are the drop of PCC
and, for each parameter, the mean change inside the response, weighted as the losses weigh it (on_stage ·
loudness on a scale of dB · share of voiced sound; frequencies / 400).

Maps are arrays of the electrodes; on a hybrid grid only the 128 cells that have one are silenced. The level
that a change must exceed (`noise_level`) comes from decoders that were trained on shuffled trials.

Source: Chen and others 2024, whose contribution is the drop of PCC.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_runtime.errors import ConfigError
from edge_runtime.media.pictures import colour, write_png
from edge_runtime.pipelines.ecog_speech.grids import HB_SIDE, hybrid_places
from edge_runtime.pipelines.ecog_speech.measures import correlation
from edge_runtime.store.targets import replace_directory
from edge_training.ecog_speech.data import EcogData, batch_of
from edge_training.ecog_speech.decoder_losses import on_db_above
from edge_training.ecog_speech.ecog_decoder import decode
from edge_training.ecog_speech.formant_synthesizer import FormantSynthesizer, draw_noise
from edge_training.ecog_speech.parameters import FRAMES, PARAMETERS

COMPONENTS = tuple(name for name in PARAMETERS if name != "amplitudes_h")
HERTZ = 400.0  # what frequencies are divided by
CELL = 24  # pixels of an electrode in a picture


@dataclass(frozen=True, eq=False)
class Occlusion:
    """The effect of silencing each group of electrodes."""

    groups: Mapping[str, tuple[int, ...]]  # name → electrodes
    changes: Mapping[
        str, NDArray[np.float64]
    ]  # "pcc" and each component → (groups,), how much it lost or moved
    pcc: float  # of nothing silenced
    electrodes: int

    def map(self, name: str) -> NDArray[np.float64]:
        """(grid, grid) of a component: each electrode the mean of its groups, NaN where it is in none."""
        return self._spread(self.changes[name])

    def blurred(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """(grid, grid): values of electrodes, (E,), as these groups can show them, to compare with a map."""
        return self._spread([float(values[list(members)].mean()) for members in self.groups.values()])

    def _spread(self, of_groups: Iterable[float]) -> NDArray[np.float64]:
        total, count = np.zeros(self.electrodes), np.zeros(self.electrodes)
        for change, members in zip(of_groups, self.groups.values(), strict=True):
            total[list(members)] += change
            count[list(members)] += 1
        side = round(self.electrodes**0.5)
        values = np.full(self.electrodes, np.nan)
        values[count > 0] = total[count > 0] / count[count > 0]
        return values.reshape(side, side)


def electrode_groups(electrodes: int, patch: int = 1) -> dict[str, tuple[int, ...]]:
    """Every electrode, or every k × k patch of the grid, by name; cells without an electrode are left out.

    Raises:
        ConfigError: a patch larger than the grid.
    """
    side = round(electrodes**0.5)
    if not 1 <= patch <= side:
        raise ConfigError("patch", got=str(patch), expected=f"1 … {side} electrodes a side")
    real = set(hybrid_places().tolist()) if electrodes == HB_SIDE**2 else set(range(electrodes))
    groups = {}
    for row in range(side - patch + 1):
        for column in range(side - patch + 1):
            cells = [(row + y) * side + column + x for y in range(patch) for x in range(patch)]
            members = tuple(cell for cell in cells if cell in real)
            if members:
                groups[f"{row}-{column}"] = members
    return groups


@torch.no_grad()
def occlude(
    decoder: nn.Module,
    synthesizer: FormantSynthesizer,
    data: EcogData,
    groups: Mapping[str, Sequence[int]],
    *,
    seed: int = 0,
    trials: int | None = None,
) -> Occlusion:
    """Silence each group in turn and decode the test items.

    Args:
        decoder, synthesizer: in evaluation mode.
        groups: name → electrodes.
        seed: of the synthesizer's noise, the same for all.
        trials: most test items; all if not given.

    Raises:
        ConfigError: an electrode that does not exist.
    """
    wrong = sorted({e for members in groups.values() for e in members if not 0 <= e < data.electrodes})
    if wrong or not groups:
        raise ConfigError(
            "electrodes", got=", ".join(map(str, wrong)) or "none", expected=f"0 … {data.electrodes - 1}"
        )
    count = len(data.validation_names) if trials is None else min(trials, len(data.validation_names))
    batch = {
        name: torch.from_numpy(values) if isinstance(values, np.ndarray) else values
        for name, values in batch_of([data.validation_item(clip) for clip in range(count)]).items()
    }
    base = _decoded(decoder, synthesizer, batch, batch["ecog"], seed)
    lost: dict[str, list[float]] = {name: [] for name in ("pcc", *COMPONENTS)}
    for members in groups.values():
        silenced = batch["ecog"].clone()
        silenced[:, :, list(members)] = 0
        other = _decoded(decoder, synthesizer, batch, silenced, seed)
        lost["pcc"].append(base["pcc"] - other["pcc"])
        for name in COMPONENTS:
            lost[name].append(_change(name, base, other, batch["on_stage"]))
    return Occlusion(
        {name: tuple(members) for name, members in groups.items()},
        {name: np.array(values) for name, values in lost.items()},
        base["pcc"],
        data.electrodes,
    )


def _decoded(
    decoder: nn.Module, synthesizer: FormantSynthesizer, batch: Mapping[str, Any], ecog: Tensor, seed: int
) -> dict[str, Any]:
    parameters: dict[str, Any] = dict(decode(decoder, ecog))
    uniform, normal, _ = draw_noise(FRAMES, 1, torch.Generator().manual_seed(seed))
    made = synthesizer.spectrogram(parameters, batch["noisesample"], uniform, normal).clamp(max=1)
    pairs = zip(made.numpy(), batch["spectrogram"].numpy(), strict=True)
    parameters["pcc"] = float(np.mean([correlation(x, y) for x, y in pairs]))
    return parameters


def _change(name: str, base: Mapping[str, Tensor], other: Mapping[str, Tensor], on_stage: Tensor) -> float:
    """Mean absolute change inside the response, weighted by loudness and share."""
    weight = on_stage * on_db_above(base["loudness"])
    row = 1 if "noise" in name else 0
    if "formants" in name or name == "f0_hz":
        weight = weight * base["amplitudes"][:, row : row + 1]
    one, two = base[name], other[name]
    if name == "loudness":
        one, two = on_db_above(one), on_db_above(two)
    scale = HERTZ if name.endswith("_hz") else 1.0
    difference = (one - two).abs() / scale
    return float((difference * weight).sum() / (weight.sum() * difference.shape[1] + 1e-12))


def noise_level(occlusions: Sequence[Occlusion], name: str) -> float:
    """Level that a change must exceed: mean and two deviations over decoders trained on shuffled trials."""
    values = np.concatenate([occlusion.changes[name] for occlusion in occlusions])
    return float(values.mean() + 2 * values.std())


def write_occlusion(
    out: str | os.PathLike[str], occlusion: Occlusion, *, noise: Mapping[str, float] | None = None
) -> Path:
    """Write a folder of maps, NAME.npy and NAME.png, and occlusion.csv with one row for each group.

    Raises:
        TargetError: the folder exists or cannot be written.
    """
    with replace_directory(out) as folder:
        for name in occlusion.changes:
            values = occlusion.map(name)
            np.save(folder / f"{name}.npy", values)
            write_png(folder / f"{name}.png", heat_map(values))
        with (folder / "occlusion.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["group", "electrodes", *occlusion.changes])
            for index, (name, members) in enumerate(occlusion.groups.items()):
                row = [f"{values[index]:.6g}" for values in occlusion.changes.values()]
                writer.writerow([name, " ".join(map(str, members)), *row])
            if noise is not None:
                writer.writerow(["noise level", "", *(f"{noise[name]:.6g}" for name in occlusion.changes)])
    return Path(out)


def heat_map(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """(grid, grid) as a picture, the first row above; cells without an electrode are grey."""
    known = np.isfinite(values)
    low, high = (float(values[known].min()), float(values[known].max())) if known.any() else (0.0, 1.0)
    level = (np.nan_to_num(values, nan=low) - low) / (high - low or 1.0)
    picture = colour(level, "viridis")
    picture[~known] = 128
    return np.ascontiguousarray(picture.repeat(CELL, 0).repeat(CELL, 1))
