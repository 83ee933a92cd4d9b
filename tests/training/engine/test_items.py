"""Items by number: every epoch holds every clip once, processes share batches, any step can be begun at."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edge_runtime.errors import ConfigError
from edge_training.engine.config import FitConfig
from edge_training.engine.items import Item, Schedule, StepBatches, keep_on_device, training_loader

counts = st.integers(1, 30)


@given(counts, st.integers(0, 5), st.integers(0, 99))
def test_an_epoch_holds_every_clip_once(clips: int, epoch: int, seed: int) -> None:
    schedule = Schedule(clips, seed)
    numbers = range(epoch * clips, (epoch + 1) * clips)
    assert sorted(schedule.clip(number) for number in numbers) == list(range(clips))
    assert {schedule.epoch(number) for number in numbers} == {epoch}


def test_epochs_and_seeds_are_ordered_differently() -> None:
    orders = {
        tuple(Schedule(20, seed).clip(20 * e + i) for i in range(20)) for seed in (1, 2) for e in (0, 1)
    }
    assert len(orders) == 4


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 7))
def test_processes_share_each_batch(world: int, share: int, step: int) -> None:
    size = world * share
    batches = [next(iter(StepBatches(size, step, rank, world))) for rank in range(world)]
    assert [number for batch in batches for number in batch] == list(range(step * size, (step + 1) * size))


class Draws:
    """Training data whose items are what was drawn for them."""

    names: tuple[str, ...] = tuple("abcde")
    validation_names: tuple[str, ...] = ()

    def item(self, clip: int, draw: np.random.Generator) -> Item:
        return {"clip": clip, "drawn": draw.random()}

    def validation_item(self, clip: int) -> Item:
        raise NotImplementedError


def test_a_loader_can_begin_at_any_step() -> None:
    def batches(step: int, workers: int = 0) -> list[list[float]]:
        loader = training_loader(Draws(), batch_size=3, seed=5, step=step, rank=0, world=1, workers=workers)
        return [[*batch["clip"].tolist(), *batch["drawn"].tolist()] for batch in islice(loader, 8 - step)]

    whole = batches(0)
    assert batches(3) == whole[3:]
    assert batches(0, workers=1) == whole
    assert len({tuple(batch) for batch in whole}) == 8


class Kept(Draws):
    """Data of at most 100 bytes."""

    def keep_on(self, device: torch.device, most: int) -> bool:
        del device
        return most >= 100


@pytest.mark.parametrize(
    ("data", "asked", "workers", "device", "kept"),
    [
        (Kept(), None, 0, "cpu", False),
        (Kept(), None, 0, "cuda", True),
        (Kept(), None, 1, "cuda", False),
        (Kept(), True, 0, "cpu", True),
        (Kept(), False, 0, "cuda", False),
        (Draws(), None, 0, "cuda", False),
    ],
)
def test_when_data_lie_on_the_device(
    data: Any, asked: bool | None, workers: int, device: str, kept: bool
) -> None:
    config = FitConfig(steps=1, batch_size=1, num_workers=workers, data_on_device=asked)
    assert keep_on_device(data, config, torch.device(device)) is kept


def test_data_that_cannot_lie_on_a_device_are_refused_if_they_should() -> None:
    with pytest.raises(ConfigError, match="data_on_device: got true, and data that cannot"):
        keep_on_device(Draws(), FitConfig(steps=1, batch_size=1, data_on_device=True), torch.device("cpu"))
    with pytest.raises(
        ConfigError, match="data_on_device: got True, expected null or false with num_workers"
    ):
        FitConfig(steps=1, batch_size=1, num_workers=1, data_on_device=True)
