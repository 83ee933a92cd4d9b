"""Configurations as frozen dataclasses: checked, JSON both ways, unknown entries refused by name.

`JsonConfig` is the base of nets' and recipes' configurations: a child states its fields, what each must be
(`_rules`), and inherits the rest. `FitConfig` is what every training has in common; as JSON it is one flat
object: the entries below, the recipe's own, and those of the net itself, so that a published `config.json` is
read as it is.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, ClassVar, NamedTuple, Self, Union, get_args, get_origin, get_type_hints

from edge_runtime.dsp.mel import MelConfig
from edge_runtime.errors import ConfigError

Rule = tuple[str, str, bool]  # (field, what it must be, whether it is)
MOST_LISTED = 12  # entries that a refusal lists

OBJECT = "an object { … }"


class JsonConfig:
    """Base of frozen dataclasses that are configurations. Raises ConfigError that names entry and rule.

    Fields may be plain values, tuples of them, and dataclasses of this kind or with `to_json` and `from_json`
    of their own, also where null is allowed; those become nested objects, or stand in the same one where
    `flat` names the field.
    """

    flat: ClassVar[Collection[str]] = ()  # fields whose own entries lie beside the others
    ignored: ClassVar[Collection[str]] = ()  # entries that are read over

    def __post_init__(self) -> None:
        self.check_rules()

    def check_rules(self) -> None:
        """Refuse the first field that is not what it must be."""
        for name, rule, holds in self._rules():
            if not holds:
                raise ConfigError(name, got=repr(getattr(self, name)), expected=rule)

    def _rules(self) -> Iterator[Rule]:
        """What each field must be; children yield theirs."""
        yield from ()

    def to_json(self) -> dict[str, Any]:
        """One object of plain JSON values; `from_json` gives an equal configuration."""
        values = {field.name: _encoded(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]
        beside: dict[str, Any] = {}
        for name in self.flat:
            beside |= values.pop(name)
        return beside | values

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> Self:
        """The configuration of a JSON object.

        Raises:
            ConfigError: an unknown entry, one that is missing, or the rule that is broken.
        """
        kinds = _nested_kinds(cls)
        flat = {name: _names(kinds[name].dataclass) for name in cls.flat}
        own = [name for name in _names(cls) if name not in flat]
        refuse_unknown(entries, [*own, *(name for theirs in flat.values() for name in theirs), *cls.ignored])
        given = {name: entries[name] for name in entries if name in own}
        values = {name: _decoded(name, value, kinds.get(name)) for name, value in given.items()}
        for name, theirs in flat.items():
            values[name] = kinds[name].dataclass.from_json(
                {key: entries[key] for key in entries if key in theirs}
            )
        for field in fields(cls):  # type: ignore[arg-type]
            if field.name not in values and field.default is MISSING and field.default_factory is MISSING:
                raise ConfigError(field.name, got="no such entry", expected=f"an entry {field.name}")
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class FitConfig(JsonConfig):
    """Numbers of the loop. Children have a field `net`, the configuration of what they train."""

    flat: ClassVar[Collection[str]] = ("net",)

    steps: int  # optimiser steps of the whole run
    batch_size: int  # items of one step, over all processes together
    seed: int = 1234
    num_workers: int = 0  # processes that read data, for each training process
    log_every: int = 100  # steps
    checkpoint_every: int = 5000  # steps
    validate_every: int = 1000  # steps
    keep_checkpoints: int = 3  # newest ones; the best is kept beside them
    start_from: str | None = None  # a checkpoint to begin with; what it may be is the net's business
    start_weights: str | None = None  # of one with several sets: ema, live, or the name before them
    data_on_device: bool | None = None  # training recordings in the device's memory; None: small sets on CUDA
    validation_clips: int | None = None  # last ones by name, never trained on; None: a tenth, at least one

    def _rules(self) -> Iterator[Rule]:
        for name in (
            "steps", "batch_size", "log_every", "checkpoint_every", "validate_every", "keep_checkpoints",
        ):  # fmt: skip
            yield name, "a positive whole number", is_whole(getattr(self, name), least=1)
        for name in ("seed", "num_workers"):
            yield name, "a whole number, 0 or more", is_whole(getattr(self, name), least=0)
        yield "start_from", "a path, or null", self.start_from is None or isinstance(self.start_from, str)
        of_none = self.start_weights is None
        yield "start_weights", "ema, live or a name, or null", of_none or isinstance(self.start_weights, str)
        yield "start_weights", "null without start_from", of_none or self.start_from is not None
        yield "data_on_device", "true, false, or null", self.data_on_device in (None, True, False)
        yield (
            "data_on_device",
            "null or false with num_workers",
            not (self.data_on_device and self.num_workers),
        )
        yield (
            "validation_clips",
            "a whole number, 0 or more, or null",
            self.validation_clips is None or is_whole(self.validation_clips, least=0),
        )

    @property
    def front_ends(self) -> Mapping[str, MelConfig]:
        """The entry that decides it → a front end of the net, its data or its loss; for `train` to judge."""
        mel = getattr(getattr(self, "net", None), "mel", None)
        return {"mel": mel} if isinstance(mel, MelConfig) else {}

    def net_json(self) -> dict[str, Any]:
        """The `config.json` that lies beside exported weights: the net's."""
        entries: dict[str, Any] = self.net.to_json()  # type: ignore[attr-defined]
        return entries


def is_whole(value: object, *, least: int, most: int = 1 << 40) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_number(value: object, *, least: float = float("-inf"), most: float = float("inf")) -> bool:
    """Finite and within the limits."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and least <= value <= most and abs(value) != float("inf")  # type: ignore[operator, arg-type]


def listed(value: Any) -> Any:
    """Tuples as lists, for JSON."""
    return [listed(item) for item in value] if isinstance(value, tuple | list) else value


def tupled(value: Any) -> Any:
    """Lists as tuples, for frozen dataclasses."""
    return tuple(tupled(item) for item in value) if isinstance(value, tuple | list) else value


def refuse_unknown(entries: Mapping[str, Any], known: Collection[str]) -> None:
    """ConfigError that names the first unknown entry, the known ones if few, and the nearest of them."""
    for key in entries:
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1)
            cause = f"is {near[0]!r} meant?" if near else ""
            expected = ", ".join(known) if len(known) <= MOST_LISTED else "a known one"
            raise ConfigError(f"entry {key!r}", got="an unknown entry", expected=expected, cause=cause)


# ---- JSON -------------------------------------------------------------------------------------------------


def _names(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


def _encoded(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_encoded(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        if hasattr(value, "to_json"):
            return value.to_json()
        return {field.name: _encoded(getattr(value, field.name)) for field in fields(value)}
    return value


class _Nested(NamedTuple):
    dataclass: Any
    or_null: bool


def _nested_kinds(kind: Any) -> dict[str, _Nested]:
    """Field → the dataclass in its annotation, alone or beside null."""
    found = {}
    for name, hint in get_type_hints(kind).items():
        options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
        for option in options:
            if is_dataclass(option) and hasattr(option, "from_json"):
                found[name] = _Nested(option, type(None) in options)
    return found


def _decoded(name: str, value: Any, nested: _Nested | None) -> Any:
    """A field's value; objects become the dataclass that its annotation names, unless they are it."""
    if nested is None or isinstance(value, nested.dataclass) or (value is None and nested.or_null):
        return tupled(value)
    if not isinstance(value, Mapping):
        raise ConfigError(name, got=repr(value), expected=OBJECT)
    return nested.dataclass.from_json(value)
