"""ONNX artifacts on onnxruntime: "cpu", "cuda", and its other execution providers by name.

Numbers are those of float32: TensorFloat-32, with which Nvidia's libraries would multiply otherwise, is off
unless `Tuning.tf32` turns it on. On CUDA cuDNN is asked for the algorithm that its heuristics name: to time
all of them, onnxruntime's default, takes 20 to 30 s for each new length, and chose slower ones (on an H100).

Providers that onnxruntime does not have are refused with the package that brings them. One that it has may
still fail to start, and onnxruntime would go on in silence on the processor: that is refused too.
"""

from __future__ import annotations

import contextlib
import io
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.backends.base import (
    Array,
    as_clause,
    check_device,
    check_request,
    load_library,
    refused,
    threads_in_words,
)
from edge_runtime.errors import BackendError

name = "onnxruntime"
target = "onnx"


@dataclass(frozen=True)
class Provider:
    """One of onnxruntime's execution providers: its name there, where it comes from, its options."""

    name: str
    cure: str  # a clause, for whom it is missing
    options: Mapping[str, str] = field(default_factory=dict)


# names and options: onnxruntime.ai/docs/execution-providers
PROVIDERS: Mapping[str, Provider] = {
    "cpu": Provider("CPUExecutionProvider", "every onnxruntime has it"),
    "cuda": Provider(
        "CUDAExecutionProvider",
        "pip install onnxruntime-gpu in place of onnxruntime",
        {"cudnn_conv_algo_search": "HEURISTIC"},
    ),
    "tensorrt": Provider(
        "TensorrtExecutionProvider", "pip install onnxruntime-gpu in place of onnxruntime, and TensorRT"
    ),
    "coreml": Provider(
        "CoreMLExecutionProvider", "onnxruntime for macOS has it", {"ModelFormat": "MLProgram"}
    ),
    "directml": Provider(
        "DmlExecutionProvider", "on Windows: pip install onnxruntime-directml in place of onnxruntime"
    ),
    "openvino": Provider(
        "OpenVINOExecutionProvider",
        "pip install onnxruntime-openvino in place of onnxruntime",
        {"precision": "FP32"},
    ),
    "xnnpack": Provider(
        "XnnpackExecutionProvider", "no package on PyPI has it: build onnxruntime with XNNPACK"
    ),
}
devices = tuple(PROVIDERS)
_NVIDIA = ("cuda", "tensorrt")
MOST_RECORDED = 16  # sets of shapes whose CUDA graphs, and memory, a session keeps; others run without
_NO_GRAPH = -1
# an ONNX file of one Relu on (1, 4)
_RELU = "CAg6PgoMCgF4EgF5IgRSZWx1EgR0aW55WhMKAXgSDgoMCAESCAoCCAEKAggEYhMKAXkSDgoMCAESCAoCCAEKAggEQgQKABAR"
_FATAL_ONLY = 4  # every other message also comes as an exception


@dataclass(frozen=True)
class Tuning:
    """What may be changed for speed on a device; the defaults are the numbers of float32, for any shapes.

    Args:
        tf32: on CUDA, multiply in TensorFloat-32: 10 bits of mantissa, tensor cores.
        cuda_graphs: on CUDA, record the net's kernels once for each set of shapes and replay them: for nets
            of many small kernels that are run in few shapes. Each set of shapes keeps its memory.
    """

    tf32: bool = False
    cuda_graphs: bool = False

    def options(self, device: str) -> dict[str, str]:
        """Provider options beyond the provider's own."""
        if device != "cuda":
            return {}
        return {"use_tf32": str(int(self.tf32))} | ({"enable_cuda_graph": "1"} if self.cuda_graphs else {})

    @property
    def words(self) -> str:
        """For `Session.detail`; empty where nothing is changed."""
        return "".join(f", {_flag(each.name)}" for each in fields(self) if getattr(self, each.name))

    def check(self, device: str) -> None:
        """BackendError where a setting does not exist on the device."""
        for each in fields(self):
            if getattr(self, each.name) and device != "cuda":
                raise BackendError(
                    f"--{_flag(each.name)}",
                    got=f"device {device}",
                    expected="cuda",
                    cause="no other device has this setting",
                )


