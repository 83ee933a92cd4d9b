"""onnxruntime runs what it is given and refuses in sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tests.runtime.backends import tiny_onnx

from edge_runtime.backends import ort
from edge_runtime.errors import BackendError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_onnx.write(tmp_path / "model.onnx")


def test_outputs_come_by_name_for_any_batch(model: Path) -> None:
    session = ort.open(model)
    for batch in (1, 3):
        inputs = tiny_onnx.inputs(batch)
        found = session.run(inputs)
        tiny_onnx.check(found, inputs)


def test_arrays_that_are_not_contiguous_are_taken_as_they_are(model: Path) -> None:
    inputs = {name: np.asfortranarray(array) for name, array in tiny_onnx.inputs(3).items()}
    tiny_onnx.check(ort.open(model).run(inputs), inputs)


def test_the_detail_names_version_provider_and_threads(model: Path) -> None:
    version = onnxruntime.__version__
    assert ort.open(model).detail == f"onnxruntime {version}, CPUExecutionProvider, threads: default"
    assert ort.open(model, threads=2).detail == f"onnxruntime {version}, CPUExecutionProvider, threads: 2"


def test_threads_reach_onnxruntime(model: Path) -> None:
    options = ort.open(model, threads=3)._session.get_session_options()
    assert options.intra_op_num_threads == 3


def test_the_cpu_is_available() -> None:
    assert ort.unavailable() == ""


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="this onnxruntime has CUDA"
)
def test_without_cuda_the_refusal_lists_what_is_installed(model: Path) -> None:
    with pytest.raises(BackendError) as refusal:
        ort.open(model, device="cuda")
    sentence = str(refusal.value)
    assert sentence.startswith(f"onnxruntime on cuda: got onnxruntime {onnxruntime.__version__} with ")
    assert "CPUExecutionProvider, expected CUDAExecutionProvider; pip install onnxruntime-gpu" in sentence
    assert ort.unavailable("cuda").startswith("pip install onnxruntime-gpu in place of onnxruntime: got ")


@pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="needs onnxruntime-gpu",
)
def test_with_cuda_the_numbers_are_those_of_float32(model: Path) -> None:
    session = ort.open(model, device="cuda")
    inputs = tiny_onnx.inputs(3)
    tiny_onnx.check(session.run(inputs), inputs)
    assert "CUDAExecutionProvider" in session.detail


class Library:
    """onnxruntime as far as a session is opened: what it is told is kept, what it starts is chosen."""

    __version__ = "9.9"

    def __init__(self, installed: list[str], started: list[str], path: Path) -> None:
        self.installed, self.started = installed, started
        self.told: list[object] = []
        self.SessionOptions = onnxruntime.SessionOptions
        self.path = path

    def get_available_providers(self) -> list[str]:
        return self.installed

    def set_default_logger_severity(self, level: int) -> None:
        self.told.append(("severity", level))

    def preload_dlls(self) -> None:
        print("Failed to load libcudnn.so.9")
        self.told.append("preload")

    def InferenceSession(self, _model: object, *, sess_options: object, providers: list[object]) -> object:
        self.told.append(providers)
        session = onnxruntime.InferenceSession(
            str(self.path), sess_options=sess_options, providers=["CPUExecutionProvider"]
        )
        session.get_providers = lambda: self.started
        return session


def installed(monkeypatch: pytest.MonkeyPatch, model: Path, provider: str, *, starts: bool = True) -> Library:
    """This machine as if its onnxruntime had a provider; the session itself runs on the processor."""
    both = [provider, "CPUExecutionProvider"]
    library = Library(both, both if starts else both[1:], model)
    monkeypatch.setattr(ort, "load_library", lambda *_: library)
    return library


CUDA = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}


@pytest.mark.parametrize(
    ("device", "tuning", "provider", "options"),
    [
        ("cpu", ort.Tuning(), "CPUExecutionProvider", {}),
        ("cuda", ort.Tuning(), "CUDAExecutionProvider", CUDA),
        ("cuda", ort.Tuning(tf32=True), "CUDAExecutionProvider", CUDA | {"use_tf32": "1"}),
        ("cuda", ort.Tuning(cuda_graphs=True), "CUDAExecutionProvider", CUDA | {"enable_cuda_graph": "1"}),
        ("tensorrt", ort.Tuning(), "TensorrtExecutionProvider", {}),
        ("coreml", ort.Tuning(), "CoreMLExecutionProvider", {"ModelFormat": "MLProgram"}),
        ("directml", ort.Tuning(), "DmlExecutionProvider", {}),
        ("openvino", ort.Tuning(), "OpenVINOExecutionProvider", {"precision": "FP32"}),
        ("xnnpack", ort.Tuning(), "XnnpackExecutionProvider", {}),
    ],
)
def test_each_device_is_a_provider_with_its_options(
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    device: str,
    tuning: ort.Tuning,
    provider: str,
    options: dict[str, str],
) -> None:
    library = installed(monkeypatch, model, provider)
    monkeypatch.setattr(ort, "find_spec", lambda name: name if name == "nvidia" else None)
    session = ort.open(model, device=device, tuning=tuning)
    assert library.told[-1] == [(provider, options)]
    assert (("severity", 4) in library.told, "preload" in library.told) == (
        device in ("cuda", "tensorrt"),
        device in ("cuda", "tensorrt"),
    )
    assert session.detail == f"onnxruntime 9.9, {provider}{tuning.words}, threads: default"
    assert capfd.readouterr() == ("", "")


def test_torch_brings_cuda_along_too(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = installed(monkeypatch, model, "CUDAExecutionProvider")
    monkeypatch.setattr(ort, "find_spec", lambda name: name if name == "torch" else None)
    ort.open(model, device="cuda")
    assert "preload" in library.told


def test_cuda_of_the_system_is_not_loaded_again(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = installed(monkeypatch, model, "CUDAExecutionProvider")
    monkeypatch.setattr(ort, "find_spec", lambda _name: None)
    ort.open(model, device="cuda")
    assert "preload" not in library.told


def test_a_provider_that_does_not_start_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, model, "CUDAExecutionProvider", starts=False)
    sentence = (
        "onnxruntime on cuda: got CPUExecutionProvider in place of CUDAExecutionProvider, expected "
        "CUDAExecutionProvider to start; its driver or libraries"
    )
    with pytest.raises(BackendError, match=sentence):
        ort.open(model, device="cuda")
    assert ort.unavailable("cuda") == ""
    assert ort.trial("cuda").startswith("its driver or libraries (CUDA, cuDNN) are missing")
    installed(monkeypatch, model, "DmlExecutionProvider", starts=False)
    with pytest.raises(BackendError, match="this machine lacks the hardware, the driver or a library"):
        ort.open(model, device="directml")


def test_devices_that_are_not_installed_are_named_with_their_package(model: Path) -> None:
    lacking = [
        name for name, each in ort.PROVIDERS.items() if each.name not in onnxruntime.get_available_providers()
    ]
    for device in lacking:
        with pytest.raises(
            BackendError, match=rf"onnxruntime on {device}: got .*{ort.PROVIDERS[device].cure}"
        ):
            ort.open(model, device=device)
    with pytest.raises(BackendError, match="onnxruntime: device: got tpu, expected coreml or cpu or cuda"):
        ort.open(model, device="tpu")


def test_settings_of_cuda_are_refused_elsewhere(model: Path) -> None:
    with pytest.raises(BackendError, match="--tf32: got device cpu, expected cuda; no other device"):
        ort.open(model, tuning=ort.Tuning(tf32=True))
    tuned = ort.TunedBackend(ort.Tuning(cuda_graphs=True))
    assert tuned.unavailable() == "no other device has this setting: got device cpu, expected cuda"


def test_a_tuned_backend_opens_with_its_settings(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = installed(monkeypatch, model, "CUDAExecutionProvider")
    tuned = ort.TunedBackend(ort.Tuning(tf32=True))
    assert ", tf32, " in tuned.open(model, device="cuda").detail
    assert library.told[-1] == [("CUDAExecutionProvider", CUDA | {"use_tf32": "1"})]


def test_recorded_sessions_bind_memory_once_for_each_set_of_shapes(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the processor, which has the bindings and no graphs: the same numbers in any order."""
    opened = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    session = ort.RecordedSession(onnxruntime, opened, model, "", device="cpu")
    monkeypatch.setattr(ort, "MOST_RECORDED", 2)
    for batch in (1, 3, 1, 5, 3):
        inputs = {name: array * batch for name, array in tiny_onnx.inputs(batch).items()}
        tiny_onnx.check(session.run(inputs), inputs)
    assert len(session._recorded) == 2
    with pytest.raises(BackendError, match="Got invalid dimensions"):
        session.run({"x": np.ones((2, 5), np.float32)})


