"""The reference pack of `talking-head`: every stage of a recording, for developers of a port."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.dsp import windows
from edge_runtime.dsp.mel import MelConfig
from edge_runtime.media.audio import read_audio
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.bundle_net import BundleNet
from edge_runtime.pipelines.talking_head.pipeline import SAMPLE_RATE, TalkingHead, TalkingHeadResult

TOLERANCE = 1e-3  # what `edge-export check` allows by default, in the unit of each array


def write_pack(pipeline: TalkingHead, folder: Path, source: Path) -> None:
    """Fill a folder with every stage of a recording.

    mel_spectrogram.npy (80, T) and mel_windows.npy (n, 16, 80) are float64 and computed in float64;
    audio_features_raw.npy (n, 512), audio_features_padded.npy (n+2, 512), frames/frame_%05d_window.npy
    (16, 512) and frames/frame_%05d_reshaped.npy, n of each, are float32. metadata.json, summary.json and
    VALIDATION_INSTRUCTIONS.json describe them. reference_audio.wav lies inside the pack (SyncTalk_2D puts it
    one level up, though its own list names it inside): the 16 kHz samples that the rest is made from.

    Raises:
        EdgeError: as `TalkingHead.process_file`.
    """
    audio = read_audio(source, SAMPLE_RATE)
    with pack.naming(source):
        result = pipeline.process(audio.samples, "float64")
    assert pipeline.net is not None  # process refuses
    assert result.mel is not None
    pack.write_audio(folder / pack.AUDIO, audio)
    np.save(folder / "mel_spectrogram.npy", result.mel)
    assert result.windows is not None
    np.save(folder / "mel_windows.npy", result.windows)
    np.save(folder / "audio_features_raw.npy", result.features)
    np.save(folder / "audio_features_padded.npy", result.padded)
    frames = folder / "frames"
    frames.mkdir()
    for i in range(result.n_frames):
        np.save(frames / f"frame_{i:05d}_window.npy", result.frame_features(i, reshape=False))
        np.save(frames / f"frame_{i:05d}_reshaped.npy", result.frame_features(i))
    pack.write_json(folder / "metadata.json", _metadata(source.name, result))
    pack.write_json(folder / "summary.json", _summary(result))
    _write_instructions(folder, result, pipeline.net, pipeline.front_end)


def _metadata(name: str, result: TalkingHeadResult) -> dict[str, Any]:
    """The keys of SyncTalk_2D's audio_pipeline; ``audio_path`` is the file's name without its folder."""
    assert result.mel is not None
    frames = result.mel.shape[1]
    return {
        "audio_path": name,
        "mode": result.mode,
        "fps": result.fps,
        "windows": result.counting,
        "n_frames": result.n_frames,
        "mel_shape": [windows.MEL_BINS, frames],
        "mel_windows_shape": [result.n_frames, windows.WINDOW_FRAMES, windows.MEL_BINS],
        "features_shape": list(result.features.shape),
        "features_padded_shape": list(result.padded.shape),
        "mel_value_range": [float(result.mel.min()), float(result.mel.max())],
        "features_value_range": [float(result.padded.min()), float(result.padded.max())],
    }


def _summary(result: TalkingHeadResult) -> dict[str, Any]:
    return {
        "total_frames": result.n_frames,
        "mode": result.mode,
        "fps": result.fps,
        "window_shape": [windows.CONTEXT_ROWS, result.features.shape[1]],
        "reshaped_shape": list(windows.MODES[result.mode].shape),
    }


_DESCRIPTION = (
    "Every stage of the audio pipeline, computed on reference_audio.wav. A port (Swift, Kotlin, C++) that "
    "reads the same file and writes arrays of the same names can be checked number by number: "
    "`edge-export check THIS_FOLDER YOUR_FOLDER`. All arrays are numpy .npy files, little-endian, C order."
)
_LEGACY_DESCRIPTION = (
    " The mode is {mode}, but the values are AVE features padded with zeros (legacy_padding): shapes "
    "and arithmetic can be checked with them; a renderer trained on {mode} features cannot use them."
)
_STEPS = [
    "Read reference_audio.wav (16 kHz, one channel) and compute the mel spectrogram: pre-emphasis 0.97, "
    "frames of 800 samples every 200 with 400 zeros before and after the signal, periodic Hann window, "
    "magnitude, 80 Slaney mel bands with area norm from 55 to 7600 Hz, "
    "clip(1.6·log10(max(1e-5, mel)) + 2.4, -4, 4); every setting is in provenance.front_end.",
    "Compare it with mel_spectrogram.npy first: a wrong window, padding or mel scale shows here.",
    "Run the encoder (model.mlpackage, where the bundle was exported for Core ML) on mel_windows.npy[i] "
    "transposed to (1, 1, 80, 16), and compare with audio_features_raw.npy[i].",
    "Repeat the first and the last row once (audio_features_padded.npy), take rows i-8 … i+7 around frame i "
    "with zeros outside (frames/frame_XXXXX_window.npy), reshape in C order and compare with "
    "frames/frame_XXXXX_reshaped.npy.",
    "Keep the largest absolute difference of every array at or below 1e-3 (`edge-export check` exits with 1 "
    "where one is larger). SyncTalk_2D's instructions ask for 1e-4; float32 alone can cost 3e-4 of a mel "
    "unit near the floor of the logarithm, and the encoder's outputs reach about 10.",
]


def _write_instructions(
    folder: Path, result: TalkingHeadResult, net: BundleNet, front_end: MelConfig
) -> None:
    n, mode = result.n_frames, windows.MODES[result.mode]
    metadata = _metadata("", result)
    legacy = _LEGACY_DESCRIPTION.format(mode=mode.name) if result.legacy_padding else ""
    shape = "({})".format(", ".join(map(str, mode.shape)))
    rows = result.features.shape[1]
    pack.write_instructions(
        folder,
        "the talking-head audio pipeline",
        _DESCRIPTION + legacy,
        _STEPS,
        {
            pack.AUDIO: "the samples that everything was made from, 16 kHz, one channel, inside this folder",
            "mel_spectrogram.npy": f"{tuple(metadata['mel_shape'])} float64, 80 frames per second",
            "mel_windows.npy": f"({n}, 16, 80) float64, time first; transpose before the net",
            "audio_features_raw.npy": f"({n}, {rows}) float32, one row per video frame",
            "audio_features_padded.npy": f"({n + 2}, {rows}) float32, first and last row repeated once",
            "frames/": f"{n} × frame_XXXXX_window.npy (16, {rows}) and frame_XXXXX_reshaped.npy {shape}",
            "metadata.json": "shapes and value ranges of this recording",
            "summary.json": "number of frames and shapes per frame",
        },
        {
            "mel_spectrogram": {"shape": metadata["mel_shape"], "value_range": [-4.0, 4.0]},
            "audio_features": {"shape": metadata["features_shape"]},
            f"frame_features_{mode.name}": {"shape": list(mode.shape)},
            "numerical_tolerance": TOLERANCE,
        },
        pack.provenance(net.manifest, net.detail, net.precision) | {"front_end": front_end.to_json()},
    )
