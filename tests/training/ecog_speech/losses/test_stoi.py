"""STOI⁺ as a loss."""

from __future__ import annotations

import numpy as np
import torch

from edge_training.ecog_speech.losses.stoi import StoiLoss, third_octaves


def test_bands_are_third_octaves() -> None:
    matrix = third_octaves(256)
    assert matrix.shape == (15, 256)
    assert (matrix.sum(0) <= 1).all()
    first = np.flatnonzero(matrix[9]) * 5000 / 255.5
    assert abs(first.mean() / (150 * 2 ** (9 / 3)) - 1) < 0.03


def by_hand(x: np.ndarray, y: np.ndarray, mask: np.ndarray) -> float:
    bands = [np.sqrt((power + 1e-8) @ third_octaves(32).T) for power in (x, y)]
    total, inside = 0.0, []
    for first in range(len(x) - 29):
        m = mask[first : first + 30]
        inside.append(m.mean())
        for band in range(15):
            a, b = (values[first : first + 30, band] for values in bands)
            a, b = ((v - (v * m).sum() / (m.sum() + 1e-8)) * m for v in (a, b))
            total += (a @ b) / np.sqrt((a @ a + 1e-8) * (b @ b + 1e-8))
    return float(-total / (15 * len(inside) * np.mean(inside) + 1e-8))


def test_loss_is_its_description_and_at_most_the_best() -> None:
    draw = np.random.default_rng(1)
    x, y = draw.random((2, 40, 32))
    mask = (np.arange(40) > 8).astype(float)
    loss = StoiLoss(32).double()
    args = [torch.from_numpy(value)[None] for value in (x, y, mask)]
    loss.octaves = torch.from_numpy(third_octaves(32))
    assert abs(float(loss(*args)) - by_hand(x, y, mask)) < 1e-9
    assert float(loss(args[1], args[1], torch.ones_like(args[2]))) < float(loss(*args))
