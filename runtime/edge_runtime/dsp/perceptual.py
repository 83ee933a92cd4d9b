"""How a signal sounds beside the recording that it was made from, where the libraries for it are installed.

pesq    ITU-T P.862.2, wide band at 16 kHz, 1 … 4.64
stoi    short-time objective intelligibility (Taal and others, 2011) at 16 kHz, 0 … 1
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from edge_runtime.dsp.resampling import resample
from edge_runtime.dsp.spectral import Array

JUDGED_RATE = 16000  # Hz


def judge(truth: Array, made: Array, sample_rate: int) -> dict[str, float | str]:
    """Both figures of two signals of one length; in place of one that cannot be had, the reason."""
    if not truth.any() or not made.any():
        return dict.fromkeys(_MEASURES, "not computed: one of the signals is silence")
    theirs, ours = (resample(signal, sample_rate, JUDGED_RATE) for signal in (truth, made))
    return {name: _measured(name, measure, theirs, ours) for name, measure in _MEASURES.items()}


def _measured(name: str, measure: Callable[[Array, Array], float], theirs: Array, ours: Array) -> float | str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # pystoi warns where too little is left to compare
            return measure(theirs, ours)
    except ImportError as error:
        return f"not computed: no module named {error.name}; pip install 'edge-export[quality]'"
    except (RuntimeError, RuntimeWarning, ValueError) as error:
        reason = error.args[0] if error.args else error
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        return f"not computed: {name} says «{text.splitlines()[0] if text else type(error).__name__}»"


def _pesq(theirs: Array, ours: Array) -> float:
    from pesq import pesq

    return float(pesq(JUDGED_RATE, theirs, ours, "wb"))


def _stoi(theirs: Array, ours: Array) -> float:
    from pystoi import stoi

    return float(stoi(theirs, ours, JUDGED_RATE))


_MEASURES: Mapping[str, Callable[[Any, Any], float]] = {"pesq": _pesq, "stoi": _stoi}
