"""What the loader knows of each net: its configuration, how it is built, what only a checkpoint tells.

A net is added with one function here and one line of `NETS`; nothing of its system is imported before it is
asked for. Callers with a table of their own (the exporter's catalogue) hand in their entry instead.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from torch import nn

from edge_runtime.dsp.mel import PRESETS, MelConfig, empty_bands
from edge_runtime.errors import ConfigError
from edge_runtime.store.scaler import read_scaler
from edge_training.weights.dialects import CONFIG_FILES, Source, translate

if TYPE_CHECKING:
    from edge_training.mri_speech.mri_acoustic import MriAcousticConfig
    from edge_training.weights.reading import Checkpoint

Config = Any  # a net's own frozen dataclass, with to_json(), of which no more is known
ConfigT = TypeVar("ConfigT")


class Settle(Protocol[ConfigT]):
    """Completes a configuration by what only the checkpoint, or files beside it, tell; says what and why."""

    def __call__(
        self, config: ConfigT, checkpoint: Checkpoint | None, said: list[str] | None = None
    ) -> ConfigT: ...


def _settled(config: ConfigT, checkpoint: Checkpoint | None, said: list[str] | None = None) -> ConfigT:  # noqa: ARG001
    note_empty_bands(getattr(config, "mel", None), said)
    return config


def note_empty_bands(mel: object, said: list[str] | None) -> None:
    """Say it where a front end that is none of the published ones has bands that hear nothing."""
    if said is not None and isinstance(mel, MelConfig) and mel not in PRESETS.values():
        said += [f"front end taken as it is: {words}" for words in [empty_bands(mel)] if words]


Translate = Callable[[Mapping[str, Any], "Checkpoint | None", list[str]], Mapping[str, Any]]


def _own_entries(entries: Mapping[str, Any], _: Checkpoint | None, __: list[str]) -> Mapping[str, Any]:
    return entries


@dataclass(frozen=True)
class LoadableNet(Generic[ConfigT]):
    """What is to be known of a net to load its weights.

    Args:
        name: as in the catalogue.
        presets: names of its configurations.
        preset: name → configuration.
        config_from_json: entries → configuration; raises ConfigError that names the broken rule.
        build: configuration → module.
        config_files: names of the file beside a checkpoint that holds its configuration.
        settle: see `Settle`.
        more_entries: what a configuration may hold beside the fields of its class.
        translate: entries of other toolkits' configurations, or for their weights → the net's own.
    """

    name: str
    presets: tuple[str, ...]
    preset: Callable[[str], ConfigT]
    config_from_json: Callable[[Mapping[str, Any]], ConfigT]
    build: Callable[[ConfigT], nn.Module]
    config_files: tuple[str, ...] = ("config.json",)
    settle: Settle[ConfigT] = field(default=_settled)
    more_entries: frozenset[str] = frozenset()
    translate: Translate = field(default=_own_entries)

    def read_entries(
        self,
        entries: Mapping[str, Any],
        said: list[str],
        *,
        checkpoint: Checkpoint | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> ConfigT:
        """Entries → configuration; those that the net does not read are left out and said.

        Args:
            entries: of a file, in whatever toolkit's form.
            said: takes what was inferred.
            checkpoint: the weights that it is for.
            changes: entries of the net's own form that override.

        Raises:
            ConfigError: a broken rule; an entry that is clearly another's name, misspelt.
        """
        entries = {**self.translate(entries, checkpoint, said), **(changes or {})}
        known = {f.name for f in fields(_as_dataclass(self.preset(self.presets[0])))} | self.more_entries
        strange = [key for key in entries if key not in known]
        like = self.preset(self.presets[0])
        plain = {
            key: numbers(value, getattr(like, key, "")) for key, value in entries.items() if key in known
        }
        for key in strange:
            if meant := self._meant(key, entries[key], plain, known):
                raise ConfigError(
                    f"entry {key!r}",
                    got="an unknown entry",
                    expected=f"the entries of {self.name}",
                    cause=f"is {meant!r} meant?",
                )
        config = self.config_from_json(plain)
        if strange:
            said.append(
                f"entries of the configuration that {self.name} does not read left out: {_some(strange)}"
            )
        return config

    def _meant(self, key: str, value: Any, plain: Mapping[str, Any], known: set[str]) -> str:
        """The entry that a strange one must have meant: near, absent, right with this value; "" if none."""
        absent = sorted(known - plain.keys())
        for name in difflib.get_close_matches(key, absent, n=3, cutoff=0.75):
            try:
                swapped = self.config_from_json({**plain, name: value})
            except (ConfigError, TypeError):
                continue
            if getattr(swapped, name, None) is not None:
                return name
        return ""


def numbers(value: Any, like: Any) -> Any:
    """A value with numbers for texts of numbers, and whole ones without a fraction, where `like` has numbers.

    >>> numbers(["8", 2.0], (1, 1)), numbers("null", 8000.0), numbers("v1", "")
    ([8, 2], None, 'v1')
    """
    if isinstance(value, list | tuple) and isinstance(like, tuple) and like:
        return [numbers(item, like[0]) for item in value]
    if type(like) not in (int, float):
        return value
    if isinstance(value, str):
        if value.strip().lower() in ("none", "null", "~"):
            return None
        try:
            value = float(value)
        except ValueError:
            return value
    if type(like) is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _as_dataclass(config: Any) -> Any:
    """Configurations are dataclasses, which no type can say."""
    return config


def _some(names: Sequence[str], most: int = 8) -> str:
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


# ---- the table --------------------------------------------------------------------------------------------


def _hifigan() -> LoadableNet[Any]:
    from edge_training.vocoder.hifigan import HIFIGAN_PRESETS, TRAINING_ENTRIES, HifiGan, HifiGanConfig
    from edge_training.vocoder.wiring import settle_hifigan

    return LoadableNet(
        "hifigan",
        tuple(HIFIGAN_PRESETS),
        HIFIGAN_PRESETS.__getitem__,
        HifiGanConfig.from_json,
        HifiGan,
        config_files=("config.json", *CONFIG_FILES),
        settle=settle_hifigan,
        more_entries=TRAINING_ENTRIES,
        translate=_translate_hifigan,
    )


def _translate_hifigan(
    entries: Mapping[str, Any], checkpoint: Checkpoint | None, said: list[str]
) -> Mapping[str, Any]:
    source = Source()
    if checkpoint is not None:
        source = Source(Path(checkpoint.path).parent, checkpoint.extras)
        entries = _of_auffusion(entries, Path(checkpoint.path), said)
    return translate(entries, checkpoint.dialect if checkpoint is not None else "", source, said)[0]


# what Auffusion's code computes with and its config.json may leave out
_AUFFUSION: Mapping[str, Any] = MappingProxyType(
    {"n_fft": 2048, "hop_size": 160, "win_size": 1024, "sampling_rate": 16000, "fmin": 0.0, "fmax": 8000.0}
)


def _of_auffusion(entries: Mapping[str, Any], weights: Path, said: list[str]) -> Mapping[str, Any]:
    """Entries of the vocoder in a folder of Auffusion, known by its weights' name, vocoder/vocoder.pt."""
    if (weights.parent.name, weights.name) != ("vocoder", "vocoder.pt") or "odd_kernels" in entries:
        return entries
    lacking = {name: value for name, value in _AUFFUSION.items() if name not in entries}
    taken = f", {', '.join(lacking)} as in its code" if lacking else ""
    front_end = PRESETS["auffusion"]
    numbers: dict[str, int | None] = {
        "n_fft": front_end.n_fft,
        "hop_size": front_end.hop_length,
        "win_size": front_end.win_length,
    }
    numbers |= {"sampling_rate": front_end.sample_rate, "num_mels": front_end.n_mels}
    whole = {**entries, **lacking}
    if all(whole.get(name) == value for name, value in numbers.items()):
        whole["front_end"] = front_end.to_json()
        taken += "; mels as by preset auffusion"
    said.append(f"Auffusion's vocoder: kernels that exceed their rate by an odd number pad the output{taken}")
    return {**whole, "odd_kernels": "output-padding"}


