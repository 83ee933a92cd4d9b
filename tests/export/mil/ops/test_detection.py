"""Non-maximum suppression against a plain recomputation, and the labels of classifiers."""

from __future__ import annotations

import numpy as np
import pytest

from edge_export.mil.graph import Operation
from edge_export.mil.ops.detection import classify, non_maximum_suppression
from edge_export.mil.ops.registry import Call

DRAW = np.random.default_rng(2)
BOXES = np.concatenate([DRAW.uniform(0, 10, (2, 12, 2)), DRAW.uniform(2, 6, (2, 12, 2))], 2).astype(
    np.float32
)
SCORES = DRAW.uniform(0, 1, (2, 12, 3)).astype(np.float32)


def call(opset: int) -> Call:
    return Call(Operation("nms", {}, {}, (), ()), opset, lambda _block, _inputs: [])


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """By counting on a fine grid of points, in no way as the kernel does it."""
    points = np.stack(np.meshgrid(*[np.linspace(-4, 14, 400)] * 2), -1)
    inside = [np.all(np.abs(points - box[:2]) <= box[2:] / 2, axis=-1) for box in (a, b)]
    return float((inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum())


@pytest.mark.parametrize("per_class", [False, True])
def test_kept_boxes_are_the_best_that_do_not_overlap(per_class: bool) -> None:
    boxes, scores, indices, counts = non_maximum_suppression(
        BOXES, SCORES, 0.25, 12, call(6), score_threshold=0.5, per_class_suppression=per_class
    )
    for n in range(2):
        best, kind = SCORES[n].max(1), SCORES[n].argmax(1)
        kept = indices[n, : counts[n]]
        assert (indices[n, counts[n] :] == -1).all()
        assert (np.diff(best[kept]) <= 0).all()
        np.testing.assert_array_equal(boxes[n, : counts[n]], BOXES[n, kept])
        np.testing.assert_array_equal(scores[n, : counts[n]], SCORES[n, kept])
        assert not boxes[n, counts[n] :].any()
        for other in set(range(12)) - set(kept.tolist()):
            better = [k for k in kept if best[k] >= best[other] and (not per_class or kind[k] == kind[other])]
            overlaps = [overlap(BOXES[n, k], BOXES[n, other]) for k in better]
            assert best[other] < 0.5 or max(overlaps) > 0.24, "left out without a reason"


def test_from_ios_17_on_boxes_stand_last_and_counts_are_gone() -> None:
    earlier = non_maximum_suppression(BOXES, SCORES, 0.25, 5, call(6))
    boxes, scores, indices = non_maximum_suppression(
        BOXES.swapaxes(1, 2), SCORES.swapaxes(1, 2), 0.25, 5, call(7)
    )
    np.testing.assert_array_equal(boxes.swapaxes(1, 2), earlier[0])
    np.testing.assert_array_equal(scores.swapaxes(1, 2), earlier[1])
    np.testing.assert_array_equal(indices, earlier[2])


def test_labels() -> None:
    label, probabilities = classify(np.array([[0.2, 0.5, 0.3]], np.float32), ["a", "b", "c"])
    assert label == "b"
    assert probabilities == pytest.approx({"a": 0.2, "b": 0.5, "c": 0.3})
    with pytest.raises(ValueError, match="3 probabilities for 2 classes"):
        classify(np.zeros(3), ["a", "b"])
