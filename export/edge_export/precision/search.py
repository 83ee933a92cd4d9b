"""The cheapest mix of formats within a budget.

    damage      each layer alone in each format: the noise that it adds to the output
    path        from all layers at their finest, one step at a time the one that saves the most bytes for its
                noise (noises of layers add, as they are nearly independent), to all at their coarsest
    bisection   of the path, judged by ear: the furthest mix within the budget

Mixes in which all layers share a format are judged too, to show what the search is worth; the cheapest mix
within the budget of all that were judged wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_export.precision.formats import Array, Format, bytes_of, smaller
from edge_export.precision.quality import Budget, Probe, Quality
from edge_export.precision.rounding import Rounded

Formats = dict[str, Format]
TINY = 1e-12  # noise below which a step is free
POINTS = 6  # of the path that are judged for the table, beside those of the bisection


@dataclass(frozen=True)
class Mix:
    """Formats of all layers, and what that costs and gives."""

    name: str
    formats: Formats
    bytes: int  # of all weights
    quality: Quality
    fits: bool  # the budget

    @property
    def counts(self) -> dict[str, int]:
        """Format → how many layers have it."""
        kinds = list(self.formats.values())
        return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


class Search:
    """A search in one net.

    Args:
        net: runs it with formats.
        known: formats that layers may have, from fine to coarse.
        probe: what to judge on.
        budget: what must be kept.
        other_bytes: of parameters that are no layer's weight.
        progress: called with a line before each step.
    """

    def __init__(
        self,
        net: Rounded,
        known: Sequence[Format],
        probe: Probe,
        budget: Budget,
        other_bytes: int,
        progress: Callable[[str], object] = lambda _line: None,
    ) -> None:
        self._net, self._known, self._probe, self._budget = net, tuple(known), probe, budget
        self._other, self._progress = other_bytes, progress
        self._truth: Mapping[str, Array] = {}
        self.plain = Quality(np.inf, 1.0)  # of the float32 net
        self.mixes: list[Mix] = []

    def run(self, truth: Mapping[str, Array]) -> Mix | None:
        """The cheapest mix within the budget, None where not even the finest keeps it.

        Args:
            truth: outputs of the float32 net on the probe's whole inputs.
        """
        self._truth = truth
        self.plain = self._probe.judged(truth, truth)
        path = self.path(self.damage())
        for kind in self._known:
            self.judge(f"all {kind}", self.uniform(kind))
        self._bisect(path)
        for step in np.linspace(0, len(path) - 1, POINTS).round().astype(int)[1:-1]:
            self.judge(f"step {step} of {len(path) - 1}", path[step])
        fitting = [mix for mix in self.mixes if mix.fits]
        return min(fitting, key=lambda mix: (mix.bytes, -mix.quality.snr), default=None)

    def uniform(self, kind: Format) -> Formats:
        """All layers in one format, but those in islands."""
        return {path: "float32" if self._net.in_island(path) else kind for path in self._net.layers}

    def damage(self) -> dict[str, dict[Format, float]]:
        """Layer → format → noise that it adds alone, as a share of the output's energy."""
        base = self.uniform(self._known[0])
        still = self._net.run(self._probe.short, base)
        energy = sum(float(np.sum(np.square(array, dtype=np.float64))) for array in still.values()) or 1.0
        found: dict[str, dict[Format, float]] = {}
        free = [path for path in self._net.layers if not self._net.in_island(path)]
        for number, path in enumerate(free, 1):
            self._progress(f"damage of layer {number} of {len(free)}: {path}")
            found[path] = {}
            for kind in self._known[1:]:
                made = self._net.run(self._probe.short, base | {path: kind})
                noise = sum(float(np.sum(np.square(made[n].astype(np.float64) - still[n]))) for n in still)
                found[path][kind] = noise / energy if np.isfinite(noise) else np.inf
        return found

    def path(self, damage: Mapping[str, Mapping[Format, float]]) -> list[Formats]:
        """Mixes from the finest to the coarsest, one step apart."""
        formats = self.uniform(self._known[0])
        mixes = [dict(formats)]
        while steps := self._steps(formats, damage):
            _, path, kind = max(steps)
            formats[path] = kind
            mixes.append(dict(formats))
        return mixes

    def _steps(
        self, formats: Formats, damage: Mapping[str, Mapping[Format, float]]
    ) -> list[tuple[float, str, Format]]:
        """Every possible next step: (bytes saved for its noise, layer, format)."""
        steps = []
        for path, noises in damage.items():
            now = formats[path]
            for kind in smaller(now, self._known):
                saved = self._bytes(path, now) - self._bytes(path, kind)
                added = noises[kind] - noises.get(now, 0.0)
                if saved > 0:
                    steps.append((saved / max(added, TINY), path, kind))
        return steps

    def _bytes(self, path: str, kind: Format) -> int:
        return bytes_of(self._net.weights[path], kind, self._net.axis(path))

    def judge(self, name: str, formats: Formats) -> Mix:
        """A mix with its figures; judged once."""
        for mix in self.mixes:
            if mix.formats == formats:
                return mix
        self._progress(f"judging {name}")
        made = self._net.run(self._probe.whole, formats)
        quality = self._probe.judged(self._truth, made)
        total = self._other + sum(self._bytes(path, kind) for path, kind in formats.items())
        mix = Mix(name, dict(formats), total, quality, quality.within(self._budget, self.plain))
        self.mixes.append(mix)
        return mix

    def _bisect(self, path: Sequence[Formats]) -> None:
        """Judge the path where the budget ends."""
        low, high = 0, len(path) - 1
        if not self.judge(f"all {self._known[0]}", path[0]).fits:
            return
        if self.judge(f"step {high} of {high}", path[high]).fits:
            return
        while high - low > 1:
            middle = (low + high) // 2
            if self.judge(f"step {middle} of {len(path) - 1}", path[middle]).fits:
                low = middle
            else:
                high = middle


def pareto(mixes: Sequence[Mix]) -> list[Mix]:
    """The mixes that no other beats in both bytes and signal-to-noise ratio, the largest first."""
    ordered = sorted(mixes, key=lambda mix: (mix.bytes, -mix.quality.snr))
    front: list[Mix] = []
    for mix in ordered:
        if not front or mix.quality.snr > front[-1].quality.snr:
            front.append(mix)
    return front[::-1]
