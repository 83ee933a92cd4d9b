"""Inputs that two artifacts are run on: arrays of a file, sound, or random numbers.

Arrays are laid out as the first artifact takes them, or the second where the first does not say how.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_export.proof.artifacts.base import Array, Port
from edge_runtime.dsp.mel import MelConfig, MelFrontEnd
from edge_runtime.errors import ConfigError, InputError, doubt
from edge_runtime.media.audio import Audio, read_audio
from edge_runtime.store.reading import read_archive

SEED = 0
WINDOWS = 10  # of a recording, unless more are asked for
LONGEST = 10.0  # s of a recording given at once to an input of any length
BATCH = ("batch", "batch_size", "N")  # names of axes that are 1 unless somebody says
MOST_SHAPES = 16  # enumerated shapes that are tried

Case = tuple[str, dict[str, Array]]  # its name; arrays by name


@dataclass(frozen=True)
class Input:
    """One input of both artifacts, or of one of them: `name` is what cases call it.

    `ports` are those of the artifacts that take it, the one whose layout is used first.
    """

    name: str
    ports: tuple[Port, ...]

    @property
    def port(self) -> Port:
        return self.ports[0]


@dataclass(frozen=True)
class Wishes:
    """What the user says of inputs: values by name, lengths of axes, the sample rate of sound in Hz."""

    given: Mapping[str, Any] = field(default_factory=dict)
    lengths: Mapping[str, int] = field(default_factory=dict)
    rate: int | None = None
    windows: int = WINDOWS
    in_sequence: bool = False  # windows follow each other, for states that are carried
    front_end: MelConfig | None = None  # makes the mel of sound that an input takes


# arrays of a file ------------------------------------------------------------------------------------------


def from_file(path: str | Path, inputs: Sequence[Input], wishes: Wishes) -> Iterator[Case]:
    """One case: the arrays of an .npz file, by the names of either artifact."""
    arrays = read_archive(path)
    values = dict(_fixed(inputs, wishes, skip=set(arrays)))
    for item in inputs:
        found = [name for name in (item.name, *(port.name for port in item.ports)) if name in arrays]
        if found:
            values[item.name] = arrays[found[0]]
        elif item.name not in values:
            raise InputError(
                str(path), got=f"arrays {', '.join(arrays) or 'none'}", expected=f"one named {item.name}"
            )
    known = {name for item in inputs for name in (item.name, *(port.name for port in item.ports))}
    if unused := sorted(set(arrays) - known):
        doubt(
            InputError(
                str(path), got=f"arrays {', '.join(unused)}", expected=f"inputs: {', '.join(sorted(known))}",
                cause="the others are not used",
            )
        )  # fmt: skip
    yield "file", values


# random numbers --------------------------------------------------------------------------------------------


def check_draws(count: int) -> None:
    """ConfigError for a number of draws that is no small positive one."""
    if not 1 <= count <= 10_000:
        raise ConfigError("--random", got=str(count), expected="1 to 10000 draws")


def at_random(count: int, inputs: Sequence[Input], wishes: Wishes) -> Iterator[Case]:
    """Draws of normal numbers, of even bytes for pictures; of enumerated shapes each at least once."""
    rng = np.random.default_rng(SEED)
    listed = [_shapes(item) for item in inputs]
    most = max((len(shapes) for shapes in listed), default=1)
    for draw in range(max(count, min(most, MOST_SHAPES))):
        values = dict(_fixed(inputs, wishes))
        for item, shapes in zip(inputs, listed, strict=True):
            if item.name in values:
                continue
            shape = shapes[draw % len(shapes)] if shapes else resolved(item, wishes)
            values[item.name] = _drawn(rng, item, shape)
        yield f"random {draw}", values


def _shapes(item: Input) -> tuple[tuple[int, ...], ...]:
    """The enumerated shapes that every port admits."""
    only = next((port.only for port in item.ports if port.only), ())
    return tuple(shape for shape in only if all(port.admits(shape) for port in item.ports if port.only))


def _drawn(rng: np.random.Generator, item: Input, shape: tuple[int, ...]) -> Array:
    port = item.port
    if port.colour:
        height, width = shape[2:]
        size = (height, width, 3) if port.colour in ("RGB", "BGR") else (height, width)
        if port.colour == "grey-fp16":
            return rng.random(size).astype(np.float16)
        return rng.integers(0, 256, size).astype(np.uint8)
    if port.dtype.startswith(("int", "uint")):
        raise ConfigError(
            f"input {item.name}",
            got=f"no value for whole numbers ({port.dtype})",
            expected=f"--value {item.name}=NUMBER, or --inputs FILE.npz",
            cause="random indices or rates would mean nothing",
        )
    if port.dtype == "bool":
        return rng.integers(0, 2, shape).astype(np.bool_)
    return np.asarray(rng.standard_normal(shape), port.dtype or "float32")


# sound -----------------------------------------------------------------------------------------------------


def from_sound(path: str | Path, inputs: Sequence[Input], wishes: Wishes) -> Iterator[Case]:
    """Windows of a recording, or of its mel; other inputs are zeros unless values are given.

    Raises:
        ConfigError: no input takes sound, or several do.
    """
    item = _takes_sound(inputs, wishes)
    mel = wishes.front_end
    audio = read_audio(path, mel.sample_rate if mel else wishes.rate)
    others = dict(_fixed(inputs, wishes))
    for other in inputs:
        if other.name not in others and other is not item:
            others[other.name] = np.zeros(resolved(other, wishes), other.port.dtype or "float32")
    windows = _mels(audio, item, mel, wishes) if mel else _windows(audio, item, wishes)
    for number, window in enumerate(windows):
        yield f"sound {number}", others | {item.name: window}


def _takes_sound(inputs: Sequence[Input], wishes: Wishes) -> Input:
    found = [
        item
        for item in inputs
        if not item.port.colour
        and not item.port.dtype.startswith(("int", "uint", "bool"))
        and item.name not in wishes.given
        and _suits(item.port, wishes.front_end)
    ]
    if len(found) != 1:
        raise ConfigError(
            "--audio",
            got=f"{len(found)} inputs that could be sound{_listed(found)}",
            expected="one",
            cause="give the others with --value NAME=…, or all with --inputs FILE.npz",
        )
    return found[0]


def _listed(found: Sequence[Input]) -> str:
    return f" ({', '.join(item.name for item in found)})" if found else ""


def _suits(port: Port, mel: MelConfig | None) -> bool:
    lengths = _declared(port)
    if mel is not None:
        return mel.n_mels in lengths
    return sum(1 for axis in lengths if axis != 1 and isinstance(axis, int)) <= 1 and bool(lengths)


def _declared(port: Port) -> tuple[Any, ...]:
    if port.ranges:
        return tuple(low if low == high else None for low, high in port.ranges)
    return port.only[0] if port.only else port.shape or ()


def _windows(audio: Audio, item: Input, wishes: Wishes) -> Iterator[Array]:
    shape = resolved(item, wishes, longest=min(len(audio.samples), int(LONGEST * audio.sample_rate)))
    length = max(shape)
    samples = np.pad(audio.samples, (0, max(0, length - len(audio.samples))))
    for start in _starts(len(samples), length, wishes):
        yield samples[start : start + length].reshape(shape)


def _starts(total: int, length: int, wishes: Wishes) -> list[int]:
    count = min(wishes.windows, total // length)
    if wishes.in_sequence:
        return [number * length for number in range(count)]
    return [int(start) for start in np.linspace(0, total - length, count)]


def _mels(audio: Audio, item: Input, mel: MelConfig, wishes: Wishes) -> Iterator[Array]:
    bands = np.asarray(MelFrontEnd(mel)(audio.samples), np.float32)  # (n_mels, frames)
    most = int(LONGEST * mel.sample_rate / mel.hop_length)
    frames = _frames(item, mel, wishes, min(bands.shape[1], most))
    if bands.shape[1] < frames:
        bands = np.pad(bands, ((0, 0), (0, frames - bands.shape[1])), mode="edge")
    lengths = list(_declared(item.port))
    axis = lengths.index(mel.n_mels)
    first = axis < len(lengths) - 1  # (…, n_mels, frames), or (…, frames, n_mels)
    shape = [1] * len(lengths)
    shape[axis] = len(bands)
    shape[axis + 1 if first else axis - 1] = frames
    for start in _starts(bands.shape[1], frames, wishes):
        window = bands[:, start : start + frames]
        yield np.ascontiguousarray(window if first else window.T).reshape(shape)


def _frames(item: Input, mel: MelConfig, wishes: Wishes, most: int) -> int:
    """The number of frames that the input takes: fixed, the longest listed one, asked for, or `most`."""
    if item.port.only:
        fitting = [max(shape[shape.index(mel.n_mels) + 1 :]) for shape in item.port.only]
        return max([length for length in fitting if length <= most], default=min(fitting))
    shape = resolved(item, wishes, longest=most)
    return shape[shape.index(mel.n_mels) + 1] if shape[-1] != mel.n_mels else shape[-2]


# shapes and values -----------------------------------------------------------------------------------------


def _fixed(
    inputs: Sequence[Input], wishes: Wishes, skip: set[str] | None = None
) -> Iterator[tuple[str, Array]]:
    """Values that are given, and defaults of inputs that need none."""
    known = {name for item in inputs for name in (item.name, *(port.name for port in item.ports))}
    if unknown := sorted(set(wishes.given) - known):
        raise ConfigError(
            "--value", got=unknown[0], expected=f"the name of an input: {', '.join(sorted(known))}"
        )
    for item in inputs:
        names = (item.name, *(port.name for port in item.ports))
        if skip and skip & set(names):
            continue
        found = [name for name in names if name in wishes.given]
        if found:
            yield item.name, _valued(item, wishes.given[found[0]], wishes)
        elif item.port.default is not None:
            yield item.name, np.full(resolved(item, wishes), item.port.default, np.float32)


def _valued(item: Input, value: Any, wishes: Wishes) -> Array:
    """A number fills the input; lists are taken as they are."""
    array = np.asarray(value, item.port.dtype or None)
    if array.ndim == 0 and item.port.shape:
        return np.full(resolved(item, wishes), array)
    return array


def resolved(item: Input, wishes: Wishes, longest: int | None = None) -> tuple[int, ...]:
    """A shape that the ports admit: what they fix, then what the user says; the first open axis is 1.

    Args:
        item: the input.
        wishes: lengths by the axis's name, or by "input.1".
        longest: the length of the last open axis where nobody says.
    """
    port = item.port
    if port.shape is None and not port.only and not port.ranges:
        raise ConfigError(
            f"input {item.name}",
            got="no shape that is declared",
            expected="--inputs FILE.npz with its array",
            cause="if the other artifact has another name for it: --match NAME_OF_A=NAME_OF_B",
        )
    if port.only:
        return port.only[0]
    found: list[int | None] = []
    declared = _declared(port)
    for place, axis in enumerate(declared):
        names = _axis_names(item, place, len(declared))
        asked = [wishes.lengths[name] for name in names if name in wishes.lengths]
        if asked or isinstance(axis, int):
            found.append(axis if isinstance(axis, int) else asked[0])
        else:
            found.append(1 if axis in BATCH else _elsewhere(item, place, len(declared)))
    if found and found[0] is None:
        found[0] = _default(port, 0) or 1
    if longest is not None and found.count(None) == 1:
        found = [longest if axis is None else axis for axis in found]
    for place, length in enumerate(found):
        if length is None:
            found[place] = _default(port, place)
        if found[place] is None:
            name = declared[place] if isinstance(declared[place], str) else f"{item.name}.{place}"
            raise ConfigError(
                f"input {item.name}",
                got=f"shape {port.admitted}",
                expected=f"its length: --axis {name}=LENGTH",
            )
    return tuple(axis for axis in found if axis is not None)


def _axis_names(item: Input, place: int, rank: int) -> set[str]:
    """What an axis is called: by the ports of that rank, and by its number."""
    lengths = [_declared(port) for port in item.ports]
    symbols = {str(axes[place]) for axes in lengths if len(axes) == rank and isinstance(axes[place], str)}
    return symbols | {f"{name}.{place}" for name in (item.name, *(port.name for port in item.ports))}


def check_lengths(inputs: Sequence[Input], wishes: Wishes) -> None:
    """ConfigError for an axis that no input has, or whose length is fixed and another."""
    known: set[str] = set()
    for item in inputs:
        declared = _declared(item.port)
        for place, axis in enumerate(declared):
            names = _axis_names(item, place, len(declared))
            known |= names
            for name in sorted(names & set(wishes.lengths)):
                if isinstance(axis, int) and axis != wishes.lengths[name]:
                    raise ConfigError(
                        f"--axis {name}", got=str(wishes.lengths[name]), expected=f"{item.port.admitted}"
                    )
    if unknown := sorted(set(wishes.lengths) - known):
        raise ConfigError(
            "--axis", got=unknown[0], expected=f"the name of an axis: {', '.join(sorted(known))}"
        )


def _elsewhere(item: Input, place: int, rank: int) -> int | None:
    """The length that another port of the same rank fixes there."""
    for port in item.ports[1:]:
        lengths = _declared(port)
        if len(lengths) == rank and isinstance(lengths[place], int):
            return int(lengths[place])
    return None


def _default(port: Port, place: int) -> int | None:
    """The default length of a Core ML package's flexible axis."""
    if not port.ranges or port.shape is None or len(port.shape) != len(port.ranges):
        return None
    length = port.shape[place]
    return length if isinstance(length, int) else None