def _flag(name: str) -> str:
    return name.replace("_", "-")


class OrtSession:
    """An ONNX file that onnxruntime has loaded."""

    def __init__(self, session: Any, path: str | Path, detail: str) -> None:
        self._session = session
        self._path = path
        self._outputs = [output.name for output in session.get_outputs()]
        self.detail = detail

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Arrays (batch, …) by name in and out; see `base.Session.run`."""
        try:
            values = self._values({key: np.asarray(inputs[key]) for key in inputs})
        except Exception as error:  # onnxruntime's exceptions have no common parent
            raise refused(name, self._path, error, doing="running") from error
        return dict(zip(self._outputs, values, strict=True))

    def _values(self, inputs: Mapping[str, Array]) -> list[Array]:
        values: list[Array] = self._session.run(self._outputs, dict(inputs))
        return values


@dataclass
class _Recorded:
    """Device memory of one set of shapes, which its CUDA graph reads and writes."""

    binding: Any
    inputs: dict[str, Any]  # name → OrtValue on the device
    options: Any


class RecordedSession(OrtSession):
    """An ONNX file on CUDA whose kernels are recorded once for each set of shapes, and replayed.

    A CUDA graph reads and writes the same addresses each time. So inputs are copied into memory that stays,
    and outputs, whose shapes the first run of a set of shapes tells, are bound to memory that stays.
    """

    def __init__(
        self, library: Any, session: Any, path: str | Path, detail: str, *, device: str = "cuda"
    ) -> None:
        super().__init__(session, path, detail)
        self._library = library
        self._device = device
        self._recorded: dict[tuple[Any, ...], _Recorded] = {}

    def _values(self, inputs: Mapping[str, Array]) -> list[Array]:
        arrays = {key: np.ascontiguousarray(array) for key, array in inputs.items()}
        shapes = tuple(sorted((key, array.shape, array.dtype.str) for key, array in arrays.items()))
        kept = self._recorded.get(shapes)
        if kept is None and len(self._recorded) == MOST_RECORDED:
            return self._unrecorded(arrays)
        if kept is None:
            kept = self._recorded[shapes] = self._record(arrays, len(self._recorded) + 1)
        for key, array in arrays.items():
            kept.inputs[key].update_inplace(array)
        self._session.run_with_iobinding(kept.binding, kept.options)
        return list(kept.binding.copy_outputs_to_cpu())

    def _unrecorded(self, arrays: Mapping[str, Array]) -> list[Array]:
        values: list[Array] = self._session.run(self._outputs, dict(arrays), self._run_options(_NO_GRAPH))
        return values

    def _record(self, arrays: Mapping[str, Array], number: int) -> _Recorded:
        """Bind memory for these shapes; a run without a graph tells the outputs' shapes."""
        values = {
            key: self._library.OrtValue.ortvalue_from_numpy(array, self._device, 0)
            for key, array in arrays.items()
        }
        plain = self._binding(values)
        for output in self._outputs:
            plain.bind_output(output, self._device)
        self._session.run_with_iobinding(plain, self._run_options(_NO_GRAPH))
        binding = self._binding(values)
        for output, value in zip(self._outputs, plain.get_outputs(), strict=True):
            binding.bind_ortvalue_output(output, value)
        return _Recorded(binding, values, self._run_options(number))

    def _binding(self, values: Mapping[str, Any]) -> Any:
        binding = self._session.io_binding()
        for key, value in values.items():
            binding.bind_ortvalue_input(key, value)
        return binding

    def _run_options(self, number: int) -> Any:
        options = self._library.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(number))
        return options


@dataclass(frozen=True)
class TunedBackend:
    """This backend with other settings than its own: it goes wherever a `base.Backend` does."""

    tuning: Tuning
    name: str = name
    target: str = target
    devices: tuple[str, ...] = devices

    def unavailable(self, device: str = "cpu") -> str:
        """Why it cannot run on a device here, or with these settings; "" when it can."""
        try:
            self.tuning.check(device)
        except BackendError as obstacle:
            return as_clause(obstacle)
        return unavailable(device)

    def open(self, path: str | Path, *, device: str = "cpu", threads: int | None = None) -> OrtSession:
        """Load an ONNX file with these settings; see `open`."""
        return open(path, device=device, threads=threads, tuning=self.tuning)


