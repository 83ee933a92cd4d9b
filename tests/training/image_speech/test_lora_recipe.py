"""A LoRA learns, its files say the same, and a stopped run goes on bit by bit."""

from __future__ import annotations

import copy
import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.training.image_speech.lora_run import FRAMES, write_manifest
from torch import Tensor

from edge_runtime.errors import CheckpointError, ConfigError, EdgeError
from edge_training.engine.trainer import TrainResult, train
from edge_training.image_speech import frozen
from edge_training.image_speech.lora import lora_of, merge_lora, read_lora
from edge_training.image_speech.lora_recipe import LoraFit, LoraModule, halve_frozen, open_data
from edge_training.weights.reading import read_saved

STEPS = 16


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_manifest(tmp_path_factory.mktemp("manifest"))


@pytest.fixture(scope="module")
def auffusion(tiny_diffusion: Path) -> str:
    return str(tiny_diffusion / "auffusion")


def fit(data: Path, out: Path, auffusion: str, **settings: Any) -> TrainResult:
    return train("image-speech", data, out, auffusion=auffusion, devices=1, progress=False, **settings)


@pytest.fixture(scope="module")
def run(data: Path, auffusion: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a LoRA and of the UNet's middle."""
    out = tmp_path_factory.mktemp("runs") / "text"
    fit(data, out, auffusion, steps=STEPS, learning_rate=5e-3, unfreeze=["mid_block"], validate_every=STEPS)
    return out


def losses(run: Path) -> list[float]:
    with (run / "checkpoints" / "loss.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    return [float(row["loss"]) for row in rows]


def noise_of(unet: Any) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    sample, states = torch.randn(2, 4, 32, 8, generator=draw), torch.randn(2, 77, 32, generator=draw)
    with torch.no_grad():
        found: Tensor = unet.eval()(sample, torch.tensor([10, 600]), states).sample
    return found


def build(data: Path, auffusion: str, **settings: Any) -> LoraModule:
    config = LoraFit(auffusion=auffusion, **settings)
    torch.manual_seed(0)
    return LoraModule(config, open_data(config, data))


# ---- a run ------------------------------------------------------------------------------------------------


def test_the_loss_falls(run: Path) -> None:
    found = losses(run)
    assert len(found) == STEPS
    assert np.mean(found[-5:]) < 0.9 * np.mean(found[:5])
    assert (run / "plots" / "losses.png").is_file()


@pytest.mark.parametrize("name", ["checkpoints", "checkpoints/lora.pt", "checkpoints/best"])
def test_merged_files_give_the_wrapped_net_and_move_its_output(
    run: Path, data: Path, auffusion: str, name: str
) -> None:
    module = build(data, auffusion, unfreeze=("mid_block",))
    saved: Any = read_saved(run / "checkpoints" / f"step-{STEPS:08d}.ckpt")
    module.load_state_dict(saved["state_dict"], strict=False)
    plain = frozen.open_model(auffusion, text=False).unet
    before = noise_of(plain)
    merged = merge_lora(plain, run / name)
    assert any(key.startswith("mid_block.") for key in merged.base)
    torch.testing.assert_close(noise_of(plain), noise_of(module.unet), atol=2e-6, rtol=0)
    assert (noise_of(plain) - before).abs().max() > 0.05


def test_checkpoints_hold_what_is_trained_alone(run: Path) -> None:
    saved: Any = read_saved(run / "checkpoints" / f"step-{STEPS:08d}.ckpt")
    names = set(saved["state_dict"])
    assert names
    assert all(name.startswith("unet.") for name in names)
    assert all(".lora_" in name or name.startswith("unet.mid_block.") for name in names)


def test_a_run_starts_from_another(run: Path, data: Path, auffusion: str, tmp_path: Path) -> None:
    start = str(run / "checkpoints")
    module = build(data, auffusion, unfreeze=("mid_block",), start_from=start)
    mine, theirs = lora_of(module.unet), read_lora(start)
    assert all(torch.equal(pair.B, theirs.pairs[name].B) for name, pair in mine.pairs.items())
    assert all(torch.equal(value, theirs.base[name]) for name, value in mine.base.items())
    with pytest.raises(CheckpointError, match=r"base weights mid_block\..*--set unfreeze="):
        build(data, auffusion, start_from=start)
    with pytest.raises(CheckpointError, match=r"rank 8, expected rank 4"):
        fit(data, tmp_path / "other", auffusion, steps=1, rank=4, unfreeze=["mid_block"], start_from=start)
    assert not (tmp_path / "other").exists()


# ---- resuming ---------------------------------------------------------------------------------------------


def test_a_stopped_run_goes_on_bit_by_bit(data: Path, auffusion: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "condition": "phoneme", "condition_dropout": 0.5, "dropout": 0.1, "validation_clips": 0,
    }  # fmt: skip
    fit(data, tmp_path / "whole", auffusion, steps=3, **settings)
    fit(data, tmp_path / "parts", auffusion, steps=2, **settings)
    with (tmp_path / "parts" / "metrics.csv").open("a") as table:
        table.write("3,9.9\n")  # as a run leaves it that was killed after its last checkpoint
    fit(data, tmp_path / "parts", auffusion, steps=3, resume=True)
    for name in ("lora.pt", "phoneme_adapter.pt"):
        whole: Any = read_saved(tmp_path / "whole" / "checkpoints" / name)
        parts: Any = read_saved(tmp_path / "parts" / "checkpoints" / name)
        flat = whole.get("state_dict", whole)
        assert all(torch.equal(value, parts.get("state_dict", parts)[key]) for key, value in flat.items())
    assert whole["state_dict"].keys() == {"proj.weight", "proj.bias", "norm.weight", "norm.bias"}
    assert (whole["in_dim"], whole["out_dim"], whole["seq_len"]) == (32, 32, 77)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    start = str(tmp_path / "whole" / "checkpoints")
    again = build(data, auffusion, condition="phoneme", start_from=start)
    assert again.adapter is not None
    torch.testing.assert_close(again.adapter.proj.weight.data, whole["state_dict"]["proj.weight"])


def test_another_model_is_not_gone_on_with(
    run: Path, data: Path, tiny_diffusion: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"another model at .*sd, expected the one that the run began with"):
        fit(data, tmp_path / "run", str(tiny_diffusion / "sd"), steps=STEPS + 1, resume=True)


# ---- the step ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text(data: Path, auffusion: str) -> LoraModule:
    return build(data, auffusion)


def test_latents_are_drawn_anew_from_moments_computed_once(
    text: LoraModule, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = open_data(text.config, data)
    items = [rows.item(clip, np.random.default_rng(0)) for clip in (0, 1)]
    batch = {
        "clip": torch.tensor([0, 1]),
        "picture": torch.stack([torch.from_numpy(i["picture"]) for i in items]),
    }
    pictures = (2 * batch["picture"] - 1)[:, None].repeat(1, 3, 1, 1)
    with torch.no_grad():
        truth = text.vae.encode(pictures).latent_dist
    encoded: list[int] = []
    encode = frozen.encode

    def counted(vae: Any, picture: Tensor) -> Tensor:
        encoded.append(1)
        return encode(vae, picture)

    monkeypatch.setattr(frozen, "encode", counted)
    torch.manual_seed(5)
    first, second = text._latents(batch), text._latents(batch)
    assert len(encoded) == 2
    torch.manual_seed(5)
    torch.testing.assert_close(first, truth.sample() * 0.18215, atol=1e-5, rtol=0)
    assert first.shape == (2, 4, 32, FRAMES // 8)
    assert not torch.equal(first, second)


def test_the_loss_is_that_of_the_noise_in_diffusions_formula(text: LoraModule) -> None:
    draw = torch.Generator().manual_seed(1)
    latents, noise = (torch.randn(2, 4, 32, 8, generator=draw) for _ in range(2))
    states = torch.randn(2, 77, 32, generator=draw)
    # products of 1 − β, β the squares of numbers evenly spaced between √0.00085 and √0.012
    kept = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)
    steps = torch.tensor([7, 981])
    share = kept[steps].float()[:, None, None, None]
    with torch.no_grad():
        noisy = share.sqrt() * latents + (1 - share).sqrt() * noise
        expected = (text.unet(noisy, steps, states).sample - noise).square().mean()
        found = text._loss(latents, noise, steps, states)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_a_text_that_is_left_out_is_the_empty_prompt(text: LoraModule, data: Path) -> None:
    ids = open_data(text.config, data).ids
    assert ids is not None
    batch = {"clip": torch.tensor([0, 1]), "ids": torch.from_numpy(ids[:2].astype(np.int64))}
    states = text._condition(batch, torch.tensor([False, True]))
    empty = torch.full((1, 77), 513)
    empty[0, 0] = 512
    assert text.text_encoder is not None
    with torch.no_grad():
        torch.testing.assert_close(states[1], text.text_encoder(empty)[0][0])
        torch.testing.assert_close(states[0], text.text_encoder(batch["ids"][:1])[0][0])


def test_a_vector_that_is_left_out_is_zero(data: Path, auffusion: str) -> None:
    module = build(data, auffusion, condition="phoneme")
    assert module.adapter is not None
    batch = {"embedding": torch.ones(2, 32)}
    states = module._condition(batch, torch.tensor([True, False]))
    torch.testing.assert_close(states[0], module.adapter(torch.zeros(1, 32))[0])
    torch.testing.assert_close(states[1], module.adapter(torch.ones(1, 32))[0])
    assert not torch.allclose(states[0], states[1], atol=0.1)


def test_half_kept_weights_compute_what_autocast_does(text: LoraModule) -> None:
    halved = copy.deepcopy(text.unet)
    halve_frozen(halved, torch.bfloat16)
    kinds = {p.dtype for name, p in halved.named_parameters() if ".lora_" in name or "norm" in name}
    assert kinds == {torch.float32}
    assert halved.conv_in.weight.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(noise_of(halved), noise_of(text.unet))


def test_bfloat16_trains(data: Path, auffusion: str, tmp_path: Path) -> None:
    result = fit(data, tmp_path / "run", auffusion, steps=1, precision="bf16-mixed", recompute=True)
    assert 0.5 < losses(tmp_path / "run")[0] < 2
    assert all(torch.isfinite(pair.B).all() for pair in read_lora(result.weights).pairs.values())


# ---- refusals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"unfreeze": ("up_blocks.9",)}, "'up_blocks.9', which no module's name contains"),
        ({"rank": 0}, "rank: got 0, expected a whole number, 1 … 4096"),
        ({"condition": "smell"}, "condition: got 'smell', expected text or phoneme"),
        ({"targets": ()}, "targets: got \\(\\), expected names"),
        ({"auffusion": None}, "give it with --auffusion"),
        ({"auffusion": "/nowhere/at/all"}, "no such folder"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    data: Path, auffusion: str, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(EdgeError, match=message):
        train("image-speech", data, tmp_path / "run", **{"auffusion": auffusion, "steps": 1, **settings})
    assert not (tmp_path / "run").exists()


def test_a_model_without_one_of_its_parts_is_refused(data: Path, auffusion: str, tmp_path: Path) -> None:
    shutil.copytree(auffusion, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "vae")
    with pytest.raises(CheckpointError, match=r"no folder vae beside .*text_encoder"):
        build(data, str(tmp_path / "model"))
    (tmp_path / "model" / "unet" / "config.json").write_text("{}")
    (tmp_path / "model" / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="unet: got what the library cannot read"):
        build(data, str(tmp_path / "model"))
