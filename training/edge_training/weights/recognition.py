"""Which net a state dict belongs to, told from its keys and shapes; for sentences and for defaults.

Keys have no prefix, as `read_checkpoint` gives them. Recognised are the nets that users confuse: those of
this project and their relatives in other systems (Wav2Lip, HiFi-GAN).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import cache
from types import MappingProxyType
from typing import Protocol

import torch

from edge_training.mel_inversion.degli import DEGLI_PRESETS
from edge_training.mri_speech.mri_acoustic import BACKBONES, MriAcoustic, MriAcousticConfig
from edge_training.vocoder.hifigan import HIFIGAN_PRESETS, HifiGan, HifiGanConfig


class Shaped(Protocol):
    """What has a shape: a tensor in memory, or one in a file."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def ndim(self) -> int: ...


# (net, expressions that must each match the beginning of some key); the first row that holds is the answer
_PATTERNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("hifigan-discriminators", (r"((mpd|msd)\.)?discriminators\.\d+\.(convs\.\d+|conv_post)\.",)),
    ("wav2lip-generator", (r"face_decoder_blocks\.",)),
    ("wav2lip-syncnet", (r"(audio_encoder\.)?13\.conv_block\.0\.",)),
    ("audio-encoder", (r"(audio_encoder\.)?0\.conv_block\.0\.", r"(audio_encoder\.)?12\.conv_block\.0\.")),
    # HiFi-GAN's relatives before itself: they have its layers, and more
    ("nsf-hifigan", (r"(dec\.)?(m_source|noise_convs)\.", r"(dec\.)?conv_pre\.")),
    (
        "vits",
        (
            r"(dec|decoder|waveform_decoder)\.(conv_pre|input_conv)\.",
            r"(enc_p|text_encoder|flow|posterior_encoder)\.",
        ),
    ),
    ("istftnet", (r"(subband_conv_post|multistream_conv_post)\.", r"conv_pre\.")),
    ("bigvgan", (r"resblocks\.\d+\.activations\.\d+\.",)),
    ("univnet", (r"res_stack\.0\.", r"conv_pre\.")),
    ("hifigan", (r"conv_pre\.", r"(ups|upsampler)\.0\.", r"resblocks\.0\.")),
    ("hifigan", (r"input_conv\.", r"upsamples\.0\.", r"blocks\.0\.convs1\.", r"output_conv\.")),
    ("istft-vocoder", (r"embed\.", r"blocks\.0\.dw\.", r"head\.")),
    ("melgan", (r"(generator\.)?(melgan|mel2wav)\.\d+\.",)),
    ("parallel-wavegan", (r"first_conv\.", r"conv_layers\.0\.conv1x1_aux\.")),
    ("waveglow", (r"WN\.0\.", r"upsample\.")),
    ("mri-acoustic", (r"cnn\.backbone\.", r"rnn\.lstm\.")),
    ("degli", (r"degliblock\.",)),
    # mel-speech-reconstruction's convolutional nets; our U-nets; our light net
    ("mel-inversion", (r"(convblocks\.\d+\.conv|unet\.down\.\d+\.\d+\.conv|blocks\.\d+\.spread)\.",)),
    ("ecog-decoder", (r"(from_ecog|swin_transformer|base_model)\.", r"prediction_head")),
    ("speech-encoder", (r"conv_fundementals", r"conv_loudness")),  # spelt so in neural_speech_decoding
    ("formant-synthesizer", (r"bgnoise_mapping",)),
    ("sd-unet", (r"conv_in\.", r"time_embedding\.linear_1\.", r"down_blocks\.0\.", r"up_blocks\.0\.")),
    ("sd-vae", (r"encoder\.conv_in\.", r"decoder\.conv_in\.", r"decoder\.up_blocks\.0\.")),
    (
        "clip-text",
        (r"embeddings\.token_embedding\.", r"encoder\.layers\.0\.self_attn\.", r"final_layer_norm\."),
    ),
)
# nets that we do not have and never look for: expressions that must each be found somewhere in some key
_STRANGERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Vocos", (r"backbone\.convnext\.0\.", r"head\.(out|istft)\.")),
    ("Bark", (r"coarse_acoustics\.",)),
    ("EnCodec", (r"quantizer\.(vq\.layers\.0\._codebook|layers\.0\.codebook)\.",)),
    ("the Descript Audio Codec", (r"quantizer\.quantizers\.0\.",)),
    ("Whisper", (r"encoder\.conv1\.", r"decoder\.(token_embedding|embed_tokens)\.")),
    ("wav2vec 2.0 or HuBERT", (r"feature_extractor\.conv_layers\.0\.",)),
    ("Tacotron 2", (r"decoder\.attention_rnn\.",)),
    ("FastSpeech 2", (r"(duration_predictor|variance_adaptor)\.",)),
    ("StyleMelGAN", (r"noise_upsample\.",)),
    ("WaveRNN", (r"(^|\.)I\.weight", r"(^|\.)rnn1\.")),
)
_COMPILED = tuple((net, tuple(map(re.compile, patterns))) for net, patterns in _PATTERNS)

