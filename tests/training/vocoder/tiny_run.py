"""A corpus of short tones and a HiFi-GAN small enough to train in a test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.errors import EdgeError
from edge_runtime.media.audio import write_wav
from edge_training.engine.trainer import TrainResult, train

RATE = 8000

TINY: dict[str, Any] = {
    "resblock": "1", "upsample_rates": [4, 4], "upsample_kernel_sizes": [8, 8], "upsample_initial_channel": 8,
    "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 5]],
    "num_mels": 8, "n_fft": 64, "hop_size": 16, "win_size": 64, "sampling_rate": RATE,
    "fmin": 0, "fmax": 3000,
    "segment_size": 512, "batch_size": 4, "learning_rate": 1e-3, "seed": 7,
    "mpd": {"periods": [2, 3], "channels": [4, 8]},
    "msd": {"scales": 2, "channels": [4, 8], "kernels": [15, 5], "strides": [1, 4], "groups": [1, 4]},
    "log_every": 1, "checkpoint_every": 5, "validate_every": 10, "lambda_stft": 1.0,
    "stft_resolutions": [[64, 16, 64]], "lr_decay": 0.9,
}  # fmt: skip


def write_clips(folder: Path, clips: int, *, rate: int = RATE, seconds: float = 0.2) -> Path:
    """Tones with noise, clip00.wav …"""
    folder.mkdir(parents=True, exist_ok=True)
    for clip in range(clips):
        draw = np.random.default_rng(clip)
        t = np.arange(int(rate * seconds)) / rate
        tone = 0.5 * np.sin(2 * np.pi * (200 + 50 * clip) * t) + 0.05 * draw.standard_normal(t.size)
        write_wav(folder / f"clip{clip:02d}.wav", tone.astype(np.float32), rate)
    return folder


def fit(corpus: Path, out: Path, **settings: Any) -> TrainResult:
    """Train the tiny net here."""
    arguments: dict[str, Any] = {"config": TINY, "progress": False} | settings
    return train("hifigan", corpus, out, **arguments)


def fit_where_it_ends(corpus: Path, out: Path, **settings: Any) -> None:
    """Train, and print what was refused and what is left beside `out`."""
    try:
        fit(corpus, out, **settings)
    except EdgeError as refusal:
        print(f"{type(refusal).__name__}: {refusal}")
    print(os.listdir(out.parent))


def fit_elsewhere(
    corpus: Path,
    out: Path,
    *,
    processes: int = 1,
    before: str = "",
    run: str = "vocoder.tiny_run.fit",
    within: Sequence[str] = (),
    **settings: str,
) -> subprocess.CompletedProcess[str]:
    """Train the tiny net in new processes, started as torchrun starts them where there are several.

    `settings` are Python expressions, which may use what `before` defines; `run` names a function like `fit`;
    `within` is a command that runs the one given as its further arguments.
    """
    module, function = run.rsplit(".", 1)
    arguments = ", ".join(f"{name}={value}" for name, value in settings.items())
    code = (
        "from pathlib import Path; import torch; torch.set_num_threads(1)\n"
        f"from tests.training.{module} import {function}\n{before}\n"
        f"{function}(Path({str(corpus)!r}), Path({str(out)!r}), {arguments})\n"
    )
    command = ["-c", code]
    if processes > 1:
        share = f"--nproc-per-node={processes}"
        launcher = ["-m", "torch.distributed.run", "--standalone", share, "--no-python", sys.executable]
        command = launcher + command
    # the loopback interface, since a container's own name may resolve to nothing
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [*within, sys.executable, *command]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
