"""Commands made from declared options (`edge_runtime.pipelines.declaration.Option`).

What is declared becomes the signature that typer reads; what a value must be beyond its type is for the
function behind the command to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_runtime.pipelines.declaration import Option


def with_signature(command: Callable[..., None], parameters: Sequence[Parameter]) -> Callable[..., None]:
    """The function, whose arguments typer takes to be these."""
    command.__signature__ = Signature(list(parameters))  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    return command


def parameter(name: str, annotation: Any, default: Any = Parameter.empty) -> Parameter:
    """One argument of a command, as ``Annotated[type, typer.Option(…)]``."""
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def option_parameter(declared: Option) -> Parameter:
    """The argument of a declared option; None where it is not given."""
    if declared.type is bool:
        flag = typer.Option(declared.flag, help=declared.describe(), show_default=False)
        return parameter(declared.name, Annotated[bool | None, flag], None)
    # texts for typer, as what it says of a number that is none leaves out what was written
    metavar = {int: "N", float: "NUMBER", Path: "FILE"}.get(
        declared.type, "NAME" if declared.choices else "TEXT"
    )
    info = typer.Option(declared.flag, metavar=metavar, help=declared.describe(), show_default=False)
    return parameter(declared.name, Annotated[str | None, info], None)


def parsed(options: Iterable[Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Option → value, of those that were given.

    Raises:
        ConfigError: a text that is no such number; a value that is none of the choices.
    """
    values = {}
    for option in options:
        value = given[option.name]
        if value is not None:
            values[option.name] = value if option.type is bool else option.parse(value)
            option.check(values[option.name])
    return values
