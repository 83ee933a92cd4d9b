"""rtMRI video → mel spectrogram → speech, with the `mri-acoustic` and `hifigan` nets.

    video      → `edge_runtime.media.video`        frames (T, S, S) in 0 … 1 at the mel's rate
    frames     → mask, if one is asked for   the same, an articulator darkened
    frames     → mri-acoustic                (T, n_mels), standard deviations of each band
    · std + mean                             (T, n_mels), dB of a power: STEM_mel.npy
    ln max(10^(dB / 10), 1e-5)               (T, n_mels): STEM_mel_log.npy
    transposed → hifigan                     (T · hop_length,) samples: STEM_generated.wav

Mode "full" runs the net once over the whole video, as the origin does: every mel frame may depend on every
picture, and memory grows with the video. Mode "window" runs it over overlapping windows as long as those of
its training, one every `step` frames, and averages where they overlap: a mel frame then depends on window − 1
pictures to each side, and memory is constant, because frames, mels and samples pass through as a stream.

The mask is drawn on pixels of the video and reduced as its frames are; it multiplies what the net would see,
after scaling: where frames are scaled to their own range (min-max), that of the unmasked frame counts, so
that a mask changes nothing outside of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime.backends.base import Backend
from edge_runtime.dsp.mel import MelConfig
from edge_runtime.dsp.overlap import average_windows
from edge_runtime.errors import BundleError, ConfigError, InputError
from edge_runtime.media.audio import WavWriter, write_wav
from edge_runtime.media.masks import DEFAULT_ALPHA, check_alpha, mask_weights, parse_mask
from edge_runtime.media.pictures import Preview, write_png
from edge_runtime.media.video import Frame, VideoReader, differs, follow_clock, open_video, prepare_frames
from edge_runtime.pipelines import pack_files as pack
from edge_runtime.pipelines.bundle_net import AnyBundle, BundleNet
from edge_runtime.pipelines.vocoder.pipeline import HIGHEST, Vocoder
from edge_runtime.store.growing_arrays import ArrayWriter
from edge_runtime.store.scaler import Statistics, read_scaler, statistics

Mode = Literal["full", "window"]
Rows = NDArray[np.float32]

NET = "mri-acoustic"
LOUDEST = HIGHEST * 10 / np.log(10)  # dB; beyond it the vocoder refuses a mel
LOG_FLOOR = 1e-5  # of the power that enters the vocoder's logarithm: -50 dB
RUN_FRAMES = 32  # pictures per run of the net in window mode; memory grows with it
TOLERANCE = 1e-3  # what `edge-export check` allows by default, in the unit of each array


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
        acoustic, vocoder: bundles of `mri-acoustic` and `hifigan`, folders or open bundles.
        mode: "full" or "window", see above.
        window: pictures of a window, in mode "window"; those of the net's training if not given.
        step: pictures from one window to the next; 1 averages most.
        mask: an articulator ("lip", "tongue") or a polygon to darken, see
            `edge_runtime.media.masks.parse_mask`.
        alpha: intensity that remains under the mask, 0 hides, 1 changes nothing.
        scaler: the data set's scaler.json, where the bundle holds no mean and deviation of the mel; it
            takes the place of those of the bundle.
        max_frames: frames, on the mel's clock, that are used of a video.
        backend, device, threads, precision: what executes the nets, see `edge_runtime.pipelines.bundle_net`.
        progress: is told in one line how far long work is.

    Raises:
        ConfigError: options that are impossible or contradict each other.
        InputError: a mask or a scaler that is refused.
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
        backend: str | Backend = "onnxruntime",
        device: str = "cpu",
        threads: int | None = None,
        precision: str = "fp32",
        progress: Callable[[str], None] = _silent,
    ) -> None:
        if mode not in get_args(Mode):
            raise ConfigError("--mode", got=repr(mode), expected=" or ".join(get_args(Mode)))
        self.mode = mode
        self.max_frames = _count("--max-frames", max_frames)
        if alpha is not None and mask is None:
            raise ConfigError("--alpha", got=f"{alpha} without --mask", expected="both, or neither")
        self.mask, self.alpha = mask, check_alpha(DEFAULT_ALPHA if alpha is None else alpha)
        self.polygon = parse_mask(mask) if mask is not None else None
        self._weights: tuple[tuple[int, int], Rows] | None = None  # of the last size asked for
        self.progress = progress
        # frames (T, S, S) → what they become inside the net (T, C), where somebody can tell: for packs
        self.features: Callable[[Rows], Rows] | None = None
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
        self.vocoder = Vocoder(vocoder, backend=backend, device=device, threads=threads, precision=precision)
        self.front_end = _front_end(self.net)
        self.size, self.n_mels = _sizes(self.net)
        _check_pair(self.front_end, self.n_mels, self.vocoder)
        self.scaling = self.net.manifest.config.get("frame_scaling", "full-scale")
        self.mean, self.std = self._statistics(scaler)
        self.window, self.step = self._windows(window, step)

    @property
    def clock(self) -> float:
        """Frames per second that net and vocoder work at."""
        return self.front_end.sample_rate / self.front_end.hop_length

    @property
    def sample_rate(self) -> int:
        """Of the speech, Hz."""
        return self.vocoder.sample_rate

    def mask_weights(self, height: int, width: int) -> Rows | None:
        """(S, S) that prepared frames of a video of this size are multiplied by; None without a mask."""
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
            fps: their rate; None takes them to be on the mel's clock.

        Raises:
            InputError: frames that are refused, or too many for the artifact.
        """
        values = np.asarray(frames)
        if values.ndim != 3:
            raise InputError("frames", got=f"shape {values.shape}", expected="(T, H, W)")
        return self._process(self._on_clock(values, fps))

    def process_file(self, path: str | os.PathLike[str]) -> MriSpeechResult:
        """The same for a video file or .npy frames; refusals name the file."""
        with _naming(path), open_video(path) as reader:
            return self._process(self._on_clock(reader, reader.fps))

    def write_result(self, path: str | os.PathLike[str], folder: Path) -> dict[str, Any]:
        """Write wav, mels and pictures of a video into a folder, as they come: what ``run`` does.

        STEM_generated.wav, STEM_mel.npy (T, n_mels) dB, STEM_mel_linear.npy (power), STEM_mel_log.npy
        (what the vocoder is fed), STEM_mel.png and STEM_mel_log.png.

        Returns:
            What metadata.json says of it.

        Raises:
            InputError: the video is refused, by its name.
        """
        stem = folder / Path(path).stem
        previews = {"mel": Preview(self.n_mels), "mel_log": Preview(self.n_mels)}
        with (
            _naming(path),
            open_video(path) as reader,
            ArrayWriter(f"{stem}_mel.npy", (self.n_mels,)) as decibels,
            ArrayWriter(f"{stem}_mel_linear.npy", (self.n_mels,)) as linear,
            ArrayWriter(f"{stem}_mel_log.npy", (self.n_mels,)) as logs,
            WavWriter(f"{stem}_generated.wav", self.sample_rate) as wav,
        ):
            self._say_clock(reader.fps)
            frames = self._on_clock(reader, reader.fps)

            def mels() -> Iterator[NDArray[Any]]:
                for standardised in self._acoustic(self._prepared(frames)):
                    mel, mel_log = self._scaled(standardised)
                    decibels.write(mel)
                    linear.write(10.0 ** (mel / 10.0))
                    logs.write(mel_log)
                    previews["mel"].add(mel)
                    previews["mel_log"].add(mel_log)
                    yield mel_log.T  # (k, n_mels) → (n_mels, k)

            for samples in self.vocoder.stream(mels()):
                wav.write(samples)
                self._say_seconds(wav.count / self.sample_rate, reader)
        for name, preview in previews.items():
            write_png(f"{stem}_{name}.png", preview.picture())
        return {
            "executed_by": {NET: self.net.detail, "hifigan": self.vocoder.net.detail},
            "sample_rate": self.sample_rate,
            "samples": wav.count,
            "frames": decibels.count,
        } | self.settings(reader.fps)

    def save_reference(
        self, path: str | os.PathLike[str], out: str | os.PathLike[str], *, overwrite: bool = False
    ) -> Path:
        """Write a reference pack of a video: every stage as .npy, for developers of a port.

        video.npy (T, H, W), the pictures on the mel's clock; frames.npy (T, S, S), what the net sees;
        mask.npy (S, S) where there is one; features.npy (T, C) where `features` tells; mel_standardised.npy,
        mel_db.npy and mel_log.npy, (T, n_mels) each; wav.npy (T · hop_length,); generated.wav, metadata.json
        and the instructions.

        Raises:
            TargetError: ``out`` exists (and is no pack, or ``overwrite`` is not given) or cannot be written.
            EdgeError: as `process_file`.
        """
        with _naming(path), open_video(path) as reader:
            self._say_clock(reader.fps)
            video = list(self._on_clock(reader, reader.fps))
            result = self._process(video)
            fps = reader.fps
        with pack.replace_pack(out, overwrite) as folder:
            _write_pack(folder, Path(path).name, np.stack(video), fps, result, self)
        return Path(out)

    # stages ------------------------------------------------------------------------------------------------

    def _process(self, frames: Iterable[Frame]) -> MriSpeechResult:
        prepared = [*self._prepared(frames)]
        if not prepared:
            raise InputError("frames", got="none", expected="at least one")
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
            yield from average_windows(
                prepared, self._answer, self.n_mels, window=self.window, step=self.step, batch=batch
            )
            return
        yield self._answer(np.stack([*prepared])[None])[0]

    def _answer(self, frames: Rows) -> Rows:
        """(n, T, S, S) → (n, T, n_mels), one run of the net."""
        self._check_length(frames.shape[1])
        return self.net(frames[:, :, None])

    def _scaled(self, standardised: Rows) -> tuple[Rows, Rows]:
        """The net's answer → (dB, natural logarithm of the power)."""
        decibels = standardised * self.std + self.mean
        highest = float(decibels.max())  # NaN where one of them is
        if not highest <= LOUDEST:
            raise InputError(
                "mel",
                got=f"up to {highest:.4g} dB",
                expected=f"at most {LOUDEST:.4g}, what sound within ±1 has",
                cause="the acoustic net has no training, or mean and std of another one",
            )
        power = np.maximum(10.0 ** (decibels / 10.0), LOG_FLOOR)
        return decibels.astype(np.float32), np.log(power).astype(np.float32)

    # options -----------------------------------------------------------------------------------------------

    def _statistics(self, scaler: str | os.PathLike[str] | None) -> Statistics:
        """Mean and standard deviation of each band, dB, (n_mels,) float64."""
        if scaler is not None:
            return read_scaler(scaler, self.n_mels)
        config = self.net.manifest.config
        if config.get("mel_mean") is None or config.get("mel_std") is None:
            raise ConfigError(
                "--scaler",
                got=f"none, and no mel_mean and mel_std in {self.net.bundle.path}",
                expected="the scaler.json of the training data",
            )
        return statistics(config, "mel_mean", "mel_std", self.n_mels, f"{self.net.bundle.path}: config")

    def _windows(self, window: int | None, step: int | None) -> tuple[int, int]:
        for option, value in (("--window", window), ("--step", step)):
            if value is not None and self.mode != "window":
                raise ConfigError(option, got=f"{value} in mode {self.mode}", expected="it in mode window")
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
                got=f"{frames} in one run",
                expected=f"{numbers}, which the artifact takes",
                cause="--mode window runs videos of any length" if self.mode == "full" else "",
            )

    def settings(self, fps: float | None) -> dict[str, Any]:
        """What else decides the numbers, for metadata.json."""
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

    def _say_clock(self, fps: float | None) -> None:
        if differs(fps, self.clock):
            self.progress(f"the video has {fps:g} frames a second: blended to the mel's {self.clock:.4g}")

    def _say_seconds(self, done: float, reader: VideoReader) -> None:
        whole = f" of about {reader.count / (reader.fps or self.clock):.1f} s" if reader.count else ""
        self.progress(f"{done:.1f} s of speech{whole}")


@contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Refusals of what a video holds carry its name, once."""
    try:
        yield
    except InputError as error:
        raise (error if error.what.startswith(str(path)) else error.within(str(path))) from error


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
    """(pixels of a side, mel bands), which the manifest must fix."""
    *_, height, width = net.manifest.inputs[0].shape
    bands = net.manifest.outputs[0].shape[2]
    if not isinstance(height, int) or height != width or not isinstance(bands, int):
        raise BundleError(
            f"{net.bundle.path}: shapes",
            got=f"pictures of {height} by {width}, {bands} bands",
            expected="square pictures of a fixed size, a fixed number of bands",
        )
    return height, bands


def _check_pair(front_end: MelConfig, n_mels: int, vocoder: Vocoder) -> None:
    """Refuse nets of different clocks: the speech would be too fast, too high, or noise."""
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


# the reference pack ----------------------------------------------------------------------------------------

_DESCRIPTION = (
    "Every stage from rtMRI video to speech. A port (Swift, Kotlin, C++) that starts from video.npy and "
    "writes arrays of the same names can be checked number by number: `edge-export check THIS_FOLDER "
    "YOUR_FOLDER`. All arrays are numpy .npy files, little-endian, C order."
)


def _write_pack(
    folder: Path,
    name: str,
    video: NDArray[Any],
    fps: float | None,
    result: MriSpeechResult,
    made_by: MriSpeech,
) -> None:
    arrays = {
        "video": video,
        "frames": result.frames,
        "mel_standardised": result.standardised,
        "mel_db": result.mel,
        "mel_log": result.mel_log,
        "wav": result.samples,
    }
    weights = made_by.mask_weights(*video.shape[1:])
    if weights is not None:
        arrays["mask"] = weights
    if made_by.features is not None:
        arrays["features"] = made_by.features(result.frames)
    for stage, values in arrays.items():
        np.save(folder / f"{stage}.npy", values)
    write_wav(folder / "generated.wav", result.samples, made_by.sample_rate)
    pack.write_json(
        folder / "metadata.json",
        {
            "source": name,
            "sample_rate": made_by.sample_rate,
            "hop_length": made_by.vocoder.hop_length,
            "n_mels": made_by.n_mels,
            "image_size": made_by.size,
            "mel_mean": made_by.mean.tolist(),
            "mel_std": made_by.std.tolist(),
            "front_end": made_by.front_end.to_json(),
        }
        | made_by.settings(fps)
        | {
            "arrays": {
                stage: {
                    "shape": list(values.shape),
                    "value_range": [float(values.min()), float(values.max())],
                }
                for stage, values in arrays.items()
            },
        },
    )
    _write_instructions(folder, arrays, made_by)


def _write_instructions(folder: Path, arrays: dict[str, NDArray[Any]], made_by: MriSpeech) -> None:
    meanings = {
        "video": f"pictures at {made_by.clock:.6g} per second, as they were decoded",
        "frames": "pictures as the net sees them, 0 to 1",
        "mask": "what each pixel of frames.npy was multiplied by",
        "features": "inside of mri-acoustic: the mean of the last map of each picture, its LSTM's input",
        "mel_standardised": "the mri-acoustic net's output, standard deviations of each band",
        "mel_db": "mel power spectrogram, dB: mel_standardised * mel_std + mel_mean (metadata.json)",
        "mel_log": "ln(max(10^(mel_db / 10), 1e-5)): transposed, the vocoder's input",
        "wav": f"samples in [-1, 1] at {made_by.sample_rate} Hz: the vocoder's output",
    }
    scaling = {
        "full-scale": "divide by 255",
        "min-max": "map each frame's darkest pixel to 0, its brightest to 1; a constant frame is all zeros",
    }[made_by.scaling]
    once = "Feed frames.npy to mri-acoustic as (1, T, 1, S, S); compare with mel_standardised.npy."
    averaged = (
        f"Feed windows of {made_by.window} frames, one every {made_by.step} and one against the end, to "
        "mri-acoustic as (n, window, 1, S, S); average where they overlap; compare with mel_standardised.npy."
    )
    steps = [
        f"Reduce video.npy to {made_by.size}x{made_by.size} pixels, each the mean of the area it covers; "
        f"{scaling}; compare with frames.npy.",
        once if made_by.mode == "full" else averaged,
        "Compute mel_db.npy and mel_log.npy by the formulas under files.",
        "Feed mel_log.npy, transposed to (1, n_mels, T), to hifigan; compare the samples with wav.npy.",
        "Keep the largest absolute difference at or below 1e-3 (`edge-export check` exits with 1 otherwise).",
    ]
    if "mask" in arrays:
        steps.insert(1, "frames.npy is that times mask.npy.")
    files = {
        f"{stage}.npy": f"{values.shape} {values.dtype}, {meanings[stage]}"
        for stage, values in arrays.items()
    }
    files |= {"generated.wav": "wav.npy as a 16-bit file", "metadata.json": "settings, shapes, value ranges"}
    pack.write_instructions(
        folder,
        "the way from rtMRI video to speech",
        _DESCRIPTION,
        steps,
        files,
        {stage: {"shape": list(values.shape)} for stage, values in arrays.items()}
        | {"numerical_tolerance": TOLERANCE},
        {
            NET: pack.provenance(made_by.net.manifest, made_by.net.detail, made_by.net.precision),
            "hifigan": pack.provenance(
                made_by.vocoder.net.manifest, made_by.vocoder.net.detail, made_by.vocoder.net.precision
            ),
        },
    )
