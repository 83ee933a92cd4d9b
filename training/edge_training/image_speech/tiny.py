"""Tiny models with random weights, in the folders that the full-sized ones come in.

    OUT/record.json              the arguments
    OUT/sd/                      an image model, diffusers' layout: model_index.json, tokenizer/,
                                 text_encoder/, unet/, vae/, scheduler/ (PNDM, as Stable Diffusion 1.5 has)
    OUT/auffusion/               an audio model: the same VAE, UNet and text encoder of its own, vocoder/
    OUT/auffusion/vocoder/       config.json, vocoder.pt: {"generator": weights, weight norm in place}
    OUT/plbert/                  a phoneme encoder: config.yml, step_1000.t7: {"net": weights}, token_maps.pkl

Latents, pictures and mels have the shapes of the full size: the VAE's factor is 8, so that 4 × 32 × 128 is
256 × 1024, and the vocoder takes 256 mels at 160 samples a frame. The tokenizer knows bytes alone (514
tokens, no merges). The nets are noise: they show the machinery, not pictures.
"""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edge_runtime.errors import ConfigError
from edge_runtime.store.ownership import holds_only
from edge_runtime.store.reading import find_object
from edge_runtime.store.targets import replace_directory, temporaries_beside
from edge_training.image_speech.libraries import library

FORMAT, RECORD = "edge-tiny-diffusion/1", "record.json"
LARGEST_SEED = 2**63 - 1  # that torch takes

UNET: Mapping[str, Any] = MappingProxyType(
    {
        "sample_size": 64,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [32, 64],
        "layers_per_block": 1,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "cross_attention_dim": 32,
        "attention_head_dim": 4,  # diffusers reads it as the number of heads
        "norm_num_groups": 8,
    }
)
VAE: Mapping[str, Any] = MappingProxyType(
    {
        "block_out_channels": [16, 32, 32, 32],  # four blocks, three of which halve: factor 8
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 1,
        "latent_channels": 4,
        "norm_num_groups": 8,
        "sample_size": 256,
        "scaling_factor": 0.18215,
    }
)
TEXT: Mapping[str, Any] = MappingProxyType(
    {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 1000,
        "max_position_embeddings": 77,
        "projection_dim": 32,
        # as in Stable Diffusion 1.5: 2 stands for «the largest id of the row», not for a token
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }
)
VOCODER: Mapping[str, Any] = MappingProxyType(
    {
        "resblock": "1",
        "num_mels": 256,
        "n_fft": 2048,
        "hop_size": 160,
        "win_size": 1024,
        "sampling_rate": 16000,
        "fmin": 0,
        "fmax": 8000,
        "segment_size": 10240,
        "upsample_rates": [5, 4, 2, 2, 2],
        "upsample_kernel_sizes": [16, 16, 8, 4, 4],
        "upsample_initial_channel": 64,
        "resblock_kernel_sizes": [3, 7, 11],
        "resblock_dilation_sizes": [[1, 3, 5]] * 3,
    }
)
_BETAS: Mapping[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
    "trained_betas": None,
}
# SD 1.5's file says clip_sample false; one that PNDMScheduler writes anew has no such entry, which DDIM reads
# as true
SCHEDULERS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "sd": {"_class_name": "PNDMScheduler", **_BETAS, "clip_sample": False, "skip_prk_steps": True},
        "auffusion": {"_class_name": "PNDMScheduler", **_BETAS, "skip_prk_steps": True},
    }
)
START, END = "<|startoftext|>", "<|endoftext|>"
WORD_SEPARATOR = "<w>"
# espeak's phones of English with more than one character, which a map of single characters would lose
_LONG_PHONES = ("aɪ", "aʊ", "eɪ", "oʊ", "ɔɪ", "tʃ", "dʒ", "iː", "uː", "ɑː", "ɔː", "ɜː")
_SHORT_PHONES = tuple("abdefhijklmnoprstuvwzæðŋɐɑɔəɚɛɜɡɪɹɾʃʊʌʒʔθᵻ")
_VOWELS = frozenset("aeiouæɐɑɔəɚɛɜɪʊʌᵻ")


