"""Running a net over a long sequence in overlapping windows, averaging its answers, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray


def filled(answer: Callable[[NDArray[Any]], NDArray[Any]], batch: int, items: NDArray[Any]) -> NDArray[Any]:
    """A net's answers (n, …) to items (n, …), run as a whole batch: the last item stands in for the missing.

    >>> filled(lambda batch: batch + len(batch), 4, np.zeros((2, 1)))
    array([[4.],
           [4.]])
    """
    missing = batch - len(items)
    if missing <= 0:
        return answer(items)
    return answer(np.concatenate([items, np.repeat(items[-1:], missing, axis=0)]))[: len(items)]


def average_windows(
    items: Iterable[NDArray[Any]],
    answer: Callable[[NDArray[Any]], NDArray[Any]],
    values: int,
    *,
    window: int,
    step: int = 1,
    batch: int = 1,
) -> Iterator[NDArray[np.float32]]:
    """For each item, the mean of a net's answers for it in all windows that hold it.

    Windows begin at items 0, step, 2 step …; where the last of them does not reach the end, one more window
    ends there. A sequence shorter than a window is one window. At most window + batch · step items are held.

    Args:
        items: arrays of one shape (…).
        answer: the net, (n, window, …) → (n, window, values), with n up to ``batch``.
        values: numbers that the net gives for each item.
        window: items in a window.
        step: items from one window to the next, at most ``window``.
        batch: windows that the net is given at once.

    Yields:
        (m, values) for the next m items, as soon as no later window can hold them.

    >>> items = (np.array([float(i)]) for i in range(5))
    >>> list(average_windows(items, lambda windows: 2 * windows, 1, window=3, step=2))[-1].ravel()
    array([6., 8.], dtype=float32)
    """
    source = iter(items)
    held: list[NDArray[Any]] = []  # items from number `first` on
    total: NDArray[Any] = np.zeros((0, values))  # sums of what windows said of them, float64
    count: NDArray[Any] = np.zeros((0, 1))  # how many windows that were
    first = start = reached = 0  # numbers of the first item held, of the next window, of the end of the last
    ended = False
    while not ended:
        wanted = start + (batch - 1) * step + window - first
        held += islice(source, wanted - len(held))
        ended = len(held) < wanted
        length = min(window, len(held))
        places = [*range(start - first, len(held) - window + 1, step)][:batch]
        start += len(places) * step
        if places:
            reached = first + places[-1] + window
        if ended and first + len(held) > reached:
            places.append(len(held) - length)
        total, count = (_lengthened(sums, len(held)) for sums in (total, count))
        for some in (places[:batch], places[batch:]):
            if some:
                answers = answer(np.stack([np.stack(held[place : place + length]) for place in some]))
                for place, said in zip(some, answers, strict=True):
                    total[place : place + length] += said
                    count[place : place + length] += 1
        # the extra window at the end begins after the last regular one
        done = len(held) if ended else places[-1] + 1
        if done:
            yield np.asarray(total[:done] / count[:done], np.float32)
        first, held, total, count = first + done, held[done:], total[done:], count[done:]


def _lengthened(sums: NDArray[Any], length: int) -> NDArray[Any]:
    return np.pad(sums, ((0, length - len(sums)), (0, 0)))
