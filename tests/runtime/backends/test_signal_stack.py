"""Models of OpenVINO that end in the order of their making leave no freed stack for signals."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest
from tests import small_bundles

from edge_runtime.backends import get_backend


@pytest.mark.skipif(sys.platform != "linux", reason="stacks of signal handlers as Linux has them")
def test_the_stack_for_signals_stays_what_it_was(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from edge_runtime.backends.signal_stack import signal_stack

    before = signal_stack()
    path = small_bundles.write_vocoder(tmp_path / "b") / "model.onnx"
    sessions = [get_backend("openvino").open(path) for _ in range(2)]
    for _ in range(2):
        assert signal_stack().place == before.place
        sessions.pop(0)
        gc.collect()
    after = signal_stack()
    assert (after.place, after.flags, after.size) == (before.place, before.flags, before.size)
