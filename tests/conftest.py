"""Which tests need which libraries.

A part whose libraries are missing is skipped as a whole, and says so: right for a machine that has some of
the extras only. Where the environment variable EDGE_TEST_PARTS names the part, as in
``EDGE_TEST_PARTS=runtime,export``, or is ``all``, a missing library is an error instead, so that continuous
integration loses no tests in silence.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import pytest

VARIABLE = "EDGE_TEST_PARTS"
ALL = "all"
TESTS = Path(__file__).parent


class Part(NamedTuple):
    """Tests that stand or fall with some libraries."""

    place: str  # folder or file below tests/; the longest one that holds a test decides
    modules: tuple[str, ...]


_EXPORT = ("torch", "onnx", "onnxruntime", "coremltools")
_TRAINING = ("torch", "lightning", "matplotlib", "scipy", "cv2")
PARTS: Mapping[str, Part] = {
    "runtime": Part("runtime", ("numpy",)),
    "mel": Part("runtime/dsp/test_mel.py", ("librosa",)),
    "magnitude": Part("runtime/dsp/test_magnitude.py", ("librosa",)),
    "griffin-lim": Part("runtime/dsp/test_griffin_lim.py", ("librosa", "scipy")),
    "spectral": Part("runtime/dsp/test_spectral.py", ("scipy", "torch")),
    "resampling": Part("runtime/dsp/test_resampling.py", ("soxr",)),
    "perceptual": Part("runtime/dsp/test_perceptual.py", ("pesq", "pystoi")),
    "audio": Part("runtime/media/test_audio.py", ("soundfile",)),
    "wav": Part("runtime/media/test_wav.py", ("soundfile",)),
    "plausibility": Part("runtime/media/test_plausibility.py", ("soundfile",)),
    "containers": Part("runtime/media/test_containers.py", ("av",)),
    "pictures": Part("runtime/media/test_pictures.py", ("cv2",)),
    "video": Part("runtime/media/test_video.py", ("cv2", "hypothesis")),
    "frame-rate": Part("runtime/media/test_frame_rate.py", ("hypothesis",)),
    "masks": Part("runtime/media/test_masks.py", ("cv2", "hypothesis")),
    "pipelines": Part("runtime/pipelines", ("onnx", "onnxruntime", "soundfile", "cv2")),
    "ecog-pipeline": Part("runtime/pipelines/ecog_speech", (*_EXPORT, "h5py", "hypothesis", "pystoi")),
    "image-pipeline": Part(
        "runtime/pipelines/image_speech", (*_EXPORT, "diffusers", "transformers", "hypothesis")
    ),
    "backends": Part("runtime/backends", ("onnx", "onnxruntime")),
    "openvino": Part("runtime/backends/test_open_vino.py", ("onnx", "openvino")),
    "training": Part("training", _TRAINING),
    "phantom": Part("training/phantom", ("scipy", "librosa", "cv2", "h5py")),
    "export": Part("export", (*_EXPORT, "cv2")),
    "coreai": Part("export/to_coreai/test_exporter.py", (*_EXPORT, "coreai", "coreai_onnx")),
    "examples": Part("test_examples.py", _EXPORT),
    "fuzz": Part("fuzz", ("torch", "safetensors", "soundfile", "onnxruntime")),
    "end-to-end": Part("test_end_to_end.py", _EXPORT),
    "mel-inversion-end-to-end": Part(
        "test_mel_inversion_end_to_end.py", (*_EXPORT, *_TRAINING, "librosa", "h5py")
    ),
    "ecog-end-to-end": Part("test_ecog_end_to_end.py", (*_EXPORT, *_TRAINING, "h5py")),
    "image-parity": Part("export/image_speech/test_parity.py", (*_EXPORT, "diffusers", "transformers")),
    "image-ranking": Part(
        "export/image_speech/test_ranking.py", (*_EXPORT, "transformers", "tokenizers", "PIL")
    ),
    "picture-quality": Part("export/quality/test_picture.py", (*_EXPORT, "pesq", "pystoi")),
    "image-speech": Part(
        "training/image_speech", (*_EXPORT, *_TRAINING, "librosa", "diffusers", "transformers", "peft")
    ),
    "image-speech-parts": Part(
        "export/image_speech/test_bundles.py", (*_EXPORT, "diffusers", "transformers")
    ),
    "image-speech-chunks": Part("export/convert/test_chunks.py", (*_EXPORT, "diffusers", "transformers")),
    "image-speech-nets": Part(
        "export/catalog/test_image_speech_nets.py", (*_EXPORT, "diffusers", "transformers")
    ),
    "image-speech-end-to-end": Part(
        "test_image_speech_end_to_end.py", (*_EXPORT, *_TRAINING, "diffusers", "transformers", "peft")
    ),
    "mri-end-to-end": Part("test_mri_end_to_end.py", (*_EXPORT, *_TRAINING)),
}
# their libraries are of extras that `edge-export[all]` leaves out, and so does ``all``
APART = frozenset({"coreai"})


class MissingPart(pytest.Module):
    """Stands for a test file that is not imported, because its libraries are missing."""

    reason = ""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        pytest.skip(self.reason, allow_module_level=True)


def pytest_configure() -> None:
    # a shell starts background jobs with SIGINT ignored, and children would inherit that
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # tests that import these libraries themselves tell nobody either
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    named = {name.strip() for name in os.environ.get(VARIABLE, "").split(",")} - {""}
    if ALL in named:
        named = set(PARTS) - APART | named - {ALL}
    if unknown := sorted(named - set(PARTS)):
        raise pytest.UsageError(f"{VARIABLE}: no part {', '.join(unknown)}; the parts are {', '.join(PARTS)}")
    for name in sorted(named):
        if lacking := missing(PARTS[name].modules):
            raise pytest.UsageError(f"{VARIABLE} names {name}, but {', '.join(lacking)} is not installed")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Random numbers, and a stack for signal handlers, that do not depend on what ran before."""
    plain_signal_stack()
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


