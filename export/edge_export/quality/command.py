"""What the command lines of this folder share: where figures go, NAME=DIR, refusals."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edge_runtime.errors import ConfigError, EdgeError
from edge_runtime.store.targets import replace_file

Measured = tuple[str, Any]  # the tables as text, and the figures as plain values


def parser(description: str, sounds: str) -> argparse.ArgumentParser:
    """A parser with ``--out``, a folder for what `sounds` says, and ``--json``."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--out", type=Path, help=f"folder for {sounds}")
    made.add_argument("--json", type=Path, help="write the figures as JSON too")
    return made


def run(
    options: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace], Measured],
    arguments: Sequence[str] | None,
) -> int:
    """Measure, print the tables, write the figures; 2 for what cannot be measured or written."""
    given = options.parse_args(arguments)
    try:
        if given.out is not None:
            given.out.mkdir(parents=True, exist_ok=True)
        text, figures = measure(given)
        print(text)
        if given.json is not None:
            with replace_file(given.json) as fresh:
                fresh.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    except EdgeError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def say(line: str) -> None:
    """A line of progress, apart from the tables."""
    print(line, file=sys.stderr)


def pairs(option: str, texts: Sequence[str]) -> list[tuple[str, str]]:
    """(name, folder) of each NAME=DIR; ConfigError for other texts, which names the option."""
    found = []
    for text in texts:
        name, equals, place = text.partition("=")
        if not equals:
            raise ConfigError(option, got=text, expected="NAME=DIR")
        found.append((name, place))
    return found
