"""Public names of a package that are loaded when they are first used, so that importing it stays light.

    __getattr__, __dir__ = lazy_names(__name__, {"read_audio": "media.audio"})

``__all__`` beside it lists the same names; imports under ``TYPE_CHECKING`` show them to type checkers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: its ``__name__``.
        homes: public name → module below the package that defines it; ``module:name`` where it has another
            name there.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, inside = homes[name].partition(":")
        return getattr(import_module(f"{package}.{module}"), inside or name)

    def names() -> list[str]:
        return sorted({*vars(import_module(package)), *homes})

    return load, names
