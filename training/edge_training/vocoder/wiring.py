"""Which of HiFi-GAN's two wirings a checkpoint was trained with, told from signs that decide.

The wirings have the same weights, so that a wrong one loads without a word and is off by a fifth of full
scale. Only one system is known to use `causal-tail`: the rtMRI one, whose `conv_pre` alone has no weight norm
and whose numbers (11 413 Hz, a hop of 420 samples) no other has. Either sign by itself proves nothing: people
replace a first layer, and others train at that rate.

    configuration says wiring     that one
    conv_pre with weight norm     stock: the rtMRI system's has none
    all other signs of the rtMRI system: conv_pre alone without weight norm, its rate and hop → causal-tail
    its rate and hop, weight norm folded away → refused: both wirings have such files
    anything else                 stock
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from edge_runtime.errors import ConfigError
from edge_training.vocoder.hifigan import HIFIGAN_PRESETS, HifiGanConfig, Wiring
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
    """What a checkpoint tells of its wiring."""

    wiring: Wiring | None  # None: both are as likely
    why: str
    by_sign: bool  # its own keys say so; otherwise it is what all known systems but one have


def hifigan_wiring(config: HifiGanConfig, checkpoint: Checkpoint) -> Told:
    """The wiring that a checkpoint's keys and its configuration's numbers tell."""
    layers = {key.removesuffix(".weight") for key in checkpoint.stored if key.endswith(".weight")}
    if recognise(checkpoint.stored) != "hifigan":
        return Told("stock", "no sign of another", by_sign=False)
    if "conv_pre" in checkpoint.normed:
        return Told("stock", "conv_pre has weight norm, which causal-tail never has", by_sign=True)
    system = (config.sampling_rate, config.hop_size) == (_SYSTEM.sampling_rate, _SYSTEM.hop_size)
    if not system:
        numbers = f"{_SYSTEM.sampling_rate} Hz, hop {_SYSTEM.hop_size}"
        why = f"causal-tail is known of the rtMRI system alone ({numbers})"
        return Told("stock", why, by_sign=False)
    if layers - checkpoint.normed == {"conv_pre"}:
        why = "conv_pre alone has no weight norm, and rate and hop are the rtMRI system's"
        return Told("causal-tail", why, by_sign=True)
    return Told(None, "rate and hop are the rtMRI system's, and weight norm is folded away", by_sign=False)


def settle_hifigan(
    config: HifiGanConfig, checkpoint: Checkpoint | None, said: list[str] | None = None
) -> HifiGanConfig:
    """The config with its wiring settled; says what else of it is unlike HiFi-GAN's own, too."""
    nyquist = config.sampling_rate / 2
    if said is not None:
        said += [words for name, words in _UNLIKE.items() if getattr(config, name) not in _USUAL]
    if said is not None and config.fmax is not None and config.fmax > nyquist:
        said.append(
            f"fmax {config.fmax:g} Hz taken, above half the sampling rate ({nyquist:g} Hz): the highest mel "
            "bands are empty, as they were in training"
        )
    return settle_wiring(config, checkpoint, said)


def settle_wiring(
    config: HifiGanConfig, checkpoint: Checkpoint | None, said: list[str] | None = None
) -> HifiGanConfig:
    """The config with its wiring said: by itself, else by the checkpoint, else stock; notes which and why.

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
            expected="--set wiring=causal-tail (the rtMRI system's own checkpoints) or --set wiring=stock",
            cause="both wirings have the same weights, and the wrong one gives noise in silence",
        )
    if said is not None:
        said.append(f"wiring {wiring} taken: {why}")
    return replace(config, wiring=wiring)
