"""Shapes for targets whose artifacts have fixed ones (Core AI): which, and reference cases that have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_export.catalog.net import Arrays, Axes, ConfigT, Net
from edge_runtime.errors import ConfigError
from edge_runtime.store.bundle import Lengths, Tensor, fits_lengths

FRAMES = "frames"
MAIN = "main"  # the function of an asset that has one


@dataclass(frozen=True)
class FixedSizes:
    """The shapes of an artifact, and further reference cases that have them."""

    functions: dict[str, dict[str, tuple[int, ...]]]  # function → input → shape
    lengths: dict[str, Lengths]  # as the manifest holds them
    cases: dict[str, Arrays]

    @property
    def note(self) -> str:
        """The shapes as users of the artifact should know them."""
        shapes = ", ".join(f"{axis} {_listed(lengths)}" for axis, lengths in self.lengths.items())
        return f"fixed shapes: {shapes}" if shapes else ""


def fixed_sizes(net: Net[ConfigT], config: ConfigT, axes: Axes, frames: Sequence[int]) -> FixedSizes:
    """The shapes of the longest reference case of the smallest batch, or the same with these frames.

    Args:
        net, config: its catalogue entry and configuration.
        axes: named axis → the lengths that reference cases are made with.
        frames: ascending; empty where the reference case decides.

    Raises:
        ConfigError: frames for a net without such an axis, or fewer than it takes.
    """
    inputs = net.inputs(config)
    cases = net.cases(config, axes)
    # every net's first axis is the batch
    longest = max(
        cases.values(), key=lambda case: (-_batch(case), sum(array.size for array in case.values()))
    )
    shapes = {tensor.name: longest[tensor.name].shape for tensor in inputs}
    known = {
        axis: length
        for tensor in inputs
        for axis, length in zip(tensor.shape, shapes[tensor.name], strict=True)
        if isinstance(axis, str)
    }
    lengths = {axis: Lengths(length, length, (length,)) for axis, length in known.items()}
    if not frames:
        return FixedSizes({MAIN: shapes}, lengths, {})
    _check(net, config, known, frames)
    lengths[FRAMES] = Lengths(frames[0], frames[-1], tuple(frames))
    functions = {
        (MAIN if len(frames) == 1 else f"{MAIN}_{count}"): {
            tensor.name: tuple(
                count if axis == FRAMES else length
                for axis, length in zip(tensor.shape, shapes[tensor.name], strict=True)
            )
            for tensor in inputs
        }
        for count in frames
    }
    taken = [case for case in cases.values() if fits_lengths(inputs, lengths, case)]
    there = {_frames(inputs, case) for case in taken}
    made = {f"{FRAMES}-{count}": _repeated(inputs, longest, count) for count in frames if count not in there}
    return FixedSizes(functions, lengths, made)


def _frames(inputs: Sequence[Tensor], case: Arrays) -> int:
    """How many frames a case has."""
    return next(
        int(length)
        for tensor in inputs
        for axis, length in zip(tensor.shape, case[tensor.name].shape, strict=True)
        if axis == FRAMES
    )


def _repeated(inputs: Sequence[Tensor], case: Arrays, count: int) -> Arrays:
    """A case with so many frames: cut, or begun again."""
    made = {}
    for tensor in inputs:
        array = case[tensor.name]
        if FRAMES in tensor.shape:
            axis = tensor.shape.index(FRAMES)
            array = np.ascontiguousarray(np.take(array, np.arange(count) % array.shape[axis], axis=axis))
        made[tensor.name] = array
    return made


def _batch(case: Arrays) -> int:
    return int(next(iter(case.values())).shape[0])


def _check(net: Net[ConfigT], config: ConfigT, known: dict[str, int], frames: Sequence[int]) -> None:
    if FRAMES not in known:
        named = ", ".join(known) or "none"
        raise ConfigError(
            FRAMES, got=f"a number for {net.name}", expected="none", cause=f"its axes are {named}"
        )
    shortest, step = net.shortest(config), net.steps(config).get(FRAMES, 1)
    for count in frames:
        if count < shortest or count % step:
            expected = f"at least {shortest}" + (f", a multiple of {step}" if step > 1 else "")
            raise ConfigError(FRAMES, got=str(count), expected=f"{expected} for {net.name}")


def _listed(lengths: Lengths) -> str:
    return " or ".join(map(str, lengths.only))
