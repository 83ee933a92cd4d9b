"""Mels that the acoustic model predicts, for fine-tuning the vocoder on its future input.

    DATA/samples/ID/mri.npy → net → standardised dB · std + mean → OUT/ID.npy

OUT/predicted_mels.json lists the clips. OUT/ID.npy is (n_mels, T) float32, natural logarithm of power, at
least ln 1e-5. Mean and deviation are those of the net's training, where its configuration holds them, else
those of the data.

Source: export_predicted_mels.py of YamaneKoyo/mri-to-speech, whose folder is `mels_ft_log_normalized`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edge_runtime.backends.base import Backend
from edge_runtime.dsp.overlap import average_windows
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.pipelines.bundle_net import BundleNet
from edge_runtime.store.ownership import holds_only
from edge_runtime.store.reading import find_object
from edge_runtime.store.scaler import Statistics, read_scaler
from edge_runtime.store.targets import replace_directory
from edge_training.mri_speech.data import load_sample, read_meta
from edge_training.mri_speech.mri_acoustic import MriAcoustic, MriAcousticConfig
from edge_training.mri_speech.partial import PREDICTED, PREDICTED_RECORD
from edge_training.mri_speech.preparation import vocoder_mel, write_json
from edge_training.weights import loading

FORMAT = "edge-predicted-mels/1"
MODES = ("full", "window")
WINDOWS = 8  # answered together by a bundle

AnyPath = str | os.PathLike[str]
F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Predictor:
    """A net in a form that runs: `predict` takes pictures (T, S, S) and gives standardised dB (T, n_mels)."""

    config: MriAcousticConfig
    predict: Callable[[F32], F32]


def open_predictor(
    checkpoint: AnyPath | None = None,
    bundle: AnyPath | None = None,
    *,
    config: AnyPath | None = None,
    mode: str = "full",
    backend: str | Backend = "onnxruntime",
    changes: Mapping[str, Any] | None = None,
    weights: str | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Predictor:
    """The net of a checkpoint, in torch, or of a bundle, on a backend.

    Args:
        checkpoint: weights, or a training file of mri2speech.
        bundle: instead of a checkpoint.
        config: of a checkpoint: JSON of the net or of its data; None: config.json or meta.json beside
            it, else mri2speech's net.
        mode: "full", one pass over the clip, or "window", the mean of overlapping windows.
        backend: of a bundle.
        changes: entries that override the checkpoint's configuration.
        weights: of a checkpoint with several sets: "ema", "live", or the name of one.
        say: takes what was inferred from a checkpoint.

    Raises:
        ConfigError: both or neither of checkpoint and bundle; an unknown mode.
        CheckpointError, BundleError, BackendError: weights or a bundle of another net, or damaged.
    """
    if mode not in MODES:
        raise ConfigError("mode", got=repr(mode), expected=" or ".join(MODES))
    if bundle is not None and checkpoint is None and config is None and not changes and weights is None:
        return _of_bundle(bundle, mode, backend)
    if checkpoint is None or bundle is not None:
        raise ConfigError(
            "checkpoint and bundle",
            got="neither" if checkpoint is bundle else "both, or options of a checkpoint beside a bundle",
            expected="a checkpoint and its configuration, or a bundle",
        )
    net = load_net(checkpoint, config, say, changes=changes, weights=weights)
    return _of_checkpoint(net, mode)


def load_net(
    checkpoint: AnyPath,
    config: AnyPath | None = None,
    say: Callable[[str], object] = lambda _: None,
    *,
    changes: Mapping[str, Any] | None = None,
    weights: str | None = None,
) -> MriAcoustic:
    """The net of a checkpoint, for inference; arguments as of `open_predictor`."""
    loaded = loading.load_net(
        checkpoint, "mri-acoustic", config, default=MriAcousticConfig(), changes=changes, weights=weights
    )
    for sentence in loaded.said:
        say(sentence)
    net: MriAcoustic = loaded.module
    return net


def _of_checkpoint(net: MriAcoustic, mode: str) -> Predictor:
    def predict(frames: F32) -> F32:
        with torch.inference_mode():
            batch = torch.from_numpy(frames)[None]
            mel = net.windowed(batch) if mode == "window" else net(batch)
        return np.asarray(mel[0].numpy())

    return Predictor(net.config, predict)


def _of_bundle(bundle: AnyPath, mode: str, backend: str | Backend) -> Predictor:
    net = BundleNet(
        bundle,
        "mri-acoustic",
        takes=(None, None, 1, None, None),
        gives=(None, None, None),
        backend=backend,
        device="cpu",
        threads=None,
        precision="fp32",
    )
    settings = MriAcousticConfig.from_json(net.manifest.config)
    batches, frames_at_once = net.lengths(0), net.lengths(1)

    def answer(frames: F32) -> F32:  # (n, T, S, S) → (n, T, n_mels)
        length = frames.shape[1]
        if frames_at_once.only or length > (frames_at_once.high or length):
            raise InputError(
                str(bundle),
                got=f"{length} pictures in one pass",
                expected="a number that its artifact takes",
                cause="choose --mode window, or a bundle with a free time axis",
            )
        return net(frames[:, :, None])

    def predict(frames: F32) -> F32:
        if mode == "full":
            return np.asarray(answer(frames[None])[0])
        batch = 1 if batches.only else min(WINDOWS, batches.high or WINDOWS)
        pieces = average_windows(frames, answer, settings.n_mels, window=settings.window, batch=batch)
        return np.asarray(np.concatenate([*pieces]))

    return Predictor(settings, predict)


def predicted_mels(
    data: AnyPath,
    predictor: Predictor,
    out: AnyPath | None = None,
    *,
    scaler: AnyPath | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write the mels of all clips of a prepared folder; returns the folder that holds them.

    Args:
        data: what `edge-export data mri` wrote.
        predictor: the net.
        out: None: `mels_ft_log_normalized` below ``data``.
        scaler: a scaler.json in place of the net's own mean and deviation.
        overwrite: replace an earlier result of this function.
        progress: called with a line of text for each clip.

    Raises:
        InputError: a folder or scaler that cannot be read, a scaler of another number of bands.
        ConfigError: pictures of another size than the net's.
        TargetError: ``out`` exists or cannot be written.
    """
    folder = Path(data)
    target = folder / PREDICTED if out is None else Path(out)
    names = read_meta(folder)["stems"]
    mean, std = _statistics(folder, predictor.config, scaler)
    size = predictor.config.image_size
    with replace_directory(target, overwrite, ours=_is_ours) as fresh:
        for count, name in enumerate(names, 1):
            frames = np.array(load_sample(folder, name, "mri"), np.float32)
            if frames.shape[1:] != (size, size):
                raise ConfigError(
                    f"{folder}: {name}",
                    got=f"pictures of {frames.shape[2]} × {frames.shape[1]} pixels",
                    expected=f"{size} × {size}, as the net takes them",
                    cause=f"prepare the data with --size {size}",
                )
            np.save(fresh / f"{name}.npy", vocoder_mel(predictor.predict(frames) * std + mean))
            if progress is not None:
                progress(f"{count}/{len(names)}: {name}")
        write_json(fresh / PREDICTED_RECORD, {"format": FORMAT, "clips": list(names)})
    return target


def _statistics(folder: Path, config: MriAcousticConfig, scaler: AnyPath | None) -> Statistics:
    if scaler is None and config.mel_mean is not None:
        return np.asarray(config.mel_mean), np.asarray(config.mel_std)
    return read_scaler(folder / "scaler.json" if scaler is None else scaler, config.n_mels)


def _is_ours(folder: Path) -> bool:
    record = find_object(folder / PREDICTED_RECORD)
    clips = record.get("clips")
    if record.get("format") != FORMAT or not isinstance(clips, list):
        return False
    names = {PREDICTED_RECORD, *(f"{clip}.npy" for clip in clips)}
    return holds_only(folder, names.__contains__)
