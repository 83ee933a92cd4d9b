"""Audio → mel → windows → features, the input of a talking-head renderer (SyncTalk_2D).

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
from edge_runtime.dsp import windows as clock
from edge_runtime.dsp.mel import PRESETS, MelConfig, MelFrontEnd
from edge_runtime.dsp.overlap import filled
from edge_runtime.errors import BundleError, ConfigError, InputError
from edge_runtime.media.audio import read_audio
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.bundle_net import AnyBundle, BundleNet
from edge_runtime.pipelines.registry import get_system

NET = "audio-encoder"
SAMPLE_RATE = 16000  # Hz


@dataclass(frozen=True, eq=False)
class TalkingHeadResult:
    """Every stage of one recording; n video frames."""

    mode: str
    fps: float  # video frames per second
    mel: NDArray[Any] | None  # (80, T) in [−4, 4], 80 frames/s; None for external features
    features: NDArray[np.float32]  # (n, D): D = 512 (ave), 2048 (hubert), 8192 (wenet)
    padded: NDArray[np.float32]  # (n+2, D): ends repeated; external features as they came, (n, D)
    legacy_padding: bool = False
    counting: clock.Counting = "synctalk"  # whose number of frames n is

    @property
    def n_frames(self) -> int:
        """Video frames with a window of their own, n."""
        return len(self.features)

    @property
    def windows(self) -> NDArray[Any] | None:
        """(n, 16, 80), time first: what the encoder saw; None for external features."""
        if self.mel is None:
            return None
        return clock.encoder_windows(self.mel, self.fps, counting=self.counting)

    def frame_features(self, i: int, reshape: bool = True) -> NDArray[np.float32]:
        """The renderer's input for video frame ``i``, 0 … len(padded) − 1.

        Returns:
            An array of the mode's shape, ave (32, 16, 16), hubert (32, 32, 32) or wenet (256, 16, 32); with
            ``reshape=False`` the context rows (16, D), the frame at row 8.
        """
        context = clock.context_window(self.padded, i)
        if not reshape:
            return context
        return clock.reshape_context(context, self.mode, legacy_padding=self.legacy_padding)


class TalkingHead:
    """The pipeline; it keeps the result of the last recording for `frame_features`.

    Args:
        bundle: of the `audio-encoder` net, a folder or an open bundle. None where features come from
            elsewhere (modes "hubert" and "wenet").
        mode: what the renderer was trained with: "ave", "hubert" or "wenet".
        fps: video frames per second; SyncTalk_2D always has 25.
        backend, device, threads: what executes the net: a name in `edge_runtime.backends`, or a `Backend`.
        batch_size: windows per run of the net, fewer where the artifact takes fewer.
        length_buckets: fill the last batch, so that a new number of windows costs nothing on a GPU.
        precision: of the artifact, "fp32" or "fp16".
        legacy_padding: let "hubert" and "wenet" run on AVE values padded with zeros, as SyncTalk_2D's
            audio_pipeline does. The shape is right, but the values are meaningless to a renderer.
        windows: whose count of video frames, "synctalk" or "wav2lip" (see `frame_count` of
            `edge_runtime.dsp.windows`): they differ by one in a quarter of all recordings.

    Raises:
        ConfigError: unknown mode, impossible fps or batch size, or no bundle where one is needed.
        BundleError: a damaged bundle, or one of another net.
        BackendError: the backend cannot run here.
    """

    def __init__(
        self,
        bundle: AnyBundle | None,
        mode: str = "ave",
        fps: float = clock.DEFAULT_FPS,
        *,
        backend: str | Backend = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
        batch_size: int = 64,
        length_buckets: bool = False,
        precision: str = "fp32",
        legacy_padding: bool = False,
        windows: str = "synctalk",
    ) -> None:
        self.mode = clock.get_mode(mode).name
        self.fps = clock.check_fps(fps)
        self.counting = clock.check_counting(windows)
        if batch_size < 1:
            raise ConfigError("batch_size", got=str(batch_size), expected="at least 1")
        self.batch_size = batch_size
        self.length_buckets = length_buckets
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

    def process(self, audio: ArrayLike, dtype: str = "float32") -> TalkingHeadResult:
        """Features of a recording.

        Args:
            audio: (samples,) floats at 16 kHz, full scale ±1; at least 3000.
            dtype: precision of the mel, "float32" or "float64" (reference packs).

        Raises:
            InputError: not one channel of finite floats, or too short for one window.
            ConfigError: a mode whose features come from elsewhere.
        """
        return self._process(np.asarray(audio), dtype)

    def process_file(self, path: str | os.PathLike[str]) -> TalkingHeadResult:
        """`process` of a file, averaged to one channel and resampled to 16 kHz; errors name the file."""
        audio = read_audio(path, SAMPLE_RATE)
        with pack.naming(path):
            return self.process(audio.samples)

    def process_features(self, features: ArrayLike) -> TalkingHeadResult:
        """The result for features that were computed elsewhere, one row per video frame.

        Args:
            features: (n, D) or with D over several axes: hubert (n, 2, 1024), wenet (n, 16, 512). Rows are
                used as they are: the first and last row are not repeated.

        Raises:
            InputError: another size per frame, or values that are not finite.
        """
        rows = clock.check_features(np.asarray(features), self.mode)
        return self._remember(TalkingHeadResult(self.mode, self.fps, None, rows, rows))

    def frame_features(self, i: int, reshape: bool = True) -> NDArray[np.float32]:
        """`TalkingHeadResult.frame_features` of the last recording: the mode's shape, or (16, D).

        Raises:
            InputError: nothing was processed yet, or no such frame.
        """
        if self.last is None:
            raise InputError("frame features", got="no recording", expected="a call of process before")
        return self.last.frame_features(i, reshape)

    def save_reference(
        self, path: str | os.PathLike[str], out: str | os.PathLike[str], *, overwrite: bool = False
    ) -> Path:
        """Write the pack of a file, see `edge_runtime.pipelines.talking_head.pack`; returns ``out``.

        Raises:
            TargetError: ``out`` cannot be written, or exists and is not a pack, or ``overwrite`` is not
                given.
            EdgeError: the file cannot be processed.
        """
        return get_system("talking-head").save_reference(self, out, overwrite=overwrite, source=path)

    def _process(self, audio: NDArray[Any], dtype: str) -> TalkingHeadResult:
        if self.mode != "ave" and not self.legacy_padding:
            raise ConfigError(
                f"mode {self.mode}",
                got="audio",
                expected=f"{self.mode} features, for process_features",
                cause="the audio-encoder gives AVE features; legacy_padding=True pads them with zeros, "
                "which makes only their shape right",
            )
        if audio.ndim == 1 and len(audio) < clock.MIN_SAMPLES:
            raise InputError(
                "audio",
                got=f"{len(audio)} samples",
                expected=f"at least {clock.MIN_SAMPLES} (one window of {clock.WINDOW_FRAMES} mel frames)",
                cause="the recording is too short" if len(audio) else "the recording is empty",
            )
        mel = MelFrontEnd(self.front_end, dtype, workers=self.threads or 1)(audio)
        features = self._encode(mel)
        padded = clock.repeat_ends(features)
        return self._remember(
            TalkingHeadResult(self.mode, self.fps, mel, features, padded, self.legacy_padding, self.counting)
        )

    def _encode(self, mel: NDArray[Any]) -> NDArray[np.float32]:
        """(80, T) → (n, 512), a batch of windows at a time."""
        assert self.net is not None  # the constructor refuses
        count = clock.frame_count(mel.shape[1], self.fps, self.counting)
        features = np.empty((count, clock.MODES["ave"].features), np.float32)
        size = min(self.batch_size, self.net.lengths(0).high or self.batch_size)
        for start in range(0, count, size):
            batch = clock.encoder_windows(
                mel, self.fps, start=start, stop=start + size, counting=self.counting
            )
            inputs = batch.transpose(0, 2, 1)[:, None]  # (b, 16, 80) → (b, 1, 80, 16)
            answers = filled(self.net, size, inputs) if self.length_buckets else self.net(inputs)
            features[start : start + len(batch)] = answers
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
        takes=(None, 1, clock.MEL_BINS, clock.WINDOW_FRAMES),
        gives=(None, clock.MODES["ave"].features),
        backend=backend,
        device=device,
        threads=threads,
        precision=precision,
    )


def _front_end(net: BundleNet) -> MelConfig:
    """The mel that the bundle's net was trained on; refused unless its rate and bands fit the windows."""
    config = net.manifest.front_end
    if config is None:
        return PRESETS["talking-head"]
    got = (config.sample_rate, config.hop_length, config.bands)
    expected = (SAMPLE_RATE, clock.MEL_HOP, clock.MEL_BINS)
    if got != expected:
        raise BundleError(
            f"{net.bundle.path}: front_end",
            got="{} Hz, hop {}, {} bands".format(*got),
            expected="{} Hz, hop {}, {} bands".format(*expected),
        )
    return config
