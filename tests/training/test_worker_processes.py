"""Jobs in processes that end with their parent; `data mri` and `data image-speech` test their results."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edge_runtime.errors import ConfigError
from edge_training.worker_processes import check_workers, finished


def test_one_process_does_each_job_when_it_is_asked() -> None:
    done: list[int] = []
    jobs = [(str(number), number) for number in range(3)]
    for name, result in finished(done.append, jobs, 1):
        assert len(done) == int(name)
        result()
    assert done == [0, 1, 2]


def test_a_number_of_processes() -> None:
    assert check_workers(3) == 3
    assert check_workers(None) >= 1
    with pytest.raises(ConfigError, match="workers: got 0, expected at least 1"):
        check_workers(0)


KILLED = """
import os, signal
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from edge_training.worker_processes import end_with_parent
with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent) as pool:
    pool.submit(os.getpid).result()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_a_call_that_is_killed() -> None:
    # the worker holds the pipe of its parent's output: this returns once both have ended
    ended = subprocess.run([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, timeout=60, check=False)
    assert ended.returncode < 0


INTERRUPTED = """
import os, signal, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from edge_training.worker_processes import end_with_parent, uninterrupted
with ProcessPoolExecutor(1, get_context("spawn"), end_with_parent) as pool:
    with uninterrupted():
        task = pool.submit(os.getpid)
        os.killpg(0, signal.SIGINT)  # while the worker starts: it waits, here and there
        sys.stderr.write("not yet\\n")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
def test_workers_are_quiet_when_they_are_interrupted() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60, check=False,
        start_new_session=True,
    )  # fmt: skip
    assert ended.stderr.splitlines()[0] == "not yet"
    assert ended.stderr.count("Traceback") == 1, ended.stderr
    assert ended.stderr.splitlines()[-1] == "KeyboardInterrupt"
