"""Audio → mel → windows → features: what a talking-head renderer (SyncTalk_2D) is driven by.

One feature row per video frame comes from the `audio-encoder` net; the renderer takes 16 rows around a frame
in the shape of its mode (see `edge_runtime.dsp.windows`). Modes "hubert" and "wenet" take features that were
computed elsewhere, through `TalkingHead.process_features`.

    head = TalkingHead("bundles/audio-encoder")
    result = head.process_file("speech.wav")
    for i in range(result.n_frames):
        renderer(head.frame_features(i))  # (32, 16, 16)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.backends.base import Backend
from edge_runtime.dsp import windows
from edge_runtime.dsp.mel import PRESETS, MelConfig, MelFrontEnd
from edge_runtime.errors import BundleError, ConfigError, InputError
from edge_runtime.media.audio import Audio, read_audio
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.bundle_net import AnyBundle, BundleNet

NET = "audio-encoder"
SAMPLE_RATE = 16000  # Hz
TOLERANCE = 1e-3  # what `edge-export check` allows by default, in the unit of each array


@dataclass(frozen=True, eq=False)
class TalkingHeadResult:
    """Every stage of one recording; n video frames."""

    mode: str
    fps: float  # video frames per second
    mel: NDArray[Any] | None  # (80, T) in [−4, 4], 80 frames/s; None for external features
    features: NDArray[np.float32]  # (n, D): D = 512 (ave), 2048 (hubert), 8192 (wenet)
    padded: NDArray[np.float32]  # (n+2, D): ends repeated; external features as they came, (n, D)
    legacy_padding: bool = False

    @property
    def n_frames(self) -> int:
        """Video frames with a window of their own, n."""
        return len(self.features)

    @property
    def windows(self) -> NDArray[Any] | None:
        """(n, 16, 80), time first: what the encoder saw; None for external features."""
        return None if self.mel is None else windows.encoder_windows(self.mel, self.fps)

    def frame_features(self, i: int, reshape: bool = True) -> NDArray[np.float32]:
        """What the renderer takes for video frame ``i``, 0 … len(padded) − 1.

        Returns:
            The mode's shape – ave (32, 16, 16), hubert (32, 32, 32), wenet (256, 16, 32) –, or with
            ``reshape=False`` the context rows (16, D), the frame at row 8.
        """
        context = windows.context_window(self.padded, i)
        if not reshape:
            return context
        return windows.reshape_context(context, self.mode, legacy_padding=self.legacy_padding)


class TalkingHead:
    """The pipeline; it keeps the result of the last recording for `frame_features`.

    Args:
        bundle: of the `audio-encoder` net, a folder or an open bundle. None where features come from
            elsewhere (modes "hubert" and "wenet").
        mode: what the renderer was trained with: "ave", "hubert" or "wenet".
        fps: video frames per second; the origin knows 25.
        backend, device, threads: what executes the net: a name in `edge_runtime.backends`, or a `Backend`.
        batch_size: windows per run of the net, fewer where the artifact takes fewer.
        precision: of the artifact, "fp32" or "fp16".
        legacy_padding: let "hubert" and "wenet" run on AVE values filled up with zeros, as the origin's
            audio_pipeline did. Shapes are right; the content means nothing to a renderer.

    Raises:
        ConfigError: unknown mode, impossible fps or batch size, or no bundle where one is needed.
        BundleError: a damaged bundle, or one of another net.
        BackendError: the backend cannot run here.
    """

    def __init__(
        self,
        bundle: AnyBundle | None,
        mode: str = "ave",
        fps: float = windows.DEFAULT_FPS,
        *,
        backend: str | Backend = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
        batch_size: int = 64,
        precision: str = "fp32",
        legacy_padding: bool = False,
    ) -> None:
        self.mode = windows.get_mode(mode).name
        self.fps = windows.check_fps(fps)
        if batch_size < 1:
            raise ConfigError("batch_size", got=str(batch_size), expected="at least 1")
        self.batch_size = batch_size
        self.legacy_padding = legacy_padding and mode != "ave"
        self.threads = threads
        self.front_end = PRESETS["talking-head"]
        self.net: BundleNet | None = None
        self.last: TalkingHeadResult | None = None
        if bundle is not None:
            self.net = _open(bundle, backend, device, threads, precision)
            self.front_end = _front_end(self.net)
        elif mode == "ave" or legacy_padding:
            raise ConfigError("bundle", got="none", expected=f"a bundle of the {NET} net for mode {mode}")

    def process(self, audio: ArrayLike) -> TalkingHeadResult:
        """Features of a recording.

        Args:
            audio: (samples,) floats at 16 kHz, full scale ±1; at least 3000.

        Raises:
            InputError: not one channel of finite floats, or too short for one window.
            ConfigError: a mode whose features come from elsewhere.
        """
        return self._process(np.asarray(audio), "float32")

    def process_file(self, path: str | os.PathLike[str]) -> TalkingHeadResult:
        """The same for a file, averaged to one channel and resampled to 16 kHz; refusals name the file."""
        audio = read_audio(path, SAMPLE_RATE)
        with pack.naming(path):
            return self.process(audio.samples)

    def process_features(self, features: ArrayLike) -> TalkingHeadResult:
        """Features of the mode's kind that were computed elsewhere, one row per video frame.

        Args:
            features: (n, D) or with D over several axes: hubert (n, 2, 1024), wenet (n, 16, 512). Rows are
                taken as they stand: no ends are repeated.

        Raises:
            InputError: another size per frame, or values that are not finite.
        """
        rows = windows.check_features(np.asarray(features), self.mode)
        return self._remember(TalkingHeadResult(self.mode, self.fps, None, rows, rows))

    def frame_features(self, i: int, reshape: bool = True) -> NDArray[np.float32]:
        """`TalkingHeadResult.frame_features` of the last recording; InputError where there was none."""
        if self.last is None:
            raise InputError("frame features", got="no recording", expected="process one first")
        return self.last.frame_features(i, reshape)

    def save_reference(
        self, path: str | os.PathLike[str], out: str | os.PathLike[str], *, overwrite: bool = False
    ) -> Path:
        """Write the origin's reference pack of a recording: every stage, for developers of a port.

        mel_spectrogram.npy (80, T) and mel_windows.npy (n, 16, 80) are float64 and computed in float64;
        audio_features_raw.npy (n, 512), audio_features_padded.npy (n+2, 512), frames/frame_%05d_window.npy
        (16, 512) and frames/frame_%05d_reshaped.npy, n of each, are float32. metadata.json, summary.json and
        VALIDATION_INSTRUCTIONS.json describe them. reference_audio.wav lies inside the pack (the origin puts
        it one level up, though its own list names it inside): the 16 kHz samples that the rest is made from.

        Raises:
            TargetError: ``out`` exists (and is no pack, or ``overwrite`` is not given) or cannot be written.
            EdgeError: as `process_file`.
        """
        audio = read_audio(path, SAMPLE_RATE)
        with pack.naming(path):
            result = self._process(audio.samples, "float64")
        assert self.net is not None  # _process refuses
        with pack.replace_pack(out, overwrite) as folder:
            _write_pack(folder, Path(path).name, audio, result, self.net)
        return Path(out)

    def _process(self, audio: NDArray[Any], dtype: str) -> TalkingHeadResult:
        if self.mode != "ave" and not self.legacy_padding:
            raise ConfigError(
                f"mode {self.mode}",
                got="audio",
                expected=f"{self.mode} features, for process_features",
                cause="the audio-encoder gives AVE features; legacy_padding=True fills them up with zeros, "
                "which gives the shape and no meaning",
            )
        if audio.ndim == 1 and len(audio) < windows.MIN_SAMPLES:
            raise InputError(
                "audio",
                got=f"{len(audio)} samples",
                expected=f"at least {windows.MIN_SAMPLES} (one window of {windows.WINDOW_FRAMES} mel frames)",
                cause="the recording is too short" if len(audio) else "the recording is empty",
            )
        mel = MelFrontEnd(self.front_end, dtype, workers=self.threads or 1)(audio)
        features = self._encode(mel)
        padded = windows.repeat_ends(features)
        return self._remember(
            TalkingHeadResult(self.mode, self.fps, mel, features, padded, self.legacy_padding)
        )

    def _encode(self, mel: NDArray[Any]) -> NDArray[np.float32]:
        """(80, T) → (n, 512), a batch of windows at a time."""
        assert self.net is not None  # the constructor refuses
        count = windows.frame_count(mel.shape[1], self.fps)
        features = np.empty((count, windows.MODES["ave"].features), np.float32)
        size = min(self.batch_size, self.net.lengths(0).high or self.batch_size)
        for start in range(0, count, size):
            batch = windows.encoder_windows(mel, self.fps, start=start, stop=start + size)
            inputs = batch.transpose(0, 2, 1)[:, None]  # (b, 16, 80) → (b, 1, 80, 16)
            features[start : start + len(batch)] = self.net(inputs)
        return features

    def _remember(self, result: TalkingHeadResult) -> TalkingHeadResult:
        self.last = result
        return result


def _open(
    bundle: AnyBundle, backend: str | Backend, device: str, threads: int | None, precision: str
) -> BundleNet:
    return BundleNet(
        bundle,
        NET,
        takes=(None, 1, windows.MEL_BINS, windows.WINDOW_FRAMES),
        gives=(None, windows.MODES["ave"].features),
        backend=backend,
        device=device,
        threads=threads,
        precision=precision,
    )


def _front_end(net: BundleNet) -> MelConfig:
    """The mel that the bundle's net was trained on, which the windows must be able to follow."""
    config = net.manifest.front_end
    if config is None:
        return PRESETS["talking-head"]
    got = (config.sample_rate, config.hop_length, config.bands)
    expected = (SAMPLE_RATE, windows.MEL_HOP, windows.MEL_BINS)
    if got != expected:
        raise BundleError(
            f"{net.bundle.path}: front_end",
            got="{} Hz, hop {}, {} bands".format(*got),
            expected="{} Hz, hop {}, {} bands".format(*expected),
        )
    return config


