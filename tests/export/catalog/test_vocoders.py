"""What vocoders share in the catalogue."""

from __future__ import annotations

import sys

import pytest

from edge_export.catalog.dynamic_axes import Axis, Buckets, Span
from edge_export.catalog.net import Trained
from edge_export.catalog.vocoders import audio_output, mel_input, shortest_cases
from edge_runtime.dsp.mel import PRESETS
from edge_runtime.errors import BackendError

MEL = PRESETS["hifigan-22k"]


@pytest.mark.parametrize(
    ("frames", "lengths"), [(Buckets((32, 64, 512)), [32, 64]), (Buckets((16,)), [16]), (Span(4, 99), [4, 5])]
)
def test_cases_are_the_shortest_lengths_and_speak(frames: Axis, lengths: list[int]) -> None:
    cases = shortest_cases(MEL, frames)
    assert [case["mel"].shape for case in cases.values()] == [(1, MEL.bands, length) for length in lengths]
    assert all(case["mel"].max() > -4 for case in cases.values())  # ln; silence is at -11.5


def test_mel_in_and_audio_out_name_hop_and_rate() -> None:
    assert mel_input(80, 256, "ln").shape == ("batch", 80, "frames")
    assert audio_output(22050, 256).meaning == "speech at 22050 Hz, 256 samples a frame"


def test_without_torch_the_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "edge_training.weights.nets", None)
    with pytest.raises(BackendError, match=r"pip install 'edge-export\[export\]'"):
        Trained("hifigan").preset("v1")
