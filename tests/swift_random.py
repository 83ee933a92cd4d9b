"""The ziggurat of numpy's normal numbers, by computation, for Support/Ziggurat.swift of the Swift runtime.

Marsaglia and Tsang (2000) cover the half of exp(-x² / 2) by 256 layers of one area v; x_1 … x_255 are their
right edges:

    x_255 = r = 3.6541528853610088        x_i = sqrt(-2 ln(v / x_(i+1) + exp(-x_(i+1)² / 2)))

numpy's tables are those of this recurrence in double precision, whose roundings add up to 2e-15. Here every
logarithm and exponential is rounded correctly; the one exponential that numpy's table has otherwise, that of
x_38, is a unit in its last place larger. `make test-swift` compares a million numbers with numpy's.

`python -m tests.swift_random` prints the table as Swift writes it.
"""

from __future__ import annotations

import decimal
import math
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np

TAIL = 3.6541528853610088  # r
AREA = 0.004928673233974652  # v, of a layer
ROUNDED_UP = 38
DIGITS = 60  # of every logarithm and exponential, before it is rounded

COUNTS = {"random": 1000, "random_float32": 1001, "normal": 100_000, "normal_float32": 100_001}
SEEDS = (0, 1, 21, 2024, 2**32, 2**63 + 5)


def edges() -> list[float]:
    """x_1 … x_255, the right edges of the layers."""
    found = [TAIL]
    with decimal.localcontext(prec=DIGITS):
        height = _height(TAIL)
        for number in range(254, 0, -1):
            logarithm = float(Decimal(AREA / found[-1] + height).ln())
            found.append(math.sqrt(-2.0 * logarithm))
            height = _height(found[-1])
            if number == ROUNDED_UP:
                height = math.nextafter(height, math.inf)
    return found[::-1]


def _height(x: float) -> float:
    return float(Decimal(-0.5 * x * x).exp())


def write_random(folder: Path) -> None:
    """What numpy's generator draws for several seeds, one kind after another from the same generator."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "edges.npy", edges())
    for seed in SEEDS:
        draw = np.random.default_rng(seed)
        place = folder / str(seed)
        place.mkdir()
        np.save(place / "random.npy", draw.random(COUNTS["random"]))
        np.save(place / "random_float32.npy", draw.random(COUNTS["random_float32"], np.float32))
        np.save(place / "normal.npy", draw.standard_normal(COUNTS["normal"]))
        np.save(
            place / "normal_float32.npy", draw.standard_normal(COUNTS["normal_float32"], np.float32)
        )  # an odd number of halves before: one is left over from the uniform ones


if __name__ == "__main__":
    rows = [edges()[start : start + 4] for start in range(0, 255, 4)]
    sys.stdout.writelines(f"        {', '.join(map(repr, row))},\n" for row in rows)
