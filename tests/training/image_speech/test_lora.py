"""LoRA: peft's layers against the definition, files of both kinds, merging, refusals."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from edge_runtime.errors import CheckpointError
from edge_training.image_speech.libraries import library
from edge_training.image_speech.lora import (
    TARGETS,
    LoraWeights,
    add_lora,
    load_lora,
    lora_of,
    merge_lora,
    own_base_state,
    own_state,
    peft_config,
    peft_state,
    read_lora,
)
from edge_training.image_speech.tiny import UNET

RANK, ALPHA = 8, 16.0


class Wrapper(nn.Module):
    """The definition: y = base(x) + (alpha / rank) · B(A(x as float32)), cast to the base's type."""

    def __init__(self, base: nn.Linear, down: Tensor, up: Tensor, scale: float) -> None:
        super().__init__()
        self.base, self.scale = base, scale
        self.A, self.B = (
            nn.Linear(down.shape[1], len(down), bias=False),
            nn.Linear(len(down), len(up), bias=False),
        )
        self.A.weight.data, self.B.weight.data = down, up

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.base(x)
        added: Tensor = (self.scale * self.B(self.A(x.float()))).to(y.dtype)
        return y + added


@pytest.fixture(scope="module")
def plain() -> Any:
    torch.manual_seed(3)
    return library("diffusers").UNet2DConditionModel(**UNET).eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def wrapped(plain: Any) -> Any:
    """The same UNet with a LoRA whose B is not zero, and a block of its own that trains."""
    unet = copy.deepcopy(plain)
    torch.manual_seed(4)
    add_lora(unet, rank=RANK, alpha=ALPHA)
    for name, parameter in unet.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter, std=0.05)
    return unet.eval()


@pytest.fixture(scope="module")
def lora(wrapped: Any) -> LoraWeights:
    return lora_of(wrapped)


def outputs(unet: Any) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    sample = torch.randn(2, 4, 8, 16, generator=draw)
    states = torch.randn(2, 77, 32, generator=draw)
    with torch.no_grad():
        noise: Tensor = unet(sample, torch.tensor([3.0, 700.0]), states).sample
    return noise


def write_own(lora: LoraWeights, folder: Path) -> Path:
    torch.save(own_state(lora), folder / "lora.pt")
    if lora.base:
        torch.save(own_base_state(lora), folder / "base_unet.pt")
    return folder / "lora.pt"


def write_peft(lora: LoraWeights, folder: Path, rank: int = RANK) -> Path:
    save_file(peft_state(lora), folder / "adapter_model.safetensors")
    config = peft_config(rank=rank, alpha=ALPHA, dropout=0.0, targets=TARGETS)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    if lora.base:
        save_file(dict(lora.base), folder / "base_unet.safetensors")
    return folder


def test_peft_computes_the_definition_bit_for_bit(plain: Any, wrapped: Any, lora: LoraWeights) -> None:
    mine, own = copy.deepcopy(plain), 0
    for name, layer in list(mine.named_modules()):
        if isinstance(layer, nn.Linear) and name.endswith(TARGETS):
            pair = lora.pairs[name]
            mine.set_submodule(name, Wrapper(layer, pair.A, pair.B, ALPHA / RANK))
            own += 1
    assert own == len(lora.pairs) == 40
    assert torch.equal(outputs(mine), outputs(wrapped))
    assert not torch.allclose(outputs(plain), outputs(wrapped), atol=1e-3)


def test_a_new_lora_changes_nothing_and_alone_is_trained(plain: Any) -> None:
    unet = copy.deepcopy(plain).half()
    add_lora(unet, rank=4, alpha=4.0)
    trained = {name for name, p in unet.named_parameters() if p.requires_grad}
    assert len(trained) == 80
    assert all(".lora_" in name for name in trained)
    assert {p.dtype for p in unet.parameters() if p.requires_grad} == {torch.float32}
    unet.float()
    assert torch.equal(outputs(unet), outputs(copy.deepcopy(plain).half().float()))


@pytest.mark.parametrize("write", [write_own, write_peft])
def test_merged_equals_wrapped(
    plain: Any, wrapped: Any, lora: LoraWeights, tmp_path: Path, write: Callable[..., Path]
) -> None:
    unet = copy.deepcopy(plain)
    merged = merge_lora(unet, write(lora, tmp_path))
    assert (len(merged.pairs), merged.ranks) == (40, (RANK,))
    assert unet.state_dict().keys() == plain.state_dict().keys()
    torch.testing.assert_close(outputs(unet), outputs(wrapped), atol=2e-6, rtol=0)


