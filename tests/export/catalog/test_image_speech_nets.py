"""Stable Diffusion's nets: the libraries' own results, other sizes, folders that lack something."""

from __future__ import annotations

import inspect
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from edge_export.convert import export
from edge_export.mil import Program
from edge_export.proof.verify import verify
from edge_runtime.compare import compare
from edge_runtime.dsp.mel import PRESETS
from edge_runtime.errors import BundleError, CheckpointError, ConfigError, EdgeError, InputError
from edge_runtime.store.bundle import Bundle, Lengths, open_bundle
from edge_training.image_speech.folders import model_folder, part_weights
from edge_training.image_speech.libraries import library
from edge_training.image_speech.net_configs import SdUnetConfig, SdVaeConfig, from_diffusers, schedule_of
from edge_training.image_speech.phoneme_adapter import (
    PhonemeAdapter,
    PhonemeAdapterConfig,
    save_phoneme_adapter,
)
from edge_training.weights.loading import load_net
from edge_training.weights.reading import read_checkpoint

Arrays = Mapping[str, NDArray[Any]]
SMALL = {"height": 64, "width": 128}  # latents of 8 × 16


@pytest.fixture(scope="module")
def unet(tiny_diffusion: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("sd") / "unet"
    return export("sd-unet", out, checkpoint=tiny_diffusion / "sd", changes=SMALL, targets=["onnx"])


@pytest.fixture(scope="module")
def text(tiny_diffusion: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("sd") / "text"
    return export("clip-text", out, checkpoint=tiny_diffusion / "auffusion", precisions=["fp32"])


def _run(bundle: Bundle, arrays: Arrays) -> list[NDArray[Any]]:
    session = onnxruntime.InferenceSession(bundle.artifact("onnx"), providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(arrays)))


def _passes(bundle: Bundle) -> None:
    proof = verify(bundle)
    assert proof.passed, [row for row in proof.rows if row.status == "FAIL"]
    backends = {row.backend for row in proof.rows if row.comparison}
    wanted = {"onnxruntime", "onnx-reference"} | (
        {"mil"} if "coremltools" in bundle.manifest.versions else set()
    )
    assert wanted <= backends


def test_unet_is_diffusers_at_sizes_that_were_not_traced(unet: Bundle, tiny_diffusion: Path) -> None:
    own: Any = library("diffusers").UNet2DConditionModel.from_pretrained(tiny_diffusion / "sd" / "unet")
    random = torch.Generator().manual_seed(0)
    for batch, height, width, tokens in ((1, 16, 12, 77), (3, 4, 30, 5), (2, 8, 16, 77)):
        sample = torch.randn(batch, 4, height, width, generator=random)
        steps = torch.linspace(999.0, 1.0, batch)
        states = torch.randn(batch, tokens, 32, generator=random)
        with torch.inference_mode():
            truth = own(sample, steps, states).sample
        arrays = {"sample": sample, "timestep": steps, "encoder_hidden_states": states}
        [noise] = _run(unet, {name: value.numpy() for name, value in arrays.items()})
        assert compare(truth.numpy(), noise, tolerance=1e-4, min_snr_db=100).passed
    assert unet.manifest.artifact("onnx").axes["height"] == Lengths(2, step=2)


def test_unet_passes_everywhere(unet: Bundle) -> None:
    _passes(unet)
    assert unet.manifest.artifact("onnx", "fp16").float32_parts == ("time_proj",)
    assert unet.manifest.config["beta_schedule"] == "scaled_linear"
    assert unet.manifest.config["set_alpha_to_one"] is False
    assert {"clip_sample", "sample_size"}.isdisjoint(unet.manifest.config)


@pytest.mark.parametrize(
    ("net", "takes", "gives"),
    [
        ("sd-vae-decoder", (1, 4, 6, 10), (1, 3, 48, 80)),
        ("sd-vae-encoder", (2, 3, 48, 80), (2, 8, 6, 10)),
    ],
)
def test_vae_is_diffusers(
    tiny_diffusion: Path, tmp_path: Path, net: str, takes: tuple[int, ...], gives: tuple[int, ...]
) -> None:
    folder, out = tiny_diffusion / "sd" / "vae", tmp_path / "out"
    bundle = export(net, out, checkpoint=folder, changes=SMALL, targets=["onnx"], precisions=["fp32"])
    vae: Any = library("diffusers").AutoencoderKL.from_pretrained(tiny_diffusion / "sd" / "vae")
    array = torch.randn(takes, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        truth = (
            vae.decode(array).sample if net == "sd-vae-decoder" else vae.encode(array).latent_dist.parameters
        )
    [result] = _run(bundle, {bundle.manifest.inputs[0].name: array.numpy()})
    assert result.shape == gives
    assert compare(truth.numpy(), result, tolerance=3e-4, min_snr_db=100).passed
    assert bundle.manifest.config["scaling_factor"] == 0.18215
    _passes(bundle)


def test_text_is_transformers_and_brings_its_tokenizer(text: Bundle, tiny_diffusion: Path) -> None:
    folder = tiny_diffusion / "auffusion"
    tokenizer: Any = library("transformers").CLIPTokenizer.from_pretrained(folder / "tokenizer")
    own: Any = library("transformers").CLIPTextModel.from_pretrained(folder / "text_encoder")
    prompts = ["a bell that rings, lithograph style", "", "dogs"]
    ids = tokenizer(prompts, padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.inference_mode():
        truth = own(ids)
    states, pooled = _run(text, {"input_ids": ids.numpy().astype(np.int32)})
    assert compare(truth.last_hidden_state.numpy(), states, tolerance=1e-4, min_snr_db=100).passed
    assert compare(truth.pooler_output.numpy(), pooled, tolerance=1e-4, min_snr_db=100).passed
    _passes(text)
    for name in ("vocab.json", "merges.txt"):
        assert (text.path / "tokenizer" / name).read_bytes() == (folder / "tokenizer" / name).read_bytes()
    carried = [file.path for file in text.manifest.files if "/" in file.path]
    assert carried == ["tokenizer/merges.txt", "tokenizer/vocab.json"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "tokenizer/vocab.json").write_text("{}"), r"vocab\.json: got 2 bytes"),
        (lambda folder: (folder / "tokenizer/merges.txt").unlink(), r"merges\.txt: got no such file"),
        (lambda folder: (folder / "tokenizer/more.txt").write_text("x"), r"more\.txt: .*does not list"),
    ],
)
def test_the_manifest_seals_the_tokenizer(text: Bundle, tmp_path: Path, damage: Any, message: str) -> None:
    copy = shutil.copytree(text.path, tmp_path / "copy")
    open_bundle(copy)
    damage(copy)
    with pytest.raises(BundleError, match=message):
        open_bundle(copy)


