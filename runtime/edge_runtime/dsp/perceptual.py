"""Predicted quality and intelligibility of a signal against its recording, where the libraries are installed.

pesq    ITU-T P.862.2, wide band at 16 kHz, 1 … 4.64
stoi    short-time objective intelligibility (Taal and others, 2011) at 16 kHz, 0 … 1

Signals longer than `LONGEST_PIECE` are judged in pieces of equal length, and a figure is the mean over those
pieces that have one: pauses, more than `PAUSE_DB` below the loudest sample, have none. PESQ's code in C has
room for 50 utterances and writes past the end of its memory where there are more, as in 36 s of short sounds.
Pieces are too short for that: utterance and pause last at least 0.2 s each. In addition PESQ runs in a
process of its own: if that crashes, only its figure is lost.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Any, Self

import numpy as np

from edge_runtime.dsp import pesq_process
from edge_runtime.dsp.resampling import resample
from edge_runtime.dsp.spectral import Array

JUDGED_RATE = 16000  # Hz
LONGEST_PIECE = 16.0  # s
PAUSE_DB = 40.0  # as STOI leaves out frames
PATIENCE = 300.0  # s for one piece, which takes about one

Measure = Callable[[Array, Array], float]  # of two signals at JUDGED_RATE


def judge(truth: Array, made: Array, sample_rate: int) -> dict[str, float | str]:
    """PESQ and STOI of two signals ``(samples,)`` of one length, or the reason in place of a figure.

    Args:
        truth: the recording.
        made: the signal to judge.
        sample_rate: of both, Hz.

    Returns:
        ``pesq`` and ``stoi``; where the signals are judged in pieces, ``pieces`` too: how many of them each
        figure could be computed for.
    """
    if not truth.any() or not made.any():
        return dict.fromkeys(("pesq", "stoi"), "not computed: one of the signals is silence")
    with _Pesq() as pesq:
        figures = {"pesq": _Figure(pesq), "stoi": _Figure(_stoi)}
        pieces = _pieces(len(truth), sample_rate)
        quietest = _peak(truth) * 10 ** (-PAUSE_DB / 20)
        for piece in pieces:
            if _peak(truth[piece]) < quietest:
                continue
            theirs, ours = (resample(signal[piece], sample_rate, JUDGED_RATE) for signal in (truth, made))
            for figure in figures.values():
                figure.add(theirs, ours)
    results = {name: figure.result() for name, figure in figures.items()}
    if len(pieces) > 1:
        parts = ", ".join(f"{name} of {len(figure.values)}" for name, figure in figures.items())
        results["pieces"] = f"{parts}, of {len(pieces)} in all"
    return results


def _pieces(length: int, rate: int) -> list[slice]:
    count = max(1, -(-length // int(LONGEST_PIECE * rate)))
    return [slice(length * index // count, length * (index + 1) // count) for index in range(count)]


def _peak(samples: Array) -> float:
    return max(float(samples.max()), -float(samples.min()))


class _NotComputedError(Exception):
    """Why a piece has no figure; `final` where no other piece will have one."""

    def __init__(self, reason: str, *, final: bool = False) -> None:
        super().__init__(reason)
        self.final = final


class _Figure:
    """The mean of a measure over pieces."""

    def __init__(self, measure: Measure) -> None:
        self._measure = measure
        self._reason = ""
        self._lost = False
        self.values: list[float] = []

    def add(self, theirs: Array, ours: Array) -> None:
        if self._lost:
            return
        try:
            self.values.append(self._measure(theirs, ours))
        except _NotComputedError as error:
            self._reason = str(error) if error.final else self._reason or str(error)
            self._lost = error.final

    def result(self) -> float | str:
        if self._lost or not self.values:
            return f"not computed: {self._reason}"
        return float(np.mean(self.values))


def _stoi(theirs: Array, ours: Array) -> float:
    try:
        from pystoi import stoi
    except ImportError as error:
        raise _NotComputedError(
            f"no module named {error.name}; pip install 'edge-export[quality]'", final=True
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # it warns where too little is left to compare
            return float(stoi(theirs, ours, JUDGED_RATE))
    except (RuntimeError, RuntimeWarning, ValueError) as error:
        text = str(error)
        raise _NotComputedError(
            f"stoi says «{text.splitlines()[0] if text else type(error).__name__}»"
        ) from error


class _Pesq:
    """PESQ in another process, as a `Measure`; the process starts with the first pair."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, theirs: Array, ours: Array) -> float:
        try:
            self._process = self._process or _start()
            answer = _asked(self._process, theirs, ours)
        except (OSError, ValueError) as error:
            raise _NotComputedError(f"the process of pesq {self._end(error)}", final=True) from error
        if "value" in answer:
            return float(answer["value"])
        raise _NotComputedError(str(answer["reason"]), final=bool(answer.get("final")))

    def _end(self, error: Exception) -> str:
        """How the process ended, for a sentence."""
        if self._process is None:
            return f"did not start («{error}»)"
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(timeout=5)
            names = {number.value: number.name for number in signal.Signals}
            return f"died ({names.get(-code, f'exit {code}')}); pesq crashes on some sounds"
        return "fell silent"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            with suppress(OSError):  # what it did not read
                self._process.communicate()


def _start() -> subprocess.Popen[bytes]:
    """The process; it finds its libraries where this one does."""
    command = [sys.executable, "-P", str(Path(pesq_process.__file__))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )


def _asked(process: subprocess.Popen[bytes], theirs: Array, ours: Array) -> dict[str, Any]:
    """The answer to one pair; OSError or ValueError where none comes."""
    assert process.stdin is not None
    assert process.stdout is not None
    width = max(theirs.dtype.itemsize, ours.dtype.itemsize)
    watch = Timer(PATIENCE, process.kill)
    watch.start()
    try:
        process.stdin.write(pesq_process.HEADER.pack(JUDGED_RATE, len(theirs), width))
        for signals in (theirs, ours):
            process.stdin.write(np.ascontiguousarray(signals, f"<f{width}").tobytes())
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
    finally:
        watch.cancel()
    return dict(answer)
