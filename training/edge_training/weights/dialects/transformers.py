"""transformers' SpeechT5HifiGan, the vocoder of SpeechT5, AudioLDM and FastSpeech2Conformer too.

`upsampler` for `ups`; buffers `mean` and `scale` of the mel, which the net itself applies where the
configuration says `normalize_before`. The configuration says nothing of the mel; a `preprocessor_config.json`
beside it does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from math import prod
from pathlib import Path
from typing import Any

from edge_runtime.dsp.mel import MelConfig
from edge_training.weights.configs import read_config
from edge_training.weights.dialects.base import Dialect, Entries, Source, statistics, sub_all

NAME = "transformers' SpeechT5HifiGan"
SIGNS = (re.compile(r"upsampler\.0\."), re.compile(r"conv_pre\."))
# of SpeechT5's feature extractor, in Hz, milliseconds and bands; what it is by default
SPEECH_T5 = {
    "sampling_rate": 16000, "num_mel_bins": 80, "hop_length": 16, "win_length": 64,
    "fmin": 80, "fmax": 7600, "mel_floor": 1e-10,
}  # fmt: skip


def _is_config(entries: Mapping[str, Any]) -> bool:
    return "model_in_dim" in entries and "upsample_rates" in entries


def _translate(entries: Entries, source: Source, said: list[str]) -> dict[str, Any]:
    entries.only("leaky_relu_slope", (0.1,), "our net has no other slope", default=0.1)
    hop = prod(entries.get("upsample_rates"))
    names = ("upsample_rates", "upsample_kernel_sizes", "upsample_initial_channel")
    rate, bands = entries.get("sampling_rate", 16000), entries.get("model_in_dim")
    translated = {
        name: entries.get(name) for name in (*names, "resblock_kernel_sizes", "resblock_dilation_sizes")
    }
    translated |= {
        "resblock": 1,
        "num_mels": bands,
        "n_fft": 4 * hop,
        "hop_size": hop,
        "win_size": 4 * hop,
        "sampling_rate": rate,
        "fmin": 0.0,
        "fmax": None,
    }
    if not entries.get("normalize_before", True):
        # said once for all: what the checkpoint's buffers hold is not applied
        translated |= {"input_mean": [0.0] * bands, "input_scale": [1.0] * bands}
    extractor = _extractor(source.folder, (rate, bands, hop))
    if extractor is None:
        said.append(
            f"the configuration of {NAME} does not say its mels, and no preprocessor_config.json does: the "
            "bundle takes them, and no audio"
        )
        return translated | {"front_end_known": False}
    front_end = _front_end(extractor)
    same = (front_end.sample_rate, front_end.n_mels, front_end.hop_length) == (rate, bands, hop)
    if not same:
        said.append("preprocessor_config.json is of other mels than the net takes: the bundle takes no audio")
        return translated | {"front_end_known": False}
    said.append("front end taken: SpeechT5's common logarithms of the mel")
    sizes = {"n_fft": front_end.n_fft, "win_size": front_end.win_length}
    return (
        translated
        | sizes
        | {"fmin": front_end.fmin, "fmax": front_end.fmax, "front_end": front_end.to_json()}
    )


def _extractor(folder: Path | None, numbers: tuple[int, int, int]) -> Mapping[str, Any] | None:
    """The feature extractor's configuration beside the checkpoint; SpeechT5's own for its numbers."""
    file = None if folder is None else folder / "preprocessor_config.json"
    if file is not None and file.is_file():
        entries = read_config(file)
        return {**SPEECH_T5, **entries} if entries.keys() >= {"num_mel_bins", "win_length"} else None
    rate, bands, hop = SPEECH_T5["sampling_rate"], SPEECH_T5["num_mel_bins"], 256
    return SPEECH_T5 if numbers == (rate, bands, hop) else None


def _front_end(extractor: Mapping[str, Any]) -> MelConfig:
    rate = extractor["sampling_rate"]
    window = rate * extractor["win_length"] // 1000
    return MelConfig(
        sample_rate=rate,
        n_fft=1 << (window - 1).bit_length(),
        hop_length=rate * extractor["hop_length"] // 1000,
        win_length=window,
        n_mels=extractor["num_mel_bins"],
        padding="center-reflect",
        fmin=float(extractor["fmin"]),
        fmax=float(extractor["fmax"]),
        log="log10",
        floor=float(extractor["mel_floor"]),
    )


def _rename(keys: Collection[str]) -> dict[str, str]:
    return sub_all(r"^upsampler\.", "ups.", [key for key in keys if key not in ("mean", "scale")])


TRANSFORMERS = Dialect(NAME, _is_config, _translate, SIGNS, _rename, statistics)
