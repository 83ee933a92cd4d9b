"""Fixed shapes: the longest case of the smallest batch, or the frames that were asked for, with cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_export.catalog import NETS
from edge_export.catalog.fixed_sizes import FixedSizes, fixed_sizes
from edge_runtime.errors import ConfigError
from edge_runtime.store.bundle import Lengths


def sizes(name: str, preset: str, *frames: int) -> FixedSizes:
    net = NETS[name]
    config = net.preset(preset)
    return fixed_sizes(net, config, net.axes_of(config, net.coreml_axes), frames)


def test_without_frames_the_longest_case_of_the_smallest_batch_decides() -> None:
    found = sizes("mri-acoustic", "phantom")
    assert found.functions == {"main": {"frames": (1, 5, 1, 64, 64)}}
    assert found.lengths == {"batch": Lengths(1, 1, (1,)), "frames": Lengths(5, 5, (5,))}
    assert found.cases == {}
    assert found.note == "fixed shapes: batch 1, frames 5"


def test_each_number_of_frames_is_a_function_with_a_case() -> None:
    found = sizes("degli", "small", 9, 32)
    assert found.functions == {
        f"main_{count}": {"spectrum": (1, 2, 513, count), "magnitude": (1, 513, count)} for count in (9, 32)
    }
    assert found.lengths["frames"] == Lengths(9, 32, (9, 32))
    assert {name: case["magnitude"].shape[2] for name, case in found.cases.items()} == {
        "frames-9": 9,
        "frames-32": 32,
    }
    spectrum = found.cases["frames-32"]["spectrum"]
    assert spectrum.shape == (1, 2, 513, 32)
    np.testing.assert_array_equal(spectrum[..., 13:26], spectrum[..., :13])  # the longest case has 13
    assert found.note == "fixed shapes: batch 1, frames 9 or 32"


def test_a_case_that_is_there_anyway_is_not_made_twice() -> None:
    assert sizes("bigvgan", "tiny", 64).cases == {}
    assert set(sizes("bigvgan", "tiny", 32, 64, 80).cases) == {"frames-80"}


@pytest.mark.parametrize(
    ("net", "preset", "frames", "sentence"),
    [
        ("stft", "1024-256", 9, "frames: got a number for stft, expected none; its axes are batch, samples"),
        (
            "ecog-decoder",
            "resnet",
            145,
            "frames: got a number for ecog-decoder, expected none; its axes are batch",
        ),
    ],
)
def test_frames_of_a_net_without_that_axis_are_refused(
    net: str, preset: str, frames: int, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        sizes(net, preset, frames)


def test_frames_that_a_net_does_not_take_are_refused() -> None:
    config = NETS["degli"].preset("small")
    net = replace(NETS["degli"], shortest=lambda _: 8, steps=lambda _: {"frames": 4})
    for frames in ((6,), (8, 10)):
        told = f"frames: got {frames[-1]}, expected at least 8, a multiple of 4 for degli"
        with pytest.raises(ConfigError, match=told):
            fixed_sizes(net, config, net.coreml_axes, frames)
    assert fixed_sizes(net, config, net.coreml_axes, (8,)).lengths["frames"] == Lengths(8, 8, (8,))
