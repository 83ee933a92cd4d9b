"""Compares two artifacts that somebody wrote: the same inputs in, every output beside its counterpart.

The first artifact is the reference. Names and shapes are matched, layouts tried; everything that was done to
make the two comparable is said (`Comparing.said`, and `Row.how` of each output), because it is what a port
would have to do as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_export.proof.artifacts import bundle_of, open_runnable
from edge_export.proof.artifacts.base import Port, Runnable
from edge_export.proof.comparing import feeding
from edge_export.proof.comparing.matching import Matched, match_inputs
from edge_export.proof.comparing.result import Comparing, Row, table
from edge_export.proof.comparing.running import Limits, Run, Side
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.store.bundle import Artifact, Bundle

__all__ = ["Comparing", "Row", "compare_artifacts", "table"]

RANDOM = 3  # draws where nobody says on what
TOLERANCE = 1e-3


def compare_artifacts(
    a: str | Path,
    b: str | Path,
    *,
    inputs: str | Path | None = None,
    audio: str | Path | None = None,
    random: int | None = None,
    tolerance: float | None = None,
    min_snr_db: float | None = None,
    match: Mapping[str, str] | None = None,
    carry: Mapping[str, str] | None = None,
    wishes: feeding.Wishes | None = None,
    backends: Sequence[str] = (),
    trust: bool = False,
    progress: Callable[[str], None] = lambda _line: None,
) -> Comparing:
    """Run two artifacts on the same inputs and compare all outputs.

    Args:
        a: the reference: anything that `edge_export.proof.artifacts.open_runnable` opens.
        b: what is judged.
        inputs: an .npz file with an array for each input …
        audio: … or a recording, cut into windows, or its mel where a bundle says how it is made …
        random: … or this number of random draws. Without any: the reference cases of a bundle, else 3 draws.
        tolerance: largest absolute error that passes; None: that of a bundle's manifest, 1 level of a
            picture's 255, else 1e-3.
        min_snr_db: least signal-to-noise ratio that passes.
        match: name in the first → name in the second, of inputs and outputs.
        carry: input → output that it gets from the case before, by names of either artifact; zeros at first.
        wishes: values of inputs, lengths of axes, the sample rate.
        backends, trust: see `open_runnable`.
        progress: called with one line before each case.

    Raises:
        EdgeError: an artifact that cannot be opened or run, inputs that do not fit.
    """
    if sum(value is not None for value in (inputs, audio, random)) > 1:
        raise ConfigError("inputs", got="several", expected="one of --inputs, --audio and --random")
    if random is not None:
        feeding.check_draws(random)
    if audio is None and wishes is not None and wishes.rate is not None:
        raise ConfigError("--rate", got=str(wishes.rate), expected="--audio FILE with it")
    sides = [Side(opened, opened.new_state() or None) for opened in _opened(a, b, backends, trust)]
    asked = dict(match or {})
    ports = [side.runnable.inputs for side in sides]
    matched = match_inputs(
        ports[0], ports[1], {x: y for x, y in asked.items() if x in {port.name for port in ports[0]}}
    )
    items = _items(sides, matched)
    feeding.check_lengths(items, wishes or feeding.Wishes())
    bundles = [found for found in (bundle_of(a), bundle_of(b)) if found is not None]
    wanted = _wanted(bundles, items, wishes or feeding.Wishes(), carry or {}, sides)
    comparing = Run(sides, matched, asked, carry or {}, _limits(bundles, tolerance, min_snr_db))
    rows: list[Row] = []
    for case, values in _cases(bundles, items, wanted, inputs, audio, random):
        progress(f"case {case}")
        rows.extend(comparing.case(case, values))
    return Comparing(str(a), str(b), tuple(comparing.said()), tuple(rows))


def _opened(a: str | Path, b: str | Path, backends: Sequence[str], trust: bool) -> tuple[Runnable, Runnable]:
    first = open_runnable(a, backends=backends, trust=trust)
    return first, open_runnable(b, backends=backends, trust=trust)


# inputs ----------------------------------------------------------------------------------------------------


def _items(sides: Sequence[Side], matched: Matched) -> list[feeding.Input]:
    """All inputs, those of both first; a picture's own layout, or the declared one, is the case's."""
    ports = [{port.name: port for port in side.runnable.inputs} for side in sides]
    items = []
    for pair in matched.pairs:
        both = sorted(
            (ports[0][pair.a], ports[1][pair.b]), key=lambda port: (not port.colour, _unknown(port))
        )
        items.append(feeding.Input(pair.a, tuple(both)))
        sides[0].own_names[pair.a], sides[1].own_names[pair.a] = pair.a, pair.b
    for side, names, known in zip(sides, (matched.only_a, matched.only_b), ports, strict=True):
        for name in names:
            free = name if all(item.name != name for item in items) else f"{name} of the second"
            items.append(feeding.Input(free, (known[name],)))
            side.own_names[free] = name
    return items


def _unknown(port: Port) -> bool:
    return port.shape is None and not port.only and not port.ranges


_Found = tuple[Bundle, Artifact | None]  # a bundle, and the artifact in it where that was named


def _wanted(
    bundles: Sequence[_Found],
    items: Sequence[feeding.Input],
    wishes: feeding.Wishes,
    carry: Mapping[str, str],
    sides: Sequence[Side],
) -> feeding.Wishes:
    """The wishes with what the bundles know, and zeros where a carried state begins."""
    begun = {
        name: 0
        for item in items
        for name in (item.name,)
        if {item.name, *(port.name for port in item.ports)} & set(carry) and item.name not in wishes.given
    }
    front_end = wishes.front_end
    for bundle, _ in bundles:
        front_end = front_end or bundle.manifest.front_end
    known = {name for side in sides for name in side.own_names.values()}
    if wrong := sorted(set(carry) - known):
        raise ConfigError(
            "--carry", got=wrong[0], expected=f"INPUT=OUTPUT; inputs are {', '.join(sorted(known))}"
        )
    stateful = bool(carry) or any(side.state is not None for side in sides)
    return replace(
        wishes,
        given={**begun, **wishes.given},
        front_end=front_end,
        in_sequence=wishes.in_sequence or stateful,
    )


def _cases(
    bundles: Sequence[_Found],
    items: Sequence[feeding.Input],
    wishes: feeding.Wishes,
    inputs: str | Path | None,
    audio: str | Path | None,
    random: int | None,
) -> Iterable[feeding.Case]:
    if inputs is not None:
        return feeding.from_file(inputs, items, wishes)
    if audio is not None:
        return feeding.from_sound(audio, items, wishes)
    if random is None and bundles:
        if wishes.lengths:
            raise ConfigError(
                "--axis", got=next(iter(wishes.lengths)), expected="--random N or --audio FILE with it",
                cause="the cases of a bundle have their own lengths",
            )  # fmt: skip
        return _stored(bundles[0][0], items, wishes.given)
    return feeding.at_random(random or RANDOM, items, wishes)


def _stored(
    bundle: Bundle, items: Sequence[feeding.Input], given: Mapping[str, Any]
) -> Iterator[feeding.Case]:
    """The reference cases of a bundle; only their inputs are used."""
    for case in bundle.cases:
        arrays, _ = bundle.reference(case)
        values = {}
        for item in items:
            names = [name for name in (item.name, *(port.name for port in item.ports)) if name in arrays]
            if not names:
                raise InputError(
                    f"{bundle.path}: case {case}", got=", ".join(arrays), expected=f"a value of {item.name}",
                    cause="give inputs by --inputs, --audio or --random",
                )  # fmt: skip
            values[item.name] = arrays[names[0]]
            for name in (item.name, *(port.name for port in item.ports)):
                if name in given:
                    value = np.asarray(given[name], arrays[names[0]].dtype)
                    values[item.name] = value if value.ndim else np.full_like(arrays[names[0]], value)
        yield case, values


def _limits(bundles: Sequence[_Found], given: float | None, min_snr_db: float | None) -> Limits:
    """The tolerance as asked, or of a bundle's manifest, the larger of two; or the default."""
    if given is not None:
        if not 0 <= given < math.inf:
            raise ConfigError("--tolerance", got=str(given), expected="a finite number of at least 0")
        return Limits(given, "as asked", min_snr_db=min_snr_db)
    found = []
    for bundle, artifact in bundles:
        precision = (artifact or bundle.manifest.artifacts[0]).precision
        limit = bundle.manifest.tolerance[precision]
        least = limit.min_snr_db if min_snr_db is None else min_snr_db
        words = f" and at least {least:g} dB" if least is not None else ""
        found.append(
            Limits(limit.max_abs, f"that of {precision} in {bundle.path.name}{words}", min_snr_db=least)
        )
    if found:
        return max(found, key=lambda limits: limits.tolerance)
    return Limits(TOLERANCE, "the default", by_default=True, min_snr_db=min_snr_db)
