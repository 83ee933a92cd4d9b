"""Options of image-speech that contradict themselves or each other."""

from __future__ import annotations

from typing import Any

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.pipelines.image_speech.plan import Plan


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"method": "sds"}, "--method: got 'sds', expected joint or imprint"),
        ({"scheduler": "euler"}, "--scheduler: got 'euler', expected ddim or pndm"),
        ({"colormap": "hot"}, "--colormap: got 'hot', expected viridis or jet or grey"),
        ({"steps": 0}, "--steps: got 0, expected a whole number, at least 1"),
        ({"samples": 0}, "--samples: got 0"),
        ({"seed": -1}, "--seed: got -1, expected a whole number, at least 0"),
        ({"preview_every": 0}, "--preview-every: got 0"),
        ({"image_guidance": -1.0}, "--image-guidance: got -1, expected 0 to 1000; 10 is usual"),
        ({"audio_guidance": float("nan")}, "--audio-guidance: got nan"),
        ({"audio_weight": 1.1}, r"--audio-weight: got 1\.1, expected 0 to 1"),
        ({"strength": 0.5}, r"--strength: got 0\.5 with joint, expected it with imprint"),
        ({"method": "imprint", "strength": 2.0}, r"--strength: got 2, expected 0 \(no picture\) to 1"),
        ({"method": "imprint", "image_start_step": 3}, "start steps: got one with imprint"),
        ({"audio_start_step": -1}, "--audio-start-step: got -1, expected 0 or more"),
        ({"audio_start_step": 2}, "start steps: got 10 of image and 2 of audio, expected 0 of one of them"),
        ({"cutoff_latent": True, "crop_image": True}, "--crop-image: got it beside --cutoff-latent"),
        ({"height": 248}, "--height: got 248, expected 256, a row for each band of the mel"),
    ],
)
def test_impossible_plans_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Plan(**options)


def test_what_is_left_out_depends_on_the_rest() -> None:
    assert (Plan().count, Plan().starts) == (100, {"image": 10, "audio": 0})
    assert Plan(steps=7).starts["image"] == 0
    assert (Plan().columns, Plan(crop_image=True).columns) == (1024, 992)
    assert Plan(method="imprint").darkening == 0.5
