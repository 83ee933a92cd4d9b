"""From a checkpoint to a proved bundle: ONNX, Core ML, manifest and reference arrays.

Each command has a function behind it: `export`, `verify`, `bisect`, `run_pipeline` (of the module `run`),
`write_mel`, `write_reference`, `check_reference`, `train_and_export`, and `bench.bench`, `demo.demo`,
`doctor.doctor`. The names below are loaded when they are first used, so that the command line answers at
once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import edge_training  # noqa: F401 - it registers what reads files of torch
from edge_export.former_names import FORMER as _FORMER
from edge_runtime.former_names import install as _install
from edge_runtime.lazy_names import lazy_names as _lazy_names

if TYPE_CHECKING:
    from edge_export.backends import BACKENDS, get_backend
    from edge_export.catalog import NETS, get_net
    from edge_export.catalog.net import Net
    from edge_export.convert import export
    from edge_export.mil import Program
    from edge_export.proof.bisect.nets import Bisection, bisect
    from edge_export.proof.bisect.packs import bisect_pack
    from edge_export.proof.comparing.compare import compare_artifacts
    from edge_export.proof.reference import CheckReport, check_reference, write_reference
    from edge_export.proof.verify import Verification, verify
    from edge_export.run import mel as write_mel
    from edge_export.run import open_pipeline
    from edge_export.run import run as run_pipeline
    from edge_export.train import train_and_export

# public name → module, and its name there where that is another one
_HOMES = {
    "BACKENDS": "backends",
    "Bisection": "proof.bisect.nets",
    "CheckReport": "proof.reference",
    "NETS": "catalog",
    "Net": "catalog.net",
    "Program": "mil",
    "Verification": "proof.verify",
    "bisect": "proof.bisect.nets",
    "bisect_pack": "proof.bisect.packs",
    "check_reference": "proof.reference",
    "compare_artifacts": "proof.comparing.compare",
    "export": "convert",
    "get_backend": "backends",
    "get_net": "catalog",
    "open_pipeline": "run",
    "run_pipeline": "run:run",
    "train_and_export": "train",
    "verify": "proof.verify",
    "write_mel": "run:mel",
    "write_reference": "proof.reference",
}

__all__ = [
    "BACKENDS",
    "NETS",
    "Bisection",
    "CheckReport",
    "Net",
    "Program",
    "Verification",
    "bisect",
    "bisect_pack",
    "check_reference",
    "compare_artifacts",
    "export",
    "get_backend",
    "get_net",
    "open_pipeline",
    "run_pipeline",
    "train_and_export",
    "verify",
    "write_mel",
    "write_reference",
]

__getattr__, __dir__ = _lazy_names(__name__, _HOMES)

_install(__name__, _FORMER)
