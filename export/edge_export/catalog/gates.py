"""What a net's output must keep for ears, or for a renderer, whatever its largest error is.

`limits`: figure of `edge_export.proof.gates.measures` → bound. Bounds of PESQ, STOI and cosine are least
values, the others largest ones. A figure whose library is missing is not judged, and that is said; those that
numpy computes always are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

CASE = "sentence"  # the reference case that is judged


@dataclass(frozen=True)
class Gate:
    """The gate of a net.

    Args:
        kind: "sound", or "features" that drive a face.
        output: the tensor that is judged.
        limits: figure → bound.
        case: the reference case that is judged, of real speech.
    """

    kind: Literal["sound", "features"]
    output: str
    limits: Mapping[str, float]
    case: str = CASE


# float16 of the demonstration weights is ten times nearer (docs/gates.md)
SPEECH = MappingProxyType(
    {
        "log_mel_db": 0.5,
        "mr_stft_db": 1.0,
        "convergence": 0.05,
        "pesq": 4.3,
        "stoi": 0.99,
        "dnsmos_loss": 0.05,
    }
)
# windows of a face: the direction of the features, and how far the renderer moves the mouth with them
FACE = MappingProxyType({"cosine": 0.999, "scale_error": 0.01})
