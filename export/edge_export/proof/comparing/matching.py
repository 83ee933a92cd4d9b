"""Which input or output of one artifact is which of another: by name, then by shape, then by what is in them.

Every pair says how it was found. Pairing by values is the last resort and is said as such: it cannot tell two
outputs that were exchanged from two that were only renamed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from edge_export.proof.artifacts.base import Axis, Port
from edge_runtime.errors import ConfigError

MOST_PERMUTED = 6  # outputs of one shape whose pairings are all tried
_PREFIXES = re.compile(r"^(serving_default_|statefulpartitionedcall_?)")


@dataclass(frozen=True)
class Pair:
    """Names of one tensor in both artifacts; `how` they were found, "" where both have one name."""

    a: str
    b: str
    how: str = ""

    def __str__(self) -> str:
        return self.a if self.a == self.b else f"{self.a} = {self.b}" + (f" ({self.how})" if self.how else "")


@dataclass(frozen=True)
class Matched:
    """The pairs, and the names that have no counterpart."""

    pairs: tuple[Pair, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]


def match_inputs(a: Sequence[Port], b: Sequence[Port], asked: Mapping[str, str]) -> Matched:
    """Pair the inputs of two artifacts: as asked, by name, by the only shapes that fit, in order.

    Raises:
        ConfigError: a name in `asked` that neither has.
    """
    pairs, left, right = _by_name(a, b, asked)
    pairs += _by_key(left, right, _alike, "the only ones with such a shape")
    if len(left) == len(right):
        pairs += [Pair(x.name, y.name, "in order") for x, y in zip(left, right, strict=True) if _may_be(x, y)]
        done = {pair.a for pair in pairs}, {pair.b for pair in pairs}
        left[:] = [port for port in left if port.name not in done[0]]
        right[:] = [port for port in right if port.name not in done[1]]
    return _matched(pairs, left, right)


def match_outputs(
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    ports: tuple[Sequence[Port], Sequence[Port]],
    asked: Mapping[str, str],
    distance: Callable[[Any, Any], float],
) -> Matched:
    """Pair what two artifacts gave: as asked, by name, by shape, and among equal shapes by values."""
    mine, theirs = (_described(values, known) for values, known in zip((a, b), ports, strict=True))
    pairs, left, right = _by_name(mine, theirs, asked)
    pairs += _by_key(left, right, _alike, "the only ones with such a shape")
    for size in sorted({_lengths(port.shape) for port in left}):
        ours = [port for port in left if _lengths(port.shape) == size]
        others = [port for port in right if _lengths(port.shape) == size]
        found = _by_values(ours, others, a, b, distance)
        pairs += found
        left[:] = [port for port in left if port.name not in {pair.a for pair in found}]
        right[:] = [port for port in right if port.name not in {pair.b for pair in found}]
    if len(left) == len(right) == 1:  # of another shape: the comparison says so
        pairs.append(Pair(left.pop().name, right.pop().name, "the only ones left"))
    return _matched(pairs, left, right)


def plain_name(name: str) -> str:
    """A name without what converters add to it: serving_default_input_2:0 is input_2.

    >>> plain_name("serving_default_Mel:0")
    'mel'
    """
    return re.sub(r"[^a-z0-9]+", "_", _PREFIXES.sub("", re.sub(r":\d+$", "", name.lower()))).strip("_")


def _described(values: Mapping[str, Any], ports: Sequence[Port]) -> list[Port]:
    known = {port.name: port for port in ports}
    return [
        Port(
            name,
            str(getattr(value, "dtype", "")),
            (len(value),) if isinstance(value, Mapping) else np.shape(value),
            aliases=known[name].aliases if name in known else (),
        )
        for name, value in values.items()
    ]


def _by_name(
    a: Sequence[Port], b: Sequence[Port], asked: Mapping[str, str]
) -> tuple[list[Pair], list[Port], list[Port]]:
    left, right = list(a), list(b)
    pairs = []
    for mine, theirs in asked.items():
        if mine in {port.name for port in left} and theirs in {port.name for port in right}:
            pairs.append(Pair(mine, theirs, "as asked"))
            left = [port for port in left if port.name != mine]
            right = [port for port in right if port.name != theirs]
    for how, names in (("", _exact), ("by name", _exact_or_alias), ("by name", _plain)):
        pairs += _by_key(left, right, names, how)
    return pairs, left, right


def _exact(port: Port) -> set[Any]:
    return {port.name}


def _exact_or_alias(port: Port) -> set[Any]:
    return {port.name, *port.aliases}


def _plain(port: Port) -> set[Any]:
    return {plain_name(name) for name in (port.name, *port.aliases)} - {""}


def _alike(port: Port) -> set[Any]:
    return set() if port.shape is None else {_lengths(port.shape)}


def _lengths(shape: Sequence[Axis] | None) -> tuple[int, ...]:
    """The fixed lengths but ones, sorted: what transposing and squeezing leave as it is."""
    return tuple(sorted(axis for axis in shape or () if isinstance(axis, int) and axis != 1))


def _by_key(left: list[Port], right: list[Port], keys: Callable[[Port], set[Any]], how: str) -> list[Pair]:
    """Pairs that share a key which no other has; they are taken out of both lists."""
    pairs = []
    for mine in list(left):
        rivals = [port for port in left if keys(port) & keys(mine)]
        found = [port for port in right if keys(port) & keys(mine)]
        if len(found) == 1 == len(rivals):
            pairs.append(Pair(mine.name, found[0].name, how))
            left.remove(mine)
            right.remove(found[0])
    return pairs


def _may_be(a: Port, b: Port) -> bool:
    if a.shape is None or b.shape is None:
        return True
    whole = [port.dtype.startswith(("int", "uint")) and not port.colour for port in (a, b)]
    return whole[0] == whole[1]


def _by_values(
    ours: list[Port],
    others: list[Port],
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    distance: Callable[[Any, Any], float],
) -> list[Pair]:
    """The pairing of outputs of one shape that differs least in all."""
    if not ours or len(ours) != len(others) or len(ours) > MOST_PERMUTED:
        return []
    table = {(x.name, y.name): distance(a[x.name], b[y.name]) for x in ours for y in others}

    def total(order: Iterable[Port]) -> float:
        return sum(table[x.name, y.name] for x, y in zip(ours, order, strict=True))

    best = min(permutations(others), key=total)
    how = "by values" if len(ours) > 1 else "the only ones with such a shape"
    return [Pair(x.name, y.name, how) for x, y in zip(ours, best, strict=True)]


def _matched(pairs: list[Pair], left: Sequence[Port], right: Sequence[Port]) -> Matched:
    return Matched(tuple(pairs), tuple(port.name for port in left), tuple(port.name for port in right))


def check_asked(asked: Mapping[str, str], a: Iterable[str], b: Iterable[str]) -> None:
    """ConfigError for a name of ``--match`` that an artifact does not have."""
    for mine, theirs in asked.items():
        for name, known in ((mine, list(a)), (theirs, list(b))):
            if name not in known:
                raise ConfigError(
                    "--match",
                    got=f"{mine}={theirs}",
                    expected=f"NAME_OF_A=NAME_OF_B; {name} is none of {', '.join(known)}",
                )
