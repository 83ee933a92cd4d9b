"""Operations, parameters and bytes against closed forms and published counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edge_export.__main__ import main
from edge_export.catalog import get_net
from edge_export.costs import Cost, _recurrent_layers, cost_of, net_costs, table
from edge_runtime.errors import ConfigError


def test_a_net_of_convolutions_by_hand() -> None:
    (cost,) = net_costs(["audio-encoder"])
    config = get_net("audio-encoder").preset("talking-head")
    found = 0
    size = {}

    def count(layer: nn.Conv2d, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        nonlocal found
        size[id(layer)] = given[0].shape
        found += 2 * made[0].numel() * layer.weight[0].numel()

    module = get_net("audio-encoder").build(config).eval()
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        module(torch.zeros(1, 1, 80, 16))
    assert cost.flop == found > 0
    assert cost.parameters == sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers_by_their_definition_and_as_their_products_are_counted(kind: type[nn.LSTM]) -> None:
    with torch.device("meta"):
        layer = kind(5, 7, num_layers=2, bidirectional=True, batch_first=True)
        given = torch.zeros(3, 11, 5)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        truth = layer(given)[0]
    gates = 4 if kind is nn.LSTM else 3
    by_hand = 2 * 2 * gates * 7 * 3 * 11 * ((5 + 7) + (14 + 7))
    with _recurrent_layers(layer) as found:
        made = layer(given)[0]
    assert sum(found) == by_hand == counter.get_total_flops()
    assert made.shape == truth.shape
    assert "forward" not in vars(layer)


# of Stable Diffusion 1.5 at 256 × 1024, counted without our nets; parameters of the VAE: both halves
@pytest.mark.parametrize(
    ("net", "parameters", "flop", "sizes"),
    [
        ("sd-unet", 859_520_964, 803e9, "height 32, width 128, tokens 77"),
        ("sd-vae-decoder", 83_653_863, 2515e9, "height 32, width 128"),
        ("sd-vae-encoder", 83_653_863, 1117e9, "height 256, width 1024"),
        ("clip-text", 123_060_480, 13.3e9, ""),
    ],
)
def test_stable_diffusion_costs_what_is_known(net: str, parameters: int, flop: float, sizes: str) -> None:
    cost = cost_of(get_net(net), "sd15")
    assert cost.parameters == parameters
    assert cost.flop == pytest.approx(flop, rel=0.01)
    assert cost.sizes == sizes
    assert cost.fp32_bytes == pytest.approx(4 * parameters, rel=1e-5)


def test_the_table_and_its_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["nets", "--cost", "--net", "stft", "--json", str(tmp_path / "cost.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["net", "preset", "parameters", "fp32", "fp16", "FLOP", "for"]
    # a convolution of 63 frames, 1024 samples to the two parts of 513 bins
    assert " ".join(lines[1].split()) == "stft 1024-256 0 4.2 MB 2.1 MB 132 M 16000 samples (1 s)"
    found = json.loads((tmp_path / "cost.json").read_text())
    assert [entry["preset"] for entry in found] == list(get_net("stft").presets)
    assert found[0]["flop"] == 2 * 63 * 1024 * 2 * 513


def test_numbers_have_prefixes() -> None:
    rows = table([Cost("n", "p", "", flop, 1, 999, 999_499) for flop in (7, 999_600, 10**12)]).splitlines()
    assert [" ".join(row.split()[2:]) for row in rows[1:]] == [
        "1 999 B 999 kB 7", "1 999 B 999 kB 1 M", "1 999 B 999 kB 1 T",
    ]  # fmt: skip


def test_unknown_nets_and_lone_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="hifigun"):
        list(net_costs(["hifigun"]))
    assert main(["nets", "--net", "hifigan"]) == 2
    assert "expected --cost beside them" in capsys.readouterr().err
