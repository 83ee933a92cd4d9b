"""Configuration files beside checkpoints: JSON, or YAML as some toolkits write it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_runtime.errors import BackendError, ConfigError
from edge_runtime.store.reading import read_object, read_text

YAML = (".yml", ".yaml")
DEEPEST, MOST_NODES = 64, 100_000
_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def find_config(checkpoint: str | os.PathLike[str], names: Sequence[str] = ("config.json",)) -> Path | None:
    """The configuration beside a checkpoint: the file of its name that ends in `.json`, or one of `names`.

    HiFi-GAN's training writes `config.json`; the former is for folders with weights of several nets. None
    where there is neither.
    """
    path = Path(checkpoint)
    found = (path.with_suffix(".json"), *(path.parent / name for name in names))
    return next((config for config in found if config != path and config.is_file()), None)


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The entries of a JSON or YAML config file; raises ConfigError with the file's name."""
    if Path(path).suffix in YAML:
        return parse_yaml(read_text(path, "a YAML file", ConfigError), str(path))
    return read_object(path, refusal=ConfigError)


def parse_yaml(text: str, what: str) -> dict[str, Any]:
    """The entries of a YAML text: plain values alone. Tags (`!new:…`, `!!python/tuple`) name nothing that is
    made: their values are what stands behind them, a mapping with the tag as its entry `!`.

    Raises:
        ConfigError: no YAML mapping; aliases, depth or size beyond what a configuration needs.
    """
    try:
        import yaml
    except ImportError as error:
        raise BackendError(
            "reading YAML", got="no module named yaml", expected="PyYAML", cause="pip install pyyaml"
        ) from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        entries = _plain(node, yaml.SafeLoader(""), 0, [MOST_NODES])
    except ConfigError as error:
        raise error.within(what) from error
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(what, got=f"text that is not YAML ({first})", expected="a YAML mapping") from error
    if not isinstance(entries, dict):
        raise ConfigError(what, got=f"a YAML {type(entries).__name__}", expected="a YAML mapping")
    return entries


def _plain(node: Any, loader: Any, depth: int, left: list[int]) -> Any:
    """A node as plain values; aliases are followed, but count each time, so that none can multiply."""
    left[0] -= 1
    if depth > DEEPEST or left[0] < 0:
        raise ConfigError("YAML", got="too many or too deep values", expected="a configuration")
    if node is None:
        return None
    if node.id == "scalar" and node.style is None and _EXPONENT.fullmatch(node.value):
        return float(node.value)  # a number to everybody but YAML 1.1, which wants a point in it
    if node.id == "scalar":
        if node.tag.startswith("tag:yaml.org,2002:") and "python" not in node.tag:
            return loader.construct_object(node)
        return node.value
    if node.id == "sequence":
        return [_plain(item, loader, depth + 1, left) for item in node.value]
    made: dict[str, Any] = {}
    for key, value in node.value:
        if key.tag == "tag:yaml.org,2002:merge":  # `<<: *base`: entries of others, behind its own
            parts = value.value if value.id == "sequence" else [value]
            for part in (_plain(part, loader, depth + 1, left) for part in parts):
                made = {**part, **made} if isinstance(part, dict) else made
        else:
            made[str(key.value)] = _plain(value, loader, depth + 1, left)
    if node.tag.startswith("!"):
        made["!"] = node.tag
    return made
