"""What was saved → the weights of one net, wherever in it they lie.

Every tensor gets a dotted name, whether a dict, a module or a prefix of its key stands before it. A net is
found under any name whose tensors look like it (`recognition`), so wrappers (`module.`, `_orig_mod.`,
`state_dict`, `model_g.`, in any order) need no list. Where several are found, averaged and live weights are
told apart by their names; anything else is refused with the names to choose from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_runtime.errors import CheckpointError, shown
from edge_training.weights.arrays import stored_array
from edge_training.weights.containers import refusal
from edge_training.weights.pickles import StandIn, Stored
from edge_training.weights.recognition import AUXILIARY, recognise

DEEPEST, LONGEST = 32, 512  # levels; characters of a name
NAMED = 3  # names that a sentence has before it counts the rest
# taken off where no known net is found: what training tools put in front
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "generator",
    "audio_encoder",
    "model",
    "net",
    "module",
    "_orig_mod",
)
_AVERAGED = re.compile(r"(^|_)(ema|emas|averaged?|avg|swa|polyak|shadow)(_|\d|$)|^ema|ema$", re.IGNORECASE)
# what torch puts around modules inside of a net: compiled, sharded, checkpointed or data-parallel ones
_INSIDE = re.compile(
    r"\.(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|_module|module)(?=\.)"
)
_FOR_INFERENCE = re.compile(r"(?=.*(ema|averag|swa))(?=.*(infer|eval|sampl|generat|valid))", re.IGNORECASE)
_LIVE_BESIDE = "current_model_state"  # Lightning's averaging keeps live weights there, averaged in state_dict


@dataclass(frozen=True)
class Tensors:
    """All tensors of a file by dotted name, and what else of it matters."""

    stored: Mapping[str, Stored]
    levels: frozenset[str]  # dotted names of dicts and modules
    scalars: Mapping[str, Any]  # of names that speak of averages
    objects: tuple[str, ...]  # classes and functions of what was left unmade
    modules: tuple[str, ...]  # classes of whole modules
    other: tuple[tuple[str, object], ...]  # entries of the outermost state that are no tensors


@dataclass(frozen=True)
class Candidate:
    """A net that was found under a name, "" for the whole file."""

    name: str
    net: str
    beside: frozenset[str] = frozenset()  # names in it of discriminators and the like

    @property
    def part(self) -> str:
        return f"{self.name}." if self.name else ""

    def holds(self, key: str) -> bool:
        """Whether a tensor is one of its weights."""
        own = key.removeprefix(self.part)
        return key.startswith(self.part) and own.partition(".")[0] not in self.beside


@dataclass(frozen=True)
class Selection:
    """The weights of one net, and how they were found."""

    stored: dict[str, Stored]
    notes: list[str] = field(default_factory=list)  # for the format
    said: list[str] = field(default_factory=list)  # inferences, with their reasons


def flatten(saved: object) -> Tensors:
    """Dotted names for all tensors; containers that are met again (in themselves, too) are passed by."""
    stored, scalars, levels = dict[str, Stored](), dict[str, Any](), set[str]()
    objects, modules, other = dict[str, None](), dict[str, None](), list[tuple[str, object]]()
    seen, queue = set[int](), [("", saved, 0)]
    for name, box, depth in queue:
        if isinstance(box, Stored):
            stored.setdefault(name, box)
            continue
        if not isinstance(box, dict | list | tuple | StandIn) or id(box) in seen or depth > DEEPEST:
            if _FOR_INFERENCE.search(name) and isinstance(box, bool | str | int):
                scalars[name] = box
            if depth == 1:
                other.append((name, box))
            continue
        seen.add(id(box))
        if isinstance(box, StandIn):
            if (array := stored_array(box)) is not None:
                stored.setdefault(name, array)
                continue
            module = _module_parts(box)
            (objects if module is None else modules).setdefault(box.of)
        if depth:
            levels.add(name)
        for key, value in _entries(box):
            inner = f"{name}.{key}" if name else key
            if len(inner) <= LONGEST:
                queue.append((inner, value, depth + 1))
    return Tensors(stored, frozenset(levels), scalars, tuple(objects), tuple(modules), tuple(other))


def _entries(box: dict[Any, Any] | list[Any] | tuple[Any, ...] | StandIn) -> Iterator[tuple[str, Any]]:
    if isinstance(box, StandIn):
        module = _module_parts(box)
        box = module if module is not None else box.state if isinstance(box.state, dict) else {}
    if isinstance(box, dict):
        # the states of optimisers have numbers for keys
        yield from ((key, value) for key, value in box.items() if isinstance(key, str))
    else:
        yield from ((str(place), value) for place, value in enumerate(box))


def _module_parts(box: StandIn) -> dict[str, Any] | None:
    """Parameters, buffers and modules of a whole saved module; None for any other object."""
    state = box.state
    if not isinstance(state, dict) or not all(isinstance(state.get(n), dict) for n in _MODULE):
        return None
    passing = state.get("_non_persistent_buffers_set")
    left_out = set(_names(passing.items + list(passing.arguments))) if isinstance(passing, StandIn) else set()
    parts = {key: value for name in _MODULE for key, value in state[name].items()}
    return {key: value for key, value in parts.items() if key not in left_out}


_MODULE = ("_parameters", "_buffers", "_modules")


def _names(items: Sequence[Any]) -> Iterator[str]:
    for item in items:
        if isinstance(item, str):
            yield item
        elif isinstance(item, list | tuple):
            yield from (name for name in item if isinstance(name, str))


# ---- the nets of a file -----------------------------------------------------------------------------------


def find_nets(tensors: Mapping[str, Stored]) -> list[Candidate]:
    """Every net in a file, outer ones first; what lies in a net that we do not have is not looked at."""
    found: list[Candidate] = []
    groups: list[tuple[str, list[str], int]] = [("", list(tensors), 0)]
    for name, keys, depth in groups:
        inner: dict[str, list[str]] = {}
        for key in keys:
            first, dot, rest = key.partition(".")
            if dot:
                inner.setdefault(first, []).append(rest)
        beside = {first for first, rest in inner.items() if recognise(rest) in AUXILIARY}
        net = recognise([_unwrapped_inside(key) for key in keys if key.partition(".")[0] not in beside])
        if net is not None:
            found.append(Candidate(name, net, frozenset(beside)))
        if depth < DEEPEST and (net is None or net in AUXILIARY):
            groups += [
                (f"{name}.{first}" if name else first, rest, depth + 1) for first, rest in inner.items()
            ]
    return found


def select(saved: object, net: str | None = None, weights: str | None = None) -> Selection:
    """The weights of a net (of any that we know, where none is said) in what was saved.

    Args:
        saved: of `containers.open_weights`.
        net: its name in the catalogue.
        weights: "ema" for averaged, "live" for those of training, or the name in front of a set.

    Raises:
        CheckpointError: no weights; several sets and no way to tell which.
    """
    if not isinstance(saved, dict | list | tuple | StandIn):
        raise refusal(f"a saved object of type {_type(saved)}", "save the module's state_dict()")
    tensors = flatten(saved)
    if not tensors.stored:
        raise _no_weights(saved, tensors)
    candidates = find_nets(tensors.stored)
    own = [c for c in candidates if c.net not in AUXILIARY]
    wanted = [c for c in own if c.net == net] or (own if net is None else own[:1])
    said = _objects_said(tensors)
    if not wanted:
        return _unknown(saved, tensors, candidates, said, weights)
    chosen = _choose(wanted, tensors, weights, said)
    stored = {key.removeprefix(chosen.part): s for key, s in tensors.stored.items() if chosen.holds(key)}
    notes = _wrappers(chosen.name, tensors.levels)
    plain = {_unwrapped_inside(key): tensor for key, tensor in stored.items()}
    if plain.keys() != stored.keys() and len(plain) == len(stored):
        notes.append("wrappers inside taken off")
        stored = plain
    beside = [key for key in tensors.stored if not chosen.holds(key)]
    if beside:
        notes.append(f"beside {several(_tops(beside, chosen.name))}")
    return Selection(stored, notes, said)


def _choose(wanted: list[Candidate], tensors: Tensors, weights: str | None, said: list[str]) -> Candidate:
    """One of the candidates; what was passed by is said."""
    named = [c for c in wanted if weights not in (None, "ema", "live") and weights in (c.name, _last(c.name))]
    if weights not in (None, "ema", "live"):
        if len(named) != 1:
            raise _which(wanted, f"weights {weights!r}")
        return named[0]
    averaged = [c for c in wanted if _is_averaged(c.name, tensors)]
    live = [c for c in wanted if c not in averaged]
    reason = _says_inference(averaged, tensors)
    if weights == "ema" or (weights is None and averaged and (not live or reason)):
        pool, others, taken, option = averaged, live, "averaged (EMA) weights", "live"
    else:
        pool, others, taken, option = live, averaged, "live weights", "ema"
    if not pool:
        raise CheckpointError(
            "--weights",
            got=f"{weights}, and no such set in the file",
            expected=" or ".join(sorted({c.name or "the whole file" for c in wanted})),
        )
    if len(pool) > 1:
        raise _which(pool, f"{len(pool)} sets of weights")
    if others:
        why = f" ({reason})" if reason and option == "live" else ""
        rest = (
            f"the file holds {'averaged (EMA)' if option == 'ema' else 'live'} ones in {_listed(others)} too"
        )
        said.append(f"{taken} of {pool[0].name or 'the file'} taken{why}; {rest}: --weights {option}")
    elif averaged:
        said.append(f"averaged (EMA) weights of {pool[0].name} taken; the file holds no others")
    elif nameless := sorted({name for name in tensors.stored if _is_averaged(name, tensors)}):
        said.append(
            f"averaged (EMA) weights in {_tops(nameless, '')[0]} have no layers' names and were not taken"
        )
    return pool[0]


def _is_averaged(name: str, tensors: Tensors) -> bool:
    parts = name.split(".")
    if name.endswith("_s") and any(key.startswith(f"{name[:-2]}.") for key in tensors.stored):
        return True  # ECoG to speech: `encoder_s` beside `encoder`
    if any(_AVERAGED.search(part) for part in parts):
        return True
    if any(".".join([*parts[:place], "n_averaged"]) in tensors.stored for place in range(len(parts))):
        return True  # torch.optim.swa_utils.AveragedModel
    return parts[0] == "state_dict" and _LIVE_BESIDE in tensors.levels


def _says_inference(averaged: list[Candidate], tensors: Tensors) -> str:
    """Where the file says that inference takes the averaged weights; "" where it does not."""
    if any(c.name.split(".")[0] == "state_dict" for c in averaged) and _LIVE_BESIDE in tensors.levels:
        return f"Lightning's averaging: the live ones are {_LIVE_BESIDE}"
    return next((f"the file's {name} says so" for name, value in tensors.scalars.items() if value), "")


def _which(candidates: list[Candidate], got: str) -> CheckpointError:
    names = sorted(c.name or "(the whole file)" for c in candidates)
    return CheckpointError(
        "weights", got=got, expected="one of those in the file", cause=f"--weights {' or '.join(names)}"
    )


def _unknown(
    saved: object, tensors: Tensors, candidates: list[Candidate], said: list[str], weights: str | None
) -> Selection:
    """No net of ours: what wrappers hold, for the sentence that refuses it, or for nets never seen."""
    if not isinstance(saved, dict | StandIn):
        raise refusal(f"a saved object of type {_type(saved)}", "save the module's state_dict()")
    if weights is not None and not candidates:
        raise CheckpointError("--weights", got=weights, expected="a checkpoint of a net that is known")
    name = candidates[0].name if len(candidates) == 1 else _unwrapped(tensors)
    part = f"{name}." if name else ""
    stored = {key.removeprefix(part): value for key, value in tensors.stored.items() if key.startswith(part)}
    return Selection(stored, _wrappers(name, tensors.levels), said)


def _unwrapped(tensors: Tensors) -> str:
    """The longest name of wrappers alone: a dict of its own, or what stands before every tensor."""
    name, keys = "", list(tensors.stored)
    while True:
        tops = {key.partition(".")[0] for key in keys}
        inside = [(wrapper, f"{name}.{wrapper}" if name else wrapper) for wrapper in WRAPPERS]
        fits = (
            (wrapper, full)
            for wrapper, full in inside
            if wrapper in tops and (full in tensors.levels or len(tops) == 1)
        )
        wrapper, full = next(fits, ("", ""))
        keys = [key.partition(".")[2] for key in keys if key.partition(".")[0] == wrapper]
        if not wrapper or not all(keys):
            return name
        name = full


def _unwrapped_inside(key: str) -> str:
    """A tensor's name without the wrappers behind its first part.

    >>> _unwrapped_inside("resblocks.0._orig_mod.convs1.0.weight")
    'resblocks.0.convs1.0.weight'
    """
    return _INSIDE.sub("", key)


# ---- words ------------------------------------------------------------------------------------------------


def _no_weights(saved: object, tensors: Tensors) -> CheckpointError:
    if any(level.rpartition(".")[2] == "param_groups" for level in tensors.levels):
        return refusal("the states of optimisers alone", "the weights lie in another file of that training")
    scalars = [(key, value) for key, value in tensors.other if key]
    if isinstance(saved, dict) and scalars:
        key, value = scalars[0]
        return CheckpointError(
            f"entry {key!r}",
            got=f"type {_type(value)}",
            expected="tensors under names, bare or inside state_dict, model and the like",
        )
    if isinstance(saved, StandIn):
        return refusal(
            f"a saved object of class {saved.of} without tensors", "save the module's state_dict()"
        )
    return refusal("no weights at all", "the state dict was empty when it was saved")


def _objects_said(tensors: Tensors) -> list[str]:
    said = []
    if tensors.modules:
        said.append(
            f"a whole saved module ({several(tensors.modules[:1])}): its parameters and buffers taken"
        )
    if tensors.objects:
        said.append(f"objects beside the weights left unread: {several(sorted(tensors.objects))}")
    return said


def _wrappers(name: str, levels: frozenset[str]) -> list[str]:
    """ "level a, prefix b.": how a name is made of dicts and of prefixes of keys."""
    parts = name.split(".") if name else []
    notes, depth = [], 0
    while depth < len(parts):
        ends = [n for n in range(depth + 1, len(parts) + 1) if ".".join(parts[:n]) in levels]
        if not ends:
            break
        notes.append(f"level {'.'.join(parts[depth : ends[0]])}")
        depth = ends[0]
    return notes + [f"prefix {part}." for part in parts[depth:]]


def _tops(names: Sequence[str], beside: str) -> list[str]:
    """The first parts of names, each once: below the part that they share with `beside`."""
    own, tops = beside.split("."), dict[str, None]()
    for name in names:
        parts = name.split(".")
        shared = next((n for n, (a, b) in enumerate(zip(parts, own, strict=False)) if a != b), 0)
        tops.setdefault(".".join(parts[: shared + 1]))
    return list(tops)


def several(names: Sequence[str]) -> str:
    """The first names, and how many more."""
    rest = len(names) - NAMED
    listed = ", ".join(shown(name, 120) for name in names[:NAMED])
    return f"{listed} and {rest} more" if rest > 0 else listed


def _listed(candidates: Sequence[Candidate]) -> str:
    return several([c.name or "the whole file" for c in candidates])


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _type(value: object) -> str:
    if isinstance(value, StandIn):
        return value.of
    return "Tensor" if isinstance(value, Stored) else type(value).__name__
