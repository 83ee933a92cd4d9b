"""Grad-CAM for formant bands: which parts of the pictures make a band of the predicted mel loud.

    pictures → backbone → maps F (T, C, h, h) → net → mel → dB → power 10^(dB / 10)
    P[t], the power of picture t summed over the mel bands of the formant → one number
    gradient of its logarithm by F, mean over h × h → a weight for each channel, picture by picture
    max(0, Σ weight · F) → enlarged bilinearly to the video → lowest 0, highest 1, picture by picture

The number is the mean of P over time for the sequence of maps, and P[t] for the map of a target frame t.
The logarithm changes no map, because each is scaled by its own maximum; it keeps quiet frames from vanishing
in float32. Batch norm and dropout stay as in inference. cuDNN differentiates an LSTM only in training mode,
so on CUDA the LSTM is put into that mode; with one layer it computes the same.

Source: Selvaraju et al. (2017, arXiv 1610.02391), as mri2speech applies it. mri2speech takes the HTK scale to
8 kHz for the mel bands, though its mels are Slaney's to 5706.5 Hz: `legacy_bins` does the same.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edge_runtime.dsp.mel import MelConfig, band_centres
from edge_runtime.errors import BackendError, ConfigError, InputError
from edge_runtime.media.pictures import colour, write_png
from edge_runtime.media.video import (
    assumed_rate,
    follow_clock,
    import_opencv,
    open_video,
    prepare_frames,
    rate_of,
    write_video,
)
from edge_runtime.store.growing_arrays import ArrayWriter
from edge_runtime.store.ownership import holds_only
from edge_runtime.store.reading import find_object
from edge_runtime.store.scaler import Statistics, read_scaler
from edge_runtime.store.targets import replace_directory
from edge_training.mri_speech.losses import Band, bins_of
from edge_training.mri_speech.mri_acoustic import MriAcoustic
from edge_training.mri_speech.predicted_mels import load_net

FORMAT, RECORD = "edge-gradcam/1", "gradcam.json"
DEFAULT_BANDS = ("F1:300-900", "F2:900-2500")
LEGACY_FMAX = 8000.0  # Hz, which mri2speech takes for the upper edge of its mels
AT_ONCE = 16  # pictures in one pass of the backbone
PICTURE_ALPHA, VIDEO_ALPHA = 0.5, 0.6  # of the heat over the frame
SLOW_FPS, SLOW_REPEATS = 5.0, 3

AnyPath = str | os.PathLike[str]
Maps = NDArray[np.float32]  # (frames, height, width)


# ---- formant bands ----------------------------------------------------------------------------------------


def parse_band(text: str) -> Band:
    """A band from NAME:LOW-HIGH, in Hz.

    Raises:
        ConfigError: another form, a name that cannot be a file name, or swapped edges.
    """
    name, _, edges = text.partition(":")
    low, _, high = edges.partition("-")
    try:
        band = Band(name, float(low), float(high), 1.0)
    except ValueError:
        band = Band("", 0.0, 0.0, 1.0)
    if not (band.name and band.name.replace("_", "").isalnum() and 0 <= band.low < band.high < float("inf")):
        raise ConfigError(
            "--formant-band", got=repr(text), expected="NAME:LOW-HIGH in Hz, LOW below HIGH, as F1:300-900"
        )
    return band


def formant_bins(band: Band, mel: MelConfig, *, legacy_bins: bool = False) -> range:
    """The mel bands whose centre lies in a formant band.

    Raises:
        ConfigError: the band reaches above the Nyquist frequency, or holds no centre.
    """
    if band.high > mel.nyquist:
        raise ConfigError(
            f"--formant-band {band.name}",
            got=f"{band.high:g} Hz",
            expected=f"at most the Nyquist frequency, {mel.nyquist:g} Hz",
        )
    if legacy_bins:
        mel = replace(mel, mel_scale="htk", fmin=0.0, fmax=LEGACY_FMAX, fmax_above_nyquist=True)
    try:
        (bins,) = bins_of([band], mel)
    except ConfigError as error:
        raise error.within("--formant-band") from error
    return range(bins.start, bins.stop)


# ---- maps -------------------------------------------------------------------------------------------------


class FormantCam:
    """Coarse maps of one video.

    Args:
        net: in any mode; it is put into evaluation mode.
        statistics: mean and deviation of each mel band, dB.
        frames: (T, S, S) float32 as the net takes them.
    """

    def __init__(self, net: MriAcoustic, statistics: Statistics, frames: NDArray[np.float32]) -> None:
        self.net = net.eval()
        device = next(net.parameters()).device
        self._mean, self._std = (torch.from_numpy(values).float().to(device) for values in statistics)
        if device.type == "cuda":
            self.net.rnn.train()
        with torch.no_grad():
            parts = torch.split(torch.from_numpy(frames), AT_ONCE)
            self.maps = torch.cat([net.maps(part[None].to(device))[0] for part in parts])  # (T, C, h, h)

    def power(self, bins: range) -> NDArray[np.float32]:
        """P (T,): the predicted power of a band of each picture."""
        with torch.no_grad():
            return np.asarray(self._power(self.maps, bins).cpu().numpy())

    def sequence(self, bins: range) -> Maps:
        """Maps (T, h, h), not scaled: what raises the band's mean power over time."""
        return self._cam(bins, lambda power: power.mean())

    def target(self, bins: range, frame: int) -> Maps:
        """Map (1, h, h), not scaled: what raises the band's power in the picture ``frame``."""
        return self._cam(bins, lambda power: power[frame])[frame : frame + 1]

    def _power(self, maps: Tensor, bins: range) -> Tensor:
        decibels = self.net.mel(maps[None])[0] * self._std + self._mean
        return torch.pow(10.0, decibels[:, bins.start : bins.stop] / 10.0).sum(1)

    def _cam(self, bins: range, number: Callable[[Tensor], Tensor]) -> Maps:
        maps = self.maps.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(number(self._power(maps, bins)).log(), maps)
        weights = gradient.mean((2, 3), keepdim=True)
        return np.asarray(F.relu((weights * self.maps).sum(1)).cpu().numpy())