def write_tiny_diffusion(out: str | os.PathLike[str], seed: int = 0, *, overwrite: bool = False) -> Path:
    """Write the folders ``sd``, ``auffusion`` and ``plbert`` below ``out`` and return that path.

    Args:
        seed: the same seed gives the same bytes.
        overwrite: replace what this function wrote to ``out`` before (nothing else is ever replaced).

    Raises:
        ConfigError: a negative seed, or one of more than 63 bits.
        BackendError: diffusers or transformers is missing.
        TargetError: ``out`` exists or cannot be written.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LARGEST_SEED - 9:
        raise ConfigError("seed", got=repr(seed), expected=f"a whole number, 0 to {LARGEST_SEED - 9}")
    library("diffusers"), library("transformers")  # refused before anything is written
    with replace_directory(out, overwrite, ours=_is_ours) as folder, temporaries_beside(folder):
        # seeds of the parts are apart; both models have the VAE of the same one
        _write_model(folder / "sd", "sd", vae=seed, rest=seed + 1)
        _write_model(folder / "auffusion", "auffusion", vae=seed, rest=seed + 3)
        _write_vocoder(folder / "auffusion" / "vocoder", seed + 5)
        _write_phoneme_encoder(folder / "plbert", seed + 6)
        _write_json(folder / RECORD, {"format": FORMAT, "seed": seed})
    return Path(out)


_WRITTEN = re.compile(
    r"record\.json|(sd|auffusion)/(model_index\.json|tokenizer/(vocab|tokenizer_config|special_tokens_map)\.json"
    r"|tokenizer/merges\.txt|(text_encoder|unet|vae)/(config\.json|(diffusion_pytorch_)?model\.safetensors)"
    r"|scheduler/scheduler_config\.json)|auffusion/vocoder/(config\.json|vocoder\.pt)"
    r"|plbert/(config\.yml|step_\d+\.t7|token_maps\.pkl)"
)


def _is_ours(folder: Path) -> bool:
    record = find_object(folder / RECORD)
    return record.get("format") == FORMAT and holds_only(folder, lambda name: bool(_WRITTEN.fullmatch(name)))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's numbers for the block from a seed, and the caller's own afterwards."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _write_model(folder: Path, name: str, *, vae: int, rest: int) -> None:
    diffusers, transformers = library("diffusers"), library("transformers")
    with _seeded(vae):
        diffusers.AutoencoderKL(**VAE).save_pretrained(folder / "vae")
    with _seeded(rest):
        diffusers.UNet2DConditionModel(**UNET).save_pretrained(folder / "unet")
    with _seeded(rest + 1):
        text = transformers.CLIPTextModel(transformers.CLIPTextConfig(**TEXT))
    _write_text_encoder(folder / "text_encoder", text)
    _write_tokenizer(folder / "tokenizer")
    _write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULERS[name])
    _write_json(
        folder / "model_index.json",
        {
            "_class_name": "StableDiffusionPipeline",
            "feature_extractor": [None, None],
            "requires_safety_checker": False,
            "safety_checker": [None, None],
            "scheduler": ["diffusers", "PNDMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        },
    )


def _write_text_encoder(folder: Path, net: Any) -> None:
    """With the keys that published files have; save_pretrained of transformers 5 leaves their prefix out."""
    from safetensors.torch import save_file

    net.config.architectures = ["CLIPTextModel"]
    net.config.save_pretrained(folder)
    weights = {
        "text_model." + name.removeprefix("text_model."): value for name, value in net.state_dict().items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def byte_vocabulary() -> dict[str, int]:
    """CLIP's vocabulary before any merge: bytes, bytes at the end of a word, start and end of a text."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    # the bytes left over are spelt as the characters from 256 on, in their order
    symbols = [chr(code) for code in (*printable, *range(256, 512 - len(printable)))]
    names = [*symbols, *(symbol + "</w>" for symbol in symbols), START, END]
    return {name: index for index, name in enumerate(names)}


def _write_tokenizer(folder: Path) -> None:
    def special(text: str) -> dict[str, Any]:
        return {"content": text, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}

    tokens = {
        "bos_token": special(START),
        "eos_token": special(END),
        "unk_token": special(END),
        "pad_token": END,
    }
    _write_json(folder / "vocab.json", byte_vocabulary())
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    _write_json(folder / "special_tokens_map.json", tokens)
    _write_json(
        folder / "tokenizer_config.json",
        {
            **{name: {"__type": "AddedToken", **token} if isinstance(token, dict) else token
               for name, token in tokens.items()},
            "add_prefix_space": False,
            "do_lower_case": True,
            "errors": "replace",
            "model_max_length": 77,
            "tokenizer_class": "CLIPTokenizer",
        },
    )  # fmt: skip


def _write_vocoder(folder: Path, seed: int) -> None:
    import torch

    from edge_training.vocoder.hifigan import HifiGan, HifiGanConfig
    from edge_training.weights.weight_norm import origin_state_dict

    config = HifiGanConfig.from_json({**VOCODER, "odd_kernels": "output-padding"})
    with _seeded(seed):
        net = HifiGan(config, weight_norm=True)
    _write_json(folder / "config.json", VOCODER)  # without our entry, as Auffusion's has none
    torch.save({"generator": origin_state_dict(net)}, folder / "vocoder.pt")


def _write_phoneme_encoder(folder: Path, seed: int) -> None:
    import torch
    import yaml

    transformers = library("transformers")
    tokens = phone_tokens()
    model = {
        "vocab_size": len(tokens),
        "hidden_size": 32,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 512,
        "num_hidden_layers": 2,
        "dropout": 0.1,
    }
    sizes = {name: value for name, value in model.items() if name != "dropout"}
    with _seeded(seed):
        net = transformers.AlbertModel(transformers.AlbertConfig(**sizes, embedding_size=16))
    folder.mkdir(parents=True)
    dataset = {
        "word_separator": tokens[WORD_SEPARATOR],
        "token_maps": "token_maps.pkl",
        "token_separator": " ",
    }
    described = {"model_params": {**model, "embedding_size": 16}, "dataset_params": dataset}
    (folder / "config.yml").write_text(yaml.safe_dump(described, sort_keys=True), encoding="utf-8")
    weights = {f"module.encoder.{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save({"net": weights, "step": 1000}, folder / "step_1000.t7")
    (folder / "token_maps.pkl").write_bytes(pickle.dumps(tokens, protocol=4))


def phone_tokens() -> dict[str, int]:
    """Token ids of the tiny phoneme encoder: specials, punctuation, phones with and without stress."""
    phones = [*_SHORT_PHONES, *_LONG_PHONES]
    stressed = [mark + phone for mark in "ˈˌ" for phone in phones if phone[0] in _VOWELS]
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", WORD_SEPARATOR, *".,!?;:'\"-", *phones, *stressed]
    return {name: index for index, name in enumerate(names)}


def _write_json(path: Path, entries: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(dict(entries), indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8"
    )
