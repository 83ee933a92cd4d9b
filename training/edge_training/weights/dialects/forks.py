"""HiFi-GAN's own configuration as its many forks write it.

Entries may lie inside of mappings (`model`, `data`, `model.params`) and under NVIDIA's names
(`filter_length`, `mel_fmax`): what lacks is taken from there where one value alone is found. Forks also have
entries of their own. Those that only training reads change nothing and are left out by whoever reads the
configuration; those that change what net or mel compute count here, unless they ask for what HiFi-GAN does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from edge_runtime.errors import ConfigError

# entry → its names elsewhere
_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "resblock": ("resblock_type",),
        "upsample_rates": ("upsample_factors", "upsample_scales"),
        "upsample_kernel_sizes": (),
        "upsample_initial_channel": (),
        "resblock_kernel_sizes": (),
        "resblock_dilation_sizes": ("resblock_dilations",),
        "num_mels": ("n_mel_channels", "n_mels", "num_mel_bins"),
        "n_fft": ("filter_length", "fft_size"),
        "hop_size": ("hop_length",),
        "win_size": ("win_length",),
        "sampling_rate": ("sample_rate", "sr"),
        "fmin": ("mel_fmin", "f_min"),
        "fmax": ("mel_fmax", "f_max"),
    }
)
_DEEPEST = 4
_TRAINING = re.compile(
    r"optim|sched|loss|discr|train|lr", re.IGNORECASE
)  # mappings that say nothing of the net
_NONE, _NO = (None, "", "none", "None", "null"), (False, None, 0)
# what HiFi-GAN's own arithmetic answers to entries of forks: of the net, whose weights would load
_NET: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("leaky_relu_slope", "lrelu_slope", "LRELU_SLOPE", "negative_slope"), (0.1, "0.1")),
        **dict.fromkeys(("causal", "is_causal", "use_causal_conv", "causal_conv"), _NO),
        **dict.fromkeys(("use_tanh_at_final", "final_tanh", "use_final_tanh", "use_bias_at_final"), (True,)),
    }
)
# … and of its mel
_MEL: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("center", "stft_center"), _NO),
        **dict.fromkeys(("power", "mag_power", "spec_power"), (1, 1.0)),
        **dict.fromkeys(("log_base", "mel_log_base"), (*_NONE, "e", "ln", "natural", math.e)),
        **dict.fromkeys(("log_func", "mel_log"), (*_NONE, "np.log", "ln", "log")),
        **dict.fromkeys(("mel_scale", "mel_norm"), (*_NONE, "slaney")),
        **dict.fromkeys(("htk", "use_htk"), _NO),
        **dict.fromkeys(("preemphasis", "preemph", "pre_emphasis"), (*_NO, *_NONE)),
        **dict.fromkeys(("signal_norm", "normalize_mel", "mel_normalize", "do_normalize"), (*_NO, *_NONE)),
        **dict.fromkeys(("mel_floor", "clip_val", "log_floor"), (1e-5,)),
        **dict.fromkeys(("window_fn", "stft_window"), (*_NONE, "hann", "hann_window")),
    }
)


def gathered(entries: Mapping[str, Any], said: list[str]) -> dict[str, Any]:
    """The entries with those that lack, from inside of mappings or under other names; says which.

    An entry that has several values in several places stays away.
    """
    found, taken = dict(entries), list[str]()
    for name, others in _NAMES.items():
        if name in found:
            continue
        for other in (name, *others):
            places = [(place, value) for place, key, value in _walk(entries) if key == other]
            if places and all(value == places[0][1] for _, value in places):
                found[name] = places[0][1]
                taken.append(f"{places[0][0]} for {name}" if other != name else places[0][0])
                break
    if taken:
        said.append(
            f"entries of the configuration under other names or inside of it taken: {', '.join(taken)}"
        )
    return found


def decided(entries: Mapping[str, Any], said: list[str]) -> dict[str, Any]:
    """What a fork's entries ask for beyond HiFi-GAN: `front_end_known` False where the mel is another one.

    Raises:
        ConfigError: the net would have to compute something else with the same weights.
    """
    known = True
    for place, key, value in _walk(entries):
        # `front_end` is our own entry: the whole mel, which differs from HiFi-GAN's because it says so
        if _TRAINING.search(place.rpartition(".")[0]) or place.startswith("front_end."):
            continue
        if key in _NET and not _asks_for(value, _NET[key]):
            raise ConfigError(
                f"entry {place!r}",
                got=repr(value)[:60],
                expected=repr(_NET[key][0]),
                cause="HiFi-GAN here computes nothing else, and the weights would load all the same; "
                "delete the entry if the generator does not read it",
            )
        if known and key in _MEL and not _asks_for(value, _MEL[key]):
            known = False
            said.append(
                f"entry {place} ({value!r:.40}) asks for another mel than HiFi-GAN's: the bundle takes "
                "the mels of its training, and no audio"
            )
    return {} if known else {"front_end_known": False}


def _asks_for(value: Any, accepted: Collection[Any]) -> bool:
    """Whether a value is one of those; what is no name is no wish, where names alone are accepted."""
    names = all(one is None or isinstance(one, str) for one in accepted)
    if names and value is not None and not isinstance(value, str):
        return True
    return any(type(value) is type(one) and value == one for one in accepted)


def _walk(entries: Mapping[str, Any], place: str = "", depth: int = 0) -> Iterator[tuple[str, str, Any]]:
    """(dotted name, last part of it, value) of everything that is no mapping, outer ones first."""
    inner = []
    for key, value in entries.items():
        if isinstance(value, Mapping):
            inner.append((f"{place}{key}.", value))
        else:
            yield f"{place}{key}", str(key), value
    for name, value in inner if depth < _DEEPEST else ():
        yield from _walk(value, name, depth + 1)
