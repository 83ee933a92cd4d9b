"""The weights that ship: small, described truthfully, and computed with as torch does in float64."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_export.catalog import get_net
from edge_training.weights.reading import find_config, load_checkpoint, read_checkpoint, read_config

FOLDER = Path(__file__).resolve().parents[1] / "reference_data"
SHIPPED = sorted((FOLDER / "weights").glob("*.safetensors"))
GOLDENS: dict[str, dict[str, Any]] = json.loads((FOLDER / "manifest.json").read_text())["weights"]
OUTPUTS = {"audio-encoder": "features"} | {
    name: "audio" for name in GOLDENS if name.startswith(("hifigan", "istft-vocoder"))
}
# a net's own constants are float32 in float64 too: filter banks and transforms
CONSTANTS = 1e-5


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_the_card_is_of_this_file(file: Path) -> None:
    card = file.with_suffix(".md").read_text()
    assert hashlib.sha256(file.read_bytes()).hexdigest() in card
    assert "good for" in card


def test_together_they_are_small() -> None:
    assert sum(file.stat().st_size for file in SHIPPED) <= 35e6


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("name", OUTPUTS)
def test_goldens(name: str, dtype: torch.dtype, tolerance: float) -> None:
    istft = name.startswith("istft-vocoder")
    golden, net = GOLDENS[name], get_net("istft-vocoder" if istft else name)
    tolerance = max(tolerance, CONSTANTS) if istft else tolerance
    file = FOLDER / golden["file"]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == golden["sha256"]
    config = find_config(file)
    entries = {} if config is None else read_config(config)
    assert entries == golden["config"]
    module = net.build(net.settle(net.config_from_json(entries), None)).eval()
    load_checkpoint(module, read_checkpoint(file), net=net.name)
    arrays = FOLDER / "weights" / name
    given, expected = (
        torch.from_numpy(np.load(arrays / f"{array}.npy")).to(dtype) for array in ("mel", OUTPUTS[name])
    )
    with torch.no_grad():
        difference = (module.to(dtype)(given) - expected).abs().max()
    assert expected.std() > 0.01
    assert difference <= tolerance * (expected.max() - expected.min())
