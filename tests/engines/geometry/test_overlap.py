"""Areas and what boxes have in common, against counting pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.geometry.overlap import area, iou

side = st.integers(0, 12)
boxes = st.lists(st.tuples(side, side, side, side), min_size=1, max_size=5).map(
    lambda corners: np.array([[x, y, x + w, y + h] for x, y, w, h in corners], np.float32)
)


def painted(box: NDArray[np.float32]) -> NDArray[np.bool_]:
    left, top, right, bottom = box.astype(int).tolist()
    canvas = np.zeros((24, 24), bool)
    canvas[top:bottom, left:right] = True
    return canvas


@given(boxes, boxes)
def test_counts_pixels(some: NDArray[np.float32], others: NDArray[np.float32]) -> None:
    assert area(some).tolist() == [int(painted(box).sum()) for box in some]
    found = iou(some, others)
    assert found.shape == (len(some), len(others))
    for row, one in enumerate(some):
        for column, other in enumerate(others):
            together = int((painted(one) | painted(other)).sum())
            common = int((painted(one) & painted(other)).sum())
            assert found[row, column] == pytest.approx(common / together if together else 0)


def test_none_have_nothing_in_common() -> None:
    assert iou(np.empty((0, 4), np.float32), np.ones((2, 4), np.float32)).shape == (0, 2)
