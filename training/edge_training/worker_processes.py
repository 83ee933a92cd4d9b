"""Independent jobs in several processes: what `data mri` and `data image-speech` do with `--workers`.

A worker ends with its parent, also with one that is killed, so that the call which goes on meets no writes of
the one before. Results come as they are done; whoever needs an order sorts them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

from edge_runtime.errors import ConfigError, InputError

Job = TypeVar("Job")
Result = TypeVar("Result")


def check_workers(workers: int | None) -> int:
    """The number of processes; None: one for each processor. ConfigError for fewer than one."""
    if workers is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if workers < 1:
        raise ConfigError("workers", got=f"{workers}", expected="at least 1")
    return workers


def finished(
    task: Callable[[Job], Result], jobs: Sequence[tuple[str, Job]], workers: int
) -> Iterator[tuple[str, Callable[[], Result]]]:
    """(name, function that gives the job's result or raises its error) of each job, as they are done.

    With one process, or one job, they are done here, in order, each when its function is called. An error
    that is raised where this is iterated cancels the jobs that have not begun.

    Args:
        task: a function of a module, or a `functools.partial` of one.
        jobs: name and argument of each.
        workers: processes.

    Raises:
        InputError: a process ended without a word.
    """
    if workers == 1 or len(jobs) < 2:
        for name, job in jobs:
            yield name, partial(task, job)
        return
    # fresh processes: a fork of one with threads may hang
    with ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), end_with_parent) as pool:
        with uninterrupted():
            tasks = {pool.submit(task, job): name for name, job in jobs}
        try:
            for done in as_completed(tasks):
                if isinstance(done.exception(), BrokenProcessPool):
                    raise InputError(
                        "a worker process",
                        got="its sudden end",
                        expected="a process that runs until its work is done",
                        cause="memory may be short; the same command with --workers 1 continues",
                    ) from done.exception()
                yield tasks[done], done.result
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits, and so it does in processes that start meanwhile, until they are ready for it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """In a worker: a parent that is killed cannot end it, and the call that goes on would meet its writes.

    Ctrl-C reaches every process; a worker ends at once then, and leaves it to the parent to say so.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(1))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()
