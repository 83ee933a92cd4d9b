"""NeMo's HiFi-GAN: `.nemo` archives with the configuration inside; residual blocks in a list a stage.

`resblocks.S.B` is HiFi-GAN's `resblocks.{S · blocks + B}`. Its mels are HiFi-GAN's own where `exact_pad` is
set, and its other settings are those of its HiFi-GAN recipe.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from edge_training.weights.dialects.base import Dialect, Entries, Source

NAME = "NeMo"
_BLOCK = re.compile(r"resblocks\.(\d+)\.(\d+)\.(convs.*)")


def _rename(keys: Collection[str]) -> dict[str, str]:
    found = [_BLOCK.fullmatch(key) for key in keys]
    blocks = 1 + max((int(match[2]) for match in found if match), default=0)
    return {
        key: f"resblocks.{int(match[1]) * blocks + int(match[2])}.{match[3]}" if match else key
        for key, match in zip(keys, found, strict=True)
    }


def _is_config(entries: Mapping[str, Any]) -> bool:
    inner = entries.get("model", entries)
    return isinstance(inner, Mapping) and all(
        isinstance(inner.get(n), Mapping) for n in ("generator", "preprocessor")
    )


def _translate(entries: Entries, _: Source, said: list[str]) -> dict[str, Any]:
    if isinstance(entries.get("model", None), Mapping):
        entries = entries.inside("model")
    net, mel = entries.inside("generator"), entries.inside("preprocessor")
    names = ("resblock", "upsample_rates", "upsample_kernel_sizes", "upsample_initial_channel")
    translated = {
        name: net.get(name) for name in (*names, "resblock_kernel_sizes", "resblock_dilation_sizes")
    }
    rate = mel.get("sample_rate")
    translated |= {
        "num_mels": mel.get("nfilt", mel.get("features", 80)),
        "n_fft": mel.get("n_fft"),
        "hop_size": _samples(mel, "n_window_stride", "window_stride", rate),
        "win_size": _samples(mel, "n_window_size", "window_size", rate),
        "sampling_rate": rate,
        "fmin": mel.get("lowfreq", 0) or 0.0,
        "fmax": mel.get("highfreq", None),
    }
    for name, accepted, default in (
        ("exact_pad", (True,), False),
        ("mag_power", (1, 1.0), 2.0),
        ("log", (True,), True),
        ("log_zero_guard_type", ("clamp",), "add"),
        ("log_zero_guard_value", (1e-5,), 2**-24),
        ("normalize", (None, "", False), "per_feature"),
        ("preemph", (None, 0, 0.0), 0.97),
        ("mel_norm", ("slaney",), "slaney"),
    ):
        if mel.get(name, default) not in accepted:
            said.append(
                f"{NAME}'s front end is none that is known here ({name} {mel.get(name, default)!r}): the "
                "bundle takes its mels, and no audio"
            )
            return translated | {"front_end_known": False}
    return translated


def _samples(mel: Entries, samples: str, seconds: str, rate: Any) -> Any:
    found = mel.get(samples, None)
    return found if found is not None else round(mel.get(seconds) * rate)


NEMO = Dialect(NAME, _is_config, _translate, (re.compile(r"resblocks\.0\.0\.convs"),), _rename)
