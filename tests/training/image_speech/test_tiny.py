"""Tiny models as the libraries of the full-sized ones read them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_runtime.errors import BackendError, ConfigError, TargetError
from edge_runtime.store.targets import sha256_tree
from edge_training.image_speech.libraries import library
from edge_training.image_speech.tiny import phone_tokens, write_tiny_diffusion


def test_the_same_seed_gives_the_same_bytes(tiny_diffusion: Path, tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    again = write_tiny_diffusion(tmp_path / "again", 0)
    assert sha256_tree(again) == sha256_tree(tiny_diffusion)
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's random numbers went on"


@pytest.mark.parametrize("name", ["sd", "auffusion"])
def test_diffusers_opens_the_folders(tiny_diffusion: Path, name: str) -> None:
    pipeline: Any = library("diffusers").StableDiffusionPipeline.from_pretrained(
        tiny_diffusion / name, local_files_only=True, safety_checker=None
    )
    assert pipeline.vae_scale_factor == 8
    tokens = pipeline.tokenizer("A Cat", padding="max_length", max_length=77).input_ids
    assert len(pipeline.tokenizer) == 514
    assert len(tokens) == 77
    assert tokens[:7] == [512, 64 + 256, 66, 64, 83 + 256, 513, 513]  # start, a</w>, c, a, t</w>, end, end
    with torch.inference_mode():
        latents = torch.zeros(1, 4, 32, 128)
        assert pipeline.vae.decode(latents).sample.shape == (1, 3, 256, 1024)


def test_the_models_share_the_vae_alone(tiny_diffusion: Path) -> None:
    def weights(name: str, part: str) -> bytes:
        [file] = (tiny_diffusion / name / part).glob("*.safetensors")
        return file.read_bytes()

    assert weights("sd", "vae") == weights("auffusion", "vae")
    for part in ("unet", "text_encoder"):
        assert weights("sd", part) != weights("auffusion", part)


def test_text_encoder_weights_have_the_names_of_published_files(tiny_diffusion: Path) -> None:
    from safetensors import safe_open

    folder = tiny_diffusion / "sd" / "text_encoder"
    net, loaded = library("transformers").CLIPTextModel.from_pretrained(folder, output_loading_info=True)
    assert not loaded["missing_keys"]
    assert not loaded["unexpected_keys"]
    last = "final_layer_norm.bias"
    [own] = [value for name, value in net.state_dict().items() if name.endswith(last)]
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert all(name.startswith("text_model.") for name in file.keys())  # noqa: SIM118
        assert len(file.keys()) == len(net.state_dict())
        assert torch.equal(file.get_tensor(f"text_model.{last}"), own)


def test_schedulers_hold_the_trap(tiny_diffusion: Path) -> None:
    """SD 1.5's says clip_sample false; one that PNDMScheduler wrote says nothing, and DDIM would clip."""
    said = [
        json.loads((tiny_diffusion / name / "scheduler/scheduler_config.json").read_text()).get("clip_sample")
        for name in ("sd", "auffusion")
    ]
    assert said == [False, None]


def test_phoneme_encoder_loads_and_knows_long_phones(tiny_diffusion: Path) -> None:
    import yaml

    transformers = library("transformers")
    folder = tiny_diffusion / "plbert"
    config = yaml.safe_load((folder / "config.yml").read_text())
    tokens = pickle.loads((folder / config["dataset_params"]["token_maps"]).read_bytes())
    assert tokens == phone_tokens()
    assert {"tʃ", "ˈoʊ", "ˌɐ"} <= tokens.keys()
    assert config["dataset_params"]["word_separator"] == tokens["<w>"]
    entries = {name: value for name, value in config["model_params"].items() if name != "dropout"}
    net = transformers.AlbertModel(transformers.AlbertConfig(**entries))
    saved = torch.load(folder / "step_1000.t7", weights_only=True)["net"]
    bare = {key.removeprefix("module.encoder."): value for key, value in saved.items()}
    assert net.load_state_dict(bare).missing_keys == []


def test_only_its_own_folder_is_replaced(tiny_diffusion: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "record.json").write_text((tiny_diffusion / "record.json").read_text())
    (out / "diary.txt").write_text("mine")
    with pytest.raises(TargetError, match="expected"):
        write_tiny_diffusion(out, overwrite=True)
    (out / "diary.txt").unlink()
    assert (write_tiny_diffusion(out, 1, overwrite=True) / "sd/model_index.json").is_file()
    assert (write_tiny_diffusion(out, 1, overwrite=True) / "record.json").is_file()
    with pytest.raises(TargetError, match="does not exist yet"):
        write_tiny_diffusion(out)


@pytest.mark.parametrize("seed", [-1, 2**63, True])
def test_seeds_that_torch_does_not_take_are_refused(tmp_path: Path, seed: int) -> None:
    with pytest.raises(ConfigError, match="seed: got"):
        write_tiny_diffusion(tmp_path / "out", seed)
    assert not (tmp_path / "out").exists()


def test_a_missing_library_is_named_with_its_cure() -> None:
    with pytest.raises(BackendError, match=r"no module named nosuchlibrary.*image-speech"):
        library("nosuchlibrary")
