"""Formants as filters: widths at 1/√2, shapes of prototypes, gradients."""

from __future__ import annotations

import math

import numpy as np
import torch

from edge_training.ecog_speech.formant_masks import GaussianMasks, LearnedMasks, Prototype


def test_gaussian_is_3_db_down_at_half_its_width() -> None:
    masks = GaussianMasks(4000, 8000.0)
    shape = masks(torch.full((1, 1, 1), 2000.0), torch.full((1, 1, 1), 400.0), 1)[0, 0, 0]
    assert math.isclose(float(shape[1000]), 1.0)
    assert math.isclose(float(shape[1100]), 1 / math.sqrt(2), rel_tol=2e-4)


def test_untrained_prototype_is_a_triangle() -> None:
    shape, width = Prototype(80).shape()
    ramp = np.arange(1, 41) / 40
    assert np.allclose(shape.detach(), np.concatenate([ramp, ramp[::-1]]), atol=1e-6)
    # 1/√2 is reached at 28.28 of 40 steps: nearest samples 27 (28/40) and 28 (29/40), likewise on the right
    d1, d2 = abs(28 / 40 - math.sqrt(0.5)), abs(29 / 40 - math.sqrt(0.5))
    left = 27 + d1 / (d1 + d2)
    assert math.isclose(float(width.detach()), (39 - left + (39 - left)) / 80 * 2000, rel_tol=1e-5)


def by_hand(masks: LearnedMasks, frequency: float, width: float, row: int) -> list[float]:
    prototype = [*masks.filter, *masks.filter_noise][row]
    shape, own = (value.detach().double() for value in prototype.shape())
    n = len(shape)
    values = []
    for hz in masks.hz.double():
        place = (2 * own / 2000) * (hz - frequency) / (width + 0.01 + 1e-8)
        pixel = float(((place + 1) * n - 1) / 2)
        values.append(sum(float(shape[j]) * max(0.0, 1 - abs(pixel - j)) for j in range(n)))
    return values


def learned(samples: int = 8) -> LearnedMasks:
    masks = LearnedMasks(32, 8000.0, samples)
    draw = torch.Generator().manual_seed(1)
    for prototype in masks.modules():
        if isinstance(prototype, Prototype):
            prototype.x.data.normal_(generator=draw)
    return masks


def test_learned_masks_sample_their_prototypes() -> None:
    masks = learned()
    frequency = torch.linspace(900, 6900, 7).reshape(1, 7, 1)
    width = torch.linspace(500, 4000, 7).reshape(1, 7, 1)
    made = masks(frequency, width, 7)[0, :, 0]
    for row in range(7):
        expected = by_hand(masks, float(frequency[0, row]), float(width[0, row]), row)
        assert np.allclose(made[row].detach(), expected, atol=1e-5)


def test_folded_masks_are_the_same() -> None:
    masks = learned()
    frequency, width = torch.full((2, 6, 3), 1500.0), torch.full((2, 6, 3), 700.0)
    before = masks(frequency, width, 6)
    masks.fold()
    assert torch.allclose(masks(frequency, width, 6), before, atol=1e-6)


def test_gradients_are_those_of_differences() -> None:
    masks = learned().double()
    frequency = torch.full((1, 7, 2), 1530.0, dtype=torch.float64, requires_grad=True)
    width = torch.full((1, 7, 2), 1234.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f, w: masks(f, w, 7).sum(-1), (frequency, width), atol=1e-4)
    first = masks.filter[0]
    assert isinstance(first, Prototype)
    x = first.x
    masks(frequency.detach(), width.detach(), 7).square().sum().backward()
    gradient = x.grad
    assert gradient is not None
    step, moved = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            x[..., 5] += sign * step
            moved.append(float(masks(frequency, width, 7).detach().square().sum()))
            x[..., 5] -= sign * step
    assert math.isclose(float(gradient[..., 5]), (moved[0] - moved[1]) / (2 * step), rel_tol=1e-3)
