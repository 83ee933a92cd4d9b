"""Items by number: every epoch holds every clip once, processes share batches, any step can be begun at."""

from __future__ import annotations

from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_training.engine.items import Item, Schedule, StepBatches, training_loader

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
