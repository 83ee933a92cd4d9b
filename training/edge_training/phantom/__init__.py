"""The synthetic speaker: speech, vocal-tract video, mouth video, ECoG and labels from one articulation.

    speaker → lexicon → score → movement → tract → voice          audio at any rate
                                       ├──────────→ midsagittal   256×256 grey at any frame rate
                                       ├──────────→ face          96×96 colour
                                       └──────────→ cortex        8×8 electrodes at 125 Hz

    utterance = speak(Speaker.sample(seed=1), seed=1, index=0)
    utterance.audio(22050), utterance.midsagittal(), utterance.face(), utterance.ecog(), utterance.tracks
    write_corpus("phantom", utterances=40, seed=1)

numpy and scipy; opencv and h5py only where a layout on disk needs them. Everything follows from the seeds.
"""

from edge_training.phantom.corpus import SYSTEMS, write_corpus
from edge_training.phantom.speaker import Speaker
from edge_training.phantom.utterance import Tracks, Utterance, hold, speak

__all__ = ["SYSTEMS", "Speaker", "Tracks", "Utterance", "hold", "speak", "write_corpus"]
