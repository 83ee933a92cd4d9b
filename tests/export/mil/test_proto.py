"""Reading a package needs coremltools' protobuf classes, and nothing else of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.export.mil.handmade import op, write

_RUN = """
import sys
from edge_export.mil import Program
print(Program.open(sys.argv[1]).run({"x": [1.0, -1.0]})["y"].tolist(), file=sys.stderr)
print(sorted({"torch", "coremltools", "scipy", "tensorflow"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return write(tmp_path / "p.mlpackage", [op("relu", {"x": "x"}, "y", shape=(2,))], {"x": (2,)}, ["y"])


def _python(code: str, package: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, str(package)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_neither_torch_nor_coremltools_is_imported(package: Path) -> None:
    result = _python(_RUN, package)
    assert result.stdout == ""
    assert result.stderr.split("\n")[:2] == ["[1.0, 0.0]", "[]"]


@pytest.mark.parametrize("first", ["import coremltools\n" + _RUN, _RUN + "import coremltools\n"])
def test_coremltools_may_come_before_or_after(package: Path, first: str) -> None:
    check = first + "assert coremltools.proto.Model_pb2.Model().WhichOneof('Type') is None\n"
    assert "[1.0, 0.0]" in _python(check, package).stderr
