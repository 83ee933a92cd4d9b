"""`--weights` and `--set`, wherever a command or a tool takes a checkpoint: one declaration of both."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from edge_runtime.errors import ConfigError

WEIGHTS_HELP = "Of a checkpoint with several sets: ema, live, or the name before them."
SETTINGS_HELP = "An entry of the configuration, as JSON; repeat."
SETTINGS_FORM = "NAME=VALUE"
# arguments of commands that stand beside the configuration, and have options of their own
OWN = frozenset(
    {"net", "data", "out", "bundle", "config", "preset", "steps", "resume", "devices", "nodes", "precision"}
    | {"callbacks", "progress", "weights"}
)
OWN_CAUSE = "NET, --data, --steps and the like are given beside it"


def parse_settings(entries: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` as on the command line: values are JSON, or else text.

    Raises:
        ConfigError: no name, no equals sign, or a name for which the command has its own option.

    >>> parse_settings(["learning_rate=1e-4", "schedule=cosine"])
    {'learning_rate': 0.0001, 'schedule': 'cosine'}
    """
    settings = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not name.isidentifier() or not equals:
            raise ConfigError("--set", got=repr(entry), expected="NAME=VALUE, as learning_rate=1e-4")
        if name in OWN:
            raise ConfigError("--set", got=name, expected="an entry of the configuration", cause=OWN_CAUSE)
        settings[name] = _value(name, value)
    return settings


def _value(name: str, text: str) -> Any:
    """JSON, or the text itself where it is not JSON; JSON that exceeds the limits is refused."""
    from edge_runtime.store.reading import parse_json  # numpy; the command line's declarations do without

    try:
        return parse_json(text, f"--set {name}", refusal=ConfigError)
    except ConfigError as error:
        if isinstance(error.__cause__, json.JSONDecodeError):
            return text
        raise


def add_options(parser: argparse.ArgumentParser) -> None:
    """The two options for a tool that is started as a module; `given_options` reads them."""
    parser.add_argument("--weights", metavar="SET", help=WEIGHTS_HELP)
    parser.add_argument(
        "--set", action="append", default=[], dest="settings", metavar=SETTINGS_FORM, help=SETTINGS_HELP
    )


def given_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """`weights` and `changes` as `edge_training.weights.loading.load_net` takes them."""
    return {"weights": arguments.weights, "changes": parse_settings(arguments.settings)}
