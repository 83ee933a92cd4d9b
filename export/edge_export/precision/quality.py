"""What a budget allows, and how an output is judged.

Nets that make audio are heard on a spoken sentence: PESQ with the audio of the float32 net as the reference,
and DNSMOS; a loss is what is missing to the figures of the float32 net itself (4.64 of PESQ). PESQ against
the recording would be blind: what a vocoder does to the phase weighs more there than four bits. Everything
else, and audio too where it is asked for, keeps a signal-to-noise ratio; features that drive a face also a
cosine.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

import numpy as np

from edge_export.assets import SENTENCE
from edge_export.catalog import Net
from edge_export.precision.formats import Array
from edge_export.proof.bisect.values import snr_db
from edge_runtime.compare import json_number
from edge_runtime.dsp.mel import MelConfig, MelFrontEnd
from edge_runtime.dsp.perceptual import judge
from edge_runtime.dsp.windows import encoder_windows
from edge_runtime.errors import BackendError, ConfigError
from edge_runtime.media.audio import read_audio
from edge_runtime.store.bundle import Bundle, Lengths

AUDIO = "audio"  # the output of nets that make speech
PROBE_FRAMES = 64  # of the sentence, for the damage of single layers
MOST_WINDOWS = 64  # of the talking head, which Core ML packages take at once
LOUDEST_FROM = 0.6  # seconds into the sentence, where it speaks


@dataclass(frozen=True)
class Budget:
    """How much worse an output may be; None: not asked. Losses are against the float32 net."""

    pesq: float | None = None
    dnsmos: float | None = None
    snr: float | None = None  # dB, at least
    cosine: float | None = None  # at least

    @classmethod
    def parse(cls, texts: Sequence[str], default: Self) -> Self:
        """From texts NAME=VALUE; those that are named replace the default's, NAME=none removes it.

        Raises:
            ConfigError: an unknown name, or a value that is no number.
        """
        known = [field.name for field in fields(cls)]
        given: dict[str, float | None] = {}
        for text in texts:
            name, _, value = text.partition("=")
            if name not in known:
                raise ConfigError("--budget", got=text, expected=f"NAME=VALUE, a name of {', '.join(known)}")
            if value == "none":
                given[name] = None
                continue
            try:
                number = float(value)
            except ValueError as error:
                raise ConfigError("--budget", got=text, expected=f"{name}= and a number, or none") from error
            given[name] = number
            if not math.isfinite(number) or (name != "snr" and number < 0):
                raise ConfigError("--budget", got=text, expected=f"{name}= and a finite number of at least 0")
        return replace(default, **given)

    def words(self) -> str:
        """As on the command line."""
        return " ".join(f"{name}={value:g}" for name, value in asdict(self).items() if value is not None)


@dataclass(frozen=True)
class Quality:
    """Figures of one output; None where they do not apply."""

    snr: float  # dB, against the float32 net
    cosine: float
    pesq: float | None = None
    dnsmos: float | None = None

    def within(self, budget: Budget, truth: Quality) -> bool:
        """Whether it keeps a budget, against the figures of the float32 net."""
        checks = [
            budget.snr is None or self.snr >= budget.snr,
            budget.cosine is None or self.cosine >= budget.cosine,
            budget.pesq is None or _loss(truth.pesq, self.pesq) <= budget.pesq,
            budget.dnsmos is None or _loss(truth.dnsmos, self.dnsmos) <= budget.dnsmos,
        ]
        return all(checks) and math.isfinite(self.cosine)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        rounded = {
            name: None if value is None else round(value, 5) if math.isfinite(value) else value
            for name, value in asdict(self).items()
        }
        return {name: None if v is None else json_number(v) for name, v in rounded.items()}


def _loss(before: float | None, after: float | None) -> float:
    return math.inf if before is None or after is None else before - after


@dataclass(frozen=True)
class Probe:
    """Inputs to judge on.

    Args:
        short: for the damage of single layers.
        whole: for quality.
        rate: of the audio, Hz, where the net makes audio.
        budget: what is asked; only figures that it names are heard.
    """

    short: Mapping[str, Array]
    whole: Mapping[str, Array]
    rate: int | None
    budget: Budget

    def cut(self, lengths: Lengths) -> Mapping[str, Array]:
        """The whole inputs, or as many frames of them as an artifact admits."""
        if self.rate is None or not lengths.only:
            return self.whole
        ((name, mel),) = self.whole.items()
        frames = max((size for size in lengths.only if size <= mel.shape[-1]), default=lengths.only[0])
        order = np.arange(frames) % mel.shape[-1]
        return {name: np.ascontiguousarray(mel[..., order])}

    def judged(self, truth: Mapping[str, Array], made: Mapping[str, Array]) -> Quality:
        """The figures of outputs against those of the float32 net."""
        pairs = [(truth[name], made[name]) for name in truth]
        snr = min(snr_db(reference, array) for reference, array in pairs)
        cosine = min(_cosine(reference, array) for reference, array in pairs)
        if self.rate is None:
            return Quality(snr, cosine)
        reference, samples = truth[AUDIO].ravel(), np.nan_to_num(made[AUDIO].ravel())
        return Quality(snr, cosine, *self._heard(reference, samples.astype(np.float32), self.rate))

    def _heard(self, reference: Array, samples: Array, rate: int) -> tuple[float | None, float | None]:
        """PESQ and DNSMOS, those that the budget names."""
        pesq, opinion = None, None
        if self.budget.pesq is not None:
            found = judge(reference, samples, rate)["pesq"]
            if isinstance(found, str) and samples.any():
                cause = "pip install 'edge-export[quality]'"
                raise BackendError("judging audio", got=found, expected="PESQ", cause=cause)
            pesq = 1.0 if isinstance(found, str) else float(found)  # of silence
        if self.budget.dnsmos is not None:
            from edge_export.quality.vocoder import dnsmos

            opinion = dnsmos(samples, rate)["dnsmos"]
        return pesq, opinion


def _cosine(reference: Array, array: Array) -> float:
    one, other = reference.astype(np.float64).ravel(), array.astype(np.float64).ravel()
    norms = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norms if norms else float(not one.any() and not other.any())


def probe_of(bundle: Bundle, net: Net[Any], audio: str | os.PathLike[str] | None = None) -> Probe:
    """Inputs for a bundle's net: the sentence where it takes mels of speech, else its reference cases."""
    manifest = bundle.manifest
    front_end = manifest.front_end
    place = SENTENCE if audio is None else audio
    if manifest.net in ("hifigan", "istft-vocoder") and front_end is not None:
        mel = _spoken(place, front_end)
        start = int(LOUDEST_FROM * front_end.sample_rate / front_end.hop_length)
        short = mel[:, min(start, max(0, mel.shape[1] - PROBE_FRAMES)) :][:, :PROBE_FRAMES]
        name = manifest.inputs[0].name
        inputs = {name: np.ascontiguousarray(short[None])}, {name: mel[None]}
        return Probe(*inputs, front_end.sample_rate, Budget(pesq=0.05, dnsmos=0.05))
    if manifest.net == "audio-encoder" and front_end is not None:
        mel = _spoken(place, front_end)
        windows = encoder_windows(mel)[:MOST_WINDOWS].transpose(0, 2, 1)[:, None]
        windows = np.ascontiguousarray(windows)
        name = manifest.inputs[0].name
        return Probe({name: windows[:8]}, {name: windows}, None, Budget(snr=30.0, cosine=0.999))
    if audio is not None:
        raise ConfigError("--audio", got=str(audio), expected=f"nothing: {net.name} takes no mels of speech")
    cases = [bundle.reference(case)[0] for case in bundle.cases]
    cases.sort(key=lambda inputs: sum(array.size for array in inputs.values()))
    return Probe(cases[0], cases[-1], None, Budget(snr=30.0, cosine=0.999))


def _spoken(place: str | os.PathLike[str], front_end: MelConfig) -> Array:
    """The mel (n_mels, frames) of a recording."""
    samples = read_audio(place, front_end.sample_rate).samples
    return np.asarray(MelFrontEnd(front_end)(samples), np.float32)
