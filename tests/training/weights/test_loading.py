"""The one loader: a net in evaluation mode, its configuration, and what was inferred on the way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.small_weights import TINY, output, save, tiny

from edge_runtime.errors import CheckpointError, ConfigError
from edge_training.vocoder.hifigan import HIFIGAN_PRESETS, HifiGan
from edge_training.weights import reading
from edge_training.weights.loading import load_into, load_net
from edge_training.weights.weight_norm import origin_state_dict


def folder(path: Path, **entries: Any) -> Path:
    """The small net and its config.json; the name of the weights."""
    (path / "config.json").write_text(json.dumps(TINY.to_json() | {"wiring": None} | entries))
    return save(path / "g_00000001", {"generator": origin_state_dict(tiny())})


def test_a_net_by_its_name_or_by_its_weights(tmp_path: Path) -> None:
    source = folder(tmp_path)
    for net in ("hifigan", None):
        loaded = load_net(source, net)
        assert isinstance(loaded.module, HifiGan)
        assert not loaded.module.training
        assert loaded.config == replace(TINY, wiring="stock")
        assert loaded.checkpoint.file == "g_00000001"
        torch.testing.assert_close(output(loaded.module), output(tiny()), rtol=1e-5, atol=1e-6)
        assert loaded.said == (
            "configuration config.json beside the weights taken",
            "wiring stock taken: conv_pre has weight norm, which causal-tail never has",
        )


def test_where_the_configuration_comes_from(tmp_path: Path) -> None:
    source = folder(tmp_path, fmax=7000)
    assert load_net(source, "hifigan").config.fmax == 7000
    assert load_net(source, "hifigan", changes={"fmax": 6000, "wiring": "causal-tail"}).config.fmax == 6000
    entries = TINY.to_json() | {"fmax": 5000}
    assert load_net(source, "hifigan", entries).config.fmax == 5000
    (tmp_path / "other.json").write_text(json.dumps(entries | {"fmax": 4000}))
    assert load_net(source, "hifigan", tmp_path / "other.json").config.fmax == 4000
    assert load_net(source, "hifigan", replace(TINY, fmax=3000.0)).config.fmax == 3000
    assert load_net(source, "hifigan", TINY, changes={"fmax": 2000}).config.fmax == 2000
    (tmp_path / "config.json").unlink()
    assert load_net(source, "hifigan", default=TINY).config.fmax == TINY.fmax
    with pytest.raises(ConfigError, match=r"configuration: got no config\.json beside .*one of v1, v2, v3"):
        load_net(source, "hifigan")
    with pytest.raises(CheckpointError, match="its shapes say num_mels 4"):
        load_net(source, "hifigan", preset="v1")


ENTRIES: list[dict[str, Any]] = [
    {"discriminator_periods": [3, 5, 7]},
    {"resblock_initial_channel": 256},
    {"checkpoint_interval": 5000, "use_pretrained": True, "normalize_volume": True},
]


@pytest.mark.parametrize("entries", ENTRIES, ids=lambda entries: next(iter(entries)))
def test_entries_that_the_net_does_not_read_are_left_out_and_said(
    tmp_path: Path, entries: dict[str, Any]
) -> None:
    loaded = load_net(folder(tmp_path, **entries), "hifigan")
    left_out = ", ".join(entries)
    assert f"entries of the configuration that hifigan does not read left out: {left_out}" in loaded.said


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("wirings", "wiring"), ("upsample_rate", "upsample_rates"), ("odd_kernel", "odd_kernels")],
)
def test_a_misspelt_entry_is_advised_only_where_that_mends_it(tmp_path: Path, wrong: str, right: str) -> None:
    entries = TINY.to_json() | {"wiring": "causal-tail", "odd_kernels": "output-padding"}
    value = entries.pop(right)
    source = folder(tmp_path)
    with pytest.raises(ConfigError, match=f"entry '{wrong}': .*is '{right}' meant"):
        load_net(source, "hifigan", entries | {wrong: value})
    if right in ("wiring", "odd_kernels"):
        assert load_net(source, "hifigan", entries | {wrong: [1]}).config is not None


def test_numbers_as_texts_and_fractions(tmp_path: Path) -> None:
    rates = [str(rate) for rate in TINY.upsample_rates]
    entries = {"num_mels": str(TINY.num_mels), "hop_size": float(TINY.hop_size), "upsample_rates": rates}
    loaded = load_net(folder(tmp_path, **entries, fmax="null", fmin=None), "hifigan")
    assert loaded.config == replace(TINY, wiring="stock", fmax=None)
    with pytest.raises(ConfigError, match=r"num_mels: got 'many', expected a positive whole number"):
        load_net(folder(tmp_path, num_mels="many"), "hifigan")


def test_weights_of_another_net_need_no_advice_on_configurations(tmp_path: Path) -> None:
    vocos = {"backbone.convnext.0.gamma": torch.ones(2), "head.out.weight": torch.ones(2, 2)}
    with pytest.raises(CheckpointError, match=r"got weights of another net, .*it looks like Vocos"):
        load_net(save(tmp_path / "a", vocos), "istft-vocoder")
    with pytest.raises(CheckpointError, match="it looks like hifigan"):
        load_net(save(tmp_path / "b", tiny().state_dict()), "bigvgan")


def test_one_of_several_files_asks_for_their_index(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(TINY.to_json()))
    part = dict(list(tiny().fold().state_dict().items())[:9])
    with pytest.raises(
        CheckpointError, match=r"one of several files: give the one that ends in \.index\.json"
    ):
        load_net(save(tmp_path / "model-00001-of-00002.bin", part), "hifigan")


def test_bands_above_nyquist_need_no_entry(tmp_path: Path) -> None:
    loaded = load_net(folder(tmp_path, fmax=12000), "hifigan")
    assert loaded.config.mel.fmax == 12000
    assert any("above half the sampling rate (11025 Hz)" in sentence for sentence in loaded.said)


def test_undecided_wirings_are_asked_for(tmp_path: Path) -> None:
    """The kind of the rtMRI system, folded: each of its two wirings takes these weights without a word."""
    config = replace(HIFIGAN_PRESETS["rtmri-origin"], upsample_initial_channel=16, num_mels=4)
    source = save(tmp_path / "g", HifiGan(config).state_dict())
    (tmp_path / "config.json").write_text(json.dumps(config.to_json() | {"wiring": None}))
    with pytest.raises(ConfigError, match="wiring: got no sign that decides"):
        load_net(source, "hifigan")
    for wiring in ("stock", "causal-tail"):
        assert load_net(source, "hifigan", changes={"wiring": wiring}).config.wiring == wiring


def test_weights_of_no_net(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="weights of no net that is known here"):
        load_net(save(tmp_path / "x.pth", {"a.weight": torch.ones(1)}))
    with pytest.raises(ConfigError, match="net: got resnet, expected one of audio-encoder, hifigan"):
        load_net(save(tmp_path / "x.pth", {"a.weight": torch.ones(1)}), "resnet")


def test_shapes_are_compared_before_values_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "g", HifiGan(replace(TINY, num_mels=6)).state_dict())
    asked: list[str] = []
    monkeypatch.setattr(reading, "read_values", lambda key, _: asked.append(key))
    with pytest.raises(CheckpointError, match=r"wrong shape conv_pre\.weight"):
        load_net(path, "hifigan", TINY)
    assert not asked


def test_a_training_starts_from_any_format(tmp_path: Path) -> None:
    net = HifiGan(TINY, weight_norm=True)
    checkpoint = load_into(net, folder(tmp_path), "hifigan")
    assert checkpoint.file == "g_00000001"
    torch.testing.assert_close(output(net), output(tiny()), rtol=1e-5, atol=1e-6)
