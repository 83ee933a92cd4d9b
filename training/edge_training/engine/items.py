"""Items by number: the items of a step, and their random crops, are a function of the step alone.

A run is one endless stream of item numbers 0, 1, 2 …; step s takes the `batch_size` numbers from
s · batch_size on, and each of W processes its own share of them. Number i is clip `order(epoch)[i mod n]`
of epoch i div n, order a permutation seeded by (seed, epoch), and everything random about the item is drawn
from a generator seeded by (seed, i). So there is no state to save: a run that is resumed at step s gets the
items that it would have got, and W processes together get those that one would get.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from edge_runtime.errors import ConfigError
from edge_training.engine.config import FitConfig

Item = dict[str, Any]
ON_DEVICE_BYTES = 1 << 30  # most of a set that is kept on the device
_ORDER, _DRAW = 0, 1  # first words of the seeds, so that the two streams never meet


class TrainingData(Protocol):
    """What a system's data file gives to the trainer."""

    names: tuple[str, ...]  # of the training clips, for config.json and for refusals
    validation_names: tuple[str, ...]

    def item(self, clip: int, draw: np.random.Generator) -> Item:
        """A training item of clip `clip`: arrays of one shape for all clips, and its `name`."""

    def validation_item(self, clip: int) -> Item:
        """A whole validation clip; batches of validation hold one."""


@runtime_checkable
class KeepsOnDevice(Protocol):
    """Data that can lie on the device itself, so that no item is copied there."""

    def keep_on(self, device: torch.device, most: int) -> bool:
        """Keep what training items are cut from on a device, if it is at most so many bytes.

        Items are then tensors there, with the same values. False: nothing changed.
        """


@dataclass(frozen=True)
class Schedule:
    """Which clip is item number i."""

    clips: int
    seed: int

    def epoch(self, number: int) -> int:
        """Passes over the clips that are complete before this item."""
        return number // self.clips

    def clip(self, number: int) -> int:
        """Clip of an item."""
        return int(_order(self.clips, self.seed, self.epoch(number))[number % self.clips])

    def draw(self, number: int) -> np.random.Generator:
        """Random numbers of an item."""
        return np.random.default_rng((_DRAW, self.seed, number))


@lru_cache(maxsize=2)  # a batch may span two epochs
def _order(clips: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((_ORDER, seed, epoch)).permutation(clips)


class StepBatches(Sampler[list[int]]):
    """Item numbers of each step from `first_step` on, without end: this process's share of each batch."""

    def __init__(self, batch_size: int, first_step: int, rank: int, world: int) -> None:
        self.batch_size, self.first_step, self.rank, self.world = batch_size, first_step, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        share = self.batch_size // self.world
        first = self.first_step * self.batch_size + self.rank * share
        while True:
            yield list(range(first, first + share))
            first += self.batch_size


class Numbered(Dataset[Item]):
    """Training items by number."""

    def __init__(self, data: TrainingData, schedule: Schedule) -> None:
        self.data, self.schedule = data, schedule

    def __getitem__(self, number: int) -> Item:
        return self.data.item(self.schedule.clip(number), self.schedule.draw(number))


class Validation(Dataset[Item]):
    """Validation clips in order."""

    def __init__(self, data: TrainingData) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.validation_names)

    def __getitem__(self, clip: int) -> Item:
        return self.data.validation_item(clip)


def training_loader(
    data: TrainingData,
    *,
    batch_size: int,
    seed: int,
    step: int,
    rank: int,
    world: int,
    workers: int = 0,
    on_device: bool = False,
) -> DataLoader[Item]:
    """Batches of the steps from `step` on; `batch_size` is that of all `world` processes together.

    ``on_device``: the data lie on the device already (`KeepsOnDevice`).
    """
    return DataLoader(
        Numbered(data, Schedule(len(data.names), seed)),
        batch_sampler=StepBatches(batch_size, step, rank, world),
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available() and not on_device,  # copied to the device while it computes
    )


def validation_loader(data: TrainingData) -> DataLoader[Item]:
    """One clip a batch, every process all clips."""
    return DataLoader(Validation(data), batch_size=1)


def keep_on_device(data: TrainingData, config: FitConfig, device: torch.device) -> bool:
    """Whether a training's data lie on its device now: if asked for, or where they are few and it is a GPU.

    Raises:
        ConfigError: asked for, and these data cannot, or are more than `ON_DEVICE_BYTES`.
    """
    asked = config.data_on_device
    if asked is False or config.num_workers or (asked is None and device.type != "cuda"):
        return False
    if isinstance(data, KeepsOnDevice) and data.keep_on(device, ON_DEVICE_BYTES):
        return True
    if asked:
        raise ConfigError(
            "data_on_device",
            got="true, and data that cannot lie on a device, or take more than a GiB",
            expected="null or false",
            cause="only recordings without predicted mels can",
        )
    return False
