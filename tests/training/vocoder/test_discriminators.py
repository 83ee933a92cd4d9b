"""HiFi-GAN's discriminators: published keys and shapes, the paper's arithmetic written anew, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_runtime.errors import CheckpointError, ConfigError
from edge_training.vocoder.discriminators import (
    MultiPeriodDiscriminator,
    MultiScaleDiscriminator,
    PeriodConfig,
    ScaleConfig,
    load_stock_state,
    stock_state,
)

KEYS = json.loads((Path(__file__).parents[2] / "data/keys/hifigan_discriminators.json").read_text())
SMALL_MPD = PeriodConfig(periods=(2, 3), channels=(4, 8, 8))
SMALL_MSD = ScaleConfig(
    scales=3, channels=(4, 8, 8), kernels=(15, 41, 5), strides=(1, 4, 1), groups=(1, 4, 1)
)


@pytest.mark.parametrize("name", ["mpd", "msd"])
def test_published_keys_and_shapes(name: str) -> None:
    with torch.device("meta"):
        module = (
            MultiPeriodDiscriminator(PeriodConfig())
            if name == "mpd"
            else MultiScaleDiscriminator(ScaleConfig())
        )
    published = {key.removeprefix(f"{name}."): shape for key, shape in KEYS.items() if key.startswith(name)}
    assert {key: list(tensor.shape) for key, tensor in stock_state(module).items()} == published


def test_published_sizes() -> None:
    with torch.device("meta"):
        mpd, msd = MultiPeriodDiscriminator(PeriodConfig()), MultiScaleDiscriminator(ScaleConfig())
    assert round(sum(p.numel() for p in mpd.parameters()) / 1e6, 2) == 41.11
    assert round(sum(p.numel() for p in msd.parameters()) / 1e6, 2) == 29.62


def folded(state: dict[str, Tensor], layer: str) -> Tensor:
    """A weight from its published spelling."""
    if f"{layer}.weight_orig" in state:
        weight = state[f"{layer}.weight_orig"]
        sigma = torch.dot(state[f"{layer}.weight_u"], weight.flatten(1) @ state[f"{layer}.weight_v"])
        return torch.div(weight, sigma)
    direction = state[f"{layer}.weight_v"]
    norm = direction.flatten(1).norm(dim=1).reshape(-1, *[1] * (direction.ndim - 1))
    return torch.div(state[f"{layer}.weight_g"] * direction, norm)


def by_hand_period(
    state: dict[str, Tensor], index: int, period: int, x: Tensor, padding: int
) -> list[Tensor]:
    """The paper's two-dimensional form: (B, 1, N/p, p), kernels (5, 1), strides (3, 1)."""
    features = []
    x = F.pad(x, (0, -x.shape[-1] % period), mode="reflect")
    x = x.reshape(len(x), 1, -1, period)
    layers = len(SMALL_MPD.channels)
    for layer in range(layers):
        name = f"discriminators.{index}.convs.{layer}"
        stride = (1, 1) if layer == layers - 1 else (3, 1)
        x = F.conv2d(x, folded(state, name), state[f"{name}.bias"], stride, (padding, 0))
        x = F.leaky_relu(x, 0.1)
        features.append(x)
    name = f"discriminators.{index}.conv_post"
    features.append(F.conv2d(x, folded(state, name), state[f"{name}.bias"], 1, (1, 0)))
    return features


