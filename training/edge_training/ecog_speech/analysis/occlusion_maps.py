"""The files of an occlusion analysis, and the command that writes them.

    OUT/occlusion.csv    a row for each group that was silenced, a column for PCC and each component
    OUT/occlusion.json   what was analysed; of each column the unit, its reliability, the noise level
    OUT/NAME.npy         the map (grid, grid), float64; NaN where no electrode is
    OUT/NAME.png         the same as a picture: grey where no electrode is, crossed below the noise level

Electrodes are numbered as in the recording, from 0: those of a hybrid grid 0 … 127, not by its 225 cells.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edge_runtime.compare import json_number
from edge_runtime.errors import ConfigError
from edge_runtime.store.ownership import holds_only
from edge_runtime.store.reading import find_object
from edge_runtime.store.targets import replace_directory
from edge_training.ecog_speech.analysis.held_out import held_out_trials
from edge_training.ecog_speech.analysis.occlusion import (
    COMPONENTS,
    UNITS,
    Occlusion,
    check_silence,
    electrode_groups,
    noise_level,
    occlude,
    real_electrodes,
)
from edge_training.ecog_speech.data import EcogData
from edge_training.ecog_speech.fit_config import refuse_bins
from edge_training.ecog_speech.teacher import ENCODER_FILE, open_teacher
from edge_training.engine.figures import new_figure, save_figure
from edge_training.weights.loading import load_net

FORMAT, RECORD, TABLE = "edge-occlusion/1", "occlusion.json", "occlusion.csv"

AnyPath = str | os.PathLike[str]


# ---- the command ------------------------------------------------------------------------------------------


def occlusion(
    data: AnyPath,
    checkpoint: AnyPath,
    out: AnyPath,
    *,
    teacher: AnyPath | None = None,
    patch: int | None = None,
    regions: Sequence[str] = (),
    silence: str = "zero",
    shuffled: Sequence[AnyPath] = (),
    every_trial: bool = False,
    config: AnyPath | None = None,
    changes: Mapping[str, Any] | None = None,
    weights: str | None = None,
    overwrite: bool = False,
    progress: Callable[[str], object] = lambda _: None,
) -> Path:
    """Write the maps of a decoder: which electrodes it depends on.

    Args:
        data: recording of one subject, HDF5, or a folder of recordings of one grid.
        checkpoint: weights of ecog-decoder.
        out: the folder to write.
        teacher: the pair of the first stage, as in training; its synthesizer makes the spectrograms. None:
            beside the checkpoint, or in it where it is a file of neural_speech_decoding.
        patch: electrodes a side of the patches that are silenced; 1 if not given.
        regions: NAME=3,4,17, in place of patches.
        silence: what a silenced electrode shows: "zero", as published, "mean" or "other"; see `occlude`.
        shuffled: weights of decoders that were trained on shuffled trials, for the noise level.
        every_trial: those of the training too, not only the ones that were kept for the test.
        config: of the decoders, where it does not lie beside the checkpoint.
        changes: entries that say which trials are held out, as in training: split, test_trials, coarse, …;
            they override those of the run that the weights lie in.
        weights: of a checkpoint with several sets: "ema", "live", or the name of one.
        overwrite: replace an earlier result at `out`.
        progress: called with a line of text now and then.

    Returns:
        `out`.

    Raises:
        ConfigError: regions beside patches, of another form, or with electrodes that do not exist; entries of
            something else than trials; a decoder of another grid.
        CheckpointError, InputError: weights or recordings that are refused.
        TargetError: `out` exists or cannot be written.
    """
    if regions and patch is not None:
        raise ConfigError("--region", got=f"--patch {patch} beside it", expected="one of both")
    level = check_silence(silence)
    said: list[str] = []
    trials = held_out_trials(Path(checkpoint), Path(data), changes, said)
    chosen = [*trials.train, *trials.test] if every_trial else trials.test
    if every_trial:
        said[:] = [f"all {len(chosen)} trials, those of the training too"]
    decoder = _open_decoder(checkpoint, config, weights, trials, said)
    place = Path(teacher) if teacher is not None else _beside(Path(checkpoint))
    _, synthesizer = open_teacher(
        place, bins=trials.bins, female=trials.female, weights=weights if teacher is None else None, said=said
    )
    refuse_bins(str(place), synthesizer.config.bins, trials.bins)
    groups = parse_regions(regions, trials.electrodes) or electrode_groups(trials.electrodes, patch or 1)
    controls = [_open_decoder(path, config, weights, trials, said) for path in shuffled]
    for sentence in said:
        progress(sentence)
    with replace_directory(out, overwrite, ours=_is_ours) as folder:

        def analyse(net: nn.Module) -> Occlusion:
            return occlude(net, synthesizer, trials, groups, silence=level, trials=chosen, progress=progress)

        found, noise = analyse(decoder), None
        if controls:
            progress(f"{len(controls)} trained on shuffled trials")
            others = [analyse(net) for net in controls]
            noise = {name: noise_level(others, name) for name in found.sums}
        write_maps(folder, found, noise=noise)
        write_record(
            folder / RECORD, found, noise,
            {"data": Path(data).name, "checkpoint": Path(checkpoint).name, "trials": len(chosen),
             "silence": level, "shuffled": [Path(path).name for path in shuffled]},
        )  # fmt: skip
    return Path(out)


def _open_decoder(
    checkpoint: AnyPath, config: AnyPath | None, weights: str | None, data: EcogData, said: list[str]
) -> nn.Module:
    loaded = load_net(checkpoint, "ecog-decoder", config, weights=weights)
    if loaded.config.electrodes != data.electrodes:
        raise ConfigError(
            str(checkpoint),
            got=f"a decoder of {loaded.config.electrodes} electrodes",
            expected=f"the {data.electrodes} of the data",
            cause="--set coarse=true takes the first 64 of a hybrid grid, extended=true 100",
        )
    said += loaded.said
    net: nn.Module = loaded.module.net
    return net


def _beside(checkpoint: Path) -> Path:
    if (checkpoint.parent / ENCODER_FILE).is_file():
        return checkpoint.parent
    if checkpoint.suffix == ".pth":
        return checkpoint
    raise ConfigError(
        "--teacher",
        got=f"none, and no {ENCODER_FILE} beside {checkpoint}",
        expected="the run of the first stage, its folder of weights, or a model_epoch file",
    )


def parse_regions(texts: Sequence[str], electrodes: int) -> dict[str, tuple[int, ...]]:
    """Named groups from NAME=3,4,17: name → cells of the grid.

    Args:
        electrodes: of the grid, 225 for a hybrid one, whose regions count its 128 electrodes.

    Raises:
        ConfigError: another form, a name that comes twice, an electrode that does not exist.
    """
    cells = real_electrodes(electrodes)
    found: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, equals, numbers = text.partition("=")
        name = name.strip()
        if not (name and equals and re.fullmatch(r"\s*\d+\s*(,\s*\d+\s*)*", numbers, re.ASCII)):
            raise ConfigError("--region", got=repr(text), expected="NAME=3,4,17: numbers of electrodes")
        if name in found:
            raise ConfigError("--region", got=f"{name} twice", expected="regions of different names")
        members = [int(number) for number in numbers.split(",")]
        if wrong := sorted({member for member in members if member >= len(cells)}):
            raise ConfigError(
                f"--region {name}", got=", ".join(map(str, wrong)), expected=f"0 … {len(cells) - 1}"
            )
        found[name] = tuple(cells[member] for member in dict.fromkeys(members))
    return found


# ---- files ------------------------------------------------------------------------------------------------


def write_occlusion(out: AnyPath, found: Occlusion, *, noise: Mapping[str, float] | None = None) -> Path:
    """Write a folder of maps and the table, as above without the record.

    Args:
        noise: level of "pcc" and each component that a change must exceed.

    Raises:
        TargetError: the folder exists or cannot be written.
    """
    with replace_directory(out) as folder:
        write_maps(folder, found, noise=noise)
    return Path(out)


def write_maps(folder: Path, found: Occlusion, *, noise: Mapping[str, float] | None = None) -> None:
    """Fill a folder: NAME.npy, NAME.png, occlusion.csv."""
    for name in found.sums:
        values = found.map(name)
        np.save(folder / f"{name}.npy", values)
        draw_map(folder / f"{name}.png", name, values, None if noise is None else noise[name])
    number = {cell: electrode for electrode, cell in enumerate(real_electrodes(found.electrodes))}
    changes = found.changes
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["group", "electrodes", *changes])
        for index, (name, members) in enumerate(found.groups.items()):
            row = [f"{values[index]:.6g}" for values in changes.values()]
            writer.writerow([name, " ".join(str(number[member]) for member in members), *row])
        if noise is not None:
            writer.writerow(["noise level", "", *(f"{noise[name]:.6g}" for name in changes)])


def write_record(
    path: Path, found: Occlusion, noise: Mapping[str, float] | None, origin: Mapping[str, Any]
) -> None:
    """occlusion.json: ``origin``, PCC of nothing silenced, and what is to be known of each column."""
    columns = {
        name: {
            "unit": UNITS[name],
            "reliability": json_number(round(found.reliability(name), 4)),
            "noise_level": None if noise is None else json_number(noise[name]),
        }
        for name in found.sums
    }
    record = {"format": FORMAT, **origin, "pcc": json_number(found.pcc), "columns": columns}
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def draw_map(path: Path, name: str, values: NDArray[np.float64], noise: float | None = None) -> None:
    """A map (grid, grid) as PNG, row 0 above; nothing, and a warning, without matplotlib."""
    figure = new_figure(4.6, 3.9)
    if figure is None:
        return
    axes = figure.add_axes((0.09, 0.1, 0.66, 0.78))
    axes.set_facecolor("0.75")  # where no electrode is
    image = axes.imshow(values, cmap="viridis", interpolation="nearest")
    figure.colorbar(image, cax=figure.add_axes((0.78, 0.1, 0.035, 0.78))).set_label(UNITS[name], fontsize=8)
    title = name if noise is None else f"{name}; × below the noise level, {noise:.3g}"
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("column", fontsize=8)
    axes.set_ylabel("row", fontsize=8)
    for each in figure.axes:
        each.tick_params(labelsize=7)
    if noise is not None:
        rows, columns = np.nonzero(np.nan_to_num(values, nan=np.inf) <= noise)
        axes.scatter(columns, rows, marker="x", s=900 / len(values) ** 1.5, color="red", linewidths=0.8)
    save_figure(figure, path)


def _is_ours(folder: Path) -> bool:
    if find_object(folder / RECORD).get("format") != FORMAT:
        return False
    maps = {f"{name}{suffix}" for name in ("pcc", *COMPONENTS) for suffix in (".npy", ".png")}
    return holds_only(folder, lambda name: name in maps | {RECORD, TABLE})
