"""What both trainings have in common: which trials, which optimiser, the moving average."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from edge_runtime.errors import ConfigError
from edge_training.ecog_speech.data import EcogSource, Split
from edge_training.engine.config import FitConfig, Rule, is_number, is_whole
from edge_training.engine.optimizers import LreqAdam
from edge_training.engine.schedules import warm_up_cosine

OptimizerName = Literal["lreq-adam", "adamw"]
Schedule = Literal["constant", "cosine"]
HALVING = 10_000  # items after which an old weight counts half in the moving average
DATA = ("subjects", "split", "test_trials", "folds", "fold", "word", "coarse", "extended", "bad", "shuffled")


@dataclass(frozen=True, kw_only=True)
class EcogFit(FitConfig):
    """Entries of data and optimiser; `batch_size` counts crops of 128 frames."""

    subjects: tuple[str, ...] | None = None  # null: every file of the folder
    split: Split = "last"
    test_trials: int = 50
    folds: int = 5
    fold: int = 0
    word: str | None = None  # of split "word": leave one word out
    coarse: bool = False  # of hybrid grids the first 64 electrodes
    extended: bool = False  # 100 electrodes as 10 × 10
    bad: tuple[int, ...] = ()
    shuffled: bool = False  # the control: ECoG of other trials

    optimizer: OptimizerName = "lreq-adam"
    learning_rate: float = 0.002
    weight_decay: float = 0.0  # of adamw
    clip_norm: float | None = None  # of all gradients together
    schedule: Schedule = "constant"
    warm_up_steps: int = 0
    halving: int = HALVING  # items; of the moving average

    def _rules(self) -> Iterator[Rule]:
        yield from super()._rules()
        for name, choices in (("split", Split), ("optimizer", OptimizerName), ("schedule", Schedule)):
            yield name, " or ".join(get_args(choices)), getattr(self, name) in get_args(choices)
        for name in ("test_trials", "folds", "halving"):
            yield name, "a positive whole number", is_whole(getattr(self, name), least=1)
        for name in ("fold", "warm_up_steps"):
            yield name, "a whole number, 0 or more", is_whole(getattr(self, name), least=0)
        for name in ("coarse", "extended", "shuffled"):
            yield name, "true or false", isinstance(getattr(self, name), bool)
        yield "learning_rate", "a positive number", is_number(self.learning_rate, least=1e-30)
        yield "weight_decay", "a number, 0 or more", is_number(self.weight_decay, least=0)
        yield (
            "clip_norm",
            "a positive number, or null",
            self.clip_norm is None or is_number(self.clip_norm, least=1e-30),
        )
        listed = isinstance(self.bad, tuple) and all(is_whole(number, least=0) for number in self.bad)
        yield "bad", "electrodes from 0 on, as [3,17]", listed
        named = isinstance(self.subjects, tuple) and all(isinstance(name, str) for name in self.subjects)
        yield "subjects", 'names, as ["S1","S2"], or null', self.subjects is None or named
        yield "word", "a word where split is 'word'", (self.split == "word") == (self.word is not None)

    def source(self, folder: Path) -> EcogSource:
        """What is read from a folder."""
        return EcogSource(folder, seed=self.seed, **{name: getattr(self, name) for name in DATA})

    def rate(self, step: int) -> float:
        """Part of the learning rate at a step, counted from 0."""
        until = self.steps if self.schedule == "cosine" else None
        return warm_up_cosine(step, warm_up=self.warm_up_steps, until=until)

    @property
    def decay(self) -> float:
        """What a step leaves of an old weight in the running mean."""
        return float(0.5 ** (self.batch_size / self.halving))

    def optimizers(self, nets: Iterable[nn.Module]) -> Any:
        """What Lightning's `configure_optimizers` gives."""
        groups = groups_of(nets)
        chosen: torch.optim.Optimizer
        if self.optimizer == "lreq-adam":
            chosen = LreqAdam(groups, self.learning_rate)
        else:
            chosen = torch.optim.AdamW(
                [parameter for group in groups for parameter in group["params"]],
                self.learning_rate,
                betas=(0.9, 0.99),
                weight_decay=self.weight_decay,
            )
        schedule = torch.optim.lr_scheduler.LambdaLR(chosen, self.rate)
        return {"optimizer": chosen, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def groups_of(nets: Iterable[nn.Module]) -> list[dict[str, Any]]:
    """Trainable parameters by the deviation that their layer was drawn with, as LREQ-Adam wants to know it.

    √(2 / fan-in) for weights of convolutions and linear layers, 1 for all else.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for net in nets:
        weights = {
            id(layer.weight): (2 / layer.weight[0].numel()) ** 0.5
            for layer in net.modules()
            if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear)
        }
        for parameter in net.parameters():
            if parameter.requires_grad:
                groups.setdefault(weights.get(id(parameter), 1.0), []).append(parameter)
    return [{"params": params, "coefficient": coefficient} for coefficient, params in groups.items()]


def refuse_bins(what: str, got: int, wanted: int) -> None:
    """ConfigError where nets and data have spectrograms of other sizes."""
    if got != wanted:
        raise ConfigError(
            what,
            got=f"{got} bins",
            expected=f"{wanted}, as the data has",
            cause="256 are customary for women, 512 for men",
        )
