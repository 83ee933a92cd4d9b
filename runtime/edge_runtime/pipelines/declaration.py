"""The declaration of a pipeline: its inputs, the bundles it takes, its options.

Plain values, without numpy: `edge-export run PIPELINE --help` is made from them, `edge-export run` and
`reference` check their arguments against them, and a test keeps them equal to the arguments of the pipeline's
class. Every system folder has one in its ``options.py``; `edge_runtime.pipelines.registry` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_runtime.errors import ConfigError

NUMBERS: Mapping[type[Any], str] = {int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Option:
    """One option of a pipeline.

    Args:
        name: the argument of the pipeline's class; on the command line ``--NAME``, with hyphens.
        type: str, int, float, Path, or bool for a flag.
        help: what it means, without the choices, the unit and the default.
        default: that of the class; None where it depends on other things, which ``help`` then explains.
        choices: the possible values, where they can be listed.
        unit: "Hz", "frames" …; empty where there is none.
        short: its name on the command line where that is another: "sr" for ``--sr``.
    """

    name: str
    type: type[Any]
    help: str
    default: Any = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    short: str = ""

    @property
    def flag(self) -> str:
        """As on the command line: ``max_frames`` → ``--max-frames``."""
        return f"--{(self.short or self.name).replace('_', '-')}"

    def describe(self) -> str:
        """The help of the command line: meaning, choices, unit and default."""
        parts = [self.help.rstrip(".")]
        parts += [f"{self._listed()}"] if self.choices else []
        parts += [f"in {self.unit}"] if self.unit else []
        parts += [f"{self.default} if not given"] if self.default not in (None, False) else []
        return "; ".join(parts) + "."

    def parse(self, text: str) -> Any:
        """The value of a text from the command line; ConfigError where it is not a number of this type."""
        if self.type not in NUMBERS:
            return self.type(text)
        try:
            return self.type(text)
        except ValueError as error:
            raise ConfigError(self.flag, got=repr(text), expected=NUMBERS[self.type]) from error

    def check(self, value: Any) -> None:
        """ConfigError for a value that is not one of the choices."""
        if self.choices and isinstance(value, str) and value not in self.choices:
            raise ConfigError(self.flag, got=repr(value), expected=self._listed())

    def _listed(self) -> str:
        return " or ".join(self.choices) if len(self.choices) < 3 else f"one of {', '.join(self.choices)}"


@dataclass(frozen=True)
class Input:
    """One input of a pipeline, a file or a text; a positional argument of the command line.

    Args:
        name: the argument of `write_result` and `write_pack` of the system.
        help: what it may hold.
        type: Path for a file, str for a text.
    """

    name: str
    help: str
    type: type[Path] | type[str] = Path

    @property
    def metavar(self) -> str:
        """As on the command line: ``source`` → ``INPUT``, ``picture_prompt`` → ``PICTURE_PROMPT``."""
        return "INPUT" if self.name == "source" else self.name.upper()


@dataclass(frozen=True)
class Role:
    """One bundle that a pipeline takes.

    Args:
        name: the argument of the pipeline's class, and ROLE in ``--bundle ROLE=DIR``.
        nets: the nets, by the name in the manifest, that fit the role; usually one.
        required: whether the pipeline cannot run without it.
    """

    name: str
    nets: tuple[str, ...]
    required: bool = True


EXECUTION = (
    Option("backend", str, "What runs the nets, see `edge-export doctor`", "onnxruntime"),
    Option(
        "device",
        str,
        "cpu, cuda, tensorrt …; of backend coreml gpu, ane, all; see `edge-export doctor`",
        "cpu",
    ),
    Option("threads", int, "Processor threads; chosen by the backend if not given"),
    Option("precision", str, "Of the artifacts", "fp32", ("fp32", "fp16")),
)
"""Options of every pipeline: how its nets are run."""


@dataclass(frozen=True)
class Declaration:
    """A pipeline as the command line sees it.

    Args:
        name: PIPELINE on the command line.
        summary: one line.
        roles: the bundles it takes.
        options: its own options, in addition to `EXECUTION`.
        inputs: its inputs, in the order of the command line.
        inside: argument of the class → role. The argument is a function that computes a stage inside of that
            role's net, which the net does not return but a reference pack holds; `edge_export` supplies it
            where it can.
    """

    name: str
    summary: str
    roles: tuple[Role, ...]
    options: tuple[Option, ...] = ()
    inputs: tuple[Input, ...] = (Input("source", "Audio file."),)
    inside: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_options(self) -> tuple[Option, ...]:
        """Its own options and those of every pipeline."""
        return (*self.options, *EXECUTION)

    def option(self, name: str) -> Option | None:
        """The option of that name, None where there is none."""
        return next((option for option in self.all_options if option.name == name), None)

    def name_inputs(self, given: Any) -> dict[str, Path | str]:
        """Declared name → file or text.

        Args:
            given: such a mapping, or the input itself where there is only one.

        Raises:
            ConfigError: one is missing, or too many.
        """
        names = [each.name for each in self.inputs]
        if not isinstance(given, Mapping):
            if len(names) != 1:
                raise ConfigError(
                    f"inputs of {self.name}", got=repr(given), expected=f"a mapping of {', '.join(names)}"
                )
            given = {names[0]: given}
        if set(given) != set(names):
            raise ConfigError(
                f"inputs of {self.name}", got=", ".join(given) or "none", expected=", ".join(names)
            )
        return {each.name: each.type(given[each.name]) for each in self.inputs}