def _istft_vocoder() -> LoadableNet[Any]:
    from edge_training.vocoder.istft_vocoder import (
        ISTFT_VOCODER_PRESETS,
        IstftVocoder,
        IstftVocoderConfig,
    )

    return LoadableNet(
        "istft-vocoder",
        tuple(ISTFT_VOCODER_PRESETS),
        ISTFT_VOCODER_PRESETS.__getitem__,
        IstftVocoderConfig.from_json,
        IstftVocoder,
    )


def _bigvgan() -> LoadableNet[Any]:
    from edge_training.vocoder.bigvgan import BIGVGAN_PRESETS, BigVgan, BigVganConfig

    return LoadableNet(
        "bigvgan", tuple(BIGVGAN_PRESETS), BIGVGAN_PRESETS.__getitem__, BigVganConfig.from_json, BigVgan
    )


def _audio_encoder() -> LoadableNet[Any]:
    from edge_training.talking_head.audio_encoder import AudioEncoder, AudioEncoderConfig

    return LoadableNet(
        "audio-encoder",
        ("talking-head",),
        lambda _: AudioEncoderConfig(),
        AudioEncoderConfig.from_json,
        AudioEncoder,
    )


def _mel_inversion() -> LoadableNet[Any]:
    from edge_training.mel_inversion.pinv_conv_skip import (
        MEL_INVERSION_PRESETS,
        MelInversionConfig,
        build_mel_inversion,
    )

    return LoadableNet(
        "mel-inversion",
        tuple(MEL_INVERSION_PRESETS),
        MEL_INVERSION_PRESETS.__getitem__,
        MelInversionConfig.from_json,
        build_mel_inversion,
    )


