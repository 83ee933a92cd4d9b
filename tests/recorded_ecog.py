"""A subject of a few seconds, in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_runtime.pipelines.ecog_speech.recordings import Recording, background

FRAMES, BINS, ELECTRODES = 900, 128, 16
STARTS = (120, 330, 540, 700)


def recorded(
    name: str = "S1", electrodes: int = ELECTRODES, bins: int = BINS, **changes: object
) -> Recording:
    """Four trials of two words in two tasks; speech is loud where the words are, electrodes follow it."""
    draw = np.random.default_rng(4)
    starts = np.array(STARTS)
    ends = starts + np.array([70, 80, 66, 90])
    loud = np.zeros(FRAMES, np.float32)
    for start, end in zip(starts, ends, strict=True):
        loud[start:end] = 1
    spectrogram = np.clip(-0.9 + loud[:, None] * draw.uniform(0.5, 1.5, (1, bins)), -1, 1)
    made = Recording(
        name=name,
        ecog=(loud[:, None] + 0.3 * draw.standard_normal((FRAMES, electrodes))).astype(np.float32),
        wave=(loud.repeat(128) * draw.uniform(-0.5, 0.5, FRAMES * 128)).astype(np.float32),
        spectrogram=spectrogram.astype(np.float32),
        starts=starts,
        ends=ends,
        labels=("one", "two", "one", "two"),
        noise=background(spectrogram.astype(np.float32), starts),
        female=True,
        formants=np.full((FRAMES, 6), 900, np.float32),
        pitch=np.where(loud > 0, 200, 0).astype(np.float32),
        tasks=("read", "read", "hear", "hear"),
    )
    return replace(made, **changes)  # type: ignore[arg-type]
