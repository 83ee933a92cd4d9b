"""Configurations of HiFi-GAN's forks: entries elsewhere, and entries that decide what is computed."""

from __future__ import annotations

from typing import Any

import pytest
from tests.small_weights import TINY

from edge_runtime.errors import ConfigError
from edge_training.weights.dialects.forks import decided, gathered

PLAIN = {name: value for name, value in TINY.to_json().items() if value is not None}
NETS = (
    "resblock", "upsample_rates", "upsample_kernel_sizes", "upsample_initial_channel",
    "resblock_kernel_sizes", "resblock_dilation_sizes",
)  # fmt: skip


@pytest.mark.parametrize("places", [("model",), ("model", "params"), ("model", "generator", "args")])
def test_entries_inside_of_mappings(places: tuple[str, ...]) -> None:
    entries: dict[str, Any] = PLAIN
    for place in reversed(places):
        entries = {place: entries}
    said: list[str] = []
    assert PLAIN.items() >= {k: v for k, v in gathered(entries, said).items() if k in PLAIN}.items()
    assert f"{'.'.join(places)}.resblock" in said[0]


def test_names_of_vits_and_nvidia() -> None:
    data = {
        "filter_length": PLAIN["n_fft"], "hop_length": PLAIN["hop_size"], "win_length": PLAIN["win_size"],
        "sampling_rate": PLAIN["sampling_rate"], "n_mel_channels": PLAIN["num_mels"],
        "mel_fmin": 0.0, "mel_fmax": None,
    }  # fmt: skip
    entries = {"train": {"lr": 1e-4}, "data": data, "model": {name: PLAIN[name] for name in NETS}}
    said: list[str] = []
    found = gathered(entries, said)
    assert [found[name] for name in ("n_fft", "hop_size", "num_mels")] == [
        PLAIN["n_fft"],
        PLAIN["hop_size"],
        PLAIN["num_mels"],
    ]
    assert found["fmax"] is None
    assert "data.filter_length for n_fft" in said[0]


def test_what_has_two_values_stays_away() -> None:
    entries = {"data": {"mel_fmax": 8000}, "loss": {"mel_fmax": None}}
    assert "fmax" not in gathered(entries, [])
    said: list[str] = []
    assert gathered(PLAIN, said) == PLAIN
    assert not said


@pytest.mark.parametrize(
    ("entry", "value"), [("leaky_relu_slope", 0.2), ("use_tanh_at_final", False), ("causal", True)]
)
def test_other_arithmetic_is_refused(entry: str, value: object) -> None:
    for entries, place in (({entry: value}, entry), ({"model": {entry: value}}, f"model.{entry}")):
        with pytest.raises(
            ConfigError, match=f"entry '{place}': got {value}, expected .*delete the entry if"
        ):
            decided(entries, [])


@pytest.mark.parametrize(
    ("entry", "value"), [("center", True), ("power", 2), ("log_base", 10), ("mel_scale", "htk")]
)
def test_another_mel_takes_no_audio(entry: str, value: object) -> None:
    said: list[str] = []
    assert decided({"data": {entry: value}}, said) == {"front_end_known": False}
    assert f"entry data.{entry}" in said[0]


def test_what_asks_for_nothing_new_is_nothing() -> None:
    entries: dict[str, Any] = {"lrelu_slope": 0.1, "causal": False, "center": False, "power": 1}
    entries |= {"lr": 1e-4, "log_base": None, "mel_scale": 45, "lr_scheduler": {"power": 0.5}}
    said: list[str] = []
    assert decided(entries, said) == {}
    assert not said
