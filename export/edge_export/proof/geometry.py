"""Checks that the context which a manifest states is enough, by changing inputs and comparing outputs.

A chunk is given `context_before` and `context_after` frames of its neighbours, and its output then counts as
part of one run over everything. So frames further away must have no influence. In a run of about as many
frames as both contexts together, everything except the last frames is changed, then everything except the
first ones: outputs beyond the stated context must stay the same, and an output frame must have `hop_length`
samples. A net may drop its first frames, as an ECoG decoder drops the past before an item: how many, its
reference cases say.

A manifest that states more context than the net has is accepted, because chunks are exact with it too; the
measured context is reported.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.backends.base import Session
from edge_runtime.store.bundle import Artifact, Bundle, Lengths, Tensor

Array = NDArray[Any]

CASE = "geometry"  # stands for a reference case in the rows of `verify`
JUDGED = 4  # frames beyond the context
SAME = 1e-6  # of the largest output: no kernel that is given the same lengths adds up in another order


@dataclass(frozen=True)
class Reach:
    """The measured context of one output."""

    output: str
    passed: bool
    detail: str
    seconds: float


def measure_reach(bundle: Bundle, artifact: Artifact, session: Session) -> Reach | None:
    """Check the geometry of a bundle on an open artifact; None where it states none that can be checked."""
    sides = bundle.manifest.geometry.sides
    output = bundle.manifest.outputs[0]
    if sides is None or not bundle.cases or "frames" not in _axes(bundle):
        return None
    width, dropped = _width(output, bundle), _dropped(output, bundle)
    frames = _length(artifact.axes.get("frames", Lengths()), sum(sides) + dropped + 2 * JUDGED)
    if frames is None:
        return None
    started = time.perf_counter()
    before, after = sides
    inputs = _inputs(bundle, frames)
    # first all frames before the last judged ones and their context change, then all after the first ones
    early, late = frames - JUDGED - before, dropped + JUDGED + after
    runs = [
        session.run(values)[output.name]
        for values in (inputs, _changed(inputs, bundle, 0, early), _changed(inputs, bundle, late, frames))
    ]
    if runs[0].shape[-1] != (frames - dropped) * width:
        got = f"{runs[0].shape[-1]} samples of {frames} frames, the manifest says {width} a frame"
        return Reach(output.name, False, got, time.perf_counter() - started)
    # at the places of the input's frames
    touched = [np.pad(_touched(runs[0], run, width), (dropped, 0)) for run in runs[1:]]
    detail, passed = _judged(touched, (early, late), sides)
    return Reach(output.name, passed, detail, time.perf_counter() - started)


def _axes(bundle: Bundle) -> set[int | str]:
    return {axis for tensor in bundle.manifest.inputs for axis in tensor.shape}


def _length(admitted: Lengths, least: int) -> int | None:
    """The smallest number of frames, at least `least`, that an artifact takes."""
    if admitted.only:
        return next((size for size in admitted.only if size >= least), None)
    least = -(-max(least, admitted.low) // admitted.step) * admitted.step
    return least if admitted.high is None or least <= admitted.high else None


def _inputs(bundle: Bundle, frames: int) -> dict[str, Array]:
    """Inputs of the longest reference case, repeated or cut to a number of frames."""
    cases = [bundle.reference(case)[0] for case in bundle.cases]
    longest = max(cases, key=lambda inputs: sum(array.size for array in inputs.values()))
    return {
        tensor.name: _along(longest[tensor.name], tensor, frames, lambda have: np.arange(frames) % have)
        for tensor in bundle.manifest.inputs
    }


def _along(array: Array, tensor: Tensor, frames: int, order: Any) -> Array:
    """Frames of an array in another order; arrays without such an axis as they are."""
    del frames
    if "frames" not in tensor.shape:
        return array
    axis = tensor.shape.index("frames")
    return np.ascontiguousarray(np.take(array, order(array.shape[axis]), axis=axis))


def _changed(inputs: Mapping[str, Array], bundle: Bundle, first: int, last: int) -> dict[str, Array]:
    """The inputs with the frames `first` … `last` − 1 in reverse order: other values of the same kind."""

    def order(have: int) -> Array:
        numbers = np.arange(have)
        numbers[first:last] = numbers[first:last][::-1]
        return numbers

    return {tensor.name: _along(inputs[tensor.name], tensor, 0, order) for tensor in bundle.manifest.inputs}


def _width(output: Tensor, bundle: Bundle) -> int:
    """Length along the output's last axis of one frame."""
    hop = bundle.manifest.geometry.hop_length
    return 1 if output.shape[-1] == "frames" or hop is None else hop


def _dropped(output: Tensor, bundle: Bundle) -> int:
    """Input frames that have no output, before those that have: as in the reference cases."""
    if output.shape[-1] == "frames" or bundle.manifest.geometry.hop_length is not None:
        return 0
    inputs, outputs = bundle.reference(bundle.cases[0])
    source = next(tensor for tensor in bundle.manifest.inputs if "frames" in tensor.shape)
    have = inputs[source.name].shape[source.shape.index("frames")]
    return max(0, int(have - outputs[output.name].shape[-1]))


def _touched(plain: Array, changed: Array, width: int) -> Array:
    """Which output frames a change has an influence on: (frames,) bool."""
    difference = np.abs(np.asarray(plain, np.float64) - changed)
    each = difference.reshape(-1, difference.shape[-1] // width, width).max(axis=(0, 2))
    return np.asarray(each > SAME * max(float(np.abs(plain).max()), 1e-9))


def _judged(touched: list[Array], ends: tuple[int, int], sides: tuple[int, int]) -> tuple[str, bool]:
    """A sentence on what was measured, and whether it lies within what is stated."""
    if not touched[0].any() or not touched[1].any():
        return "changing frames changes no output, so the context cannot be measured", False
    before = int(np.flatnonzero(touched[0])[-1]) - (ends[0] - 1)
    after = ends[1] - int(np.flatnonzero(touched[1])[0])
    words = f"{max(before, 0)} frames before and {max(after, 0)} after have an influence"
    if before <= sides[0] and after <= sides[1]:
        return f"{words}, {sides[0]} and {sides[1]} are stated", True
    return f"{words}, but {sides[0]} and {sides[1]} are stated: chunks would differ from one run", False