def _degli() -> LoadableNet[Any]:
    from edge_training.mel_inversion.degli import DEGLI_PRESETS, Degli, DegliConfig

    return LoadableNet("degli", tuple(DEGLI_PRESETS), DEGLI_PRESETS.__getitem__, DegliConfig.from_json, Degli)


def _mri_acoustic() -> LoadableNet[Any]:
    from edge_training.mri_speech.mri_acoustic import (
        META_ENTRIES,
        MRI_ACOUSTIC_PRESETS,
        MriAcoustic,
        MriAcousticConfig,
    )

    return LoadableNet(
        "mri-acoustic",
        tuple(MRI_ACOUSTIC_PRESETS),
        MRI_ACOUSTIC_PRESETS.__getitem__,
        MriAcousticConfig.from_json,
        MriAcoustic,
        config_files=("config.json", "meta.json"),
        settle=settle_scaler,
        more_entries=META_ENTRIES,
    )


def settle_scaler(
    config: MriAcousticConfig, checkpoint: Checkpoint | None, said: list[str] | None = None
) -> MriAcousticConfig:
    """The config with mean and deviation from the scaler.json beside the checkpoint, where it has none."""
    note_empty_bands(config.mel, said)
    if config.mel_mean is not None or checkpoint is None:
        return config
    scaler = Path(checkpoint.path).with_name("scaler.json")
    if not scaler.is_file():
        return config
    mean, std = read_scaler(scaler, config.n_mels)
    if said is not None:
        said.append("mean and deviation of the mel taken from the scaler.json beside the checkpoint")
    return replace(config, mel_mean=tuple(mean.tolist()), mel_std=tuple(std.tolist()))


def _ecog_decoder() -> LoadableNet[Any]:
    from edge_training.ecog_speech.decoders.ecog_decoder import (
        ECOG_DECODER_PRESETS,
        EcogDecoder,
        EcogDecoderConfig,
    )

    return LoadableNet(
        "ecog-decoder",
        tuple(ECOG_DECODER_PRESETS),
        ECOG_DECODER_PRESETS.__getitem__,
        EcogDecoderConfig.from_json,
        EcogDecoder,
    )


def _speech_encoder() -> LoadableNet[Any]:
    from edge_training.ecog_speech.speech_encoder import (
        SPEECH_ENCODER_PRESETS,
        SpeechEncoder,
        SpeechEncoderConfig,
    )

    return LoadableNet(
        "speech-encoder",
        tuple(SPEECH_ENCODER_PRESETS),
        SPEECH_ENCODER_PRESETS.__getitem__,
        SpeechEncoderConfig.from_json,
        SpeechEncoder,
    )


def _formant_synthesizer() -> LoadableNet[Any]:
    from edge_training.ecog_speech.formant_synthesizer import (
        FORMANT_SYNTHESIZER_PRESETS,
        FormantSynthesizer,
        FormantSynthesizerConfig,
    )

    return LoadableNet(
        "formant-synthesizer",
        tuple(FORMANT_SYNTHESIZER_PRESETS),
        FORMANT_SYNTHESIZER_PRESETS.__getitem__,
        FormantSynthesizerConfig.from_json,
        FormantSynthesizer,
    )


def _image_speech(name: str) -> Callable[[], LoadableNet[Any]]:
    def entry() -> LoadableNet[Any]:
        from edge_training.image_speech.loadable import BUILDERS

        made: LoadableNet[Any] = BUILDERS[name]()
        return made

    return entry


NETS: Mapping[str, Callable[[], LoadableNet[Any]]] = MappingProxyType(
    {
        "audio-encoder": _audio_encoder,
        "hifigan": _hifigan,
        "istft-vocoder": _istft_vocoder,
        "bigvgan": _bigvgan,
        "mel-inversion": _mel_inversion,
        "degli": _degli,
        "mri-acoustic": _mri_acoustic,
        "ecog-decoder": _ecog_decoder,
        "speech-encoder": _speech_encoder,
        "formant-synthesizer": _formant_synthesizer,
        **{
            name: _image_speech(name)
            for name in ("sd-unet", "sd-vae-encoder", "sd-vae-decoder", "clip-text", "phoneme-adapter")
        },
    }
)


def loadable(name: str) -> LoadableNet[Any]:
    """The entry of a net; ConfigError where there is none."""
    if name not in NETS:
        raise ConfigError("net", got=name, expected=f"one of {', '.join(NETS)}")
    return NETS[name]()
