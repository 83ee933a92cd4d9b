"""`edge-export compare`: artifacts that we did not write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_export.cli.options import Json, Tolerance
from edge_export.cli.output import finish, write_json
from edge_runtime.errors import ConfigError

if TYPE_CHECKING:
    from edge_export.proof.comparing.feeding import Wishes

ANYTHING = ".onnx, .mlpackage, .tflite, a bundle, what PyTorch saved, module:function, .wav"
Pairs = list[str] | None


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"The reference: {ANYTHING}.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What is judged, of any of these kinds.")],
    inputs: Annotated[Path | None, typer.Option(metavar="FILE.npz", help="An array for each input.")] = None,
    audio: Annotated[Path | None, typer.Option(metavar="FILE", help="A recording, cut into windows.")] = None,
    random: Annotated[int | None, typer.Option(metavar="N", help="N draws of random numbers.")] = None,
    tolerance: Tolerance = None,
    min_snr: Annotated[float | None, typer.Option(help="Least signal-to-noise ratio allowed, dB.")] = None,
    match: Annotated[Pairs, typer.Option(metavar="A=B", help="Names that belong together; repeat.")] = None,
    carry: Annotated[
        Pairs,
        typer.Option(metavar="INPUT=OUTPUT", help="A state: an output is the next case's input; repeat."),
    ] = None,
    value: Annotated[Pairs, typer.Option(metavar="INPUT=VALUE", help="A value of an input; repeat.")] = None,
    axis: Annotated[
        Pairs, typer.Option(metavar="AXIS=LENGTH", help="Length of an open axis; repeat.")
    ] = None,
    rate: Annotated[int | None, typer.Option(help="Sample rate that the artifacts take, Hz.")] = None,
    windows: Annotated[int, typer.Option(help="How many windows of the recording.")] = 10,
    backend: Annotated[list[str] | None, typer.Option(help="Runs files of its target; repeat.")] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load files that PyTorch saved: they may run any code.")
    ] = False,
    json_file: Json = None,
) -> None:
    """Run two artifacts on the same inputs and compare all that they give."""
    from edge_export.progress import Progress
    from edge_export.proof.comparing import compare as comparing
    from edge_export.proof.gates.recordings import are_recordings

    if are_recordings(a, b):
        unused = {
            "--inputs": inputs, "--audio": audio, "--random": random, "--tolerance": tolerance,
            "--min-snr": min_snr, "--match": match, "--carry": carry, "--value": value, "--axis": axis,
            "--rate": rate, "--backend": backend,
        }  # fmt: skip
        for option, given in unused.items():
            if given is not None:
                raise ConfigError(
                    option, got=str(given), expected="no such option with two recordings: a gate judges them"
                )
        _compare_recordings(a, b, json_file)
        return

    wishes = wishes_of(value, axis, rate, windows)
    with Progress() as progress:
        result = comparing.compare_artifacts(
            a,
            b,
            inputs=inputs,
            audio=audio,
            random=random,
            tolerance=tolerance,
            min_snr_db=min_snr,
            match=_pairs("--match", match),
            carry=_pairs("--carry", carry),
            wishes=wishes,
            backends=backend or (),
            trust=trust,
            progress=progress,
        )
    print(comparing.table(result), "\n".join(result.said), sep="\n\n")
    write_json(json_file, result.to_json(), *(Path(place) for place in (a, b) if Path(place).exists()))
    finish(result.passed, f"{a} against {b}: {result.summary()}")


def _compare_recordings(a: str, b: str, json_file: Path | None) -> None:
    from edge_export.proof.gates import judging, recordings

    row = recordings.judge_recordings(a, b)
    print(judging.table([row]), *judging.notes([row]), sep="\n")
    write_json(json_file, row.to_json(), Path(a), Path(b))
    finish(row.passed, f"{b} against {a}")


def wishes_of(value: Pairs, axis: Pairs, rate: int | None, windows: int) -> Wishes:
    """What the options say of inputs."""
    from edge_export.proof.comparing.feeding import Wishes

    return Wishes(
        given={name: _json(text, f"--value {name}") for name, text in _pairs("--value", value).items()},
        lengths={name: _length(name, text) for name, text in _pairs("--axis", axis).items()},
        rate=rate,
        windows=_at_least_one("--windows", windows),
    )


def _pairs(option: str, entries: Sequence[str] | None) -> dict[str, str]:
    """NAME=VALUE entries; names may hold anything but an equals sign."""
    pairs = {}
    for entry in entries or ():
        name, equals, text = entry.partition("=")
        if not name or not equals or not text:
            raise ConfigError(option, got=repr(entry), expected="NAME=VALUE")
        pairs[name] = text
    return pairs


def _json(text: str, what: str) -> Any:
    from edge_runtime.store.reading import parse_json

    return parse_json(text, what, "a number, or a list of numbers", ConfigError)


def _length(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1 << 30:
        raise ConfigError(f"--axis {name}", got=text, expected=f"a whole number from 1 to {1 << 30}")
    return int(text)


def _at_least_one(option: str, number: int) -> int:
    if not 1 <= number <= 10_000:
        raise ConfigError(option, got=str(number), expected="1 to 10000")
    return number
