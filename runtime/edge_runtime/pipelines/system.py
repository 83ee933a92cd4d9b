"""A system: one pipeline with everything that the commands need of it, in one typed object.

    options.py     DECLARATION     inputs, roles of bundles, options (no numpy)
    pipeline.py    the class       takes bundles by role, options by name
    result.py      write_result    writes what `edge-export run` leaves in its folder
    pack.py        write_pack      writes what `edge-export reference` leaves in its folder
    system.py      SYSTEM          these four, whose types must fit together

`edge_runtime.pipelines.registry` finds them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any, Concatenate, Generic, Protocol, TypeVar

from edge_runtime.pipelines.declaration import Declaration
from edge_runtime.pipelines.pack_files import replace_pack
from edge_runtime.store.bundle import Bundle

Facts = dict[str, Any]  # what metadata.json says of a result
# declared name → file or text; texts where there may be many, None for one that was left out
Inputs = Mapping[str, Path | str | tuple[str, ...] | None]
P = TypeVar("P")


class Pipeline(Protocol):
    """A pipeline with its nets opened, as `edge-export run` and `edge-export reference` use it."""

    def write_result(self, folder: Path, inputs: Inputs) -> Facts:
        """Run on the inputs and fill the folder; returns the entries for metadata.json."""

    def write_pack(self, folder: Path, inputs: Inputs) -> None:
        """Run on the inputs and fill the folder with every stage and instructions for porting it."""


@dataclass(frozen=True)
class System(Generic[P]):
    """One pipeline, its declaration and the functions that write its results.

    Args:
        declaration: its inputs, roles and options.
        build: the class; takes the bundles by role, the options by name, and may take ``progress``.
        result: (pipeline, folder, the inputs by name) → entries for metadata.json.
        pack: (pipeline, folder, the inputs by name): fills the folder of a reference pack.
    """

    declaration: Declaration
    build: Callable[..., P]
    result: Callable[Concatenate[P, Path, ...], Facts]
    pack: Callable[Concatenate[P, Path, ...], None]

    @property
    def tells_progress(self) -> bool:
        """Whether the class takes ``progress``, a function that is called with the state of long work."""
        return "progress" in signature(self.build).parameters

    def open(self, bundles: Mapping[str, Bundle], **arguments: Any) -> Pipeline:
        """The pipeline with these bundles, by role; raises the EdgeErrors of its class."""
        return _Opened(self, self.build(**bundles, **arguments))

    def save_reference(
        self,
        pipeline: P,
        out: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        **inputs: str | os.PathLike[str] | Sequence[str],
    ) -> Path:
        """Write the reference pack of an open pipeline into a new folder.

        Raises:
            TargetError: ``out`` cannot be written, or exists and is not a pack, or ``overwrite`` is not
                given.
            EdgeError: the inputs cannot be processed.
        """
        with replace_pack(out, overwrite) as folder:
            self.pack(pipeline, folder, **self.declaration.name_inputs(inputs))
        return Path(out)


@dataclass(frozen=True)
class _Opened(Generic[P]):
    system: System[P]
    pipeline: P

    def write_result(self, folder: Path, inputs: Inputs) -> Facts:
        return self.system.result(self.pipeline, folder, **inputs)

    def write_pack(self, folder: Path, inputs: Inputs) -> None:
        self.system.pack(self.pipeline, folder, **inputs)
