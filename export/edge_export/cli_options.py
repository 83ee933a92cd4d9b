"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path, typer.Option("--out", help="What to write; refused if it exists.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")]
