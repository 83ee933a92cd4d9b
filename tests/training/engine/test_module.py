"""Another net over the same trainer, with automatic optimisation and dropout: what the next user writes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edge_training.engine import module as module_file
from edge_training.engine.config import FitConfig
from edge_training.engine.items import Item, TrainingData
from edge_training.engine.logs import read_table
from edge_training.engine.module import RECIPES, FitModule, Recipe, find_recipe
from edge_training.engine.run_checkpoints import checkpoint_steps
from edge_training.engine.trainer import train


@dataclass(frozen=True, kw_only=True)
class LineFit(FitConfig):
    steps: int = 12
    batch_size: int = 2
    learning_rate: float = 0.1

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> LineFit:
        return cls(**entries)

    def net_json(self) -> dict[str, Any]:
        return {"net": "line"}


class LineData:
    names: tuple[str, ...] = ("a", "b", "c")
    validation_names: tuple[str, ...] = ("d",)

    def item(self, clip: int, draw: np.random.Generator) -> Item:
        x = draw.standard_normal(4).astype(np.float32)
        return {"x": x, "y": 2 * x, "name": self.names[clip]}

    def validation_item(self, clip: int) -> Item:
        x = np.ones(4, np.float32)
        return {"x": x, "y": 2 * x, "name": self.validation_names[clip]}


class LineModule(FitModule[LineFit]):
    monitor: ClassVar[str] = "validation/error"
    weights_file: ClassVar[str] = "line.safetensors"

    def __init__(self, config: LineFit, data: TrainingData) -> None:
        super().__init__(config, data)
        self.net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), self.config.learning_rate)

    def training_step(self, batch: Item, batch_idx: int) -> Tensor:  # noqa: ARG002
        loss = self.finite((self.net(batch["x"]) - batch["y"]).square().mean(), batch)
        self.note({"loss": loss}, bar=("loss",))
        return loss

    def validation_step(self, batch: Item, batch_idx: int) -> None:  # noqa: ARG002
        self.note({self.monitor: (self.net(batch["x"]) - batch["y"]).abs().mean()})

    def weights(self) -> dict[str, Tensor]:
        return dict(self.net.state_dict())


RECIPE = Recipe(
    net="line",
    presets={"plain": LineFit(log_every=1, checkpoint_every=4, validate_every=4)},
    default_preset="plain",
    read_config=LineFit.from_json,
    open_data=lambda config, folder: LineData(),  # noqa: ARG005
    build=LineModule,
)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_file, "RECIPES", dict(RECIPES) | {"line": __name__})
    monkeypatch.setitem(sys.modules, __name__, cast(ModuleType, SimpleNamespace(RECIPE=RECIPE)))


def test_every_recipe_is_its_nets() -> None:
    for net in RECIPES:
        assert find_recipe(net).net == net


def test_dropout_is_resumed_exactly(tmp_path: Path) -> None:
    """The random state is a function of the step, so a resumed run drops what a straight one drops."""
    straight = train("line", tmp_path, tmp_path / "straight", progress=False)
    train("line", tmp_path, tmp_path / "resumed", progress=False, steps=6)
    resumed = train("line", tmp_path, tmp_path / "resumed", progress=False, steps=12, resume=True)
    ours, theirs = (
        torch.load(checkpoint_steps(r.run)[12], weights_only=True)["state_dict"] for r in (resumed, straight)
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    table = read_table(straight.run / "metrics.csv")
    assert [row["step"] for row in table] == list(range(1, 13))
    assert [row["step"] for row in table if "validation/error" in row] == [4, 8, 12]
    assert straight.best_weights is not None
    assert straight.weights.name == "line.safetensors"


def test_adamw_on_the_processor_is_torchs_own() -> None:
    """One kernel for all weights is for CUDA; here every number must stay what it was."""
    parameters = [torch.nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2)]
    theirs = torch.optim.AdamW([parameters[0]], 1e-2, betas=(0.8, 0.99), weight_decay=0.01)
    module = LineModule(LineFit(), LineData())
    ours = module.adamw([parameters[1]], 1e-2, betas=(0.8, 0.99), weight_decay=0.01)
    assert ours.defaults == theirs.defaults
    for optimizer, parameter in zip((theirs, ours), parameters, strict=True):
        parameter.grad = torch.linspace(2, -1, 5)
        optimizer.step()
    assert torch.equal(*parameters)
