"""A net in several bundles, for phones that load no file above 1 GB: `export sd-unet --chunks 2`.

OUT/first/  OUT/second/    bundles: outputs of the first are inputs of the second, by their names
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from edge_export.catalog.sd_unet_halves import FIRST, SECOND
from edge_export.convert.exporting import export
from edge_runtime.errors import ConfigError
from edge_runtime.store.bundle import Bundle, is_bundle
from edge_runtime.store.targets import replace_directory

HALVES = {"first": FIRST, "second": SECOND}


def export_chunks(
    net: str, out: str | os.PathLike[str], chunks: int, *, overwrite: bool = False, **options: Any
) -> dict[str, Bundle]:
    """Write both halves of a net, or nothing.

    Args:
        net: "sd-unet", the only net that is so large.
        out: the folder to write; refused if it exists.
        chunks: 2.
        overwrite: replace an older folder of halves (nothing else is ever replaced).
        options: as of `edge_export.convert.export`.

    Raises:
        ConfigError: another net, another number, or random weights, which are drawn for each half alone.
        EdgeError: as `edge_export.convert.export`.
    """
    if net != "sd-unet" or chunks != len(HALVES):
        raise ConfigError("--chunks", got=f"{chunks} for {net}", expected="2 for sd-unet")
    if options.get("random") is not None:
        raise ConfigError("--chunks", got="random weights", expected="a checkpoint, of which both halves are")
    if options.get("swift") is not None:
        raise ConfigError("--swift", got="two bundles", expected="one for each wrapper")
    with replace_directory(out, overwrite, ours=_holds_halves) as folder:
        made = {name: export(half, folder / name, **options) for name, half in HALVES.items()}
    return {name: Bundle(Path(out, name), bundle.manifest) for name, bundle in made.items()}


def _holds_halves(folder: Path) -> bool:
    entries = list(folder.iterdir())
    return bool(entries) and all(entry.name in HALVES and is_bundle(entry) for entry in entries)