def unavailable(device: str = "cpu") -> str:
    """Why onnxruntime cannot run on a device here; "" when it can."""
    try:
        _library(device)
    except BackendError as obstacle:
        return as_clause(obstacle)
    return ""


def trial(device: str) -> str:
    """Why a net cannot run on a device here, found by running one of a single operation; "" when it can.

    Unlike `unavailable` it notices a provider that is installed and does not start.
    """
    try:
        session = _start(b64decode(_RELU), "a trial", device, None, Tuning())[1]
        session.run(None, {"x": np.zeros((1, 4), np.float32)})
    except BackendError as obstacle:
        return as_clause(obstacle)
    except Exception as error:  # onnxruntime's exceptions have no common parent
        return as_clause(refused(name, "a trial", error, doing="running"))
    return ""


def open(
    path: str | Path, *, device: str = "cpu", threads: int | None = None, tuning: Tuning | None = None
) -> OrtSession:
    """Load an ONNX file; `threads` work inside each operation on the processor."""
    check_request(name, path, threads)
    tuning = tuning or Tuning()
    library, session = _start(str(path), path, device, threads, tuning)
    provider = PROVIDERS[device].name
    detail = f"onnxruntime {library.__version__}, {provider}{tuning.words}, {threads_in_words(threads)}"
    if tuning.cuda_graphs:
        return RecordedSession(library, session, path, detail)
    return OrtSession(session, path, detail)


def _start(
    model: str | bytes, path: str | Path, device: str, threads: int | None, tuning: Tuning
) -> tuple[Any, Any]:
    """onnxruntime, and its session of a file or of a file's bytes, on a provider that has started."""
    tuning.check(device)
    library = _library(device)
    options = library.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    if device == "directml":
        options.enable_mem_pattern = False  # it supports none, as its documentation says
    provider = PROVIDERS[device]
    settings = {**provider.options, **tuning.options(device)}
    try:
        session = library.InferenceSession(model, sess_options=options, providers=[(provider.name, settings)])
    except Exception as error:  # onnxruntime's exceptions have no common parent
        raise refused(name, path, error, doing="loading") from error
    started = session.get_providers()
    if provider.name not in started:  # onnxruntime goes on without a provider that fails to start
        raise BackendError(
            f"{name} on {device}",
            got=f"{', '.join(started)} in place of {provider.name}",
            expected=f"{provider.name} to start",
            cause=_why_not_started(device),
        )
    return library, session


def _why_not_started(device: str) -> str:
    if device in _NVIDIA:
        return "its driver or libraries (CUDA, cuDNN) are missing or of another version"
    return "this machine lacks the hardware, the driver or a library that it needs"


def _library(device: str) -> Any:
    check_device(name, device, PROVIDERS)
    library = load_library(name, "onnxruntime", "ort")
    provider = PROVIDERS[device]
    installed = library.get_available_providers()
    if provider.name not in installed:
        raise BackendError(
            f"{name} on {device}",
            got=f"onnxruntime {library.__version__} with {', '.join(installed)}",
            expected=provider.name,
            cause=provider.cure,
        )
    if device in _NVIDIA:
        _prepare_nvidia(library)
    return library


def _prepare_nvidia(library: Any) -> None:
    """Load CUDA and cuDNN out of pip's packages where those are there, and keep cuDNN's refusals quiet.

    The packages are NVIDIA's, or torch, which brings its own CUDA on Windows.

    cuDNN says «No execution plans support the graph» where it has no plan without tensor cores, or none that
    adds the bias too; onnxruntime then takes another plan, and an error that matters is an exception as well.
    It logs this through the program's logger, to which the session's level does not apply.
    """
    library.set_default_logger_severity(_FATAL_ONLY)
    installed = any(find_spec(package) is not None for package in ("nvidia", "torch"))
    if installed and hasattr(library, "preload_dlls"):
        with contextlib.redirect_stdout(
            io.StringIO()
        ):  # what it misses shows when the provider does not start
            library.preload_dlls()
