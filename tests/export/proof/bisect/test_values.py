"""Layouts and errors."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest

from edge_export.proof.bisect.onnx_graph import module_path
from edge_export.proof.bisect.values import HALF_MAX, cast_like, laid_out, snr_db


@pytest.mark.parametrize("order", [*permutations(range(3))])
@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 3, 2), (1, 3, 2), (2, 2, 2), (1, 1, 3)])
def test_any_order_of_axes_is_found(order: tuple[int, ...], shape: tuple[int, ...]) -> None:
    reference = np.random.default_rng(0).normal(size=shape)
    array = reference.transpose(order)[None]
    found = laid_out(reference, array)
    assert found is not None
    assert np.array_equal(found, array)


def test_both_directions_of_a_recurrent_layer() -> None:
    reference = np.random.default_rng(0).normal(size=(1, 9, 12))  # (N, S, 2 · H)
    array = reference.reshape(1, 9, 2, 6).transpose(1, 2, 0, 3)  # (S, 2, N, H), as ONNX
    assert np.array_equal(laid_out(reference, array), array)  # type: ignore[arg-type]


def test_other_sizes_have_no_layout() -> None:
    assert laid_out(np.zeros((3, 4)), np.zeros((3, 5))) is None
    assert laid_out(np.zeros((6, 4)), np.zeros((3, 8))) is None


def test_decibels() -> None:
    one = np.array([3.0, 4.0])
    assert snr_db(one, one) == math.inf
    assert snr_db(one, one * 1.1) == pytest.approx(20.0)
    assert snr_db(one, np.array([np.inf, 4.0])) == -math.inf
    assert snr_db(np.zeros(2), one) == -math.inf


def test_float16_saturates_where_the_reference_is_beyond_it() -> None:
    made = cast_like(np.array([1e6, -1e6, 0.1]), np.zeros(3, np.float16))
    assert made.dtype == np.float16
    assert made[:2].tolist() == [HALF_MAX, -HALF_MAX]


@pytest.mark.parametrize(
    ("node", "path"),
    [
        ("/resblocks.0/convs1.0/Conv_1", "resblocks.0.convs1.0"),
        ("/enc/enc.0/block/block.0/Conv", "enc.0.block.0"),
        ("/Mul", ""),
        ("mel_half_cast", ""),
    ],
)
def test_modules_of_nodes(node: str, path: str) -> None:
    assert module_path(node) == path