def test_the_adapter_takes_its_sizes_from_the_file(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        adapter = PhonemeAdapter(PhonemeAdapterConfig(in_dim=24, out_dim=32, seq_len=9)).eval()
    file = save_phoneme_adapter(adapter, tmp_path / "phoneme_adapter.pt")
    bundle = export("phoneme-adapter", tmp_path / "out", checkpoint=file, targets=["onnx"])
    assert bundle.manifest.config == {"in_dim": 24, "out_dim": 32, "seq_len": 9}
    vector = torch.randn(2, 24)
    with torch.inference_mode():
        truth = adapter.norm(adapter.proj(vector))
    [states] = _run(bundle, {"embedding": vector.numpy()})
    assert np.abs(states - truth[:, None].numpy()).max() < 1e-5
    _passes(bundle)
    saved = torch.load(file, weights_only=True) | {"in_dim": 25}
    torch.save(saved, file)
    with pytest.raises(CheckpointError, match=r"got in_dim 25, expected 24"):
        export("phoneme-adapter", tmp_path / "other", checkpoint=file)


def test_auffusions_vocoder_is_known_by_its_file(tiny_diffusion: Path) -> None:
    """Rates 5 and 4 with kernels 16: k − u is odd, and 160 samples a frame are exact."""
    loaded = load_net(tiny_diffusion / "auffusion/vocoder/vocoder.pt", "hifigan")
    assert loaded.config.odd_kernels == "output-padding"
    assert loaded.config.known_front_end == PRESETS["auffusion"], "pictures can be heard"
    assert any("Auffusion's vocoder" in sentence for sentence in loaded.said)
    with torch.inference_mode():
        assert loaded.module(torch.zeros(1, 256, 1024)).shape == (1, 1, 163_840)


def test_core_ml_packages_have_one_size_and_the_pair(tmp_path: Path) -> None:
    """Of a UNet of one level, whose middle alone has attention: conversion is slow by the operation."""
    level = {"down_block_types": ["DownBlock2D"], "up_block_types": ["UpBlock2D"], "block_out_channels": [32]}
    made = export(
        "sd-unet", tmp_path / "out", random=1, preset="tiny", changes=SMALL | level,
        targets=["coreml"], precisions=["fp16"], ios=18,
    )  # fmt: skip
    axes = made.manifest.artifact("coreml", "fp16").axes
    assert {name: lengths.only for name, lengths in axes.items()} == {
        "batch": (2,), "height": (8,), "width": (16,), "tokens": (77,),
    }  # fmt: skip
    assert verify(made).passed
    program = Program.open(made.artifact("coreml", "fp16"))
    assert program.operations["scaled_dot_product_attention"] == 2
    assert made.manifest.artifact("coreml", "fp16").version == "iOS 18, specification 9"


# ---- what is refused --------------------------------------------------------------------------------------


@pytest.fixture
def model(tiny_diffusion: Path, tmp_path: Path) -> Path:
    """A copy of a model that a test may damage."""
    return Path(shutil.copytree(tiny_diffusion / "sd", tmp_path / "model"))


def _edit(file: Path, **entries: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


def _refused(model: Path, net: str, tmp_path: Path, **changes: Any) -> str:
    with pytest.raises(EdgeError) as refusal:
        export(net, tmp_path / "out", checkpoint=model, changes=changes, targets=["onnx"])
    assert not (tmp_path / "out").exists()
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("net", "missing", "message"),
    [
        ("sd-unet", "unet", r"unet: got no such folder beside .*vae"),
        (
            "sd-unet",
            "unet/diffusion_pytorch_model.safetensors",
            "got only config.json, expected a folder with",
        ),
        ("sd-unet", "scheduler/scheduler_config.json", "scheduler_config.json: got no such file"),
        ("sd-vae-encoder", "vae/config.json", "got no config.json beside"),
        ("clip-text", "tokenizer/merges.txt", "merges.txt: got no such file"),
    ],
)
def test_missing_parts_are_named(model: Path, tmp_path: Path, net: str, missing: str, message: str) -> None:
    path = model / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert re.search(message, _refused(model, net, tmp_path))


@pytest.mark.parametrize(
    ("net", "file", "entries", "words"),
    [
        ("sd-vae-decoder", "vae/config.json", {"block_out_channels": [16, 32, 32]}, "have the factor 4"),
        (
            "sd-unet",
            "unet/config.json",
            {"addition_embed_type": "text_time"},
            "'addition_embed_type': got 'text_time'",
        ),
        ("sd-unet", "unet/config.json", {"in_channels": 9}, "in_channels: got 9, expected 4"),
        ("sd-unet", "unet/config.json", {"_class_name": "UNet3D"}, "'_class_name': got 'UNet3D'"),
        ("sd-unet", "unet/config.json", {"cross_attention_dim": 64}, "wrong shape"),
        (
            "sd-unet",
            "scheduler/scheduler_config.json",
            {"prediction_type": "sample"},
            "prediction_type: got 'sample'",
        ),
        ("sd-unet", "scheduler/scheduler_config.json", {"trained_betas": [0.1]}, "trained_betas: got a list"),
        ("clip-text", "text_encoder/config.json", {"model_type": "t5"}, "'model_type': got 't5'"),
        ("clip-text", "text_encoder/config.json", {"hidden_act": "relu"}, "hidden_act: got 'relu'"),
        ("clip-text", "tokenizer/vocab.json", {"more": 2000}, "got a largest token of 2000"),
    ],
)
def test_models_of_other_kinds_are_refused(
    model: Path, tmp_path: Path, net: str, file: str, entries: dict[str, Any], words: str
) -> None:
    _edit(model / file, **entries)
    assert words in _refused(model, net, tmp_path)


@pytest.mark.parametrize(
    ("net", "changes", "words"),
    [
        ("sd-unet", {"height": 100}, "height: got 100, expected pixels, a multiple of 16"),
        ("sd-vae-decoder", {"width": 1001}, "width: got 1001, expected pixels, a multiple of 8"),
    ],
)
def test_sizes_must_be_multiples(
    model: Path, tmp_path: Path, net: str, changes: dict[str, Any], words: str
) -> None:
    assert words in _refused(model, net, tmp_path, **changes)


def test_weights_of_another_part_are_named(tiny_diffusion: Path, tmp_path: Path) -> None:
    [vae] = (tiny_diffusion / "sd/vae").glob("*.safetensors")
    with pytest.raises(CheckpointError, match="it looks like a VAE of Stable Diffusion"):
        export("sd-unet", tmp_path / "out", checkpoint=vae, preset="tiny", targets=["onnx"])


def test_a_name_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: got no such folder, expected a model's folder"):
        model_folder(tmp_path / "nowhere")


# ---- files as they are published --------------------------------------------------------------------------


def test_older_names_and_containers_give_the_same_weights(model: Path) -> None:
    """VAEs before 2023 say query, key, value; text encoders kept their positions; .bin before safetensors."""
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    for part, new in (("vae", "diffusion_pytorch_model"), ("text_encoder", "model")):
        file = part_weights(model, part)
        truth = read_checkpoint(file).state
        state = library("safetensors.torch").load_file(file)
        if part == "text_encoder":
            state["text_model.embeddings.position_ids"] = torch.arange(77)[None]
        for today, before in names.items():
            state = {
                key.replace(f"attentions.0.{today}.", f"attentions.0.{before}.")
                if part == "vae"
                else key: value
                for key, value in state.items()
            }
        file.unlink()
        older = file.with_name("pytorch_model.bin" if part == "text_encoder" else f"{new}.bin")
        torch.save(state, older)
        assert part_weights(model, part) == older
        found = read_checkpoint(older).state
        assert found.keys() == truth.keys()
        assert all(torch.equal(found[key], truth[key]) for key in truth)


def test_a_repository_in_the_cache_is_found_without_a_network(
    tiny_diffusion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, commit = tmp_path / "hub", "0" * 40
    folder = hub / "models--someone--tiny-sd"
    shutil.copytree(tiny_diffusion / "sd", folder / "snapshots" / commit)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    constants = library("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert part_weights("someone/tiny-sd", "unet").parent.parent == folder / "snapshots" / commit
    with pytest.raises(InputError, match=r"someone/else: got no such folder, and «"):
        model_folder("someone/else")


def test_schedules_have_the_defaults_of_their_class() -> None:
    said: list[str] = []
    assert (
        schedule_of({"_class_name": "DDIMScheduler", "clip_sample": True}, said)["set_alpha_to_one"] is True
    )
    assert schedule_of({"_class_name": "PNDMScheduler"}, [])["set_alpha_to_one"] is False
    assert said == [
        "clip_sample true of the scheduler not taken: latents go beyond 1, clipped ones are ruined"
    ]
    diffusers = library("diffusers")
    for name in ("DDIMScheduler", "PNDMScheduler"):
        own = getattr(diffusers, name)().config
        taken = schedule_of({"_class_name": name}, [])
        assert taken == {key: own[key] for key in taken}


@pytest.mark.parametrize("config", [SdUnetConfig(), SdVaeConfig()], ids=lambda config: config.part)
def test_every_default_is_diffusers_own(config: SdUnetConfig | SdVaeConfig) -> None:
    """Arguments of diffusers' class: ours, unread, or refused where they are not its defaults."""
    own = getattr(library("diffusers"), config.class_name)
    defaults = {name: item.default for name, item in inspect.signature(own.__init__).parameters.items()}
    del defaults["self"]
    entries = {**defaults, **config.to_json()}
    assert from_diffusers(entries, type(config)) == config.to_json()
    with torch.device("meta"):
        own(**config.diffusers())


def test_a_rule_names_its_entry() -> None:
    with pytest.raises(ConfigError, match="norm_num_groups: got 7"):
        SdUnetConfig(norm_num_groups=7)
    with pytest.raises(ConfigError, match="beta_schedule: got 'cosine'"):
        SdUnetConfig(beta_schedule="cosine")