def test_a_trial_runs_a_net_of_one_operation() -> None:
    assert ort.trial("cpu") == ""


@pytest.mark.parametrize("contents", [b"", b"hello", b"\x08\x08\x12"])
def test_a_file_that_is_no_model_is_a_sentence(
    tmp_path: Path, contents: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.onnx").write_bytes(contents)
    with pytest.raises(BackendError, match=r"bad\.onnx: loading with onnxruntime: got «\[ONNXRuntimeError\]"):
        ort.open(tmp_path / "bad.onnx")
    assert capfd.readouterr() == ("", "")


def test_an_unknown_operation_is_a_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tiny_onnx.write(tmp_path / "odd.onnx", activation="Reloo")
    with pytest.raises(BackendError, match=r"odd\.onnx: loading with onnxruntime: got «.*Reloo"):
        ort.open(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({}, "missing from input feed"),
        ({"x": np.ones((2, 5), np.float32)}, "Got invalid dimensions for input: x"),
        ({"x": np.ones((2, 4), np.float64)}, "Unexpected input data type"),
        ({"x": np.ones((2, 4), np.float32), "q": np.ones(1)}, "Invalid input name: q"),
    ],
)
def test_inputs_that_do_not_fit_are_a_sentence(
    model: Path, inputs: dict[str, np.ndarray], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    session = ort.open(model)
    with pytest.raises(BackendError, match=rf"model\.onnx: running with onnxruntime: got «.*{told}"):
        session.run(inputs)
    assert capfd.readouterr() == ("", "")


def test_a_failure_while_running_is_a_sentence_and_nothing_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    session = ort.open(tiny_onnx.write_failing(tmp_path / "model.onnx"))
    with pytest.raises(BackendError, match=r"running with onnxruntime: got «.*Reshape"):
        session.run(tiny_onnx.inputs(2))
    assert capfd.readouterr() == ("", "")