@pytest.mark.parametrize("padding", [2, 4])  # the paper's, the rtMRI system's
@pytest.mark.parametrize("samples", [256, 257, 301])
def test_periods_equal_the_papers_form(samples: int, padding: int) -> None:
    torch.manual_seed(0)
    mpd = MultiPeriodDiscriminator(replace(SMALL_MPD, padding=padding)).double()
    x, state = torch.randn(3, 1, samples, dtype=torch.float64), stock_state(mpd)
    for index, (period, judgement) in enumerate(zip(SMALL_MPD.periods, mpd(x), strict=True)):
        expected = by_hand_period(state, index, period, x, padding)
        for ours, theirs in zip(judgement.features, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
        assert judgement.score.shape == (3, theirs[0].numel())


def test_scales_equal_the_papers_form() -> None:
    torch.manual_seed(0)
    msd = MultiScaleDiscriminator(SMALL_MSD).double().eval()
    x, state = torch.randn(2, 1, 300, dtype=torch.float64), stock_state(msd)
    for scale, judgement in enumerate(msd(x)):
        y = x
        for _ in range(scale):
            y = nn.AvgPool1d(4, 2, padding=2)(y)
        layers = zip(SMALL_MSD.kernels, SMALL_MSD.strides, SMALL_MSD.groups, judgement.features, strict=False)
        for layer, (kernel, stride, groups, feature) in enumerate(layers):
            name = f"discriminators.{scale}.convs.{layer}"
            y = F.conv1d(y, folded(state, name), state[f"{name}.bias"], stride, kernel // 2, groups=groups)
            y = F.leaky_relu(y, 0.1)
            torch.testing.assert_close(feature, y, rtol=0, atol=1e-12)
        name = f"discriminators.{scale}.conv_post"
        score = F.conv1d(y, folded(state, name), state[f"{name}.bias"], padding=1)
        torch.testing.assert_close(judgement.score, score.flatten(1), rtol=0, atol=1e-12)
        assert len(judgement.features) == len(SMALL_MSD.channels) + 1


def test_only_the_first_scale_has_spectral_norm() -> None:
    state = stock_state(MultiScaleDiscriminator(SMALL_MSD))
    spectral = {key.split(".")[1] for key in state if key.endswith("weight_orig")}
    assert spectral == {"0"}


@pytest.mark.parametrize("kind", ["mpd", "msd"])
def test_stock_state_round_trip(kind: str) -> None:
    def make() -> nn.Module:
        return MultiPeriodDiscriminator(SMALL_MPD) if kind == "mpd" else MultiScaleDiscriminator(SMALL_MSD)

    one, other = make(), make()
    load_stock_state(other, stock_state(one), name="do_1: x")
    for key, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[key])


def test_foreign_discriminators_are_refused() -> None:
    state = stock_state(MultiPeriodDiscriminator(PeriodConfig(periods=(2, 3), channels=(4, 8, 16))))
    sentence = r"do_1: mpd: got .*discriminators.0.conv_post.weight_v.* and \d+ more, expected the 24 tensors"
    with pytest.raises(CheckpointError, match=sentence):
        load_stock_state(MultiPeriodDiscriminator(SMALL_MPD), state, name="do_1: mpd")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PeriodConfig(periods=()), r"periods: got \[\]"),
        (lambda: PeriodConfig(padding=0), r"padding: got \[0\]"),
        (lambda: PeriodConfig(channels=(4, 0)), r"channels: got \[4, 0\], expected a list of whole"),
        (lambda: ScaleConfig(scales=0), r"scales: got \[0\]"),
        (lambda: ScaleConfig(kernels=(15, 41)), "kernels: got 2 layers, expected 7"),
        (lambda: ScaleConfig(groups=(1, 4, 16, 16, 16, 16, 3)), "groups: got 3 groups of 1024 → 1024"),
    ],
)
def test_config_rules(make: object, sentence: str) -> None:
    assert callable(make)
    with pytest.raises(ConfigError, match=sentence):
        make()


@pytest.mark.parametrize("wrong", [5, "32", (), (0,), (1.5,), (True,), ((8, 8),), (10**10,), (8,) * 65, None])
def test_channels_that_make_no_sense_are_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"channels: got .*, expected a list of whole numbers, 1 to"):
        PeriodConfig(channels=wrong)
    with pytest.raises(ConfigError, match=r"kernels: got .*, expected a list of whole numbers, 1 to"):
        ScaleConfig(kernels=wrong)


@pytest.mark.parametrize("wrong", [0, "3", 10**9, None])
def test_scales_that_make_no_sense_are_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="scales: got"):
        ScaleConfig(scales=wrong)
