"""Introduced and propagated errors, and the first culprit.

Two runs of the artifact: its own, and one in which every operation reads the reference's values. With r the
reference, y what the artifact computed and f what the operation gave from the reference's inputs:

    introduced  f − r     what this operation did
    propagated  y − f     what was wrong before it
    both        y − r     their sum

An operation whose introduced error lies above the limit is suspect. The first culprit is the suspect that
dominates the most tensors that differ: in the graph of what differs, every way to them leads through it; of
several equal ones the first. Its proof: the net's output where its result is replaced by the reference's, and
nothing else.

A small error may be magnified, as by a logarithm: where the output is wrong and nothing is suspect, the worst
introducers are replaced one by one, and the one that mends the output most is the culprit.

A small error may be magnified, as by a logarithm: where the output is wrong and nothing is suspect, the worst
introducers are replaced one by one, and the one that mends the output most is the culprit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edge_export.proof.bisect.matching import Pair, Pairs, match, reference_inputs, refine
from edge_export.proof.bisect.values import Array, Graph, Recording, Step, cast_like, largest_error, snr_db

SAME_ABOVE_DB = 5.0  # the limit: values that near are the same, so that no such pair can be suspect
TRIED = 10  # introducers whose results are replaced one by one
LEAST_MENDED_DB = 10.0  # by which the output must gain
ROUNDS = 3  # of runs on the reference's inputs; each may pair more tensors


@dataclass(frozen=True)
class Finding:
    """One tensor that is paired, and what happened there."""

    step: Step
    reference: str  # where the reference computed it: operation and line
    introduced_db: float  # signal-to-noise ratios: of the operation on the reference's inputs
    total_db: float  # … and in the artifact's own run
    propagated_db: float  # … of the artifact's run against the operation on the reference's inputs
    introduced_max: float  # largest absolute error that it introduced
    segment: tuple[Step, ...]  # operations between this tensor and the paired ones before it, itself last
    dominated: int = 0  # tensors that differ because of it alone
    repaired_db: float | None = None  # of the net's output with this result replaced, where that was tried

    @property
    def main(self) -> Step:
        """The operation to look at: of those between the tensors that are paired, the last with weights."""
        return next((step for step in reversed(self.segment) if step.weights and step.heavy), self.step)

    @property
    def line(self) -> str:
        """The line of Python that made it, "" where nobody knows."""
        return self.main.line or self.step.line


@dataclass(frozen=True)
class Search:
    """What was found in one artifact on one case."""

    findings: tuple[Finding, ...]  # in the order of computation
    culprit: Finding | None
    suspects: tuple[Finding, ...]  # beyond the limit, in the order of computation
    output_db: float  # of the worst output
    recorded: Mapping[str, Array]  # the artifact's own run
    pairs: Pairs
    steps: int  # floating-point tensors of the artifact
    limit_db: float

    @property
    def differing(self) -> int:
        """Tensors that are beyond the limit, whoever is to blame."""
        return sum(finding.total_db < self.limit_db for finding in self.findings)

    @property
    def worst(self) -> tuple[Finding, ...]:
        """By the error that they introduced, the largest first."""
        return tuple(sorted(self.findings, key=lambda finding: finding.introduced_db))


def search(graph: Graph, inputs: Mapping[str, Array], truth: Recording, limit_db: float) -> Search:
    """Find where an artifact leaves the reference.

    Args:
        graph: the artifact.
        inputs: input name → array (batch, …).
        truth: the reference's recording of the same inputs.
        limit_db: the signal-to-noise ratio below which an operation is suspect.
    """
    recorded = graph.run(inputs)
    pairs = match(graph, recorded, truth)
    forced: dict[str, Array] = {}
    for _ in range(ROUNDS):
        forced = graph.run(inputs, reference_inputs(pairs, recorded))
        # once operations read the right values, shapes need not decide alone
        more = refine(graph, forced, truth, match(graph, forced, truth), limit_db + SAME_ABOVE_DB)
        if {n: id(pair.value) for n, pair in more.items()} == {n: id(p.value) for n, p in pairs.items()}:
            break
        pairs = more
    else:
        forced = graph.run(inputs, reference_inputs(pairs, recorded))
    findings = [_finding(graph, pairs, step, recorded, forced) for step in graph.steps if step.name in pairs]
    suspects = [finding for finding in findings if finding.introduced_db < limit_db]
    differing = [finding.step.name for finding in findings if finding.total_db < limit_db]
    clean = {finding.step.name for finding in findings} - set(differing)
    dominators = _dominators(graph, clean - {finding.step.name for finding in suspects})
    suspects = [_with_dominated(finding, differing, dominators) for finding in suspects]
    output_db = outputs_db(recorded, truth.outputs)
    culprit = max(suspects, key=lambda finding: finding.dominated, default=None)
    if culprit is not None:
        culprit = _repaired(graph, inputs, recorded, pairs, truth, culprit)
    elif output_db < limit_db:
        worst = sorted(findings, key=lambda finding: finding.introduced_db)[:TRIED]
        tried = [_repaired(graph, inputs, recorded, pairs, truth, finding) for finding in worst]
        best = max(tried, key=lambda finding: finding.repaired_db or -math.inf, default=None)
        if best is not None and (best.repaired_db or -math.inf) >= output_db + LEAST_MENDED_DB:
            culprit = _with_dominated(best, differing, dominators)
    return Search(
        tuple(findings), culprit, tuple(suspects), output_db, recorded, pairs, len(graph.steps), limit_db
    )


def _finding(
    graph: Graph, pairs: Pairs, step: Step, recorded: Mapping[str, Array], forced: Mapping[str, Array]
) -> Finding:
    pair, own, alone = pairs[step.name], recorded[step.name], forced[step.name]
    told = " at ".join(filter(None, (pair.value.name or pair.value.kind, pair.value.line)))
    named = Step(
        step.name,
        step.operation,
        step.kind,
        step.path,
        step.reads,
        pair.value.line or step.line,
        step.weights,
    )
    return Finding(
        named,
        told,
        snr_db(pair.array, alone),
        snr_db(pair.array, own),
        snr_db(alone, own),
        largest_error(pair.array, alone),
        (*_segment(graph, pairs, step)[:-1], named),
    )


def _segment(graph: Graph, pairs: Mapping[str, Pair], step: Step) -> tuple[Step, ...]:
    """The step and what it is computed from, back to tensors that are paired."""
    by_name = {each.name: each for each in graph.steps}
    found: dict[str, Step] = {}
    waiting = [step]
    while waiting:
        each = waiting.pop()
        found[each.name] = each
        waiting += [
            by_name[name]
            for name in each.reads
            if name in by_name and name not in pairs and name not in found
        ]
    return tuple(each for each in graph.steps if each.name in found)


def outputs_db(recorded: Mapping[str, Array], outputs: Mapping[str, Array]) -> float:
    """Signal-to-noise ratio of the worst output of a run."""
    values = [
        snr_db(array, recorded[name].reshape(array.shape))
        for name, array in outputs.items()
        if name in recorded and recorded[name].size == array.size
    ]
    return min(values, default=-math.inf)


def _repaired(
    graph: Graph,
    inputs: Mapping[str, Array],
    recorded: Mapping[str, Array],
    pairs: Pairs,
    truth: Recording,
    culprit: Finding,
) -> Finding:
    """The finding with the net's output where only this result is the reference's."""
    name = culprit.step.name
    if name in graph.outputs:  # its readers are outside of the net
        repaired = math.inf
    else:
        values = graph.run(inputs, {name: cast_like(pairs[name].array, recorded[name])})
        repaired = outputs_db(values, truth.outputs)
    return replace(culprit, repaired_db=repaired)


# ---- dominators -------------------------------------------------------------------------------------------


def _dominators(graph: Graph, clean: set[str]) -> dict[str, set[str]]:
    """Step that differs → the steps that every way to it leads through, itself among them.

    ``clean``: tensors that do not differ, and therefore carry no error on; inputs carry none either.
    """
    found: dict[str, set[str]] = {}
    for step in graph.steps:
        if step.name not in clean:
            before = [found[name] for name in step.reads if name in found]
            found[step.name] = (set.intersection(*before) if before else set()) | {step.name}
    return found


def _with_dominated(
    finding: Finding, differing: Sequence[str], dominators: Mapping[str, set[str]]
) -> Finding:
    count = sum(finding.step.name in dominators.get(name, ()) for name in differing)
    return replace(finding, dominated=count)
