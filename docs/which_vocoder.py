"""Remakes which-vocoder.png: python docs/which_vocoder.py RECORDING MADE

MADE is the folder that `python -m edge_export.quality.vocoder --out MADE` filled.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from edge_runtime.media.audio import read_audio

RATE = 22050  # Hz
FIRST, LAST = 1.0, 2.6  # s
WAYS = ("Fast Griffin-Lim 32", "HiFi-GAN V3", "lj-22k", "small-22k", "streaming-22k")


def main(recording: Path, made: Path) -> None:
    """The recording and what each way makes of its mel, 1.6 s."""
    paths = {"recording": recording}
    paths |= {way: made / f"{recording.stem}_{way.replace(' ', '-')}.wav" for way in WAYS}
    figure = Figure(figsize=(11, 4.6), layout="tight")
    panels = figure.subplots(2, 3, sharex=True, sharey=True)
    for panel, (name, path) in zip(panels.flat, paths.items(), strict=True):
        samples = read_audio(path, RATE).samples
        samples = samples * (0.95 / np.abs(samples).max())
        piece = samples[int(FIRST * RATE) : int(LAST * RATE)]
        shading = {"NFFT": 512, "noverlap": 448, "cmap": "magma", "vmin": -130, "vmax": -40}
        panel.specgram(piece, Fs=RATE, **shading)
        panel.set(title=name, ylim=(0, 8000), xlabel="s", ylabel="Hz")
        panel.label_outer()
    drawn = BytesIO()
    figure.savefig(drawn, dpi=72)
    # 64 colours do, at a third of the bytes
    Image.open(drawn).convert("RGB").quantize(64).save(
        Path(__file__).with_name("which-vocoder.png"), optimize=True
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
