"""Runs two artifacts case after case, and lays their outputs beside each other.

How inputs and outputs belong together, and which of several layouts of a picture is the right one, is settled
in the first case.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from edge_export.proof.artifacts.base import Array, Runnable
from edge_export.proof.comparing import hints, layouts
from edge_export.proof.comparing.matching import Matched, check_asked, match_outputs
from edge_export.proof.comparing.result import Row
from edge_runtime.compare import Comparison, compare
from edge_runtime.errors import ConfigError, EdgeError, InputError

ONE_LEVEL = 1.0  # of pictures: bytes cannot be nearer
NOWHERE = "none"  # `--match NAME=none`: an output of the first that the second may lack
# a tolerance that nobody chose must not pass what is no copy: 20 dB, unless the error is float32's own
LEAST_DB, ROUNDING = 20.0, 1e-6


@dataclass(frozen=True)
class Limits:
    """What passes; `source` says where the tolerance comes from."""

    tolerance: float
    source: str
    by_default: bool = False  # pictures then have one of their own
    min_snr_db: float | None = None


@dataclass
class Side:
    """One of the two artifacts while it runs."""

    runnable: Runnable
    state: dict[str, Array] | None
    to_own: dict[str, layouts.Conversion] = field(default_factory=dict)  # input → from the case's layout
    own_names: dict[str, str] = field(default_factory=dict)  # the case's name of an input → its own

    def run(self, values: Mapping[str, Array]) -> dict[str, Any]:
        given = {}
        for name, own in self.own_names.items():
            given[own] = self.to_own.get(name, layouts.SAME).apply(values[name])
        return self.runnable.run(given, self.state)


class Run:
    """Runs case after case; how inputs and outputs belong together is settled in the first."""

    def __init__(
        self,
        sides: Sequence[Side],
        inputs: Matched,
        asked: Mapping[str, str],
        carry: Mapping[str, str],
        limits: Limits,
    ) -> None:
        self._sides = sides
        self._inputs = inputs
        self._asked = asked
        self._carry = carry
        self._limits = limits
        self._outputs: Matched | None = None
        self._carried: list[dict[str, Array]] = [{}, {}]
        self._layouts: dict[str, str] = {}  # input → how the sides get it

    def case(self, name: str, values: dict[str, Array]) -> Iterator[Row]:
        """The rows of one case."""
        try:
            first, second = self._run(values)
        except EdgeError as failure:
            if self._outputs is None:
                raise
            yield Row(name, "-", "FAIL", "", str(failure))
            return
        if self._outputs is None:
            self._outputs = self._match(first, second)
            self._check_carried(first, second)
        self._carry_on(0, first)
        self._carry_on(1, second)
        taken = {pair.b for pair in self._outputs.pairs}
        for pair in self._outputs.pairs:
            label = pair.a if pair.a == pair.b else f"{pair.a} = {pair.b}"
            if pair.a not in first or pair.b not in second:
                yield Row(name, label, "FAIL", pair.how, "one of the artifacts gave no such output this time")
                continue
            others = {other: array for other, array in second.items() if other != pair.b and other in taken}
            yield self._row(name, label, pair.how, first[pair.a], second[pair.b], others)
        for lone in self._outputs.only_a:
            yield self._lone(name, lone, first.get(lone))
        for lone in self._outputs.only_b:
            yield Row(name, lone, "absent", "", "only the second artifact gives it")

    def _lone(self, case: str, name: str, value: Any) -> Row:
        """The row of an output that the second lacks; a classifier's label is in its probabilities."""
        detail = "only the first artifact gives it"
        if isinstance(value, str) or self._asked.get(name) == NOWHERE:
            return Row(case, name, "absent", "", detail)
        return Row(
            case, name, "FAIL", "",
            f"{detail}: --match {name}=NAME_IN_B, or --match {name}={NOWHERE} where B may lack it",
        )  # fmt: skip

    def said(self) -> Iterator[str]:
        """What runs, and how inputs and outputs were matched."""
        for letter, side in zip("AB", self._sides, strict=True):
            yield f"{letter}: {side.runnable.what}, {side.runnable.detail}"
        for kind, matched in (("inputs", self._inputs), ("outputs", self._outputs)):
            if matched is not None:
                yield f"{kind}: {'; '.join(map(str, matched.pairs)) or 'none'}"
                for letter, names in (("A", matched.only_a), ("B", matched.only_b)):
                    if names:
                        yield f"{kind} of {letter} alone: {', '.join(names)}"
        yield from self._layouts.values()
        for name, output in self._carry.items():
            yield f"input {name} is output {output} of the case before"
        levels = f"; pictures: {ONE_LEVEL:g} level of 255" if self._limits.by_default else ""
        yield f"tolerance {self._limits.tolerance:g}: {self._limits.source}{levels}"

    def _run(self, values: dict[str, Array]) -> tuple[dict[str, Any], dict[str, Any]]:
        own = [values | carried for carried in self._carried]
        choices = [self._choices(side, own[n], "AB"[n]) for n, side in enumerate(self._sides)]
        results: dict[int, dict[str, Any]] = {}
        for number in sorted((0, 1), key=lambda n: len(choices[n])):  # the settled one first
            results[number] = self._tried(number, own[number], choices[number], results.get(1 - number))
        return results[0], results[1]

    def _carry_on(self, number: int, outputs: Mapping[str, Any]) -> None:
        """Keep the outputs that are inputs of the next case."""
        for name, output in self._carried_by(number).items():
            if output in outputs:
                self._carried[number][name] = outputs[output]

    def _carried_by(self, number: int) -> dict[str, str]:
        """The case's name of an input → this side's output that it gets."""
        side = self._sides[number]
        named = {theirs: ours for ours, theirs in side.own_names.items()}
        pairs = self._outputs.pairs if self._outputs is not None else ()
        mine = {pair.b: pair.a for pair in pairs} if number == 0 else {pair.a: pair.b for pair in pairs}
        own = {port.name for port in side.runnable.outputs}
        return {
            named.get(name, name): output if output in own else mine.get(output, output)
            for name, output in self._carry.items()
            if name in named or name in side.own_names
        }

    def _check_carried(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
        """ConfigError for an output of ``--carry`` that a side which takes its input does not give."""
        for number, outputs in enumerate((first, second)):
            for name, output in self._carried_by(number).items():
                if output not in outputs:
                    raise ConfigError(
                        "--carry",
                        got=f"{name}={output}",
                        expected=f"INPUT=OUTPUT; outputs of {'AB'[number]} are {', '.join(outputs)}",
                    )

    def _choices(
        self, side: Side, values: Mapping[str, Array], letter: str
    ) -> list[dict[str, layouts.Conversion]]:
        """All ways to give the inputs; more than one only for a picture that is an array to this side."""
        ports = {port.name: port for port in side.runnable.inputs}
        ways: dict[str, list[layouts.Conversion]] = {}
        for name, own in side.own_names.items():
            port, array = ports[own], np.asarray(values[name])
            if (
                array.dtype == np.uint8
                and not port.colour
                and array.ndim in (2, 3)
                and self._is_picture(name)
            ):
                found = layouts.picture_to_array(array, port)
            else:
                way = layouts.SAME if port.colour else layouts.to_port(array, port)
                found = [way] if way is not None else []
            if not found:
                raise InputError(
                    f"input {name} of {side.runnable.what}",
                    got=f"{array.dtype} of shape {array.shape}",
                    expected=port.admitted,
                    cause="no layout fits: not squeezed, not transposed",
                )
            ways[name] = [side.to_own[name]] if name in side.to_own and len(found) > 1 else found
            self._layouts[f"{letter} {name}"] = ""
        return [dict(zip(ways, choice, strict=True)) for choice in itertools.product(*ways.values())]

    def _is_picture(self, name: str) -> bool:
        """Whether an input is a picture to one of the two."""
        for side in self._sides:
            own = side.own_names.get(name)
            if any(port.name == own and port.colour for port in side.runnable.inputs):
                return True
        return False

    def _tried(
        self,
        number: int,
        values: Mapping[str, Array],
        choices: list[dict[str, layouts.Conversion]],
        against: dict[str, Any] | None,
    ) -> dict[str, Any]:
        """The outputs of the way of giving inputs that comes nearest to the other side's outputs."""
        side, letter = self._sides[number], "AB"[number]
        best: tuple[float, dict[str, Any], dict[str, layouts.Conversion]] | None = None
        refused: EdgeError | None = None
        for choice in choices:
            side.to_own = choice
            try:
                outputs = side.run(values)
            except EdgeError as error:
                refused = refused or error
                continue
            far = 0.0
            if against is not None and len(choices) > 1:
                far = self._far(*((against, outputs) if number else (outputs, against)))
            if best is None or far < best[0]:
                best = far, outputs, choice
        if best is None:
            assert refused is not None
            raise refused
        side.to_own = best[2]
        for name, way in best[2].items():
            key = f"{letter} {name}"
            words = f"input {name} of {letter}: {way.words}" if way.words else ""
            if len(choices) > 1 and words and way.words.startswith("the picture"):
                words += f", the nearest of {len(choices)} ways"
            self._layouts[key] = words
        self._layouts = {key: words for key, words in self._layouts.items() if words}
        return best[1]

    def _far(self, first: dict[str, Any], second: dict[str, Any]) -> float:
        matched = self._match(first, second)
        return sum(distance(first[pair.a], second[pair.b]) for pair in matched.pairs)

    def _match(self, first: Mapping[str, Any], second: Mapping[str, Any]) -> Matched:
        inputs = {pair.a for pair in self._inputs.pairs} | set(self._inputs.only_a)
        asked = {mine: theirs for mine, theirs in self._asked.items() if mine not in inputs or mine in first}
        lacking = {mine for mine, theirs in asked.items() if theirs == NOWHERE and theirs not in second}
        check_asked(dict.fromkeys(lacking, NOWHERE), first, (NOWHERE,))
        asked = {mine: theirs for mine, theirs in asked.items() if mine not in lacking}
        first = {name: value for name, value in first.items() if name not in lacking}
        check_asked({mine: theirs for mine, theirs in asked.items() if mine not in inputs}, first, second)
        ports = (self._sides[0].runnable.outputs, self._sides[1].runnable.outputs)
        found = match_outputs(first, second, ports, asked, distance)
        return replace(found, only_a=(*found.only_a, *sorted(lacking)))

    def _row(
        self, case: str, label: str, how: str, truth: Any, judged: Any, others: Mapping[str, Any]
    ) -> Row:
        if isinstance(truth, str) or isinstance(judged, str):  # a classifier's label
            same = str(truth) == str(judged)
            detail = "" if same else f"«{judged}» in place of «{truth}»"
            return Row(case, label, "PASS" if same else "FAIL", how, detail)
        ours, theirs = numbers(truth), numbers(in_one_order(truth, judged))
        limits, tolerance, ways = self._limits, self._limits.tolerance, _readings(ours, theirs)
        if any(_is_shown(array) for array in (ours, theirs)):
            tolerance = ONE_LEVEL if limits.by_default else tolerance
            how = ", ".join(filter(None, (how, "levels of 255")))
        if not ways:
            result = compare(ours, theirs, tolerance=tolerance, min_snr_db=limits.min_snr_db)
            return Row(case, label, "FAIL", how, result.reason, result)
        judged_as = [
            (compare(x, y, tolerance=tolerance, min_snr_db=limits.min_snr_db), words, x, y)
            for words, x, y in ways
        ]
        plain = judged_as[0]
        result, words, x, y = min(judged_as, key=_badness) if plain[1] else plain
        quiet = limits.by_default and limits.min_snr_db is None and result.snr_db < LEAST_DB
        if quiet and result.passed and result.max_abs > ROUNDING:
            reason = (
                f"{result.snr_db:.1f} dB, though max abs {result.max_abs:.3g} is within the default "
                "tolerance: for so quiet an output --tolerance or --min-snr decides"
            )
            result = replace(result, passed=False, reason=reason)
        hint = (
            ""
            if result.passed
            else hints.explain(x, y, tolerance, {k: numbers(v) for k, v in others.items()}, limits.min_snr_db)
        )
        detail = "; ".join(filter(None, (result.reason, hint)))
        return Row(
            case,
            label,
            "PASS" if result.passed else "FAIL",
            ", ".join(filter(None, (how, words))),
            detail,
            result,
        )


def _badness(judged: tuple[Comparison, str, Array, Array]) -> float:
    return judged[0].max_abs if not math.isnan(judged[0].max_abs) else math.inf


def numbers(value: Any) -> Array:
    """An output as an array: probabilities by label in the order in which they come."""
    return (
        np.array([float(each) for each in value.values()])
        if isinstance(value, Mapping)
        else np.asarray(value)
    )


def in_one_order(truth: Any, judged: Any) -> Any:
    """Probabilities by label in the order of the other's labels, where both have the same ones."""
    both = isinstance(truth, Mapping) and isinstance(judged, Mapping)
    return {label: judged[label] for label in truth} if both and set(truth) == set(judged) else judged


def _is_shown(array: Array) -> bool:
    return array.dtype == np.uint8 and array.ndim in (2, 3)


def _readings(truth: Array, judged: Array) -> list[tuple[str, Array, Array]]:
    """Ways to lay the two beside each other, the plain one first and alone where the shapes agree."""
    if truth.shape == judged.shape and _is_shown(truth) == _is_shown(judged):
        return [("", truth, judged)]
    if _is_shown(truth) and not _is_shown(judged):
        return [(way.words, truth, way.apply(judged)) for way in layouts.array_to_picture(judged, truth)]
    if _is_shown(judged) and not _is_shown(truth):
        return [
            (f"A is {way.words}", way.apply(truth), judged) for way in layouts.array_to_picture(truth, judged)
        ]
    return [(way.words, truth, way.apply(judged)) for way in layouts.to_shape(judged, truth.shape)]


def distance(truth: Any, judged: Any) -> float:
    """How far two outputs lie apart, relative to the first's size; infinity where they cannot be compared."""
    if isinstance(truth, str) or isinstance(judged, str):
        return 0.0 if str(truth) == str(judged) else 1e9
    least = math.inf
    for _, ours, theirs in _readings(numbers(truth), numbers(in_one_order(truth, judged))):
        x, y = ours.astype(np.float64), theirs.astype(np.float64)
        size = float(np.sqrt(np.mean(np.square(x)))) or 1.0
        least = min(least, float(np.sqrt(np.mean(np.square(x - y)))) / size)
    return least if math.isfinite(least) else 1e9
