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
SPOKEN = "utterance"  # the same of nets that see a speaker instead of hearing one: the phantom's

Feed = Literal["mel", "windows", "spectrogram", "spectrum", "video", "ecog"]
Stage = Literal["", "griffin-lim", "istft", "vocoder", "synthesizer"]


@dataclass(frozen=True)
class Gate:
    """The gate of a net.

    Args:
        kind: "sound", or "features" that drive a face.
        output: the tensor that is judged, or of which the sound is made.
        limits: figure → bound.
        case: the reference case that is judged, of real speech.
        feed: what the net takes of speech, see `edge_export.proof.gates.feeding`.
        through: the rest of the pipeline, which makes sound of the net's outputs, see
            `edge_export.proof.gates.sounding`; "" where the output is sound itself.
    """

    kind: Literal["sound", "features"]
    output: str
    limits: Mapping[str, float]
    case: str = CASE
    feed: Feed = "mel"
    through: Stage = ""


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
# sound whose phases are found by iterations: rounding of 1e-6 already leads them elsewhere (0.1 dB of
# log-mel), float16 by 1.8 dB and PESQ 4.17; noise of 2.6 dB on the magnitude gives 3.3 (docs/gates.md)
PHASELESS = MappingProxyType(
    {
        "log_mel_db": 2.5,
        "mr_stft_db": 3.0,
        "convergence": 0.25,
        "pesq": 3.9,
        "stoi": 0.96,
        "dnsmos_loss": 0.1,
    }
)
# windows of a face: the direction of the features, and how far the renderer moves the mouth with them
FACE = MappingProxyType({"cosine": 0.999, "scale_error": 0.01})
