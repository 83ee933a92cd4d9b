"""Learning rates as functions of the step, so that a resumed training needs no state of theirs.

Where a rate follows the validation (`ReduceLROnPlateau`), it is torch's.
"""

from __future__ import annotations

import math


def warm_up_cosine(step: int, *, warm_up: int, until: int | None, floor: float = 0.0) -> float:
    """Part of the learning rate at a step, 0 … 1.

    Args:
        step: counted from 0.
        warm_up: steps over which it rises, in equal parts.
        until: the step at which it has fallen to the floor along half a cosine; None: it stays.
        floor: what is left then, as a part of the rate.
    """
    rising = min(1.0, (step + 1) / max(1, warm_up))
    done = 0.0 if until is None else min(1.0, step / max(1, until))
    return rising * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))
