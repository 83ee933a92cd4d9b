"""The base of configurations: rules, JSON both ways, unknown and missing entries; and those that ship."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from edge_runtime.dsp.mel import PRESETS, MelConfig
from edge_runtime.errors import ConfigError
from edge_training.engine.config import FitConfig, JsonConfig, Rule, is_number, is_whole
from edge_training.engine.module import RECIPES, find_recipe


@dataclass(frozen=True)
class Part(JsonConfig):
    sizes: tuple[tuple[int, ...], ...] = ((1, 2), (3,))


@dataclass(frozen=True)
class Net(JsonConfig):
    width: int
    mel: MelConfig = PRESETS["talking-head"]

    def _rules(self) -> Iterator[Rule]:
        yield "width", "a positive whole number", is_whole(self.width, least=1)


@dataclass(frozen=True, kw_only=True)
class Fit(FitConfig):
    ignored: ClassVar[Collection[str]] = ("num_gpus",)

    net: Net
    part: Part = field(default_factory=Part)
    other: Part | None = None
    rate: float = 0.1

    def _rules(self) -> Iterator[Rule]:
        yield from super()._rules()
        yield "rate", "a number, 0 or more", is_number(self.rate, least=0)


ENTRIES: dict[str, Any] = {"width": 3, "steps": 10, "batch_size": 2}


def test_json_is_one_flat_object_with_nested_ones_where_they_are_parts() -> None:
    config = Fit(net=Net(3), other=Part(((9,),)), steps=10, batch_size=2)
    entries = json.loads(json.dumps(config.to_json()))
    assert list(entries)[:2] == ["width", "mel"]
    assert "net" not in entries
    assert entries["part"] == {"sizes": [[1, 2], [3]]}
    assert entries["other"] == {"sizes": [[9]]}
    assert Fit.from_json(entries) == config
    assert Fit.from_json(entries | {"num_gpus": 1}) == config
    assert Fit.from_json(ENTRIES) == Fit(net=Net(3), steps=10, batch_size=2)
    assert config.net_json() == config.net.to_json() == {"width": 3, "mel": PRESETS["talking-head"].to_json()}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"width": 0}, "width: got 0, expected a positive whole number"),
        ({"width": True}, "width: got True, expected a positive whole number"),
        ({"rate": float("nan")}, "rate: got nan, expected a number, 0 or more"),
        ({"steps": 1.5}, r"steps: got 1\.5, expected a positive whole number"),
        ({"validation_clips": -1}, "validation_clips: got -1, expected a whole number, 0 or more, or null"),
        ({"part": 3}, r"part: got 3, expected an object \{"),
        ({"part": None}, r"part: got None, expected an object \{"),
        ({"part": {"size": []}}, "entry 'size': got an unknown entry, expected sizes; is 'sizes' meant"),
        ({"wdith": 3}, "entry 'wdith': got an unknown entry, expected a known one; is 'width' meant"),
        ({"mel": {"n_ftt": 3}}, "n_ftt"),
        ({"net": {}}, "entry 'net': got an unknown entry"),
    ],
)
def test_what_breaks_a_rule_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Fit.from_json(ENTRIES | change)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="width: got no such entry, expected an entry width"):
        Fit.from_json({"steps": 10, "batch_size": 2})


@pytest.mark.parametrize("net", RECIPES)
def test_every_recipes_presets_go_through_json(net: str) -> None:
    recipe = find_recipe(net)
    for preset in recipe.presets.values():
        entries = json.loads(json.dumps(preset.to_json()))
        assert recipe.read_config(entries) == preset
        assert recipe.read_config(entries).net_json() == preset.net_json()
        with pytest.raises(ConfigError, match=r"entry 'batch_sizes': .*is 'batch_size' meant"):
            recipe.read_config(entries | {"batch_sizes": 3})
