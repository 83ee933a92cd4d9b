"""A missing library skips its part and says so; EDGE_TEST_PARTS turns that into an error."""

from __future__ import annotations

import importlib.util
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
# loaded before the test begins, as those of other tests are
LOADED = {
    name: importlib.import_module(name) for name in ("numpy", "torch") if importlib.util.find_spec(name)
}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite with one test file in each of three parts, beside the real conftest.py."""
    tests = tmp_path / "tests"
    for name in ("runtime/test_a.py", "training/test_b.py", "runtime/backends/test_open_vino.py"):
        (tests / name).parent.mkdir(parents=True, exist_ok=True)
        (tests / name).write_text("def test_it() -> None:\n    assert True\n")
    shutil.copy(CONFTEST, tests)
    return tests


def run(suite: Path, *, without: str = "", parts: str = "") -> subprocess.CompletedProcess[str]:
    """Run the suite in a process that cannot import `without`."""
    hide = f"import sys; sys.modules[{without!r}] = None\n" if without else ""
    finder = (
        f"{hide}import importlib.util as u, pytest, sys\n"
        "find = u.find_spec\n"
        f"u.find_spec = lambda name, *rest: None if name == {without!r} else find(name, *rest)\n"
        f"sys.exit(pytest.main(['-q', '-rs', '--import-mode=importlib', {str(suite)!r}]))\n"
    )
    environment = os.environ | {"EDGE_TEST_PARTS": parts, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [sys.executable, "-c", finder],
        capture_output=True,
        text=True,
        env=environment,
        cwd=suite,
        check=False,
    )


def test_everything_runs_where_everything_is_installed(suite: Path) -> None:
    done = run(suite)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_a_missing_library_skips_its_part_with_a_reason(suite: Path) -> None:
    done = run(suite, without="torch")
    assert done.returncode == 0, done.stdout
    assert "2 passed, 1 skipped" in done.stdout
    assert "part training: torch is not installed" in done.stdout


def test_the_narrowest_part_decides(suite: Path) -> None:
    done = run(suite, without="openvino")
    assert "2 passed, 1 skipped" in done.stdout
    assert "part openvino: openvino is not installed" in done.stdout


def test_a_named_part_with_a_missing_library_is_an_error(suite: Path) -> None:
    done = run(suite, without="torch", parts="runtime, training")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "EDGE_TEST_PARTS names training, but torch is not installed" in done.stderr


def test_another_part_may_still_lack_it(suite: Path) -> None:
    done = run(suite, without="torch", parts="runtime")
    assert done.returncode == 0
    assert "2 passed, 1 skipped" in done.stdout


def test_an_unknown_part_is_an_error(suite: Path) -> None:
    done = run(suite, parts="runtme")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no part runtme; the parts are runtime" in done.stderr


def test_all_names_every_part(suite: Path) -> None:
    done = run(suite, without="openvino", parts="all")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "EDGE_TEST_PARTS names openvino, but openvino is not installed" in done.stderr


def test_the_suite_is_run_with_all() -> None:
    """A list of parts grows stale with every new part: it once left six out."""
    makefile = (CONFTEST.parents[1] / "Makefile").read_text()
    assert set(re.findall(r"EDGE_TEST_PARTS=(\S+)", makefile)) == {"all"}


def test_every_place_of_a_part_is_there() -> None:
    spec = importlib.util.spec_from_file_location("conftest_of_the_suite", CONFTEST)
    assert spec is not None
    assert spec.loader is not None
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    absent = [part.place for part in conftest.PARTS.values() if not (CONFTEST.parent / part.place).exists()]
    assert not absent, "a part whose place is gone guards nothing"


def test_every_test_begins_with_the_same_random_numbers() -> None:
    assert random.random() == random.Random(0).random()
    if numpy := LOADED.get("numpy"):
        assert numpy.random.random() == numpy.random.RandomState(0).random()
    if torch := LOADED.get("torch"):
        assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))


FREED_STACK = """
import ctypes, mmap, signal, subprocess, sys
from tests.conftest import SignalStack, plain_signal_stack
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
size = 1 << 16
place = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
libc.sigaltstack(ctypes.byref(SignalStack(place, 0, size)), None)
libc.munmap(place, size)
if sys.argv[1] == "mended":
    plain_signal_stack()
signal.signal(signal.SIGCHLD, lambda *_: print("handled", flush=True))
subprocess.run(["true"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="stacks of signal handlers as Linux has them")
def test_a_library_that_frees_the_stack_of_handlers_kills_no_test() -> None:
    def ended(way: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", FREED_STACK, way], capture_output=True, text=True, check=False,
            cwd=CONFTEST.parents[1],
        )  # fmt: skip
        return done.returncode, done.stdout

    assert ended("mended") == (0, "handled\n")
    assert ended("left") == (-signal.SIGSEGV, "")
