"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_training.weights.options import SETTINGS_FORM, SETTINGS_HELP, WEIGHTS_HELP

# taken off the line by `edge_export.__main__` before it is parsed
EVERYWHERE = "Anywhere: --strict refuses what is otherwise a warning, --debug shows tracebacks."
SEVERAL = " Several, a folder or a 'pattern' have a folder each in --out; - is standard input."

Out = Annotated[Path, typer.Option("--out", help="What to write; refused if it exists.")]
Resumed = Annotated[
    Path,
    typer.Option(
        "--out", help="What to write; refused if it exists, continued from OUT.partial if that does."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")]

Mask = Annotated[
    str, typer.Option(help='lip, tongue, or a polygon: "x,y x,y x,y" on 256x256, JSON, or a .json file.')
]

Weights = Annotated[str | None, typer.Option("--weights", metavar="SET", help=WEIGHTS_HELP)]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar=SETTINGS_FORM, help=SETTINGS_HELP)]

TF32 = Annotated[
    bool, typer.Option("--tf32", help="CUDA: multiply in TensorFloat-32, three digits and faster.")
]
CudaGraphs = Annotated[
    bool, typer.Option("--cuda-graphs", help="CUDA: record and replay the kernels of each set of shapes.")
]

Json = Annotated[Path | None, typer.Option("--json", help="Write the result as JSON too.")]
Report = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE.html", help="Write the result as a page for browsers too."),
]
Tolerance = Annotated[float | None, typer.Option("--tolerance", help="Largest absolute error allowed.")]
