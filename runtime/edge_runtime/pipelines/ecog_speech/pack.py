"""The reference pack of `ecog-speech`: every stage from ECoG to samples, for developers of a port."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_runtime.media.audio import write_wav
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.ecog_speech.nets import PARAMETERS
from edge_runtime.pipelines.ecog_speech.pipeline import SAMPLE_RATE, EcogSpeech
from edge_runtime.pipelines.ecog_speech.recordings import FRAMES, PAST

TOLERANCE = 1e-3  # what `edge-export check` allows by default, in the unit of each array

_DESCRIPTION = (
    "Every stage from one window of ECoG to speech. A port that starts from ecog.npy and the random numbers, "
    "and writes arrays of the same names, can be checked number by number: `edge-export check THIS_FOLDER "
    "YOUR_FOLDER`. All arrays are numpy .npy files, little-endian, C order."
)


def write_pack(pipeline: EcogSpeech, folder: Path, source: Path) -> None:
    """Fill a folder with every stage of the first window of a file.

    Raises:
        InputError: the file cannot be processed; the error names it.
    """
    ecog, recording = pipeline.read(source)
    background = np.zeros(pipeline.bins, np.float32) if recording is None else recording.noise
    result = pipeline.process(ecog[: PAST + FRAMES], background)
    # in the order of the signal, which the instructions keep
    arrays = {"ecog": result.ecog}
    arrays |= {
        name: result.parameters[name] for name in ("x_common", *PARAMETERS) if name in result.parameters
    }
    arrays |= {name: values[0] for name, values in result.noise.items()}
    arrays |= {"background": background, "spectrogram": result.spectrogram}
    for name, samples in (("wave", result.wave), ("fgla", result.fgla)):
        if samples is not None:
            arrays[name] = samples
            write_wav(folder / f"{name}.wav", samples, SAMPLE_RATE, "float32")
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", values)
    _write_texts(pipeline, folder, source, {name: values.shape for name, values in arrays.items()})


def _write_texts(
    pipeline: EcogSpeech, folder: Path, source: Path, shapes: dict[str, tuple[int, ...]]
) -> None:
    floor, top = pipeline.limits
    pack.write_json(
        folder / "metadata.json",
        {
            "source": source.name,
            "sample_rate": SAMPLE_RATE,
            "shapes": {name: list(shape) for name, shape in shapes.items()},
            "floor_db": floor,
            "top_db": top,
            "seed": pipeline.seed,
        },
    )
    meanings = {
        "ecog": "z-scores at 125 Hz, 16 past frames and 128: the decoder's input",
        "noise": "uniform in 0 … 1: unvoiced sound",
        "background_noise": "Gaussian: background",
        "phase": "turns: phases of unvoiced sound in the waveform",
        "background": "power of the recording's noise",
        "spectrogram": f"(frames, bins), −1 is {floor:g} dB, 1 is {top:g} dB, at most 1",
        "wave": "samples at 16 kHz from the parameters",
        "fgla": "samples at 16 kHz from the spectrogram, 32 iterations of Fast Griffin-Lim from zero phase",
        "x_common": "features before the decoder's head",
    }
    files = {
        f"{name}.npy": f"{shape} {meanings.get(name, 'the decoder says')}" for name, shape in shapes.items()
    }
    pack.write_instructions(
        folder,
        "ecog-speech",
        _DESCRIPTION,
        [
            "Feed ecog.npy to the decoder as (1, 144, E); compare the parameters. Frequencies are in Hz: at "
            "8000 Hz float32 keeps 5e-4.",
            "Feed the parameters, background.npy and the random numbers to the synthesizer; compare "
            "spectrogram.npy (clipped at 1) and wave.npy. Sum the phase of harmonics as wrapped cycles, in "
            "float32.",
            "Griffin-Lim: magnitude √power, 0 where the spectrogram is −1; FFT 2F − 1, hop 128, Hann.",
        ],
        files,
        {"numerical_tolerance": TOLERANCE},
        {
            net.manifest.net: pack.provenance(net.manifest, net.detail, net.precision)
            for net in (pipeline.decoder, pipeline.synthesizer)
        },
    )
