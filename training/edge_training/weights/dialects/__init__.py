"""Dialects: HiFi-GAN with the names, configurations and arithmetic of other toolkits; one file per toolkit.

Weights and configuration are recognised separately: a toolkit's weights may come with HiFi-GAN's own
config.json or with the toolkit's. A new toolkit is one file here and one line of `DIALECTS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_runtime.errors import ConfigError
from edge_training.weights.dialects.base import Dialect, Entries, Source
from edge_training.weights.dialects.coqui import COQUI
from edge_training.weights.dialects.forks import decided, gathered
from edge_training.weights.dialects.nemo import NEMO
from edge_training.weights.dialects.parallel_wavegan import PARALLEL_WAVEGAN
from edge_training.weights.dialects.speechbrain import SPEECHBRAIN
from edge_training.weights.dialects.transformers import TRANSFORMERS
from edge_training.weights.pickles import Stored

__all__ = ["DIALECTS", "Dialect", "Entries", "Source", "rename", "translate"]

DIALECTS = (COQUI, PARALLEL_WAVEGAN, NEMO, SPEECHBRAIN, TRANSFORMERS)
CONFIG_FILES = ("config.yml", "config.yaml", "hyperparams.yaml", "model_config.yaml")
# entries of HiFi-GAN's relatives, whose weights would load here for the most part and sound wrong
_RELATIVES = {
    "gen_istft_n_fft": "iSTFTNet",
    "snake_logscale": "BigVGAN",
    "harmonic_num": "a HiFi-GAN with a source of harmonics (NSF)",
}
_DEFAULTS = {"odd_kernels": "refuse", "padding_mode": "zeros"}


def rename(stored: Mapping[str, Stored]) -> tuple[dict[str, Stored], dict[str, Stored], str]:
    """(weights under HiFi-GAN's own names, tensors beside them, name of the toolkit or "")."""
    for dialect in DIALECTS:
        if dialect.spoken_by(stored):
            names = dialect.rename(list(stored))
            extras = {key: tensor for key, tensor in stored.items() if key not in names}
            # what is no statistic is no part of the net as we know it: left among the weights, to be refused
            extras = {key: tensor for key, tensor in extras.items() if key in ("mean", "scale")}
            kept = {names.get(key, key): tensor for key, tensor in stored.items() if key not in extras}
            return kept, extras, dialect.name
    return dict(stored), {}, ""


def translate(
    entries: Mapping[str, Any], toolkit: str, source: Source, said: list[str]
) -> tuple[dict[str, Any], bool]:
    """(entries of HiFi-GAN's own config.json, whether they were another toolkit's).

    Args:
        entries: of a configuration.
        toolkit: whose weights they are, as `rename` gives it; "" for HiFi-GAN's own names.
        source: further information.
        said: receives what was inferred.

    Raises:
        ConfigError: a configuration that asks for what our net cannot compute, or of another net.
    """
    for name, relative in _RELATIVES.items():
        if name in entries or (relative == "BigVGAN" and "snake" in str(entries.get("activation"))):
            raise ConfigError(
                f"entry {name if name in entries else 'activation'!r}",
                got=f"an entry of {relative}",
                expected="a configuration of HiFi-GAN",
                cause="it is the net bigvgan here"
                if relative == "BigVGAN"
                else f"{relative} is not among the nets here",
            )
    translated, foreign = dict(entries), False
    for dialect in DIALECTS:
        if dialect.is_config(entries):
            said.append(f"configuration of {dialect.name} read")
            translated, foreign = dialect.translate(Entries(entries, dialect.name), source, said), True
            break
    else:
        translated = gathered(entries, said)
        translated |= decided(entries, said) if "front_end_known" not in entries else {}
    for dialect in DIALECTS:
        if dialect.name == toolkit:
            said.append(f"weights of {toolkit} read: its names of the layers")
            for name, value in dialect.implied(source).items():
                if translated.get(name) in (None, _DEFAULTS.get(name)):
                    translated[name] = value
    return translated, foreign
