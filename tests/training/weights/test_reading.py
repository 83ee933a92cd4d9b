"""Foreign checkpoints, made here in every format: read, folded, loaded strictly, or refused in a sentence."""

from __future__ import annotations

import io
import itertools
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from tests.small_weights import (
    TINY,
    State,
    discriminators,
    generated,
    output,
    save,
    save_legacy,
    tiny,
)
from torch import nn

from edge_runtime.errors import BackendError, CheckpointError
from edge_training.talking_head.audio_encoder import AudioEncoder
from edge_training.vocoder.hifigan import HIFIGAN_PRESETS, HifiGan
from edge_training.vocoder.wiring import hifigan_wiring
from edge_training.weights.reading import (
    load_checkpoint,
    origin_state_dict,
    read_checkpoint,
)

# ---- formats ----------------------------------------------------------------------------------------------

CONTAINERS: Mapping[str, Callable[[Path, object], Path]] = {
    "torch zip": save,
    "torch legacy pickle": save_legacy,
}
WRAPPERS: Mapping[str, Callable[[State], object]] = {
    "": lambda state: state,
    "prefix module.": lambda state: {f"module.{key}": tensor for key, tensor in state.items()},
    "level generator": lambda state: {"generator": state},
    "level state_dict": lambda state: {"state_dict": state, "optimizer": {"lr": 1e-4}, "global_step": 3},
    "level model_state_dict, prefix module., prefix generator.": lambda state: {
        "epoch": 3,
        "model_state_dict": {f"module.generator.{key}": tensor for key, tensor in state.items()},
    },
    "level state_dict, level generator, prefix module.": lambda state: {
        "state_dict": {"generator": {f"module.{key}": tensor for key, tensor in state.items()}}
    },
    "prefix generator., beside mpd": lambda state: {
        **{f"generator.{key}": tensor for key, tensor in state.items()},
        "mpd.discriminators.0.conv_post.bias": torch.zeros(1),
    },
}
NORMS: Mapping[str, Callable[[HifiGan], State]] = {
    "weight norm (weight_g, weight_v)": origin_state_dict,
    "weight norm (parametrizations)": lambda net: net.state_dict(),
    "": lambda net: net.fold().state_dict(),
}


