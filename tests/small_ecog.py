"""Bundles of tiny nets of ECoG to speech."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_export.convert import export
from edge_runtime.store.bundle import Bundle

BINS = 128
DECODER: dict[str, Any] = {
    "family": "lstm", "electrodes": 16, "layers": 2, "units": 6, "classes": 5, "bins": BINS,
}  # fmt: skip
SYNTHESIZER: dict[str, Any] = {"bins": BINS, "harmonics": 6, "filter_samples": 8}
ENCODER: dict[str, Any] = {"bins": BINS}
STREAMING: dict[str, Any] = {"family": "resnet", "electrodes": 16, "causal": True, "wiring": "streaming"}
STATEFUL: dict[str, Any] = DECODER | {"causal": True, "wiring": "stateful"}
NETS = {"ecog-decoder": DECODER, "formant-synthesizer": SYNTHESIZER, "speech-encoder": ENCODER}


def small_bundle(net: str, folder: Path, config: dict[str, Any] | None = None, **options: Any) -> Bundle:
    """A bundle of random weights; ONNX in float32 alone if nothing else is asked for."""
    given: dict[str, Any] = {
        "random": 1, "config": config or NETS[net], "targets": ("onnx",), "precisions": ("fp32",),
    }  # fmt: skip
    return export(net, folder, **given | options)