def enlarged(cams: Maps, height: int, width: int) -> Maps:
    """Coarse maps (n, h, h) → (n, height, width), each from 0, its lowest, to 1, its highest value."""
    large = F.interpolate(torch.from_numpy(cams)[:, None], (height, width), mode="bilinear")[:, 0].numpy()
    large = large - large.min(axis=(1, 2), keepdims=True)
    highest = large.max(axis=(1, 2), keepdims=True)
    return np.asarray(large / np.where(highest > 0, highest, 1.0), np.float32)


def overlay(frame: NDArray[Any], heat: NDArray[np.float32], alpha: float) -> NDArray[np.uint8]:
    """A grey frame (H, W), uint8 or 0 … 1, with its map (H, W) in colour over it: uint8 (H, W, 3)."""
    grey = frame.astype(np.float64) * (1.0 if frame.dtype == np.uint8 else 255.0)
    mixed = (1.0 - alpha) * grey[:, :, None] + alpha * colour(heat, "jet")
    return np.asarray(np.rint(mixed), np.uint8)


# ---- the command ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clip:
    """A video at the mel's frame rate."""

    frames: NDArray[Any]  # (T, H, W) as recorded
    prepared: NDArray[np.float32]  # (T, S, S) as the net takes them


def gradcam(
    video: AnyPath,
    checkpoint: AnyPath,
    out: AnyPath,
    *,
    bands: Sequence[str] = DEFAULT_BANDS,
    target_frames: Sequence[int] = (),
    legacy_bins: bool = False,
    config: AnyPath | None = None,
    scaler: AnyPath | None = None,
    changes: Mapping[str, Any] | None = None,
    weights: str | None = None,
    fps: float | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    progress: Callable[[str], object] = lambda _: None,
) -> Path:
    """Write the maps of formant bands for a video.

    For each band: `gradcam_NAME_sequence.npy` (T, H, W) float32 in 0 … 1, `_average.npy` and `_average.png`,
    `_slow.mp4`; for each target frame `_frameNNNN.png`, its map over the frame, and `_frameNNNN_detail.png`,
    frame, map of the frame's own power and map of the mean power side by side. gradcam.json lists the bands.

    Args:
        video: grey video, or .npy frames (T, H, W).
        checkpoint: weights of mri-acoustic.
        out: the folder to write.
        bands: NAME:LOW-HIGH in Hz.
        target_frames: numbers of mel frames.
        legacy_bins: mri2speech's mapping of Hz to mel bands.
        config: of the net, where it does not lie beside the checkpoint.
        scaler: mean and deviation, where the net's configuration does not hold them.
        changes: entries that override the net's configuration.
        weights: of a checkpoint with several sets: "ema", "live", or the name of one.
        fps: frames per second of a video that states none, .npy frames; None: the mel's.
        device: torch's device, "cpu" or "cuda".
        overwrite: replace an earlier result.
        progress: called with a line of text before each step.

    Raises:
        ConfigError: bands or frames that do not exist; no mean and deviation.
        InputError: the video cannot be read, or the scaler.
        CheckpointError: damaged weights, or of another net.
        TargetError: `out` exists.
        BackendError: opencv is not installed.
    """
    import_opencv()
    _check_device(device)
    parsed = _parsed(bands)
    net = load_net(checkpoint, config, progress, changes=changes, weights=weights).to(device)
    bins = {band.name: formant_bins(band, net.config.mel, legacy_bins=legacy_bins) for band in parsed}
    statistics = net_statistics(net, scaler)
    progress(f"reading {Path(video).name}")
    clip = read_clip(video, net, fps, progress)
    _check_targets(target_frames, len(clip.frames))
    with replace_directory(out, overwrite, ours=_is_ours) as folder:
        progress(f"{len(clip.frames)} pictures through the backbone")
        cam = FormantCam(net, statistics, clip.prepared)
        for name, places in bins.items():
            progress(f"{name}: mel bands {places.start} to {places.stop - 1}")
            _write_band(folder, name, cam, places, clip, target_frames)
        description = {
            "format": FORMAT,
            "video": Path(video).name,
            "checkpoint": Path(checkpoint).name,
            "frames": len(clip.frames),
            "target_frames": list(target_frames),
            "legacy_bins": legacy_bins,
            "bands": [_described(band, bins[band.name], net.config.mel) for band in parsed],
        }
        (folder / RECORD).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    return Path(out)