class SignalStack(ctypes.Structure):
    """stack_t."""

    _fields_ = (("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def plain_signal_stack() -> None:
    """Handlers run on the thread's own stack.

    Some native library gives this thread a stack for signals and later frees it. Python's handlers ask for
    such a stack, torch has one for the ends of loading processes, and the next such end kills a worker of
    pytest-xdist without a word (SIGSEGV, which faulthandler's own handler cannot report either).
    """
    if sys.platform == "linux":
        disabled = SignalStack(None, 2, 0)  # SS_DISABLE
        ctypes.CDLL(None).sigaltstack(ctypes.byref(disabled), None)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    part = part_of(module_path)
    lacking = missing(PARTS[part].modules) if part else ()
    if not lacking:
        return None
    module = MissingPart.from_parent(parent, path=module_path)
    module.reason = f"part {part}: {', '.join(lacking)} is not installed"
    return module


def part_of(path: Path) -> str:
    """The part that a test file belongs to; "" for what needs nothing."""
    if not path.is_relative_to(TESTS):
        return ""
    inside = path.relative_to(TESTS)
    holders = [name for name, part in PARTS.items() if inside.is_relative_to(part.place)]
    return max(holders, key=lambda name: len(PARTS[name].place), default="")


def missing(modules: tuple[str, ...]) -> tuple[str, ...]:
    """The modules that cannot be imported; looks for them without importing."""
    return tuple(module for module in modules if find_spec(module) is None)


@pytest.fixture(scope="session")
def tiny_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``sd``, ``auffusion`` and ``plbert`` of tiny random models; nobody changes them."""
    pytest.importorskip("diffusers", reason="tiny diffusion models need diffusers and transformers")
    from edge_training.image_speech.tiny import write_tiny_diffusion

    return write_tiny_diffusion(tmp_path_factory.mktemp("diffusion") / "tiny", 0)


@pytest.fixture
def disk_of(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a real file system of a size, as "128k", at most one a test."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = []

    def mount(size: str) -> Path:
        if sys.platform != "linux" or shutil.which("mount") is None or os.geteuid():
            pytest.skip("mounting a small file system needs Linux and root")
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"mount: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for disk in mounted:
        subprocess.run(["umount", disk], check=True)
