"""Remakes phantom.png, the README's picture of the synthetic speaker: python docs/phantom.py"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from edge_training.phantom import Speaker, speak

RATE = 16000  # Hz
MRI_RATE = 11413 / 420  # frames/s
ECOG_RATE = 125  # frames/s


def main() -> None:
    """One utterance: vocal tract and mouth in its first /a/, spectrogram with formants, ECoG."""
    said = speak(Speaker.sample(1), 1, 0, ("sakana", "panda"))
    vowel = next(phone for phone in said.score.phones if phone.label == "a")
    moment = (vowel.start + vowel.end) / 2
    figure = Figure(figsize=(11, 2.8), layout="tight")
    tract, mouth, sound, cortex = figure.subplots(1, 4, width_ratios=[1, 1, 2.2, 0.9])
    tract.imshow(said.midsagittal(rate=MRI_RATE)[int(moment * MRI_RATE)], cmap="gray", vmin=0, vmax=255)
    mouth.imshow(said.face(25.0)[int(moment * 25)])
    shading = {"NFFT": 128, "noverlap": 112, "pad_to": 512, "cmap": "gray_r", "vmin": -130, "vmax": -40}
    sound.specgram(said.audio(RATE), Fs=RATE, **shading)
    times = (np.arange(len(said.tracks.pitch)) + 0.5) / ECOG_RATE
    for formant in said.tracks.formants[:, :3].T:
        sound.plot(times, np.where(said.tracks.pitch > 0, formant, np.nan), "r", linewidth=0.8)
    cortex.imshow(said.ecog().T, aspect="auto", cmap="RdBu_r", vmin=-3, vmax=3)
    titles = {tract: "vocal tract", mouth: "mouth", sound: said.text, cortex: "ECoG, 64 electrodes"}
    for axes, title in titles.items():
        axes.set_title(title, fontsize=8)
        if axes is not sound:
            axes.axis("off")
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=90, metadata={"Software": None})


if __name__ == "__main__":
    main()
