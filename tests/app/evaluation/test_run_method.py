"""Which face is chosen, and how two embeddings become one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from app.evaluation.method import FaceRule, chosen, joined, with_mirrored
from engines.detector import Detections


def faces(*boxes: tuple[float, float, float, float]) -> Detections:
    count = len(boxes)
    scores = np.linspace(0.9, 0.8, count, dtype=np.float32)
    return Detections(np.array(boxes, np.float32), scores, np.zeros((count, 5, 2), np.float32))


@pytest.mark.parametrize(
    ("rule", "boxes", "best"),
    [
        # A photo of 100 × 200 px, centre (100, 50): areas 1600 and 400; 2 · squared distances 2 · 80² and 0.
        ("central", [(0, 30, 40, 70), (90, 40, 110, 60)], 1),
        ("largest", [(0, 30, 40, 70), (90, 40, 110, 60)], 0),
        # 40² − 2 · 20² = 800 against 30² − 2 · 5² = 850, and against 28² = 784.
        ("central", [(60, 30, 100, 70), (90, 35, 120, 65), (86, 36, 114, 64)], 1),
        ("central", [(80, 30, 120, 70), (80, 30, 120, 70)], 0),  # equals: the better score
        ("largest", [(80, 30, 120, 70), (0, 0, 40, 40)], 0),
    ],
)
def test_the_rule_by_hand(rule: FaceRule, boxes: list[tuple[float, float, float, float]], best: int) -> None:
    given_ones = faces(*boxes)
    one = chosen(given_ones, rule, (100, 200))
    assert len(one) == 1
    assert one.boxes[0].tolist() == list(boxes[best])
    assert one.scores[0] == given_ones.scores[best]


Box = tuple[float, float, float, float]
SIDE = st.integers(0, 90)
BOXES = st.builds(lambda x, y, width, height: (x, y, x + width, y + height), SIDE, SIDE, SIDE, SIDE)


@given(st.lists(BOXES, min_size=1))
def test_central_agrees_with_its_formula(boxes: list[Box]) -> None:
    def worth(box: Box) -> float:
        x1, y1, x2, y2 = box
        away = ((x1 + x2) / 2 - 90) ** 2 + ((y1 + y2) / 2 - 60) ** 2
        return (x2 - x1) * (y2 - y1) - 2 * away

    best = max(boxes, key=worth)
    assert chosen(faces(*boxes), "central", (120, 180)).boxes[0].tolist() == list(best)


def test_crops_are_mirrored_behind_themselves() -> None:
    crops = np.arange(2 * 2 * 3 * 3, dtype=np.uint8).reshape(2, 2, 3, 3)
    both = with_mirrored(crops)
    assert both.flags.c_contiguous
    np.testing.assert_array_equal(both[:2], crops)
    for row in range(2):
        for x in range(3):
            np.testing.assert_array_equal(both[2 + row, :, x], crops[row, :, 2 - x])


@given(arrays(np.float32, (6, 4), elements=st.floats(0.25, 1, width=32)))
def test_joined_are_the_bisectors(rows: NDArray[np.float32]) -> None:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    both = joined(unit)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose((both * unit[:3]).sum(axis=1), (both * unit[3:]).sum(axis=1), atol=1e-6)


def test_opposites_leave_nothing() -> None:
    assert joined(np.array([[1, 0], [-1, 0]], np.float32)).tolist() == [[0, 0]]
