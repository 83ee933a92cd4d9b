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
from edge_runtime.media.frame_rate import parse_rate

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
        frame_rate: whether it is one of video, which may be written as a fraction, 30000/1001.
    """

    name: str
    type: type[Any]
    help: str
    default: Any = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    short: str = ""
    frame_rate: bool = False

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
        if self.frame_rate:
            return parse_rate(text, self.flag)
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


CONTENTS = ("sound", "video", "array", "picture")  # a video may hold sound, and counts as both


@dataclass(frozen=True)
class Input:
    """One input of a pipeline, a file or a text; a positional argument of the command line, or an option.

    Args:
        name: the argument of `write_result` and `write_pack` of the system.
        help: what it may hold.
        type: Path for a file, str for a text.
        flag: given as ``--NAME``, with hyphens, instead of by its place.
        many: several texts, for which the option is repeated; ``@FILE`` stands for the lines of a file. The
            writers get a tuple.
        required: whether there must be one; the writers get None, or an empty tuple, where it is left out.
        holds: what its file may hold, of `CONTENTS`: which files of a folder are meant.
    """

    name: str
    help: str
    type: type[Path] | type[str] = Path
    flag: bool = False
    many: bool = False
    required: bool = True
    holds: tuple[str, ...] = ("sound",)

    def __post_init__(self) -> None:
        if not self.flag and (self.many or not self.required):
            raise ConfigError(f"input {self.name}", got="no flag", expected="one that is given as an option")

    @property
    def metavar(self) -> str:
        """As on the command line: ``source`` → ``INPUT``, ``picture_prompt`` → ``PICTURE_PROMPT``."""
        return "INPUT" if self.name == "source" else self.name.upper()

    @property
    def option(self) -> str:
        """As an option: ``image_prompt`` → ``--image-prompt``."""
        return f"--{self.name.replace('_', '-')}"

    def take(self, given: Any) -> Path | str | tuple[str, ...] | None:
        """The value that the writers get; ConfigError for none where one is required."""
        if self.many:
            texts = (given,) if isinstance(given, str) else tuple(given or ())
            if self.required and not texts:
                raise ConfigError(self.option, got="none", expected="at least one")
            return texts
        if given is None:
            if self.required:
                raise ConfigError(
                    self.option, got="none", expected="a file" if self.type is Path else "a text"
                )
            return None
        return self.type(given)


@dataclass(frozen=True)
class Role:
    """One bundle that a pipeline takes.

    Args:
        name: the argument of the pipeline's class, and ROLE in ``--bundle ROLE=DIR``.
        nets: the nets, by the name in the manifest, that fit the role; usually one.
        required: whether the pipeline cannot run without it.
        halves: where the net may come in two bundles, the folder of each and its role; the first is this one.
    """

    name: str
    nets: tuple[str, ...]
    required: bool = True
    halves: tuple[tuple[str, str], ...] = ()


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
        inputs: its inputs, in the order of the command line; there may be none.
        inside: argument of the class → role. The argument is a function that computes a stage inside of that
            role's net, which the net does not return but a reference pack holds; `edge_export` supplies it
            where it can.
        helpers: arguments of the class that `edge_export` supplies, functions that need its libraries.
        made_by: the command that writes bundles for all roles, where there is one.
    """

    name: str
    summary: str
    roles: tuple[Role, ...]
    options: tuple[Option, ...] = ()
    inputs: tuple[Input, ...] = (Input("source", "Audio file."),)
    inside: Mapping[str, str] = field(default_factory=dict)
    helpers: tuple[str, ...] = ()
    made_by: str = ""

    @property
    def all_options(self) -> tuple[Option, ...]:
        """Its own options and those of every pipeline."""
        return (*self.options, *EXECUTION)

    def option(self, name: str) -> Option | None:
        """The option of that name, None where there is none."""
        return next((option for option in self.all_options if option.name == name), None)

    def name_inputs(self, given: Any) -> dict[str, Path | str | tuple[str, ...] | None]:
        """Declared name → file or text, or texts where there may be many.

        Args:
            given: such a mapping, or the input itself where there is only one; None where there is none.

        Raises:
            ConfigError: one is missing, or too many.
        """
        names = [each.name for each in self.inputs]
        listed = ", ".join(names) or "none"
        if given is None:
            given = {}
        elif not isinstance(given, Mapping):
            if len(names) != 1:
                raise ConfigError(
                    f"inputs of {self.name}", got=repr(given), expected=f"a mapping of {listed}"
                )
            given = {names[0]: given}
        by_place = {each.name for each in self.inputs if not each.flag}
        if not by_place <= set(given) <= set(names):
            raise ConfigError(f"inputs of {self.name}", got=", ".join(given) or "none", expected=listed)
        return {each.name: each.take(given.get(each.name)) for each in self.inputs}
