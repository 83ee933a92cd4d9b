"""What a decoder says, before the synthesizer reads it."""

from __future__ import annotations

import numpy as np

from edge_runtime.pipelines.ecog_speech.nets import audible


def test_a_loudness_below_nothing_is_silence() -> None:
    """OpenVINO's softplus gives -1.9e-6, whose logarithm would make a whole window NaN."""
    said = {
        "loudness": np.array([[[-1.9e-6, 0.0, 0.5]]], np.float32),
        "f0_hz": np.array([[[-1.0]]], np.float32),
    }
    heard = audible(said)
    np.testing.assert_array_equal(heard["loudness"], np.array([[[0, 0, 0.5]]], np.float32))
    assert heard["f0_hz"] is said["f0_hz"]
    assert said["loudness"][0, 0, 0] < 0
