"""The process in which PESQ runs; `edge_runtime.dsp.perceptual` starts it and explains why.

It imports only numpy and pesq. For each pair of signals on stdin, three numbers (rate in Hz, samples, bytes
of a sample) and the samples of both, it writes one line of JSON: ``{"value": …}`` or ``{"reason": …}``, with
``"final": true`` where other pairs would fail too. It ends with its input.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import Any

HEADER = struct.Struct("<QQQ")


def main() -> None:
    """Answer until the input ends."""
    while head := sys.stdin.buffer.read(HEADER.size):
        rate, count, width = HEADER.unpack(head)
        content = sys.stdin.buffer.read(2 * count * width)
        print(json.dumps(answer(rate, content, f"<f{width}")), flush=True)


def answer(rate: int, content: bytes, dtype: str) -> dict[str, Any]:
    """PESQ of two signals, one behind the other, or the reason for none."""
    try:
        import numpy as np
        from pesq import pesq
    except ImportError as error:
        missing = f"no module named {error.name}; pip install 'edge-export[quality]'"
        return {"reason": missing, "final": True}
    theirs, ours = np.frombuffer(content, dtype).reshape(2, -1)
    try:
        return {"value": float(pesq(rate, theirs, ours, "wb"))}
    except (RuntimeError, ValueError) as error:
        reason = error.args[0] if error.args else type(error).__name__
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        return {"reason": f"pesq says «{text.splitlines()[0] if text else type(error).__name__}»"}


if __name__ == "__main__":
    main()
