"""The table of pipelines. A new system adds only its folder's name here.

Importing this loads only the declarations, not numpy, so that ``--help`` answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edge_runtime.errors import ConfigError
from edge_runtime.pipelines.declaration import Declaration

if TYPE_CHECKING:
    from edge_runtime.pipelines.system import System

FOLDERS = (
    "talking_head",
    "vocoder",
    "mel_inversion",
    "mri_speech",
    "ecog_speech",
    "image_speech",
    "picture_speech",
)

_HOME = "edge_runtime.pipelines"


def _declarations() -> dict[str, tuple[str, Declaration]]:
    found = {}
    for folder in FOLDERS:
        declared: Declaration = import_module(f"{_HOME}.{folder}.options").DECLARATION
        found[declared.name] = (folder, declared)
    return found


_FOUND = _declarations()

PIPELINES: dict[str, Declaration] = {name: declared for name, (_, declared) in _FOUND.items()}
"""Name on the command line → what the pipeline declares."""


def get_declaration(name: str) -> Declaration:
    """The declaration of a pipeline; for an unknown name a ConfigError that lists the known ones."""
    if name not in PIPELINES:
        raise ConfigError("PIPELINE", got=repr(name), expected=f"one of {', '.join(PIPELINES)}")
    return PIPELINES[name]


def get_system(name: str) -> System[Any]:
    """The system of a pipeline; this imports its modules. ConfigError as `get_declaration`."""
    get_declaration(name)
    system: System[Any] = import_module(f"{_HOME}.{_FOUND[name][0]}.system").SYSTEM
    return system
