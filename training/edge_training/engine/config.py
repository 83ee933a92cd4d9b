"""What every training has in common, as a frozen dataclass; a net's own numbers are in a child of it.

As JSON a configuration is one flat object: the entries below, the net's own, and those of the net itself, so
that a published `config.json` is read as it is.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from edge_runtime.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Numbers of the loop. Raises ConfigError that names the entry and the rule."""

    steps: int  # optimiser steps of the whole run
    batch_size: int  # items of one step, over all processes together
    seed: int = 1234
    num_workers: int = 0  # processes that read data, for each training process
    log_every: int = 100  # steps
    checkpoint_every: int = 5000  # steps
    validate_every: int = 1000  # steps
    keep_checkpoints: int = 3  # newest ones; the best is kept beside them
    start_from: str | None = None  # a checkpoint to begin with; what it may be is the net's business
    validation_clips: int | None = None  # last ones by name, never trained on; None: a tenth, at least one

    def __post_init__(self) -> None:
        for name, rule, holds in self._rules():
            if not holds:
                raise ConfigError(name, got=repr(getattr(self, name)), expected=rule)

    def _rules(self) -> Iterator[tuple[str, str, bool]]:
        """(field, what it must be, whether it is); children add theirs."""
        for name in (
            "steps", "batch_size", "log_every", "checkpoint_every", "validate_every", "keep_checkpoints",
        ):  # fmt: skip
            yield name, "a positive whole number", is_whole(getattr(self, name), least=1)
        for name in ("seed", "num_workers"):
            yield name, "a whole number, 0 or more", is_whole(getattr(self, name), least=0)
        yield "start_from", "a path, or null", self.start_from is None or isinstance(self.start_from, str)
        yield (
            "validation_clips",
            "a whole number, 0 or more, or null",
            self.validation_clips is None or is_whole(self.validation_clips, least=0),
        )

    def to_json(self) -> dict[str, Any]:
        """One flat object of plain JSON values; `from_json` gives an equal configuration."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, entries: Mapping[str, Any]) -> Self:
        """The configuration of a flat JSON object; unknown entries are refused by name."""
        raise NotImplementedError

    def net_json(self) -> dict[str, Any]:
        """The `config.json` that lies beside exported weights."""
        raise NotImplementedError


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


def refuse_unknown(entries: Mapping[str, Any], known: set[str]) -> None:
    """ConfigError that names the first unknown entry and the nearest known one."""
    for key in entries:
        if key not in known:
            near = difflib.get_close_matches(key, sorted(known), n=1)
            cause = f"is {near[0]!r} meant?" if near else ""
            raise ConfigError(f"entry {key!r}", got="an unknown entry", expected="a known one", cause=cause)
