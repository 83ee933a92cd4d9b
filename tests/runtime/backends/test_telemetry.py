"""Loading a backend's library tells nobody: no file outside, no name looked up."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.runtime.backends import tiny_onnx

import edge_export
import edge_runtime
import edge_training
from edge_runtime.backends import telemetry

# stands between the program and the C library, and writes down which hosts are looked up or connected to
WITNESS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
static void note(const char *what) {
  int file = open(getenv("WITNESS"), O_WRONLY | O_APPEND | O_CREAT, 0600);
  if (write(file, what, strlen(what)) < 0 || write(file, "\n", 1) < 0) abort();
  close(file);
}
int getaddrinfo(const char *name, const char *service, const void *hints, void **found) {
  int (*next)(const char *, const char *, const void *, void **) = dlsym(RTLD_NEXT, "getaddrinfo");
  note(name ? name : "a service");
  return next(name, service, hints, found);
}
int connect(int handle, const struct sockaddr *address, socklen_t length) {
  int (*next)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
  if (address->sa_family != AF_UNIX) note("a connection");
  return next(handle, address, length);
}
"""

RUN = """
import sys
from edge_runtime.backends import get_backend
import numpy as np
session = get_backend(sys.argv[1]).open(sys.argv[2])
print(sorted(session.run({"x": np.ones((1, 4), np.float32)})))
"""
TELL = """
import socket, sys
socket.getaddrinfo("localhost", None)
"""


@pytest.fixture(scope="module")
def witness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("needs Linux and a C compiler")
    place = tmp_path_factory.mktemp("witness")
    (place / "witness.c").write_text(WITNESS)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-w", place / "witness.c", "-o", place / "witness.so", "-ldl"],
        check=True,
    )
    return place / "witness.so"


def run_watched(witness: Path, place: Path, program: str, *arguments: str | Path) -> tuple[str, list[str]]:
    """(what the program printed, the files it left below HOME and TMPDIR and the hosts it looked up)."""
    for folder in ("home", "tmp"):
        (place / folder).mkdir()
    kept = {key: value for key, value in os.environ.items() if key in ("PATH", "PYTHONPATH", "LANG")}
    watched = {
        "HOME": str(place / "home"),
        "TMPDIR": str(place / "tmp"),
        "LD_PRELOAD": str(witness),
        "WITNESS": str(place / "seen"),
    }
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=kept | watched,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    files = [str(file.relative_to(place)) for file in place.glob("*/**/*")]
    hosts = (place / "seen").read_text().split() if (place / "seen").exists() else []
    return done.stdout, sorted(files) + hosts


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_backend_leaves_no_file_and_looks_nothing_up(witness: Path, tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend)
    (tmp_path / "watched").mkdir()
    model = tiny_onnx.write(tmp_path / "tiny.onnx")
    printed, traces = run_watched(witness, tmp_path / "watched", RUN, backend, model)
    assert printed == "['kept', 'loud']\n"
    assert traces == []


def test_load_library_is_the_only_way_in() -> None:
    roots = [Path(package.__path__[0]) for package in (edge_runtime, edge_training, edge_export)]
    direct = re.compile(r"^ *(import|from) (onnxruntime|openvino)\b", re.MULTILINE)
    files = [file for root in roots for file in root.rglob("*.py")]
    assert len(files) > 100
    assert [file for file in files if direct.search(file.read_text("utf-8"))] == []


def test_the_witness_sees_a_look_up(witness: Path, tmp_path: Path) -> None:
    assert run_watched(witness, tmp_path, TELL) == ("", ["localhost"])


def test_who_wants_telemetry_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(telemetry.ONNXRUNTIME, "0")
    with telemetry.silenced():
        assert os.environ[telemetry.ONNXRUNTIME] == "0"


def test_the_module_of_openvino_is_out_of_reach_only_while_libraries_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, telemetry.OPENVINO, raising=False)
    with telemetry.silenced():
        assert sys.modules[telemetry.OPENVINO] is None
    assert telemetry.OPENVINO not in sys.modules
    monkeypatch.setitem(sys.modules, telemetry.OPENVINO, subprocess)  # a program of the user's loaded it
    with telemetry.silenced():
        assert sys.modules[telemetry.OPENVINO] is subprocess
    assert sys.modules[telemetry.OPENVINO] is subprocess