def read_clip(
    video: AnyPath,
    net: MriAcoustic,
    fps: float | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Clip:
    """A video as recorded and as the net's input; ``fps`` of one that states no rate, ``say`` is told."""
    clock = net.config.frame_rate
    try:
        with open_video(video, square=True) as reader:
            rate = rate_of(reader, fps)
            for note in (reader.note, assumed_rate(clock) if rate is None else ""):
                if note:
                    say(f"{reader.path.name}: {note}")
            frames = np.stack([*follow_clock(reader, rate, clock)])
        return Clip(frames, prepare_frames(frames, net.config.image_size, net.config.frame_scaling))
    except InputError as error:
        raise (error if str(video) in error.what else error.within(str(video))) from error


def _check_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise ConfigError("--device", got=device, expected="cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise BackendError(
            "--device cuda", got="no GPU that torch can use", expected="a GPU, or --device cpu"
        )


def _parsed(bands: Sequence[str]) -> list[Band]:
    parsed = [parse_band(text) for text in bands]
    names = [band.name for band in parsed]
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            "--formant-band", got=", ".join(names) or "none", expected="bands of different names"
        )
    return parsed


def net_statistics(net: MriAcoustic, scaler: AnyPath | None) -> Statistics:
    """Mean and deviation of the mel bands: of a file, else of the configuration."""
    config = net.config
    if scaler is not None:
        return read_scaler(scaler, config.n_mels)
    if config.mel_mean is None or config.mel_std is None:
        raise ConfigError(
            "scaler",
            got="no mean and deviation of the mel bands in the configuration",
            expected="--scaler scaler.json of the data set",
            cause="the net's mels are standardised: without these a band's power cannot be computed",
        )
    return np.asarray(config.mel_mean), np.asarray(config.mel_std)


