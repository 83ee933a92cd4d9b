"""The reference pack of mel inversion: every stage, for developers of a port.

Griffin-Lim from zero phase cannot be checked number by number: the first transform has bins that are zero
but for rounding, so that their phase is noise; float32 and float64 then differ by 1e-3 of the peak after one
iteration and by 0.1 after 64. From random phases they differ by at most 1e-5 in the first few iterations and
1e-3 in 16 (measured on speech). So the pack's iterations start from phases that are part of it; the result of
the pipeline itself is included for listening.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edge_runtime.dsp.griffin_lim import ADMM_RHO, AGLA_BETA, AGLA_GAMMA
from edge_runtime.dsp.spectral import Array
from edge_runtime.media.audio import write_wav
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.mel_inversion.conditioning import (
    Conditioning,
    conditioning_of,
    restore,
)
from edge_runtime.pipelines.mel_inversion.nets import NET, framing_text, planes
from edge_runtime.pipelines.mel_inversion.pipeline import MelInversion, MelInversionResult

SNAPSHOTS = (0, 1, 2, 3, 8, 16)  # iterations after which the pack holds the audio
PREDICTION = "prediction.wav"
TOLERANCE = 1e-3  # what `edge-export check` allows by default

_DESCRIPTION = (
    "Every stage from the mel to the audio. A port (Swift, Kotlin, C++) that starts from mel.npy and writes "
    "arrays of the same names can be checked number by number: `edge-export check THIS_FOLDER YOUR_FOLDER`. "
    "All arrays are numpy .npy files, little-endian, C order."
)
_FILES = {
    "mel": "as the front end gives it, every setting under front_end in metadata.json",
    "linear_mel": "the same before logarithm and scale: what the filter bank gave; 0 at their floor",
    "estimate": "magnitude (bins, frames): pseudo-inverse raised to 1e-10, then multiplicative updates",
    "magnitude": "the net's magnitude (bins, frames), or the estimate where there is no net",
    "target": "magnitude without pre-emphasis, frames mirrored at the ends until the phase step covers all",
    "phase_start": "the target with random phases, where the iterations start: real part, imaginary part",
    "wav": "the last of them, mean and level of the recording restored",
}
_STEPS = [
    "Undo scale and logarithm of mel.npy, and set values at the logarithm's floor to 0: linear_mel.npy. "
    "Compare first: a wrong logarithm shows here.",
    "Multiply by the pseudo-inverse of the filter bank A, raise to 1e-10, then repeat `updates` times "
    "q = q · (Aᵀ m) / (Aᵀ A q); the root of it where the front end has power 2; the decibels undone where it "
    "has spectrum_range_db: estimate.npy.",
    "{magnitude}",
    "Divide by |1 - a exp(-2πik / n_fft)|, a the pre_emphasis, and mirror frames at both ends "
    "(frames_before_the_recording of them before the first): target.npy.",
    "Start from phase_start.npy, not from phases of your own, and run the iterations: "
    "conditioned_wav_NNN.npy is the audio after NNN of them, without the first "
    "samples_before_the_recording samples. {how}",
    "Divide the last of them by `gain` and add `mean`: wav.npy. After spectrum_range_db the standard "
    "deviation is set first; of a mel whose level is lost the peak is 0.95.",
    "Stop at the first array that differs by more than 1e-3 (`edge-export check` exits with 1 then); the "
    "arrays before it are right.",
    f"{PREDICTION} is the pipeline's own result, from zero phase and after all `iterations`, for listening. "
    "Rounding decides the phase of bins that would otherwise be zero, so no port gives the same samples.",
]


def write_pack(pipeline: MelInversion, folder: Path, source: Path) -> None:
    """Fill a folder with every stage, computed in float64 except by the nets, and JSON.

    Args:
        pipeline: computes the stages.
        folder: an empty one.
        source: a mel, a .npy file, or an audio file, whose samples then become part of the pack.

    Raises:
        EdgeError: as `MelInversion.process_file`.
    """
    result, audio = pipeline.process_file(source, "float64")
    conditioning = None if audio is None else conditioning_of(audio.samples, pipeline.front_end)
    arrays = _stages(result, conditioning, pipeline)
    for stage, values in arrays.items():
        np.save(folder / f"{stage}.npy", values)
    write_wav(folder / PREDICTION, result.samples, pipeline.sample_rate, "float32")
    if audio is not None:
        pack.write_audio(folder / pack.AUDIO, audio)
    pack.write_json(
        folder / "metadata.json",
        {
            "source": source.name,
            "sample_rate": pipeline.sample_rate,
            "samples": result.samples.size,
            "samples_before_the_recording": pipeline.frames.offset,
            "frames_before_the_recording": pipeline.frames.before,
            "updates": pipeline.updates,
            "phase": pipeline.phase,
            "iterations": pipeline.iterations,
            "momentum": pipeline.momentum,
            "mean": conditioning.mean if conditioning else None,
            "gain": conditioning.gain if conditioning else None,
            "shapes": {stage: list(values.shape) for stage, values in arrays.items()},
            "value_ranges": {
                stage: [float(values.min()), float(values.max())] for stage, values in arrays.items()
            },
            "front_end": pipeline.front_end.to_json(),
        },
    )
    _write_instructions(folder, arrays, pipeline, with_audio=audio is not None)


def _stages(
    result: MelInversionResult, conditioning: Conditioning | None, pipeline: MelInversion
) -> dict[str, Array]:
    length = result.samples.size
    turns = np.random.default_rng(0).random(result.target.shape)
    start = (result.target * np.exp(2j * np.pi * turns)).astype(np.complex64)
    arrays: dict[str, Array] = {
        "mel": result.mel,
        "linear_mel": pipeline.linear_mel(result.mel),
        "estimate": result.estimate,
        "magnitude": result.magnitude,
        "target": result.target,
        "phase_start": planes(start),
    }
    last = min(pipeline.iterations, SNAPSHOTS[-1])
    for count in sorted({*(count for count in SNAPSHOTS if count < last), last}):
        samples = pipeline.reconstruct(result.target, length, count, start)
        arrays[f"conditioned_wav_{count:03d}"] = samples
    arrays["wav"] = restore(samples, pipeline.front_end, conditioning)
    return arrays


def _write_instructions(
    folder: Path, arrays: Mapping[str, Array], pipeline: MelInversion, *, with_audio: bool
) -> None:
    steps = [step.format(magnitude=_magnitude(pipeline), how=_iteration(pipeline)) for step in _STEPS]
    files = {
        f"{stage}.npy": f"{values.shape} {values.dtype}, "
        + _FILES.get(stage, "audio after so many iterations, before mean and level are restored")
        for stage, values in arrays.items()
    } | {
        PREDICTION: "the pipeline's own result, float32",
        "metadata.json": "settings, shapes, value ranges and the front end",
    }
    if with_audio:
        files[pack.AUDIO] = f"the samples that mel.npy was made from, {pipeline.sample_rate} Hz, one channel"
        steps.insert(0, f"Compute the mel of {pack.AUDIO} (front_end in metadata.json): mel.npy.")
    nets = [part.net for part in (pipeline.net, pipeline.degli) if part]
    pack.write_instructions(
        folder,
        "mel inversion",
        _DESCRIPTION,
        steps,
        files,
        {stage: {"shape": list(values.shape)} for stage, values in arrays.items()}
        | {"numerical_tolerance": TOLERANCE},
        {
            "executed_by": pipeline.executed_by,
            "nets": [pack.provenance(net.manifest, net.detail, net.precision) for net in nets],
        },
    )


def _magnitude(pipeline: MelInversion) -> str:
    """The instruction for the step from mel to magnitude."""
    if pipeline.net is None:
        return "Without a net for the magnitude, magnitude.npy is estimate.npy."
    steepness = (pipeline.front_end.spectrum_range_db or 0.0) / 20
    exponential = f"10 ** ((min(output, 1) - 1) · {steepness:g})"
    way = "its exponential" if pipeline.net.domain == "log" else exponential
    return f"Feed mel.npy to the net {NET} as (1, n_mels, frames); {way} is magnitude.npy."


def _iteration(pipeline: MelInversion) -> str:
    """The instruction for one iteration; P_A gives a spectrum the target's magnitude."""
    if pipeline.degli:
        ending = "X = the net's next_spectrum of (X, A)"
        if pipeline.degli.graph == "net":
            ending = "Y = A · X / |X|, Z = STFT(ISTFT(Y)), X = Z - the net's residual of (X, Y, Z, A)"
        return (
            f"A is the target scaled to a root mean square of {pipeline.degli.level:g}, X starts scaled by "
            f"the same factor; each iteration is {ending}; the audio is ISTFT(target · X / |X|)."
        )
    rule = {
        "gla": "c = STFT(ISTFT(P_A(c)))",
        "fgla": "t = STFT(ISTFT(P_A(c))), c = t + {a} (t - last t)",
        "agla": "t = d + {g} (STFT(ISTFT(P_A(c))) - d), c = t + {a} (t - last t), d = t + {b} (t - last t)",
        "admm": "x = P_A(z - u), v = x + u, z = ({r} v + STFT(ISTFT(v))) / (1 + {r}), u = u + x - z",
    }[pipeline.phase]
    constants = {"a": pipeline.momentum, "b": AGLA_BETA, "g": AGLA_GAMMA, "r": ADMM_RHO}
    framing = pipeline.frames.phase
    return (
        f"Each iteration is {rule.format(**constants)}; the audio is ISTFT(P_A(c)), for admm of z - u. The "
        f"transform has {framing_text(framing)}, padding {framing.padding}, and the least-squares inverse."
    )
