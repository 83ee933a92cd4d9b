"""Which tensor of an artifact is which of the reference.

In this order, each tensor at most once:

    1  outputs of the net, by name
    2  operations of one kind in one module, in their order; where their numbers differ, as many as can be
       aligned by shape
    3  outputs of a module: the only tensor that leaves it
    4  values: what an operation gave from the reference's inputs equals a value that is not paired yet

Only tensors of several values are paired. Where the axes differ, the reference is laid out as the artifact
has it (`values.laid_out`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from edge_export.proof.bisect.kinds import COPIES
from edge_export.proof.bisect.values import (
    Array,
    Graph,
    Recording,
    Step,
    Value,
    bare,
    cast_like,
    laid_out,
    snr_db,
)

SMALLEST = 8  # values of a tensor that is paired; smaller ones are shapes and factors
LEAST_GAIN_DB = 20.0  # by which another value of the group must be nearer to replace the one in order


@dataclass(frozen=True)
class Pair:
    """A tensor of the artifact and the reference's value for it."""

    step: Step
    value: Value
    array: Array  # the reference in the artifact's axes


Pairs = dict[str, Pair]


def match(graph: Graph, recorded: Mapping[str, Array], truth: Recording) -> Pairs:
    """Pair the steps of a graph with the reference's values.

    Args:
        graph, recorded: the artifact, and what it computed.
        truth: of the same inputs.
    """
    pairs: Pairs = {}
    steps = [step for step in graph.steps if step.name in recorded and recorded[step.name].size >= SMALLEST]
    by_name = {step.name: step for step in steps}
    used: set[int] = set()
    for name, array in truth.outputs.items():
        if name in by_name:
            _pair(pairs, by_name[name], Value("", "output", array, name=name), recorded)
    for key, group in _groups(steps).items():
        values = [value for value in truth.values if (value.path, value.kind) == key and _large(value)]
        _pair_group(pairs, group, values, recorded, used)
    for path, step in _module_outputs(graph, by_name).items():
        if path in truth.modules and step.name not in pairs:
            _pair(pairs, step, truth.modules[path], recorded)
    return pairs


def refine(
    graph: Graph, forced: Mapping[str, Array], truth: Recording, pairs: Pairs, same_db: float
) -> Pairs:
    """Pairs that the values of a run on the reference's inputs add, and groups whose order they correct.

    ``same_db``: the signal-to-noise ratio from which values are the same, above that of suspects.
    """
    refined = dict(pairs)
    taken = {id(pair.value) for pair in pairs.values()}
    left = [value for value in truth.values if id(value) not in taken and _large(value)]
    by_size: dict[tuple[int, ...], list[Value]] = defaultdict(list)
    for value in left:
        by_size[tuple(sorted(bare(value.array.shape)))].append(value)
    for step in graph.steps:
        made = forced.get(step.name)
        if made is None or made.size < SMALLEST:
            continue
        old = pairs.get(step.name)
        now = snr_db(old.array, made) if old else same_db - LEAST_GAIN_DB
        if now >= same_db:
            continue
        best = _nearest(made, by_size[tuple(sorted(bare(made.shape)))], step)
        if best is not None and best[0] >= max(same_db, now + LEAST_GAIN_DB) and not _is_output(old):
            refined[step.name] = Pair(step, best[1], best[2])
    return refined


def _is_output(pair: Pair | None) -> bool:
    return pair is not None and pair.value.kind == "output" and not pair.value.path


def _nearest(made: Array, values: Iterable[Value], step: Step) -> tuple[float, Value, Array] | None:
    """The value nearest to an array; of the step's own module where several are equally near."""
    found: tuple[float, Value, Array] | None = None
    for value in values:
        array = laid_out(value.array, made)
        if array is None:
            continue
        score = snr_db(array, made)
        if found is None or (score, value.path == step.path) > (found[0], found[1].path == step.path):
            found = (score, value, array)
    return found


def _large(value: Value) -> bool:
    return value.kind != COPIES and value.array.size >= SMALLEST


def _groups(steps: Sequence[Step]) -> dict[tuple[str, str], list[Step]]:
    groups: dict[tuple[str, str], list[Step]] = defaultdict(list)
    for step in steps:
        if step.kind != COPIES:
            groups[step.path, step.kind].append(step)
    return groups


def _pair(pairs: Pairs, step: Step, value: Value, recorded: Mapping[str, Array]) -> bool:
    array = laid_out(value.array, recorded[step.name])
    if array is not None:
        pairs[step.name] = Pair(step, value, array)
    return array is not None


def _pair_group(
    pairs: Pairs, steps: list[Step], values: list[Value], recorded: Mapping[str, Array], used: set[int]
) -> None:
    values = [value for value in values if id(value) not in used]
    if len(steps) != len(values):
        steps, values = _aligned(steps, values, recorded)
    for step, value in zip(steps, values, strict=True):
        if step.name not in pairs and _pair(pairs, step, value, recorded):
            used.add(id(value))


def _aligned(
    steps: list[Step], values: list[Value], recorded: Mapping[str, Array]
) -> tuple[list[Step], list[Value]]:
    """The longest common subsequence by shape; of several such, the one whose values are nearest."""
    scores = [[0.0] * (len(values) + 1) for _ in range(len(steps) + 1)]
    near = [[_score(recorded[step.name], value.array) for value in values] for step in steps]
    for i in range(len(steps) - 1, -1, -1):
        for j in range(len(values) - 1, -1, -1):
            both = near[i][j] + scores[i + 1][j + 1] if near[i][j] else 0.0
            scores[i][j] = max(both, scores[i + 1][j], scores[i][j + 1])
    kept_steps, kept_values, i, j = [], [], 0, 0
    while i < len(steps) and j < len(values):
        if near[i][j] and scores[i][j] == near[i][j] + scores[i + 1][j + 1]:
            kept_steps.append(steps[i])
            kept_values.append(values[j])
            i, j = i + 1, j + 1
        elif scores[i][j] == scores[i + 1][j]:
            i += 1
        else:
            j += 1
    return kept_steps, kept_values


def _score(array: Array, reference: Array) -> float:
    """0 for shapes that do not fit, 1 for those that do, up to 2 where the values agree too."""
    laid = laid_out(reference, array)
    return 0.0 if laid is None else 1.0 + min(max(snr_db(laid, array), 0.0), 100.0) / 100.0


def _module_outputs(graph: Graph, by_name: Mapping[str, Step]) -> dict[str, Step]:
    """Module → the only tensor that is computed inside of it and read outside of it."""
    readers: dict[str, list[str]] = defaultdict(list)
    for step in graph.steps:
        for name in step.reads:
            readers[name].append(step.path)
    leaving: dict[str, list[Step]] = defaultdict(list)
    for step in graph.steps:
        parts = step.path.split(".") if step.path else []
        for length in range(1, len(parts) + 1):
            path = ".".join(parts[:length])
            inside = [reader == path or reader.startswith(f"{path}.") for reader in readers[step.name]]
            if not all(inside) or not inside:
                leaving[path].append(step)
    return {path: steps[0] for path, steps in leaving.items() if len(steps) == 1 and steps[0].name in by_name}


def reference_inputs(pairs: Pairs, recorded: Mapping[str, Array]) -> dict[str, Array]:
    """What readers of paired tensors get in a run on the reference's inputs."""
    return {name: cast_like(pair.array, recorded[name]) for name, pair in pairs.items()}
