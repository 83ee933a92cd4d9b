"""One version, known without installed metadata."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from edge_runtime.version import VERSION

ROOT = Path(__file__).parents[2]


def test_the_installed_version_is_this_one() -> None:
    assert version("edge-export") == VERSION


def test_manifests_have_it_where_nothing_is_installed() -> None:
    """From a source tree on PYTHONPATH, importlib.metadata knows no edge-export."""
    program = (
        "import importlib.metadata as m, sys\n"
        "real = m.version\n"
        "def version(name):\n"
        "    if name == 'edge-export': raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.version = version\n"
        "from edge_export.convert.libraries import versions\n"
        "print(versions(('onnx', 'coreml'))['edge-export'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == VERSION, done.stderr