def _check_targets(targets: Sequence[int], frames: int) -> None:
    for target in targets:
        if not 0 <= target < frames:
            raise ConfigError(
                "--target-frames", got=str(target), expected=f"0 to {frames - 1}, the frames of the video"
            )


def _is_ours(folder: Path) -> bool:
    record = find_object(folder / RECORD)
    bands = record.get("bands")
    if record.get("format") != FORMAT or not isinstance(bands, list):
        return False
    names = "|".join(re.escape(str(band.get("name"))) for band in bands if isinstance(band, dict))
    kinds = r"sequence\.npy|average\.(npy|png)|slow\.mp4|frame\d{4,}(_detail)?\.png"
    written = re.compile(rf"gradcam_({names})_({kinds})")
    return holds_only(folder, lambda name: name == RECORD or bool(written.fullmatch(name)))


def _write_band(
    folder: Path, name: str, cam: FormantCam, bins: range, clip: Clip, targets: Sequence[int]
) -> None:
    height, width = clip.frames.shape[1:]
    coarse = cam.sequence(bins)
    total = np.zeros((height, width))
    stem = folder / f"gradcam_{name}"
    with ArrayWriter(f"{stem}_sequence.npy", (height, width)) as sequence, _slow_video(
        Path(f"{stem}_slow.mp4"), height, width
    ) as show:  # fmt: skip
        for start in range(0, len(coarse), AT_ONCE):
            heat = enlarged(coarse[start : start + AT_ONCE], height, width)
            sequence.write(heat)
            total += heat.sum(axis=0)
            for frame, one in zip(clip.frames[start:], heat, strict=False):
                show(overlay(frame, one, VIDEO_ALPHA))
    average = np.asarray(total / len(coarse), np.float32)
    np.save(f"{stem}_average.npy", average)
    write_png(f"{stem}_average.png", overlay(_mean_frame(clip.frames), average, PICTURE_ALPHA))
    for target in targets:
        frame = clip.frames[target]
        (own,) = enlarged(cam.target(bins, target), height, width)
        (of_all,) = enlarged(coarse[target : target + 1], height, width)
        write_png(f"{stem}_frame{target:04d}.png", overlay(frame, own, PICTURE_ALPHA))
        pictures = [overlay(frame, own, 0.0), colour(own, "jet"), overlay(frame, of_all, PICTURE_ALPHA)]
        write_png(f"{stem}_frame{target:04d}_detail.png", np.concatenate(pictures, axis=1))


def _mean_frame(frames: NDArray[Any]) -> NDArray[np.float64]:
    """The mean of a video, 0 … 1."""
    mean = np.asarray(frames.mean(axis=0), np.float64)
    return mean / 255.0 if frames.dtype == np.uint8 else mean


@contextmanager
def _slow_video(path: Path, height: int, width: int) -> Iterator[Callable[[NDArray[np.uint8]], None]]:
    """A video that shows each picture several times; codecs need even sizes, so edge pixels are repeated."""
    odd = ((0, height % 2), (0, width % 2), (0, 0))
    with write_video(path, height + height % 2, width + width % 2, SLOW_FPS, colour=True) as append:

        def show(picture: NDArray[np.uint8]) -> None:
            for _ in range(SLOW_REPEATS):
                append(np.pad(picture, odd, mode="edge"))

        yield show


def _described(band: Band, bins: range, mel: MelConfig) -> dict[str, Any]:
    """A band for gradcam.json, with the true centres of its mel bands."""
    centres = band_centres(mel)
    return {
        "name": band.name,
        "low_hz": band.low,
        "high_hz": band.high,
        "first_bin": bins.start,
        "last_bin": bins.stop - 1,
        "first_centre_hz": round(float(centres[bins.start]), 1),
        "last_centre_hz": round(float(centres[bins.stop - 1]), 1),
    }
