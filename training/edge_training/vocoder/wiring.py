"""Decides with which of HiFi-GAN's two wirings a checkpoint was trained, from sufficient evidence only.

The wirings have the same weights, so that the wrong one loads without an error and is off by a fifth of full
scale. Only one system is known to use `causal-tail`: mri2speech, whose `conv_pre` is its only layer without
weight norm and whose rate and hop (11 413 Hz, 420 samples) no other system has. Either sign by itself proves
nothing: people replace a first layer, and others train at that rate.

    the configuration has `wiring`    that one
    conv_pre with weight norm         stock: mri2speech's has none
    only conv_pre without weight norm, and mri2speech's rate and hop → causal-tail
    mri2speech's rate and hop, weight norm folded away → refused: both wirings have such files
    anything else                     stock
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from edge_runtime.errors import ConfigError
from edge_training.vocoder.hifigan import HIFIGAN_PRESETS, HifiGanConfig, Wiring
from edge_training.weights.nets import note_empty_bands
from edge_training.weights.recognition import recognise

if TYPE_CHECKING:
    from edge_training.weights.reading import Checkpoint

_SYSTEM = HIFIGAN_PRESETS["rtmri-origin"]


_USUAL = (None, "zeros", "refuse")
_UNLIKE = {
    "padding_mode": "convolutions reflect at their ends (padding_mode reflect)",
    "odd_kernels": "output padding where kernel - rate is odd (odd_kernels output-padding)",
    "input_mean": "the net itself subtracts a mean from each band of its mel and divides by a scale",
}


class Told(NamedTuple):
    """What a checkpoint shows about its wiring."""

    wiring: Wiring | None  # None: both are as likely
    why: str
    by_sign: bool  # shown by its own keys; otherwise it is the wiring of all known systems but one


def hifigan_wiring(config: HifiGanConfig, checkpoint: Checkpoint) -> Told:
    """The wiring that a checkpoint's keys and its configuration's numbers show."""
    layers = {key.removesuffix(".weight") for key in checkpoint.stored if key.endswith(".weight")}
    if recognise(checkpoint.stored) != "hifigan":
        return Told("stock", "no sign of another", by_sign=False)
    if "conv_pre" in checkpoint.normed:
        return Told("stock", "conv_pre has weight norm, which causal-tail never has", by_sign=True)
    system = (config.sampling_rate, config.hop_size) == (_SYSTEM.sampling_rate, _SYSTEM.hop_size)
    if not system:
        numbers = f"{_SYSTEM.sampling_rate} Hz, hop {_SYSTEM.hop_size}"
        why = f"causal-tail is only known from mri2speech ({numbers})"
        return Told("stock", why, by_sign=False)
    if layers - checkpoint.normed == {"conv_pre"}:
        why = "only conv_pre has no weight norm, and rate and hop are mri2speech's"
        return Told("causal-tail", why, by_sign=True)
    return Told(None, "rate and hop are mri2speech's, and weight norm is folded away", by_sign=False)


def settle_hifigan(
    config: HifiGanConfig, checkpoint: Checkpoint | None, said: list[str] | None = None
) -> HifiGanConfig:
    """The config with its wiring settled; also notes other differences from HiFi-GAN's own."""
    nyquist = config.sampling_rate / 2
    if said is not None:
        said += [words for name, words in _UNLIKE.items() if getattr(config, name) not in _USUAL]
    if said is not None and config.fmax is not None and config.fmax > nyquist:
        said.append(
            f"fmax {config.fmax:g} Hz taken, above half the sampling rate ({nyquist:g} Hz): the highest mel "
            "bands are empty, as they were in training"
        )
    else:
        note_empty_bands(config.known_front_end, said)
    return settle_wiring(config, checkpoint, said)


def settle_wiring(
    config: HifiGanConfig, checkpoint: Checkpoint | None, said: list[str] | None = None
) -> HifiGanConfig:
    """The config with its wiring: its own, else the checkpoint's, else stock; notes which one and why.

    Raises:
        ConfigError: nothing decides between the two.
    """
    if config.wiring is not None:
        return config
    if checkpoint is None:
        return replace(config, wiring="stock")
    wiring, why, _ = hifigan_wiring(config, checkpoint)
    if wiring is None:
        raise ConfigError(
            "wiring",
            got=f"no sign that decides ({why})",
            expected="--set wiring=causal-tail (mri2speech's own checkpoints) or --set wiring=stock",
            cause="both wirings have the same weights, and the wrong one gives noise without an error",
        )
    if said is not None:
        said.append(f"wiring {wiring} taken: {why}")
    return replace(config, wiring=wiring)
