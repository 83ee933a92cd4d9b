"""A dialect: one net with the names, the configuration and the arithmetic of another toolkit."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.dsp.mel import MelConfig
from edge_runtime.errors import ConfigError
from edge_training.weights.pickles import Stored

REQUIRED = object()


@dataclass(frozen=True)
class Source:
    """Information for a translation besides the configuration itself.

    Args:
        folder: of the checkpoint; None without one.
        extras: tensors of the checkpoint that are not weights of the net: statistics of its input.
    """

    folder: Path | None = None
    extras: Mapping[str, Stored] = field(default_factory=dict)


# entries of a configuration, source, what is to be said → entries of HiFi-GAN's own config.json
Translation = Callable[["Entries", Source, list[str]], dict[str, Any]]


@dataclass(frozen=True)
class Dialect:
    """HiFi-GAN as a toolkit writes it.

    Args:
        name: of the toolkit.
        signs: each matches the beginning of some key of its weights; none where its keys are HiFi-GAN's own.
        rename: keys → key as in HiFi-GAN's own code; keys that are left out are not weights.
        implied: entries that the toolkit's weights need, whatever the configuration says.
        is_config: whether entries are of the toolkit's configuration.
        translate: see `Translation`; raises ConfigError for what our net cannot compute.
    """

    name: str
    is_config: Callable[[Mapping[str, Any]], bool]
    translate: Translation
    signs: tuple[re.Pattern[str], ...] = ()
    rename: Callable[[Collection[str]], dict[str, str]] = field(default=lambda keys: {k: k for k in keys})
    implied: Callable[[Source], dict[str, Any]] = field(default=lambda _: {})

    def spoken_by(self, keys: Collection[str]) -> bool:
        """Whether keys of weights are the toolkit's."""
        return bool(self.signs) and all(any(map(sign.match, keys)) for sign in self.signs)


class Entries:
    """Entries of a foreign configuration, asked for by dotted names; refusals name toolkit and entry."""

    def __init__(self, entries: Mapping[str, Any], toolkit: str, place: str = "") -> None:
        self.entries = entries
        self.toolkit = toolkit
        self.place = place

    def get(self, name: str, default: Any = REQUIRED) -> Any:
        """A value; `default` where it is absent.

        Raises:
            ConfigError: it is absent and there is no default.
        """
        value: Any = self.entries
        for part in name.split("."):
            if not isinstance(value, Mapping) or part not in value:
                if default is REQUIRED:
                    raise self.refuse(name, "no such entry", "an entry, as the toolkit writes it")
                return default
            value = value[part]
        return value

    def inside(self, name: str) -> Entries:
        """The entries of a mapping among these."""
        value = self.get(name)
        if not isinstance(value, Mapping):
            raise self.refuse(name, f"{value!r:.60}", "entries")
        return Entries(value, self.toolkit, f"{self.place}{name}.")

    def only(self, name: str, accepted: Collection[Any], why: str, default: Any = REQUIRED) -> Any:
        """A value among those that our net has the arithmetic for."""
        value = self.get(name, default)
        if not any(type(value) is type(one) and value == one for one in accepted):
            raise self.refuse(name, repr(value)[:60], " or ".join(map(repr, accepted)), why)
        return value

    def refuse(self, name: str, got: str, expected: str, cause: str = "") -> ConfigError:
        what = f"{self.toolkit} configuration: {self.place}{name}"
        return ConfigError(what, got=got, expected=expected, cause=cause)


def front_end_of(net: Mapping[str, Any], **others: Any) -> MelConfig:
    """The front end of a translated configuration, its STFT centred, its ends reflected."""
    top = net["fmax"]
    return MelConfig(
        sample_rate=net["sampling_rate"],
        n_fft=net["n_fft"],
        hop_length=net["hop_size"],
        win_length=net["win_size"],
        n_mels=net["num_mels"],
        fmin=float(net["fmin"]),
        fmax=None if top is None else float(top),
        fmax_above_nyquist=top is not None and top > net["sampling_rate"] / 2,
        **{"padding": "center-reflect", **others},
    )


def sub_all(pattern: str, replacement: str, keys: Collection[str]) -> dict[str, str]:
    """Keys with a pattern replaced."""
    return {key: re.sub(pattern, replacement, key) for key in keys}


def statistics(source: Source, shape_of: int | None = None) -> dict[str, Any]:
    """`mean` and `scale` among a checkpoint's tensors, as entries; empty where there are none, or where they
    change nothing."""
    found = [source.extras.get(name) for name in ("mean", "scale")]
    if None in found:
        return {}
    mean, scale = (stored.read().double().flatten().tolist() for stored in found if stored is not None)
    if shape_of is not None and len(mean) != shape_of:
        return {}
    if not any(mean) and set(scale) == {1.0}:
        return {}
    return {"input_mean": mean, "input_scale": scale}