def test_merged_equals_what_diffusers_fuses(
    plain: Any, wrapped: Any, lora: LoraWeights, tmp_path: Path
) -> None:
    fused, mine = copy.deepcopy(wrapped), copy.deepcopy(plain)
    fused.fuse_lora()
    fused.unload_lora()
    merge_lora(mine, write_own(lora, tmp_path))
    for name, value in fused.state_dict().items():
        torch.testing.assert_close(mine.state_dict()[name], value, atol=1e-6, rtol=0)


def test_peft_itself_reads_our_folder(plain: Any, wrapped: Any, lora: LoraWeights, tmp_path: Path) -> None:
    model = library("peft").PeftModel.from_pretrained(copy.deepcopy(plain), write_peft(lora, tmp_path))
    assert torch.equal(outputs(model.eval()), outputs(wrapped))


def test_we_read_what_diffusers_writes(wrapped: Any, lora: LoraWeights, tmp_path: Path) -> None:
    wrapped.save_lora_adapter(tmp_path, weight_name="adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"no alpha of .*adapter_config\.json"):
        read_lora(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 8, "lora_alpha": 16}))
    found = read_lora(tmp_path)
    assert found.pairs.keys() == lora.pairs.keys()
    assert all(torch.equal(found.pairs[name].B, pair.B) for name, pair in lora.pairs.items())


@pytest.mark.parametrize("write", [write_own, write_peft])
def test_base_weights_are_loaded_before_the_lora(
    plain: Any, lora: LoraWeights, tmp_path: Path, write: Callable[..., Path]
) -> None:
    name = next(iter(lora.pairs))
    base = {f"{name}.weight": torch.ones_like(plain.get_parameter(f"{name}.weight"))}
    base["conv_in.bias"] = torch.full((32,), 3.0)
    path = write(LoraWeights(lora.pairs, base), tmp_path)
    unet = copy.deepcopy(plain)
    assert merge_lora(unet, path).base.keys() == base.keys()
    torch.testing.assert_close(unet.get_parameter(f"{name}.weight"), 1 + lora.pairs[name].delta)
    assert unet.conv_in.bias.eq(3).all()


def test_the_seeds_names_are_written(lora: LoraWeights, wrapped: Any) -> None:
    unet = copy.deepcopy(wrapped)
    for name, parameter in unet.named_parameters():
        if name.startswith("mid_block.attentions.0.transformer_blocks.0.attn1.to_q.base_layer"):
            parameter.requires_grad_(requires_grad=True)
    unet.mid_block.attentions[0].norm.weight.requires_grad_(requires_grad=True)
    assert set(own_base_state(lora_of(unet))) == {
        "mid_block.attentions.0.norm.weight",
        "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.base.weight",
    }
    own = own_state(lora)
    assert len(own) == 160
    first = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    assert [own[f"{first}.{part}"].shape for part in ("A.weight", "B.weight")] == [(8, 32), (32, 8)]
    assert (float(own[f"{first}.alpha"]), int(own[f"{first}.rank"])) == (16.0, 8)


def test_a_wrapped_unet_goes_on_from_a_file(
    wrapped: Any, plain: Any, lora: LoraWeights, tmp_path: Path
) -> None:
    unet = copy.deepcopy(plain)
    add_lora(unet, rank=RANK, alpha=ALPHA)
    load_lora(unet, read_lora(write_own(lora, tmp_path)))
    assert torch.equal(outputs(unet), outputs(wrapped))


def other_unet() -> Any:
    return library("diffusers").UNet2DConditionModel(**dict(UNET) | {"cross_attention_dim": 16})


def test_a_lora_of_another_unet_or_rank_is_refused(plain: Any, lora: LoraWeights, tmp_path: Path) -> None:
    path = write_own(lora, tmp_path)
    unet = other_unet()
    before = copy.deepcopy(unet.state_dict())
    with pytest.raises(CheckpointError, match=r"attn2\.to_k of 32 × 32, .* shape .*another UNet"):
        merge_lora(unet, path)
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())
    with pytest.raises(CheckpointError, match="this UNet, which has no such layer"):
        merge_lora(nn.Sequential(), path)
    unet = copy.deepcopy(plain)
    add_lora(unet, rank=4, alpha=ALPHA)
    with pytest.raises(CheckpointError, match=r"got rank 8, expected rank 4; --set rank=8"):
        load_lora(unet, lora)
    unet = copy.deepcopy(plain)
    add_lora(unet, rank=RANK, alpha=1.0)
    with pytest.raises(CheckpointError, match=r"got alpha 16, expected alpha 1; --set alpha=16"):
        load_lora(unet, lora)