# the reference pack ----------------------------------------------------------------------------------------


def _write_pack(folder: Path, name: str, audio: Audio, result: TalkingHeadResult, net: BundleNet) -> None:
    assert result.mel is not None
    pack.write_audio(folder / pack.AUDIO, audio)
    np.save(folder / "mel_spectrogram.npy", result.mel)
    np.save(folder / "mel_windows.npy", windows.encoder_windows(result.mel, result.fps))
    np.save(folder / "audio_features_raw.npy", result.features)
    np.save(folder / "audio_features_padded.npy", result.padded)
    frames = folder / "frames"
    frames.mkdir()
    for i in range(result.n_frames):
        np.save(frames / f"frame_{i:05d}_window.npy", result.frame_features(i, reshape=False))
        np.save(frames / f"frame_{i:05d}_reshaped.npy", result.frame_features(i))
    pack.write_json(folder / "metadata.json", _metadata(name, result))
    pack.write_json(folder / "summary.json", _summary(result))
    _write_instructions(folder, result, net)


def _metadata(name: str, result: TalkingHeadResult) -> dict[str, Any]:
    """The origin's keys. ``audio_path`` is the bare name: a path of this machine helps nobody."""
    assert result.mel is not None
    frames = result.mel.shape[1]
    return {
        "audio_path": name,
        "mode": result.mode,
        "fps": result.fps,
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
    " The mode is {mode}, but the values are AVE features filled up with zeros (legacy_padding): shapes "
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
    "where one is larger). The origin's instructions ask for 1e-4; float32 alone can cost 3e-4 of a mel unit "
    "near the floor of the logarithm, and the encoder's outputs reach about 10.",
]


def _write_instructions(folder: Path, result: TalkingHeadResult, net: BundleNet) -> None:
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
        pack.provenance(net.manifest, net.detail, net.precision) | {"front_end": _front_end(net).to_json()},
    )
