"""Coqui-TTS's HiFi-GAN (`hifigan_generator`): HiFi-GAN's own keys behind `model_g.`, its own configuration.

Mels are ``spec_gain · log(max(1e-5, bank @ |STFT|))``, the STFT centred, and, with `signal_norm`, mapped from
`min_level_db` … 0 onto the range of `max_norm`. All of that is the front end's; the net computes as the
original. Its `inference` repeats five mel frames at both ends and returns the longer audio; that is not part
of the net.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_runtime.dsp.mel import MelConfig
from edge_training.weights.dialects.base import Dialect, Entries, Source, front_end_of

NAME = "Coqui-TTS"
FLOOR = 1e-5  # of its logarithm
_LOGARITHMS = {"np.log10": "log10", "np.log": "ln"}


def _is_config(entries: Mapping[str, Any]) -> bool:
    return "generator_model_params" in entries and isinstance(entries.get("audio"), Mapping)


def _translate(entries: Entries, _: Source, said: list[str]) -> dict[str, Any]:
    entries.only("generator_model", ("hifigan_generator",), "another generator", default="hifigan_generator")
    audio, net = entries.inside("audio"), entries.inside("generator_model_params")
    net.only("cond_channels", (0, None), "our net has no conditions", default=0)
    fft, hop = audio.get("fft_size"), audio.get("hop_length")
    translated = {
        "resblock": net.get("resblock_type", "1"),
        "upsample_rates": net.get("upsample_factors"),
        "upsample_kernel_sizes": net.get("upsample_kernel_sizes"),
        "upsample_initial_channel": net.get("upsample_initial_channel"),
        "resblock_kernel_sizes": net.get("resblock_kernel_sizes"),
        "resblock_dilation_sizes": net.get("resblock_dilation_sizes"),
        "num_mels": audio.get("num_mels"),
        "n_fft": fft,
        "hop_size": hop,
        "win_size": audio.get("win_length", None) or fft,
        "sampling_rate": audio.get("sample_rate"),
        "fmin": audio.get("mel_fmin", 0.0) or 0.0,
        "fmax": audio.get("mel_fmax", None),
    }
    front_end = _front_end(audio, translated)
    said.append(f"front end as {NAME}'s configuration says: {_words(front_end)}")
    return translated | {"front_end": front_end.to_json()}


def _front_end(audio: Entries, net: Mapping[str, Any]) -> MelConfig:
    audio.only("stats_path", (None, ""), "its statistics are of Coqui's own format", default=None)
    audio.only("do_amp_to_db_mel", (True,), "the net would see linear mels", default=True)
    pad = audio.only("stft_pad_mode", ("reflect", "constant"), "", default="reflect")
    log = audio.only("log_func", tuple(_LOGARITHMS), "", default="np.log10")
    normed, least = audio.get("signal_norm", True), float(audio.get("min_level_db", -100))
    most = float(audio.get("max_norm", 4.0))
    scaling: dict[str, Any] = {}
    if normed:
        bottom = -most if audio.get("symmetric_norm", True) else 0.0
        scaling = {
            "reference": float(audio.get("ref_level_db", 20)),
            "scale_from": (least, 0.0),
            "scale_to": (bottom, most),
            "clip": bool(audio.get("clip_norm", True)),
        }
    return front_end_of(
        net,
        padding="center-reflect" if pad == "reflect" else "center-zero",
        pre_emphasis=float(audio.get("preemphasis", 0.0) or 0.0),
        log=_LOGARITHMS[log],
        log_gain=float(audio.get("spec_gain", 20)),
        floor=FLOOR,
        **scaling,
    )


def _words(front_end: MelConfig) -> str:
    scaled = f", onto {front_end.scale_to[0]:g} … {front_end.scale_to[1]:g}" if front_end.scale_from else ""
    return f"{front_end.log_gain:g} · {front_end.log}{scaled}, STFT {front_end.padding}"


COQUI = Dialect(NAME, _is_config, _translate)
