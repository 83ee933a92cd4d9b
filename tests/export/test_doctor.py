"""doctor: every library and backend has a line with its true state."""

from __future__ import annotations

from importlib.metadata import version

from edge_export.backends import BACKENDS, OPTIONAL
from edge_export.doctor import LIBRARIES, _version, doctor
from edge_runtime.backends import ort


def test_every_library_and_backend_is_listed() -> None:
    states = {finding.subject: finding.state for finding in doctor()}
    assert set(states) == {
        "python",
        "cores",
        "ffmpeg",
        *LIBRARIES,
        *(f"backend {name}" for name in (*BACKENDS, *OPTIONAL)),
        *(f"device {name}" for name in ort.devices),
    }
    assert states["numpy"] == version("numpy")
    assert states["backend onnxruntime"] == "usable"
    assert states["backend mil"] == "usable"
    assert states["device cpu"] == "starts"
    assert states["device xnnpack"].startswith(
        "no package on PyPI has it: build onnxruntime with XNNPACK: got onnxruntime"
    )


def test_a_library_that_is_missing_is_said() -> None:
    assert _version("no-such-distribution") == "not installed"