@pytest.mark.parametrize(("container", "wrapper", "norm"), [*itertools.product(CONTAINERS, WRAPPERS, NORMS)])
def test_every_format_gives_the_same_net(tmp_path: Path, container: str, wrapper: str, norm: str) -> None:
    expected = output(tiny())
    path = CONTAINERS[container](tmp_path / "g_00000000", WRAPPERS[wrapper](NORMS[norm](tiny())))
    checkpoint = read_checkpoint(path)
    assert checkpoint.format == ", ".join(filter(None, [container, wrapper, norm, "float32"]))
    assert (checkpoint.file, checkpoint.sha256) == ("g_00000000", sha256(path.read_bytes()).hexdigest())
    net = HifiGan(TINY)
    load_checkpoint(net, checkpoint, net="hifigan")
    assert (output(net) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("norm", NORMS)
def test_safetensors_is_told_by_its_content(tmp_path: Path, norm: str) -> None:
    path = tmp_path / "weights.pth"  # not the suffix
    save_file({f"generator.{key}": tensor for key, tensor in NORMS[norm](tiny()).items()}, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.format == ", ".join(filter(None, ["safetensors, prefix generator.", norm, "float32"]))
    net = HifiGan(TINY)
    load_checkpoint(net, checkpoint, net="hifigan")
    torch.testing.assert_close(output(net), output(tiny()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [(torch.float16, 2**-11), (torch.bfloat16, 2**-8), (torch.float64, 2**-24)],
)
def test_other_floats_become_float32(tmp_path: Path, dtype: torch.dtype, precision: float) -> None:
    state = {key: tensor.to(dtype) for key, tensor in tiny().fold().state_dict().items()}
    checkpoint = read_checkpoint(save(tmp_path / "g", state))
    assert checkpoint.format == f"torch zip, {str(dtype).removeprefix('torch.')}"
    for key, tensor in tiny().fold().state_dict().items():
        assert checkpoint.state[key].dtype == torch.float32
        torch.testing.assert_close(checkpoint.state[key], tensor, rtol=precision, atol=1e-7)


def test_another_pickle_protocol_is_read_without_a_warning(tmp_path: Path) -> None:
    torch.save({"generator": tiny().state_dict()}, tmp_path / "g", pickle_protocol=3)
    assert read_checkpoint(tmp_path / "g").format.startswith("torch zip, level generator")


def test_half_precision_is_folded_in_full(tmp_path: Path) -> None:
    state = {key: tensor.half() for key, tensor in origin_state_dict(tiny()).items()}
    checkpoint = read_checkpoint(save(tmp_path / "g", {"generator": state}))
    assert checkpoint.format == "torch zip, level generator, weight norm (weight_g, weight_v), float16"
    g, v = state["conv_pre.weight_g"].double(), state["conv_pre.weight_v"].double()
    exact = (g * v / v.square().sum((1, 2), keepdim=True).sqrt()).float()
    torch.testing.assert_close(checkpoint.state["conv_pre.weight"], exact, rtol=1e-6, atol=0)


def test_mixed_types_are_both_named(tmp_path: Path) -> None:
    state = tiny().fold().state_dict()
    state["conv_pre.bias"] = state["conv_pre.bias"].half()
    assert read_checkpoint(save(tmp_path / "g", state)).format == "torch zip, float16 and float32"


# ---- key files of the published systems --------------------------------------------------------------------


@pytest.mark.parametrize("preset", HIFIGAN_PRESETS)
def test_hifigan_key_files_load_strictly(tmp_path: Path, preset: str) -> None:
    path = save(tmp_path / "g_00000000", {"generator": generated(f"hifigan_{preset}")})
    checkpoint, net = read_checkpoint(path), HifiGan(HIFIGAN_PRESETS[preset])
    load_checkpoint(net, checkpoint, net="hifigan")
    assert net.state_dict().keys() == checkpoint.state.keys()
    assert all(torch.equal(tensor, checkpoint.state[key]) for key, tensor in net.state_dict().items())
    told = hifigan_wiring(HIFIGAN_PRESETS[preset], checkpoint)
    assert told.wiring == ("causal-tail" if preset == "rtmri-origin" else "stock")
    assert told.by_sign


@pytest.mark.parametrize("drop", [False, True], ids=["with counters", "without counters"])
@pytest.mark.parametrize("prefix", ["", "audio_encoder.", "module.audio_encoder.", "module."])
def test_audio_encoder_key_file_loads_strictly(tmp_path: Path, prefix: str, drop: bool) -> None:
    state = generated("audio_encoder")
    saved = {
        prefix + key.removeprefix("audio_encoder."): tensor
        for key, tensor in state.items()
        if not (drop and key.endswith("num_batches_tracked"))
    }
    net = AudioEncoder()
    load_checkpoint(net, read_checkpoint(save_legacy(tmp_path / "ave.pth", saved)), net="audio-encoder")
    for key, tensor in net.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(tensor, state[key])
    assert int(net.state_dict()["audio_encoder.0.conv_block.1.num_batches_tracked"]) == (0 if drop else 7)


def wav2lip_generator() -> State:
    face = {"face_encoder_blocks.0.0.conv_block.0.weight": torch.ones(16, 6, 7, 7)}
    face["face_decoder_blocks.0.0.conv_block.0.weight"] = torch.ones(512, 512, 1, 1)
    return {f"module.{key}": tensor for key, tensor in (generated("audio_encoder") | face).items()}


def test_audio_encoder_is_taken_from_a_wav2lip_generator(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(save(tmp_path / "wav2lip.pth", {"state_dict": wav2lip_generator()}))
    assert checkpoint.format == (
        "torch zip, level state_dict, prefix module., prefix audio_encoder., "
        "beside state_dict.module.face_encoder_blocks, state_dict.module.face_decoder_blocks, float32"
    )
    net = AudioEncoder()
    load_checkpoint(net, checkpoint, net="audio-encoder")
    assert torch.equal(
        net.state_dict()["audio_encoder.12.conv_block.0.bias"],
        generated("audio_encoder")["audio_encoder.12.conv_block.0.bias"],
    )


def test_training_net_takes_folded_weights(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(save(tmp_path / "g", {"generator": origin_state_dict(tiny())}))
    net = HifiGan(TINY, weight_norm=True)
    load_checkpoint(net, checkpoint, net="hifigan")
    torch.testing.assert_close(output(net), output(tiny()), rtol=1e-5, atol=1e-6)
    assert all(parameter.requires_grad for parameter in net.parameters())


# ---- weights of another net -------------------------------------------------------------------------------


def refusal(module: nn.Module, saved: object, net: str, tmp_path: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        load_checkpoint(module, read_checkpoint(save(tmp_path / "weights.pth", saved)), net=net)
    return str(refused.value)


def test_hifigan_for_an_audio_encoder(tmp_path: Path) -> None:
    sentence = refusal(AudioEncoder(), origin_state_dict(tiny()), "audio-encoder", tmp_path)
    assert sentence == (
        f"{tmp_path}/weights.pth: got missing audio_encoder.0.conv_block.0.weight, "
        "audio_encoder.0.conv_block.0.bias, "
        "audio_encoder.0.conv_block.1.weight and 75 more; unexpected conv_post.bias, conv_post.weight, "
        "conv_pre.bias and 43 more, expected the 91 tensors of audio-encoder; it looks like hifigan"
    )


def test_audio_encoder_for_a_hifigan(tmp_path: Path) -> None:
    sentence = refusal(HifiGan(TINY), generated("audio_encoder"), "hifigan", tmp_path)
    assert (
        "missing conv_pre.weight, conv_pre.bias, ups.0.weight and 43 more; unexpected audio_encoder.0"
        in sentence
    )
    assert sentence.endswith("expected the 46 tensors of hifigan; it looks like audio-encoder")


def test_wav2lip_syncnet_is_not_the_encoder(tmp_path: Path) -> None:
    """Pain 16: it was loaded with strict=False, and gave random weights."""
    state = generated("audio_encoder")
    for index in (12, 11):  # a second 256 → 256 block pushes the last two back
        for key in [key for key in state if key.startswith(f"audio_encoder.{index}.")]:
            state[key.replace(f".{index}.", f".{index + 1}.", 1)] = state.pop(key)
    for key in [key for key in state if key.startswith("audio_encoder.10.")]:
        state[key.replace(".10.", ".11.", 1)] = state[key].clone()
    both = state | {"face_encoder.0.conv_block.0.weight": torch.ones(32, 15, 7, 7)}
    assert "it looks like Wav2Lip's SyncNet" in refusal(
        AudioEncoder(), {"state_dict": both}, "audio-encoder", tmp_path
    )
    sentence = refusal(AudioEncoder(), state, "audio-encoder", tmp_path)
    assert "unexpected audio_encoder.13.conv_block.0.bias" in sentence
    assert "wrong shape audio_encoder.11.conv_block.0.weight of shape (256, 256, 3, 3) for (512," in sentence
    assert "14 blocks, not 13" in sentence


def test_another_config_of_the_same_net(tmp_path: Path) -> None:
    sentence = refusal(HifiGan(TINY), {"generator": generated("hifigan_v2")}, "hifigan", tmp_path)
    assert sentence.endswith("expected the 46 tensors of hifigan; its shapes are those of preset v2")
    other = HifiGan(replace(TINY, num_mels=6)).state_dict()
    sentence = refusal(HifiGan(TINY), other, "hifigan", tmp_path)
    assert "wrong shape conv_pre.weight of shape (16, 6, 7) for (16, 4, 7), expected" in sentence
    assert "its shapes say num_mels 6; upsample_initial_channel 16" in sentence


def test_discriminators_are_not_the_generator(tmp_path: Path) -> None:
    state = discriminators()
    saved: dict[str, object] = {"optim_g": {}, "steps": 5, "epoch": 1}
    for name in ("mpd", "msd"):
        saved[name] = {k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")}
    checkpoint = read_checkpoint(save(tmp_path / "do_00000000", saved))
    assert checkpoint.format == "torch zip, weight norm (weight_g, weight_v), float32"
    sentence = refusal(HifiGan(TINY), saved, "hifigan", tmp_path)
    assert sentence.endswith(
        "it looks like HiFi-GAN's discriminators (a do_ file); the generator lies in the g_ file"
    )


def test_integer_weights_where_floats_belong(tmp_path: Path) -> None:
    state = tiny().fold().state_dict()
    state["conv_pre.weight"] = state["conv_pre.weight"].mul(100).to(torch.int8)
    assert "wrong type conv_pre.weight of type int8" in refusal(HifiGan(TINY), state, "hifigan", tmp_path)


def test_a_refused_checkpoint_leaves_the_module_as_it_was(tmp_path: Path) -> None:
    net = HifiGan(TINY)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    state = tiny().fold().state_dict()
    del state["conv_post.bias"]
    assert "missing conv_post.bias, expected" in refusal(net, state, "hifigan", tmp_path)
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())


# ---- files that are refused -------------------------------------------------------------------------------


class Malicious:
    """Unpickling it makes a folder; os.system would do as well."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("where", ["weights", "beside"])
@pytest.mark.parametrize("container", [*CONTAINERS, "bare pickle", "bare pickle 4"])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(
    tmp_path: Path, container: str, where: str
) -> None:
    """Pain 15."""
    target, path = tmp_path / "proof", tmp_path / "g_00000000"
    trap = Malicious(target)
    saved = trap if where == "weights" else {"generator": tiny().state_dict(), "config": trap}
    if container in CONTAINERS:
        CONTAINERS[container](path, saved)
    else:
        path.write_bytes(pickle.dumps(saved, protocol=4 if container.endswith("4") else 2))
    with pytest.raises(
        CheckpointError, match=r"g_00000000: checkpoint: got .*expected a PyTorch checkpoint"
    ) as e:
        read_checkpoint(path)
    assert not target.exists()
    assert "got a pickle that calls posix.mkdir" in str(e.value)
    assert "could run any code; none of it was run" in str(e.value)
    pickle.loads(pickle.dumps(trap))
    assert target.exists()  # so it was a trap indeed


def test_a_whole_saved_module_gives_its_parameters(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv1d(2, 3, 1), nn.BatchNorm1d(3))
    net.register_buffer("passing", torch.ones(1), persistent=False)
    checkpoint = read_checkpoint(save(tmp_path / "model.pth", nn.DataParallel(net)))
    assert checkpoint.state.keys() == net.state_dict().keys()
    assert torch.equal(checkpoint.state["0.weight"], net.state_dict()["0.weight"])
    assert checkpoint.said[0].startswith(
        "a whole saved module (torch.nn.parallel.data_parallel.DataParallel)"
    )


def zipped(names: list[str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return file.getvalue()


def test_missing_safetensors_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"bias": torch.ones(3)}, tmp_path / "g.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(BackendError, match=r"got no module .*; pip install 'edge-export\[export\]'"):
        read_checkpoint(tmp_path / "g.safetensors")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 12345\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "got an empty file"),
        (LFS, "got a Git LFS pointer, .*; run git lfs pull"),
        (b"<!DOCTYPE html>\n<html><body>Sign in", "got a web page"),
        (b'\n<?xml version="1.0"?><Error>', "got a web page"),
        (b'{"resblock": "1"}', "got a text file"),
        (b"RIFF\x24\x08\x00\x00WAVE", "got 12 bytes beginning with 52 49 46 46"),
        (bytes(1000), "got 1000 bytes beginning with 00 00 00 00"),
        (zipped(["g_00000000"]), "got a zip archive without torch weights, .*; unpack it"),
        (zipped(["m/data.pkl", "m/constants.pkl", "m/code/net.py"]), "got a TorchScript archive"),
        (zipped(["m/data.pkl", "m/version"]), "bytes that cannot be read"),
        (pickle.dumps([1, 2], protocol=2), "got no weights at all"),
        ((64).to_bytes(8, "little") + b'{"a": {"dtype"', "22 bytes that cannot be read"),
    ],
)
def test_files_that_are_no_checkpoint(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=f"^{tmp_path}/weights.pth: checkpoint: .*{sentence}"):
        read_checkpoint(tmp_path / "weights.pth")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="g_00: checkpoint: got no such file, expected a readable file"):
        read_checkpoint(tmp_path / "g_00")
    with pytest.raises(CheckpointError, match="checkpoint: got a folder, expected a readable file"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("saved", "sentence"),
    [
        ([torch.ones(2)], "got a saved object of type list"),
        (torch.ones(2), "got a saved object of type Tensor"),
        ({}, "got no weights at all"),
        ({"state_dict": {}}, "got no weights at all"),
        (
            {"epoch": 3},
            "entry 'epoch': got type int, expected tensors under names, bare or in",
        ),
        ({0: torch.ones(2)}, "got no weights at all"),
        ({"a.weight": torch.tensor([1.0, float("nan")])}, "a.weight: got 1 of 2 values NaN or infinite"),
        ({"a.weight": torch.tensor([float("inf")] * 3).half()}, "a.weight: got 3 of 3 .*; training diverged"),
        (
            {"a.weight_g": torch.ones(2, 1), "a.weight_v": torch.zeros(2, 3)},
            "a.weight: got 6 of 6 values NaN",
        ),
        ({"a.weight_g": torch.ones(2, 1)}, "a.weight_g: got no a.weight_v, expected both halves"),
        ({"a.weight": torch.ones(2, dtype=torch.int8)}, "weights: got only int8, .*; quantised"),
        ({"a.weight": torch.eye(2).to_sparse()}, "a.weight: got a tensor of layout sparse on cpu"),
        ({"a.weight": torch.ones(2, device="meta")}, "a.weight: got a tensor of layout strided on meta"),
    ],
)
def test_contents_that_are_no_weights(tmp_path: Path, saved: object, sentence: str) -> None:
    with pytest.raises(CheckpointError, match=rf"x\.pth: (checkpoint: )?{sentence}"):
        read_checkpoint(save(tmp_path / "x.pth", saved))


@pytest.mark.parametrize("place", range(0, 64, 5))
def test_a_changed_weight_in_a_torch_zip_is_refused(tmp_path: Path, place: int) -> None:
    """Each byte of a float32, its lowest too, which no check of the values would notice."""
    weight = torch.linspace(-1, 1, 16)
    content = bytearray(save(tmp_path / "g", {"conv.weight": weight, "bias": torch.ones(3)}).read_bytes())
    content[content.index(weight.numpy().tobytes()) + place] ^= 1
    (tmp_path / "g").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"g: checkpoint: got \d+ bytes, damaged: entry g/data/\d"):
        read_checkpoint(tmp_path / "g")


def test_a_torch_zip_saved_without_checksums_is_read(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        path = save(tmp_path / "g", {"conv.weight": torch.ones(3)})
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(read_checkpoint(path).state["conv.weight"], torch.ones(3))


@cache
def whole_file(container: str) -> bytes:
    """Made once: torch's older format holds addresses, so that even the length differs from file to file."""
    state = {"conv.weight_g": torch.ones(2, 1), "conv.weight_v": torch.ones(2, 3), "conv.bias": torch.ones(2)}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "g"
        if container == "safetensors":
            save_file(state, path)
        else:
            CONTAINERS[container](path, {"generator": state})
        return path.read_bytes()


@settings(max_examples=150, deadline=None)
@given(container=st.sampled_from([*CONTAINERS, "safetensors"]), data=st.data())
def test_damage_is_a_sentence_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, container: str, data: st.DataObject
) -> None:
    """Cut anywhere, or with a few bytes changed: never another exception."""
    path = tmp_path_factory.mktemp("damage") / "g"
    content = bytearray(whole_file(container))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
            content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    read = sentence_or_state(path)
    if isinstance(read, str):
        assert str(path) in read
    else:
        assert all(tensor.isfinite().all() for tensor in read.values())


def sentence_or_state(path: Path) -> str | State:
    try:
        return read_checkpoint(path).state
    except CheckpointError as error:
        return str(error)
