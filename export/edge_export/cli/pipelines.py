"""`edge-export run PIPELINE` and `edge-export reference PIPELINE`: a command per pipeline.

Their arguments and options are those that each pipeline declares (`edge_runtime.pipelines.declaration`), put
into the signature that typer reads. What a value must be beyond its type is the pipeline's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edge_export.cli.declared import option_parameter, parameter, parsed, with_signature
from edge_export.cli.options import EVERYWHERE, SEVERAL, TF32, CudaGraphs, Out, Overwrite
from edge_export.cli.output import finish_batch, list_files, tell_passed_by
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.pipelines.declaration import Declaration, Input
from edge_runtime.pipelines.registry import PIPELINES, get_declaration

Action = Callable[..., Path]  # `edge_export.run.run`, or `edge_export.proof.reference.write_reference`


class PipelineGroup(TyperGroup):
    """Commands named for the pipelines; an unknown one is refused as everywhere else."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-"):
            get_declaration(args[0])
        return super().resolve_command(ctx, args)


def _run() -> Action:
    from edge_export.run import run

    return run


def _reference() -> Action:
    from edge_export.proof.reference import write_reference

    return write_reference


def _group(
    action: Callable[[], Action], summary: str, extras: Sequence[Parameter] = (), *, several: bool = False
) -> typer.Typer:
    group = typer.Typer(
        cls=PipelineGroup,
        no_args_is_help=True,
        rich_markup_mode=None,
        help=summary,
        epilog="Options of one: edge-export run PIPELINE --help.",
    )
    for declared in PIPELINES.values():
        group.command(declared.name, help=declared.summary, epilog=EVERYWHERE)(
            make_command(declared, action, extras, several=several)
        )
    return group


def make_command(
    declared: Declaration,
    action: Callable[[], Action],
    extras: Sequence[Parameter] = (),
    *,
    several: bool = False,
) -> Callable[..., None]:
    """A function with the pipeline's inputs and options for its signature, which calls the action.

    Args:
        declared: the pipeline.
        action: gives the function to call.
        extras: options of the action itself, passed on where they are given.
        several: take several files, a folder, patterns and standard input where the pipeline has one input.
    """
    several = several and [(each.type, each.flag) for each in declared.inputs] == [(Path, False)]

    def command(
        *, out: Path, overwrite: bool = False, bundle: Sequence[str] | None = None, **given: Any
    ) -> None:
        from edge_export.batch import run_all
        from edge_export.inputs import given_inputs
        from edge_export.progress import Progress
        from edge_runtime.pipelines.roles import parse_bundles

        inputs = {each.name: _with_lines(each, given.pop(each.name)) for each in declared.inputs}
        bundles = parse_bundles(declared, bundle or ())
        options = parsed(declared.all_options, given)
        options |= {each.name: given[each.name] for each in extras if given[each.name] is not None}
        with ExitStack() as open_files:
            if several:
                ((name, texts),) = inputs.items()
                found = open_files.enter_context(given_inputs(texts, declared.inputs[0].holds))
                tell_passed_by(found)
                if found.several:
                    with Progress(steps=len(found.files)) as progress:
                        options |= {"overwrite": overwrite, "progress": progress}
                        made = run_all(declared.name, found, bundles, out, **options)
                    finish_batch(made)
                    return
                inputs = {name: found.files[0]}
            with Progress() as progress:
                folder = action()(
                    declared.name, inputs, bundles, out, overwrite=overwrite, progress=progress, **options
                )
        list_files(folder)

    parameters = [
        *(_argument(each, several=several) for each in declared.inputs),
        parameter("out", Out),
        parameter("bundle", Annotated[list[str] | None, _bundle_option(declared)], None),
        *map(option_parameter, declared.all_options),
        *extras,
        parameter("overwrite", Overwrite, False),
    ]
    return with_signature(command, parameters)


def _argument(declared: Input, *, several: bool = False) -> Parameter:
    if not declared.flag:
        info = typer.Argument(metavar=declared.metavar, help=f"{declared.help}{SEVERAL if several else ''}")
        return parameter(declared.name, Annotated[list[str] if several else declared.type, info])
    metavar = "FILE" if declared.type is Path else "TEXT"
    words = f"{declared.help}  [required]" if declared.required else declared.help
    option = typer.Option(declared.option, metavar=metavar, help=words, show_default=False)
    kind: Any = list[str] | None if declared.many else declared.type | None
    return parameter(declared.name, Annotated[kind, option], None)


def _with_lines(declared: Input, given: Any) -> Any:
    """The texts of an input, ``@FILE`` replaced by the lines of that file; ``@@`` stands for one @."""
    if not declared.many:
        return given
    texts: list[str] = []
    for text in given or ():
        if text.startswith("@@"):
            texts.append(text[1:])
        elif text.startswith("@"):
            texts += _lines(text[1:], declared.option)
        else:
            texts.append(text)
    return texts


def _lines(path: str, option: str) -> list[str]:
    """The texts of a file; InputError where there are none."""
    from edge_runtime.store.reading import read_text

    if not path:
        raise ConfigError(
            option,
            got="'@'",
            expected="@FILE with texts, one a line",
            cause="a text that is @ is given as @@",
        )
    lines = [line.strip() for line in read_text(path, "texts, one a line").splitlines()]
    if not any(lines):
        raise InputError(path, got="no text in it", expected=f"texts for {option}, one a line")
    return [line for line in lines if line]


def _bundle_option(declared: Declaration) -> Any:
    nets = ", ".join(dict.fromkeys(net for role in declared.roles for net in role.nets))
    roles = " or ".join(f"{role.name}=DIR" for role in declared.roles)
    several = f"; repeat, in any order, or as {roles}" if len(declared.roles) > 1 else ""
    several += ", or a folder of folders of these names" if len(declared.roles) > 2 else ""
    return typer.Option("--bundle", metavar="DIR", help=f"Bundle of {nets}{several}.")


_CUDA = [parameter("tf32", TF32, False), parameter("cuda_graphs", CudaGraphs, False)]
run_app = _group(_run, "Run a pipeline on a file, or on each of several.", _CUDA, several=True)
_SWIFT = typer.Option(
    "--swift", metavar="DIR", help="Write a Swift test target of the pack to this folder too."
)
_KOTLIN = typer.Option("--kotlin", metavar="DIR", help="Write a JUnit test of the pack to this folder too.")
reference_app = _group(
    _reference,
    "Write the reference pack: every stage as .npy, for developers of a port.",
    [
        parameter("swift", Annotated[Path | None, _SWIFT], None),
        parameter("kotlin", Annotated[Path | None, _KOTLIN], None),
        *_CUDA,
    ],
)
