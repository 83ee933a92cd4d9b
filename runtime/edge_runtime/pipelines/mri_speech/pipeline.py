"""rtMRI video → mel spectrogram → speech: the net `mri-acoustic`, then `istft-vocoder` or `hifigan`.

    video      → `edge_runtime.media.video`        frames (T, S, S) in 0 … 1 at the mel's rate
    frames     → mask, if there is one       the same, an articulator darkened
    frames     → mri-acoustic                (T, n_mels), standard deviations of each band
    · std + mean                             (T, n_mels), dB of a power: STEM_mel.npy
    ln max(10^(dB / 10), 1e-5)               (T, n_mels): STEM_mel_log.npy
    transposed → vocoder                     (T · hop_length,) samples: STEM_generated.wav

Mode "full" runs the net once over the whole video, as mri2speech does: every mel frame may depend on every
picture, and memory grows with the video. Mode "window" runs it over overlapping windows as long as those of
its training, one every `step` frames, and averages where they overlap: a mel frame then depends on window − 1
pictures on each side, and memory is constant, because frames, mels and samples are streamed.

The mask is drawn on the pixels of the video and reduced as its frames are; it multiplies the net's input,
after scaling: where frames are scaled to their own range (min-max), the range is that of the unmasked frame,
so that nothing changes outside of the mask.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.backends.base import Backend
from edge_runtime.dsp.mel import MelConfig
from edge_runtime.dsp.overlap import average_windows, filled
from edge_runtime.errors import BundleError, ConfigError, InputError
from edge_runtime.media.frame_rate import check_rate
from edge_runtime.media.masks import DEFAULT_ALPHA, check_alpha, mask_weights, parse_mask
from edge_runtime.media.video import (
    Frame,
    VideoReader,
    assumed_rate,
    differs,
    follow_clock,
    open_video,
    prepare_frames,
    rate_of,
)
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.bundle_net import AnyBundle, BundleNet
from edge_runtime.pipelines.registry import get_system
from edge_runtime.pipelines.vocoder.pipeline import Vocoder
from edge_runtime.store.mels import HIGHEST
from edge_runtime.store.scaler import Statistics, read_scaler, statistics

Mode = Literal["full", "window"]
Rows = NDArray[np.float32]

NET = "mri-acoustic"
LOUDEST = HIGHEST * 10 / np.log(10)  # dB; the vocoder refuses a louder mel
LOG_FLOOR = 1e-5  # of the power that enters the vocoder's logarithm: -50 dB
RUN_FRAMES = 32  # pictures per run of the net in window mode; memory grows with it


def _silent(_line: str) -> None:
    pass


@dataclass(frozen=True, eq=False)
class MriSpeechResult:
    """Every stage of one video; T frames on the mel's clock."""

    frames: Rows  # (T, S, S) in 0 … 1: what the net saw
    standardised: Rows  # (T, n_mels), standard deviations of each band: the net's answer
    mel: Rows  # (T, n_mels), dB
    mel_log: Rows  # (T, n_mels), natural logarithm of the power, at least ln 1e-5
    samples: Rows  # (T · hop_length,), full scale ±1


