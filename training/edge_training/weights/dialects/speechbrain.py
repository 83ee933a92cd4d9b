"""SpeechBrain's HiFi-GAN (`lobes.models.HifiGAN`): each layer inside a wrapper (`conv_pre.conv`), and every
convolution of stride 1 reflects at its ends, where HiFi-GAN's own pads with zeros.

Its `inference` repeats five mel frames at both ends and returns the longer audio; that is not part of the
net.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from edge_training.weights.dialects.base import Dialect, Entries, Source, front_end_of, sub_all

NAME = "SpeechBrain"
SIGNS = (re.compile(r"conv_pre\.conv\."), re.compile(r"ups\.0\.conv\."))
_REFERENCE = re.compile(r"<([\w.]+)>")  # of HyperPyYAML, as `!ref <n_mels>`


def _generators(entries: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for value in entries.values():
        if isinstance(value, Mapping) and "upsample_factors" in value and "resblock_type" in value:
            yield value


def _is_config(entries: Mapping[str, Any]) -> bool:
    return next(_generators(entries), None) is not None


def _translate(entries: Entries, source: Source, said: list[str]) -> dict[str, Any]:
    whole = entries.entries

    def resolved(value: Any, depth: int = 0) -> Any:
        """References of HyperPyYAML followed; `!ref <name>` alone, without sums."""
        match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        return resolved(whole.get(match[1]), depth + 1) if match and depth < 8 else value

    net = Entries({k: resolved(v) for k, v in next(_generators(whole)).items()}, NAME, "generator.")
    net.only("cond_channels", (0, None), "our net has no conditions", default=0)
    net.only("conv_post_bias", (True,), "our last layer has a bias", default=True)
    rates = net.get("upsample_factors")
    given = Entries({name: resolved(value) for name, value in whole.items()}, NAME)
    hop = given.get("hop_length", _product(rates))
    translated = {
        "resblock": net.get("resblock_type"),
        "upsample_rates": rates,
        "upsample_kernel_sizes": net.get("upsample_kernel_sizes"),
        "upsample_initial_channel": net.get("upsample_initial_channel"),
        "resblock_kernel_sizes": net.get("resblock_kernel_sizes"),
        "resblock_dilation_sizes": net.get("resblock_dilation_sizes"),
        "num_mels": net.get("in_channels"),
        "n_fft": given.get("n_fft", 4 * hop),
        "hop_size": hop,
        "win_size": given.get("win_length", 4 * hop),
        "sampling_rate": given.get("sample_rate"),
        "fmin": float(given.get("mel_fmin", 0.0)),
        "fmax": given.get("mel_fmax", None),
        **_implied(source),
    }
    if any(given.get(name, None) is None for name in ("n_fft", "win_length", "mel_fmax")):
        said.append(f"{NAME}'s configuration does not say its mels: the bundle takes them, and no audio")
        return translated | {"front_end_known": False}
    return translated | {"front_end": front_end_of(translated).to_json()}


def _product(rates: Any) -> int:
    product = 1
    for rate in rates if isinstance(rates, list) else []:
        product *= rate if isinstance(rate, int) else 1
    return product


def _implied(_: Source) -> dict[str, Any]:
    return {"padding_mode": "reflect"}


SPEECHBRAIN = Dialect(
    NAME,
    _is_config,
    _translate,
    SIGNS,
    lambda keys: sub_all(
        r"^(conv_pre|conv_post|ups\.\d+|resblocks\.\d+\.convs[12]?\.\d+)\.conv\.", r"\1.", keys
    ),
    _implied,
)
