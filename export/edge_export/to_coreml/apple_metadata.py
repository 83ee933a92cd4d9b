"""What Core ML packages and Core AI assets say of a net beside its program, as Xcode shows it."""

from __future__ import annotations

import json
from typing import Any

from edge_export.catalog import ConfigT, Net

AUTHOR = "edge-export"
LICENSE = "of the weights: see the checkpoint's own; the conversion adds no terms"


def user_metadata(net: Net[ConfigT], config: ConfigT, source_sha256: str) -> dict[str, str]:
    """What an app needs to feed the net, as text: Xcode and `MLModel` show it beside the model."""
    entries: dict[str, Any] = {"net": net.name, "config": config.to_json()}
    geometry, front_end = net.geometry(config), net.front_end(config)
    entries |= {"hop_length": geometry.hop_length, "context_frames": geometry.context_frames}
    if front_end is not None:
        entries |= {"sample_rate": front_end.sample_rate, "mel": front_end.to_json()}
    if source_sha256:
        entries["source_sha256"] = source_sha256
    return {
        f"edge_export.{name}": value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for name, value in entries.items()
        if value is not None
    }