class MriSpeech:
    """The pipeline.

    Args:
        acoustic, vocoder: bundles of `mri-acoustic` and a vocoder, folders or open bundles.
        mode: "full" or "window", see above.
        window: pictures in a window, in mode "window"; as in the net's training if not given.
        step: pictures from one window to the next; 1, the default, averages most.
        mask: an articulator ("lip", "tongue") or a polygon to darken, see
            `edge_runtime.media.masks.parse_mask`.
        alpha: intensity that remains under the mask, 0 hides, 1 changes nothing.
        scaler: the data set's scaler.json, with the mean and deviation of the mel; it replaces those in the
            bundle and is needed where the bundle has none.
        max_frames: most frames of a video, at the mel's rate, that are used.
        fps: frames per second of a video that does not state it, .npy frames; the mel's if not given.
        length_buckets: of the vocoder, and as many windows in each run of mode "window", so that a new length
            costs nothing on a GPU; mode "full" runs the acoustic net in the video's own length.
        backend, device, threads, precision: what executes the nets, see `edge_runtime.pipelines.bundle_net`.
        progress: called with one line on the state of long work.
        features: function from frames (T, S, S) to features inside of the acoustic net (T, C), for reference
            packs; None where it is not available.

    Raises:
        ConfigError: options that are impossible or contradict each other.
        InputError: not a valid mask or scaler.
        BundleError: a bundle that is damaged or of another net; two that do not fit together.
        BackendError: the backend cannot run here.
    """

    def __init__(
        self,
        acoustic: AnyBundle,
        vocoder: AnyBundle,
        *,
        mode: Mode = "full",
        window: int | None = None,
        step: int | None = None,
        mask: str | None = None,
        alpha: float | None = None,
        scaler: str | os.PathLike[str] | None = None,
        max_frames: int | None = None,
        fps: float | None = None,
        length_buckets: bool = False,
        backend: str | Backend = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        progress: Callable[[str], None] = _silent,
        features: Callable[[Rows], Rows] | None = None,
    ) -> None:
        if mode not in get_args(Mode):
            raise ConfigError("--mode", got=repr(mode), expected=" or ".join(get_args(Mode)))
        self.mode = mode
        self.max_frames = _count("--max-frames", max_frames)
        self.fps = None if fps is None else check_rate(fps)
        if alpha is not None and mask is None:
            raise ConfigError("--alpha", got=f"{alpha} without --mask", expected="both, or neither")
        self.mask, self.alpha = mask, check_alpha(DEFAULT_ALPHA if alpha is None else alpha)
        self.polygon = parse_mask(mask) if mask is not None else None
        self._weights: tuple[tuple[int, int], Rows] | None = None  # of the last size asked for
        self.progress = progress
        self.features = features
        self.net = BundleNet(
            acoustic,
            NET,
            takes=(None, None, 1, None, None),
            gives=(None, None, None),
            backend=backend,
            device=device,
            threads=threads,
            precision=precision,
        )
        self.length_buckets = length_buckets
        self.vocoder = Vocoder(
            vocoder,
            backend=backend,
            device=device,
            threads=threads,
            precision=precision,
            length_buckets=length_buckets,
        )
        self.front_end = _front_end(self.net)
        self.size, self.n_mels = _sizes(self.net)
        check_pair(self.front_end, self.n_mels, self.vocoder)
        self.scaling = self.net.manifest.config.get("frame_scaling", "full-scale")
        self.mean, self.std = self._statistics(scaler)
        self.window, self.step = self._windows(window, step)

    @property
    def clock(self) -> float:
        """Frame rate of the mel, 1/s."""
        return self.front_end.sample_rate / self.front_end.hop_length

    @property
    def sample_rate(self) -> int:
        """Sample rate of the speech, Hz."""
        return self.vocoder.sample_rate

    def mask_weights(self, height: int, width: int) -> Rows | None:
        """(S, S) by which prepared frames of a video of this size are multiplied; None without a mask."""
        if self.polygon is None:
            return None
        if self._weights is None or self._weights[0] != (height, width):
            drawn = mask_weights(self.polygon, height, width, self.alpha)
            self._weights = (height, width), prepare_frames(drawn[None], self.size)[0]
        return self._weights[1]

    def process(self, frames: ArrayLike, fps: float | None = None) -> MriSpeechResult:
        """Speech of a video in memory.

        Args:
            frames: (T, H, W), grey and square, uint8 or floats in 0 … 1.
            fps: frames per second; None means that they have the mel's frame rate.

        Raises:
            InputError: frames of another shape, type or range, or too many for the artifact.
        """
        values = np.asarray(frames)
        if values.ndim != 3:
            raise InputError("frames", got=f"shape {values.shape}", expected="(T, H, W)")
        return self._process(self._on_clock(values, fps))

    def process_file(self, path: str | os.PathLike[str]) -> MriSpeechResult:
        """`process` of a video file or of .npy frames; errors name the file."""
        with pack.naming(path), open_video(path, square=True) as reader:
            return self._process(self.on_clock(reader))

    def stream_mels(self, video: VideoReader) -> Iterator[tuple[Rows, Rows]]:
        """The mels of an open video, piece by piece; in mode "window" in constant memory.

        Yields:
            (k, n_mels) in dB, and (k, n_mels) as the vocoder takes them; k is at least 1.

        Raises:
            InputError: as `process`.
        """
        for standardised in self._acoustic(self._prepared(self.on_clock(video))):
            yield self._scaled(standardised)

    def on_clock(self, video: VideoReader) -> Iterator[Frame]:
        """The pictures of an open video at the mel's frame rate, (H, W) each, at most `max_frames`."""
        fps = self.rate(video)
        if video.note:
            self.progress(f"{video.path.name}: {video.note}")
        if fps is None:
            self.progress(f"{video.path.name}: {assumed_rate(self.clock)}")
        if differs(fps, self.clock):
            self.progress(
                f"the video has {fps:g} frames a second: interpolated to the mel's {self.clock:.4g}"
            )
        return self._on_clock(video, fps)

    def rate(self, video: VideoReader) -> float | None:
        """Frames per second of an open video: what the file states, else ``fps``; None where neither does.

        Raises:
            ConfigError: both are there, and differ.
        """
        return rate_of(video, self.fps)

    def save_reference(
        self, path: str | os.PathLike[str], out: str | os.PathLike[str], *, overwrite: bool = False
    ) -> Path:
        """Write the pack of a file, see `edge_runtime.pipelines.mri_speech.pack`; returns ``out``.

        Raises:
            TargetError: ``out`` cannot be written, or exists and is not a pack, or ``overwrite`` is not
                given.
            EdgeError: the file cannot be processed.
        """
        return get_system("mri-speech").save_reference(self, out, overwrite=overwrite, source=path)

    def write_result(self, path: str | os.PathLike[str], folder: Path) -> dict[str, Any]:
        """Fill a folder as ``run`` does, see `edge_runtime.pipelines.mri_speech.result`."""
        return get_system("mri-speech").result(self, folder, source=Path(path))

    # stages ------------------------------------------------------------------------------------------------

    def _process(self, frames: Iterable[Frame]) -> MriSpeechResult:
        prepared = [*self._prepared(frames)]
        if not prepared:
            raise InputError("frames", got="no frame", expected="at least one")
        standardised = np.concatenate([*self._acoustic(prepared)])
        mel, mel_log = self._scaled(standardised)
        samples = self.vocoder.synthesize(mel_log.T)  # (T, n_mels) → (n_mels, T)
        return MriSpeechResult(np.stack(prepared), standardised, mel, mel_log, samples)

    def _on_clock(self, frames: Iterable[Frame], fps: float | None) -> Iterator[Frame]:
        return islice(follow_clock(frames, fps, self.clock), self.max_frames)

    def _prepared(self, frames: Iterable[Frame]) -> Iterator[Rows]:
        """(S, S) each: as the net takes them, and masked."""
        for frame in frames:
            (prepared,) = prepare_frames(frame[None], self.size, self.scaling)
            weights = self.mask_weights(*frame.shape)
            yield prepared if weights is None else prepared * weights

    def _acoustic(self, prepared: Iterable[Rows]) -> Iterator[Rows]:
        """The net's answer to frames (S, S), (k, n_mels) at a time."""
        if self.mode == "window":
            batch = max(1, min(RUN_FRAMES // self.window, self._largest_batch()))
            answer = partial(filled, self._answer, batch) if self.length_buckets else self._answer
            yield from average_windows(
                prepared, answer, self.n_mels, window=self.window, step=self.step, batch=batch
            )
            return
        yield self._answer(np.stack([*prepared])[None])[0]

    def _answer(self, frames: Rows) -> Rows:
        """(n, T, S, S) → (n, T, n_mels), one run of the net."""
        self._check_length(frames.shape[1])
        return self.net(frames[:, :, None])

    def _scaled(self, standardised: Rows) -> tuple[Rows, Rows]:
        return rescaled(standardised, self.mean, self.std)

    # options -----------------------------------------------------------------------------------------------

    def _statistics(self, scaler: str | os.PathLike[str] | None) -> Statistics:
        """Mean and standard deviation of each band, dB, (n_mels,) float64."""
        if scaler is not None:
            return read_scaler(scaler, self.n_mels)
        config = self.net.manifest.config
        if config.get("mel_mean") is None or config.get("mel_std") is None:
            raise ConfigError(
                "--scaler",
                got=f"no scaler, and no mel_mean and mel_std in {self.net.bundle.path}",
                expected="the scaler.json of the training data",
            )
        return statistics(config, "mel_mean", "mel_std", self.n_mels, f"{self.net.bundle.path}: config")

    def _windows(self, window: int | None, step: int | None) -> tuple[int, int]:
        for option, value in (("--window", window), ("--step", step)):
            if value is not None and self.mode != "window":
                raise ConfigError(
                    option, got=f"{value} in mode {self.mode}", expected="this option only in mode window"
                )
        length = _count("--window", window) or int(self.net.manifest.config.get("window", 4))
        apart = _count("--step", step) or 1
        if apart > length:
            raise ConfigError("--step", got=f"{apart}", expected=f"at most the window's {length} frames")
        return length, apart

    def _largest_batch(self) -> int:
        admitted = self.net.lengths(0)
        return 1 if admitted.only else admitted.high or RUN_FRAMES

    def _check_length(self, frames: int) -> None:
        admitted = self.net.lengths(1)
        high = admitted.high or frames
        if not admitted.low <= frames <= high or (admitted.only and frames not in admitted.only):
            numbers = ", ".join(map(str, admitted.only)) or f"{admitted.low} to {admitted.high}"
            raise InputError(
                "frames",
                got=f"{frames} frames in one run",
                expected=f"{numbers} frames, which the artifact takes",
                cause="--mode window runs videos of any length" if self.mode == "full" else "",
            )

    def settings(self, fps: float | None) -> dict[str, Any]:
        """The settings that the numbers depend on, for metadata.json."""
        settings: dict[str, Any] = {
            "mode": self.mode,
            "frame_scaling": self.scaling,
            "frame_rate": self.clock,
            "video_fps": fps,
            "resampled": differs(fps, self.clock),
        }
        if self.mode == "window":
            settings |= {"window": self.window, "step": self.step}
        if self.mask is not None:
            settings |= {"mask": self.mask, "alpha": self.alpha}
        return settings


def rescaled(standardised: Rows, mean: NDArray[Any], std: NDArray[Any]) -> tuple[Rows, Rows]:
    """The net's answer (T, n_mels) → its mel in dB, and the natural logarithm that a vocoder takes.

    Args:
        mean, std: of each band in the training data, dB, (n_mels,).

    Raises:
        InputError: louder than any sound, or not finite.
    """
    decibels = standardised * std + mean
    highest = float(decibels.max())  # NaN where one of them is
    if not highest <= LOUDEST:
        raise InputError(
            "mel",
            got=f"up to {highest:.4g} dB",
            expected=f"at most {LOUDEST:.4g} dB, the loudest mel of sound within ±1",
            cause="the acoustic net is untrained, or mean and std belong to another net",
        )
    power = np.maximum(10.0 ** (decibels / 10.0), LOG_FLOOR)
    return decibels.astype(np.float32), np.log(power).astype(np.float32)


def _count(option: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise ConfigError(option, got=f"{value}", expected="at least 1")
    return value


def _front_end(net: BundleNet) -> MelConfig:
    config = net.manifest.front_end
    if config is None:
        raise BundleError(str(net.bundle.path), got="no front_end", expected="the mel of the net's training")
    return config


def _sizes(net: BundleNet) -> tuple[int, int]:
    """(height and width in pixels, mel bands); the manifest must fix both."""
    *_, height, width = net.manifest.inputs[0].shape
    bands = net.manifest.outputs[0].shape[2]
    if not isinstance(height, int) or height != width or not isinstance(bands, int):
        raise BundleError(
            f"{net.bundle.path}: shapes",
            got=f"pictures of {height} by {width}, {bands} bands",
            expected="square pictures of a fixed size, a fixed number of bands",
        )
    return height, bands


def check_pair(front_end: MelConfig, n_mels: int, vocoder: Vocoder) -> None:
    """Refuse a vocoder for another mel: the speech would be too fast, too high, or noise."""
    for what, acoustic, other in (
        ("sample rate", front_end.sample_rate, vocoder.sample_rate),
        ("hop length", front_end.hop_length, vocoder.hop_length),
        ("mel bands", n_mels, vocoder.n_mels),
    ):
        if acoustic != other:
            raise BundleError(
                f"{vocoder.net.bundle.path}: {what}",
                got=f"{other}",
                expected=f"{acoustic}, as in the {NET} bundle",
                cause="the vocoder was trained for another mel",
            )
