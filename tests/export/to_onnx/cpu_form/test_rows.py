"""HiFi-GAN in rows: the numbers of the net itself, whatever the length."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests import small_nets

from edge_export.to_onnx.cpu_form.rows import ROWS, Rows, in_rows
from edge_training.vocoder.hifigan import HifiGanConfig


# channels that begin in one phase, or in two and in the fast form
@pytest.mark.parametrize("channels", [32, 256])
@pytest.mark.parametrize("config", small_nets.CONFIGS.values(), ids=list(small_nets.CONFIGS))
def test_rows_change_nothing(config: HifiGanConfig, channels: int) -> None:
    config = replace(config, upsample_initial_channel=channels)
    net = small_nets.small_hifigan(config)
    rows = in_rows(net)
    for frames in (1, 2, 5, 8, 33):
        mel = torch.randn(2, config.num_mels, frames)
        torch.testing.assert_close(rows(mel), net(mel), rtol=0, atol=2e-6)


def test_an_odd_first_rate_stays_in_one_phase() -> None:
    """An odd number of frames has no halves, so the rule must look at the rate alone."""
    config = replace(
        small_nets.CONFIG,
        upsample_rates=(3, 4, 2),
        upsample_kernel_sizes=(5, 8, 2),
        upsample_initial_channel=256,
    )
    net = small_nets.small_hifigan(config)
    mel = torch.randn(1, config.num_mels, 7)
    torch.testing.assert_close(in_rows(net)(mel), net(mel), rtol=0, atol=2e-6)


def test_a_net_of_one_stage_goes_too() -> None:
    config = HifiGanConfig.from_json(
        small_nets.CONFIG.to_json()
        | {"upsample_rates": [24], "upsample_kernel_sizes": [48], "upsample_initial_channel": 8}
    )
    net = small_nets.small_hifigan(config)
    mel = torch.randn(1, config.num_mels, 40)
    torch.testing.assert_close(in_rows(net)(mel), net(mel), rtol=0, atol=2e-6)


def test_statistics_of_the_mel_stay_in_front() -> None:
    bands = tuple(0.1 * band for band in range(20))
    config = replace(small_nets.CONFIG, input_mean=bands, input_scale=(2.0,) * 20)
    net = small_nets.small_hifigan(config)
    mel = torch.randn(1, 20, 33)
    torch.testing.assert_close(in_rows(net)(mel), net(mel), rtol=0, atol=2e-6)
    assert float((net(mel) - small_nets.small_hifigan()(mel)).abs().max()) > 1e-3


def test_a_net_that_reflects_stays_as_it_is() -> None:
    net = small_nets.small_hifigan(replace(small_nets.CONFIG, padding_mode="reflect"))
    assert in_rows(net) is net


def test_the_overlap_is_needed() -> None:
    """Broken on purpose: without overlap the seams are wrong, so the equality above means something."""
    net = small_nets.small_hifigan()
    rows = in_rows(net)
    rows.overlap = 0  # type: ignore[assignment]
    mel = torch.randn(1, 20, 33)
    assert float((rows(mel) - net(mel)).abs().max()) > 1e-3


@given(n=st.integers(1, 60), overlap=st.integers(0, 9), rate=st.integers(1, 4))
def test_what_is_split_is_joined(n: int, overlap: int, rate: int) -> None:
    x = torch.arange(2 * 3 * n, dtype=torch.float32).reshape(2, 3, 1, n)
    rows = Rows(n, overlap)
    pieces = rows.split(x)
    assert pieces.shape[2] == ROWS
    assert torch.equal(
        rows.join(pieces[:, :1].repeat_interleave(rate, 3), rate), x[:, :1, 0].repeat_interleave(rate, 2)
    )
