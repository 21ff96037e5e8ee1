"""Detections by themselves: chosen, scaled, and brought within the image."""

from __future__ import annotations

import numpy as np
import pytest

from engines.detector import Detections

IMAGE = np.zeros((100, 200, 3), np.uint8)


def detections(*boxes: tuple[float, float, float, float], points: int = 5) -> Detections:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.5, len(boxes), dtype=np.float32)
    return Detections(corners, scores, np.repeat(corners[:, None, :2], points, axis=1))


def test_scaling_moves_boxes_and_landmarks_and_leaves_scores() -> None:
    found = detections((10, 20, 30, 40), (0, 0, 1, 1))
    twice = found.scaled(2)
    assert twice.boxes.tolist() == [[20, 40, 60, 80], [0, 0, 2, 2]]
    assert twice.landmarks[0, 3].tolist() == [20, 40]
    assert twice.scores is found.scores
    assert twice.boxes.dtype == twice.landmarks.dtype == np.float32


@pytest.mark.parametrize("points", [0, 5])
def test_boxes_end_where_the_image_does_and_what_lies_outside_goes(points: int) -> None:
    found = detections((-5, -5, 250, 50), (10, 10, 20, 20), (200, 0, 220, 50), (0, -9, 50, 0), points=points)
    clipped = found.clipped(IMAGE)
    assert clipped.boxes.tolist() == [[0, 0, 200, 50], [10, 10, 20, 20]]
    np.testing.assert_array_equal(clipped.scores, found.scores[:2])
    np.testing.assert_array_equal(clipped.landmarks, found.landmarks[:2])  # which may lie outside
    assert len(detections(points=points).clipped(IMAGE)) == 0


def test_what_is_not_finite_goes() -> None:
    found = detections((10, 10, 20, 20), (float("nan"), 10, 20, 20), (30, 30, 40, 40))
    found.landmarks[2, 4, 1] = np.inf
    assert found.clipped(IMAGE).boxes.tolist() == [[10, 10, 20, 20]]