# nets that share their weights
_HALVES = MappingProxyType({"sd-vae-encoder": "sd-vae", "sd-vae-decoder": "sd-vae"})

# what lies beside a net of ours, or around it: never what is sought
AUXILIARY = frozenset({"hifigan-discriminators", "wav2lip-generator", "wav2lip-syncnet"})

_DESCRIPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "hifigan-discriminators": "HiFi-GAN's discriminators (a do_ file); the generator lies in the g_ file",
        "wav2lip-generator": "a Wav2Lip generator",
        "sd-vae": "a VAE of Stable Diffusion",
        "wav2lip-syncnet": "Wav2Lip's SyncNet (lipsync_expert), whose audio branch has 14 blocks, not 13; "
        "the audio_encoder of a Wav2Lip generator would fit",
        "bigvgan": "BigVGAN, whose activations are snakes with filters around them: the net bigvgan",
        **{
            net: f"{what}; it is not among the nets here"
            for net, what in {
                "nsf-hifigan": "HiFi-GAN with a neural source filter (RVC, so-vits-svc), which needs "
                "a pitch curve too",
                "vits": "VITS, whose decoder takes a latent of its own and no mel",
                "istftnet": "iSTFTNet, whose conv_post gives magnitudes and phases and not samples",
                "univnet": "UnivNet",
                "melgan": "MelGAN",
                "parallel-wavegan": "Parallel WaveGAN's own generator, a WaveNet",
                "waveglow": "WaveGlow",
            }.items()
        },
    }
)


def recognise(state: Collection[str]) -> str | None:
    """Name of the net that a state dict (or only its keys) looks like, None for an unknown one."""
    for net, patterns in _COMPILED:
        if all(any(map(pattern.match, state)) for pattern in patterns):
            return net
    return None


def resemblance(state: Mapping[str, Shaped], net: str) -> str:
    """A clause on what weights that do not fit `net` look like; "" where they look like nothing known."""
    found = recognise(state)
    if found is None:
        stranger = _stranger(state)
        return f"it looks like {stranger}; it is not among the nets here" if stranger else ""
    if found != _HALVES.get(net, net):
        return f"it looks like {_DESCRIPTIONS.get(found, found)}"
    shapes = _SHAPES.get(net)
    return shapes(state) if shapes else ""


def is_another(state: Mapping[str, Shaped], net: str) -> bool:
    """Whether weights are clearly another net's than `net`'s, so that no configuration makes them fit."""
    found = recognise(state)
    return bool(_stranger(state)) if found is None else found != _HALVES.get(net, net)


def _stranger(keys: Collection[str]) -> str:
    for name, patterns in _STRANGERS:
        if all(any(re.search(pattern, key) for key in keys) for pattern in patterns):
            return name
    return ""


def hifigan_preset(state: Mapping[str, Shaped]) -> str | None:
    """Name of the first preset whose folded keys and shapes are these (wirings share them)."""
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    return next((name for name, config in HIFIGAN_PRESETS.items() if _shapes(config) == shapes), None)


@cache
def _shapes(config: HifiGanConfig) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):  # shapes alone, no memory
        return {key: tuple(tensor.shape) for key, tensor in HifiGan(config).state_dict().items()}


def _hifigan_shapes(state: Mapping[str, Shaped]) -> str:
    """The config entries that the shapes of a HiFi-GAN give away."""
    last = state.get("conv_post.weight")
    if last is not None and last.ndim == 3 and last.shape[0] > 1:
        return f"it looks like {_DESCRIPTIONS['istftnet']} ({last.shape[0]} channels)"
    preset = hifigan_preset(state)
    if preset is not None:
        return f"its shapes are those of preset {preset}"
    clauses = []
    first = state.get("conv_pre.weight")
    if first is not None and first.ndim == 3:
        clauses += [f"num_mels {first.shape[1]}", f"upsample_initial_channel {first.shape[0]}"]
    ups = [state[key] for key in sorted(state) if re.fullmatch(r"ups\.\d+\.weight", key)]
    if ups and all(up.ndim == 3 for up in ups):
        clauses.append(f"upsample_kernel_sizes {', '.join(str(up.shape[2]) for up in ups)}")
    clauses.append(f"resblock {1 if any('.convs1.' in key for key in state) else 2}")
    return f"its shapes say {'; '.join(clauses)}"


