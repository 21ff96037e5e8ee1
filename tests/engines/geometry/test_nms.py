"""Non-maximum suppression against its slow, obvious twin."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.geometry.nms import nms

BOX = st.tuples(st.integers(-20, 60), st.integers(-20, 60), st.integers(1, 40), st.integers(1, 40))


def _iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = max(0.0, float(width)) * max(0.0, float(height))
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (a, b)]
    return common / (sum(areas) - common)


def _slow_nms(boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda index: -scores[index]):
        if all(_iou(boxes[index], boxes[better]) <= iou for better in kept):
            kept.append(index)
    return kept


@given(
    places=st.lists(BOX, max_size=12),
    order=st.randoms(use_true_random=False),
    iou=st.sampled_from([0.0, 0.3, 0.4, 0.5, 0.9, 1.0]),
)
def test_it_agrees_with_the_slow_twin(places: list[tuple[int, int, int, int]], order: object, iou: float) -> None:
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in places], np.float32).reshape(-1, 4)
    scores = np.linspace(1, 0.1, len(boxes), dtype=np.float32)
    order.shuffle(scores)  # type: ignore[attr-defined]
    overlaps = [_iou(a, b) for index, a in enumerate(boxes) for b in boxes[:index]]
    assume(all(abs(overlap - iou) > 1e-6 for overlap in overlaps))
    kept = nms(boxes, scores, iou)
    assert kept.dtype == np.intp
    assert kept.tolist() == _slow_nms(boxes, scores, iou)


def test_nothing_in_nothing_out() -> None:
    kept = nms(np.empty((0, 4), np.float32), np.empty(0, np.float32), 0.4)
    assert kept.shape == (0,)
    assert kept.dtype == np.intp


def test_equal_scores_keep_the_first() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    assert nms(boxes, np.full(3, 0.5, np.float32), 0.4).tolist() == [0, 2]