def test_base_weights_of_another_unet_change_nothing(plain: Any, lora: LoraWeights, tmp_path: Path) -> None:
    path = write_own(LoraWeights(lora.pairs, {"conv_in.bias": torch.zeros(5)}), tmp_path)
    unet = copy.deepcopy(plain)
    with pytest.raises(CheckpointError, match=r"base weights conv_in\.bias of shape \(5,\)"):
        merge_lora(unet, path)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in unet.state_dict().items())


def spoilt(lora: LoraWeights, folder: Path, **changes: Any) -> Path:
    """lora.pt with entries of its first module changed, or left out where None."""
    state: dict[str, Any] = own_state(lora)
    name = next(iter(lora.pairs))
    for part, value in changes.items():
        state[f"{name}.{part.replace('_', '.')}"] = value
    torch.save({key: value for key, value in state.items() if value is not None}, folder / "lora.pt")
    return folder / "lora.pt"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": torch.tensor(4)}, "matrices of rank 8 at .* expected rank 4, as the file states"),
        ({"B_weight": torch.zeros(32, 7)}, r"\(8, 32\) and \(32, 7\) at"),
        ({"B_weight": None}, r"\(8, 32\) and nothing at"),
        ({"alpha": None}, "no alpha of"),
        ({"alpha": torch.tensor(float("nan"))}, "alpha tensor"),
        ({"A_weight": torch.full((8, 32), float("inf"))}, "values that are not finite"),
    ],
)
def test_damaged_files_are_refused(
    lora: LoraWeights, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_lora(spoilt(lora, tmp_path, **changes))


def test_what_is_no_lora_is_refused(lora: LoraWeights, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a folder without adapter_model\.safetensors and lora\.pt"):
        read_lora(tmp_path)
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="no pair of matrices"):
        read_lora(tmp_path / "other.pt")
    write_peft(lora, tmp_path, rank=2)
    with pytest.raises(CheckpointError, match=r"rank 8 at .* rank 2, as adapter_config\.json states"):
        read_lora(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"r": 8, "use_dora": True}))
    with pytest.raises(CheckpointError, match="rsLoRA or DoRA"):
        read_lora(tmp_path)
    shutil.copy(write_own(lora, tmp_path), tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"cut\.pt"):
        read_lora(tmp_path / "cut.pt")


@pytest.mark.parametrize("write", [write_own, write_peft])
@pytest.mark.parametrize("more", ["half a pair", "a bias", "a module"])
def test_nothing_of_a_file_is_left_out(
    lora: LoraWeights, tmp_path: Path, write: Callable[[LoraWeights, Path], Path], more: str
) -> None:
    """What no pair takes would be missing from the merged UNet, in silence."""
    write(lora, tmp_path)
    own = write is write_own
    state = own_state(lora) if own else peft_state(lora)
    down = next(key for key in state if (".A." if own else ".lora_A.") in key)
    if more == "half a pair":
        del state[down]
    else:
        name = "conv_in.weight" if more == "a module" else down.replace("A.weight", "B.bias")
        state[name] = torch.zeros(4)
    if own:
        torch.save(state, tmp_path / "lora.pt")
    else:
        save_file(state, tmp_path / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"which belongs to no pair \(\d such\), expected pairs of mat"):
        read_lora(tmp_path)


def test_patterns_name_modules_as_peft_means_them(lora: LoraWeights, tmp_path: Path) -> None:
    write_peft(lora, tmp_path)
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text())
    whole = next(name for name in lora.pairs if name.endswith("to_k"))
    path.write_text(json.dumps(config | {"alpha_pattern": {f"^{whole}": 2, "to_v": 4, "^to_q": 1}}))
    for name, pair in read_lora(tmp_path).pairs.items():
        assert pair.alpha == (2 if name == whole else 4 if name.endswith("to_v") else ALPHA)
    path.write_text(json.dumps(config | {"alpha_pattern": {".*to_q": 4}}))
    with pytest.raises(
        CheckpointError, match=r"alpha_pattern: got '\.\*to_q', expected names of modules, no"
    ):
        read_lora(tmp_path)
