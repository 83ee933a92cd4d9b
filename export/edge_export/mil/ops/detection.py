"""Ends of classifiers and detectors: labels with probabilities; boxes without overlapping neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_export.mil.blob import Array
from edge_export.mil.ops.registry import Call, operation


@operation("classify")
def classify(probabilities: Array, classes: list[Any]) -> tuple[Any, dict[Any, float]]:
    """The likeliest class and the probability of each; of equal ones the first."""
    labels = [label if isinstance(label, str) else int(label) for label in classes]
    values = probabilities.reshape(-1)
    if len(labels) != values.size:
        raise ValueError(f"{values.size} probabilities for {len(labels)} classes")
    return labels[int(values.argmax())], dict(zip(labels, map(float, values), strict=True))


@operation("non_maximum_suppression")
def non_maximum_suppression(
    boxes: Array,
    scores: Array,
    iou_threshold: Any,
    max_boxes: Any,
    call: Call,
    score_threshold: Any = -np.inf,
    per_class_suppression: Any = False,
) -> tuple[Array, ...]:
    """Boxes in descending order of their best score, without those that overlap a better one too much.

    Until iOS 16 ``boxes`` (n, B, 4) and ``scores`` (n, B, K), from iOS 17 on (n, 4, B) and (n, K, B); boxes
    are (x, y, width, height) about their centre. Missing ones are 0, their indices -1. The last result, the
    number of boxes of each batch, is gone from iOS 17 on.
    """
    boxes_last = call.opset >= 7
    if boxes_last:
        boxes, scores = boxes.swapaxes(1, 2), scores.swapaxes(1, 2)
    most = int(max_boxes)
    taken_boxes = np.zeros((len(boxes), most, 4), np.float32)
    taken_scores = np.zeros((len(boxes), most, scores.shape[2]), np.float32)
    indices = np.full((len(boxes), most), -1, np.int32)
    counts = np.zeros(len(boxes), np.int32)
    for n, (own, score) in enumerate(zip(boxes, scores, strict=True)):
        kept = _kept(own, score, float(iou_threshold), float(score_threshold), bool(per_class_suppression))
        chosen = kept[:most]
        counts[n] = len(chosen)
        indices[n, : len(chosen)] = chosen
        taken_boxes[n, : len(chosen)], taken_scores[n, : len(chosen)] = own[chosen], score[chosen]
    if boxes_last:
        return taken_boxes.swapaxes(1, 2), taken_scores.swapaxes(1, 2), indices
    return taken_boxes, taken_scores, indices, counts


def _kept(boxes: Array, scores: Array, overlap: float, least: float, per_class: bool) -> list[int]:
    best, classes = scores.max(axis=1), scores.argmax(axis=1)
    kept: list[int] = []
    for index in np.argsort(-best, kind="stable"):
        if best[index] < least:
            break
        rivals = [other for other in kept if not per_class or classes[other] == classes[index]]
        if not rivals or _overlaps(boxes[index], boxes[rivals]).max() <= overlap:
            kept.append(int(index))
    return kept


def _overlaps(box: Array, others: Array) -> Array:
    """Intersection over union of a box (4,) with others (k, 4); 0 where both are empty."""
    low = np.maximum(box[:2] - box[2:] / 2, others[:, :2] - others[:, 2:] / 2)
    high = np.minimum(box[:2] + box[2:] / 2, others[:, :2] + others[:, 2:] / 2)
    shared: Array = np.prod(np.maximum(high - low, 0), axis=1)
    union = box[2] * box[3] + others[:, 2] * others[:, 3] - shared
    part: Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return part
