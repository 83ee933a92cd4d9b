"""What this machine can do: libraries, backends, cores. The first thing to send with a question."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import dataclass

from edge_export.backends import BACKENDS, OPTIONAL, get_backend
from edge_runtime.backends import ort
from edge_runtime.media import ffmpeg

# distribution → what edge-export does with it
LIBRARIES = {
    "numpy": "the runtime",
    "scipy": "faster transforms",
    "soundfile": "reads flac, mp3, ogg",
    "av": "reads m4a, webm, sound of videos",
    "soxr": "resamples",
    "onnxruntime": "runs ONNX",
    "openvino": "runs ONNX",
    "opencv-python-headless": "reads videos",
    "h5py": "reads recordings of ECoG",
    "mne": "reads EDF and BrainVision",
    "praat-parselmouth": "measures pitch and formants",
    "torch": "builds and trains nets",
    "lightning": "trains",
    "safetensors": "reads checkpoints",
    "onnx": "writes ONNX",
    "coremltools": "writes Core ML",
    "coreai-onnx": "writes Core AI",
    "coreai-core": "writes and runs Core AI",
    "librosa": "oracle of tests and bench",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``state`` is a version, ``usable``, or why not."""

    subject: str
    state: str
    purpose: str


def doctor() -> list[Finding]:
    """Versions of the libraries that matter, the usability of every backend, and which of onnxruntime's
    devices start: each is tried on a net of one operation."""
    findings = [
        Finding("python", platform.python_version(), platform.platform()),
        Finding("cores", str(os.cpu_count()), platform.machine()),
    ]
    findings += [Finding(name, _version(name), purpose) for name, purpose in LIBRARIES.items()]
    program = "found" if ffmpeg.available() else "not installed"
    findings.append(Finding("ffmpeg", program, "reads what av would, where that is missing"))
    for name in (*BACKENDS, *OPTIONAL):
        backend = get_backend(name)
        state = backend.unavailable() or "usable"
        findings.append(Finding(f"backend {name}", state, f"executes {backend.target} artifacts"))
    for device in ort.devices:
        findings.append(Finding(f"device {device}", ort.trial(device) or "starts", "of onnxruntime"))
    return findings


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
