"""ParallelWaveGAN's and espnet's HiFi-GAN (`HiFiGANGenerator`): `.pkl` checkpoints, `.yml` configurations.

Layers lie in `Sequential`s behind their activations (`upsamples.0.1`, `blocks.0.convs1.0.1`,
`output_conv.1`). Transposed convolutions have kernels of twice their rate u, padding u//2 + u%2 and output
padding u%2. Mels are common logarithms, floored at 1e-10, of a centred STFT's; a corpus' statistics
(`stats.npy`, `stats.h5`) then standardise each band. Where they are at hand, that is part of the net.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.dsp.mel import MelConfig
from edge_runtime.errors import ConfigError
from edge_runtime.store.reading import read_array
from edge_training.weights.dialects.base import Dialect, Entries, Source, front_end_of, statistics

NAME = "ParallelWaveGAN"
SIGNS = (re.compile(r"input_conv\."), re.compile(r"upsamples\.0\."), re.compile(r"output_conv\."))
FLOOR = 1e-10  # of its logarithm
_LAYERS = (
    (re.compile(r"input_conv\.(.*)"), "conv_pre.{0}"),
    # its first versions had no Sequentials there
    (re.compile(r"upsamples\.(\d+)(?:\.\d+)?\.(\D.*)"), "ups.{0}.{1}"),
    (re.compile(r"blocks\.(\d+)\.convs([12])\.(\d+)(?:\.\d+)?\.(\D.*)"), "resblocks.{0}.convs{1}.{2}.{3}"),
    (re.compile(r"output_conv(?:\.\d+)?\.(\D.*)"), "conv_post.{0}"),
)


def _rename(keys: Collection[str]) -> dict[str, str]:
    single = not any(".convs2." in key for key in keys)  # blocks of the second type
    renamed = {}
    for key in keys:
        for pattern, name in _LAYERS:
            if found := pattern.fullmatch(key):
                renamed[key] = name.format(*found.groups())
    return {key: name.replace(".convs1.", ".convs.") if single else name for key, name in renamed.items()}


def _is_config(entries: Mapping[str, Any]) -> bool:
    return isinstance(entries.get("generator_params"), Mapping) and "sampling_rate" in entries


def _translate(entries: Entries, source: Source, said: list[str]) -> dict[str, Any]:
    entries.only("generator_type", ("HiFiGANGenerator",), "another generator", default="HiFiGANGenerator")
    entries.only("global_gain_scale", (1.0, 1), "its audio is scaled before the mel", default=1.0)
    net = entries.inside("generator_params")
    for name, accepted, default in (
        ("out_channels", (1,), 1),
        ("kernel_size", (7,), 7),
        ("bias", (True,), True),
        ("use_causal_conv", (False,), False),
        ("global_channels", (-1, 0, None), -1),
        ("nonlinear_activation", ("LeakyReLU",), "LeakyReLU"),
        ("nonlinear_activation_params.negative_slope", (0.1,), 0.1),
    ):
        net.only(name, accepted, "our HiFi-GAN has no other arithmetic", default=default)
    rates, kernels = net.get("upsample_scales"), net.get("upsample_kernel_sizes")
    fft = entries.get("fft_size")
    translated = {
        "resblock": 1 if net.get("use_additional_convs", True) else 2,
        "upsample_rates": rates,
        "upsample_kernel_sizes": kernels,
        "upsample_initial_channel": net.get("channels", 512),
        "resblock_kernel_sizes": net.get("resblock_kernel_sizes", [3, 7, 11]),
        "resblock_dilation_sizes": net.get("resblock_dilations", [[1, 3, 5]] * 3),
        "num_mels": net.get("in_channels", entries.get("num_mels", 80)),
        "n_fft": fft,
        "hop_size": entries.get("hop_size"),
        "win_size": entries.get("win_length", None) or fft,
        "sampling_rate": entries.get("sampling_rate"),
        "fmin": entries.get("fmin", None) or 0.0,
        "fmax": entries.get("fmax", None),
        "odd_kernels": "output-padding",
    }
    found = _statistics(source, translated["num_mels"])
    if found:
        said.append(f"{NAME}'s statistics found: the net standardises common logarithms of the mel by itself")
        return translated | found | {"front_end": _front_end(entries, translated).to_json()}
    said.append(
        f"no statistics of {NAME} (stats.npy, stats.h5) beside the checkpoint: the net takes mels as they "
        "were standardised there, and the bundle no audio"
    )
    return translated | {"front_end_known": False}


def _front_end(entries: Entries, net: Mapping[str, Any]) -> MelConfig:
    base = entries.get("log_base", 10.0)
    if base not in (10.0, None):
        raise entries.refuse("log_base", repr(base), "10.0 or null")
    return front_end_of(net, log="log10" if base else "ln", floor=FLOOR)


def _statistics(source: Source, bands: int) -> dict[str, Any]:
    """Of the checkpoint itself, else of the files beside it: rows mean and scale."""
    if found := statistics(source, bands):
        return found
    if source.folder is None:
        return {}
    if (source.folder / "stats.npy").is_file():
        values = read_array(source.folder / "stats.npy", refusal=ConfigError)
    elif (source.folder / "stats.h5").is_file():
        values = _from_hdf5(source.folder / "stats.h5")
    else:
        return {}
    if values.shape != (2, bands):
        raise ConfigError(f"{NAME}'s statistics", got=f"shape {values.shape}", expected=f"(2, {bands})")
    mean, scale = np.asarray(values, np.float64).tolist()
    return {"input_mean": mean, "input_scale": scale}


def _from_hdf5(path: Path) -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ConfigError(
            str(path), got="no module named h5py to read it", expected="h5py", cause="pip install h5py"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            return np.stack(
                [np.asarray(file[name][()], np.float64).reshape(-1) for name in ("mean", "scale")]
            )
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ConfigError(
            str(path), got=f"no statistics («{error}»)", expected="data sets mean and scale"
        ) from error


def _implied(source: Source) -> dict[str, Any]:
    return {"odd_kernels": "output-padding", **statistics(source)}


PARALLEL_WAVEGAN = Dialect(NAME, _is_config, _translate, SIGNS, _rename, _implied)