def _bigvgan_shapes(state: Mapping[str, Shaped]) -> str:
    """The presets whose keys and shapes are these; the low-pass of activations may be missing."""
    from edge_training.vocoder.bigvgan import BIGVGAN_PRESETS

    shapes = {key: tuple(tensor.shape) for key, tensor in state.items() if not key.endswith(".filter")}
    first = shapes.get("conv_pre.weight", ())[:2]
    near = [
        name
        for name, config in BIGVGAN_PRESETS.items()
        if first == (config.upsample_initial_channel, config.num_mels)
    ]
    fit = [name for name in near if _bigvgan_preset_shapes(name) == shapes]
    return f"its shapes are those of preset {' or '.join(fit)}" if fit else ""


@cache
def _bigvgan_preset_shapes(name: str) -> dict[str, tuple[int, ...]]:
    from edge_training.vocoder.bigvgan import BIGVGAN_PRESETS, BigVgan

    with torch.device("meta"):
        state = BigVgan(BIGVGAN_PRESETS[name]).state_dict()
    return {key: tuple(tensor.shape) for key, tensor in state.items() if not key.endswith(".filter")}


def _degli_shapes(state: Mapping[str, Shaped]) -> str:
    """The preset of a DeGLI, or its channels and kernel."""
    first = state.get("degliblock.convdnn.aigcc.0.conv_re.weight")
    if first is None or first.ndim != 4:
        return ""
    channels, _, bins, frames = first.shape
    for name, config in DEGLI_PRESETS.items():
        if (config.channels, config.kernel) == (channels, (bins, frames)):
            return f"its shapes are those of preset {name}"
    return f"its shapes say channels {channels}; kernel {bins}, {frames}"


# (blocks, whether the first decoder block sees its input twice) → variants that look so
_INVERSIONS: Mapping[tuple[int, bool], str] = MappingProxyType(
    {
        (7, True): "pinv-conv-skip",
        (7, False): "pinv-conv or pinv-conv-res",
        (6, True): "pinv-conv-skip-no-bottleneck",
    }
)


def _mel_inversion_shapes(state: Mapping[str, Shaped]) -> str:
    """Variant and channels of mel inversion's nets, as far as shapes tell them apart."""
    if "scatter.weight" in state:
        return "its keys say variant light"
    if any(key.startswith("unet.") for key in state):
        firsts = [state.get(f"unet.down.{level}.0.conv.weight") for level in range(3)]
        return f"its shapes say variant unet or pinv-unet{_channels(firsts)}"
    weights = [state.get(f"convblocks.{block}.conv.weight") for block in range(8)]
    present = [weight for weight in weights if weight is not None and weight.ndim == 4]
    if len(present) < 4:
        return ""
    decoder = present[len(present) - 3]
    variant = _INVERSIONS.get((len(present), decoder.shape[1] == 2 * present[2].shape[0]))
    return f"its shapes say variant {variant}{_channels(present[:3])}" if variant else ""


def _channels(weights: Collection[Shaped | None]) -> str:
    outputs = [str(weight.shape[0]) for weight in weights if weight is not None and weight.ndim]
    return f"; channels {', '.join(outputs)}" if len(outputs) == len(weights) else ""


def _mri_acoustic_shapes(state: Mapping[str, Shaped]) -> str:
    """Backbone, LSTM cells and mel bands of an mri-acoustic."""
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    clauses = [f"backbone {name}" for name in BACKBONES if _backbone_shapes(name).items() <= shapes.items()]
    if len(shapes.get("rnn.lstm.weight_hh_l0", ())) == 2:
        clauses.append(f"rnn_hidden {shapes['rnn.lstm.weight_hh_l0'][1]}")
    if len(shapes.get("head.weight", ())) == 2:
        clauses.append(f"n_mels {shapes['head.weight'][0]}")
    return f"its shapes say {'; '.join(clauses)}" if clauses else ""


@cache
def _backbone_shapes(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        weights = dict(MriAcoustic(MriAcousticConfig(backbone=name)).cnn.named_parameters(prefix="cnn"))
    return {key: tuple(weight.shape) for key, weight in weights.items()}


_SHAPES: Mapping[str, Callable[[Mapping[str, Shaped]], str]] = MappingProxyType(
    {
        "hifigan": _hifigan_shapes,
        "bigvgan": _bigvgan_shapes,
        "degli": _degli_shapes,
        "mel-inversion": _mel_inversion_shapes,
        "mri-acoustic": _mri_acoustic_shapes,
    }
)
